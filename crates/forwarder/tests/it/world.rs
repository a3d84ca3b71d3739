//! A forwarder at work, with its queues and its store.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use orderwire_config::{Secret, SecretValue};
use orderwire_forwarder::{BreakerOptions, Endpoint, EndpointOptions, Forwarder, Lookup, Parts};
use orderwire_queue::{Clock, DeadFilter, DeadLetter, Options, Publication, QueueState, Queues};
use orderwire_sqlite::store::SqliteStore;
use orderwire_sqlite::{DataDir, SqliteQueue};
use orderwire_store::Store;
use orderwire_store::log::{AttemptFilter, DeliveryAttempt};
use orderwire_types::dataset::Span;
use orderwire_types::envelope::Incoming;
use orderwire_types::queue::{Backoff, Format, Key, Kind, QueueDef};
use orderwire_types::scope::Clients;
use orderwire_types::testkit::event;
use orderwire_types::{Data, Event, EventId, RawJson, Scope};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The secret that signs unless a test says otherwise.
pub(crate) const KEY: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// A secret of this content, as a configuration gives it.
pub(crate) fn secret(content: &str) -> SecretValue {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    std::fs::write(&path, content).unwrap();
    format!("file:{}", path.display()).parse::<Secret>().unwrap().resolve().unwrap()
}

/// An endpoint with short pauses, whose address may be of this machine.
pub(crate) fn endpoint(name: &str, url: &str) -> EndpointOptions {
    EndpointOptions {
        name: name.parse().unwrap(),
        queue: format!("forward-{name}").parse().unwrap(),
        url: url.to_owned(),
        types: vec![format!("{name}.#").parse().unwrap()],
        clients: Clients::All,
        format: Format::Cloudevents,
        secrets: vec![secret(KEY)],
        headers: Vec::new(),
        timeout: Duration::from_secs(5),
        concurrency: 4,
        rate: None,
        allow_private: true,
        breaker: BreakerOptions { failures: 1_000, ..BreakerOptions::default() },
        log: 1_000,
    }
}

/// Names with addresses, of which none stands for a server of names that never answers,
/// and how often they were asked for.
#[derive(Clone, Default)]
pub(crate) struct Names {
    addresses: Arc<Mutex<HashMap<String, Option<Vec<IpAddr>>>>>,
    asked: Arc<AtomicUsize>,
}

impl Names {
    pub(crate) fn set(&self, name: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        self.addresses.lock().unwrap().insert(name.to_owned(), Some(addresses));
    }

    pub(crate) fn silence(&self, name: &str) {
        self.addresses.lock().unwrap().insert(name.to_owned(), None);
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Lookup for Names {
    async fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let found = self.addresses.lock().unwrap().get(host).cloned();
        match found {
            Some(Some(addresses)) => Ok(addresses),
            Some(None) => std::future::pending().await,
            None => Err(io::Error::new(io::ErrorKind::NotFound, "there is no such name")),
        }
    }
}

/// How the queues of endpoints are.
#[derive(Clone, Copy)]
pub(crate) struct Tries {
    pub(crate) attempts: u32,
    pub(crate) first: Duration,
    pub(crate) key: Key,
}

impl Default for Tries {
    fn default() -> Self {
        Self { attempts: 20, first: Duration::from_millis(20), key: Key::None }
    }
}

pub(crate) struct World {
    pub(crate) forwarder: Forwarder,
    pub(crate) queues: Queues,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) names: Names,
    serial: u128,
    stop: oneshot::Sender<()>,
    service: JoinHandle<()>,
    _stop_queue: oneshot::Sender<()>,
    _folder: tempfile::TempDir,
}

impl World {
    pub(crate) async fn start(endpoints: Vec<EndpointOptions>) -> Self {
        Self::with(endpoints, Tries::default(), |store| store).await
    }

    /// The same; `front` is the store, or one in front of it.
    pub(crate) async fn with(
        endpoints: Vec<EndpointOptions>,
        tries: Tries,
        front: impl FnOnce(Arc<dyn Store>) -> Arc<dyn Store>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::open(folder.path()).unwrap();
        let store: Arc<dyn Store> =
            front(Arc::new(SqliteStore::open(&dir, orderwire_sqlite::store::Options::default()).unwrap()));
        let engine = Arc::new(SqliteQueue::open(&dir, &orderwire_sqlite::Options::default()).unwrap());
        let def = |endpoint: &EndpointOptions| QueueDef {
            kind: Kind::Task,
            types: endpoint.types.clone(),
            key: tries.key,
            format: endpoint.format,
            attempts: tries.attempts,
            backoff: Backoff { first: Span(tries.first), last: Span(Duration::from_millis(200)) },
        };
        let definitions = endpoints.iter().map(|endpoint| (endpoint.queue.clone(), def(endpoint))).collect();
        let workers =
            endpoints.iter().map(|endpoint| (endpoint.queue.clone(), "forwarder".to_owned())).collect();
        let clock = Clock::system();
        let (queues, service) =
            Queues::open(engine, definitions, workers, Options::default(), clock.clone()).await.unwrap();
        let (stop_queue, stopped) = oneshot::channel::<()>();
        tokio::spawn(service.run(async {
            let _ = stopped.await;
        }));
        let names = Names::default();
        let (forwarder, service) = Forwarder::new(Parts {
            endpoints: endpoints.into_iter().map(|options| Endpoint::new(options).unwrap()).collect(),
            queues: queues.clone(),
            store: Arc::clone(&store),
            lookup: Arc::new(names.clone()),
            clock,
            log_for: Duration::from_secs(3_600),
        })
        .unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let service = tokio::spawn(service.run(async {
            let _ = stopped.await;
        }));
        Self {
            forwarder,
            queues,
            store,
            names,
            serial: 0,
            stop,
            service,
            _stop_queue: stop_queue,
            _folder: folder,
        }
    }

    /// Publishes an event of a client; its id.
    pub(crate) async fn publish_for(&mut self, event_type: &str, client: &str) -> EventId {
        self.serial += 1;
        let id = EventId(Uuid::from_u128(self.serial << 64 | 0x4000_8000));
        let data = Data::Json(RawJson::parse(r#"{"n":9007199254740993}"#.to_owned()).unwrap());
        let event = Event { data, source: "/shop".to_owned(), ..event(id, event_type, client) };
        let incoming = Incoming { event, named: false };
        self.queues.publish(&scope(), Publication::of(incoming)).await.unwrap();
        id
    }

    pub(crate) async fn publish(&mut self, event_type: &str) -> EventId {
        self.publish_for(event_type, "acme").await
    }

    pub(crate) async fn state(&self, endpoint: &str) -> QueueState {
        self.queues.state(&scope(), &format!("forward-{endpoint}").parse().unwrap()).await.unwrap()
    }

    pub(crate) async fn dead(&self) -> Vec<DeadLetter> {
        self.queues.dead(&scope(), &DeadFilter::default(), 0, 1_000).await.unwrap().items
    }

    /// The delivery log of an endpoint, oldest first.
    pub(crate) async fn log(&self, endpoint: &str) -> Vec<DeliveryAttempt> {
        let name = endpoint.parse().unwrap();
        let found =
            self.store.attempts(&scope(), &name, &AttemptFilter::default(), None, 1_000).await.unwrap();
        found.into_iter().rev().map(|logged| logged.attempt).collect()
    }

    /// Asks until it is as wanted.
    pub(crate) async fn until<T>(&self, what: &str, mut look: impl AsyncFnMut(&Self) -> Option<T>) -> T {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look(self).await {
                return found;
            }
            assert!(tokio::time::Instant::now() < deadline, "never got so: {what}");
            // tidy: sleep because the condition is in the queue or the store and is asked for again
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until nothing waits for an endpoint any more.
    pub(crate) async fn until_empty(&self, endpoint: &str) {
        self.until("the queue is empty", async |world| {
            let state = world.state(endpoint).await;
            (state.ready + state.in_flight + state.delayed == 0).then_some(())
        })
        .await;
    }

    /// Waits for so many attempts in the log; oldest first.
    pub(crate) async fn logged(&self, endpoint: &str, count: usize) -> Vec<DeliveryAttempt> {
        self.until("the log", async |world| {
            let log = world.log(endpoint).await;
            (log.len() >= count).then_some(log)
        })
        .await
    }

    /// Whether the service ends by itself within this time.
    pub(crate) async fn ends_within(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, &mut self.service).await.is_ok()
    }

    /// Ends it as a server ends.
    pub(crate) async fn drain(self) {
        self.stop.send(()).unwrap();
        self.service.await.unwrap();
    }
}

pub(crate) fn scope() -> Scope {
    Scope::internal("test")
}
