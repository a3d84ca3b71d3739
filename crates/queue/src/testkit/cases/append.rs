use std::time::Duration;

use crate::engine::{Append, LaneKey, NamedRequest, NewEntry, Op, Outcome, Reject};
use crate::error::ErrorKind;
use crate::model::{DeadFilter, Position};
use crate::testkit::bench::{
    Bench, Checked, attempts, ensure, ensure_eq, labels, others, refused, say, stream, tasks,
};
use orderwire_types::scope::Clients;
use uuid::Uuid;

pub(super) async fn acknowledged_events_survive_reopening(b: &mut Bench) -> Checked {
    b.put(&[("a1", "acme", "k"), ("a2", "acme", "k")]).await?;
    let row = b.stream_entry("row", "acme");
    b.append(vec![row]).await?;
    b.put(&[("a3", "acme", "k")]).await?;
    b.reopen().await?;
    ensure_eq!(labels(&b.claim(10).await?), ["a1", "a2", "a3"], "deliveries after reopening");
    let rows = b.read(Position::default(), 10).await?;
    ensure_eq!(rows.len(), 1, "entries of the stream after reopening");
    Ok(())
}

pub(super) async fn leases_attempts_and_dead_letters_survive_reopening(b: &mut Bench) -> Checked {
    b.put(&[
        ("held", "acme", "k1"),
        ("failed", "acme", "k2"),
        ("done", "acme", "k3"),
        ("tried", "acme", "k4"),
    ])
    .await?;
    let got = b.claim(4).await?;
    ensure_eq!(labels(&got), ["held", "failed", "done", "tried"], "deliveries");
    b.fail(&got[1], "broken").await?;
    b.ack(&got[2]).await?;
    b.nack(&got[3], Duration::from_secs(5)).await?;
    b.reopen().await?;
    ensure_eq!(b.dead(&DeadFilter::default()).await?.len(), 1, "dead letters after reopening");
    ensure_eq!(labels(&b.claim(10).await?), [""; 0], "deliveries that are held or delayed");
    b.pass(Duration::from_secs(6)).await?;
    ensure_eq!(attempts(&b.claim(10).await?), [("tried", 2)], "deliveries after the delay");
    b.ack(&got[0]).await
}

pub(super) async fn fan_out_reaches_every_queue_or_none(b: &mut Bench) -> Checked {
    let mut entry = b.entry("wide", "acme", "k");
    entry.queues.push((others(), LaneKey::Alone));
    entry.queues.push((stream(), LaneKey::Stream));
    b.append(vec![entry]).await?;
    ensure_eq!(labels(&b.claim(10).await?), ["wide"], "the first queue");
    let others_got = b.claim_from(&others(), Clients::All, 10).await?;
    ensure_eq!(labels(&others_got), ["wide"], "the second queue");
    ensure_eq!(b.read(Position::default(), 10).await?.len(), 1, "the stream");

    let mut entry = b.entry("nowhere", "acme", "other");
    entry.queues.push(("missing".parse().expect("a name"), LaneKey::Alone));
    let first = b.entry("first", "acme", "another");
    let append = Op::Append(Append { entries: vec![first, entry], request: None });
    refused(b.try_op(append).await?, ErrorKind::NotFound, "an append to a queue that does not exist")?;
    ensure_eq!(labels(&b.claim(10).await?), [""; 0], "what was left of a refused append");
    Ok(())
}

pub(super) async fn a_refused_operation_leaves_the_others_alone(b: &mut Bench) -> Checked {
    let missing = "missing".parse().expect("a name");
    let (before, after) = (b.entry("before", "acme", "k"), b.entry("after", "acme", "k"));
    let append = |entry| Op::Append(Append { entries: vec![entry], request: None });
    let committed =
        b.commit(vec![append(before), Op::Pause { queue: missing, paused: true }, append(after)]).await?;
    let fine: Vec<bool> = committed.outcomes.iter().map(Result::is_ok).collect();
    ensure_eq!(fine, [true, false, true], "which operations went through");
    ensure_eq!(labels(&b.claim(10).await?), ["before", "after"], "deliveries");
    Ok(())
}

pub(super) async fn named_events_are_remembered(b: &mut Bench) -> Checked {
    let mut entry = b.entry("once", "acme", "k");
    entry.remembered = Some(Uuid::from_u128(0xabc));
    let again = entry.clone();
    ensure_eq!(b.append(vec![entry, again.clone()]).await?, [true, false], "twice in one append");
    ensure_eq!(b.append(vec![again.clone()]).await?, [false], "again in another commit");
    let got = b.claim(10).await?;
    ensure_eq!(labels(&got), ["once"], "deliveries");
    b.ack(&got[0]).await?;
    b.reopen().await?;
    ensure_eq!(b.append(vec![again]).await?, [false], "again after settlement and reopening");
    ensure_eq!(labels(&b.claim(10).await?), [""; 0], "deliveries of a repeated event");
    Ok(())
}

pub(super) async fn unnamed_events_are_not_remembered(b: &mut Bench) -> Checked {
    let entry = b.entry("twice", "acme", "k");
    ensure_eq!(b.append(vec![entry.clone()]).await?, [true], "first");
    ensure_eq!(b.append(vec![entry]).await?, [true], "again");
    ensure_eq!(labels(&b.claim(10).await?), ["twice", "twice"], "deliveries");
    Ok(())
}

fn reject(entry: NewEntry) -> Op {
    Op::Reject(Reject { entry, cause: "it is no event".to_owned() })
}

pub(super) async fn what_is_rejected_is_a_dead_letter_and_no_delivery(b: &mut Bench) -> Checked {
    let (bad, good) = (b.entry("bad", "acme", "k"), b.entry("good", "acme", "k"));
    let rejected = b.op(reject(bad.clone())).await?;
    ensure!(matches!(&rejected, Outcome::Appended(new) if *new == [true]), "answered by {rejected:?}");
    b.append(vec![good]).await?;
    b.reopen().await?;
    ensure_eq!(labels(&b.claim(10).await?), ["good"], "deliveries");
    let dead = b.dead(&DeadFilter::default()).await?;
    ensure_eq!(dead.len(), 1, "dead letters");
    let found = (&dead[0].queue, dead[0].event_id, &dead[0].client, dead[0].attempts, dead[0].cause.as_str());
    ensure_eq!(found, (&tasks(), bad.event_id, &bad.client, 1, "it is no event"), "the dead letter");
    ensure_eq!(dead[0].body, bad.body, "its payload");
    ensure_eq!(b.engine().state(&tasks()).await.map_err(say)?.dead, 1, "dead letters of the queue's state");
    let view = b.engine().trace(bad.trace, &Clients::All).await.map_err(say)?;
    let steps: Vec<_> = view.steps.iter().map(|step| step.step.as_str()).collect();
    ensure_eq!(steps, ["accepted", "dead-lettered"], "steps of its trace");
    // It can be put back like any other.
    ensure_eq!(
        b.count(Op::Replay { ids: vec![dead[0].id], principal: "suite".to_owned() }).await?,
        1,
        "replayed"
    );
    let of_stream = b.stream_entry("bad entry", "acme");
    b.op(reject(of_stream)).await?;
    ensure_eq!(b.read(Position::default(), 10).await?.len(), 0, "entries of the stream");
    ensure_eq!(b.engine().state(&stream()).await.map_err(say)?.dead, 1, "dead letters of the stream");
    let mut both = b.entry("for two", "acme", "k");
    both.queues.push((others(), LaneKey::Alone));
    refused(b.try_op(reject(both)).await?, ErrorKind::Conflict, "for two queues")?;
    Ok(())
}

pub(super) async fn what_is_rejected_is_remembered(b: &mut Bench) -> Checked {
    let mut bad = b.entry("bad", "acme", "k");
    bad.remembered = Some(bad.event_id.0);
    for new in [true, false] {
        match b.op(reject(bad.clone())).await? {
            Outcome::Appended(found) => ensure_eq!(found, [new], "whether it was new"),
            other => return Err(format!("a rejection was answered by {other:?}")),
        }
    }
    ensure_eq!(b.append(vec![bad]).await?, [false], "appended after it was rejected");
    ensure_eq!(b.dead(&DeadFilter::default()).await?.len(), 1, "dead letters");
    Ok(())
}

fn request(fingerprint: u8) -> Option<NamedRequest> {
    Some(NamedRequest { id: Uuid::from_u128(77), fingerprint: [fingerprint; 16] })
}

pub(super) async fn a_repeated_request_appends_nothing(b: &mut Bench) -> Checked {
    let entry = b.entry("once", "acme", "k");
    let append = |request| Op::Append(Append { entries: vec![entry.clone()], request });
    for (new, reopen) in [(true, false), (false, true), (false, false)] {
        match b.op(append(request(1))).await? {
            Outcome::Appended(found) => ensure_eq!(found, [new], "whether the request was new"),
            other => return Err(format!("an append was answered by {other:?}")),
        }
        if reopen {
            b.reopen().await?;
        }
    }
    ensure_eq!(labels(&b.claim(10).await?), ["once"], "deliveries");
    Ok(())
}

pub(super) async fn another_body_under_the_same_request_conflicts(b: &mut Bench) -> Checked {
    let (first, second) = (b.entry("first", "acme", "k"), b.entry("second", "acme", "k"));
    b.op(Op::Append(Append { entries: vec![first], request: request(1) })).await?;
    let again = Op::Append(Append { entries: vec![second], request: request(2) });
    refused(b.try_op(again).await?, ErrorKind::IdempotencyConflict, "another body")?;
    ensure_eq!(labels(&b.claim(10).await?), ["first"], "deliveries");
    Ok(())
}

pub(super) async fn positions_only_grow(b: &mut Bench) -> Checked {
    let mut last = Position::default();
    for round in 0..3 {
        let entries = (0..3).map(|i| b.stream_entry(&format!("r{round}{i}"), "acme")).collect();
        b.append(entries).await?;
        for (position, label) in b.read(last, 10).await? {
            ensure!(position > last, "{label} is at {position:?}, not after {last:?}");
            last = position;
        }
        b.op(Op::Advance { queue: stream(), to: last }).await?;
        b.reopen().await?;
    }
    Ok(())
}

pub(super) async fn a_commit_names_the_queues_that_became_ready(b: &mut Bench) -> Checked {
    let (task, row) = (b.entry("task", "acme", "k"), b.stream_entry("row", "acme"));
    let append = |entry| Op::Append(Append { entries: vec![entry], request: None });
    let mut ready = b.commit(vec![append(task), append(row)]).await?.ready;
    ready.sort();
    ready.dedup();
    ensure_eq!(ready, [stream(), tasks()], "ready after an append");

    let got = b.claim(1).await?;
    let behind = b.entry("behind", "acme", "k");
    b.append(vec![behind]).await?;
    let ack = Op::Settle(crate::engine::Settle {
        queue: tasks(),
        delivery: got[0].id,
        clients: Clients::All,
        settlement: crate::model::Settlement::Ack,
    });
    let committed = b.commit(vec![ack]).await?;
    ensure!(committed.ready.contains(&tasks()), "a lane whose first delivery was settled is not named");

    b.claim(1).await?;
    b.now = b.now.checked_add(Duration::from_secs(60)).map_err(|err| err.to_string())?;
    let committed = b.engine().commit(vec![Op::Expire { limit: 10 }], b.now).await.map_err(say)?;
    ensure!(committed.ready.contains(&tasks()), "a lane whose lease ran out is not named");
    Ok(())
}
