//! Dead letters.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use jiff::Timestamp;
use orderwire_api::extract::{Document, Params, Segments};
use orderwire_api::problem::shown;
use orderwire_api::wire::{self, DeadAction, DeadCount, DeadSelector, List};
use orderwire_api::{Caller, Problem, ReadProblems, WriteProblems, page};
use orderwire_queue::{DeadFilter, DeadLetter};
use orderwire_types::Right;
use orderwire_types::queue::Format;
use serde::Deserialize;

use crate::problems::{invalid, of_queue};
use crate::queues::rendered;
use crate::state::Shared;

/// The longest reason that is kept, in bytes.
const REASON_MAX: usize = 4_096;

/// A selector and a place in the list: flat, because a query knows no levels.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeadParams {
    /// Of this queue.
    queue: Option<String>,
    /// Of this event type, a pattern.
    #[serde(rename = "type")]
    #[param(rename = "type")]
    event_type: Option<String>,
    /// Of this client.
    client: Option<String>,
    /// Whose cause contains this text.
    cause: Option<String>,
    /// Dead-lettered at or after, RFC 3339.
    since: Option<String>,
    /// Dead-lettered before, RFC 3339.
    until: Option<String>,
    /// The cursor that the page before gave.
    after: Option<String>,
    /// At most this many (100, at most 1000).
    limit: Option<usize>,
}

/// Dead letters, oldest first, without their payload.
#[utoipa::path(get, path = "/v1/dead", tag = "dead letters", params(DeadParams),
    responses((status = 200, description = "a page", body = List<wire::DeadLetter>), ReadProblems))]
pub(crate) async fn list_dead(
    State(state): State<Shared>,
    caller: Caller,
    Params(params): Params<DeadParams>,
    headers: HeaderMap,
) -> Result<Json<List<wire::DeadLetter>>, Problem> {
    may_look(&caller)?;
    let DeadParams { queue, event_type, client, cause, since, until, after, limit } = params;
    let filter = filter(&DeadSelector { queue, event_type, client, cause, since, until }, "")?;
    let scope = caller.narrowed(&headers)?;
    let after = page::cursor(after)?.unwrap_or(0);
    let limit = page::size(limit);
    let page = state.queues().dead(&scope, &filter, after, limit).await.map_err(|err| of_queue(&err))?;
    let items = page.items.into_iter().map(info).collect();
    Ok(Json(List { items, next: page.next.map(|next| next.to_string()) }))
}

/// One dead letter with its event.
#[utoipa::path(get, path = "/v1/dead/{id}", tag = "dead letters",
    params(("id" = String, Path, description = "its id")),
    responses((status = 200, description = "the letter", body = wire::DeadLetter), ReadProblems))]
pub(crate) async fn get_dead(
    State(state): State<Shared>,
    caller: Caller,
    Segments(id): Segments<String>,
    headers: HeaderMap,
) -> Result<Json<wire::DeadLetter>, Problem> {
    may_look(&caller)?;
    let scope = caller.narrowed(&headers)?;
    let number =
        id.parse().map_err(|_| Problem::not_found(format!("dead letter {} does not exist", shown(&id))))?;
    let letter = state.queues().dead_letter(&scope, number).await.map_err(|err| of_queue(&err))?;
    let event = rendered(&letter.body, Format::Cloudevents)?;
    Ok(Json(wire::DeadLetter { event: Some(event.0), ..info(letter) }))
}

/// Puts dead letters back at the end of their queues: same event, same trace,
/// attempts from the beginning.
#[utoipa::path(post, path = "/v1/dead/replay", tag = "dead letters", request_body = DeadAction,
    responses((status = 200, description = "how many", body = DeadCount), WriteProblems))]
pub(crate) async fn post_replay(
    State(state): State<Shared>,
    caller: Caller,
    headers: HeaderMap,
    Document(action): Document<DeadAction>,
) -> Result<Json<DeadCount>, Problem> {
    caller.require(Right::Operate)?;
    let filter = selected(&action)?;
    let scope = caller.narrowed(&headers)?;
    let done = state.queues().replay(&scope, &filter, action.dry_run).await;
    Ok(Json(count(done.map_err(|err| of_queue(&err))?, action.dry_run)))
}

/// Forgets dead letters for good; the trace keeps that and the reason.
#[utoipa::path(post, path = "/v1/dead/discard", tag = "dead letters", request_body = DeadAction,
    responses((status = 200, description = "how many", body = DeadCount), WriteProblems))]
pub(crate) async fn post_discard(
    State(state): State<Shared>,
    caller: Caller,
    headers: HeaderMap,
    Document(action): Document<DeadAction>,
) -> Result<Json<DeadCount>, Problem> {
    caller.require(Right::Operate)?;
    let filter = selected(&action)?;
    let reason = action.reason.as_deref().unwrap_or("no reason given");
    if reason.len() > REASON_MAX {
        return Err(invalid("/reason", format!("longer than {REASON_MAX} bytes")));
    }
    let scope = caller.narrowed(&headers)?;
    let done = state.queues().discard(&scope, &filter, action.dry_run, reason).await;
    Ok(Json(count(done.map_err(|err| of_queue(&err))?, action.dry_run)))
}

fn may_look(caller: &Caller) -> Result<(), Problem> {
    if caller.scope.may(Right::Consume) { Ok(()) } else { caller.require(Right::Operate) }
}

fn count(selected: orderwire_queue::Selected, dry_run: bool) -> DeadCount {
    DeadCount { count: if dry_run { selected.matched } else { selected.done }, dry_run }
}

/// What an action is about; to forget to say it must not mean everything.
fn selected(action: &DeadAction) -> Result<DeadFilter, Problem> {
    if action.ids.is_none() && action.filter.is_none() {
        return Err(invalid("", "say which: ids, or a filter (an empty one, {}, is all)"));
    }
    let mut filter = match &action.filter {
        Some(selector) => filter(selector, "/filter")?,
        None => DeadFilter::default(),
    };
    if let Some(ids) = &action.ids {
        if ids.len() > 10_000 {
            return Err(invalid("/ids", "at most 10000 at once"));
        }
        let parse = |(i, id): (usize, &String)| {
            id.parse::<i64>().map_err(|_| invalid(format!("/ids/{i}"), "no id of a dead letter"))
        };
        filter.ids = Some(ids.iter().enumerate().map(parse).collect::<Result<_, _>>()?);
    }
    Ok(filter)
}

fn filter(selector: &DeadSelector, at: &str) -> Result<DeadFilter, Problem> {
    let wrong = |member: &str, detail: String| {
        if at.is_empty() {
            invalid("", format!("the query of the URL: {member}: {detail}"))
        } else {
            invalid(format!("{at}/{member}"), detail)
        }
    };
    let time = |member: &str, text: &Option<String>| -> Result<Option<Timestamp>, Problem> {
        let parse = |text: &String| {
            orderwire_types::envelope::parse_rfc3339(text)
                .ok_or_else(|| wrong(member, "must be a time of RFC 3339".to_owned()))
        };
        text.as_ref().map(parse).transpose()
    };
    Ok(DeadFilter {
        ids: None,
        queue: parsed(selector.queue.as_ref(), |err| wrong("queue", err))?,
        event_type: parsed(selector.event_type.as_ref(), |err| wrong("type", err))?,
        client: parsed(selector.client.as_ref(), |err| wrong("client", err))?,
        cause: selector.cause.clone(),
        since: time("since", &selector.since)?,
        until: time("until", &selector.until)?,
    })
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    text: Option<&String>,
    wrong: impl Fn(String) -> Problem,
) -> Result<Option<T>, Problem> {
    text.map(|text| text.parse::<T>().map_err(|err| wrong(err.to_string()))).transpose()
}

fn info(letter: DeadLetter) -> wire::DeadLetter {
    wire::DeadLetter {
        id: letter.id.to_string(),
        queue: letter.queue.to_string(),
        event_id: letter.event_id.to_string(),
        event_type: letter.event_type.to_string(),
        client: letter.client.to_string(),
        trace_id: letter.trace.to_string(),
        attempts: letter.attempts,
        cause: letter.cause,
        died_at: letter.died_at.to_string(),
        event: None,
    }
}
