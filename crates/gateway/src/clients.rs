//! Who there is, and who has what.

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use orderwire_api::extract::{Params, Segments};
use orderwire_api::problem::shown;
use orderwire_api::wire::{ClientInfo, ClientRelease, List};
use orderwire_api::{Caller, Problem, ReadProblems, page};
use orderwire_store::ClientRecord;
use orderwire_store::orders::{Release, ReleaseFilter};
use orderwire_types::{Client, Right, Scope};
use serde::Deserialize;

use crate::state::Shared;

/// How many releases of a client are shown, and how many are read for a page: a
/// page whose clients have more is shorter.
const RELEASES: usize = 100;
const RELEASES_READ: usize = 5_000;
/// The object that orders and releases belong to.
pub(crate) const ORDERS: &str = "queue/infra";

#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ClientParams {
    /// Only clients with a release of this product, and only those releases.
    product: Option<String>,
    /// Only clients with a release in this environment, and only those releases.
    environment: Option<String>,
    /// The cursor that the page before gave.
    after: Option<String>,
    /// At most this many (100, at most 1000).
    limit: Option<usize>,
}

/// The clients that were seen, by name, with what they have.
///
/// A page may hold fewer clients than asked for, and with a filter none at all; `next`
/// says whether there are more. A key limited to objects without `queue/infra` sees no
/// releases, and may not filter by them.
#[utoipa::path(get, path = "/v1/clients", tag = "clients", params(ClientParams),
    responses((status = 200, description = "a page", body = List<ClientInfo>), ReadProblems))]
pub(crate) async fn list_clients(
    State(state): State<Shared>,
    caller: Caller,
    Params(params): Params<ClientParams>,
    headers: HeaderMap,
) -> Result<Json<List<ClientInfo>>, Problem> {
    caller.require(Right::Read)?;
    let after = page::cursor::<Client>(params.after)?;
    let scope = caller.narrowed(&headers)?;
    let limit = page::size(params.limit);
    // One more than asked for says whether there is a next page.
    let clients = state.store().clients(&scope, after.as_ref(), limit + 1).await;
    let mut clients = clients.map_err(Problem::of_store)?;
    let mut more = clients.len() > limit;
    clients.truncate(limit);
    let filter = ReleaseFilter {
        clients: Some(clients.iter().map(|record| record.client.clone()).collect()),
        product: params.product,
        environment: params.environment,
        ..ReleaseFilter::default()
    };
    let filtered = filter.product.is_some() || filter.environment.is_some();
    if filtered && !scope.touches(ORDERS) {
        let detail = "releases are outside the scope of this key, which would need the object queue/infra";
        return Err(Problem::forbidden(detail));
    }
    let mut has = Has::read(&state, &scope, &filter).await?;
    if let Some(cut) = &has.cut {
        // Of those behind it nothing was read.
        let whole = clients.iter().position(|record| record.client == *cut).unwrap_or(clients.len());
        more |= whole.max(1) < clients.len();
        clients.truncate(whole.max(1));
    }
    let next = clients.last().filter(|_| more).map(|last| last.client.to_string());
    if filtered {
        clients.retain(|record| has.releases.contains_key(&record.client));
    }
    Ok(Json(List { items: clients.into_iter().map(|record| has.info(record)).collect(), next }))
}

/// One client, with what it has; without `queue/infra`, a key limited to objects sees
/// no releases.
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
    let record = state.store().client(&scope, &client).await.map_err(Problem::of_store)?;
    let record = record.ok_or_else(missing)?;
    let filter = ReleaseFilter { clients: Some(vec![client]), ..ReleaseFilter::default() };
    Ok(Json(Has::read(&state, &scope, &filter).await?.info(record)))
}

/// Who has what.
struct Has {
    /// Of each client one more than is shown, at most.
    releases: HashMap<Client, Vec<Release>>,
    /// The client among whose releases reading ended, when it ended early.
    cut: Option<Client>,
}

impl Has {
    async fn read(state: &Shared, scope: &Scope, filter: &ReleaseFilter) -> Result<Self, Problem> {
        if !scope.touches(ORDERS) {
            return Ok(Self { releases: HashMap::new(), cut: None });
        }
        let read = state.store().releases(scope, filter, None, RELEASES_READ).await;
        let read = read.map_err(Problem::of_store)?;
        let cut = read.last().filter(|_| read.len() == RELEASES_READ).map(|last| last.client.clone());
        let mut releases: HashMap<Client, Vec<Release>> = HashMap::new();
        for release in read {
            let of_client = releases.entry(release.client.clone()).or_default();
            if of_client.len() <= RELEASES {
                of_client.push(release);
            }
        }
        Ok(Self { releases, cut })
    }

    fn info(&mut self, record: ClientRecord) -> ClientInfo {
        let mut releases = self.releases.remove(&record.client).unwrap_or_default();
        let more_releases = releases.len() > RELEASES;
        releases.truncate(RELEASES);
        ClientInfo {
            client: record.client.to_string(),
            since: record.since.to_string(),
            changed_at: record.changed_at.to_string(),
            trace_id: record.trace.to_string(),
            attributes: record.attributes.0,
            releases: releases.into_iter().map(release).collect(),
            more_releases,
        }
    }
}

fn release(release: Release) -> ClientRelease {
    ClientRelease {
        release_id: release.id.to_string(),
        name: release.name,
        product: release.product,
        environment: release.environment,
        archtype: release.archtype,
        hardware: release.hardware,
        target: release.target,
        namespace: release.namespace,
        state: release.status.state.as_str().to_owned(),
        revision: release.status.ready,
        since: release.created_at.to_string(),
        trace_id: release.trace.to_string(),
    }
}
