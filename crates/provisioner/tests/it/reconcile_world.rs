//! What the reconciler needs around it: a real store in a folder of its own, a
//! catalogue, and a clock that only moves when a test moves it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use orderwire_config::{Config, TargetSettings};
use orderwire_provisioner::catalogue::Sources;
use orderwire_provisioner::target::Targets;
use orderwire_provisioner::{Catalogue, Names, Parts, Provisioner, Reconciler, ReconcilerOptions, Target};
use orderwire_queue::{Clock, ManualClock};
use orderwire_sqlite::DataDir;
use orderwire_sqlite::store::{Options, SqliteStore};
use orderwire_store::orders::{Acceptance, NewOrder, Order, Release, Revision};
use orderwire_store::testkit::sample_order;
use orderwire_store::{Orders, Store, Traces};
use orderwire_types::{Action, Event, EventId, OrderState, RawJson, Scope};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::reconcile_dying::{Death, DyingStore};
use crate::reconcile_target::{KeyRing, Scripted, Told};

/// The longest that a test waits for anything.
const LONGEST: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) target: Arc<Scripted>,
    pub(crate) keys: Arc<KeyRing>,
    pub(crate) told: Arc<Told>,
    pub(crate) clock: Clock,
    pub(crate) time: ManualClock,
    pub(crate) concurrency: u32,
    catalogue: Arc<Catalogue>,
    names: Arc<Names>,
    _folder: TempDir,
}

/// A reconciler that runs.
pub(crate) struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    /// Asks it to end, and waits until it has.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }

    /// Asks it to end; returns when it has.
    pub(crate) async fn ended(&mut self) {
        self.stop.cancel();
        (&mut self.task).await.unwrap();
    }

    /// Ends it wherever it is.
    pub(crate) async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled(), "the reconciler panicked");
    }
}

/// Long enough that no test runs into it by chance.
const GATED: &str = "openings: {site: {port: http}}\nhealth:\n  patience: 1h\n  gates:\n    - http: {opening: site, path: /healthz, contains: fine}\n";

/// The products of these tests are named by what happens when they fail, and by whether
/// they have a gate.
fn write_products(folder: &Path) {
    for name in ["rollback", "freeze", "keep", "gated-rollback", "gated-freeze", "gated-keep"] {
        let product = folder.join(name);
        let (on_failure, gated) =
            name.strip_prefix("gated-").map_or((name, false), |on_failure| (on_failure, true));
        let (health, port) = match gated {
            false => ("health: {patience: 60s}\n", ""),
            true => (GATED, "  port: http\n"),
        };
        std::fs::create_dir_all(product.join("templates")).unwrap();
        let definition = format!(
            "product: {name}\nversion: '1'\ndescription: For tests.\ntargets: [process]\nkinds: [Process]\n\
             access: {{rights: [write], objects: [dataset/air]}}\n{health}\
             on_failure: {on_failure}\n\
             parameters: {{type: object}}\n\
             datasets:\n  air:\n    fields: [{{name: value, type: float}}]\n"
        );
        std::fs::write(product.join("product.yaml"), definition).unwrap();
        std::fs::write(product.join("values.yaml"), "behaviour: ready\nnumber: 1\n").unwrap();
        let template = "apiVersion: orderwire.dev/v1\nkind: Process\nmetadata:\n  name: main\nspec:\n  \
                        behaviour: {{ values.behaviour }}\n  number: {{ values.number }}\n";
        std::fs::write(product.join("templates/main.yaml"), format!("{template}{port}")).unwrap();
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::open(folder.path().join("data")).unwrap();
        let store = Arc::new(SqliteStore::open(&dir, Options::default()).unwrap());
        write_products(&folder.path().join("products"));
        let names = Arc::new(Names::of(&Config::default()));
        let sources = Sources { builtin: false, folders: vec![folder.path().join("products")] };
        let catalogue = Arc::new(Catalogue::load(&sources, &names).unwrap());
        let (clock, time) = Clock::manual("2026-01-02T03:04:05Z".parse().unwrap());
        Self {
            store,
            target: Arc::new(Scripted::new()),
            keys: Arc::default(),
            told: Arc::default(),
            clock,
            time,
            concurrency: 16,
            catalogue,
            names,
            _folder: folder,
        }
    }

    pub(crate) fn parts(&self, store: Arc<dyn Store>) -> Parts {
        let target: Arc<dyn Target> = self.target.clone();
        let targets: Targets = BTreeMap::from([("local".to_owned(), target)]);
        let settings = TargetSettings { concurrency: self.concurrency, ..TargetSettings::default() };
        Parts {
            store,
            catalogue: self.catalogue.clone(),
            names: self.names.clone(),
            targets: Arc::new(targets),
            target_settings: Arc::new(BTreeMap::from([("local".to_owned(), settings)])),
            keys: self.keys.clone(),
            publisher: self.told.clone(),
            url: "http://127.0.0.1:8080".to_owned(),
            clock: self.clock.clone(),
        }
    }

    /// Starts a reconciler.
    pub(crate) fn start(&self) -> Running {
        self.start_with(self.dying(None), Self::options())
    }

    /// The store for a reconciler, which dies there.
    pub(crate) fn dying(&self, death: Option<Death>) -> Arc<DyingStore> {
        Arc::new(DyingStore::new(self.store.clone(), death, self.told.activity.clone()))
    }

    /// Leases that outlive what a test does to the clock.
    pub(crate) fn options() -> ReconcilerOptions {
        ReconcilerOptions { lease: Duration::from_secs(24 * 3600), ..ReconcilerOptions::default() }
    }

    pub(crate) fn start_with(&self, store: Arc<dyn Store>, options: ReconcilerOptions) -> Running {
        Self::start_on(self.parts(store), options)
    }

    pub(crate) fn start_on(parts: Parts, options: ReconcilerOptions) -> Running {
        let reconciler = Reconciler::new(Provisioner::new(parts), options);
        let stop = CancellationToken::new();
        let task = tokio::spawn(reconciler.run(stop.clone().cancelled_owned()));
        Running { stop, task }
    }

    /// An order of client `acme` for its release `air` that behaves like this; what
    /// follows a blank is a number that makes it another content.
    pub(crate) fn order(&self, product: &str, behaviour: &str) -> Order {
        let now = self.clock.now();
        let (behaviour, number) = behaviour.split_once(' ').unwrap_or((behaviour, "1"));
        let parameters = format!(r#"{{"behaviour":"{behaviour}","number":{number}}}"#);
        Order {
            name: "air".to_owned(),
            product: product.to_owned(),
            parameters: RawJson::parse(parameters).unwrap(),
            ..sample_order(EventId(Uuid::new_v4()), now)
        }
    }

    pub(crate) async fn accept(&self, order: Order) -> Order {
        let new = NewOrder { order, record_refused: false, steps: Vec::new() };
        match self.store.accept(new).await.unwrap() {
            Acceptance::New(order) => order,
            other => panic!("not accepted: {other:?}"),
        }
    }

    /// Orders and waits for the end.
    pub(crate) async fn ordered(&self, product: &str, behaviour: &str) -> Order {
        let order = self.accept(self.order(product, behaviour)).await;
        self.finished(order.id).await
    }

    pub(crate) async fn removal(&self) -> Order {
        self.accept(Order { action: Action::Remove, ..self.order("rollback", "ready") }).await
    }

    pub(crate) async fn get(&self, id: EventId) -> Order {
        self.store.order(&scope(), id).await.unwrap().unwrap()
    }

    pub(crate) async fn finished(&self, id: EventId) -> Order {
        self.until(&format!("order {id} is finished"), async || {
            Some(self.get(id).await).filter(|order| order.state.is_final())
        })
        .await
    }

    pub(crate) async fn in_state(&self, id: EventId, state: OrderState) -> Order {
        self.until(&format!("order {id} is {state}"), async || {
            let order = self.get(id).await;
            assert!(!order.state.is_final() || order.state == state, "it ended otherwise: {order:?}");
            Some(order).filter(|order| order.state == state)
        })
        .await
    }

    /// Waits until the release is as it shall be.
    pub(crate) async fn release_where(&self, id: Uuid, what: &str, is: impl Fn(&Release) -> bool) -> Release {
        self.until(what, async || Some(self.release(id).await).filter(|release| is(release))).await
    }

    pub(crate) async fn release(&self, id: Uuid) -> Release {
        self.store.release(&scope(), id).await.unwrap().unwrap()
    }

    pub(crate) async fn revisions(&self, id: Uuid) -> Vec<Revision> {
        let mut revisions = self.store.revisions(&scope(), id, None, 100).await.unwrap();
        revisions.reverse();
        revisions
    }

    /// The journal as `step outcome`.
    pub(crate) async fn journal(&self, id: EventId) -> Vec<String> {
        let entries = self.store.journal(&scope(), id, 0, 1_000).await.unwrap();
        entries.iter().map(|entry| format!("{} {}", entry.step, entry.outcome)).collect()
    }

    /// The trace as `step outcome`.
    pub(crate) async fn trace(&self, order: &Order) -> Vec<String> {
        let view = self.store.trace(&scope(), order.trace.id).await.unwrap();
        view.steps.iter().map(|step| format!("{} {}", step.step, step.outcome)).collect()
    }

    /// Waits until everything is told.
    pub(crate) async fn all_told(&self) {
        self.until("all is told", async || self.store.untold(1).await.unwrap().is_empty().then_some(()))
            .await;
    }

    /// The states of an order that were told, in order, each event once.
    pub(crate) fn told_of(&self, order: EventId) -> Vec<String> {
        let mut events: Vec<Event> = Vec::new();
        for event in self.told.events() {
            let is_of =
                event.cause == Some(order) && event.event_type.as_str().starts_with("orderwire.order.");
            if is_of && events.iter().all(|known| known.id != event.id) {
                events.push(event);
            }
        }
        events.iter().map(|event| event.event_type.as_str()["orderwire.order.".len()..].to_owned()).collect()
    }

    /// Waits for a condition; looks whenever the store, the target or the publisher
    /// has done something.
    pub(crate) async fn until<T>(&self, what: &str, look: impl AsyncFn() -> Option<T>) -> T {
        let mut changes = self.store.changes();
        let (mut target, mut told) = (self.target.activity.subscribe(), self.told.activity.subscribe());
        let found = tokio::time::timeout(LONGEST, async {
            loop {
                changes.borrow_and_update();
                target.borrow_and_update();
                told.borrow_and_update();
                if let Some(found) = look().await {
                    return found;
                }
                tokio::select! {
                    changed = changes.changed() => changed.unwrap(),
                    changed = target.changed() => changed.unwrap(),
                    changed = told.changed() => changed.unwrap(),
                }
            }
        });
        found.await.unwrap_or_else(|_| panic!("it did not come to pass: {what}"))
    }
}

pub(crate) fn scope() -> Scope {
    Scope::internal("test")
}
