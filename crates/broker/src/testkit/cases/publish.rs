//! A message comes as it was published, and what is confirmed is there.

use bytes::Bytes;
use orderwire_types::testkit::{Failed, Outcome, holds, same};
use tokio::task::JoinSet;

use crate::error::ErrorKind;
use crate::message::HEADER_BYTES_MAX;
use crate::testkit::bench::{Bench, MANY, labels, numbered, refused, within};

pub(super) async fn a_message_comes_unchanged(b: &mut Bench) -> Outcome {
    let queue = b.queue(&["order.*"]).await?;
    let mut message = b.message("order.created", "");
    message.body = Bytes::from_iter(0..=u8::MAX);
    message.content_type = "application/cloudevents+json; charset=utf-8";
    message.headers = [
        ("traceparent", "00-9a2ae9de3f824f55966b47df50ff51ff-0102030405060708-01"),
        ("orderwire-principal", "v1 key:7 ~!\"#$%&'()*+,-./:;<=>?@[]^_`{|}"),
        ("empty", ""),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    b.confirmed(vec![message.clone()]).await?;
    let got = b.reader(&queue, 10).await?.one().await?;
    same("the body", &got.body, &message.body)?;
    same("the id", got.id.as_deref(), Some(message.id.as_str()))?;
    same("the type", got.event_type.as_deref(), Some(b.event_type("order.created").as_str()))?;
    same("the media type", got.content_type.as_deref(), Some(message.content_type))?;
    for (name, value) in &message.headers {
        same(&format!("the header {name}"), got.header(name), Some(value.as_str()))?;
    }
    holds("the first delivery is not marked as redelivered", !got.redelivered)
}

pub(super) async fn a_message_without_body_and_headers_comes(b: &mut Bench) -> Outcome {
    let queue = b.queue(&["empty"]).await?;
    b.say("empty", &["", "after"]).await?;
    let mut reader = b.reader(&queue, 10).await?;
    same("what came", labels(&reader.take(2).await?), ["", "after"].map(str::to_owned).into())
}

pub(super) async fn a_confirmed_message_outlives_the_broker(b: &mut Bench) -> Outcome {
    let queue = b.queue(&["kept"]).await?;
    b.say("kept", &["first"]).await?;
    b.say("kept", &["second", "third"]).await?;
    b.reopen().await?;
    let mut reader = b.reader(&queue, 10).await?;
    let expected = ["first", "second", "third"].map(str::to_owned).into();
    same("what the new broker has", labels(&reader.take(3).await?), expected)
}

pub(super) async fn messages_of_one_publisher_come_in_order(b: &mut Bench) -> Outcome {
    let queue = b.queue(&["ordered"]).await?;
    let expected = numbered(60);
    // Singly and in batches of several sizes.
    let mut rest = expected.iter().map(String::as_str).collect::<Vec<_>>();
    for size in [1, 1, 8, 20, 30] {
        let batch: Vec<&str> = rest.drain(..size).collect();
        b.say("ordered", &batch).await?;
    }
    let mut reader = b.reader(&queue, 60).await?;
    same("the order", labels(&reader.take(60).await?), expected)
}

pub(super) async fn a_thousand_messages_of_one_publish_come_in_order(b: &mut Bench) -> Outcome {
    let queue = b.queue(&["many"]).await?;
    let mut reader = b.reader(&queue, 200).await?;
    let expected = numbered(1_000);
    b.say("many", &expected.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    let mut came = Vec::new();
    while came.len() < expected.len() {
        let batch = reader.take(MANY).await?;
        reader.ack(&batch).await?;
        came.extend(labels(&batch));
    }
    same("the order", came, expected)?;
    reader.nothing_more().await
}

pub(super) async fn many_publishers_at_once_are_all_confirmed(b: &mut Bench) -> Outcome {
    const PUBLISHERS: usize = 16;
    const EACH: usize = 10;
    let queue = b.queue(&["crowd.*"]).await?;
    let mut publishers = JoinSet::new();
    for publisher in 0..PUBLISHERS {
        let label = |number| format!("{publisher:02}/{number:02}");
        let messages: Vec<_> =
            (0..EACH).map(|number| b.message(&format!("crowd.p{publisher}"), &label(number))).collect();
        let broker = b.broker().clone();
        publishers.spawn(async move {
            for message in messages {
                broker.publish(vec![message]).await.into_iter().collect::<Result<Vec<()>, _>>()?;
            }
            Ok::<_, crate::Error>(())
        });
    }
    while let Some(published) = within(b.patience(), "publish", publishers.join_next()).await? {
        let published = published.map_err(|panic| Failed(panic.to_string()))?;
        published.map_err(|error| Failed(format!("one of many publishers: {error}")))?;
    }
    let mut reader = b.reader(&queue, u16::MAX).await?;
    let came = labels(&reader.take(PUBLISHERS * EACH).await?);
    for publisher in 0..PUBLISHERS {
        let prefix = format!("{publisher:02}/");
        let own: Vec<_> = came.iter().filter(|label| label.starts_with(&prefix)).collect();
        same(&format!("what publisher {publisher} published"), own.len(), EACH)?;
        holds(&format!("its messages come in order: {own:?}"), own.is_sorted())?;
    }
    Ok(())
}

pub(super) async fn a_body_of_the_maximum_comes(b: &mut Bench) -> Outcome {
    let queue = b.queue(&["large"]).await?;
    let mut message = b.message("large", "");
    message.body = sized(b.broker().capabilities().body_bytes_max);
    let body = message.body.clone();
    b.confirmed(vec![message]).await?;
    let got = b.reader(&queue, 10).await?.one().await?;
    // Compared without showing them.
    holds("the largest body comes unchanged", got.body == body)
}

pub(super) async fn a_body_over_the_maximum_is_refused_alone(b: &mut Bench) -> Outcome {
    let size = b.broker().capabilities().body_bytes_max + 1;
    refused_alone(b, |message| message.body = sized(size)).await
}

pub(super) async fn headers_of_the_maximum_come(b: &mut Bench) -> Outcome {
    let queue = b.queue(&["headers"]).await?;
    let mut message = b.message("headers", "body");
    message.headers = headers(HEADER_BYTES_MAX);
    let headers = message.headers.clone();
    b.confirmed(vec![message]).await?;
    let got = b.reader(&queue, 10).await?.one().await?;
    let unchanged = headers.iter().all(|(name, value)| got.header(name) == Some(value));
    holds("the largest headers come unchanged", unchanged)
}

pub(super) async fn headers_over_the_maximum_are_refused_alone(b: &mut Bench) -> Outcome {
    refused_alone(b, |message| message.headers = headers(HEADER_BYTES_MAX + 1)).await
}

pub(super) async fn nothing_published_is_answered_by_nothing(b: &mut Bench) -> Outcome {
    same("the answers", b.publish(Vec::new()).await?.len(), 0)
}

/// Publishes three messages of which the second is made too large.
async fn refused_alone(b: &mut Bench, enlarge: impl FnOnce(&mut crate::Message)) -> Outcome {
    let queue = b.queue(&["sized"]).await?;
    let mut messages = ["before", "too large", "after"].map(|label| b.message("sized", label));
    enlarge(&mut messages[1]);
    let mut answers = b.publish(messages.into()).await?.into_iter();
    holds("the one before is confirmed", answers.next().is_some_and(|answer| answer.is_ok()))?;
    let second = answers.next().expect("three answers");
    let error = refused("the one that is too large", second, ErrorKind::TooLarge)?;
    holds("what can never be taken is not to be tried again", !error.is_retryable())?;
    holds("the one behind is confirmed", answers.next().is_some_and(|answer| answer.is_ok()))?;
    let mut reader = b.reader(&queue, 10).await?;
    same("what came", labels(&reader.take(2).await?), ["before", "after"].map(str::to_owned).into())?;
    reader.nothing_more().await
}

fn sized(bytes: usize) -> Bytes {
    Bytes::from_iter((0..bytes).map(|index| (index % 251) as u8))
}

/// Headers that take so many bytes together.
fn headers(bytes: usize) -> Vec<(String, String)> {
    const LARGEST: usize = 4 << 10;
    let mut headers = Vec::new();
    let mut rest = bytes;
    while rest > 0 {
        let name = format!("h-{:04}", headers.len());
        // The last one takes what is left, which is never less than a name.
        let size = if rest < 2 * LARGEST { rest } else { LARGEST };
        headers.push((name.clone(), "v".repeat(size - name.len())));
        rest -= size;
    }
    headers
}
