//! `/rest/{dataset}`: the PostgREST dialect.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::header::LINK;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Uri};
use axum::response::Response;
use orderwire_api::{Caller, Problem};
use orderwire_cache::Entry;
use orderwire_store::{Count, Dataset};
use orderwire_types::{DatasetName, Right, Scope, scope};

use super::answer::{NEXT, Policy, coded, respond};
use super::headers::{self, Media};
use super::load::{Asked, load};
use super::{Service, finish};
use crate::cached::{Ask, Freshness, Load, Source};
use crate::coding::Coding;
use crate::dialect::{Allowed, Query};
use crate::error::{Error, ErrorKind};

/// Rows of a dataset.
///
/// `column=operator.value` with the operators of PostgREST, each also with `not.` before it;
/// `and=(…)`, `or=(…)`; `Range: 0-24` and `Prefer: count=exact`. HEAD answers with the headers
/// only. docs/query.md says what is supported.
#[utoipa::path(
    get,
    path = "/rest/{dataset}",
    tag = "rest",
    security(("bearer" = []), ("api_key" = [])),
    params(
        ("dataset" = String, Path, description = "the dataset's name"),
        ("select" = Option<String>, Query, description = "columns: `a,alias:b,raw->>c::integer,n.sum(),count(),at.bucket(1h)`; default `*`, the dataset's own"),
        ("order" = Option<String>, Query, description = "`a.desc.nullslast,b`"),
        ("latest" = Option<String>, Query, description = "only the newest row of each value of these columns (and of each client), by the dataset's time, else by arrival"),
        ("limit" = Option<u64>, Query, description = "at most this many rows"),
        ("offset" = Option<u64>, Query, description = "after this many rows"),
        ("cursor" = Option<String>, Query, description = "`start`, then what the header `Orderwire-Next` of the page before says (also in `Link`, `rel=next`)"),
        ("and" = Option<String>, Query, description = "a tree of conditions: `(a.gt.1,or(b.is.null,c.eq.x))`; also `or`, `not.and`, `not.or`"),
    ),
    responses(
        (status = 200, description = "the rows, as JSON, CSV, NDJSON or Parquet (`Accept`), compressed by `Accept-Encoding`", content((Vec<Object> = "application/json"), (String = "text/csv"), (String = "application/x-ndjson"), (Vec<u8> = "application/vnd.apache.parquet"))),
        (status = 206, description = "a part of the rows; `Content-Range` says which"),
        (status = 304, description = "the caller has this answer (`If-None-Match`)"),
        (status = 400, description = "the query cannot be read, or names what does not exist", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "no key, or one that is not valid", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "the key may not", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "no such dataset", body = Problem, content_type = "application/problem+json"),
        (status = 406, description = "no media type that is served, or not exactly one row", body = Problem, content_type = "application/problem+json"),
        (status = 416, description = "the range begins after the last row", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "the store cannot answer now", body = Problem, content_type = "application/problem+json"),
        (status = 504, description = "the read took too long", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn read(
    State(service): State<Arc<Service>>,
    dataset: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let began = Instant::now();
    let (mut parts, _) = request.into_parts();
    finish("rest", began, answer(&service, dataset, &mut parts).await)
}

async fn answer(
    service: &Arc<Service>,
    dataset: Result<Path<String>, PathRejection>,
    parts: &mut Parts,
) -> Result<(Response, Source), Error> {
    let scope = caller(parts).await?;
    let Path(name) = dataset.map_err(|rejection| unknown(&rejection.body_text()))?;
    let known: DatasetName = name.parse().map_err(|_| unknown(&name))?;
    // Before everything that depends on the rows or the definition.
    let generation = service.store.generation(&known);
    let dataset = service.store.dataset(&scope, &known).ok_or_else(|| unknown(&name))?;
    let options = &service.options;
    let media = Media::accepted(&parts.headers)?;
    let count = headers::count(&parts.headers);
    let mut query = Query::parse(parts.uri.query().unwrap_or_default(), options.into(), Allowed::Everything)?;
    (query.offset, query.limit) =
        headers::window(query.offset, query.limit, headers::range(&parts.headers)?)?;

    let key = cache_key(&scope, &dataset, &query, media, count, service);
    let load = || {
        let (service, scope, dataset) = (service.clone(), scope.clone(), dataset.clone());
        let load: Load = Box::pin(async move {
            let asked = Asked { query: &query, media, count, also: None };
            let (body, meta) = load(&service, &scope, &dataset, asked).await?;
            let meta = meta.encode(&body);
            Ok((body, meta))
        });
        load
    };
    let coding = Coding::accepted(&parts.headers);
    let found = if options.cache_rest && !headers::no_store(&parts.headers) {
        let coded_key = format!("{key}\n{}", coding.name());
        let ask = Ask { key: key.into(), generation, freshness: Freshness::Strict, ttl: options.ttl };
        if coding == Coding::Identity {
            service.cached.read(ask, load).await?
        } else {
            let code = |entry: &Entry| coded(entry, coding);
            service.cached.read_coded(ask, coded_key.into(), load, code).await?
        }
    } else {
        let mut found = service.cached.bypass(generation, load()).await?;
        if let Some(work) = coded(&found.entry, coding) {
            (found.entry.body, found.entry.meta) = work.await?;
        }
        found
    };
    let mut response = respond(&found, &policy(), &parts.headers)?;
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("range-unit"), HeaderValue::from_static("items"));
    if let Some(link) = headers.get(NEXT).and_then(|next| next_page(&parts.uri, next.to_str().ok()?)) {
        headers.insert(LINK, link);
    }
    if count == Count::Exact {
        let applied = HeaderValue::from_static("count=exact");
        headers.insert(HeaderName::from_static("preference-applied"), applied);
    }
    Ok((response, found.source))
}

/// The scope of whoever reads.
pub(super) async fn caller(parts: &mut Parts) -> Result<Arc<Scope>, Error> {
    let caller = Caller::from_request_parts(parts, &()).await?;
    caller.require(Right::Read)?;
    Ok(caller.narrowed(&parts.headers)?)
}

fn policy() -> Policy {
    const VARY: &str =
        "Accept, Accept-Encoding, Authorization, X-API-Key, Orderwire-Client, Prefer, Range, Range-Unit";
    Policy {
        cache_control: HeaderValue::from_static("private, no-cache"),
        vary: Some(HeaderValue::from_static(VARY)),
    }
}

/// The address of the next page, unless it is longer than everybody takes.
fn next_page(uri: &Uri, cursor: &str) -> Option<HeaderValue> {
    const BYTES_MAX: usize = 8 << 10;
    let mut page = format!("<{}?", uri.path());
    for pair in uri.query()?.split('&').filter(|pair| !pair.starts_with("cursor=")) {
        page.push_str(pair);
        page.push('&');
    }
    page.push_str(&format!("cursor={cursor}>; rel=\"next\""));
    if page.len() > BYTES_MAX { None } else { HeaderValue::try_from(page).ok() }
}

pub(super) fn unknown(name: &str) -> Error {
    let name: String = name.chars().take(64).collect();
    Error::new(ErrorKind::NotFound, "42P01", format!("there is no dataset {name:?}"))
        .hint("GET /v1/datasets lists those that this key can read")
}

/// Everything that the answer depends on, line by line; what callers write
/// comes last and is quoted, so that no two reads share a key. The `2` is the
/// form of what is kept: raised with it, since a cache may outlive a process.
fn cache_key(
    scope: &Scope,
    dataset: &Dataset,
    query: &Query,
    media: Media,
    count: Count,
    service: &Service,
) -> String {
    let mut key = format!("rest2\n{}\n", dataset.name);
    write_clients(&mut key, scope);
    let Service { options, .. } = service;
    write!(key, "\n{media:?} {count:?} {} {}\n", options.rows, options.answer_bytes)
        .expect("a string takes any text");
    key.push_str(&query.canonical());
    key
}

/// Whose rows a scope covers.
pub(super) fn write_clients(key: &mut String, scope: &Scope) {
    match &scope.clients {
        scope::Clients::All => key.push('*'),
        scope::Clients::Only(clients) => {
            for client in clients {
                key.push_str(client.as_str());
                key.push(',');
            }
        }
    }
}

/// `0-24/3573`, with `*` for what is not known or not there.
pub(super) fn content_range(offset: u64, rows: u64, total: Option<u64>) -> String {
    let mut text = match rows {
        0 => "*".to_owned(),
        _ => format!("{offset}-{}", offset.saturating_add(rows - 1)),
    };
    let written = match total {
        Some(total) => write!(text, "/{total}"),
        None => write!(text, "/*"),
    };
    written.expect("a string takes any text");
    text
}
