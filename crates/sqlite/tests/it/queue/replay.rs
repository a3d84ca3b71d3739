//! A replay at a rate over the real file, in time that the test lets pass.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use orderwire_queue::testkit::def;
use orderwire_queue::{Clock, DeadFilter, LeaseRequest, Options, Publication, Queues, Replay, ReplayState};
use orderwire_sqlite::{DataDir, SqliteQueue};
use orderwire_types::envelope::Incoming;
use orderwire_types::queue::Kind;
use orderwire_types::{Event, EventId, QueueName, Scope, TraceId, testkit};
use tokio::time::{Instant, advance};
use uuid::Uuid;

use super::support::{at, name};

const LETTERS: usize = 10_000;
const RATE: u32 = 500;
/// How much time passes at once: less than a replay makes up for.
const PASS: Duration = Duration::from_millis(50);

fn all() -> Scope {
    Scope::internal("key:1")
}

fn tasks() -> QueueName {
    name("tasks")
}

fn event(n: usize) -> Incoming {
    let id = EventId(Uuid::from_u128(n as u128 + 1));
    let client = ["acme", "bolt", "cord"][n % 3];
    let event = Event {
        key: Some(n.to_string()),
        trace: TraceId::from_uuid(Uuid::from_u128((1 << 64) + n as u128)),
        accepted_at: at(0),
        ..testkit::event(id, "task.do", client)
    };
    Incoming { event, named: false }
}

/// Takes everything that waits; the trace of each event.
async fn take(
    queues: &Queues,
    mut with: impl AsyncFnMut(&[orderwire_queue::DeliveryId]),
) -> BTreeMap<EventId, Uuid> {
    let mut taken = BTreeMap::new();
    loop {
        let request = LeaseRequest { max: 1_000, lease: Duration::from_secs(3_600), wait: Duration::ZERO };
        let deliveries = queues.lease(&all(), &tasks(), request).await.unwrap();
        if deliveries.is_empty() {
            return taken;
        }
        for delivery in &deliveries {
            let event = Event::decode(&delivery.body).unwrap();
            let before = taken.insert(event.id, event.trace.id);
            assert_eq!((before, delivery.attempt), (None, 1), "{} came twice", event.id);
        }
        let ids: Vec<_> = deliveries.iter().map(|delivery| delivery.id).collect();
        with(&ids).await;
    }
}

/// Asks until a replay is as wanted, while no time passes.
async fn until(queues: &Queues, replay: &Replay, wanted: impl Fn(&Replay) -> bool) -> Replay {
    // The writer is a thread of its own: only the system's clock bounds the wait.
    let begin = std::time::Instant::now();
    loop {
        let now = queues.replay_of(&all(), replay.id).unwrap();
        if wanted(&now) {
            return now;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "never got as wanted: {now:?}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_letters_go_back_at_500_a_second_and_a_second_replay_changes_nothing() {
    // Paused time runs on when nobody has anything to do, and does not see the writer's work.
    tokio::spawn(async {
        loop {
            tokio::task::yield_now().await;
        }
    });
    let root = tempfile::tempdir().unwrap();
    let dir = DataDir::open(root.path()).unwrap();
    let engine = Arc::new(SqliteQueue::open(&dir, &orderwire_sqlite::Options::for_testing()).unwrap());
    let (clock, _hand) = Clock::manual(at(0));
    let configured = vec![(tasks(), def(Kind::Task, "task.#"))];
    let (queues, service) =
        Queues::open(engine, configured, HashMap::new(), Options::for_testing(), clock).await.unwrap();
    tokio::spawn(service.run(std::future::pending()));

    for first in (0..LETTERS).step_by(1_000) {
        let events = (first..first + 1_000).map(event).collect();
        queues.publish(&all(), Publication { events, request: None }).await.unwrap();
    }
    let published = take(&queues, async |ids| {
        let failed = queues.fail(&all(), &tasks(), ids, "no address").await.unwrap();
        assert!(failed.iter().all(Result::is_ok));
    })
    .await;
    assert_eq!(published.len(), LETTERS);

    let rate = NonZeroU32::new(RATE).unwrap();
    let filter = DeadFilter { cause: Some("ADDRESS".to_owned()), ..DeadFilter::default() };
    let begin = Instant::now();
    let replay = queues.start_replay(&all(), &filter, rate).await.unwrap();
    let replay = until(&queues, &replay, |now| now.matched.is_some()).await;
    assert_eq!(replay.matched, Some(LETTERS as u64));
    let begun = begin.elapsed();
    assert_eq!(begun, Duration::ZERO, "counting takes no time of the replay");
    let mut ticks = 0u64;
    let ended = loop {
        advance(PASS).await;
        ticks += 1;
        // As many as are due, the last few of which may wait to be a piece.
        let due = (ticks * u64::from(RATE) * PASS.as_millis() as u64 / 1_000 + 1).min(LETTERS as u64);
        let now = until(&queues, &replay, |now| now.done + 10 >= due || !now.is_running()).await;
        assert!(now.done <= due, "{} letters, {due} were due", now.done);
        if now.done == LETTERS as u64 {
            break until(&queues, &replay, |now| !now.is_running()).await;
        }
    };
    assert_eq!((ended.state, ended.done), (ReplayState::Done, LETTERS as u64));
    let took = begin.elapsed();
    assert!(took >= Duration::from_secs(19) && took <= Duration::from_secs(21), "{took:?}");

    let again = queues.start_replay(&all(), &filter, rate).await.unwrap();
    let again = until(&queues, &again, |now| !now.is_running()).await;
    assert_eq!((again.state, again.matched, again.done), (ReplayState::Done, Some(0), 0));
    let at_once = queues.replay(&all(), &filter, false).await.unwrap();
    assert_eq!((at_once.matched, at_once.done), (0, 0));

    // The same events with the same traces, each once.
    let replayed = take(&queues, async |ids| {
        let acked = queues.ack(&all(), &tasks(), ids).await.unwrap();
        assert!(acked.iter().all(Result::is_ok));
    })
    .await;
    assert!(replayed == published, "{} of {LETTERS} events came back", replayed.len());
}
