//! What the port promises, where it is particular to this engine or easily lost.

use std::time::Duration;

use orderwire_queue::ErrorKind;
use orderwire_queue::engine::{Append, Engine, LaneKey, NamedRequest, Op, Origin, Outcome, Settled, Sweep};
use orderwire_queue::model::{DeadFilter, Position, Settlement};
use orderwire_types::scope::Clients;
use uuid::Uuid;

use super::support::{Bench, at, claim, definitions, entry, key, name, named, number, numbers};

fn retry() -> Settlement {
    Settlement::Retry { delay: Some(Duration::ZERO), cause: "no".to_owned() }
}

#[tokio::test]
async fn a_reopened_file_holds_everything() {
    let bench = Bench::new().await;
    let fan_out = [("t1", key("k")), ("t2", LaneKey::Alone), ("s1", LaneKey::Stream)];
    bench.append((0..10).map(|n| entry(n, "a", &fan_out)).collect(), at(0)).await;
    let held = bench.claim("t1", 2, at(1), 10).await;
    bench.ack("t1", held[0].id, at(2)).await;
    let stream = bench.claim("s1", 3, at(2), 10).await;
    let dead = bench.claim("t2", 1, at(2), 10).await;
    bench.settle("t2", dead[0].id, Settlement::Fail { cause: "bad".to_owned() }, at(2)).await.unwrap();

    let bench = bench.reopen();
    assert_eq!(bench.counts("t1").await, (8, 1, 0, 0));
    assert_eq!(bench.counts("t2").await, (9, 0, 0, 1));
    assert_eq!(bench.counts("s1").await, (7, 3, 0, 0));
    bench.ack("t1", held[1].id, at(3)).await;
    bench.ack("s1", stream[0].id, at(3)).await;
    assert_eq!(numbers(&bench.claim("t1", 3, at(3), 10).await), [2, 3, 4]);
    assert_eq!(bench.count(Op::Expire { limit: 10 }, at(12)).await, 1, "the stream's lease");
    assert_eq!(numbers(&bench.claim("s1", 2, at(12), 10).await), [1, 2]);
    // Positions are never given out again.
    let before = bench.queue.peek(&name("t2"), &Clients::All, 100, usize::MAX).await.unwrap();
    bench.append(vec![entry(99, "a", &fan_out)], at(13)).await;
    let after = bench.queue.peek(&name("t2"), &Clients::All, 100, usize::MAX).await.unwrap();
    assert_eq!(after.len(), before.len() + 1);
    assert!(after[before.len()].1.position > before[before.len() - 1].1.position);
}

#[tokio::test]
async fn positions_begin_behind_what_a_reader_stored_elsewhere() {
    let least = 1 << 40;
    let options =
        orderwire_sqlite::Options { position_min: least, ..orderwire_sqlite::Options::for_testing() };
    let bench = Bench::with(&options).await;
    bench.append(vec![entry(1, "a", &[("s1", LaneKey::Stream)])], at(0)).await;
    // The reader's own position is none of another queue.
    bench.one(Op::Advance { queue: name("s1"), to: Position(least) }, at(0)).await.unwrap();
    let first = bench.queue.read(&name("s1"), Position(least), 9, usize::MAX).await.unwrap();
    assert_eq!(first.len(), 1);
    // Opened without: what was given out once is remembered.
    let bench = bench.reopen();
    bench.append(vec![entry(2, "a", &[("s1", LaneKey::Stream)])], at(1)).await;
    let both = bench.queue.read(&name("s1"), Position(least), 9, usize::MAX).await.unwrap();
    assert_eq!(both.iter().map(|e| number(&e.body)).collect::<Vec<_>>(), [1, 2]);
}

#[tokio::test]
async fn named_events_and_requests_are_appended_once_until_forgotten() {
    let bench = Bench::new().await;
    let named = |n| named(entry(n, "a", &[("t1", key("k"))]));
    assert_eq!(bench.append(vec![named(1), named(1), named(2)], at(0)).await, [true, false, true]);
    assert_eq!(bench.append(vec![named(2), named(3)], at(10)).await, [false, true]);
    let bench = bench.reopen();
    assert_eq!(bench.append(vec![named(1), named(3)], at(11)).await, [false, false]);

    let request = |fingerprint| {
        let request = NamedRequest { id: Uuid::from_u128(2), fingerprint: [fingerprint; 16] };
        Op::Append(Append { entries: vec![entry(50, "a", &[("t1", key("k"))])], request: Some(request) })
    };
    let appended = |outcome| match outcome {
        Outcome::Appended(new) => new,
        other => panic!("{other:?}"),
    };
    assert_eq!(appended(bench.one(request(1), at(12)).await.unwrap()), [true]);
    assert_eq!(appended(bench.one(request(1), at(13)).await.unwrap()), [false]);
    let other = bench.one(request(2), at(13)).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::IdempotencyConflict);
    assert_eq!(bench.counts("t1").await.0, 4);

    let sweep = |before, limit| {
        Op::Sweep(Sweep { remembered_before: at(before), steps_before: at(0), dead_before: at(0), limit })
    };
    bench.count(sweep(5, 10), at(20)).await;
    assert_eq!(bench.append(vec![named(1), named(3)], at(21)).await, [true, false]);
    assert_eq!(bench.count(sweep(100, 3), at(22)).await, 3, "bounded");
    assert!(bench.count(sweep(100, 100), at(22)).await < 100);
    assert_eq!(bench.append(vec![named(1), named(3)], at(101)).await, [true, true]);
}

#[tokio::test]
async fn one_event_of_another_client_is_next_whatever_waits() {
    let bench = Bench::new().await;
    bench.append((0..500).map(|n| entry(n, "big", &[("t1", LaneKey::Alone)])).collect(), at(0)).await;
    assert_eq!(numbers(&bench.claim("t1", 1, at(1), 60).await), [0]);
    bench.append(vec![entry(900, "small", &[("t1", key("x"))])], at(1)).await;
    bench.append(vec![entry(901, "third", &[("t1", key("x"))])], at(1)).await;
    // Both came before the client that was served last.
    assert_eq!(numbers(&bench.claim("t1", 1, at(2), 60).await), [900]);
    assert_eq!(numbers(&bench.claim("t1", 4, at(2), 60).await), [901, 1, 2, 3]);
}

#[tokio::test]
async fn a_visit_takes_a_share_and_stays_within_one_lane() {
    let bench = Bench::new().await;
    let mut n = 0;
    for client in ["a", "b"] {
        for lane in ["x", "y"] {
            let entries = (0..4).map(|i| entry(n + i, client, &[("t1", key(lane))])).collect();
            bench.append(entries, at(0)).await;
            n += 4;
        }
    }
    // Six over two clients: three of a's oldest lane, three of b's.
    assert_eq!(numbers(&bench.claim("t1", 6, at(1), 60).await), [0, 1, 2, 8, 9, 10]);
    let only = Clients::Only(["b".parse().unwrap()].into());
    let Outcome::Claimed(rest) = bench.one(Op::Claim(claim("t1", only, 9, at(60))), at(1)).await.unwrap()
    else {
        panic!("not a claim's outcome")
    };
    assert_eq!(numbers(&rest), [12, 13, 14, 15]);
}

#[tokio::test]
async fn a_returned_delivery_takes_those_behind_it_along() {
    let bench = Bench::new().await;
    bench.append((0..5).map(|n| entry(n, "a", &[("t1", key("k"))])).collect(), at(0)).await;
    let held = bench.claim("t1", 4, at(1), 60).await;
    assert_eq!(numbers(&held), [0, 1, 2, 3]);
    bench.ack("t1", held[3].id, at(2)).await;
    let returned =
        bench.settle("t1", held[1].id, Settlement::Retry { delay: None, cause: "x".to_owned() }, at(2));
    assert_eq!(returned.await.unwrap(), Settled::Returned(Duration::from_secs(1)));
    let behind = bench.settle("t1", held[2].id, Settlement::Ack, at(2)).await.unwrap_err();
    assert_eq!(behind.kind(), ErrorKind::LeaseLost);
    assert_eq!(bench.counts("t1").await, (3, 1, 0, 0));
    bench.ack("t1", held[0].id, at(2)).await;
    assert_eq!(bench.counts("t1").await, (2, 0, 1, 0), "the first waits for its next attempt");
    assert_eq!(bench.count(Op::Expire { limit: 9 }, at(2)).await, 0);
    assert_eq!(bench.count(Op::Expire { limit: 9 }, at(3)).await, 1);
    let again = bench.claim("t1", 9, at(3), 60).await;
    assert_eq!(numbers(&again), [1, 2, 4]);
    assert_eq!(again.iter().map(|d| d.attempt).collect::<Vec<_>>(), [2, 1, 1]);
}

#[tokio::test]
async fn the_last_attempt_dead_letters_and_the_lane_goes_on() {
    let bench = Bench::new().await;
    bench.append((0..3).map(|n| entry(n, "a", &[("t1", key("k"))])).collect(), at(0)).await;
    for attempt in 1..=2 {
        let held = bench.claim("t1", 2, at(1), 60).await;
        assert_eq!((held[0].attempt, held[1].attempt), (attempt, 1));
        bench.settle("t1", held[0].id, retry(), at(1)).await.unwrap();
    }
    let held = bench.claim("t1", 2, at(2), 10).await;
    assert_eq!(bench.count(Op::Expire { limit: 9 }, at(12)).await, 1);
    assert_eq!(bench.counts("t1").await, (2, 0, 0, 1));
    let late = bench.settle("t1", held[1].id, Settlement::Ack, at(12)).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::LeaseLost);
    assert_eq!(numbers(&bench.claim("t1", 1, at(12), 60).await), [1]);

    let page = bench.queue.dead(&Clients::All, &DeadFilter::default(), 0, 10, usize::MAX).await.unwrap();
    let letter = &page.items[0];
    assert_eq!((letter.attempts, number(&letter.body), page.next), (3, 0, None));
    let replay = Op::Replay { ids: vec![letter.id, letter.id, 77], principal: "me".to_owned() };
    assert_eq!(bench.count(replay.clone(), at(13)).await, 1);
    assert_eq!(bench.count(replay, at(13)).await, 0);
    let view = bench.queue.trace(letter.trace, &Clients::All).await.unwrap();
    let told: Vec<_> = view.steps.iter().map(|s| format!("{} {}", s.step, s.outcome)).collect();
    let expected = [
        "accepted ok",
        "queued ok",
        "attempt retry",
        "attempt retry",
        "attempt expired",
        "dead-lettered failed",
        "replayed ok",
    ];
    assert_eq!(told, expected);
    assert_eq!((view.open, view.dead), (1, 0));
    let foreign = Clients::Only(["b".parse().unwrap()].into());
    assert_eq!(bench.queue.trace(letter.trace, &foreign).await.unwrap().client, None);
}

#[tokio::test]
async fn a_stream_is_read_advanced_and_buried() {
    let bench = Bench::new().await;
    bench.append((0..10).map(|n| entry(n, "a", &[("s1", LaneKey::Stream)])).collect(), at(0)).await;
    let s1 = name("s1");
    let all = bench.queue.read(&s1, Position(0), 100, usize::MAX).await.unwrap();
    assert_eq!(all.iter().map(|e| number(&e.body)).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    assert_eq!(bench.queue.read(&s1, all[3].position, 2, usize::MAX).await.unwrap().len(), 2);
    assert_eq!(bench.queue.read(&s1, all[3].position, 9, 3).await.unwrap().len(), 3);
    assert_eq!(bench.queue.read(&s1, all[3].position, 9, 0).await.unwrap().len(), 1);
    let bury =
        Op::Bury { queue: s1.clone(), position: all[5].position, attempts: 4, cause: "bad".to_owned() };
    bench.one(bury.clone(), at(1)).await.unwrap();
    assert_eq!(bench.one(bury, at(1)).await.unwrap_err().kind(), ErrorKind::NotFound);
    bench.one(Op::Advance { queue: s1.clone(), to: all[7].position }, at(1)).await.unwrap();
    bench.one(Op::Advance { queue: s1.clone(), to: all[2].position }, at(1)).await.unwrap();
    assert_eq!(bench.counts("s1").await, (2, 0, 0, 1));
    let rest = bench.queue.read(&s1, Position(0), 100, usize::MAX).await.unwrap();
    assert_eq!(rest.iter().map(|e| number(&e.body)).collect::<Vec<_>>(), [8, 9]);
    let task = bench.queue.read(&name("t1"), Position(0), 1, 1).await.unwrap_err();
    assert_eq!(task.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_refused_operation_leaves_the_others_of_its_commit_alone() {
    let bench = Bench::new().await;
    let append = |queue| {
        Op::Append(Append {
            entries: vec![entry(1, "a", &[("t1", key("k")), (queue, key("k"))])],
            request: None,
        })
    };
    let done = bench.commit(vec![append("t2"), append("nowhere"), append("s1"), append("t2")], at(0)).await;
    let kinds: Vec<_> =
        done.outcomes.iter().map(|o| o.as_ref().err().map(orderwire_queue::Error::kind)).collect();
    assert_eq!(kinds, [None, Some(ErrorKind::NotFound), Some(ErrorKind::Conflict), None]);
    assert_eq!(done.ready, [name("t1"), name("t2")]);
    assert_eq!(bench.counts("t1").await.0, 2);
}

#[tokio::test]
async fn a_queue_that_left_the_configuration_disappears_when_it_is_empty() {
    let bench = Bench::new().await;
    let defs = definitions();
    bench.queue.declare(&defs, Origin::Configuration).await.unwrap();
    bench.append(vec![entry(1, "a", &[("t2", key("k"))])], at(0)).await;
    bench.queue.declare(&defs[..1], Origin::Configuration).await.unwrap();
    let left = bench.queue.definitions().await.unwrap();
    assert_eq!(left.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["t1", "t2"]);
    assert!(left[1].1.types.is_empty(), "bound to nothing");
    let held = bench.claim("t2", 1, at(1), 60).await;
    bench.ack("t2", held[0].id, at(1)).await;
    assert_eq!(bench.queue.definitions().await.unwrap().len(), 1);
    assert_eq!(bench.queue.state(&name("t2")).await.unwrap_err().kind(), ErrorKind::NotFound);

    bench.append(vec![entry(2, "a", &[("t1", key("k"))])], at(2)).await;
    let mut other = defs[0].clone();
    other.1.kind = orderwire_types::queue::Kind::Stream;
    let refused = bench.queue.declare(&[defs[1].clone(), other], Origin::Call).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    assert_eq!(bench.queue.definitions().await.unwrap().len(), 1, "all or nothing");
}

#[tokio::test]
async fn scope_pause_and_timers() {
    let bench = Bench::new().await;
    bench.append(vec![entry(1, "a", &[("t1", key("k"))])], at(0)).await;
    bench.one(Op::Pause { queue: name("t1"), paused: true }, at(0)).await.unwrap();
    assert!(bench.claim("t1", 1, at(0), 60).await.is_empty());
    let resumed = bench.commit(vec![Op::Pause { queue: name("t1"), paused: false }], at(0)).await;
    assert_eq!(resumed.ready, [name("t1")]);
    let held = bench.claim("t1", 1, at(0), 60).await.remove(0);
    let foreign = Clients::Only(["b".parse().unwrap()].into());
    let settle = orderwire_queue::engine::Settle {
        queue: name("t1"),
        delivery: held.id,
        clients: foreign.clone(),
        settlement: Settlement::Ack,
    };
    assert_eq!(bench.one(Op::Settle(settle), at(1)).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(bench.queue.peek(&name("t1"), &foreign, 9, usize::MAX).await.unwrap().is_empty());
    assert_eq!(bench.queue.peek(&name("t1"), &Clients::All, 9, usize::MAX).await.unwrap()[0].0, 1);
    let extend = Op::Extend { queue: name("t1"), delivery: held.id, clients: Clients::All, until: at(100) };
    let extended = bench.commit(vec![extend.clone()], at(59)).await;
    assert_eq!(extended.next_expiry, Some(at(100)));
    bench.settle("t1", held.id, Settlement::Release, at(99)).await.unwrap();
    assert_eq!(bench.one(extend, at(99)).await.unwrap_err().kind(), ErrorKind::LeaseLost);
    let again = bench.claim("t1", 1, at(99), 1).await.remove(0);
    assert_eq!(again.attempt, 1, "a released delivery was never tried");
    let late = bench.settle("t1", again.id, Settlement::Ack, at(100)).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::LeaseLost, "though nobody expired it");
}

fn large(
    n: u64,
    client: &str,
    queues: &[(&str, LaneKey)],
    bytes: usize,
) -> orderwire_queue::engine::NewEntry {
    let mut entry = entry(n, client, queues);
    entry.body = vec![b'x'; bytes].into();
    entry
}

#[tokio::test]
async fn expiry_copies_a_bounded_number_of_bytes_at_once() {
    let bench = Bench::new().await;
    let mut now = 0;
    bench.append((0..6).map(|n| large(n, "a", &[("t1", LaneKey::Alone)], 4 << 20)).collect(), at(now)).await;
    for _ in 0..2 {
        assert_eq!(bench.claim("t1", 9, at(now), 10).await.len(), 6);
        now += 10;
        assert_eq!(bench.count(Op::Expire { limit: 100 }, at(now)).await, 6, "nothing died");
    }
    assert_eq!(bench.claim("t1", 9, at(now), 10).await.len(), 6);
    now += 10;
    let mut dead = Vec::new();
    loop {
        let done = bench.commit(vec![Op::Expire { limit: 100 }], at(now)).await;
        dead.push(bench.counts("t1").await.3);
        // What is left is due at once.
        assert_eq!(done.next_expiry.is_some_and(|next| next <= at(now)), dead.last() != Some(&6));
        if done.next_expiry.is_none() {
            break;
        }
    }
    assert_eq!(dead, [2, 4, 6]);
}

#[tokio::test]
async fn looks_into_a_long_stream_are_bounded_and_say_so() {
    let bench = Bench::new().await;
    let look = u64::try_from(orderwire_queue::engine::LOOK).unwrap();
    let stream = [("s1", LaneKey::Stream)];
    let first = entry(0, "first", &stream);
    let trace = first.trace;
    bench.append(vec![first], at(0)).await;
    let view = bench.queue.trace(trace, &Clients::All).await.unwrap();
    assert_eq!((view.open, view.partial), (1, false));
    bench.append((1..look).map(|n| entry(n, "a", &stream)).collect(), at(0)).await;
    let view = bench.queue.trace(trace, &Clients::All).await.unwrap();
    assert_eq!((view.open, view.partial), (1, false), "the last one that is looked at");
    bench.append(vec![entry(look, "late", &stream)], at(0)).await;
    let view = bench.queue.trace(trace, &Clients::All).await.unwrap();
    assert_eq!((view.open, view.partial), (0, true), "too far back to be found, and said so");

    let peeked = async |client: &str| {
        let only = Clients::Only([client.parse().unwrap()].into());
        bench.queue.peek(&name("s1"), &only, 9, usize::MAX).await.unwrap().len()
    };
    assert_eq!((peeked("first").await, peeked("a").await, peeked("late").await), (1, 9, 0));
}
