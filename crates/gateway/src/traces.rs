//! Everything that happened for one trace id: what the queue knows and what
//! the store knows, as one list.

use std::collections::HashSet;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use orderwire_api::extract::Segments;
use orderwire_api::problem::shown;
use orderwire_api::wire::{Trace, TraceStep};
use orderwire_api::{Caller, Problem, ReadProblems};
use orderwire_types::step::Step;
use orderwire_types::{QueueName, Right, Scope, TraceId};
use uuid::Uuid;

use crate::clients::ORDERS;
use crate::problems::of_queue;
use crate::state::Shared;

/// What the principal of a key begins with.
const KEY: &str = "key:";
/// The role and principal of what orders do.
const PROVISIONER: &str = "provisioner";
/// The queue whose deliveries tell of work and are none: nobody may consume them.
const TELLS: &str = "status";

/// The steps of a trace, in order. The id may be spelled as the producer did,
/// as a UUID, or as 32 hex digits. Steps of queues outside a key's objects are left out;
/// those of orders belong to `queue/infra`.
#[utoipa::path(get, path = "/v1/traces/{trace_id}", tag = "traces",
    params(("trace_id" = String, Path, description = "the trace id"),
        ("orderwire-client" = Option<String>, Header, description = "steps of this client only")),
    responses((status = 200, description = "the trace", body = Trace), ReadProblems))]
pub(crate) async fn get_trace(
    State(state): State<Shared>,
    caller: Caller,
    Segments(given): Segments<String>,
    headers: HeaderMap,
) -> Result<Json<Trace>, Problem> {
    caller.require(Right::Read)?;
    let scope = caller.narrowed(&headers)?;
    let id = TraceId::from_given(&given).id;
    // A UUID has one spelling in answers; what is none is as it was given.
    let is_uuid = Uuid::parse_str(&given).is_ok_and(|uuid| uuid == id);
    let trace_id = if is_uuid { id.hyphenated().to_string() } else { given.clone() };
    // The queue first: what moves from one to the other meanwhile is seen
    // twice, which merging undoes, and never missed.
    let queue = state.queues().trace(&scope, id).await.map_err(|err| of_queue(&err))?;
    let store = state.store().trace(&scope, id).await.map_err(Problem::of_store)?;
    if queue.client.is_none() && store.client.is_none() {
        let shown = shown(&given);
        return Err(Problem::not_found(if queue.partial {
            format!(
                "nothing is known of trace {shown} yet; more events wait to be recorded than were looked at"
            )
        } else {
            format!("trace {shown} does not exist")
        }));
    }
    let orders = state.store().trace_orders(&scope, id).await.map_err(Problem::of_store)?;
    let sees_orders = scope.touches(ORDERS);
    let (orders_open, orders_failed) = if sees_orders { (orders.open, orders.failed) } else { (0, 0) };
    let may_wait = queue.open > told(&queue.steps) || queue.partial || orders_open > 0;
    let failed = queue.dead + orders_failed;
    let client = queue.client.or(store.client).map(|client| client.to_string());
    let mut steps = merge(queue.steps, store.steps);
    let touches = |queue: &QueueName| scope.touches(&format!("queue/{queue}"));
    steps.retain(|step| step.queue.as_ref().is_none_or(touches) && (sees_orders || !is_of_orders(step)));
    let state = state_of(&steps, may_wait, failed);
    without_telling(&mut steps);
    Ok(Json(Trace {
        trace_id,
        client,
        state: state.to_owned(),
        steps: steps.into_iter().map(|step| show(anonymous(step, &scope))).collect(),
    }))
}

/// The state of a trace: `done` only when nothing of it can be waiting, and when
/// nothing of it failed for good.
fn state_of(steps: &[Step], may_wait: bool, failed: u64) -> &'static str {
    let waiting = steps.iter().any(|step| step.outcome == "waiting" && !tells(step));
    match (may_wait || waiting, failed > 0) {
        (true, _) => "open",
        (false, true) => "failed",
        (false, false) => "done",
    }
}

/// Whether a step is the provisioner's, or the event that tells of one.
fn is_of_orders(step: &Step) -> bool {
    step.role == PROVISIONER
        || step
            .detail
            .as_deref()
            .and_then(|detail| detail.rsplit_once(" from "))
            .is_some_and(|(_, name)| step.step == "accepted" && name == PROVISIONER)
}

/// Takes out what only says that another step was told to whoever listens: it would
/// say everything twice. What a listener did with it stays.
fn without_telling(steps: &mut Vec<Step>) {
    let telling = |step: &&Step| {
        step.step == "accepted"
            && step.detail.as_deref().is_some_and(|detail| {
                detail.starts_with("orderwire.order.") && detail.ends_with(" from provisioner")
            })
    };
    let told: HashSet<Option<Uuid>> = steps.iter().filter(telling).map(|step| step.event_id).collect();
    steps.retain(|step| {
        !(told.contains(&step.event_id) && matches!(step.step.as_str(), "accepted" | "queued"))
    });
}

fn tells(step: &Step) -> bool {
    step.queue.as_ref().is_some_and(|queue| queue.as_str() == TELLS)
}

/// How many open deliveries merely tell of the work. `steps` in order of time.
fn told(steps: &[Step]) -> u64 {
    let mut open = HashSet::new();
    for step in steps.iter().filter(|step| tells(step)) {
        match (step.step.as_str(), step.outcome.as_str()) {
            ("queued", "ok" | "waiting") | ("replayed", _) => {
                open.insert(step.event_id);
            }
            ("attempt", "ok") | ("dead-lettered" | "discarded", _) => {
                open.remove(&step.event_id);
            }
            _ => {}
        }
    }
    open.len() as u64
}

/// One list in order of time, and of cause where the time is the same.
fn merge(queue: Vec<Step>, store: Vec<Step>) -> Vec<Step> {
    let mut steps = store;
    for step in queue {
        match steps.iter_mut().find(|other| is_same(other, &step)) {
            // The fuller of the two says more.
            Some(other) => {
                if weight(&step) > weight(other) {
                    *other = step;
                }
            }
            None => steps.push(step),
        }
    }
    let recorded: Vec<Step> = steps.iter().filter(|step| step.step == "recorded").cloned().collect();
    steps.retain(|step| {
        step.outcome != "waiting"
            || !recorded.iter().any(|done| done.queue == step.queue && done.event_id == step.event_id)
    });
    steps.sort_by_key(|step| (step.at, rank(step)));
    steps
}

/// Whether two records tell of the same step. One of several events together
/// names none of them.
fn is_same(a: &Step, b: &Step) -> bool {
    a.step == b.step
        && a.at.as_microsecond() == b.at.as_microsecond()
        && a.queue == b.queue
        && a.attempt == b.attempt
        && a.outcome == b.outcome
        && a.role == b.role
        && (a.event_id == b.event_id || a.event_id.is_none() || b.event_id.is_none())
}

fn weight(step: &Step) -> usize {
    usize::from(step.event_id.is_some())
        + usize::from(step.duration_ms.is_some())
        + usize::from(step.detail.is_some())
}

fn rank(step: &Step) -> u8 {
    match step.step.as_str() {
        "accepted" => 0,
        "queued" => 1,
        "leased" => 2,
        "attempt" => 3,
        "recorded" => 4,
        "dead-lettered" => 6,
        "edited" => 7,
        "replayed" => 8,
        "discarded" => 9,
        // The provisioner's, in the order in which they were recorded.
        _ => 5,
    }
}

/// The step without the names of other keys: who has which key is for those who
/// operate the server.
fn anonymous(mut step: Step, scope: &Scope) -> Step {
    let hides = |name: &str| name.starts_with(KEY) && *name != *scope.principal;
    if scope.may(Right::Operate) {
        return step;
    }
    if hides(&step.role) {
        KEY.trim_end_matches(':').clone_into(&mut step.role);
    }
    if step.step == "accepted"
        && let Some((what, name)) = step.detail.as_deref().and_then(|detail| detail.rsplit_once(" from "))
        && hides(name)
    {
        step.detail = Some(format!("{what} from a {}", KEY.trim_end_matches(':')));
    }
    step
}

fn show(step: Step) -> TraceStep {
    TraceStep {
        at: step.at.to_string(),
        role: step.role,
        step: step.step,
        outcome: step.outcome,
        queue: step.queue.map(|queue| queue.to_string()),
        event_id: step.event_id.map(|id| id.to_string()),
        attempt: step.attempt,
        #[expect(clippy::cast_precision_loss, reason = "a duration below 285 years is exact")]
        duration_ms: step.duration_ms.map(|millis| millis.0 as f64 / 1_000.0),
        detail: step.detail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(at: &str, step: &str, event: Option<u128>, detail: Option<&str>) -> Step {
        Step {
            event_id: event.map(Uuid::from_u128),
            detail: detail.map(str::to_owned),
            ..Step::ok(at.parse().unwrap(), "r", step)
        }
    }

    #[test]
    fn what_both_know_is_told_once_and_in_order() {
        let at = "2024-01-01T00:00:00Z";
        let later = "2024-01-01T00:00:01Z";
        let queue =
            vec![step(at, "queued", Some(1), None), step(at, "accepted", Some(1), Some("from key:1"))];
        let store = vec![step(at, "accepted", None, None), step(later, "recorded", Some(1), None)];
        let merged = merge(queue, store);
        let names: Vec<_> = merged.iter().map(|step| step.step.as_str()).collect();
        assert_eq!(names, ["accepted", "queued", "recorded"]);
        assert_eq!(merged[0].detail.as_deref(), Some("from key:1"));
    }

    #[test]
    fn a_trace_is_done_when_nothing_of_it_can_be_waiting() {
        let at = "2024-01-01T00:00:00Z";
        let done = [step(at, "recorded", Some(1), None)];
        let waiting = [Step { outcome: "waiting".into(), ..step(at, "queued", Some(1), None) }];
        assert_eq!(state_of(&done, false, 0), "done");
        assert_eq!(state_of(&done, false, 1), "failed");
        assert_eq!(state_of(&done, true, 0), "open", "it may wait where nobody looked");
        assert_eq!(state_of(&waiting, false, 1), "open");
    }

    #[test]
    fn what_waits_to_be_told_keeps_no_trace_open() {
        let at = "2024-01-01T00:00:00Z";
        let on = |queue: &str, step_name: &str, outcome: &str, event| Step {
            queue: Some(queue.parse().unwrap()),
            outcome: outcome.into(),
            ..step(at, step_name, Some(event), None)
        };
        let steps = [
            on("status", "queued", "ok", 1),
            on("status", "queued", "ok", 2),
            on("status", "attempt", "ok", 2),
            on("infra", "queued", "ok", 3),
        ];
        assert_eq!(told(&steps), 1, "one was consumed, one is work");
        assert_eq!(state_of(&[on("status", "queued", "waiting", 1)], false, 0), "done");
        assert_eq!(state_of(&[on("infra", "queued", "waiting", 1)], false, 0), "open");
    }

    #[test]
    fn what_only_tells_of_a_step_is_not_told_again() {
        let at = "2024-01-01T00:00:00Z";
        let status = |name: &str, event| Step { queue: "status".parse().ok(), ..step(at, name, event, None) };
        let mut steps = vec![
            step(at, "accepted", Some(1), Some("a.b from key:1")),
            step(at, "ready", Some(1), None),
            step(at, "accepted", Some(2), Some("orderwire.order.ready from provisioner")),
            status("queued", Some(2)),
            status("attempt", Some(2)),
        ];
        without_telling(&mut steps);
        let names: Vec<_> = steps.iter().map(|step| step.step.as_str()).collect();
        assert_eq!(names, ["accepted", "ready", "attempt"]);
    }

    #[test]
    fn what_orders_do_and_tell_is_told_apart() {
        let at = "2024-01-01T00:00:00Z";
        let own = Step { role: PROVISIONER.into(), ..step(at, "ready", Some(1), None) };
        assert!(is_of_orders(&own));
        assert!(is_of_orders(&step(at, "accepted", Some(1), Some("orderwire.order.ready from provisioner"))));
        assert!(!is_of_orders(&step(at, "accepted", Some(1), Some("shop.provisioner from key:1"))));
        assert!(!is_of_orders(&step(at, "attempt", Some(1), Some("no answer from provisioner"))));
    }

    #[test]
    fn two_events_are_two_steps() {
        let at = "2024-01-01T00:00:00Z";
        let merged =
            merge(vec![step(at, "accepted", Some(1), None)], vec![step(at, "accepted", Some(2), None)]);
        assert_eq!(merged.len(), 2);
    }
}
