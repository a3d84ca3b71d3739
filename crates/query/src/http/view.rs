//! A view under its own path.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use orderwire_cache::Key;
use orderwire_types::Scope;

use super::answer::{Meta, respond};
use super::headers::Media;
use super::rest::{caller, content_range, write_clients};
use super::{Service, finish};
use crate::cached::{Ask, Load, Source};
use crate::dialect::{Allowed, Query};
use crate::error::{Error, ErrorKind};
use crate::read::rows;
use crate::sink::{Frame, Grouped, JsonRows};
use crate::view::{Shape, View};

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
    let (key, query) = if text.is_empty() && view.public.is_some() {
        (view.key.clone(), Query::default())
    } else {
        let query = Query::parse(text, (&service.options).into(), Allowed::Page)?;
        (cache_key(view, &scope, &query), query)
    };
    let ask = Ask { key, generation, freshness: view.def.freshness, ttl: view.def.ttl };
    let load = || load(service.clone(), view.clone(), scope, query);
    let found = service.cached.read(ask, load).await?;
    Ok((respond(&found, &view.policy, &parts.headers)?, found.source))
}

/// Everything that the answer depends on; the view's own key stands for its
/// definition.
fn cache_key(view: &View, scope: &Scope, query: &Query) -> Key {
    let mut key = view.key.to_string();
    key.push('\n');
    write_clients(&mut key, scope);
    key.push('\n');
    key.push_str(&query.canonical());
    key.into()
}

fn missing(view: &View) -> Error {
    let message =
        format!("the dataset {} of this view does not exist, or not for this key", view.def.dataset);
    Error::new(ErrorKind::NotFound, "42P01", message)
}

fn load(service: Arc<Service>, view: Arc<View>, scope: Arc<Scope>, query: Query) -> Load {
    Box::pin(async move {
        let dataset = service.store.dataset(&scope, &view.def.dataset).ok_or_else(|| missing(&view))?;
        let plan = view.plan(&dataset.def, &query, service.options.rows)?;
        let (read, body) = match &view.def.shape {
            Shape::Rows => {
                let shape = JsonRows::new(&plan.select.columns, Frame::View);
                rows(&service, &scope, plan, shape).await?
            }
            Shape::Grouped { .. } => {
                let shape = Grouped::new(&plan.select.columns[1..]);
                rows(&service, &scope, plan, shape).await?
            }
        };
        let meta = Meta {
            status: if read.cut { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK },
            media: Media::Json,
            flagged: true,
            content_range: read.cut.then(|| content_range(query.offset, read.rows, None)),
        };
        let meta = meta.encode(&body);
        Ok((body, meta))
    })
}
