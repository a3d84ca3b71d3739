//! Queues on both sides of a broker that can be told to fail.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use orderwire_broker::testkit::ModelPlace;
use orderwire_broker::{
    Broker, Capabilities, Consumer, Declare, Error, ErrorKind, Message, QueueBinding, Received, SigningKey,
};
use orderwire_queue::testkit::{ModelPlace as Engine, def};
use orderwire_queue::{Arrived, Clock, LeaseRequest, Options, Publication, QueueState, Queues};
use orderwire_transport::{Carrier, Destination, Drain, Intake, IntakeOptions, Reader, Spool, Topology};
use orderwire_types::envelope::Incoming;
use orderwire_types::queue::{Kind, QueueDef};
use orderwire_types::testkit::event;
use orderwire_types::{Event, EventId, Pattern, QueueName, Scope};
use orderwire_worker::{Pause, StreamOptions, StreamWorker};
use tempfile::TempDir;
use tokio::task::JoinHandle;

pub(crate) const ROLE: &str = "tester";
/// Which broker it is.
pub(crate) const PLACE: &str = "model://here";

/// A broker with a switch.
pub(crate) struct Switched {
    inner: Arc<dyn Broker>,
    pub(crate) is_away: AtomicBool,
    /// Of the next publish, the first message that is not taken; those behind it are.
    fails_at: AtomicUsize,
    /// Whether that one is too large instead.
    is_too_large: AtomicBool,
}

impl Switched {
    /// The reference broker.
    pub(crate) fn on(place: &ModelPlace) -> Arc<Self> {
        Self::over(Arc::new(place.broker()))
    }

    /// Another one.
    pub(crate) fn over(inner: Arc<dyn Broker>) -> Arc<Self> {
        let fails_at = AtomicUsize::new(usize::MAX);
        let is_too_large = AtomicBool::new(false);
        Arc::new(Self { inner, is_away: AtomicBool::new(false), fails_at, is_too_large })
    }

    pub(crate) fn fail_next_at(&self, index: usize) {
        self.fails_at.store(index, Ordering::SeqCst);
    }

    pub(crate) fn find_too_large_at(&self, index: usize) {
        self.is_too_large.store(true, Ordering::SeqCst);
        self.fail_next_at(index);
    }

    fn is_there(&self) -> Result<(), Error> {
        if self.is_away.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Unavailable, "the broker is away"));
        }
        Ok(())
    }
}

#[async_trait]
impl Broker for Switched {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn declare(&self, queue: &QueueBinding) -> Result<(), Error> {
        self.is_there()?;
        self.inner.declare(queue).await
    }

    async fn unbind(&self, queue: &QueueName, types: &[Pattern]) -> Result<(), Error> {
        self.is_there()?;
        self.inner.unbind(queue, types).await
    }

    async fn publish(&self, mut messages: Vec<Message>) -> Vec<Result<(), Error>> {
        if let Err(away) = self.is_there() {
            return vec![Err(away); messages.len()];
        }
        let at = self.fails_at.swap(usize::MAX, Ordering::SeqCst);
        if at >= messages.len() {
            return self.inner.publish(messages).await;
        }
        messages.remove(at);
        let mut answers = self.inner.publish(messages).await;
        let is_too_large = self.is_too_large.swap(false, Ordering::SeqCst);
        let kind = if is_too_large { ErrorKind::TooLarge } else { ErrorKind::Unavailable };
        answers.insert(at, Err(Error::new(kind, "this one is not taken")));
        answers
    }

    async fn consume(&self, queue: &QueueBinding, prefetch: u16) -> Result<Box<dyn Consumer>, Error> {
        self.is_there()?;
        self.inner.consume(queue, prefetch).await
    }

    async fn check(&self) -> Result<(), Error> {
        self.is_there()
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

/// Takes what this installation signed, and nothing else.
pub(crate) struct Signed(pub(crate) SigningKey);

#[async_trait]
impl Reader for Signed {
    fn read(&self, _queue: &QueueName, message: &Received) -> Option<Arrived> {
        let event = self.0.event(message)?.unwrap();
        Some(Arrived { incoming: Incoming { event, named: true }, rejected: None })
    }

    async fn took_in(&self, _arrived: &[Arrived]) -> Result<(), String> {
        Ok(())
    }
}

/// A queue `shop` that an intake feeds, and a queue `own` that is not known to the broker.
pub(crate) struct World {
    pub(crate) place: ModelPlace,
    pub(crate) broker: Arc<Switched>,
    pub(crate) queues: Queues,
    pub(crate) spool: Option<Arc<Spool>>,
    pub(crate) topology: Arc<Topology>,
    pub(crate) carrier: Carrier,
    key: SigningKey,
    _folder: TempDir,
    tasks: Vec<JoinHandle<()>>,
}

impl World {
    /// With a spool of so many events; with none of 0.
    pub(crate) async fn open(spool_events: u64) -> Self {
        let place = ModelPlace::default();
        let broker = Switched::on(&place);
        Self::behind(broker, place, spool_events).await
    }

    /// The same behind this broker.
    pub(crate) async fn behind(broker: Arc<Switched>, place: ModelPlace, spool_events: u64) -> Self {
        let (queues, mut tasks) =
            queues(vec![(name("shop"), def(Kind::Task, "shop.#")), (name("own"), def(Kind::Task, "*.sold"))])
                .await;
        let spool = match spool_events {
            0 => None,
            most => {
                let options = Options { queue_events: most, ..Options::for_testing() };
                let (queues, running) = opened(vec![Spool::definition()], options).await;
                tasks.extend(running);
                Some(Spool::open(queues, most).await.unwrap())
            }
        };
        let folder = tempfile::tempdir().unwrap();
        let memory: PathBuf = folder.path().join("broker.json");
        let topology = Arc::new(Topology::new(vec![binding("shop", &["shop.#"])], PLACE.to_owned(), memory));
        let key = SigningKey::derived_from(b"key");
        let carrier = Carrier::new(
            queues.clone(),
            HashSet::from([name("shop")]),
            broker.clone(),
            topology.clone(),
            key.clone(),
            spool.clone(),
        );
        Self { place, broker, queues, spool, topology, carrier, key, _folder: folder, tasks }
    }

    /// The same with its queues at the broker.
    pub(crate) async fn made(spool_events: u64) -> Self {
        let world = Self::open(spool_events).await;
        world.topology.make(world.broker.as_ref()).await;
        world
    }

    /// Starts what sees that queues are there, what empties the spool and what takes in.
    pub(crate) fn start(&mut self) {
        let (topology, broker) = (self.topology.clone(), self.broker.clone());
        self.tasks.push(tokio::spawn(async move { topology.keep(broker.as_ref()).await }));
        let reader = Arc::new(Signed(self.key.clone()));
        let intake = Intake::new(
            self.broker.clone(),
            self.topology.clone(),
            binding("shop", &["shop.#"]),
            self.queues.clone(),
            name("shop"),
            Destination::Queue,
            reader,
            IntakeOptions::default(),
        );
        self.tasks.push(tokio::spawn(intake.run(std::future::pending())));
        let Some(spool) = self.spool.clone() else { return };
        let (queues, queue) = spool.queues();
        let drain = Drain::new(
            self.queues.clone(),
            spool,
            self.broker.clone(),
            self.topology.clone(),
            self.key.clone(),
        );
        let pause = Pause { first: Duration::from_millis(100), last: Duration::from_secs(1) };
        let worker = StreamWorker::new(
            queues,
            queue,
            Arc::new(drain),
            StreamOptions { pause, ..StreamOptions::default() },
        );
        self.tasks.push(tokio::spawn(worker.run(std::future::pending())));
    }

    /// Publishes events `from..to` of the type `shop.sold`, in one request.
    pub(crate) async fn publish(&self, from: usize, to: usize) -> Result<(), orderwire_queue::Error> {
        let events = (from..to).map(|n| incoming(n, "shop.sold")).collect();
        self.carrier.publish(&scope(), Publication { events, request: None }).await.map(drop)
    }

    /// Leases and acks `count` deliveries: the numbers of their events, in order.
    pub(crate) async fn consume(&self, queue: &str, count: usize) -> Vec<usize> {
        let mut found = Vec::new();
        while found.len() < count {
            let wait = Duration::from_secs(60);
            let request = LeaseRequest { max: count - found.len(), lease: wait, wait };
            let deliveries = self.queues.lease(&scope(), &name(queue), request).await.unwrap();
            assert!(!deliveries.is_empty(), "of {count} only {found:?} came");
            for delivery in deliveries {
                found.push(Event::decode(&delivery.body).unwrap().source.parse().unwrap());
                let done = orderwire_queue::Settlement::Ack;
                self.queues.settle(&scope(), &name(queue), delivery.id, done).await.unwrap();
            }
        }
        found
    }

    pub(crate) async fn state(&self, queue: &str) -> QueueState {
        self.queues.state(&scope(), &name(queue)).await.unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

pub(crate) async fn queues(configured: Vec<(QueueName, QueueDef)>) -> (Queues, Vec<JoinHandle<()>>) {
    opened(configured, Options::for_testing()).await
}

async fn opened(configured: Vec<(QueueName, QueueDef)>, options: Options) -> (Queues, Vec<JoinHandle<()>>) {
    let clock = Clock::following_tokio("2026-01-01T00:00:00Z".parse().unwrap());
    let engine = Arc::new(Engine::default().engine());
    let (queues, service) = Queues::open(engine, configured, HashMap::new(), options, clock).await.unwrap();
    (queues, vec![tokio::spawn(service.run(std::future::pending()))])
}

pub(crate) fn incoming(n: usize, event_type: &str) -> Incoming {
    let id: EventId = format!("00000000-0000-4000-8000-{n:012}").parse().unwrap();
    let (source, key) = (n.to_string(), Some("till".to_owned()));
    let event = Event { source, key, ..event(id, event_type, "acme") };
    Incoming { event, named: true }
}

pub(crate) fn binding(queue: &str, types: &[&str]) -> QueueBinding {
    let types = types.iter().map(|text| text.parse().unwrap()).collect();
    QueueBinding { name: name(queue), types, declare: Declare::Quorum }
}

pub(crate) fn name(text: &str) -> QueueName {
    text.parse().unwrap()
}

pub(crate) fn scope() -> Scope {
    Scope::internal(ROLE)
}
