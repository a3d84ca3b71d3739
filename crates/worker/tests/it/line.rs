//! A queue to work on.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use orderwire_queue::engine::Engine;
use orderwire_queue::testkit::{ModelPlace, def};
use orderwire_queue::{Clock, DeadFilter, DeadLetter, Options, Publication, QueueState, Queues};
use orderwire_types::envelope::Incoming;
use orderwire_types::queue::Kind;
use orderwire_types::{Event, EventId, QueueName, Scope, testkit};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) const ROLE: &str = "tester";
pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// The queues `tasks` and `rows`, whose worker is [`ROLE`], with their service.
pub(crate) struct Line {
    pub(crate) queues: Queues,
    serial: u64,
    _stop: oneshot::Sender<()>,
}

impl Line {
    pub(crate) async fn open() -> Self {
        Self::over(Arc::new(ModelPlace::default().engine())).await
    }

    /// The same over this engine.
    pub(crate) async fn over(engine: Arc<dyn Engine>) -> Self {
        let configured = vec![(tasks(), def(Kind::Task, "task.#")), (rows(), def(Kind::Stream, "row.#"))];
        let workers = HashMap::from([(tasks(), ROLE.to_owned()), (rows(), ROLE.to_owned())]);
        let clock = Clock::following_tokio("2026-01-01T00:00:00Z".parse().unwrap());
        let (queues, service) =
            Queues::open(engine, configured, workers, Options::for_testing(), clock).await.unwrap();
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(service.run(async {
            let _ = stopped.await;
        }));
        Self { queues, serial: 0, _stop: stop }
    }

    /// Publishes events of one type, one per label, with these keys.
    pub(crate) async fn publish(&mut self, event_type: &str, events: &[(&str, &str)]) {
        let events = events.iter().map(|(label, key)| self.event(event_type, label, key)).collect();
        self.queues.publish(&scope(), Publication { events, request: None }).await.unwrap();
    }

    pub(crate) async fn state(&self, queue: &QueueName) -> QueueState {
        self.queues.state(&scope(), queue).await.unwrap()
    }

    pub(crate) async fn dead(&self) -> Vec<DeadLetter> {
        self.queues.dead(&scope(), &DeadFilter::default(), 0, 100).await.unwrap().items
    }

    fn event(&mut self, event_type: &str, label: &str, key: &str) -> Incoming {
        self.serial += 1;
        incoming(self.serial, event_type, label, key)
    }
}

/// An event with this number, label and key.
pub(crate) fn incoming(serial: u64, event_type: &str, label: &str, key: &str) -> Incoming {
    let id: EventId = format!("00000000-0000-4000-8000-{serial:012}").parse().unwrap();
    let event = Event {
        source: label.to_owned(),
        key: Some(key.to_owned()),
        ..testkit::event(id, event_type, "acme")
    };
    Incoming { event, named: false }
}

pub(crate) fn tasks() -> QueueName {
    "tasks".parse().unwrap()
}

pub(crate) fn rows() -> QueueName {
    "rows".parse().unwrap()
}

pub(crate) fn scope() -> Scope {
    Scope::internal(ROLE)
}

/// A worker at work.
pub(crate) struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    /// Starts what `run` makes of a shutdown signal.
    pub(crate) fn start<F>(run: impl FnOnce(oneshot::Receiver<()>) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (stop, stopped) = oneshot::channel();
        Self { stop, task: tokio::spawn(run(stopped)) }
    }

    /// Asks it to stop and returns when it did.
    pub(crate) async fn drain(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }

    /// Asks it to stop; the handle ends when it did.
    pub(crate) fn stop(self) -> JoinHandle<()> {
        self.stop.send(()).unwrap();
        self.task
    }

    /// Ends it in the middle of everything, as a crash would.
    pub(crate) async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}
