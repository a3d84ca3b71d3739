//! Messages of other people, who know nothing of us.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use orderwire_broker::{Broker, Declare};

use crate::support::others::{Others, clean};
use crate::support::{connected, options, queue};

#[tokio::test]
async fn a_message_without_properties_is_read() {
    let Some(options) = options().await else { return };
    let (broker, others) = (connected(&options).await, Others::connect(&options).await);
    let queue = queue(&["from.others"], Declare::Adopt);
    broker.declare(&queue).await.unwrap();
    others.publish("", queue.name.as_str(), BasicProperties::default(), b"bare").await;
    others.publish(&options.exchange, "from.others", BasicProperties::default(), b"typed").await;
    let mut consumer = broker.consume(&queue, 10).await.unwrap();
    let mut came = consumer.next(2).await.unwrap();
    while came.len() < 2 {
        came.extend(consumer.next(1).await.unwrap());
    }
    assert_eq!((came[0].id.as_deref(), came[0].event_type.as_deref()), (None, None));
    assert_eq!((came[0].content_type.as_deref(), came[0].headers.len()), (None, 0));
    assert_eq!(came[1].event_type.as_deref(), Some("from.others"));
    clean(&options, &[&queue]).await;
}

#[tokio::test]
async fn headers_that_are_text_are_read_in_lower_case() {
    let Some(options) = options().await else { return };
    let (broker, others) = (connected(&options).await, Others::connect(&options).await);
    let queue = queue(&[], Declare::Adopt);
    broker.declare(&queue).await.unwrap();
    let mut headers = FieldTable::default();
    headers.insert("X-Text".into(), AMQPValue::LongString("as it is".into()));
    headers.insert("x-number".into(), AMQPValue::LongInt(7));
    headers.insert("x-bytes".into(), AMQPValue::LongString(vec![0xff, 0xfe].into()));
    let properties = BasicProperties::default()
        .with_headers(headers)
        .with_message_id("their id".into())
        .with_content_type("application/json".into())
        .with_type("their.type".into());
    others.publish("", queue.name.as_str(), properties, b"{}").await;
    let came = broker.consume(&queue, 10).await.unwrap().next(1).await.unwrap().remove(0);
    assert_eq!(came.headers, [("x-text".to_owned(), "as it is".to_owned())]);
    assert_eq!(came.header("x-text"), Some("as it is"));
    assert_eq!((came.id.as_deref(), came.event_type.as_deref()), (Some("their id"), Some("their.type")));
    assert_eq!(came.content_type.as_deref(), Some("application/json"));
    clean(&options, &[&queue]).await;
}
