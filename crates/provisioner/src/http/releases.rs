//! Releases: looked at, rolled back, removed.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use orderwire_api::extract::{Document, Params, Segments};
use orderwire_api::problem::shown;
use orderwire_api::wire::{List, OrderAccepted, ReleaseDrift, ReleaseInfo, RollbackRequest};
use orderwire_api::{Caller, Problem, ReadProblems, WriteProblems, page};
use orderwire_store::orders::{Release, ReleaseFilter, Revision};
use orderwire_types::{Action, Scope};
use serde::Deserialize;
use uuid::Uuid;

use super::problems::invalid;
use super::{Shared, asked, show};
use crate::content::Content;
use crate::target::{Desired, Placement};

/// How long a target may take to say how it differs.
const DRIFT_TIME: Duration = Duration::from_secs(30);
/// How many revisions are read at once in search of one.
const LOOK: usize = 50;

#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct ReleaseParams {
    /// Of this name.
    name: Option<String>,
    /// Of this environment, by name or alias.
    environment: Option<String>,
    /// Of this product, by name or alias.
    product: Option<String>,
    /// On this target.
    target: Option<String>,
    /// Those that were removed, too.
    removed: bool,
    /// The cursor that the page before gave.
    after: Option<String>,
    /// At most this many (100, at most 1000).
    limit: Option<usize>,
}

/// Releases, by client, environment and name.
#[utoipa::path(get, path = "/v1/releases", tag = "releases", params(ReleaseParams,
    ("orderwire-client" = Option<String>, Header, description = "releases of this client only")),
    responses((status = 200, description = "a page", body = List<ReleaseInfo>), ReadProblems))]
pub(super) async fn list_releases(
    State(state): State<Shared>,
    caller: Caller,
    Params(params): Params<ReleaseParams>,
    headers: HeaderMap,
) -> Result<Json<List<ReleaseInfo>>, Problem> {
    asked::may_look(&caller)?;
    let scope = caller.narrowed(&headers)?;
    let names = &state.provisioner.parts.names;
    let environment = params.environment.map(|given| match names.environment(Some(&given)) {
        Some(name) => Ok(name.to_owned()),
        None => Err(invalid("", format!("the query of the URL: environment {} is not known", shown(&given)))),
    });
    let filter = ReleaseFilter {
        clients: None,
        name: params.name,
        environment: environment.transpose()?,
        product: params.product.map(|given| names.product(&given)),
        target: params.target,
        removed: params.removed,
    };
    let (after, size) = (page::cursor::<Uuid>(params.after)?, page::size(params.limit));
    let releases = state.store().releases(&scope, &filter, after, size + 1).await;
    let mut releases = releases.map_err(Problem::of_store)?;
    let next = page::cut(&mut releases, size, |release| release.id);
    let items = releases.into_iter().map(show::release).collect::<Result<_, _>>()?;
    Ok(Json(List { items, next }))
}

/// One release and how it is; also one that was removed.
#[utoipa::path(get, path = "/v1/releases/{release_id}", tag = "releases",
    params(("release_id" = String, Path, description = "its id")),
    responses((status = 200, description = "the release", body = ReleaseInfo), ReadProblems))]
pub(super) async fn get_release(
    State(state): State<Shared>,
    caller: Caller,
    Segments(id): Segments<String>,
    headers: HeaderMap,
) -> Result<Json<ReleaseInfo>, Problem> {
    asked::may_look(&caller)?;
    let scope = caller.narrowed(&headers)?;
    show::release(find(&state, &scope, &id).await?).map(Json)
}

/// Orders the removal of a release with everything that it has.
#[utoipa::path(delete, path = "/v1/releases/{release_id}", tag = "releases",
    params(("release_id" = String, Path, description = "its id"),
        ("idempotency-key" = Option<String>, Header, description = "the same key is one order")),
    responses((status = 202, description = "the order is recorded", body = OrderAccepted), WriteProblems))]
pub(super) async fn delete_release(
    State(state): State<Shared>,
    caller: Caller,
    Segments(id): Segments<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    asked::may_order(&caller)?;
    let scope = caller.narrowed(&headers)?;
    let release = find(&state, &scope, &id).await?;
    let request = asked::of_release(&state, &caller, &headers, &release, (Action::Remove, None)).await?;
    asked::accept(&state, request, false).await
}

/// Orders that an earlier revision is brought back.
#[utoipa::path(post, path = "/v1/releases/{release_id}/rollback", tag = "releases", request_body = RollbackRequest,
    params(("release_id" = String, Path, description = "its id"),
        ("idempotency-key" = Option<String>, Header, description = "the same key with the same body is one order")),
    responses((status = 202, description = "the order is recorded", body = OrderAccepted), WriteProblems))]
pub(super) async fn post_rollback(
    State(state): State<Shared>,
    caller: Caller,
    Segments(id): Segments<String>,
    headers: HeaderMap,
    Document(body): Document<RollbackRequest>,
) -> Result<Response, Problem> {
    asked::may_order(&caller)?;
    let scope = caller.narrowed(&headers)?;
    let release = find(&state, &scope, &id).await?;
    let to = match body.revision {
        Some(revision) => revision,
        None => before_present(&state, &scope, &release).await?,
    };
    let request =
        asked::of_release(&state, &caller, &headers, &release, (Action::Rollback, Some(to))).await?;
    asked::accept(&state, request, false).await
}

/// The newest revision that was ready before the present one. Without a present one:
/// the newest that was ready at all.
async fn before_present(state: &super::State, scope: &Scope, release: &Release) -> Result<u64, Problem> {
    let present = release.status.ready;
    let mut before = present;
    loop {
        let read = state.store().revisions(scope, release.id, before, LOOK).await;
        let read = read.map_err(Problem::of_store)?;
        if let Some(found) = read.iter().find(|revision| revision.ready_at.is_some()) {
            return Ok(found.number);
        }
        match read.last() {
            Some(last) if read.len() == LOOK => before = Some(last.number),
            _ => {
                return Err(Problem::not_found(format!(
                    "release {} has no earlier revision that was ready; name one of its history",
                    release.name
                )));
            }
        }
    }
}

/// What on the target differs from the revision that was ready last.
#[utoipa::path(get, path = "/v1/releases/{release_id}/drift", tag = "releases",
    params(("release_id" = String, Path, description = "its id")),
    responses((status = 200, description = "what differs", body = ReleaseDrift),
        (status = 409, description = "its revision is on no target", body = Problem, content_type = "application/problem+json"),
        ReadProblems))]
pub(super) async fn get_drift(
    State(state): State<Shared>,
    caller: Caller,
    Segments(id): Segments<String>,
    headers: HeaderMap,
) -> Result<Json<ReleaseDrift>, Problem> {
    asked::may_look(&caller)?;
    let scope = caller.narrowed(&headers)?;
    let release = find(&state, &scope, &id).await?;
    let Some(number) = release.status.applied else {
        return Ok(Json(ReleaseDrift { revision: None, drifted: false, objects: Vec::new() }));
    };
    let revision = revision(&state, &scope, &release, number).await?;
    let content: Content = serde_json::from_str(revision.content.get())
        .map_err(|err| Problem::damaged(&format!("revision {number} of release {}: {err}", release.id)))?;
    let Some(target) = state.provisioner.parts.targets.get(&release.target) else {
        let detail = format!("target {} is not configured (any more)", release.target);
        return Err(Problem::conflict(detail));
    };
    let placement = Placement::of(&release);
    let desired = Desired::of(&release, number, &content);
    let objects = match tokio::time::timeout(DRIFT_TIME, target.drift(&placement, &desired)).await {
        Ok(Ok(objects)) => objects,
        Ok(Err(crate::target::Error::Refused(detail))) => return Err(Problem::conflict(detail)),
        Ok(Err(crate::target::Error::Unavailable(detail))) => return Err(Problem::unavailable(detail)),
        Err(_) => {
            let detail = format!("target {} did not answer in time; try again later", release.target);
            return Err(Problem::unavailable(detail));
        }
    };
    let drifted = !objects.is_empty();
    let objects = objects.into_iter().map(show::object).collect();
    Ok(Json(ReleaseDrift { revision: Some(number), drifted, objects }))
}

/// The release of this id, within the scope.
pub(super) async fn find(state: &super::State, scope: &Scope, id: &str) -> Result<Release, Problem> {
    let missing = || Problem::not_found(format!("release {} does not exist", shown(id)));
    let id = Uuid::parse_str(id).map_err(|_| missing())?;
    let release = state.store().release(scope, id).await.map_err(Problem::of_store)?;
    release.ok_or_else(missing)
}

/// One revision of a release.
pub(super) async fn revision(
    state: &super::State,
    scope: &Scope,
    release: &Release,
    number: u64,
) -> Result<Revision, Problem> {
    let revision = state.store().revision(scope, release.id, number).await;
    revision.map_err(Problem::of_store)?.ok_or_else(|| {
        Problem::not_found(format!("release {} has no revision {number}; see its history", release.name))
    })
}
