//! Several processes on the same data. An engine that is not shared promises none of it.

use std::time::Duration;

use orderwire_types::queue::{Kind, QueueDef};
use orderwire_types::scope::Clients;

use crate::clock::after;
use crate::engine::{Elsewhere, Engine, Op, Origin, Outcome, Settle};
use crate::model::Settlement;
use crate::testkit::bench::{Bench, Checked, LEASE, def, ensure, ensure_eq, labels, say, tasks};

/// How long what another process did may take to be told: a second, and a busy machine.
const TOLD_WITHIN: Duration = Duration::from_secs(3);

/// Waits until an engine tells something of this kind.
async fn told(engine: &dyn Engine, what: &str, is_it: impl Fn(&Elsewhere) -> bool) -> Checked {
    let telling = async { while !is_it(&engine.elsewhere().await) {} };
    let told = tokio::time::timeout(TOLD_WITHIN, telling).await;
    told.map_err(|_| format!("nobody told another process of {what}"))
}

pub(super) async fn what_another_process_does_is_told(b: &mut Bench) -> Checked {
    if !b.engine().capabilities().shared {
        return Ok(());
    }
    let other = b.another().await?;
    b.put(&[("first", "acme", "k")]).await?;
    told(&*other, "an event", |news| news.ready.contains(&tasks())).await?;
    b.claim(1).await?;
    let end = after(b.now, LEASE);
    told(&*other, "a lease", |news| news.next_expiry == Some(end)).await?;
    let own = (String::from("own").parse().expect("a queue name"), def(Kind::Task, "own.#"));
    b.engine().declare(std::slice::from_ref(&own), Origin::Call).await.map_err(say)?;
    told(&*other, "a definition", |news| news.definitions).await?;
    let changed = (own.0.clone(), QueueDef { attempts: 7, ..own.1 });
    other.declare(std::slice::from_ref(&changed), Origin::Call).await.map_err(say)?;
    told(b.engine(), "a changed definition", |news| news.definitions).await?;
    let known = b.engine().definitions().await.map_err(say)?;
    ensure!(known.contains(&changed), "another process does not see a changed definition");
    Ok(())
}

pub(super) async fn a_delivery_is_with_one_of_several_processes(b: &mut Bench) -> Checked {
    if !b.engine().capabilities().shared {
        return Ok(());
    }
    let other = b.another().await?;
    b.put(&[("a1", "acme", "k"), ("a2", "acme", "k"), ("b1", "bolt", "k")]).await?;
    let here = b.claim(1).await?;
    ensure_eq!(labels(&here), ["a1"], "the first claim");
    let claim = Op::Claim(b.claim_of(&tasks(), 5));
    let mut there = other.commit(vec![claim], b.now).await.map_err(say)?;
    let Ok(Outcome::Claimed(there)) = there.outcomes.remove(0) else {
        return Err("another process's claim was not answered as one".to_owned());
    };
    ensure_eq!(there.len(), 1, "what is left for another process");
    // Whoever has it may settle it anywhere.
    let settle =
        Settle { queue: tasks(), delivery: here[0].id, clients: Clients::All, settlement: Settlement::Ack };
    let settled = other.commit(vec![Op::Settle(settle)], b.now).await.map_err(say)?;
    ensure!(settled.outcomes[0].is_ok(), "a settlement by another process: {:?}", settled.outcomes[0]);
    ensure_eq!(labels(&b.claim(5).await?), ["a2"], "what the settlement freed");
    Ok(())
}
