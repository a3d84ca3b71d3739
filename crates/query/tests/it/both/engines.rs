//! Two servers with the same rows, one on SQLite and one on PostgreSQL. The statements of every read
//! are looked at.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::{Extension, Router};
use http_body_util::BodyExt;
use jiff::Timestamp;
use orderwire_api::Authenticator;
use orderwire_cache::MemoryCache;
use orderwire_postgres::store::PostgresStore;
use orderwire_query::{Options, ViewDef, router};
use orderwire_requests::Planned;
use orderwire_sqlite::DataDir;
use orderwire_sqlite::store::SqliteStore;
use orderwire_store::{Recording, RowsEvent, Source, Store};
use orderwire_types::{EventId, RawJson, Scope};
use tokio_postgres::NoTls;
use tower::ServiceExt;
use uuid::Uuid;

use crate::bench::Keyring;

/// What a server said, of which engines may not differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) range: String,
    /// Where the next page begins.
    pub(super) next: Option<String>,
    pub(super) text: String,
}

/// The two servers.
pub(super) struct Both {
    sqlite: Router,
    postgres: Router,
    stores: [Arc<dyn Store>; 2],
    _dir: tempfile::TempDir,
    _database: Database,
}

impl Both {
    /// With a dataset of this definition and these rows, a JSON array.
    pub(super) async fn with(name: &str, definition: &str, rows: &str) -> Self {
        Self::with_views(name, definition, rows, Vec::new()).await
    }

    /// The same with views.
    pub(super) async fn with_views(name: &str, definition: &str, rows: &str, views: Vec<ViewDef>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path()).unwrap();
        let sqlite = SqliteStore::open(&data, orderwire_sqlite::store::Options::default()).unwrap();
        let database = Database::new().await;
        let options = orderwire_postgres::Options::for_testing(database.url.clone());
        let postgres = PostgresStore::open(orderwire_postgres::store::Options::new(options)).await.unwrap();
        let stores: [Arc<dyn Store>; 2] = [Arc::new(sqlite), Arc::new(postgres)];
        for store in &stores {
            let def = serde_json::from_str(definition).unwrap();
            let dataset = name.parse().unwrap();
            store.define(&Scope::internal("test"), &dataset, &def, Timestamp::UNIX_EPOCH).await.unwrap();
            let event = RowsEvent {
                dataset,
                client: "acme".parse().unwrap(),
                event_id: EventId(Uuid::from_u128(7)),
                trace: Uuid::from_u128(7),
                rows: RawJson::parse(rows.to_owned()).unwrap(),
                accepted_at: Timestamp::UNIX_EPOCH,
                import: None,
                remembered: false,
            };
            let recording = Recording {
                reader: "data".to_owned(),
                source: Source::Stream { from: 0, to: 1 },
                events: vec![event],
                now: Timestamp::UNIX_EPOCH,
            };
            store.record(recording).await.unwrap();
        }
        let [sqlite, postgres] = stores.each_ref().map(|store| served(store.clone(), views.clone()));
        Self { sqlite, postgres, stores, _dir: dir, _database: database }
    }

    /// What both answer.
    ///
    /// # Panics
    /// When they answer differently.
    pub(super) async fn ask(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let (sqlite, postgres) =
            tokio::join!(ask(&self.sqlite, path, headers), ask(&self.postgres, path, headers));
        assert_eq!(sqlite, postgres, "SQLite (left) and PostgreSQL (right) differ at {path} {headers:?}");
        sqlite
    }

    /// How many datasets each engine has.
    pub(super) fn datasets(&self) -> [usize; 2] {
        self.stores.each_ref().map(|store| store.datasets(&Scope::internal("test")).len())
    }
}

fn served(store: Arc<dyn Store>, views: Vec<ViewDef>) -> Router {
    let options = Options { cache_rest: false, ..Options::default() };
    let cache = Arc::new(MemoryCache::new(1 << 20));
    let store = Arc::new(Planned::new(store));
    let (app, _) = router(options, views, store, cache).unwrap().split_for_parts();
    app.layer(Extension(Arc::new(Keyring::default()) as Arc<dyn Authenticator>))
}

async fn ask(app: &Router, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::get(path).header("authorization", "Bearer all");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).unwrap_or_else(|error| panic!("{path}: {error}"));
    let (parts, body) = app.clone().oneshot(request).await.unwrap().into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let header = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    Answer {
        status: parts.status,
        range: header("content-range").unwrap_or_default(),
        next: header("orderwire-next"),
        text: String::from_utf8(bytes.to_vec()).unwrap(),
    }
}

/// Every byte that may mean something to a URL, as its number.
pub(super) fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

/// A database of a test's own; dropped with the value.
struct Database {
    server: String,
    name: String,
    url: String,
}

impl Database {
    async fn new() -> Self {
        let server = std::env::var("POSTGRES_URL")
            .unwrap_or_else(|_| "postgres://postgres@127.0.0.1:5432/postgres".to_owned());
        let name = format!("orderwire_both_{}_{:08x}", std::process::id(), fastrand::u32(..));
        let url = format!("{}/{name}", server.rsplit_once('/').unwrap().0);
        let (client, connection) = tokio_postgres::connect(&server, NoTls).await.unwrap();
        tokio::spawn(connection);
        let create = format!("CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0");
        client.batch_execute(&create).await.unwrap();
        Self { server, name, url }
    }
}

impl Drop for Database {
    /// On a thread of its own, because the test's runtime may be gone.
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        let drop = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let (client, connection) = tokio_postgres::connect(&server, NoTls).await.unwrap();
                tokio::spawn(connection);
                client.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await.unwrap();
            });
        };
        let dropped = std::thread::spawn(drop).join();
        assert!(std::thread::panicking() || dropped.is_ok(), "the test's database cannot be dropped");
    }
}
