//! A scheduler over the reference engine, whose commits can be held up.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use orderwire_queue::engine::{Capabilities, Committed, Op, Origin};
use orderwire_queue::testkit::{ModelEngine, ModelPlace, def};
use orderwire_queue::{
    Clock, DeadFilter, DeadPage, DeadRefs, Delivery, Engine, Entry, Error, ErrorKind, Figures, LeaseRequest,
    ManualClock, Options, Position, Publication, Published, QueueState, Queues, TraceView,
};
use orderwire_types::envelope::Incoming;
use orderwire_types::queue::{Kind, QueueDef};
use orderwire_types::scope::Clients;
use orderwire_types::{Client, Event, EventId, QueueName, Scope, testkit};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinHandle;
use uuid::Uuid;

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const ROLE: &str = "recorder";

/// The queues `tasks`, `status` and `rows` (whose worker is [`ROLE`]).
pub(crate) struct Bench {
    pub(crate) queues: Queues,
    pub(crate) engine: Arc<Gated>,
    pub(crate) clock: ManualClock,
    stop: Option<oneshot::Sender<()>>,
    service: JoinHandle<()>,
    serial: Mutex<u64>,
}

impl Bench {
    pub(crate) async fn open() -> Self {
        Self::with(Options::for_testing()).await
    }

    /// Another scheduler over the same engine, as another process has it.
    pub(crate) async fn beside(&self) -> Self {
        Self::over(self.engine.clone(), Options::for_testing()).await
    }

    pub(crate) async fn with(options: Options) -> Self {
        Self::over(Arc::new(Gated::new()), options).await
    }

    async fn over(engine: Arc<Gated>, options: Options) -> Self {
        let configured = vec![
            (name("tasks"), def(Kind::Task, "task.#")),
            (name("status"), def(Kind::Task, "task.status")),
            (name("rows"), def(Kind::Stream, "row.#")),
        ];
        let workers = HashMap::from([(name("rows"), ROLE.to_owned())]);
        let (clock, hand) = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
        let (queues, service) =
            Queues::open(engine.clone(), configured, workers, options, clock).await.unwrap();
        let (stop, stopped) = oneshot::channel();
        let service = tokio::spawn(service.run(async {
            let _ = stopped.await;
        }));
        let bench = Self { queues, engine, clock: hand, stop: Some(stop), service, serial: Mutex::default() };
        // The service's own first look is over.
        bench.engine.until_commits(1).await;
        bench
    }

    /// Stops the service; the handle ends when it did.
    pub(crate) fn stop(&mut self) -> &mut JoinHandle<()> {
        self.stop.take().unwrap().send(()).unwrap();
        &mut self.service
    }

    pub(crate) fn event(&self, event_type: &str, client: &str, label: &str) -> Incoming {
        let mut serial = self.serial.lock().unwrap();
        *serial += 1;
        let id = EventId(Uuid::from_u128(u128::from(*serial)));
        let event = Event {
            source: label.to_owned(),
            key: Some(label.to_owned()),
            accepted_at: self.clock.now(),
            ..testkit::event(id, event_type, client)
        };
        Incoming { event, named: false }
    }

    pub(crate) async fn publish(&self, events: Vec<Incoming>) -> Result<Published, Error> {
        self.queues.publish(&all(), Publication { events, request: None }).await
    }

    /// Publishes one event of the client `acme`, on a lane of its label.
    pub(crate) async fn put(&self, label: &str) {
        self.publish(vec![self.event("task.do", "acme", label)]).await.unwrap();
    }

    /// Begins to do the same, on a task of its own.
    pub(crate) fn begin(&self, label: &str) -> JoinHandle<Result<Published, Error>> {
        let (queues, event) = (self.queues.clone(), self.event("task.do", "acme", label));
        tokio::spawn(async move { queues.publish(&all(), Publication::of(event)).await })
    }

    /// Leases up to so many from `tasks`, without waiting.
    pub(crate) async fn take(&self, max: usize) -> Vec<Delivery> {
        self.queues.lease(&all(), &name("tasks"), request(max, Duration::ZERO)).await.unwrap()
    }

    /// Leases one from `tasks`, waiting up to a minute, on a task of its own.
    pub(crate) fn wait_for_one(&self, scope: Scope) -> JoinHandle<Result<Vec<Delivery>, Error>> {
        let queues = self.queues.clone();
        tokio::spawn(async move { queues.lease(&scope, &name("tasks"), request(1, 60 * SECOND)).await })
    }

    pub(crate) async fn state(&self, queue: &str) -> QueueState {
        self.queues.state(&all(), &name(queue)).await.unwrap()
    }
}

pub(crate) fn request(max: usize, wait: Duration) -> LeaseRequest {
    LeaseRequest { max, lease: 30 * SECOND, wait }
}

pub(crate) fn name(text: &str) -> QueueName {
    text.parse().unwrap()
}

/// Everything, as a consumer from outside.
pub(crate) fn all() -> Scope {
    Scope::internal("key:1")
}

/// One client only.
pub(crate) fn only(client: &str) -> Scope {
    let client: Client = client.parse().unwrap();
    Scope { clients: Clients::Only([client].into()), ..all() }
}

/// The (label, attempt) of each delivery.
pub(crate) fn shown(deliveries: &[Delivery]) -> Vec<(String, u32)> {
    let shown = |delivery: &Delivery| (Event::decode(&delivery.body).unwrap().source, delivery.attempt);
    deliveries.iter().map(shown).collect()
}

pub(crate) fn kind<T>(result: Result<T, Error>) -> Option<ErrorKind> {
    result.err().map(|err| err.kind())
}

/// The reference engine behind a gate.
pub(crate) struct Gated {
    inner: ModelEngine,
    gate: Semaphore,
    /// How many operations each commit had, as far as commits began.
    begun: watch::Sender<Vec<usize>>,
    fault: Mutex<Option<Error>>,
    /// How often the state of a queue, or of all, was asked for.
    looks: AtomicUsize,
}

/// So many that the gate stands open.
const OPEN: usize = 1 << 20;

impl Gated {
    fn new() -> Self {
        Self {
            inner: ModelPlace::default().engine(),
            gate: Semaphore::new(OPEN),
            begun: watch::Sender::default(),
            fault: Mutex::default(),
            looks: AtomicUsize::default(),
        }
    }

    /// Holds up commits from now on.
    pub(crate) fn hold(&self) {
        self.gate.forget_permits(OPEN * 2);
    }

    /// Lets commits through again.
    pub(crate) fn release(&self) {
        self.gate.add_permits(OPEN);
    }

    /// Makes commits fail, or work again.
    pub(crate) fn fail(&self, fault: Option<Error>) {
        *self.fault.lock().unwrap() = fault;
    }

    /// How many operations each commit had so far.
    pub(crate) fn commits(&self) -> Vec<usize> {
        self.begun.borrow().clone()
    }

    /// How often the state of a queue, or of all, was asked for.
    pub(crate) fn looks(&self) -> usize {
        self.looks.load(Ordering::Relaxed)
    }

    /// Returns when so many commits have begun.
    pub(crate) async fn until_commits(&self, count: usize) {
        self.begun.subscribe().wait_for(|begun| begun.len() >= count).await.unwrap();
    }
}

#[async_trait]
impl Engine for Gated {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn declare(&self, queues: &[(QueueName, QueueDef)], origin: Origin) -> Result<(), Error> {
        self.inner.declare(queues, origin).await
    }

    async fn definitions(&self) -> Result<Vec<(QueueName, QueueDef)>, Error> {
        self.inner.definitions().await
    }

    async fn commit(&self, ops: Vec<Op>, now: Timestamp) -> Result<Committed, Error> {
        self.begun.send_modify(|begun| begun.push(ops.len()));
        self.gate.acquire().await.unwrap().forget();
        let fault = self.fault.lock().unwrap().clone();
        match fault {
            Some(fault) => Err(fault),
            None => self.inner.commit(ops, now).await,
        }
    }

    async fn state(&self, queue: &QueueName) -> Result<QueueState, Error> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        self.inner.state(queue).await
    }

    async fn states(&self) -> Result<Vec<QueueState>, Error> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        self.inner.states().await
    }

    async fn figures(&self) -> Result<Vec<(QueueName, Figures)>, Error> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        self.inner.figures().await
    }

    async fn peek(
        &self,
        queue: &QueueName,
        clients: &Clients,
        max: usize,
        max_bytes: usize,
    ) -> Result<Vec<(u32, Entry)>, Error> {
        self.inner.peek(queue, clients, max, max_bytes).await
    }

    async fn read(
        &self,
        queue: &QueueName,
        after: Position,
        max: usize,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, Error> {
        self.inner.read(queue, after, max, max_bytes).await
    }

    async fn dead(
        &self,
        clients: &Clients,
        filter: &DeadFilter,
        after: i64,
        max: usize,
        max_bytes: usize,
    ) -> Result<DeadPage, Error> {
        self.inner.dead(clients, filter, after, max, max_bytes).await
    }

    async fn dead_refs(
        &self,
        clients: &Clients,
        filter: &DeadFilter,
        after: i64,
        max: usize,
    ) -> Result<DeadRefs, Error> {
        self.inner.dead_refs(clients, filter, after, max).await
    }

    async fn trace(&self, trace: Uuid, clients: &Clients) -> Result<TraceView, Error> {
        self.inner.trace(trace, clients).await
    }
}
