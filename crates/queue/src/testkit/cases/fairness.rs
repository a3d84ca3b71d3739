use orderwire_types::scope::Clients;

use crate::engine::{Append, LaneKey, Op};
use crate::testkit::bench::{Bench, Checked, ensure, ensure_eq, labels, say, stream, tasks};

pub(super) async fn a_new_client_is_next(b: &mut Bench) -> Checked {
    let events: Vec<String> = (0..20).map(|i| format!("big{i}")).collect();
    for (i, label) in events.iter().enumerate() {
        b.put(&[(label, "big", &format!("k{}", i % 5))]).await?;
    }
    ensure_eq!(labels(&b.claim(1).await?), ["big0"], "the first delivery");
    b.put(&[("small", "small", "k")]).await?;
    ensure_eq!(labels(&b.claim(1).await?), ["small"], "the next delivery after another client came");
    Ok(())
}

pub(super) async fn a_client_keeps_its_place_while_its_only_lane_is_leased(b: &mut Bench) -> Checked {
    for label in ["big0", "big1", "big2"] {
        b.put(&[(label, "big", "k")]).await?;
    }
    let first = b.claim(1).await?;
    ensure_eq!(labels(&first), ["big0"], "the first delivery");
    b.ack(&first[0]).await?;
    b.put(&[("small", "small", "k")]).await?;
    ensure_eq!(
        labels(&b.claim(1).await?),
        ["small"],
        "the next delivery after the served client was ready again"
    );
    Ok(())
}

pub(super) async fn clients_take_turns(b: &mut Bench) -> Checked {
    for i in 0..9 {
        for client in ["a", "b", "c"] {
            // Very different backlogs.
            let count = match client {
                "a" => 3,
                "b" => 2,
                _ => 1,
            };
            for j in 0..count {
                b.put(&[(client, client, &format!("k{i}-{j}"))]).await?;
            }
        }
    }
    for round in 0..9 {
        let mut served = Vec::new();
        for _ in 0..3 {
            served.extend(b.claim(1).await?);
        }
        let mut served = labels(&served);
        served.sort_unstable();
        ensure_eq!(served, ["a", "b", "c"], "clients served in round {round}");
    }
    Ok(())
}

pub(super) async fn one_claim_is_shared_by_the_clients(b: &mut Bench) -> Checked {
    for label in ["a1", "a2", "a3", "a4", "a5", "a6"] {
        b.put(&[(label, "a", "k")]).await?;
    }
    for label in ["b1", "b2", "b3"] {
        b.put(&[(label, "b", "k")]).await?;
    }
    let got = b.claim(4).await?;
    ensure_eq!(labels(&got), ["a1", "a2", "b1", "b2"], "one claim over two clients");
    Ok(())
}

pub(super) async fn a_visit_takes_successive_deliveries_of_one_lane(b: &mut Bench) -> Checked {
    b.put(&[("x1", "a", "x"), ("y1", "a", "y"), ("x2", "a", "x"), ("y2", "a", "y")]).await?;
    ensure_eq!(labels(&b.claim(2).await?), ["x1", "x2"], "the visit to the oldest lane");
    ensure_eq!(labels(&b.claim(2).await?), ["y1", "y2"], "the visit to the next lane");
    Ok(())
}

pub(super) async fn one_event_is_not_delayed_by_a_hundred_thousand(b: &mut Bench) -> Checked {
    const CHUNK: usize = 2_000;
    let template = b.entry("big", "big", "k");
    for chunk in 0..50 {
        let entry = |i: usize| {
            let mut entry = template.clone();
            entry.queues = vec![(tasks(), LaneKey::Key(format!("k{}", (chunk * CHUNK + i) % 1_000)))];
            entry
        };
        b.op(Op::Append(Append { entries: (0..CHUNK).map(entry).collect(), request: None })).await?;
    }
    let first = b.claim(1).await?;
    ensure_eq!(labels(&first), ["big"], "the first delivery");
    b.put(&[("small", "small", "k")]).await?;
    let state = b.engine().state(&tasks()).await.map_err(say)?;
    ensure!(state.ready >= 100_000, "only {} events are ready", state.ready);
    ensure_eq!(labels(&b.claim(1).await?), ["small"], "the next delivery");
    Ok(())
}

pub(super) async fn a_claim_is_bounded_in_bytes(b: &mut Bench) -> Checked {
    b.put(&[("a1", "acme", "k"), ("a2", "acme", "k"), ("a3", "acme", "k")]).await?;
    let size = b.engine().peek(&tasks(), &Clients::All, 1, 0).await.map_err(say)?[0].1.body.len();
    let got = b.claim_bytes(&tasks(), Clients::All, 9, size + 1).await?;
    ensure_eq!(labels(&got), ["a1", "a2"], "deliveries up to the one that reaches the bytes");
    for got in &got {
        b.ack(got).await?;
    }
    ensure_eq!(labels(&b.claim(9).await?), ["a3"], "the rest");
    b.put(&[("b1", "bolt", "k"), ("c1", "cord", "k")]).await?;
    let first = b.claim_bytes(&tasks(), Clients::All, 9, 0).await?;
    ensure_eq!(labels(&first), ["b1"], "a claim of no bytes, which has its first one");
    ensure_eq!(labels(&b.claim(9).await?), ["c1"], "what was left for the next");
    let stream_entries = (0..3).map(|i| b.stream_entry(&format!("e{i}"), "acme")).collect();
    b.append(stream_entries).await?;
    let got = b.claim_bytes(&stream(), Clients::All, 9, 2 * size).await?;
    ensure_eq!(labels(&got), ["e0", "e1"], "entries of a stream");
    Ok(())
}
