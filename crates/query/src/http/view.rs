//! A view under its own path.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use orderwire_cache::{Entry, Key};
use orderwire_types::Scope;

use super::answer::{Meta, coded, respond};
use super::headers::Media;
use super::rest::{caller, content_range, write_clients};
use super::{Service, finish, table};
use crate::cached::{Ask, Load, Source};
use crate::coding::Coding;
use crate::dialect::{Allowed, Query};
use crate::error::{Error, ErrorKind};
use crate::params::{Given, take};
use crate::read::rows;
use crate::sink::{Frame, Grouped, SeriesRows};
use crate::view::{Shape, View};

/// What a caller asks of a view.
#[derive(Default)]
struct Asked {
    query: Query,
    given: Given,
    media: Media,
}

pub(super) async fn read(view: Arc<View>, State(service): State<Arc<Service>>, request: Request) -> Response {
    let began = Instant::now();
    let (mut parts, _) = request.into_parts();
    finish("view", began, answer(&view, &service, &mut parts).await)
}

async fn answer(
    view: &Arc<View>,
    service: &Arc<Service>,
    parts: &mut Parts,
) -> Result<(Response, Source), Error> {
    let scope = match &view.public {
        Some(scope) => scope.clone(),
        None => caller(parts).await?,
    };
    if view.public.is_none() && !scope.touches(&view.object) {
        return Err(missing(view));
    }
    // Before everything that depends on the rows.
    let generation = service.store.generation(&view.def.dataset);
    let text = parts.uri.query().unwrap_or_default();
    let media = if view.def.shape.is_table() { Media::of_view(&parts.headers) } else { Media::Json };
    let plain = text.is_empty() && view.public.is_some() && view.def.params.is_empty();
    let (key, asked) = if plain && media == Media::Json {
        (view.key.clone(), Asked { media, ..Asked::default() })
    } else {
        let (given, rest) = take(&view.def.params, text, service.options.query_bytes)?;
        let query = Query::parse(&rest, (&service.options).into(), Allowed::Page)?;
        let asked = Asked { query, given, media };
        (cache_key(view, &scope, &asked), asked)
    };
    let coding = Coding::accepted(&parts.headers);
    let ask = Ask { key, generation, freshness: view.def.freshness, ttl: view.def.ttl };
    let found = if coding == Coding::Identity {
        service.cached.read(ask, || load(service.clone(), view.clone(), scope, asked)).await?
    } else {
        let coded_key = format!("{}\n{}", ask.key, coding.name()).into();
        let code = |entry: &Entry| coded(entry, coding);
        let load = || load(service.clone(), view.clone(), scope, asked);
        service.cached.read_coded(ask, coded_key, load, code).await?
    };
    Ok((respond(&found, &view.policy, &parts.headers)?, found.source))
}

/// Everything that the answer depends on; the view's own key stands for its
/// definition.
fn cache_key(view: &View, scope: &Scope, asked: &Asked) -> Key {
    let mut key = view.key.to_string();
    key.push('\n');
    write_clients(&mut key, scope);
    key.push('\n');
    key.push_str(&asked.query.canonical());
    // Both in quotes, so that no value looks like another one's name.
    write!(key, "\n{:?} {:?}", asked.media, asked.given).expect("a string takes any text");
    key.into()
}

fn missing(view: &View) -> Error {
    let message =
        format!("the dataset {} of this view does not exist, or not for this key", view.def.dataset);
    Error::new(ErrorKind::NotFound, "42P01", message)
}

fn load(service: Arc<Service>, view: Arc<View>, scope: Arc<Scope>, asked: Asked) -> Load {
    Box::pin(async move {
        let dataset = service.store.dataset(&scope, &view.def.dataset).ok_or_else(|| missing(&view))?;
        let Asked { query, given, media } = asked;
        let plan = view.plan(&dataset.def, &query, &given, service.options.rows)?;
        let cells = view.def.shape.key_cells();
        let (read, body) = match &view.def.shape {
            Shape::Rows | Shape::Latest { .. } => {
                table::read(&service, &scope, plan, &dataset.def, media, Frame::View).await?
            }
            Shape::Grouped { .. } => {
                let shape = Grouped::new(&plan.select.columns[cells..]);
                rows(&service, &scope, plan, shape).await?
            }
            Shape::Series { by } => {
                let shape = SeriesRows::new(&plan.select.columns[cells..], by.is_some());
                rows(&service, &scope, plan, shape).await?
            }
        };
        let meta = Meta {
            status: if read.cut { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK },
            media,
            flagged: media == Media::Json,
            content_range: read.cut.then(|| content_range(query.offset, read.rows, None)),
            next: None,
        };
        let meta = meta.encode(&body);
        Ok((body, meta))
    })
}
