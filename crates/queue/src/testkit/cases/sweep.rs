use std::time::Duration;

use jiff::Timestamp;
use orderwire_types::scope::Clients;

use crate::clock::after;
use crate::engine::{NewEntry, Op, Sweep};
use crate::model::DeadFilter;
use crate::testkit::bench::{Bench, Checked, ensure, ensure_eq, label, say};

fn sweep(before: Timestamp, limit: usize) -> Op {
    Op::Sweep(Sweep { remembered_before: before, steps_before: before, dead_before: before, limit })
}

/// Publishes a named event and dead-letters it.
async fn named_dead(b: &mut Bench, name: &str) -> Checked<NewEntry> {
    let mut entry = b.entry(name, "acme", name);
    entry.remembered = Some(entry.event_id.0);
    b.append(vec![entry.clone()]).await?;
    let got = b.claim(1).await?;
    b.fail(&got[0], "no").await?;
    Ok(entry)
}

pub(super) async fn a_sweep_drops_what_is_old_and_keeps_the_rest(b: &mut Bench) -> Checked {
    let old = named_dead(b, "old").await?;
    // Remembered ids may be kept by hours, so the two are far apart.
    b.pass(Duration::from_secs(48 * 3_600)).await?;
    let young = named_dead(b, "young").await?;
    let border = after(old.accepted_at, Duration::from_secs(24 * 3_600));
    let mut runs = 0;
    while b.count(sweep(border, 100)).await? >= 100 {
        runs += 1;
        ensure!(runs < 10, "a sweep of a handful of rows does not end");
    }
    b.reopen().await?;

    let dead = b.dead(&DeadFilter::default()).await?;
    let labels = dead.iter().map(|letter| label(&letter.body)).collect::<Checked<Vec<_>>>()?;
    ensure_eq!(labels, ["young"], "dead letters after the sweep");
    let old_trace = b.engine().trace(old.trace, &Clients::All).await.map_err(say)?;
    ensure_eq!(old_trace.steps.len(), 0, "steps of the old trace");
    let young_trace = b.engine().trace(young.trace, &Clients::All).await.map_err(say)?;
    ensure!(young_trace.steps.len() >= 4, "the young trace lost steps: {:?}", young_trace.steps);
    ensure_eq!(b.append(vec![young]).await?, [false], "the young event again");
    ensure_eq!(b.append(vec![old]).await?, [true], "the old event again");
    Ok(())
}

pub(super) async fn a_sweep_is_bounded(b: &mut Bench) -> Checked {
    for i in 0..6 {
        named_dead(b, &format!("e{i}")).await?;
    }
    let later = after(b.now, Duration::from_secs(48 * 3_600));
    b.now = later;
    let first = b.count(sweep(later, 2)).await?;
    ensure!(first >= 2, "a sweep of full tables reports {first} rows, as if nothing were left");
    let left = b.dead(&DeadFilter::default()).await?.len();
    ensure!(left >= 4, "a sweep of two rows dropped {} dead letters", 6 - left);
    let mut runs = 0;
    while b.count(sweep(later, 2)).await? >= 2 {
        runs += 1;
        ensure!(runs < 100, "a sweep does not end");
    }
    ensure_eq!(b.dead(&DeadFilter::default()).await?.len(), 0, "dead letters after all sweeps");
    Ok(())
}
