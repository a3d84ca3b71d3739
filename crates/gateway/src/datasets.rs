//! The definitions of datasets.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use orderwire_api::extract::{Document, Segments};
use orderwire_api::problem::ProblemError;
use orderwire_api::problem::shown;
use orderwire_api::wire::{DatasetInfo, ImportState, List};
use orderwire_api::{Caller, Problem, ReadProblems, WriteProblems};
use orderwire_store::{Dataset, Defined, Loss};
use orderwire_types::dataset::DatasetDef;
use orderwire_types::scope::Clients;
use orderwire_types::{DatasetName, Right};

use crate::problems::invalid;
use crate::rows::sha256;
use crate::state::{Shared, State as Gateway};

/// Every dataset that the caller may touch, by name.
#[utoipa::path(get, path = "/v1/datasets", tag = "datasets",
    responses((status = 200, description = "the datasets", body = List<DatasetInfo>), ReadProblems))]
pub(crate) async fn list_datasets(
    State(state): State<Shared>,
    caller: Caller,
) -> Result<Json<List<DatasetInfo>>, Problem> {
    caller.require(Right::Read)?;
    let items = state.store().datasets(&caller.scope).iter().map(|dataset| info(dataset)).collect();
    Ok(Json(List { items, next: None }))
}

/// One dataset.
#[utoipa::path(get, path = "/v1/datasets/{dataset}", tag = "datasets",
    params(("dataset" = String, Path, description = "its name")),
    responses((status = 200, description = "the dataset", body = DatasetInfo), ReadProblems))]
pub(crate) async fn get_dataset(
    State(state): State<Shared>,
    caller: Caller,
    Segments(name): Segments<String>,
) -> Result<Json<DatasetInfo>, Problem> {
    caller.require(Right::Read)?;
    let dataset = find(&state, &caller, &name)?;
    Ok(Json(info(&dataset)))
}

/// Makes a dataset exist with this definition. One that is there may get
/// further columns, wider types and other settings, but lose nothing, unless
/// `allow=loss` says that it may.
#[utoipa::path(put, path = "/v1/datasets/{dataset}", tag = "datasets",
    params(("dataset" = String, Path, description = "its name"),
        ("allow" = Option<String>, Query, description = "`loss`: columns that are not named any more are dropped, \
            and values are cut to the type that their column gets")),
    request_body(content = serde_json::Value, description = "`fields`, `key`, `on_conflict`, `time`, `unknown`, `retention`"),
    responses((status = 200, description = "it was there", body = DatasetInfo),
        (status = 201, description = "it is new", body = DatasetInfo), WriteProblems))]
pub(crate) async fn put_dataset(
    State(state): State<Shared>,
    caller: Caller,
    Segments(name): Segments<String>,
    RawQuery(query): RawQuery,
    Document(def): Document<DatasetDef>,
) -> Result<(StatusCode, Json<DatasetInfo>), Problem> {
    caller.require(Right::Operate)?;
    let loss = match query.as_deref() {
        None | Some("") => Loss::Refused,
        Some("allow=loss") => Loss::Allowed,
        Some(other) => {
            let detail = format!("the query {}: the one parameter is allow=loss", shown(other));
            return Err(invalid("", detail));
        }
    };
    for_all_clients(&caller)?;
    let faults = def.faults();
    if let Some(first) = faults.first() {
        let problem = invalid(first.pointer.clone(), first.detail.clone());
        let named = faults.into_iter().map(|fault| ProblemError {
            line: None,
            pointer: fault.pointer,
            detail: fault.detail,
        });
        return Err(problem.with_errors(named.collect()));
    }
    let name: DatasetName = name.parse().map_err(|err| invalid("", format!("the path: {err}")))?;
    if !caller.scope.touches(&format!("dataset/{name}")) {
        return Err(Problem::forbidden(format!("dataset {name} is outside the scope of this key")));
    }
    let defined = state.store().evolve(&caller.scope, &name, &def, loss, state.now()).await;
    let status = match defined.map_err(Problem::of_store)? {
        Defined::Created => StatusCode::CREATED,
        Defined::Changed | Defined::Unchanged => StatusCode::OK,
    };
    let dataset = find(&state, &caller, name.as_str())?;
    Ok((status, Json(info(&dataset))))
}

/// Forgets a dataset with all its rows, of every client.
#[utoipa::path(delete, path = "/v1/datasets/{dataset}", tag = "datasets",
    params(("dataset" = String, Path, description = "its name")),
    responses((status = 204, description = "it is gone"), ReadProblems))]
pub(crate) async fn delete_dataset(
    State(state): State<Shared>,
    caller: Caller,
    Segments(name): Segments<String>,
) -> Result<StatusCode, Problem> {
    caller.require(Right::Operate)?;
    let dataset = find(&state, &caller, &name)?;
    for_all_clients(&caller)?;
    state.store().remove(&caller.scope, &dataset.name).await.map_err(Problem::of_store)?;
    tracing::info!(dataset.name = %dataset.name, principal = %caller.scope.principal, "a dataset was removed");
    Ok(StatusCode::NO_CONTENT)
}

/// How much of a file is recorded for a client: where an import goes on.
#[utoipa::path(get, path = "/v1/datasets/{dataset}/imports/{sha256}", tag = "datasets",
    params(("dataset" = String, Path, description = "its name"),
        ("sha256" = String, Path, description = "the SHA-256 of the file, in hex"),
        ("orderwire-client" = Option<String>, Header, description = "whose rows they are")),
    responses((status = 200, description = "the rows that are recorded", body = ImportState), ReadProblems))]
pub(crate) async fn get_import(
    State(state): State<Shared>,
    caller: Caller,
    Segments((name, file)): Segments<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<ImportState>, Problem> {
    // Whoever may write the rows has to know where to go on.
    if !caller.scope.may(Right::Write) {
        caller.require(Right::Read)?;
    }
    let file = sha256(&file)?;
    let client = caller.write_client(&headers)?;
    caller.covering(&client)?;
    let dataset = find(&state, &caller, &name)?;
    let imported = state.store().imported(&caller.scope, &dataset.name, &client, &file).await;
    let imported = imported.map_err(Problem::of_store)?;
    Ok(Json(ImportState { rows: imported.rows, lines: imported.lines }))
}

/// A dataset is one table for all clients, so that who changes it must answer for all.
fn for_all_clients(caller: &Caller) -> Result<(), Problem> {
    if caller.scope.clients == Clients::All {
        return Ok(());
    }
    Err(Problem::forbidden("a dataset holds rows of every client; a key of some clients cannot change it"))
}

/// The dataset of this name within the caller's scope.
pub(crate) fn find(state: &Gateway, caller: &Caller, name: &str) -> Result<Arc<Dataset>, Problem> {
    let dataset = name.parse().ok().and_then(|name| state.store().dataset(&caller.scope, &name));
    dataset.ok_or_else(|| Problem::not_found(format!("dataset {} does not exist", shown(name))))
}

fn info(dataset: &Dataset) -> DatasetInfo {
    DatasetInfo {
        name: dataset.name.to_string(),
        def: dataset.def.clone(),
        created_at: dataset.created_at.to_string(),
        changed_at: dataset.changed_at.to_string(),
    }
}
