use std::time::Duration;

use orderwire_types::scope::Clients;

use crate::clock::after;
use crate::engine::Op;
use crate::error::ErrorKind;
use crate::model::Settlement;
use crate::testkit::bench::{
    Bench, Checked, Got, LEASE, attempts, ensure, ensure_eq, labels, refused, say, tasks,
};

const LONGER: Duration = Duration::from_secs(31);

pub(super) async fn an_expired_lease_is_delivered_again(b: &mut Bench) -> Checked {
    b.put(&[("a1", "acme", "k")]).await?;
    b.claim(1).await?;
    b.pass(LEASE / 2).await?;
    ensure_eq!(labels(&b.claim(1).await?), [""; 0], "deliveries during the lease");
    ensure_eq!(b.pass(LONGER).await?, 1, "lanes that expired");
    ensure_eq!(attempts(&b.claim(1).await?), [("a1", 2)], "deliveries after the lease");
    Ok(())
}

pub(super) async fn an_expired_lease_counts_its_first_delivery_only(b: &mut Bench) -> Checked {
    b.put(&[("a1", "acme", "k"), ("a2", "acme", "k"), ("a3", "acme", "k")]).await?;
    let got = b.claim(3).await?;
    b.ack(&got[0]).await?;
    b.pass(LONGER).await?;
    ensure_eq!(attempts(&b.claim(3).await?), [("a2", 2), ("a3", 1)], "deliveries after the lease");
    Ok(())
}

pub(super) async fn a_late_ack_is_reported_and_not_applied(b: &mut Bench) -> Checked {
    b.put(&[("a1", "acme", "k")]).await?;
    let late = b.claim(1).await?;
    b.now = after(b.now, LONGER);
    refused(b.settle(&late[0], Settlement::Ack).await?, ErrorKind::LeaseLost, "an ack after the lease")?;
    b.pass(Duration::ZERO).await?;
    let again = b.claim(1).await?;
    ensure_eq!(attempts(&again), [("a1", 2)], "the delivery again");
    refused(
        b.settle(&late[0], Settlement::Ack).await?,
        ErrorKind::LeaseLost,
        "an ack under the lease of another",
    )?;
    refused(
        b.settle(&late[0], Settlement::Retry { delay: None, cause: "late".to_owned() }).await?,
        ErrorKind::LeaseLost,
        "a nack under the lease of another",
    )?;
    b.ack(&again[0]).await
}

pub(super) async fn a_delivery_is_settled_once(b: &mut Bench) -> Checked {
    b.put(&[("a1", "acme", "k"), ("a2", "acme", "k")]).await?;
    let got = b.claim(2).await?;
    b.ack(&got[0]).await?;
    refused(b.settle(&got[0], Settlement::Ack).await?, ErrorKind::LeaseLost, "a second ack")?;
    let fail = Settlement::Fail { cause: "no".to_owned() };
    refused(b.settle(&got[0], fail).await?, ErrorKind::LeaseLost, "a failure after an ack")?;
    b.ack(&got[1]).await
}

async fn extend(b: &Bench, got: &Got) -> Checked<Result<(), crate::Error>> {
    let until = after(b.now, LEASE);
    let extend = Op::Extend { queue: tasks(), delivery: got.id, clients: Clients::All, until };
    Ok(b.try_op(extend).await?.map(|_| ()))
}

pub(super) async fn an_extended_lease_holds_its_lane(b: &mut Bench) -> Checked {
    b.put(&[("a1", "acme", "k"), ("a2", "acme", "k")]).await?;
    let got = b.claim(2).await?;
    b.pass(Duration::from_secs(20)).await?;
    extend(b, &got[0]).await?.map_err(say)?;
    ensure_eq!(b.pass(Duration::from_secs(20)).await?, 0, "lanes that expired after the extension");
    ensure_eq!(labels(&b.claim(5).await?), [""; 0], "deliveries during the extended lease");
    b.ack(&got[0]).await?;
    b.ack(&got[1]).await
}

pub(super) async fn a_lost_lease_cannot_be_extended(b: &mut Bench) -> Checked {
    b.put(&[("a1", "acme", "k"), ("a2", "acme", "other")]).await?;
    let got = b.claim(2).await?;
    b.ack(&got[1]).await?;
    refused(extend(b, &got[1]).await?, ErrorKind::LeaseLost, "an extension of a settled delivery")?;
    b.pass(LONGER).await?;
    refused(extend(b, &got[0]).await?, ErrorKind::LeaseLost, "an extension after the lease")?;
    ensure_eq!(labels(&b.claim(1).await?), ["a1"], "the delivery again");
    Ok(())
}

async fn next_expiry(b: &Bench) -> Checked<Option<jiff::Timestamp>> {
    Ok(b.commit(vec![Op::Expire { limit: 1 }]).await?.next_expiry)
}

pub(super) async fn a_commit_names_the_next_expiry(b: &mut Bench) -> Checked {
    b.put(&[("a1", "acme", "k1"), ("a2", "acme", "k2")]).await?;
    let start = b.now;
    let got = b.claim(2).await?;
    ensure_eq!(next_expiry(b).await?, Some(after(start, LEASE)), "the next expiry under leases");
    b.ack(&got[0]).await?;
    b.nack(&got[1], Duration::from_secs(5)).await?;
    ensure_eq!(
        next_expiry(b).await?,
        Some(after(start, Duration::from_secs(5))),
        "the next expiry of a delay"
    );
    b.pass(Duration::from_secs(6)).await?;
    ensure_eq!(next_expiry(b).await?, None, "the next expiry when all is ready");
    Ok(())
}

pub(super) async fn a_paused_queue_hands_out_nothing(b: &mut Bench) -> Checked {
    b.put(&[("a1", "acme", "k1"), ("a2", "acme", "k2")]).await?;
    let held = b.claim(1).await?;
    b.op(Op::Pause { queue: tasks(), paused: true }).await?;
    ensure_eq!(labels(&b.claim(5).await?), [""; 0], "deliveries of a paused queue");
    b.ack(&held[0]).await?;
    b.reopen().await?;
    ensure!(b.engine().state(&tasks()).await.map_err(say)?.paused, "the pause was forgotten");
    ensure_eq!(labels(&b.claim(5).await?), [""; 0], "deliveries of a paused queue after reopening");
    b.op(Op::Pause { queue: tasks(), paused: false }).await?;
    ensure_eq!(labels(&b.claim(5).await?), ["a2"], "deliveries after the pause");
    Ok(())
}

pub(super) async fn expiry_is_done_in_bounded_pieces(b: &mut Bench) -> Checked {
    for i in 0..5 {
        b.put(&[("a", "acme", &format!("k{i}"))]).await?;
    }
    ensure_eq!(b.claim(5).await?.len(), 5, "leases");
    b.now = after(b.now, LONGER);
    for expired in [2, 2, 1, 0] {
        ensure_eq!(b.count(Op::Expire { limit: 2 }).await?, expired, "lanes of one run");
    }
    ensure_eq!(b.claim(5).await?.len(), 5, "deliveries after the leases");
    Ok(())
}
