//! A provisioner over the real store and products of its own, without anything that
//! works on orders.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::Timestamp;
use orderwire_config::{Config, TargetSettings};
use orderwire_provisioner::catalogue::Sources;
use orderwire_provisioner::target::{
    Desired, Effect, Error, Grant, Health, Manifest, Observed, Placement, Planned, Target,
};
use orderwire_provisioner::{
    AcceptError, Catalogue, Names, OrderRequest, Parts, Provisioner, Publisher, ReleaseKeys,
};
use orderwire_queue::Clock;
use orderwire_sqlite::DataDir;
use orderwire_sqlite::store::SqliteStore;
use orderwire_store::orders::{Acceptance, Order, Release};
use orderwire_store::{Orders as _, Traces as _};
use orderwire_types::step::Step;
use orderwire_types::{Action, Client, Event, EventId, Right, Scope, TraceId};
use serde_json::Value;
use tokio::sync::broadcast;
use uuid::Uuid;

/// What is asked of a target by name, in order.
pub(crate) type Calls = Arc<Mutex<Vec<String>>>;

/// A target on which nothing is, that notes what it is asked.
struct Empty {
    kind: &'static str,
    calls: Calls,
    changes: broadcast::Sender<Uuid>,
}

impl Empty {
    fn note(&self, call: &str) {
        self.calls.lock().unwrap().push(call.to_owned());
    }
}

#[async_trait]
impl Target for Empty {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn check(&self, manifests: &[Manifest]) -> Vec<String> {
        self.note("check");
        let wrong = |manifest: &&Manifest| manifest.0["spec"]["command"] == "forbidden";
        manifests
            .iter()
            .filter(wrong)
            .map(|m| format!("{} {}: command is forbidden", m.kind(), m.name()))
            .collect()
    }

    fn ports(&self, manifest: &Manifest) -> Vec<String> {
        let ports = manifest.0["spec"]["ports"].as_object();
        ports.into_iter().flatten().map(|(name, _)| name.clone()).collect()
    }

    async fn plan(&self, _: &Placement, desired: &Desired) -> Result<Vec<Planned>, Error> {
        self.note("plan");
        if desired.manifests.iter().any(|manifest| manifest.0["spec"]["command"] == "refused") {
            return Err(Error::Refused("the command is refused".to_owned()));
        }
        let planned = |manifest: &Manifest| Planned {
            kind: manifest.kind().to_owned(),
            name: manifest.name().to_owned(),
            effect: Effect::Create,
            fields: Vec::new(),
        };
        Ok(desired.manifests.iter().map(planned).collect())
    }

    async fn apply(&self, _: &Placement, _: &Desired, _: &Grant) -> Result<(), Error> {
        self.note("apply");
        Ok(())
    }

    async fn observe(&self, _: &Placement, _: &Desired) -> Result<Observed, Error> {
        self.note("observe");
        Ok(Observed { health: Health::Ready, resources: Vec::new() })
    }

    async fn remove(&self, _: &Placement) -> Result<Vec<String>, Error> {
        self.note("remove");
        Ok(Vec::new())
    }

    async fn drift(&self, _: &Placement, _: &Desired) -> Result<Vec<Planned>, Error> {
        self.note("drift");
        Ok(Vec::new())
    }

    fn changes(&self) -> broadcast::Receiver<Uuid> {
        self.changes.subscribe()
    }

    async fn stop(&self) {}
}

/// Nothing that is accepted or planned makes keys or publishes.
struct Nobody;

#[async_trait]
impl ReleaseKeys for Nobody {
    async fn make(&self, _: &str, _: &str, _: &Client, _: &[Right], _: &[String]) -> Result<String, String> {
        Err("no key may be made".to_owned())
    }

    async fn revoke(&self, _: &str) -> Result<(), String> {
        Err("no key may be revoked".to_owned())
    }
}

#[async_trait]
impl Publisher for Nobody {
    async fn publish(&self, _: Vec<Event>) -> Result<(), String> {
        Err("nothing may be published".to_owned())
    }
}

pub(crate) struct Kit {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) provisioner: Provisioner,
    pub(crate) calls: Calls,
}

pub(crate) fn start() -> Timestamp {
    "2026-11-20T12:00:00Z".parse().unwrap()
}

pub(crate) fn scope() -> Scope {
    Scope::internal("test")
}

const SENSOR: &str = "product: sensor
version: '1'
description: Measures.
targets: [process]
kinds: [Process]
parameters:
  type: object
  additionalProperties: false
  properties:
    interval: {type: integer, minimum: 1, default: 5}
    label: {type: string}
    command: {type: string}
secrets:
  TOKEN: file:SECRET
";
const TEMPLATE: &str = "apiVersion: orderwire.dev/v1
kind: Process
metadata:
  name: {{ release }}
spec:
  image: sensor:1
  command: {{ values.command }}
  environment:
    INTERVAL: {{ values.interval }}
    LABEL: {{ values.label }}
    WHERE: {{ environment }}/{{ archtype }}/{{ hardware }}/{{ client }}/{{ namespace }}
";

/// What makes `web` of it: a page that others may reach, unless its command is `closed`.
const WEB: &str = "openings: {site: {port: http, description: The page.}}
health: {gates: [{http: {opening: site}}]}
";
const WEB_PORT: &str = r#"{% if values.command != "closed" %}
  ports: {http: 0}
{% endif %}
"#;

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// A provisioner with the products `sensor` (alias `Small-Module`) and `web`, the
/// environments that exist anyway on the target `local`, and `qa` on a target of
/// another kind, `stage` on one that is not there, `uat` on one with a template of
/// its own.
pub(crate) fn kit() -> Kit {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    write(&secret, "hush\n");
    let products = folder.path().join("products");
    let sensor = SENSOR.replace("SECRET", &secret.display().to_string());
    write(&products.join("sensor/product.yaml"), &sensor);
    write(&products.join("sensor/values.yaml"), "label: none\ncommand: run\n");
    write(&products.join("sensor/templates/process.yaml"), TEMPLATE);
    write(&products.join("web/product.yaml"), &(sensor.replace("product: sensor", "product: web") + WEB));
    write(&products.join("web/values.yaml"), "label: none\ncommand: run\n");
    write(&products.join("web/templates/process.yaml"), &format!("{TEMPLATE}{WEB_PORT}"));

    let mut config = Config::default();
    config.products.aliases.insert("Small-Module".to_owned(), "sensor".parse().unwrap());
    for (environment, target) in [("qa", "far"), ("stage", "gone"), ("uat", "own")] {
        let settings = config.environments.entry(environment.parse().unwrap()).or_default();
        settings.target = Some(target.parse().unwrap());
    }
    let names = Names::of(&config);
    let sources = Sources { builtin: false, folders: vec![products] };
    let catalogue = Catalogue::load(&sources, &names).unwrap();

    let calls = Calls::default();
    let target = |kind| -> Arc<dyn Target> {
        Arc::new(Empty { kind, calls: calls.clone(), changes: broadcast::Sender::new(1) })
    };
    let targets = [("local", target("process")), ("far", target("elsewhere")), ("own", target("process"))];
    let targets: BTreeMap<String, Arc<dyn Target>> =
        targets.into_iter().map(|(name, target)| (name.to_owned(), target)).collect();
    let mut settings = config.target_settings();
    settings.insert("far".to_owned(), TargetSettings::default());
    let template = "{client}-{environment}-{name}".to_owned();
    settings.insert("own".to_owned(), TargetSettings { namespace: template, ..TargetSettings::default() });

    let dir = DataDir::open(folder.path().join("data")).unwrap();
    let store = Arc::new(SqliteStore::open(&dir, orderwire_sqlite::store::Options::default()).unwrap());
    let provisioner = Provisioner::new(Parts {
        store: store.clone(),
        catalogue: Arc::new(catalogue),
        names: Arc::new(names),
        targets: Arc::new(targets),
        target_settings: Arc::new(settings),
        keys: Arc::new(Nobody),
        publisher: Arc::new(Nobody),
        url: "http://127.0.0.1:8080".to_owned(),
        clock: Clock::new(start),
    });
    Kit { folder, store, provisioner, calls }
}

/// An order of the product `sensor` for the client `acme` under this number.
pub(crate) fn request(number: u128) -> OrderRequest {
    OrderRequest {
        id: EventId(Uuid::from_u128(number)),
        trace: TraceId::from_uuid(Uuid::from_u128(1_000_000 + number)),
        client: "acme".parse().unwrap(),
        product: Some("sensor".to_owned()),
        name: None,
        release: None,
        environment: None,
        archtype: None,
        hardware: None,
        namespace: None,
        parameters: None,
        action: Action::Apply,
        to_revision: None,
        principal: "key:1".to_owned(),
        ordered_at: start(),
        depth: 0,
        is_event: false,
    }
}

impl Kit {
    /// Has an order accepted that nothing is wrong with.
    pub(crate) async fn accepted(&self, request: OrderRequest) -> Order {
        match self.provisioner.accept(request).await.unwrap() {
            Acceptance::New(order) => order,
            other => panic!("{other:?}"),
        }
    }

    /// What is said of an order that is not accepted, and that nothing is recorded of it.
    pub(crate) async fn refused(&self, request: OrderRequest) -> String {
        let id = request.id;
        let said = match self.provisioner.accept(request).await {
            Err(AcceptError::Invalid(faults)) => {
                let lines = faults.iter().map(|fault| format!("{}: {}", fault.pointer, fault.detail));
                lines.collect::<Vec<_>>().join("\n")
            }
            Err(AcceptError::Refused(refusal)) => format!("refused: {refusal}"),
            other => panic!("{other:?}"),
        };
        assert_eq!(self.store.order(&scope(), id).await.unwrap(), None);
        said
    }

    pub(crate) async fn order(&self, id: EventId) -> Order {
        self.store.order(&scope(), id).await.unwrap().unwrap()
    }

    pub(crate) async fn release(&self, order: &Order) -> Release {
        self.store.release(&scope(), order.release.unwrap()).await.unwrap().unwrap()
    }

    /// The provisioner's steps of a trace, as text.
    pub(crate) async fn steps(&self, trace: &TraceId) -> String {
        let view = self.store.trace(&scope(), trace.id).await.unwrap();
        let text = |step: &Step| {
            format!("{} {}: {}", step.step, step.outcome, step.detail.as_deref().unwrap_or_default())
        };
        view.steps.iter().filter(|step| step.role == "provisioner").map(text).collect::<Vec<_>>().join("\n")
    }
}

pub(crate) fn json(text: &str) -> Option<Value> {
    Some(serde_json::from_str(text).unwrap())
}
