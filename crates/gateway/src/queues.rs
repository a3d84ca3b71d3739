//! Queues as a whole: state, settings, a look into them.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use orderwire_api::extract::{Document, Params, Segments};
use orderwire_api::wire::{List, NewQueue, Peeked, QueueInfo};
use orderwire_api::{Caller, Problem, ReadProblems, WriteProblems};
use orderwire_queue::QueueState;
use orderwire_types::envelope::render;
use orderwire_types::queue::{Backoff, Format, QueueDef};
use orderwire_types::scope::Clients;
use orderwire_types::{Event, Pattern, QueueName, RawJson, Right};
use serde::{Deserialize, Serialize};

use crate::problems::{invalid, of_queue, queue_name};
use crate::state::{Shared, State as Gateway};

/// How many deliveries a peek shows by default.
const PEEK: usize = 10;

/// Every queue that the caller may touch, by name. Figures are of whole
/// queues, so that they need a key for all clients.
#[utoipa::path(get, path = "/v1/queues", tag = "queues",
    responses((status = 200, description = "the queues", body = List<QueueInfo>), ReadProblems))]
pub(crate) async fn list_queues(
    State(state): State<Shared>,
    caller: Caller,
) -> Result<Json<List<QueueInfo>>, Problem> {
    may_look(&caller)?;
    for_all_clients(&caller)?;
    let states = state.queues().states(&caller.scope).await.map_err(|err| of_queue(&err))?;
    let items = states.into_iter().map(|queue| info(&state, &queue)).collect();
    Ok(Json(List { items, next: None }))
}

/// Makes a queue, or changes one that a call made. Its kind stays.
#[utoipa::path(post, path = "/v1/queues", tag = "queues", request_body = NewQueue,
    responses((status = 200, description = "it was there", body = QueueInfo),
        (status = 201, description = "it is new", body = QueueInfo), WriteProblems))]
pub(crate) async fn post_queue(
    State(state): State<Shared>,
    caller: Caller,
    Document(new): Document<NewQueue>,
) -> Result<(StatusCode, Json<QueueInfo>), Problem> {
    caller.require(Right::Operate)?;
    for_all_clients(&caller)?;
    let (name, def) = definition(&new)?;
    let status = match state.queues().definition(&caller.scope, &name) {
        Err(_) => StatusCode::CREATED,
        Ok(known) if known.kind == def.kind => StatusCode::OK,
        Ok(known) => {
            return Err(Problem::conflict(format!(
                "queue {name} is of the kind {:?}, which stays; make another queue",
                word(&known.kind)
            )));
        }
    };
    state.queues().declare(&caller.scope, &name, def).await.map_err(|err| of_queue(&err))?;
    Ok((status, Json(show(&state, &caller, &name).await?)))
}

/// One queue.
#[utoipa::path(get, path = "/v1/queues/{queue}", tag = "queues",
    params(("queue" = String, Path, description = "its name")),
    responses((status = 200, description = "the queue", body = QueueInfo), ReadProblems))]
pub(crate) async fn get_queue(
    State(state): State<Shared>,
    caller: Caller,
    Segments(name): Segments<String>,
) -> Result<Json<QueueInfo>, Problem> {
    may_look(&caller)?;
    for_all_clients(&caller)?;
    Ok(Json(show(&state, &caller, &queue_name(&name)?).await?))
}

/// Stops handing out deliveries. Leases that are out stay valid.
#[utoipa::path(post, path = "/v1/queues/{queue}/pause", tag = "queues",
    params(("queue" = String, Path, description = "its name")),
    responses((status = 200, description = "the queue", body = QueueInfo), ReadProblems))]
pub(crate) async fn post_pause(
    State(state): State<Shared>,
    caller: Caller,
    Segments(name): Segments<String>,
) -> Result<Json<QueueInfo>, Problem> {
    set_paused(&state, &caller, &name, true).await
}

/// Hands out deliveries again.
#[utoipa::path(post, path = "/v1/queues/{queue}/resume", tag = "queues",
    params(("queue" = String, Path, description = "its name")),
    responses((status = 200, description = "the queue", body = QueueInfo), ReadProblems))]
pub(crate) async fn post_resume(
    State(state): State<Shared>,
    caller: Caller,
    Segments(name): Segments<String>,
) -> Result<Json<QueueInfo>, Problem> {
    set_paused(&state, &caller, &name, false).await
}

#[derive(Clone, Copy, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PeekParams {
    /// At most this many (10).
    max: Option<usize>,
}

/// Looks at the first waiting deliveries without taking them.
#[utoipa::path(get, path = "/v1/queues/{queue}/peek", tag = "queues",
    params(("queue" = String, Path, description = "its name"), PeekParams),
    responses((status = 200, description = "the deliveries, in order", body = List<Peeked>), ReadProblems))]
pub(crate) async fn get_peek(
    State(state): State<Shared>,
    caller: Caller,
    Segments(name): Segments<String>,
    Params(params): Params<PeekParams>,
    headers: HeaderMap,
) -> Result<Json<List<Peeked>>, Problem> {
    may_look(&caller)?;
    let scope = caller.narrowed(&headers)?;
    let name = queue_name(&name)?;
    if state.queues().worker(&name).is_some() {
        // Who consumes has no business in the queues of workers.
        caller.require(Right::Operate)?;
    }
    let format = state.queues().definition(&scope, &name).map_err(|err| of_queue(&err))?.format;
    let max = params.max.unwrap_or(PEEK).clamp(1, state.limits().lease_max);
    let waiting = state.queues().peek(&scope, &name, max).await.map_err(|err| of_queue(&err))?;
    let items = waiting
        .into_iter()
        .map(|(attempts, entry)| Ok(Peeked { attempts, event: rendered(&entry.body, format)?.0 }));
    Ok(Json(List { items: items.collect::<Result<_, Problem>>()?, next: None }))
}

/// A stored event in the form that a consumer gets.
pub(crate) fn rendered(body: &[u8], format: Format) -> Result<RawJson, Problem> {
    let event = Event::decode(body)
        .map_err(|err| Problem::damaged(&format!("a stored event cannot be read: {err}")))?;
    RawJson::parse(render(&event, format))
        .map_err(|err| Problem::internal(format!("an event could not be shown: {err}")))
}

fn may_look(caller: &Caller) -> Result<(), Problem> {
    if caller.scope.may(Right::Consume) { Ok(()) } else { caller.require(Right::Operate) }
}

/// A queue holds deliveries of every client, so that its figures and settings
/// are for who may see all of them.
fn for_all_clients(caller: &Caller) -> Result<(), Problem> {
    if caller.scope.clients == Clients::All {
        return Ok(());
    }
    Err(Problem::forbidden(
        "the figures and settings of a queue are of all clients; they need a key for all clients",
    ))
}

async fn set_paused(
    state: &Gateway,
    caller: &Caller,
    name: &str,
    paused: bool,
) -> Result<Json<QueueInfo>, Problem> {
    caller.require(Right::Operate)?;
    for_all_clients(caller)?;
    let name = queue_name(name)?;
    state.queues().pause(&caller.scope, &name, paused).await.map_err(|err| of_queue(&err))?;
    tracing::info!(queue.name = %name, paused, principal = %caller.scope.principal, "a queue was paused or resumed");
    Ok(Json(show(state, caller, &name).await?))
}

async fn show(state: &Gateway, caller: &Caller, name: &QueueName) -> Result<QueueInfo, Problem> {
    let queue = state.queues().state(&caller.scope, name).await.map_err(|err| of_queue(&err))?;
    Ok(info(state, &queue))
}

fn info(state: &Gateway, queue: &QueueState) -> QueueInfo {
    let age = queue.oldest.map_or(0, |oldest| state.now().as_millisecond() - oldest.as_millisecond());
    QueueInfo {
        kind: word(&queue.def.kind),
        ready: queue.ready,
        in_flight: queue.in_flight,
        delayed: queue.delayed,
        dead: queue.dead,
        oldest_age_ms: u64::try_from(age).unwrap_or(0),
        types: queue.def.types.iter().map(ToString::to_string).collect(),
        paused: queue.paused,
        worker: state.queues().worker(&queue.name).map(str::to_owned),
        key: word(&queue.def.key),
        format: word(&queue.def.format),
        attempts: queue.def.attempts,
        name: queue.name.to_string(),
    }
}

/// An enumeration as it is spelled on the wire.
fn word<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        other => unreachable!("an enumeration of words is a word: {other:?}"),
    }
}

fn definition(new: &NewQueue) -> Result<(QueueName, QueueDef), Problem> {
    let name = new.name.parse().map_err(|err| invalid("/name", format!("{err}")))?;
    if new.types.is_empty() {
        return Err(invalid("/types", "name at least one pattern of event types"));
    }
    let pattern = |(i, text): (usize, &String)| {
        text.parse::<Pattern>().map_err(|err| invalid(format!("/types/{i}"), err.to_string()))
    };
    let attempts = new.attempts.unwrap_or(5);
    if !(1..=1_000).contains(&attempts) {
        return Err(invalid("/attempts", "must be 1 to 1000"));
    }
    let def = QueueDef {
        kind: setting(new.kind.as_deref(), "/kind", "task or stream")?,
        types: new.types.iter().enumerate().map(pattern).collect::<Result<_, _>>()?,
        key: setting(new.key.as_deref(), "/key", "partitionkey, client or none")?,
        format: setting(new.format.as_deref(), "/format", "cloudevents, message-attributes or flat")?,
        attempts,
        backoff: Backoff::default(),
    };
    Ok((name, def))
}

fn setting<T: Default + for<'de> Deserialize<'de>>(
    given: Option<&str>,
    pointer: &str,
    words: &str,
) -> Result<T, Problem> {
    let Some(given) = given else { return Ok(T::default()) };
    let word = serde::de::value::StrDeserializer::<serde::de::value::Error>::new(given);
    T::deserialize(word).map_err(|_| invalid(pointer, format!("must be {words}")))
}
