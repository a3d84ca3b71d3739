use std::time::Duration;

use crate::clock::after;
use crate::engine::Claim;
use crate::model::Settlement;
use crate::testkit::bench::{
    ATTEMPTS, Bench, Checked, LEASE, attempts, ensure, ensure_eq, labels, only, say, stream, tasks,
};

pub(super) async fn a_holder_goes_on_with_its_lane(b: &mut Bench) -> Checked {
    b.put(&[("a1", "acme", "k"), ("a2", "acme", "k"), ("a3", "acme", "k")]).await?;
    let first = b.claim(1).await?;
    let second = b.claim_behind(1, &[&first[0]]).await?;
    ensure_eq!(attempts(&second), [("a2", 1)], "what follows");
    let (lane, lease) = (first[0].id.lane, first[0].id.lease);
    ensure_eq!((second[0].id.lane, second[0].id.lease), (lane, lease), "its lane and lease");
    ensure_eq!(labels(&b.claim(5).await?), [""; 0], "deliveries of the lane to others");
    b.ack(&first[0]).await?;
    b.put(&[("a4", "acme", "k")]).await?;
    let rest = b.claim_behind(5, &[&second[0]]).await?;
    ensure_eq!(labels(&rest), ["a3", "a4"], "the rest, and what came meanwhile");
    ensure_eq!(labels(&b.claim_behind(5, &[&rest[1]]).await?), [""; 0], "when nothing follows");
    let state = b.engine().state(&tasks()).await.map_err(say)?;
    ensure_eq!((state.ready, state.in_flight), (0, 3), "what the queue says");
    // What was handed out later is of the same lease: it returns with the first.
    b.nack(&second[0], Duration::ZERO).await?;
    ensure_eq!(
        attempts(&b.claim(5).await?),
        [("a2", 2), ("a3", 1), ("a4", 1)],
        "what comes after the first of them failed"
    );
    Ok(())
}

pub(super) async fn lanes_that_are_ready_go_before_those_that_are_held(b: &mut Bench) -> Checked {
    b.put(&[("a1", "acme", "k"), ("a2", "acme", "k"), ("a3", "acme", "k")]).await?;
    let held = b.claim(1).await?;
    b.put(&[("b1", "bolt", "k"), ("b2", "bolt", "k")]).await?;
    ensure_eq!(labels(&b.claim_behind(1, &[&held[0]]).await?), ["b1"], "the only delivery");
    b.put(&[("c1", "cord", "k")]).await?;
    ensure_eq!(labels(&b.claim_behind(2, &[&held[0]]).await?), ["c1", "a2"], "the next two");
    Ok(())
}

pub(super) async fn nobody_goes_on_with_a_lease_that_is_not_theirs(b: &mut Bench) -> Checked {
    b.put(&[("a1", "acme", "k"), ("a2", "acme", "k")]).await?;
    let late = b.claim(1).await?;
    b.now = after(b.now, LEASE + Duration::from_secs(1));
    ensure_eq!(labels(&b.claim_behind(5, &[&late[0]]).await?), [""; 0], "after the lease");
    b.pass(Duration::ZERO).await?;
    let held = b.claim(1).await?;
    ensure_eq!(attempts(&held), [("a1", 2)], "the delivery again");
    ensure_eq!(labels(&b.claim_behind(5, &[&late[0]]).await?), [""; 0], "under the lease of another");
    let foreign = Claim { clients: only(&["bolt"]), behind: vec![held[0].id], ..b.claim_of(&tasks(), 5) };
    ensure_eq!(labels(&b.claim_as(foreign).await?), [""; 0], "of a client outside the claim");
    ensure_eq!(labels(&b.claim_behind(5, &[&held[0]]).await?), ["a2"], "under its own lease");
    Ok(())
}

pub(super) async fn a_lane_that_waits_for_an_attempt_does_not_go_on(b: &mut Bench) -> Checked {
    b.put(&[("a1", "acme", "k"), ("a2", "acme", "k"), ("a3", "acme", "k")]).await?;
    let held = b.claim(2).await?;
    b.nack(&held[1], Duration::from_secs(10)).await?;
    ensure_eq!(labels(&b.claim_behind(5, &[&held[0]]).await?), [""; 0], "while one of the lane waits");
    b.pass(Duration::from_secs(11)).await?;
    ensure_eq!(
        attempts(&b.claim_behind(5, &[&held[0]]).await?),
        [("a2", 2), ("a3", 1)],
        "when its time has come"
    );
    Ok(())
}

pub(super) async fn going_on_moves_the_end_of_the_lease(b: &mut Bench) -> Checked {
    b.put(&[("a1", "acme", "k"), ("a2", "acme", "k"), ("a3", "acme", "k")]).await?;
    let first = b.claim(1).await?;
    b.pass(LEASE / 2).await?;
    let second = b.claim_behind(1, &[&first[0]]).await?;
    b.pass(LEASE * 3 / 4).await?;
    b.ack(&first[0]).await?;
    // A claim whose lease is shorter takes nothing away.
    let short = Claim { until: after(b.now, Duration::from_secs(1)), ..b.claim_of(&tasks(), 1) };
    let third = b.claim_as(Claim { behind: vec![second[0].id], ..short }).await?;
    ensure_eq!(labels(&third), ["a3"], "what follows");
    b.pass(Duration::from_secs(2)).await?;
    b.ack(&third[0]).await?;
    b.pass(LEASE).await?;
    ensure_eq!(attempts(&b.claim(1).await?), [("a2", 2)], "the delivery after the lease");
    Ok(())
}

pub(super) async fn going_on_is_shared_by_the_lanes_and_bounded(b: &mut Bench) -> Checked {
    for key in ["k1", "k2"] {
        let events = ["1", "2", "3", "4"].map(|n| (format!("{key}-{n}"), key));
        let events: Vec<_> = events.iter().map(|(label, key)| (label.as_str(), "acme", *key)).collect();
        b.put(&events).await?;
    }
    let one = b.claim(1).await?;
    let two = b.claim(1).await?;
    ensure_eq!((labels(&one), labels(&two)), (vec!["k1-1"], vec!["k2-1"]), "one of each lane");
    let both = [&two[0], &one[0]];
    ensure_eq!(labels(&b.claim_behind(3, &both).await?), ["k2-2", "k1-2", "k1-3"], "three of both");
    let bytes =
        Claim { max_bytes: 1, behind: both.iter().map(|got| got.id).collect(), ..b.claim_of(&tasks(), 9) };
    ensure_eq!(labels(&b.claim_as(bytes).await?), ["k2-3"], "what completes the bytes");
    // A poisoned lane ends as ever, whoever goes on with it.
    let mut held = one;
    for attempt in 2..=ATTEMPTS {
        b.nack(&held[0], Duration::ZERO).await?;
        held = b.claim(1).await?;
        ensure_eq!(attempts(&held), [("k1-1", attempt)], "the next attempt");
        ensure_eq!(labels(&b.claim_behind(1, &[&held[0]]).await?), ["k1-2"], "what follows it");
    }
    let retry = Settlement::Retry { delay: None, cause: "again".to_owned() };
    b.settle(&held[0], retry).await?.map_err(say)?;
    ensure_eq!(attempts(&b.claim(9).await?)[0], ("k1-2", 1), "the lane after its first one died");
    Ok(())
}

pub(super) async fn a_stream_is_gone_on_with(b: &mut Bench) -> Checked {
    let entries = ["e0", "e1", "e2"].map(|label| b.stream_entry(label, "acme"));
    b.append(entries.into()).await?;
    let held = b.claim_as(b.claim_of(&stream(), 1)).await?;
    let more = Claim { behind: vec![held[0].id], ..b.claim_of(&stream(), 1) };
    ensure_eq!(labels(&b.claim_as(more.clone()).await?), ["e1"], "what follows");
    ensure!(b.claim_as(b.claim_of(&stream(), 1)).await?.is_empty(), "a leased stream was handed to another");
    ensure_eq!(labels(&b.claim_as(more).await?), ["e2"], "what follows that");
    Ok(())
}
