use std::time::Duration;

use crate::engine::Settled;
use crate::error::ErrorKind;
use crate::model::{DeadFilter, Settlement};
use crate::testkit::bench::{ATTEMPTS, Bench, Checked, attempts, ensure_eq, labels, refused, say, tasks};

const SECOND: Duration = Duration::from_secs(1);

pub(super) async fn a_retry_waits_for_its_delay(b: &mut Bench) -> Checked {
    b.put(&[("a1", "acme", "k")]).await?;
    let got = b.claim(1).await?;
    ensure_eq!(b.nack(&got[0], 10 * SECOND).await?, Settled::Returned(10 * SECOND), "the answer to a nack");
    b.pass(9 * SECOND).await?;
    ensure_eq!(labels(&b.claim(1).await?), [""; 0], "deliveries before the delay is over");
    b.pass(2 * SECOND).await?;
    let got = b.claim(1).await?;
    ensure_eq!(attempts(&got), [("a1", 2)], "deliveries after the delay");
    b.nack(&got[0], Duration::ZERO).await?;
    ensure_eq!(attempts(&b.claim(1).await?), [("a1", 3)], "deliveries after a nack without delay");
    Ok(())
}

pub(super) async fn the_back_off_doubles(b: &mut Bench) -> Checked {
    b.put(&[("a1", "acme", "k")]).await?;
    for pause in [SECOND, 2 * SECOND] {
        let got = b.claim(1).await?;
        let retry = Settlement::Retry { delay: None, cause: "again".to_owned() };
        let settled = b.settle(&got[0], retry).await?.map_err(say)?;
        ensure_eq!(settled, Settled::Returned(pause), "the pause after attempt {}", got[0].attempt);
        b.pass(pause / 2).await?;
        ensure_eq!(labels(&b.claim(1).await?), [""; 0], "deliveries during the pause");
        b.pass(pause).await?;
    }
    Ok(())
}

pub(super) async fn attempts_are_counted_and_bounded(b: &mut Bench) -> Checked {
    b.put(&[("bad", "acme", "k"), ("good", "acme", "k")]).await?;
    for attempt in 1..=ATTEMPTS {
        let got = b.claim(1).await?;
        ensure_eq!(attempts(&got), [("bad", attempt)], "the attempt");
        let settled = b.nack(&got[0], Duration::ZERO).await?;
        let due = if attempt < ATTEMPTS { Settled::Returned(Duration::ZERO) } else { Settled::Dead };
        ensure_eq!(settled, due, "the answer to the nack of attempt {attempt}");
    }
    ensure_eq!(attempts(&b.claim(1).await?), [("good", 1)], "what comes after a dead letter");
    let dead = b.dead(&DeadFilter::default()).await?;
    ensure_eq!(dead.iter().map(|letter| letter.attempts).collect::<Vec<_>>(), [ATTEMPTS], "dead letters");
    Ok(())
}

pub(super) async fn an_expired_last_attempt_is_a_dead_letter(b: &mut Bench) -> Checked {
    b.put(&[("bad", "acme", "k"), ("good", "acme", "k")]).await?;
    for attempt in 1..=ATTEMPTS {
        ensure_eq!(attempts(&b.claim(2).await?), [("bad", attempt), ("good", 1)], "the lease");
        b.pass(31 * SECOND).await?;
    }
    ensure_eq!(attempts(&b.claim(2).await?), [("good", 1)], "what comes after the dead letter");
    ensure_eq!(b.dead(&DeadFilter::default()).await?.len(), 1, "dead letters");
    Ok(())
}

pub(super) async fn a_retry_returns_those_behind_it(b: &mut Bench) -> Checked {
    b.put(&[("a1", "acme", "k"), ("a2", "acme", "k"), ("a3", "acme", "k")]).await?;
    for attempt in 1..=ATTEMPTS {
        let got = b.claim(3).await?;
        ensure_eq!(attempts(&got), [("a1", attempt), ("a2", 1), ("a3", 1)], "the lease");
        b.nack(&got[0], Duration::ZERO).await?;
        refused(b.settle(&got[1], Settlement::Ack).await?, ErrorKind::LeaseLost, "an ack of one behind")?;
        refused(b.settle(&got[2], Settlement::Ack).await?, ErrorKind::LeaseLost, "an ack of the last one")?;
    }
    ensure_eq!(attempts(&b.claim(3).await?), [("a2", 1), ("a3", 1)], "after the last attempt of the first");
    Ok(())
}

pub(super) async fn those_before_a_retry_stay_held(b: &mut Bench) -> Checked {
    b.put(&[("a1", "acme", "k"), ("a2", "acme", "k"), ("a3", "acme", "k")]).await?;
    let got = b.claim(3).await?;
    b.nack(&got[1], 5 * SECOND).await?;
    b.pass(6 * SECOND).await?;
    ensure_eq!(labels(&b.claim(3).await?), [""; 0], "deliveries while the first is held");
    b.ack(&got[0]).await?;
    b.pass(SECOND).await?;
    ensure_eq!(attempts(&b.claim(3).await?), [("a2", 2), ("a3", 1)], "the rest of the lane");
    Ok(())
}

pub(super) async fn a_failure_leaves_those_behind_it_held(b: &mut Bench) -> Checked {
    b.put(&[("a1", "acme", "k"), ("a2", "acme", "k")]).await?;
    let got = b.claim(2).await?;
    ensure_eq!(b.fail(&got[0], "never").await?, Settled::Dead, "the answer to a failure");
    ensure_eq!(labels(&b.claim(2).await?), [""; 0], "deliveries while the second is held");
    b.ack(&got[1]).await?;
    ensure_eq!(labels(&b.claim(2).await?), [""; 0], "deliveries when all are settled");
    Ok(())
}

pub(super) async fn a_release_takes_its_attempt_back(b: &mut Bench) -> Checked {
    b.put(&[("a1", "acme", "k"), ("a2", "acme", "k"), ("a3", "acme", "k")]).await?;
    for _ in 0..=ATTEMPTS {
        let got = b.claim(3).await?;
        ensure_eq!(attempts(&got), [("a1", 1), ("a2", 1), ("a3", 1)], "the lease");
        b.settle(&got[0], Settlement::Release).await?.map_err(say)?;
        refused(b.settle(&got[1], Settlement::Ack).await?, ErrorKind::LeaseLost, "an ack of one behind")?;
    }
    let got = b.claim(3).await?;
    b.settle(&got[1], Settlement::Release).await?.map_err(say)?;
    b.ack(&got[0]).await?;
    ensure_eq!(attempts(&b.claim(3).await?), [("a2", 1), ("a3", 1)], "after those before were done");
    Ok(())
}

pub(super) async fn a_drained_queue_is_empty(b: &mut Bench) -> Checked {
    b.put(&[("a1", "acme", "k"), ("a2", "acme", "k"), ("b1", "bolt", "k"), ("c1", "cord", "k")]).await?;
    let got = b.claim(4).await?;
    let state = b.engine().state(&tasks()).await.map_err(say)?;
    ensure_eq!(
        (state.ready, state.in_flight, state.delayed, state.dead),
        (1, 3, 0, 0),
        "the state under leases"
    );
    for got in &got {
        b.ack(got).await?;
    }
    let got = b.claim(4).await?;
    ensure_eq!(labels(&got), ["a2"], "the rest");
    b.nack(&got[0], SECOND).await?;
    let state = b.engine().state(&tasks()).await.map_err(say)?;
    ensure_eq!(
        (state.ready, state.in_flight, state.delayed, state.dead),
        (0, 0, 1, 0),
        "the state with a delay"
    );
    b.pass(2 * SECOND).await?;
    let got = b.claim(4).await?;
    b.ack(&got[0]).await?;
    let state = b.engine().state(&tasks()).await.map_err(say)?;
    ensure_eq!(
        (state.ready, state.in_flight, state.delayed, state.dead),
        (0, 0, 0, 0),
        "the state at the end"
    );
    ensure_eq!(state.oldest, None, "the oldest event at the end");
    Ok(())
}
