use std::time::Duration;

use orderwire_types::scope::Clients;

use crate::engine::LaneKey;
use crate::testkit::bench::{Bench, Checked, ensure_eq, labels, others};

pub(super) async fn deliveries_of_a_key_come_in_order(b: &mut Bench) -> Checked {
    b.put(&[("a1", "acme", "k"), ("a2", "acme", "k"), ("a3", "acme", "k")]).await?;
    b.put(&[("a4", "acme", "k"), ("a5", "acme", "k")]).await?;
    let first = b.claim(3).await?;
    ensure_eq!(labels(&first), ["a1", "a2", "a3"], "the first lease");
    for got in &first {
        b.ack(got).await?;
    }
    let second = b.claim(1).await?;
    ensure_eq!(labels(&second), ["a4"], "the second lease");
    b.ack(&second[0]).await?;
    ensure_eq!(labels(&b.claim(3).await?), ["a5"], "the third lease");
    Ok(())
}

pub(super) async fn a_leased_lane_is_nobody_elses(b: &mut Bench) -> Checked {
    b.put(&[("a1", "acme", "k"), ("a2", "acme", "k"), ("a3", "acme", "k")]).await?;
    let got = b.claim(2).await?;
    ensure_eq!(labels(&got), ["a1", "a2"], "the first lease");
    ensure_eq!(labels(&b.claim(5).await?), [""; 0], "deliveries of a leased lane");
    b.ack(&got[0]).await?;
    ensure_eq!(labels(&b.claim(5).await?), [""; 0], "deliveries while one of the lane is held");
    b.put(&[("a4", "acme", "k")]).await?;
    ensure_eq!(labels(&b.claim(5).await?), [""; 0], "deliveries that came while one of the lane is held");
    b.ack(&got[1]).await?;
    ensure_eq!(labels(&b.claim(5).await?), ["a3", "a4"], "deliveries after the lease");
    Ok(())
}

pub(super) async fn keys_are_independent(b: &mut Bench) -> Checked {
    b.put(&[("a1", "acme", "k1"), ("a2", "acme", "k2"), ("b1", "bolt", "k1")]).await?;
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.extend(b.claim(1).await?);
    }
    let mut seen = labels(&seen);
    seen.sort_unstable();
    ensure_eq!(seen, ["a1", "a2", "b1"], "lanes that are leased at the same time");
    Ok(())
}

pub(super) async fn events_without_order_are_independent(b: &mut Bench) -> Checked {
    for label in ["a1", "a2", "a3"] {
        let mut entry = b.entry(label, "acme", "k");
        entry.queues = vec![(others(), LaneKey::Alone)];
        b.append(vec![entry]).await?;
    }
    for label in ["a1", "a2", "a3"] {
        let got = b.claim_from(&others(), Clients::All, 1).await?;
        ensure_eq!(labels(&got), [label], "an event that is a lane of its own");
    }
    Ok(())
}

pub(super) async fn a_delayed_delivery_holds_back_its_lane_only(b: &mut Bench) -> Checked {
    b.put(&[("bad", "acme", "k1"), ("behind", "acme", "k1"), ("good", "acme", "k2")]).await?;
    let got = b.claim(1).await?;
    ensure_eq!(labels(&got), ["bad"], "the first delivery");
    b.nack(&got[0], Duration::from_secs(10)).await?;
    let got = b.claim(5).await?;
    ensure_eq!(labels(&got), ["good"], "what comes while a lane is delayed");
    b.pass(Duration::from_secs(11)).await?;
    ensure_eq!(labels(&b.claim(5).await?), ["bad", "behind"], "the lane after its delay");
    Ok(())
}
