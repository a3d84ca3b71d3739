//! HTTP in: identity, validation, idempotency, publish.
//!
//! - [`router`] serves the gateway's part of `/v1`, over the queues and the store.
//! - [`guarded`] puts the guards around a whole server's routes: load, time,
//!   panics, figures, and problems for what no route answers.
//! - [`KeyRing`] knows who calls.
//!
//! Owner of the keys. Invariants: nothing is answered with 202 before its
//! commit; bodies are checked before names; a payload keeps its digits; no key
//! and no payload is ever logged.

mod announce;
mod asyncapi;
mod causes;
mod clients;
mod consume;
mod datasets;
mod dead;
mod entrance;
mod events;
mod faults;
mod guards;
mod health;
mod keys;
mod latest;
mod lineage;
mod openapi;
mod problems;
mod publish;
mod queues;
mod rest;
mod rows;
mod settle;
mod state;
mod topics;
mod traces;
mod unusable;

use std::sync::Arc;

use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use announce::announcement;
pub use asyncapi::{BrokerQueueView, BrokerView};
pub use causes::{CauseWriter, Causes};
pub use entrance::{Entrance, Input};
pub use guards::{Guards, guarded};
pub use health::{Component, Readiness};
pub use keys::{Error, ErrorKind, KeyRing};
pub use publish::Outlet;
pub use rest::{Expected, Readback};
pub use state::Gateway;
pub use topics::{Gives, Mapping, TakenAs, TopicMessage, Topics};

/// The routes of the gateway with their description. Callers are known to
/// [`Gateway::keys`]; the routes work inside [`guarded`] only, which installs it. Rows that
/// their writers ask for come by way of `readback`.
pub fn router(gateway: Gateway, readback: Option<Arc<dyn Readback>>) -> OpenApiRouter {
    OpenApiRouter::with_openapi(openapi::Common::openapi())
        .routes(routes!(events::post_events))
        .routes(routes!(events::post_typed_events))
        .routes(routes!(datasets::list_datasets))
        .routes(routes!(datasets::get_dataset, datasets::put_dataset, datasets::delete_dataset))
        .routes(routes!(rows::post_rows))
        .routes(routes!(rest::post_rest))
        .routes(routes!(datasets::get_import))
        .routes(routes!(latest::get_latest))
        .routes(routes!(queues::list_queues, queues::post_queue))
        .routes(routes!(queues::get_queue))
        .routes(routes!(queues::post_pause))
        .routes(routes!(queues::post_resume))
        .routes(routes!(queues::get_peek))
        .routes(routes!(settle::post_lease))
        .routes(routes!(settle::post_ack))
        .routes(routes!(settle::post_nack))
        .routes(routes!(settle::post_extend))
        .routes(routes!(consume::sse::get_stream))
        .routes(routes!(consume::ws::get_ws))
        .routes(routes!(dead::list_dead))
        .routes(routes!(dead::get_dead, dead::edit::patch_dead))
        .routes(routes!(dead::replays::post_replay))
        .routes(routes!(dead::replays::list_replays))
        .routes(routes!(dead::replays::get_replay))
        .routes(routes!(dead::replays::post_replay_cancel))
        .routes(routes!(dead::post_discard))
        .routes(routes!(traces::get_trace))
        .routes(routes!(lineage::get_lineage))
        .routes(routes!(lineage::get_lineage_of))
        .routes(routes!(clients::list_clients))
        .routes(routes!(clients::get_client))
        .routes(routes!(keys::http::list_keys, keys::http::post_key))
        .routes(routes!(keys::http::delete_key))
        .routes(routes!(keys::http::get_whoami))
        .routes(routes!(asyncapi::get_asyncapi))
        .routes(routes!(health::get_healthz))
        .routes(routes!(health::get_readyz))
        .with_state(state::State::reading_back(gateway, readback))
}
