//! A stream whose worker gets what waits at the broker without a stop in the queue.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use orderwire_broker::testkit::ModelPlace;
use orderwire_broker::{Broker, SigningKey};
use orderwire_queue::testkit::def;
use orderwire_queue::{Arrived, DeadFilter, Position, Queues};
use orderwire_transport::{Destination, Intake, IntakeOptions, Topology};
use orderwire_types::envelope::Incoming;
use orderwire_types::queue::Kind;
use orderwire_types::{Event, EventId};
use orderwire_worker::{BatchError, DirectHandler, DirectWorker, StreamOptions};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::world::{PLACE, Signed, Switched, binding, incoming, name, queues, scope};

/// Longer than any pause here.
const LONG: Duration = Duration::from_secs(600);

/// A store of what was recorded, in order.
#[derive(Default)]
struct Ledger {
    recorded: watch::Sender<Vec<EventId>>,
    is_away: AtomicBool,
    /// The number of the event that it can never take.
    faulty: Mutex<Option<usize>>,
    calls: AtomicUsize,
}

#[async_trait]
impl DirectHandler for Ledger {
    async fn handle(&self, batch: &[&Incoming]) -> Result<Vec<bool>, BatchError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.is_away.load(Ordering::SeqCst) {
            return Err(BatchError::retryable("the store is away"));
        }
        let faulty = self.faulty.lock().unwrap().map(|n| n.to_string());
        if batch.iter().any(|incoming| Some(&incoming.event.source) == faulty.as_ref()) {
            return Err(BatchError::batch("one of them is no row"));
        }
        let is_new = |recorded: &mut Vec<EventId>, id| {
            let new = !recorded.contains(&id);
            if new {
                recorded.push(id);
            }
            new
        };
        let mut new = Vec::new();
        self.recorded
            .send_modify(|recorded| new = batch.iter().map(|each| is_new(recorded, each.event.id)).collect());
        Ok(new)
    }

    async fn check(&self) -> Result<(), BatchError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.is_away.load(Ordering::SeqCst) {
            return Err(BatchError::retryable("the store is away"));
        }
        Ok(())
    }
}

struct World {
    place: ModelPlace,
    broker: Arc<Switched>,
    queues: Queues,
    key: SigningKey,
    ledger: Arc<Ledger>,
    _folder: tempfile::TempDir,
    topology: Arc<Topology>,
    tasks: Vec<JoinHandle<()>>,
}

impl World {
    async fn open() -> Self {
        let place = ModelPlace::default();
        let broker = Switched::on(&place);
        let (queues, tasks) = queues(vec![(name("rows"), def(Kind::Stream, "row.#"))]).await;
        let folder = tempfile::tempdir().unwrap();
        let memory = folder.path().join("broker.json");
        let topology = Arc::new(Topology::new(vec![binding("rows", &["row.#"])], PLACE.to_owned(), memory));
        topology.make(broker.as_ref()).await;
        let key = SigningKey::derived_from(b"key");
        let ledger = Arc::default();
        Self { place, broker, queues, key, ledger, _folder: folder, topology, tasks }
    }

    /// Starts the intake; what ends it as a crash does.
    fn start(&mut self) -> tokio::task::AbortHandle {
        let handler = self.ledger.clone();
        let worker = DirectWorker::new(name("rows"), handler, StreamOptions::default());
        let intake = Intake::new(
            self.broker.clone(),
            self.topology.clone(),
            binding("rows", &["row.#"]),
            self.queues.clone(),
            name("rows"),
            Destination::Worker(worker),
            Arc::new(Signed(self.key.clone())),
            IntakeOptions::default(),
        );
        let task = tokio::spawn(intake.run(std::future::pending()));
        let handle = task.abort_handle();
        self.tasks.push(task);
        handle
    }

    /// Publishes events `from..to` at the broker.
    async fn publish(&self, from: usize, to: usize) {
        let message = |n| self.key.message(incoming(n, "row.put").event);
        for answer in self.broker.publish((from..to).map(message).collect()).await {
            answer.unwrap();
        }
    }

    /// Returns when so many events are recorded, with their numbers.
    async fn recorded(&self, count: usize) -> Vec<usize> {
        let mut recorded = self.ledger.recorded.subscribe();
        let there = recorded.wait_for(|recorded| recorded.len() >= count);
        let ids = tokio::time::timeout(LONG, there).await.expect("all are recorded").unwrap().clone();
        ids.iter().map(|id| id.to_string()[24..].parse().unwrap()).collect()
    }

    /// How many messages the broker hands out to another consumer.
    async fn left(&self) -> usize {
        let other = self.place.broker();
        let mut consumer = other.consume(&binding("rows", &["row.#"]), 1_000).await.unwrap();
        let next = tokio::time::timeout(LONG, consumer.next(1_000)).await;
        next.map_or(0, |messages| messages.unwrap().len())
    }

    /// The numbers of events that are dead letters, with their causes.
    async fn dead(&self) -> Vec<(usize, String)> {
        let page = self.queues.dead(&scope(), &DeadFilter::default(), 0, 100).await.unwrap();
        let number = |body: &[u8]| Event::decode(body).unwrap().source.parse().unwrap();
        page.items.into_iter().map(|letter| (number(&letter.body), letter.cause)).collect()
    }

    async fn waiting(&self) -> u64 {
        self.queues.state(&scope(), &name("rows")).await.unwrap().ready
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn numbers(count: usize) -> Vec<usize> {
    (0..count).collect()
}

#[tokio::test(start_paused = true)]
async fn messages_are_recorded_in_order_and_acked_and_the_queue_holds_none() {
    let mut world = World::open().await;
    let intake = world.start();
    world.publish(0, 300).await;
    assert_eq!(world.recorded(300).await, numbers(300));
    assert_eq!(world.waiting().await, 0);
    // Nothing is read of a stream that never held anything.
    let read = world.queues.read(&name("rows"), Position(0), 10, 1 << 20, Duration::ZERO).await;
    assert_eq!(read.unwrap().len(), 0);
    world.publish(300, 301).await;
    world.recorded(301).await;
    // tidy: sleep because the paused clock moves on only when the intake has acked, and waits
    tokio::time::sleep(LONG).await;
    intake.abort();
    assert_eq!(world.left().await, 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_recorded_stays_at_the_broker() {
    let mut world = World::open().await;
    world.ledger.is_away.store(true, Ordering::SeqCst);
    let intake = world.start();
    world.publish(0, 10).await;
    // tidy: sleep because the paused clock moves on only when the intake pauses between attempts
    tokio::time::sleep(LONG).await;
    assert!(world.ledger.calls.load(Ordering::SeqCst) > 5, "it is tried again");
    intake.abort();
    assert_eq!(world.left().await, 10);
    // The next process has all of it, once, although the one before may have recorded some.
    world.ledger.is_away.store(false, Ordering::SeqCst);
    world.ledger.recorded.send_modify(|recorded| recorded.push(incoming(3, "row.put").event.id));
    world.start();
    let mut recorded = world.recorded(10).await;
    recorded.sort_unstable();
    assert_eq!(recorded, numbers(10));
}

#[tokio::test(start_paused = true)]
async fn a_faulty_event_is_a_dead_letter_and_those_around_it_are_recorded() {
    let mut world = World::open().await;
    *world.ledger.faulty.lock().unwrap() = Some(7);
    let intake = world.start();
    world.publish(0, 20).await;
    let mut expected = numbers(20);
    expected.remove(7);
    assert_eq!(world.recorded(19).await, expected);
    // tidy: sleep because the paused clock moves on only when the intake has acked, and waits
    tokio::time::sleep(LONG).await;
    assert_eq!(world.dead().await, [(7, "one of them is no row".to_owned())]);
    intake.abort();
    assert_eq!(world.left().await, 0);
    // It is put aside once, however often it comes.
    world.start();
    world.publish(7, 8).await;
    world.publish(20, 21).await;
    world.recorded(20).await;
    assert_eq!(world.dead().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_paused_stream_takes_nothing_and_goes_on_after_it() {
    let mut world = World::open().await;
    world.start();
    world.publish(0, 5).await;
    world.recorded(5).await;
    world.queues.pause(&scope(), &name("rows"), true).await.unwrap();
    world.publish(5, 10).await;
    // tidy: sleep because nothing happens
    tokio::time::sleep(LONG).await;
    assert_eq!(world.recorded(5).await, numbers(5));
    assert_eq!(world.left().await, 5, "they are free for others");
    world.queues.pause(&scope(), &name("rows"), false).await.unwrap();
    assert_eq!(world.recorded(10).await, numbers(10));
}

/// As when the store is away for long, and somebody else shall have the messages.
#[tokio::test(start_paused = true)]
async fn a_stream_that_is_paused_while_a_batch_is_tried_again_gives_it_back() {
    let mut world = World::open().await;
    world.ledger.is_away.store(true, Ordering::SeqCst);
    world.start();
    world.publish(0, 10).await;
    // tidy: sleep because the paused clock moves on only when the intake pauses between attempts
    tokio::time::sleep(LONG).await;
    world.queues.pause(&scope(), &name("rows"), true).await.unwrap();
    // tidy: sleep because only the intake's doing nothing more tells that it is paused
    tokio::time::sleep(LONG).await;
    let calls = world.ledger.calls.load(Ordering::SeqCst);
    assert!(calls > 5, "it was tried again");
    assert_eq!(world.left().await, 10, "they are free for others");
    // tidy: sleep because nothing happens
    tokio::time::sleep(LONG).await;
    assert_eq!(world.ledger.calls.load(Ordering::SeqCst), calls, "nobody asks for the store any more");
    world.ledger.is_away.store(false, Ordering::SeqCst);
    world.queues.pause(&scope(), &name("rows"), false).await.unwrap();
    let mut recorded = world.recorded(10).await;
    recorded.sort_unstable();
    assert_eq!(recorded, numbers(10));
}

#[tokio::test(start_paused = true)]
async fn what_waited_in_the_queue_before_goes_first() {
    let mut world = World::open().await;
    let before = Arrived { incoming: incoming(0, "row.put"), rejected: None };
    world.queues.arrive(&name("rows"), &[before]).await.unwrap();
    world.publish(1, 5).await;
    world.start();
    // tidy: sleep because nothing happens
    tokio::time::sleep(LONG).await;
    assert_eq!(world.recorded(0).await, [0_usize; 0]);
    let first = world.queues.read(&name("rows"), Position(0), 1, 1, Duration::ZERO).await.unwrap();
    world.queues.advance(&name("rows"), first[0].position).await.unwrap();
    assert_eq!(world.recorded(4).await, [1, 2, 3, 4]);
}
