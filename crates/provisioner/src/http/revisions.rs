//! What a release was: its revisions, and how they differ.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use orderwire_api::extract::{Params, Segments};
use orderwire_api::problem::shown;
use orderwire_api::wire::{List, RevisionDiff, RevisionInfo};
use orderwire_api::{Caller, Problem, ReadProblems, page};
use orderwire_store::orders::Revision;
use serde::Deserialize;
use serde_json::Value;

use super::releases::{find, revision};
use super::{PageParams, Shared, asked, show};
use crate::diff::diff;

#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct DiffParams {
    /// The earlier revision; the one before `to` when left out.
    from: Option<u64>,
    /// The later revision; the newest when left out.
    to: Option<u64>,
}

/// The revisions of a release without their content, newest first.
#[utoipa::path(get, path = "/v1/releases/{release_id}/history", tag = "releases",
    params(("release_id" = String, Path, description = "its id"), PageParams),
    responses((status = 200, description = "a page", body = List<RevisionInfo>), ReadProblems))]
pub(super) async fn get_history(
    State(state): State<Shared>,
    caller: Caller,
    Segments(id): Segments<String>,
    Params(params): Params<PageParams>,
    headers: HeaderMap,
) -> Result<Json<List<RevisionInfo>>, Problem> {
    asked::may_look(&caller)?;
    let scope = caller.narrowed(&headers)?;
    let (before, size) = (page::cursor::<u64>(params.after)?, page::size(params.limit));
    let release = find(&state, &scope, &id).await?;
    let revisions = state.store().revisions(&scope, release.id, before, size + 1).await;
    let mut revisions = revisions.map_err(Problem::of_store)?;
    let next = page::cut(&mut revisions, size, |revision| revision.number);
    let items = revisions.iter().map(|revision| show::revision(revision, release.status.ready)).collect();
    Ok(Json(List { items, next }))
}

/// One revision with its content.
#[utoipa::path(get, path = "/v1/releases/{release_id}/revisions/{revision}", tag = "releases",
    params(("release_id" = String, Path, description = "its id"),
        ("revision" = u64, Path, description = "the number of the revision")),
    responses((status = 200, description = "the revision", body = RevisionInfo), ReadProblems))]
pub(super) async fn get_revision(
    State(state): State<Shared>,
    caller: Caller,
    Segments((id, number)): Segments<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<RevisionInfo>, Problem> {
    asked::may_look(&caller)?;
    let scope = caller.narrowed(&headers)?;
    let release = find(&state, &scope, &id).await?;
    let number: u64 = number.parse().map_err(|_| {
        Problem::not_found(format!("release {} has no revision {}", release.name, shown(&number)))
    })?;
    let found = revision(&state, &scope, &release, number).await?;
    let info = show::revision(&found, release.status.ready);
    Ok(Json(RevisionInfo { content: Some(show::raw(found.content)), ..info }))
}

/// What differs between two revisions, field by field.
#[utoipa::path(get, path = "/v1/releases/{release_id}/diff", tag = "releases",
    params(("release_id" = String, Path, description = "its id"), DiffParams),
    responses((status = 200, description = "what differs", body = RevisionDiff), ReadProblems))]
pub(super) async fn get_diff(
    State(state): State<Shared>,
    caller: Caller,
    Segments(id): Segments<String>,
    Params(params): Params<DiffParams>,
    headers: HeaderMap,
) -> Result<Json<RevisionDiff>, Problem> {
    asked::may_look(&caller)?;
    let scope = caller.narrowed(&headers)?;
    let release = find(&state, &scope, &id).await?;
    let missing = || {
        let detail = format!("release {} has no two revisions to compare; see its history", release.name);
        Problem::not_found(detail)
    };
    let to = match params.to {
        Some(to) => to,
        None => match release.revisions {
            0 => return Err(missing()),
            newest => newest,
        },
    };
    let to = revision(&state, &scope, &release, to).await?;
    let from = match params.from {
        Some(from) => revision(&state, &scope, &release, from).await?,
        None => {
            // Numbers in between may have been swept.
            let before = state.store().revisions(&scope, release.id, Some(to.number), 1).await;
            before.map_err(Problem::of_store)?.into_iter().next().ok_or_else(missing)?
        }
    };
    let changes = diff(&content(&from)?, &content(&to)?);
    let changes = changes.into_iter().map(show::change).collect();
    Ok(Json(RevisionDiff { from: from.number, to: to.number, changes }))
}

fn content(revision: &Revision) -> Result<Value, Problem> {
    serde_json::from_str(revision.content.get()).map_err(|err| {
        Problem::damaged(&format!("revision {} of order {}: {err}", revision.number, revision.order))
    })
}
