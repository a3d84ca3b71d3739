use std::time::Duration;

use orderwire_types::scope::Clients;

use crate::engine::Op;
use crate::error::ErrorKind;
use crate::model::{DeadFilter, Position, Settlement};
use crate::testkit::bench::{Bench, Checked, ensure, ensure_eq, label, labels, only, refused, say, stream};

const START: Position = Position(0);

/// Appends e0 to e(n-1), of two clients in turn, in two commits; their positions.
async fn fill(b: &mut Bench, count: usize) -> Checked<Vec<Position>> {
    let mut entry = |i: usize| b.stream_entry(&format!("e{i}"), ["acme", "bolt"][i % 2]);
    let (first, second) =
        ((0..count / 2).map(&mut entry).collect(), Vec::from_iter((count / 2..count).map(&mut entry)));
    b.append(first).await?;
    b.append(second).await?;
    Ok(b.read(START, count + 1).await?.into_iter().map(|(position, _)| position).collect())
}

async fn shown(b: &Bench, after: Position) -> Checked<Vec<String>> {
    Ok(b.read(after, 100).await?.into_iter().map(|(_, label)| label).collect())
}

pub(super) async fn a_stream_is_read_in_order_and_in_bounds(b: &mut Bench) -> Checked {
    let at = fill(b, 6).await?;
    ensure_eq!(at.len(), 6, "entries");
    ensure!(at.is_sorted_by(|a, b| a < b), "positions {at:?} do not grow");
    ensure_eq!(shown(b, START).await?, ["e0", "e1", "e2", "e3", "e4", "e5"], "all entries");
    ensure_eq!(shown(b, at[3]).await?, ["e4", "e5"], "entries after a position");
    ensure_eq!(shown(b, at[5]).await?, [""; 0], "entries after the last");
    ensure_eq!(b.read(at[0], 2).await?.len(), 2, "entries of a short read");
    let size = b.engine().read(&stream(), START, 1, 0).await.map_err(say)?;
    ensure_eq!(size.len(), 1, "entries of a read of no bytes, which has its first one");
    let size = size[0].body.len();
    let bounded = b.engine().read(&stream(), START, 6, size * 2 + size / 2).await.map_err(say)?;
    ensure_eq!(bounded.len(), 2, "entries in the bytes of two and a half");
    Ok(())
}

pub(super) async fn a_paused_stream_gives_nothing(b: &mut Bench) -> Checked {
    fill(b, 2).await?;
    b.op(Op::Pause { queue: stream(), paused: true }).await?;
    ensure_eq!(shown(b, START).await?, [""; 0], "entries of a paused stream");
    b.reopen().await?;
    ensure_eq!(shown(b, START).await?, [""; 0], "entries of a paused stream after reopening");
    let resumed = b.commit(vec![Op::Pause { queue: stream(), paused: false }]).await?;
    ensure_eq!(resumed.ready, [stream()], "queues that became ready");
    ensure_eq!(shown(b, START).await?, ["e0", "e1"], "entries of the resumed stream");
    Ok(())
}

pub(super) async fn an_advance_frees_what_is_done_and_no_more(b: &mut Bench) -> Checked {
    let at = fill(b, 6).await?;
    b.op(Op::Advance { queue: stream(), to: at[2] }).await?;
    ensure_eq!(shown(b, START).await?, ["e3", "e4", "e5"], "entries after the advance");
    b.op(Op::Advance { queue: stream(), to: at[0] }).await?;
    ensure_eq!(shown(b, START).await?, ["e3", "e4", "e5"], "entries after an advance to where it was");
    b.reopen().await?;
    ensure_eq!(shown(b, START).await?, ["e3", "e4", "e5"], "entries after reopening");
    ensure_eq!(b.engine().state(&stream()).await.map_err(say)?.ready, 3, "entries of the queue's state");
    let foreign = Op::Advance { queue: stream(), to: Position(i64::MAX / 2) };
    refused(b.try_op(foreign).await?, ErrorKind::Conflict, "an advance to a position of another queue")?;
    ensure_eq!(shown(b, START).await?, ["e3", "e4", "e5"], "entries after a refused advance");
    b.op(Op::Advance { queue: stream(), to: at[5] }).await?;
    ensure_eq!(shown(b, START).await?, [""; 0], "entries when all is done");
    let entry = b.stream_entry("next", "acme");
    b.append(vec![entry]).await?;
    ensure_eq!(shown(b, at[5]).await?, ["next"], "entries that come later");
    Ok(())
}

pub(super) async fn a_buried_entry_leaves_those_around_it(b: &mut Bench) -> Checked {
    let at = fill(b, 4).await?;
    let bury =
        |position| Op::Bury { queue: stream(), position, attempts: 3, cause: "not a number".to_owned() };
    b.op(bury(at[1])).await?;
    b.reopen().await?;
    ensure_eq!(shown(b, START).await?, ["e0", "e2", "e3"], "entries that are left");
    refused(b.try_op(bury(at[1])).await?, ErrorKind::NotFound, "a second burial")?;
    let dead = b.dead(&DeadFilter { queue: Some(stream()), ..DeadFilter::default() }).await?;
    ensure_eq!(dead.len(), 1, "dead letters");
    ensure_eq!(label(&dead[0].body)?, "e1", "the dead letter");
    ensure_eq!((dead[0].attempts, dead[0].cause.as_str()), (3, "not a number"), "its attempts and cause");
    ensure_eq!(dead[0].client.as_str(), "bolt", "its client");
    Ok(())
}

pub(super) async fn a_buried_entry_is_replayed_at_the_end(b: &mut Bench) -> Checked {
    let at = fill(b, 3).await?;
    b.op(Op::Bury { queue: stream(), position: at[0], attempts: 1, cause: "not now".to_owned() }).await?;
    b.op(Op::Advance { queue: stream(), to: at[1] }).await?;
    let id = b.dead(&DeadFilter::default()).await?.remove(0).id;
    ensure_eq!(b.count(Op::Replay { ids: vec![id], principal: "operator".to_owned() }).await?, 1, "replayed");
    ensure_eq!(shown(b, at[1]).await?, ["e2", "e0"], "entries after the replay");
    Ok(())
}

pub(super) async fn a_stream_is_leased_as_one_lane(b: &mut Bench) -> Checked {
    fill(b, 4).await?;
    let got = b.claim_from(&stream(), Clients::All, 2).await?;
    ensure_eq!(labels(&got), ["e0", "e1"], "the lease");
    ensure_eq!(
        labels(&b.claim_from(&stream(), Clients::All, 2).await?),
        [""; 0],
        "deliveries of a leased stream"
    );
    for got in &got {
        b.settle_in(&stream(), Clients::All, got, Settlement::Ack).await?.map_err(say)?;
    }
    b.pass(Duration::from_secs(1)).await?;
    // An engine may refuse it as well.
    if let Ok(got) = b.claim_from(&stream(), only(&["acme"]), 2).await {
        ensure_eq!(labels(&got), [""; 0], "deliveries of a stream to a consumer of one client");
    }
    ensure_eq!(labels(&b.claim_from(&stream(), Clients::All, 9).await?), ["e2", "e3"], "the rest");
    Ok(())
}
