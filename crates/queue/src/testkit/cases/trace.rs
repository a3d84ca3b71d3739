use std::time::Duration;

use orderwire_types::Client;
use orderwire_types::scope::Clients;
use orderwire_types::step::{Millis, Step};
use uuid::Uuid;

use crate::engine::{LaneKey, Op};
use crate::model::DeadFilter;
use crate::testkit::bench::{ATTEMPTS, Bench, Checked, edit, ensure, ensure_eq, others, say, stream, tasks};

const SECOND: Duration = Duration::from_secs(1);

async fn steps(b: &Bench, trace: Uuid) -> Checked<Vec<Step>> {
    Ok(b.engine().trace(trace, &Clients::All).await.map_err(say)?.steps)
}

fn shown(steps: &[Step]) -> Vec<String> {
    steps.iter().map(|step| format!("{} {}", step.step, step.outcome)).collect()
}

pub(super) async fn a_trace_tells_every_step_in_order(b: &mut Bench) -> Checked {
    let mut entry = b.entry("a1", "acme", "k");
    entry.queues.push((others(), LaneKey::Alone));
    let (trace, event) = (entry.trace, entry.event_id);
    b.now = crate::clock::after(b.now, Duration::from_millis(2));
    b.append(vec![entry]).await?;
    b.pass(SECOND).await?;
    let got = b.claim(1).await?;
    b.pass(SECOND).await?;
    b.nack(&got[0], SECOND).await?;
    b.pass(2 * SECOND).await?;
    let got = b.claim(1).await?;
    b.pass(SECOND).await?;
    b.ack(&got[0]).await?;
    b.reopen().await?;

    let steps = steps(b, trace).await?;
    ensure_eq!(
        shown(&steps),
        ["accepted ok", "queued ok", "queued ok", "attempt retry", "attempt ok"],
        "the steps"
    );
    ensure!(steps.is_sorted_by_key(|step| step.at), "the steps are not in order of time");
    ensure!(steps.iter().all(|step| step.event_id == Some(event.0)), "a step does not name its event");
    let mut queues: Vec<_> = steps[1..3].iter().filter_map(|step| step.queue.clone()).collect();
    queues.sort();
    ensure_eq!(queues, [others(), tasks()], "the queues of the event");
    ensure_eq!(steps[1].duration_ms, Some(Millis(2_000)), "the time from the edge to the queue");
    let tried = |step: &Step| (step.attempt, step.duration_ms, step.queue.clone(), step.role.clone());
    let second = Some(Millis(1_000_000));
    ensure_eq!(
        tried(&steps[3]),
        (Some(1), second, Some(tasks()), "consumer".to_owned()),
        "the first attempt"
    );
    ensure_eq!(
        tried(&steps[4]),
        (Some(2), second, Some(tasks()), "consumer".to_owned()),
        "the second attempt"
    );
    ensure_eq!(steps[3].detail.as_deref(), Some("try again"), "the cause of the retry");
    let view = b.engine().trace(trace, &Clients::All).await.map_err(say)?;
    ensure_eq!((view.open, view.dead), (1, 0), "deliveries that are open, and dead");
    Ok(())
}

pub(super) async fn a_trace_tells_expiry_death_and_replay(b: &mut Bench) -> Checked {
    let entry = b.entry("a1", "acme", "k");
    let trace = entry.trace;
    b.append(vec![entry]).await?;
    for _ in 0..ATTEMPTS {
        b.claim(1).await?;
        b.pass(31 * SECOND).await?;
    }
    let view = b.engine().trace(trace, &Clients::All).await.map_err(say)?;
    ensure_eq!((view.open, view.dead), (0, 1), "deliveries that are open, and dead");
    let id = b.dead(&DeadFilter::default()).await?.remove(0).id;
    b.count(Op::Replay { ids: vec![id], principal: "operator".to_owned() }).await?;
    b.pass(SECOND).await?;
    let got = b.claim(1).await?;
    b.fail(&got[0], "never").await?;
    b.pass(SECOND).await?;
    let id = b.dead(&DeadFilter::default()).await?.remove(0).id;
    let discard = Op::Discard { ids: vec![id], principal: "operator".to_owned(), reason: "old".to_owned() };
    b.count(discard).await?;

    let steps = steps(b, trace).await?;
    // How the outcomes of death, replay and discard are called is not promised.
    let names: Vec<&str> = steps.iter().map(|step| step.step.as_str()).collect();
    let due = [
        "accepted",
        "queued",
        "attempt",
        "attempt",
        "attempt",
        "dead-lettered",
        "replayed",
        "attempt",
        "dead-lettered",
        "discarded",
    ];
    ensure_eq!(names, due, "the steps");
    let attempts: Vec<String> =
        steps.iter().filter(|step| step.step == "attempt").map(|step| step.outcome.clone()).collect();
    ensure_eq!(attempts, ["expired", "expired", "expired", "failed"], "the outcomes of the attempts");
    ensure_eq!(steps[6].role, "operator", "who replayed");
    ensure_eq!(steps[8].detail.as_deref(), Some("never"), "why it died");
    ensure!(
        steps[9].detail.as_deref().is_some_and(|detail| detail.contains("old")),
        "why it was discarded is not told"
    );
    let view = b.engine().trace(trace, &Clients::All).await.map_err(say)?;
    ensure_eq!((view.open, view.dead), (0, 0), "deliveries that are open, and dead, at the end");
    Ok(())
}

pub(super) async fn a_trace_tells_an_edit(b: &mut Bench) -> Checked {
    let entry = b.entry("a1", "acme", "k");
    let (trace, event) = (entry.trace, entry.event_id);
    b.append(vec![entry]).await?;
    let got = b.claim(1).await?;
    b.fail(&got[0], "never").await?;
    b.pass(SECOND).await?;
    let letter = b.dead(&DeadFilter::default()).await?.remove(0);
    b.op(edit(&letter, &letter.body, &letter.body)).await?;
    let edited = b.now;
    b.pass(SECOND).await?;
    b.count(Op::Replay { ids: vec![letter.id], principal: "operator".to_owned() }).await?;

    let steps = steps(b, trace).await?;
    let names: Vec<&str> = steps.iter().map(|step| step.step.as_str()).collect();
    let due = ["accepted", "queued", "attempt", "dead-lettered", "edited", "replayed"];
    ensure_eq!(names, due, "the steps");
    let step = &steps[4];
    ensure_eq!(
        (step.at, step.event_id, step.queue.clone()),
        (edited, Some(event.0), Some(tasks())),
        "the edit"
    );
    ensure_eq!(step.role, "operator", "who edited");
    ensure_eq!(step.detail.as_deref(), Some("it was wrong"), "why it was edited");
    Ok(())
}

pub(super) async fn a_stream_event_waits_in_its_trace(b: &mut Bench) -> Checked {
    let entry = b.stream_entry("row", "acme");
    let (trace, event, accepted_at) = (entry.trace, entry.event_id, entry.accepted_at);
    b.append(vec![entry]).await?;
    b.pass(SECOND).await?;
    let view = b.engine().trace(trace, &Clients::All).await.map_err(say)?;
    ensure_eq!(view.client.as_ref().map(Client::as_str), Some("acme"), "the trace's client");
    ensure_eq!(shown(&view.steps), ["accepted ok", "queued waiting"], "the steps while it waits");
    for step in &view.steps {
        ensure_eq!((step.at, step.event_id), (accepted_at, Some(event.0)), "when, and the event");
    }
    ensure_eq!(view.steps[1].queue, Some(stream()), "where it waits");
    ensure_eq!(view.open, 1, "open deliveries while it waits");
    let at = b.read(crate::model::Position(0), 1).await?[0].0;
    b.op(Op::Advance { queue: stream(), to: at }).await?;
    let view = b.engine().trace(trace, &Clients::All).await.map_err(say)?;
    ensure_eq!((view.steps.len(), view.open), (0, 0), "steps and open deliveries when its reader is done");
    Ok(())
}

pub(super) async fn a_trace_tells_an_acceptance_once(b: &mut Bench) -> Checked {
    let mut entry = b.entry("a1", "acme", "k");
    entry.queues.push((stream(), LaneKey::Stream));
    let trace = entry.trace;
    b.append(vec![entry]).await?;
    let mut told = shown(&steps(b, trace).await?);
    told.sort();
    ensure_eq!(told, ["accepted ok", "queued ok", "queued waiting"], "the steps of a task and a stream");
    Ok(())
}
