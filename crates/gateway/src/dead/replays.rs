//! Dead letters back into their queues: at once, or at a rate.

use std::num::NonZeroU32;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use orderwire_api::extract::{Document, Segments};
use orderwire_api::problem::shown;
use orderwire_api::wire::{self, DeadAction, DeadCount, DeadSelector, List};
use orderwire_api::{Caller, Problem, ReadProblems, WriteProblems};
use orderwire_queue::{DeadFilter, RATE_MAX, Replay, ReplayId};
use orderwire_types::Right;

use super::{count, selected};
use crate::problems::{invalid, of_queue};
use crate::state::Shared;

/// Puts dead letters back at the end of their queues: same event, same trace,
/// attempts from the beginning, each at most once. With `rate` it goes on by itself,
/// evenly, and `status_url` says how far it is.
#[utoipa::path(post, path = "/v1/dead/replay", tag = "dead letters", request_body = DeadAction,
    responses((status = 200, description = "how many", body = DeadCount),
        (status = 202, description = "with `rate`: the replay has begun", body = wire::Replay),
        (status = 429, description = "as many replays run as may", body = Problem, content_type = "application/problem+json"),
        WriteProblems))]
pub(crate) async fn post_replay(
    State(state): State<Shared>,
    caller: Caller,
    headers: HeaderMap,
    Document(action): Document<DeadAction>,
) -> Result<Response, Problem> {
    caller.require(Right::Operate)?;
    let filter = selected(&action)?;
    let rate = action.rate.map(rate).transpose()?;
    let scope = caller.narrowed(&headers)?;
    if let Some(rate) = rate.filter(|_| !action.dry_run) {
        let begun = state.queues().start_replay(&scope, &filter, rate).await;
        let replay = told(begun.map_err(|err| of_queue(&err))?);
        let location = [(header::LOCATION, replay.status_url.clone())];
        return Ok((StatusCode::ACCEPTED, location, Json(replay)).into_response());
    }
    let done = state.queues().replay(&scope, &filter, action.dry_run).await;
    Ok(Json(count(done.map_err(|err| of_queue(&err))?, action.dry_run)).into_response())
}

/// The replays at a rate since the server started, oldest first: those that run, and
/// the last 64 that ended.
#[utoipa::path(get, path = "/v1/dead/replays", tag = "dead letters",
    responses((status = 200, description = "the replays", body = List<wire::Replay>), ReadProblems))]
pub(crate) async fn list_replays(
    State(state): State<Shared>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Json<List<wire::Replay>>, Problem> {
    caller.require(Right::Operate)?;
    let scope = caller.narrowed(&headers)?;
    let items = state.queues().replays(&scope).into_iter().map(told).collect();
    Ok(Json(List { items, next: None }))
}

/// How far a replay at a rate is.
#[utoipa::path(get, path = "/v1/dead/replays/{replay_id}", tag = "dead letters",
    params(("replay_id" = String, Path, description = "its id")),
    responses((status = 200, description = "the replay", body = wire::Replay), ReadProblems))]
pub(crate) async fn get_replay(
    State(state): State<Shared>,
    caller: Caller,
    Segments(id): Segments<String>,
    headers: HeaderMap,
) -> Result<Json<wire::Replay>, Problem> {
    caller.require(Right::Operate)?;
    let scope = caller.narrowed(&headers)?;
    let replay = state.queues().replay_of(&scope, replay_id(&id)?).map_err(|err| of_queue(&err))?;
    Ok(Json(told(replay)))
}

/// Ends a replay at a rate. Nothing more is put back once it is answered, unless it
/// still says `running`, because the storage did not answer in time. One that ended
/// before stays as it is.
#[utoipa::path(post, path = "/v1/dead/replays/{replay_id}/cancel", tag = "dead letters",
    params(("replay_id" = String, Path, description = "its id")),
    responses((status = 200, description = "the replay as it ended", body = wire::Replay), ReadProblems))]
pub(crate) async fn post_replay_cancel(
    State(state): State<Shared>,
    caller: Caller,
    Segments(id): Segments<String>,
    headers: HeaderMap,
) -> Result<Json<wire::Replay>, Problem> {
    caller.require(Right::Operate)?;
    let scope = caller.narrowed(&headers)?;
    let ended = state.queues().cancel_replay(&scope, replay_id(&id)?).await;
    Ok(Json(told(ended.map_err(|err| of_queue(&err))?)))
}

fn rate(given: u32) -> Result<NonZeroU32, Problem> {
    NonZeroU32::new(given)
        .filter(|rate| rate.get() <= RATE_MAX)
        .ok_or_else(|| invalid("/rate", format!("must be 1 to {RATE_MAX} letters per second")))
}

fn replay_id(text: &str) -> Result<ReplayId, Problem> {
    text.parse().map_err(|_| Problem::not_found(format!("replay {} does not exist", shown(text))))
}

fn told(replay: Replay) -> wire::Replay {
    wire::Replay {
        status_url: format!("/v1/dead/replays/{}", replay.id),
        replay_id: replay.id.to_string(),
        state: replay.state.word().to_owned(),
        rate: replay.rate.get(),
        matched: replay.matched,
        done: replay.done,
        filter: selector(&replay.filter),
        ids: replay.ids.map(|ids| ids as u64),
        principal: replay.principal,
        started_at: replay.started_at.to_string(),
        ended_at: replay.ended_at.map(|at| at.to_string()),
        reason: replay.reason,
    }
}

fn selector(filter: &DeadFilter) -> DeadSelector {
    DeadSelector {
        queue: filter.queue.as_ref().map(ToString::to_string),
        event_type: filter.event_type.as_ref().map(ToString::to_string),
        client: filter.client.as_ref().map(ToString::to_string),
        cause: filter.cause.clone(),
        since: filter.since.map(|at| at.to_string()),
        until: filter.until.map(|at| at.to_string()),
    }
}
