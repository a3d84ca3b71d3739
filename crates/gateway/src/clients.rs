//! Who there is.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use orderwire_api::wire::{ClientInfo, List};
use orderwire_api::{Caller, Problem};
use orderwire_store::ClientRecord;
use orderwire_types::{Client, Right};
use serde::Deserialize;

use crate::problems::{invalid, of_store, shown};
use crate::state::Shared;
use orderwire_api::ReadProblems;
use orderwire_api::extract::{Params, Segments};

/// The size of a page by default, and at most.
const PAGE: usize = 100;
const PAGE_MAX: usize = 1_000;

#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ClientParams {
    /// The cursor that the page before gave.
    after: Option<String>,
    /// At most this many (100, at most 1000).
    limit: Option<usize>,
}

/// The clients that were seen, by name.
#[utoipa::path(get, path = "/v1/clients", tag = "clients", params(ClientParams),
    responses((status = 200, description = "a page", body = List<ClientInfo>), ReadProblems))]
pub(crate) async fn list_clients(
    State(state): State<Shared>,
    caller: Caller,
    Params(params): Params<ClientParams>,
    headers: HeaderMap,
) -> Result<Json<List<ClientInfo>>, Problem> {
    caller.require(Right::Read)?;
    let after = params.after.map(|after| {
        after.parse::<Client>().map_err(|_| invalid("", "the query of the URL: after is no cursor"))
    });
    let after = after.transpose()?;
    let scope = caller.narrowed(&headers)?;
    let limit = params.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    // One more than asked for says whether there is a next page.
    let clients = state.store().clients(&scope, after.as_ref(), limit + 1).await;
    let mut clients = clients.map_err(|err| of_store(&err))?;
    let more = clients.len() > limit;
    clients.truncate(limit);
    let next = clients.last().filter(|_| more).map(|last| last.client.to_string());
    Ok(Json(List { items: clients.into_iter().map(info).collect(), next }))
}

/// One client.
#[utoipa::path(get, path = "/v1/clients/{client}", tag = "clients",
    params(("client" = String, Path, description = "its name")),
    responses((status = 200, description = "the client", body = ClientInfo), ReadProblems))]
pub(crate) async fn get_client(
    State(state): State<Shared>,
    caller: Caller,
    Segments(name): Segments<String>,
    headers: HeaderMap,
) -> Result<Json<ClientInfo>, Problem> {
    caller.require(Right::Read)?;
    let scope = caller.narrowed(&headers)?;
    let missing = || Problem::not_found(format!("client {} does not exist", shown(&name)));
    let client: Client = name.parse().map_err(|_| missing())?;
    let record = state.store().client(&scope, &client).await.map_err(|err| of_store(&err))?;
    record.map(|record| Json(info(record))).ok_or_else(missing)
}

fn info(record: ClientRecord) -> ClientInfo {
    ClientInfo {
        client: record.client.to_string(),
        since: record.since.to_string(),
        changed_at: record.changed_at.to_string(),
        trace_id: record.trace.to_string(),
        attributes: record.attributes.0,
    }
}
