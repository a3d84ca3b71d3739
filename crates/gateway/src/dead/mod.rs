//! Dead letters: found, edited, put back, forgotten.

pub(crate) mod edit;
pub(crate) mod replays;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, header};
use jiff::Timestamp;
use orderwire_api::extract::{Document, Params, Segments};
use orderwire_api::problem::shown;
use orderwire_api::wire::{self, DeadAction, DeadCount, DeadSelector, List};
use orderwire_api::{Caller, Problem, ReadProblems, WriteProblems, page};
use orderwire_queue::{DeadFilter, DeadLetter};
use orderwire_types::queue::Format;
use orderwire_types::{Right, Scope};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::problems::{invalid, of_queue};
use crate::queues::rendered;
use crate::state::{Shared, State as Gateway};

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

/// One dead letter with its event. `ETag` and `etag` name its content, for an edit.
#[utoipa::path(get, path = "/v1/dead/{id}", tag = "dead letters",
    params(("id" = String, Path, description = "its id")),
    responses((status = 200, description = "the letter", body = wire::DeadLetter), ReadProblems))]
pub(crate) async fn get_dead(
    State(state): State<Shared>,
    caller: Caller,
    Segments(id): Segments<String>,
    headers: HeaderMap,
) -> Result<Shown, Problem> {
    may_look(&caller)?;
    let scope = caller.narrowed(&headers)?;
    whole(find(&state, &scope, &id).await?)
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
    if action.rate.is_some() {
        return Err(invalid("/rate", "only a replay has a rate"));
    }
    let filter = selected(&action)?;
    let reason = reason(action.reason.as_deref())?.unwrap_or("no reason given");
    let scope = caller.narrowed(&headers)?;
    let done = state.queues().discard(&scope, &filter, action.dry_run, reason).await;
    Ok(Json(count(done.map_err(|err| of_queue(&err))?, action.dry_run)))
}

/// A letter with its event, and what names its content.
type Shown = ([(HeaderName, String); 1], Json<wire::DeadLetter>);

/// The letter of this id.
async fn find(state: &Gateway, scope: &Scope, id: &str) -> Result<DeadLetter, Problem> {
    let number =
        id.parse().map_err(|_| Problem::not_found(format!("dead letter {} does not exist", shown(id))))?;
    state.queues().dead_letter(scope, number).await.map_err(|err| of_queue(&err))
}

/// The answer with one letter.
fn whole(letter: DeadLetter) -> Result<Shown, Problem> {
    let event = rendered(&letter.body, Format::Cloudevents)?;
    let etag = etag(&letter.body);
    let header = [(header::ETAG, format!("\"{etag}\""))];
    Ok((header, Json(wire::DeadLetter { etag: Some(etag), event: Some(event.0), ..info(letter) })))
}

/// What names the content of a letter: two are the same exactly when it is.
fn etag(body: &[u8]) -> String {
    Sha256::digest(body)[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A reason that is short enough to be kept.
fn reason(given: Option<&str>) -> Result<Option<&str>, Problem> {
    match given {
        Some(reason) if reason.len() > REASON_MAX => {
            Err(invalid("/reason", format!("longer than {REASON_MAX} bytes")))
        }
        reason => Ok(reason),
    }
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
        etag: None,
        event: None,
    }
}
