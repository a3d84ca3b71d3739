use std::time::Duration;

use bytes::Bytes;
use orderwire_types::scope::Clients;
use orderwire_types::{Event, EventType};

use crate::engine::{Op, Outcome};
use crate::error::ErrorKind;
use crate::model::{DeadFilter, DeadLetter};
use crate::testkit::bench::{
    Bench, Checked, attempts, edit, ensure_eq, label, labels, only, others, refused, say, stream, tasks,
};

/// Puts these on `tasks` and dead-letters them, with their label as the cause.
async fn bury_all(b: &mut Bench, events: &[(&str, &str, &str)]) -> Checked {
    b.put(events).await?;
    let got = b.claim(events.len()).await?;
    ensure_eq!(got.len(), events.len(), "deliveries");
    for got in &got {
        b.fail(got, &format!("Cause of {}", got.label)).await?;
    }
    Ok(())
}

async fn found(b: &Bench, filter: DeadFilter) -> Checked<Vec<String>> {
    b.dead(&filter).await?.iter().map(|letter| label(&letter.body)).collect()
}

pub(super) async fn a_dead_letter_tells_everything(b: &mut Bench) -> Checked {
    let entry = b.entry("bad", "acme", "k");
    b.append(vec![entry.clone()]).await?;
    let got = b.claim(1).await?;
    b.nack(&got[0], Duration::ZERO).await?;
    let got = b.claim(1).await?;
    b.fail(&got[0], "it has no address").await?;
    b.reopen().await?;
    let dead = b.dead(&DeadFilter::default()).await?;
    ensure_eq!(dead.len(), 1, "dead letters");
    let letter = &dead[0];
    ensure_eq!(letter.queue, tasks(), "its queue");
    ensure_eq!(letter.event_id, entry.event_id, "its event");
    ensure_eq!(letter.event_type, entry.event_type, "its type");
    ensure_eq!(letter.client, entry.client, "its client");
    ensure_eq!(letter.trace, entry.trace, "its trace");
    ensure_eq!(letter.attempts, 2, "its attempts");
    ensure_eq!(letter.cause, "it has no address", "its cause");
    ensure_eq!(letter.died_at, b.now, "when it died");
    ensure_eq!(letter.body, entry.body, "its payload");
    ensure_eq!(b.engine().state(&tasks()).await.map_err(say)?.dead, 1, "dead letters of the queue's state");
    Ok(())
}

pub(super) async fn dead_letters_are_selected_by_filter(b: &mut Bench) -> Checked {
    let start = b.now;
    bury_all(b, &[("a1", "acme", "k1"), ("b1", "bolt", "k1")]).await?;
    b.pass(Duration::from_secs(10)).await?;
    bury_all(b, &[("a2", "acme", "k1")]).await?;
    let mut other = b.entry("o1", "acme", "k");
    other.event_type = "test.other".parse::<EventType>().map_err(|err| err.to_string())?;
    other.queues[0].0 = others();
    b.append(vec![other]).await?;
    let got = b.claim_from(&others(), Clients::All, 1).await?;
    let fail = crate::model::Settlement::Fail { cause: "Cause of o1".to_owned() };
    b.settle_in(&others(), Clients::All, &got[0], fail).await?.map_err(say)?;

    let all = DeadFilter::default;
    let later = crate::clock::after(start, Duration::from_secs(10));
    let ids: Vec<i64> = b.dead(&all()).await?.iter().map(|letter| letter.id).collect();
    ensure_eq!(ids.len(), 4, "dead letters");
    let parse = |text: &str| text.parse().expect("a pattern");
    let cases = [
        (all(), vec!["a1", "b1", "a2", "o1"]),
        (DeadFilter { queue: Some(others()), ..all() }, vec!["o1"]),
        (DeadFilter { client: "bolt".parse().ok(), ..all() }, vec!["b1"]),
        (DeadFilter { event_type: Some(parse("*.other")), ..all() }, vec!["o1"]),
        (DeadFilter { cause: Some("cause of A".to_owned()), ..all() }, vec!["a1", "a2"]),
        (DeadFilter { cause: Some("%".to_owned()), ..all() }, vec![]),
        (DeadFilter { since: Some(later), ..all() }, vec!["a2", "o1"]),
        (DeadFilter { until: Some(later), ..all() }, vec!["a1", "b1"]),
        (DeadFilter { ids: Some(vec![ids[3], ids[0], 12_345]), ..all() }, vec!["a1", "o1"]),
        (
            DeadFilter { client: "acme".parse().ok(), since: Some(later), queue: Some(tasks()), ..all() },
            vec!["a2"],
        ),
    ];
    for (filter, due) in cases {
        let what = format!("{filter:?}");
        ensure_eq!(found(b, filter).await?, due, "dead letters of {what}");
    }
    Ok(())
}

pub(super) async fn dead_letters_come_in_pages(b: &mut Bench) -> Checked {
    let events: Vec<String> = (0..7).map(|i| format!("k{i}")).collect();
    for key in &events {
        bury_all(b, &[(key, if key == "k3" { "bolt" } else { "acme" }, key)]).await?;
    }
    let filter = DeadFilter { client: "acme".parse().ok(), ..DeadFilter::default() };
    let (mut after, mut seen, mut ids) = (0, Vec::new(), Vec::new());
    loop {
        let refs = b.engine().dead_refs(&Clients::All, &filter, after, 2).await.map_err(say)?;
        let page = b.engine().dead(&Clients::All, &filter, after, 2, usize::MAX).await.map_err(say)?;
        crate::testkit::bench::ensure!(page.items.len() <= 2, "a page of {} letters", page.items.len());
        for letter in &page.items {
            seen.push(label(&letter.body)?);
            ids.push((letter.id, letter.queue.clone(), letter.body.len()));
        }
        ensure_eq!(refs.next, page.next, "where the page ends without bodies");
        let shown = refs.items.into_iter().map(|letter| (letter.id, letter.queue, letter.bytes));
        ensure_eq!(shown.collect::<Vec<_>>(), std::mem::take(&mut ids), "the page without bodies");
        match page.next {
            Some(next) => {
                crate::testkit::bench::ensure!(next > after, "a page that ends where it began");
                after = next;
            }
            None => break,
        }
    }
    ensure_eq!(seen, ["k0", "k1", "k2", "k4", "k5", "k6"], "letters over all pages");
    Ok(())
}

pub(super) async fn looks_are_bounded_in_bytes(b: &mut Bench) -> Checked {
    bury_all(b, &[("a1", "acme", "k1"), ("a2", "acme", "k2"), ("a3", "acme", "k3")]).await?;
    b.put(&[("b1", "bolt", "k1"), ("b2", "bolt", "k1"), ("b3", "bolt", "k2")]).await?;
    let all = DeadFilter::default();
    let size = b.dead(&all).await?[0].body.len();
    for (bytes, count) in [(0, 1), (size, 1), (size + 1, 2), (2 * size, 2)] {
        let page = b.engine().dead(&Clients::All, &all, 0, 9, bytes).await.map_err(say)?;
        ensure_eq!(page.items.len(), count, "dead letters of {bytes} bytes, of {size} each");
        ensure_eq!(page.next, page.items.last().map(|letter| letter.id), "the next page");
        for clients in [Clients::All, only(&["bolt"])] {
            let peeked = b.engine().peek(&tasks(), &clients, 9, bytes).await.map_err(say)?;
            ensure_eq!(peeked.len(), count, "a look of {bytes} bytes at events of {size} each");
        }
    }
    Ok(())
}

/// A letter with the label as its cause, and the body of the same event with another label.
async fn to_edit(b: &mut Bench, label: &str) -> Checked<(DeadLetter, Bytes)> {
    bury_all(b, &[(label, "acme", label)]).await?;
    let letter = b.dead(&DeadFilter::default()).await?.remove(0);
    let event = Event::decode(&letter.body).map_err(|err| err.to_string())?;
    let body = Event { source: format!("{label} mended"), ..event }.encode();
    Ok((letter, body.into()))
}

pub(super) async fn an_edited_letter_keeps_all_but_its_body(b: &mut Bench) -> Checked {
    let (letter, body) = to_edit(b, "bad").await?;
    b.pass(Duration::from_secs(10)).await?;
    match b.op(edit(&letter, &letter.body, &body)).await? {
        Outcome::Done => {}
        other => return Err(format!("an edit was answered by {other:?}")),
    }
    b.reopen().await?;
    let dead = b.dead(&DeadFilter::default()).await?;
    ensure_eq!(dead, [DeadLetter { body: body.clone(), ..letter.clone() }], "the edited letter");
    ensure_eq!(b.engine().state(&tasks()).await.map_err(say)?.dead, 1, "dead letters of the queue's state");
    let refs = b.engine().dead_refs(&Clients::All, &DeadFilter::default(), 0, 9).await.map_err(say)?;
    ensure_eq!(refs.items[0].bytes, body.len(), "the length of the body");
    b.count(Op::Replay { ids: vec![letter.id], principal: "operator".to_owned() }).await?;
    ensure_eq!(attempts(&b.claim(5).await?), [("bad mended", 1)], "deliveries after the replay");
    Ok(())
}

pub(super) async fn an_edit_of_what_changed_meanwhile_is_refused(b: &mut Bench) -> Checked {
    let (letter, body) = to_edit(b, "bad").await?;
    let late = b.try_op(edit(&letter, &body, &body)).await?;
    refused(late, ErrorKind::Conflict, "an edit of what was never there")?;
    b.op(edit(&letter, &letter.body, &body)).await?;
    let second = b.try_op(edit(&letter, &letter.body, &letter.body)).await?;
    refused(second, ErrorKind::Conflict, "a second edit of the same content")?;
    ensure_eq!(found(b, DeadFilter::default()).await?, ["bad mended"], "letters");
    b.op(edit(&letter, &body, &letter.body)).await?;
    b.count(Op::Replay { ids: vec![letter.id], principal: "operator".to_owned() }).await?;
    let gone = b.try_op(edit(&letter, &letter.body, &body)).await?;
    refused(gone, ErrorKind::NotFound, "an edit of a letter that is gone")?;
    ensure_eq!(labels(&b.claim(5).await?), ["bad"], "deliveries");
    Ok(())
}

pub(super) async fn a_replayed_letter_comes_once_and_last(b: &mut Bench) -> Checked {
    bury_all(b, &[("bad", "acme", "k")]).await?;
    b.put(&[("waiting", "acme", "k")]).await?;
    let letter = b.dead(&DeadFilter::default()).await?.remove(0);
    let replay = |ids| Op::Replay { ids, principal: "operator".to_owned() };
    ensure_eq!(b.count(replay(vec![letter.id, letter.id, 999])).await?, 1, "replayed letters");
    b.reopen().await?;
    ensure_eq!(b.count(replay(vec![letter.id])).await?, 0, "letters replayed again");
    ensure_eq!(b.dead(&DeadFilter::default()).await?.len(), 0, "dead letters after the replay");
    let got = b.claim(5).await?;
    ensure_eq!(attempts(&got), [("waiting", 1), ("bad", 1)], "deliveries after the replay");
    let peeked = b.engine().peek(&tasks(), &Clients::All, 5, usize::MAX).await.map_err(say)?;
    let event = Event::decode(&peeked[1].1.body).map_err(|err| err.to_string())?;
    ensure_eq!(event.trace.id, letter.trace, "the trace of the replayed event");
    Ok(())
}

pub(super) async fn discarded_letters_are_gone(b: &mut Bench) -> Checked {
    bury_all(b, &[("a1", "acme", "k1"), ("a2", "acme", "k2")]).await?;
    let ids: Vec<i64> = b.dead(&DeadFilter::default()).await?.iter().map(|letter| letter.id).collect();
    let discard = |ids| Op::Discard { ids, principal: "operator".to_owned(), reason: "a test".to_owned() };
    ensure_eq!(b.count(discard(vec![ids[0], 999])).await?, 1, "discarded letters");
    b.reopen().await?;
    ensure_eq!(found(b, DeadFilter::default()).await?, ["a2"], "letters that are left");
    let replay = Op::Replay { ids: vec![ids[0]], principal: "operator".to_owned() };
    ensure_eq!(b.count(replay).await?, 0, "replayed letters that were discarded");
    ensure_eq!(labels(&b.claim(5).await?), [""; 0], "deliveries");
    ensure_eq!(b.engine().state(&stream()).await.map_err(say)?.dead, 0, "dead letters of another queue");
    Ok(())
}
