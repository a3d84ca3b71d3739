//! The worker of a task queue.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use orderwire_queue::{Delivery, ErrorKind, LeaseRequest, Queues, Settlement};
use orderwire_types::{Event, QueueName, Scope};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::caught::catch_panic;
use crate::handler::{Task, TaskHandler, Verdict};
use crate::pause::Pause;

/// How a [`TaskWorker`] works.
#[derive(Clone, Debug)]
pub struct TaskOptions {
    /// How many lanes are handled at the same time.
    pub parallel: usize,
    /// The most deliveries of one lease call; no more than `parallel` are asked for.
    pub batch: usize,
    /// How long a lease is; extended while a handler works.
    pub lease: Duration,
    /// How long a handler may take; longer is a failed attempt.
    pub handler_timeout: Duration,
    /// The wait of one long poll.
    pub wait: Duration,
    /// The pause after the queue failed.
    pub pause: Pause,
    /// How long a stopping worker waits for its handlers.
    pub drain: Duration,
}

impl Default for TaskOptions {
    fn default() -> Self {
        Self {
            parallel: 16,
            batch: 64,
            lease: Duration::from_secs(30),
            handler_timeout: Duration::from_secs(60),
            wait: Duration::from_secs(30),
            pause: Pause::default(),
            drain: Duration::from_secs(20),
        }
    }
}

/// Leases deliveries, has them handled, and settles each as soon as it is done:
/// lanes in parallel, the deliveries of a lane in their order.
pub struct TaskWorker<H> {
    shared: Shared<H>,
}

struct Shared<H> {
    queues: Queues,
    queue: QueueName,
    scope: Scope,
    handler: Arc<H>,
    options: TaskOptions,
    /// How many lanes may be handled at the same time at this moment; none: as many as the options say.
    places: Option<watch::Receiver<usize>>,
    /// Nothing new is begun.
    draining: CancellationToken,
    /// What is under way is cut off.
    cut: CancellationToken,
}

impl<H> Clone for Shared<H> {
    fn clone(&self) -> Self {
        Self {
            queues: self.queues.clone(),
            queue: self.queue.clone(),
            scope: self.scope.clone(),
            handler: Arc::clone(&self.handler),
            options: self.options.clone(),
            places: self.places.clone(),
            draining: self.draining.clone(),
            cut: self.cut.clone(),
        }
    }
}

impl<H: TaskHandler> TaskWorker<H> {
    /// A worker of this role on this queue.
    pub fn new(queues: Queues, queue: QueueName, role: &str, handler: Arc<H>, options: TaskOptions) -> Self {
        let scope = Scope::internal(role);
        let (draining, cut) = (CancellationToken::new(), CancellationToken::new());
        Self { shared: Shared { queues, queue, scope, handler, options, places: None, draining, cut } }
    }

    /// The same worker, which handles no more lanes at the same time than this says, and
    /// never more than [`TaskOptions::parallel`]. While it says 0 nothing is leased: what
    /// waits keeps its attempts, and what was leased and not begun is given back,
    /// uncounted. What is under way goes on.
    #[must_use]
    pub fn with_places(mut self, places: watch::Receiver<usize>) -> Self {
        self.shared.places = Some(places);
        self
    }

    /// Works until `shutdown` is ready; then leases nothing more, waits for the
    /// handlers that are at work, gives back what was not begun, and returns.
    /// A handler that outlasts [`TaskOptions::drain`] is dropped, and its
    /// delivery given back as well. The queue's service must run until then.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let shared = self.shared;
        let mut places = shared.places.clone();
        let mut shutdown = pin!(shutdown);
        let mut lanes: JoinSet<()> = JoinSet::new();
        // One lease call at a time; it is kept while lanes end, because
        // dropping it would return what it is about to hand out.
        let mut leasing: Option<Leasing> = None;
        let mut failures = 0;
        loop {
            let free = shared.places().saturating_sub(lanes.len());
            if leasing.is_none() && free > 0 {
                leasing = Some(shared.clone().lease(free, failures));
            }
            tokio::select! {
                biased;
                () = shutdown.as_mut() => break,
                // A call that was made for other places may hand out too much.
                () = changed(&mut places) => leasing = None,
                Some(ended) = lanes.join_next() => report(ended),
                leased = async { leasing.as_mut().expect("checked").await }, if leasing.is_some() => {
                    leasing = None;
                    failures = if leased.is_some() { 0 } else { failures.saturating_add(1) };
                    for lane in by_lane(leased.unwrap_or_default()) {
                        lanes.spawn(shared.clone().work_off(lane));
                    }
                }
            }
        }
        drop(leasing);
        shared.drain(lanes).await;
    }
}

type Leasing = Pin<Box<dyn Future<Output = Option<Vec<Delivery>>> + Send>>;

/// Returns when the number of places has changed.
async fn changed(places: &mut Option<watch::Receiver<usize>>) {
    let changed = match places {
        Some(places) => places.changed().await.is_ok(),
        None => false,
    };
    // Nobody can change it any more.
    if !changed {
        std::future::pending::<()>().await;
    }
}

impl<H: TaskHandler> Shared<H> {
    /// How many lanes may be handled at the same time now.
    fn places(&self) -> usize {
        let places = self.places.as_ref().map_or(usize::MAX, |places| *places.borrow());
        places.min(self.options.parallel.max(1))
    }

    /// Leases deliveries; after failures in a row, after a pause. `None` is
    /// another failure.
    fn lease(self, free: usize, failures: u32) -> Leasing {
        Box::pin(async move {
            if failures > 0 {
                tokio::time::sleep(self.options.pause.after(failures)).await;
            }
            let max = free.min(self.options.batch.max(1));
            let request = LeaseRequest { max, lease: self.options.lease, wait: self.options.wait };
            let start = Instant::now();
            match self.queues.lease(&self.scope, &self.queue, request).await {
                Ok(deliveries) => {
                    // A queue that is shutting down answers at once.
                    if deliveries.is_empty() && start.elapsed() < self.options.wait / 2 {
                        tokio::time::sleep(self.options.pause.first).await;
                    }
                    Some(deliveries)
                }
                Err(err) => {
                    tracing::warn!(queue.name = %self.queue, error = %err, "cannot lease");
                    None
                }
            }
        })
    }

    /// Handles the deliveries of one lane, one after the other.
    async fn work_off(self, mut lane: VecDeque<Delivery>) {
        let mut renewed = Instant::now();
        while let Some(delivery) = lane.pop_front() {
            if self.draining.is_cancelled() || self.places() == 0 {
                self.release(&delivery, renewed).await;
                return;
            }
            let start = Instant::now();
            let ended = self.attempt(&delivery, &mut renewed).await;
            self.measure(&ended, start.elapsed());
            let goes_on = match ended {
                Ended::With(verdict) => {
                    // These take those behind it along.
                    let stays = !matches!(verdict, Verdict::Retry { .. } | Verdict::Release);
                    let settled = self.settle(&delivery, settlement(verdict), renewed).await;
                    if let (Rest::Unsure, true, Some(next)) = (&settled, stays, lane.front()) {
                        // Held by nobody else: without this they would wait for the
                        // end of the lease, and the first would lose an attempt.
                        self.release(next, renewed).await;
                    }
                    matches!(settled, Rest::Held) && stays
                }
                Ended::CutOff => {
                    tracing::warn!(
                        queue.name = %self.queue, delivery.id = %delivery.id,
                        "a handler did not end before the worker had to; its delivery is given back"
                    );
                    self.release(&delivery, renewed).await;
                    false
                }
                Ended::LeaseLost => false,
            };
            if !goes_on {
                return;
            }
        }
    }

    /// One attempt at one delivery, under a lease that is kept meanwhile.
    async fn attempt(&self, delivery: &Delivery, renewed: &mut Instant) -> Ended {
        let event = match Event::decode(&delivery.body) {
            Ok(event) => event,
            Err(err) => {
                return Ended::With(Verdict::Fail {
                    cause: format!("the stored event cannot be read: {err}"),
                });
            }
        };
        let task = Task { delivery: delivery.clone(), event };
        let handled = catch_panic(self.handler.handle(&task));
        let handled = tokio::time::timeout(self.options.handler_timeout, handled);
        tokio::select! {
            biased;
            handled = handled => Ended::With(match handled {
                Ok(Ok(verdict)) => verdict,
                Ok(Err(cause)) => Verdict::Retry { after: None, cause },
                Err(_) => Verdict::Retry {
                    after: None,
                    cause: format!("the handler took longer than {:?}", self.options.handler_timeout),
                },
            }),
            () = self.cut.cancelled() => Ended::CutOff,
            () = self.keep_lease(delivery, renewed) => Ended::LeaseLost,
        }
    }

    /// Extends the lease in time, again and again; returns when it is lost.
    async fn keep_lease(&self, delivery: &Delivery, renewed: &mut Instant) {
        loop {
            tokio::time::sleep_until(*renewed + self.options.lease / 3).await;
            let asked = Instant::now();
            let ids = [delivery.id];
            let extended = self.queues.extend(&self.scope, &self.queue, &ids, self.options.lease).await;
            match extended.and_then(|results| results.into_iter().collect::<Result<Vec<()>, _>>()) {
                Ok(_) => *renewed = asked,
                Err(err) if matches!(err.kind(), ErrorKind::LeaseLost | ErrorKind::NotFound) => {
                    tracing::warn!(
                        queue.name = %self.queue, delivery.id = %delivery.id,
                        "the lease was lost while the handler was at work"
                    );
                    return;
                }
                Err(err) => {
                    tracing::warn!(queue.name = %self.queue, error = %err, "cannot extend a lease");
                    tokio::time::sleep(self.options.pause.after(1)).await;
                }
            }
        }
    }

    /// Settles a delivery, again and again until the lease is over.
    async fn settle(&self, delivery: &Delivery, settlement: Settlement, renewed: Instant) -> Rest {
        let mut failures = 0;
        loop {
            let settled = self.queues.settle(&self.scope, &self.queue, delivery.id, settlement.clone()).await;
            let Err(err) = settled else { return Rest::Held };
            if failures > 0 && err.kind() == ErrorKind::LeaseLost {
                tracing::info!(
                    queue.name = %self.queue, delivery.id = %delivery.id,
                    "a settlement that was not confirmed may have happened"
                );
                return Rest::Unsure;
            }
            failures += 1;
            let pause = self.options.pause.after(failures);
            let over = Instant::now() + pause >= renewed + self.options.lease;
            if !err.is_retryable() || over || self.cut.is_cancelled() {
                tracing::warn!(
                    queue.name = %self.queue, delivery.id = %delivery.id, error = %err,
                    "a delivery could not be settled and may come again"
                );
                return Rest::Lost;
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Gives a delivery and those behind it back, untried.
    async fn release(&self, delivery: &Delivery, renewed: Instant) {
        self.settle(delivery, Settlement::Release, renewed).await;
    }

    async fn drain(self, mut lanes: JoinSet<()>) {
        self.draining.cancel();
        let finished = async {
            while let Some(ended) = lanes.join_next().await {
                report(ended);
            }
        };
        if tokio::time::timeout(self.options.drain, finished).await.is_ok() {
            return;
        }
        // The rest gets a moment to give back what it holds; what does not
        // manage that comes back when its lease runs out.
        self.cut.cancel();
        let given_back = async {
            while let Some(ended) = lanes.join_next().await {
                report(ended);
            }
        };
        if tokio::time::timeout(GIVE_BACK, given_back).await.is_err() {
            tracing::warn!(queue.name = %self.queue, lanes = lanes.len(), "stopped with deliveries in hand");
        }
        lanes.shutdown().await;
    }

    fn measure(&self, ended: &Ended, time: Duration) {
        let outcome = match ended {
            Ended::With(Verdict::Ack) => "ok",
            Ended::With(Verdict::Retry { .. }) => "retry",
            Ended::With(Verdict::Fail { .. }) => "failed",
            Ended::With(Verdict::Release) => "released",
            Ended::CutOff => "cut off",
            Ended::LeaseLost => "lease lost",
        };
        let queue = self.queue.to_string();
        metrics::counter!("orderwire_worker_attempts_total", "queue" => queue.clone(), "outcome" => outcome)
            .increment(1);
        metrics::histogram!("orderwire_worker_attempt_seconds", "queue" => queue).record(time.as_secs_f64());
    }
}

/// How long a stopping worker tries to give back what it holds.
const GIVE_BACK: Duration = Duration::from_secs(2);

/// What became of the rest of a lane when a delivery of it was settled.
enum Rest {
    /// It is still held.
    Held,
    /// It is held if an earlier settlement, whose answer got lost, happened; else
    /// the lease is over.
    Unsure,
    /// It is not held any more, or will soon not be.
    Lost,
}

/// How an attempt ended.
enum Ended {
    With(Verdict),
    CutOff,
    LeaseLost,
}

fn settlement(verdict: Verdict) -> Settlement {
    match verdict {
        Verdict::Ack => Settlement::Ack,
        Verdict::Retry { after, cause } => Settlement::Retry { delay: after, cause },
        Verdict::Fail { cause } => Settlement::Fail { cause },
        Verdict::Release => Settlement::Release,
    }
}

/// The deliveries of each lane, in their order.
fn by_lane(deliveries: Vec<Delivery>) -> Vec<VecDeque<Delivery>> {
    let mut lanes: Vec<VecDeque<Delivery>> = Vec::new();
    for delivery in deliveries {
        let same = |lane: &&mut VecDeque<Delivery>| lane[0].id.lane == delivery.id.lane;
        match lanes.iter_mut().find(same) {
            Some(lane) => lane.push_back(delivery),
            None => lanes.push([delivery].into()),
        }
    }
    lanes
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(err) = ended {
        tracing::error!(error = %err, "a lane of a worker ended badly; its deliveries wait for their lease");
    }
}
