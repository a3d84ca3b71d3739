//! The handle that everyone uses.

mod admin;
mod arrive;
mod consume;
mod dead;
mod lease;
mod publish;
pub(crate) mod replay;
mod stream;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use orderwire_types::queue::QueueDef;
use orderwire_types::scope::Clients;
use orderwire_types::{QueueName, Scope, queue};
use tokio::sync::{mpsc, watch};

use crate::catalog::{Catalog, Queue};
use crate::clock::Clock;
use crate::commit::Committer;
use crate::engine::{Engine, Origin, Outcome};
use crate::error::{Error, ErrorKind};
use crate::options::Options;
use crate::replay::{RUNNING_MAX, Replays};
use crate::service::Service;

pub use arrive::Arrived;
pub use consume::Consumer;
pub use dead::Selected;
pub use lease::LeaseRequest;
pub use publish::{Publication, Published, PublishedEvent};

/// All queues of one engine. Clones share everything.
///
/// Every call takes the caller's [`Scope`]. Rights are checked at the edge;
/// here clients and objects are: what is outside the scope looks as if it did
/// not exist. Figures and settings of whole queues need all clients.
///
/// Calls that change something return after their commit; that needs the
/// [`Service`] to run. Every call ends within [`Options::call_timeout`], the
/// wait of a long poll aside.
///
/// Errors of every call: `Unavailable` (nothing durable can be promised now, and
/// nothing was changed) and `Damaged`; of calls that change something also
/// `Unconfirmed` (whether it happened is unknown). Calls that name a queue: `NotFound`.
#[derive(Clone)]
pub struct Queues {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) clock: Clock,
    pub(crate) options: Options,
    committer: Committer,
    catalog: RwLock<Arc<Catalog>>,
    configured: HashMap<QueueName, QueueDef>,
    /// Configured queues that are not as they are configured here, as it was said last.
    contradicted: Mutex<Vec<QueueName>>,
    workers: HashMap<QueueName, String>,
    /// One change of definitions at a time.
    declaring: tokio::sync::Mutex<()>,
    /// Replays at a rate, and the way to where they run.
    replays: Replays,
    begin: mpsc::Sender<replay::Begun>,
    /// How many calls paused or resumed a queue: what the engine said before the last of
    /// them says nothing.
    pauses: Mutex<u64>,
    /// The error of the last commit, if it failed.
    pub(crate) fault: Mutex<Option<Error>>,
    /// When the next lease of another process runs out, as it was heard last.
    pub(crate) expiry_elsewhere: watch::Sender<Option<Timestamp>>,
    /// Turns true when nobody may wait any more, at the latest when the service stops.
    pub(crate) closing: watch::Sender<bool>,
}

impl Queues {
    /// Makes the configured queues exist and returns the handle together with
    /// the service that has to run behind it. `workers` says which queues have
    /// a worker of Orderwire's own, and its role.
    ///
    /// # Errors
    /// `Conflict` when a queue that holds deliveries is of the other kind.
    pub async fn open(
        engine: Arc<dyn Engine>,
        configured: Vec<(QueueName, QueueDef)>,
        workers: HashMap<QueueName, String>,
        options: Options,
        clock: Clock,
    ) -> Result<(Self, Service), Error> {
        engine.declare(&configured, Origin::Configuration).await?;
        let (jobs, pending) = mpsc::channel(options.pending_calls.max(1));
        let (returns, returned) = mpsc::channel(options.pending_calls.max(1));
        let (begin, begun) = mpsc::channel(RUNNING_MAX);
        let inner = Arc::new(Inner {
            committer: Committer { jobs, timeout: options.call_timeout },
            catalog: RwLock::default(),
            configured: configured.into_iter().collect(),
            contradicted: Mutex::default(),
            workers,
            declaring: tokio::sync::Mutex::default(),
            replays: Replays::default(),
            begin,
            pauses: Mutex::default(),
            fault: Mutex::default(),
            expiry_elsewhere: watch::Sender::new(None),
            closing: watch::Sender::new(false),
            engine,
            clock,
            options,
        });
        inner.reload().await?;
        inner.look_at_figures().await?;
        let service = Service::new(Arc::clone(&inner), pending, returns, returned, begun);
        Ok((Self { inner }, service))
    }

    /// Whether the last commit went through. After one that failed, another
    /// follows within a second or so, if only to see.
    ///
    /// # Errors
    /// What it failed with: nothing durable can be promised for now.
    pub fn health(&self) -> Result<(), Error> {
        let fault = self.inner.fault.lock().unwrap_or_else(PoisonError::into_inner).clone();
        fault.map_or(Ok(()), Err)
    }

    /// Ends every wait for something to consume at once, with nothing, also
    /// those that begin later: for a server that goes down, where a long poll
    /// would hold up the end. What is there is still handed out.
    pub fn stop_waiting(&self) {
        self.inner.closing.send_replace(true);
    }

    /// What the engine behind the queues can do.
    pub fn capabilities(&self) -> crate::engine::Capabilities {
        self.inner.engine.capabilities()
    }

    /// The queue of this name or alias within the scope.
    fn find(&self, scope: &Scope, name: &QueueName) -> Result<Arc<Queue>, Error> {
        let name = canonical(name);
        let queue = self.inner.catalog().get(&name).cloned();
        queue.filter(|_| touches(scope, &name)).ok_or_else(|| Error::no_queue(&name))
    }

    /// The same, for what concerns the whole queue.
    fn find_whole(&self, scope: &Scope, name: &QueueName) -> Result<Arc<Queue>, Error> {
        let queue = self.find(scope, name)?;
        if scope.clients == Clients::All { Ok(queue) } else { Err(Error::no_queue(&queue.name)) }
    }
}

impl Inner {
    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the definitions anew.
    pub(crate) async fn reload(&self) -> Result<(), Error> {
        let definitions = self.read("read the queues", self.engine.definitions()).await?;
        let updated = self.catalog().updated(definitions, self.options.cached_routes);
        *self.catalog.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(updated);
        Ok(())
    }

    /// Says which queues another process has configured otherwise, once for each change: the
    /// last one that started decides, for all that share the queues.
    pub(crate) fn look_for_contradictions(&self) {
        let catalog = self.catalog();
        let differs =
            |name: &QueueName, def: &QueueDef| catalog.get(name).is_none_or(|queue| queue.def != *def);
        let mut names: Vec<QueueName> = self
            .configured
            .iter()
            .filter(|(name, def)| differs(name, def))
            .map(|(name, _)| name.clone())
            .collect();
        names.sort();
        let mut said = self.contradicted.lock().unwrap_or_else(PoisonError::into_inner);
        if *said != names && !names.is_empty() {
            let queues = names.iter().map(QueueName::as_str).collect::<Vec<_>>().join(", ");
            tracing::warn!(
                queues,
                "another server on the same store, which started later, configures these queues otherwise: its \
                 settings hold for all; give all servers the same queues"
            );
        }
        *said = names;
    }

    /// Takes over what the engine counts, and shows it.
    pub(crate) async fn look_at_figures(&self) -> Result<(), Error> {
        let catalog = self.catalog();
        let pauses = *self.pauses.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, held) in self.read("read the queues' figures", self.engine.figures()).await? {
            // One that was declared this moment is in the next look.
            let Some(queue) = catalog.get(&name) else { continue };
            queue.live.set_waiting(held.ready + held.in_flight + held.delayed);
            let now = self.pauses.lock().unwrap_or_else(PoisonError::into_inner);
            if *now == pauses {
                queue.live.set_paused(held.paused);
            }
            drop(now);
            let figures = [
                ("ready", held.ready),
                ("in_flight", held.in_flight),
                ("delayed", held.delayed),
                ("dead", held.dead),
            ];
            for (name, figure) in figures {
                #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
                metrics::gauge!("orderwire_queue_deliveries", "queue" => queue.name.to_string(), "state" => name)
                    .set(figure as f64);
            }
        }
        Ok(())
    }

    /// Whether the last commit failed.
    pub(crate) fn is_faulty(&self) -> bool {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Wakes whoever waits at a queue.
    pub(crate) fn wake(&self, name: &QueueName) {
        if let Some(queue) = self.catalog().get(name) {
            queue.live.gate.wake();
        }
    }

    /// Whether nobody may wait any more.
    fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }

    /// Returns when nobody may wait any more.
    async fn closed(&self) {
        // An error means that the sender is gone, which `self` holds.
        let _ = self.closing.subscribe().wait_for(|closing| *closing).await;
    }

    /// A reading call with its time-out.
    async fn read<T>(&self, what: &str, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        tokio::time::timeout(self.options.call_timeout, call).await.unwrap_or_else(|_| {
            Err(Error::new(
                ErrorKind::Unavailable,
                format!("{what}: the queue's storage did not answer in time"),
            ))
        })
    }

    /// The end of a wait that starts now, cut to the longest.
    fn deadline(&self, wait: Duration) -> tokio::time::Instant {
        tokio::time::Instant::now() + wait.min(self.options.wait_max)
    }
}

/// The name behind an alias.
fn canonical(name: &QueueName) -> QueueName {
    match queue::alias(name.as_str()) {
        same if same == name.as_str() => name.clone(),
        other => other.parse().expect("the name behind an alias is a queue name"),
    }
}

/// Whether the queue is among the objects of the scope.
fn touches(scope: &Scope, name: &QueueName) -> bool {
    scope.objects.is_none() || scope.touches(&format!("queue/{name}"))
}

/// The one outcome of a call with one operation.
fn single(answer: Vec<Result<Outcome, Error>>) -> Result<Outcome, Error> {
    answer.into_iter().next().unwrap_or_else(|| Err(wrong_outcome()))
}

/// The engine broke its contract; nothing sensible can be answered.
fn wrong_outcome() -> Error {
    Error::new(ErrorKind::Damaged, "the queue's storage gave an answer that does not belong to the call")
}
