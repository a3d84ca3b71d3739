//! `/v1/orders`, `/v1/releases` and `/v1/products`.

mod asked;
mod orders;
mod problems;
mod products;
mod releases;
mod revisions;
pub(crate) mod show;
mod watch;

use std::sync::Arc;

use orderwire_api::extract::Bodies;
use orderwire_api::places::Places;
use orderwire_store::Store;
use orderwire_types::Limits;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::provisioner::Provisioner;

/// How many calls may watch orders at once, and how many of them with one key.
const WATCHERS: usize = 1_000;
const WATCHERS_EACH: usize = 100;

/// What every handler has at hand.
struct State {
    provisioner: Provisioner,
    bodies: Bodies,
    watchers: Arc<Places>,
    /// Ends what would go on for as long as nothing happens.
    closing: CancellationToken,
}

type Shared = Arc<State>;

impl State {
    fn store(&self) -> &dyn Store {
        self.provisioner.parts.store.as_ref()
    }
}

impl AsRef<Bodies> for State {
    fn as_ref(&self) -> &Bodies {
        &self.bodies
    }
}

/// The routes of orders, releases and products with their description. They need an
/// `Extension<Arc<dyn Authenticator>>` around them. Once `closing` is cancelled,
/// nobody watches orders any more, so that a drain does not wait for it.
pub fn router(provisioner: Provisioner, limits: &Limits, closing: CancellationToken) -> OpenApiRouter {
    // An order is no larger than an event.
    let bodies = Bodies::new(limits.body_bytes.min(limits.event_bytes), limits);
    let watchers = Places::new(WATCHERS, WATCHERS_EACH);
    let state = State { provisioner, bodies, watchers, closing };
    OpenApiRouter::new()
        .routes(routes!(orders::post_order, orders::list_orders))
        .routes(routes!(orders::post_plan))
        .routes(routes!(orders::get_order))
        .routes(routes!(orders::get_steps))
        .routes(routes!(orders::post_cancel))
        .routes(routes!(watch::get_watch))
        .routes(routes!(releases::list_releases))
        .routes(routes!(releases::get_release, releases::delete_release))
        .routes(routes!(releases::post_rollback))
        .routes(routes!(releases::get_drift))
        .routes(routes!(revisions::get_history))
        .routes(routes!(revisions::get_revision))
        .routes(routes!(revisions::get_diff))
        .routes(routes!(products::list_products))
        .routes(routes!(products::get_product))
        .with_state(Arc::new(state))
}

/// A place in a list, and how much of it.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct PageParams {
    /// The cursor that the page before gave.
    after: Option<String>,
    /// At most this many (100, at most 1000).
    limit: Option<usize>,
}
