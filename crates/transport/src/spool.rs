//! What waits for the broker.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use orderwire_broker::{Broker, ErrorKind as BrokerErrorKind, SigningKey};
use orderwire_queue::{Error, ErrorKind, Position, Publication, Queues};
use orderwire_types::envelope::Incoming;
use orderwire_types::queue::{Kind, QueueDef};
use orderwire_types::{Event, QueueName, Scope};
use orderwire_worker::{BatchError, StreamEntry, StreamHandler};
use tokio::sync::RwLock;

use crate::carrier::feed;
use crate::topology::Topology;

/// Events that were accepted while the broker was away, in order, on a persistent path:
/// a stream of an engine of its own.
pub struct Spool {
    queues: Queues,
    name: QueueName,
    scope: Scope,
    events_max: u64,
    /// How many events are in it, those included that are on their way in.
    held: AtomicI64,
    /// Held by all that are on their way in; alone by who looks whether anything is left.
    moving: Arc<RwLock<()>>,
}

impl Spool {
    /// The one stream of a spool's engine.
    pub fn definition() -> (QueueName, QueueDef) {
        let everything = "#".parse().expect("a pattern");
        ("spool".parse().expect("a queue name"), QueueDef::new(Kind::Stream, vec![everything]))
    }

    /// The spool in these queues, which hold [`Spool::definition`] and nothing else, and at
    /// most `events_max` events.
    ///
    /// # Errors
    /// When the engine does not say what it holds.
    pub async fn open(queues: Queues, events_max: u64) -> Result<Arc<Self>, Error> {
        let (name, scope) = (Self::definition().0, Scope::internal("spool"));
        let held = queues.state(&scope, &name).await?.ready;
        let held = AtomicI64::new(i64::try_from(held).unwrap_or(i64::MAX));
        let spool = Self { queues, name, scope, events_max, held, moving: Arc::default() };
        spool.show();
        Ok(Arc::new(spool))
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many events are in it.
    pub fn len(&self) -> u64 {
        u64::try_from(self.held.load(Ordering::SeqCst)).unwrap_or(0)
    }

    /// Whether it takes no more.
    pub fn is_full(&self) -> bool {
        self.len() >= self.events_max
    }

    /// The queues that it is made of: for the worker that drains it.
    pub fn queues(&self) -> (Queues, QueueName) {
        (self.queues.clone(), self.name.clone())
    }

    /// Keeps events durably, in order; to the end also when nobody waits for it any more.
    ///
    /// # Errors
    /// `Full`: it holds its maximum. Others when nothing durable can be promised.
    pub(crate) async fn keep(self: &Arc<Self>, events: Vec<Event>) -> Result<(), Error> {
        let count = i64::try_from(events.len()).expect("a batch is small");
        let moving = Arc::clone(&self.moving).read_owned().await;
        // Counted first: whoever comes next must not overtake, and many at once are not more
        // than it holds.
        let before = self.held.fetch_add(count, Ordering::SeqCst);
        if u64::try_from(before + count).is_ok_and(|held| held > self.events_max) {
            self.held.fetch_sub(count, Ordering::SeqCst);
            return Err(full());
        }
        let spool = Arc::clone(self);
        let keeping = tokio::spawn(async move {
            let _moving = moving;
            let events = events.into_iter().map(|event| Incoming { event, named: false }).collect();
            let kept = spool.queues.publish(&spool.scope, Publication { events, request: None }).await;
            if let Err(error) = &kept {
                // What may have happened stays counted, until the drain finds nothing more.
                if error.kind() != ErrorKind::Unconfirmed {
                    spool.held.fetch_sub(count, Ordering::SeqCst);
                }
            }
            spool.show();
            kept
        });
        let kept = keeping.await.unwrap_or_else(|ended| {
            Err(Error::new(ErrorKind::Unconfirmed, format!("publish to the spool: {ended}")))
        });
        kept.map(drop).map_err(|error| match error.kind() {
            ErrorKind::Full => full(),
            kind => Error::new(kind, format!("publish: the broker is away and the spool fails: {error}")),
        })
    }

    /// Everything up to `to` was taken out of it, `count` events.
    async fn took_out(&self, to: Position, count: usize) {
        self.held.fetch_sub(i64::try_from(count).expect("a batch is small"), Ordering::SeqCst);
        let alone = self.moving.write().await;
        // A count that is wrong, because nobody knows whether something came in, would send
        // all that comes through the spool for good.
        let rest = self.queues.read(&self.name, to, 1, 1, Duration::ZERO).await;
        if rest.is_ok_and(|rest| rest.is_empty()) {
            self.held.store(0, Ordering::SeqCst);
        }
        drop(alone);
        self.show();
    }

    fn show(&self) {
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        metrics::gauge!("orderwire_spool_events").set(self.len() as f64);
    }
}

fn full() -> Error {
    let why = "publish: the broker is away and the spool holds its maximum (broker.spool.events)";
    Error::new(ErrorKind::Full, why)
}

/// Publishes what the spool holds, in order; for a [`orderwire_worker::StreamWorker`].
///
/// What was published before a crash is published again after it: the queues take in
/// each event once.
pub struct Drain {
    /// Where events go that no queue of the broker takes.
    queues: Queues,
    spool: Arc<Spool>,
    broker: Arc<dyn Broker>,
    topology: Arc<Topology>,
    key: SigningKey,
    /// What is drained stands at the beginning of the stream and goes from there, so that
    /// no position has to outlive the process.
    position: AtomicI64,
}

impl Drain {
    /// Drains this spool.
    pub fn new(
        queues: Queues,
        spool: Arc<Spool>,
        broker: Arc<dyn Broker>,
        topology: Arc<Topology>,
        key: SigningKey,
    ) -> Self {
        Self { queues, spool, broker, topology, key, position: AtomicI64::new(Position::default().0) }
    }

    async fn reached(&self, position: Position, entries: usize) {
        self.position.store(position.0, Ordering::SeqCst);
        self.spool.took_out(position, entries).await;
    }
}

#[async_trait]
impl StreamHandler for Drain {
    async fn position(&self) -> Result<Position, BatchError> {
        Ok(Position(self.position.load(Ordering::SeqCst)))
    }

    async fn handle(&self, batch: &[StreamEntry], _from: Position) -> Result<(), BatchError> {
        if !self.topology.is_made() {
            return Err(BatchError::retryable("the queues at the broker are not made yet"));
        }
        let messages = batch.iter().map(|entry| self.key.message(entry.event.clone())).collect();
        let answers = self.broker.publish(messages).await;
        let mut astray = Vec::new();
        for (entry, answer) in batch.iter().zip(answers) {
            match answer.map_err(|error| (error.kind(), error)) {
                Ok(()) => {}
                // What the broker has no place for, and what is too large for it by now, goes
                // the short way.
                Err((BrokerErrorKind::Unroutable | BrokerErrorKind::TooLarge, _)) => {
                    astray.push(entry.event.clone());
                }
                Err((_, error)) => return Err(BatchError::retryable(error.to_string())),
            }
        }
        feed(&self.queues, &astray, |_| true)
            .await
            .map_err(|error| BatchError::retryable(error.to_string()))?;
        if let Some(last) = batch.last() {
            self.reached(last.position, batch.len()).await;
            metrics::counter!("orderwire_spool_drained_total").increment(batch.len() as u64);
        }
        Ok(())
    }

    async fn skip(&self, position: Position) -> Result<(), BatchError> {
        self.reached(position, 1).await;
        Ok(())
    }
}
