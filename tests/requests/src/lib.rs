//! Requests to the query server as anybody may write them, and what holds for each: no panic,
//! an answer that is no fault of the server's and says nothing of what is behind it, and
//! statements without a word of the caller's. For the tests of the query server and the target of
//! the fuzzer, which lives in a workspace of its own.

mod planned;
mod words;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Request, StatusCode, Uri};
use axum::{Extension, Router};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use orderwire_api::{Authenticator, Problem};
use orderwire_cache::MemoryCache;
use orderwire_query::{Freshness, Options, ParamDef, Read, Shape, ViewDef, router};
use orderwire_sqlite::DataDir;
use orderwire_sqlite::store::SqliteStore;
use orderwire_store::{Datasets as _, Recording, RowsEvent, Source};
use orderwire_types::dataset::FieldType;
use orderwire_types::{EventId, RawJson, Scope};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use tower::ServiceExt as _;
use uuid::Uuid;

pub use planned::Planned;

/// The dataset that is asked, `d`: a column of every type, and names that mean something elsewhere.
pub const DEFINITION: &str = r#"{"fields":[{"name":"at","type":"timestamp","required":true},
    {"name":"t","type":"text","required":true},{"name":"n","type":"integer"},{"name":"f","type":"float"},
    {"name":"d","type":"decimal"},{"name":"ok","type":"boolean"},{"name":"day","type":"date"},
    {"name":"id","type":"uuid"},{"name":"raw","type":"json"},{"name":"tags","type":"text[]"},
    {"name":"order","type":"integer"},{"name":"select.x","type":"text"}],
    "key":["t","at"],"time":"at"}"#;

const ROWS: &str = r#"[{"at":"2024-02-29T12:00:00.5Z","t":"a","n":1,"f":0.5,"d":1.10,"ok":true,"day":"2024-02-29",
    "id":"00000000-0000-0000-0000-000000000001","raw":{"a":{"b":[1.10,"x",null]},"t":"2024-01-01"},"tags":["a","b"],"order":5},
    {"at":"1969-12-31T23:59:59Z","t":"a","n":9223372036854775807,"f":-1.7e308,"d":-9.5,"ok":false,"tags":[]},
    {"at":"0001-01-01T00:00:00Z","t":"ä \"q\", (x)","n":-9223372036854775808,"f":-0.0,"raw":[1,{"a":"\u00e4"}],"select.x":"7"},
    {"at":"9999-12-30T00:00:00Z","t":"世界 🌍","d":99999999999999999999999999999999999999,"raw":"text","tags":["ä","a,b","\"",""]},
    {"at":"2024-02-29T12:30:00Z","t":"; --'","raw":{"a":"\u0000"},"day":"0000-01-01"}]"#;

/// What no URL holds as it is; a client would write it so.
const ENCODED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// A query server on a store with rows.
pub struct Requests {
    app: Router,
    runtime: tokio::runtime::Runtime,
    _folder: tempfile::TempDir,
}

impl Default for Requests {
    fn default() -> Self {
        Self::new()
    }
}

impl Requests {
    /// # Panics
    /// When there can be no folder for temporary files, or no store in it.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let data = DataDir::open(folder.path()).expect("a folder of our own");
        let store = SqliteStore::open(&data, orderwire_sqlite::store::Options::default()).expect("a store");
        runtime.block_on(filled(&store));
        let options = Options { cache_rest: false, time_out: Duration::from_secs(5), ..Options::default() };
        let store = Arc::new(Planned::new(Arc::new(store)));
        let cache = Arc::new(MemoryCache::new(1 << 20));
        let (app, _) =
            router(options, views(), store, cache).expect("views without faults").split_for_parts();
        let app = app.layer(Extension(Arc::new(Anybody) as Arc<dyn Authenticator>));
        Self { app, runtime, _folder: folder }
    }

    /// Sends a request: a line with what stands in the address behind the host, then a header a
    /// line. The status of its answer, unless it can be no request.
    ///
    /// # Panics
    /// When something does not hold.
    pub fn send(&self, request: &[u8]) -> Option<StatusCode> {
        let text = String::from_utf8_lossy(request);
        let mut lines = text.split('\n');
        let address = lines.next().unwrap_or_default();
        let uri: Uri = utf8_percent_encode(address, ENCODED).to_string().parse().ok()?;
        if uri.authority().is_some() || !uri.path().starts_with('/') {
            return None;
        }
        let mut asked = Request::get(uri).header("authorization", "Bearer anybody");
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let header = (name.trim().parse::<HeaderName>(), HeaderValue::from_str(value.trim()));
            let (Ok(name), Ok(value)) = header else { continue };
            if !matches!(name.as_str(), "authorization" | "x-api-key") {
                asked = asked.header(name, value);
            }
        }
        let asked = asked.body(Body::empty()).expect("an address and headers that are ones");
        self.runtime.block_on(async {
            let (parts, body) = self.app.clone().oneshot(asked).await.expect("it never fails").into_parts();
            let body = body.collect().await.expect("it is in memory").to_bytes();
            let answer = String::from_utf8_lossy(&body);
            sound(&text, parts.status, &answer).unwrap_or_else(|wrong| panic!("{wrong}, asked for {text:?}"));
            Some(parts.status)
        })
    }
}

/// Whether an answer to what a caller wrote is one that a caller may get.
///
/// # Errors
/// What is wrong with it.
pub fn sound(asked: &str, status: StatusCode, answer: &str) -> Result<(), String> {
    let expected = [
        StatusCode::OK,
        StatusCode::PARTIAL_CONTENT,
        StatusCode::NOT_MODIFIED,
        StatusCode::BAD_REQUEST,
        StatusCode::NOT_FOUND,
        StatusCode::NOT_ACCEPTABLE,
        StatusCode::RANGE_NOT_SATISFIABLE,
        // A header that is no client's name.
        StatusCode::UNPROCESSABLE_ENTITY,
    ];
    if !expected.contains(&status) {
        return Err(format!("{status}: {answer}"));
    }
    // What the database said would name its own things.
    let spaced = asked.replace('+', " ");
    let asked = percent_decode_str(&spaced).decode_utf8_lossy().to_lowercase();
    let said = answer.to_lowercase();
    for word in ["syntax error", "sqlite", "postgresql", "relation", "unrecognized token"] {
        if said.contains(word) && !asked.contains(word) {
            return Err(format!("{status} speaks of {word:?}: {answer}"));
        }
    }
    Ok(())
}

async fn filled(store: &SqliteStore) {
    let dataset: orderwire_types::DatasetName = "d".parse().expect("a name");
    let def = serde_json::from_str(DEFINITION).expect("a definition");
    let defined = store.define(&Scope::internal("test"), &dataset, &def, Timestamp::UNIX_EPOCH).await;
    defined.expect("a dataset");
    let event = RowsEvent {
        dataset,
        client: "acme".parse().expect("a client"),
        event_id: EventId(Uuid::from_u128(7)),
        trace: Uuid::from_u128(7),
        rows: RawJson::parse(ROWS.to_owned()).expect("rows"),
        accepted_at: Timestamp::UNIX_EPOCH,
        import: None,
        remembered: false,
    };
    let source = Source::Stream { from: 0, to: 1 };
    let recording =
        Recording { reader: "data".to_owned(), source, events: vec![event], now: Timestamp::UNIX_EPOCH };
    store.record(recording).await.expect("rows that are recorded");
}

/// One of every shape, with parameters.
///
/// # Panics
/// Never: its names are ones.
pub fn views() -> Vec<ViewDef> {
    let by = || "t".to_owned();
    let shapes = [
        ("/view/rows", Shape::Rows),
        ("/view/grouped", Shape::Grouped { by: by() }),
        ("/view/latest", Shape::Latest { by: by() }),
        ("/view/series", Shape::Series { by: Some(by()) }),
    ];
    let param = |name: &str, of| ParamDef {
        name: name.to_owned(),
        of,
        required: false,
        default: None,
        description: None,
    };
    let view = |(path, shape): (&str, Shape)| ViewDef {
        path: path.to_owned(),
        dataset: "d".parse().expect("a name"),
        columns: None,
        filter: Some("t=eq.{text}&n=gte.{number}&at=lt.{until}&tags=eq.{list}".to_owned()),
        params: vec![
            param("text", FieldType::Text),
            param("number", FieldType::Integer),
            param("until", FieldType::Timestamp),
            param("list", FieldType::Texts),
        ],
        order: None,
        shape,
        limit: None,
        freshness: Freshness::Strict,
        ttl: Duration::from_secs(3_600),
        read: Read::Key,
    };
    shapes.into_iter().map(view).collect()
}

/// Who may read everything.
struct Anybody;

#[async_trait]
impl Authenticator for Anybody {
    async fn authenticate(&self, _: &str) -> Result<Arc<Scope>, Problem> {
        Ok(Arc::new(Scope::internal("anybody")))
    }
}
