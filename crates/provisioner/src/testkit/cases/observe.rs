//! How a release is.

use std::collections::BTreeMap;

use super::super::kit::{Kit, Outcome, holds, same};
use super::case_list;
use crate::target::{Desired, Health, Observed, Resource};

case_list![
    what_was_never_applied_is_missing,
    what_is_not_healthy_yet_progresses_and_says_why,
    what_will_not_become_healthy_fails_and_says_why,
    another_revision_than_the_desired_is_missing,
    a_revision_counts_once_it_was_applied,
    what_ends_with_orderwire_is_missing_after_a_restart,
    what_breaks_down_is_noticed_and_brought_back,
    looking_touches_nothing,
    changes_are_told,
    a_stop_ends_what_ends_with_orderwire_and_removes_nothing,
    what_is_ready_says_where_its_ports_are,
    what_is_gone_has_no_ports,
];

fn is_missing(observed: &Observed) -> bool {
    matches!(observed.health, Health::Missing(_))
}

async fn what_was_never_applied_is_missing(kit: Kit) -> Outcome {
    let observed = kit.observe(&kit.healthy()).await?;
    holds(&format!("it is missing: {observed:?}"), is_missing(&observed))
}

async fn what_is_not_healthy_yet_progresses_and_says_why(kit: Kit) -> Outcome {
    let desired = kit.desired(kit.factory.sample().never_ready);
    kit.apply(&desired).await?;
    let things = |observed: &Observed| {
        matches!(&observed.health, Health::Progressing(reason) if !reason.is_empty())
            && observed.resources.iter().any(|resource| resource.state == "progressing")
    };
    kit.until("progressing", &desired, things).await?;
    let observed = kit.observe(&desired).await?;
    holds(&format!("it still progresses: {observed:?}"), matches!(observed.health, Health::Progressing(_)))
}

async fn what_will_not_become_healthy_fails_and_says_why(kit: Kit) -> Outcome {
    let desired = kit.desired(kit.factory.sample().fails);
    kit.apply(&desired).await?;
    let failed =
        |observed: &Observed| matches!(&observed.health, Health::Failed(reason) if !reason.is_empty());
    let observed = kit.until("failed", &desired, failed).await?;
    let says_why = |resource: &Resource| resource.state == "failed" && resource.reason.is_some();
    holds(&format!("a resource says why: {observed:?}"), observed.resources.iter().any(says_why))
}

async fn another_revision_than_the_desired_is_missing(kit: Kit) -> Outcome {
    kit.bring_up(&kit.healthy()).await?;
    let observed = kit.observe(&kit.other()).await?;
    holds(&format!("the other one is missing: {observed:?}"), is_missing(&observed))
}

async fn a_revision_counts_once_it_was_applied(kit: Kit) -> Outcome {
    kit.bring_up(&kit.healthy()).await?;
    let before = kit.things().await?;
    let same_again = Desired { revision: 7, ..kit.healthy() };
    let observed = kit.observe(&same_again).await?;
    holds(&format!("it is missing before: {observed:?}"), is_missing(&observed))?;
    kit.bring_up(&same_again).await?;
    same("things", kit.things().await?, before)?;
    let observed = kit.observe(&kit.healthy()).await?;
    holds(&format!("the former one is missing: {observed:?}"), is_missing(&observed))
}

async fn what_ends_with_orderwire_is_missing_after_a_restart(kit: Kit) -> Outcome {
    kit.bring_up(&kit.healthy()).await?;
    let kit = kit.reopen().await?;
    let observed = kit.observe(&kit.healthy()).await?;
    if kit.factory.ends_with_orderwire() {
        holds(&format!("it is missing: {observed:?}"), is_missing(&observed))?;
    }
    kit.bring_up(&kit.healthy()).await?;
    let again = kit.things().await?.len();
    kit.target.remove(&kit.placement).await?;
    kit.bring_up(&kit.healthy()).await?;
    same("as many things as on an empty target", again, kit.things().await?.len())
}

async fn what_breaks_down_is_noticed_and_brought_back(kit: Kit) -> Outcome {
    kit.bring_up(&kit.healthy()).await?;
    let before = kit.things().await?.len();
    kit.factory.break_down(kit.placement.release).await?;
    kit.until("anything but ready", &kit.healthy(), |observed| observed.health != Health::Ready).await?;
    kit.bring_up(&kit.healthy()).await?;
    same("as many things as before", kit.things().await?.len(), before)
}

async fn looking_touches_nothing(kit: Kit) -> Outcome {
    kit.observe(&kit.healthy()).await?;
    same("things of a new release", kit.things().await?.len(), 0)?;
    kit.bring_up(&kit.healthy()).await?;
    let before = kit.things().await?;
    for _ in 0..3 {
        kit.observe(&kit.other()).await?;
    }
    same("things", kit.things().await?, before)
}

async fn changes_are_told(kit: Kit) -> Outcome {
    let desired = kit.healthy();
    let mut changes = kit.target.changes();
    kit.apply(&desired).await?;
    kit.until_told("ready", &mut changes, &desired, |observed| observed.health == Health::Ready).await?;
    kit.factory.break_down(kit.placement.release).await?;
    kit.until_told("not ready", &mut changes, &desired, |observed| observed.health != Health::Ready).await?;
    let mut changes = kit.target.changes();
    kit.target.remove(&kit.placement).await?;
    kit.until_told("missing", &mut changes, &desired, is_missing).await
}

async fn a_stop_ends_what_ends_with_orderwire_and_removes_nothing(kit: Kit) -> Outcome {
    kit.bring_up(&kit.healthy()).await?;
    let before = kit.things().await?;
    kit.target.stop().await;
    let observed = kit.observe(&kit.healthy()).await?;
    let ends = kit.factory.ends_with_orderwire();
    same("whether it is missing", is_missing(&observed), ends)?;
    let after = kit.things().await?;
    holds("something is left", !after.is_empty())?;
    same("whether something ended", after != before, ends)?;
    let kit = kit.reopen().await?;
    kit.bring_up(&kit.healthy()).await
}

async fn what_is_ready_says_where_its_ports_are(kit: Kit) -> Outcome {
    let desired = kit.healthy();
    kit.bring_up(&desired).await?;
    let observed = kit.observe(&desired).await?;
    let mut ports = 0;
    for manifest in &desired.manifests {
        let mut expected = BTreeMap::new();
        for port in kit.target.ports(manifest) {
            let address = kit.factory.address(kit.placement.release, &port).await?;
            let address = address.ok_or_else(|| format!("port {port} is nowhere"))?;
            expected.insert(port, address);
        }
        let is_it = |resource: &&Resource| {
            (resource.kind.as_str(), resource.name.as_str()) == (manifest.kind(), manifest.name())
        };
        let found = observed.resources.iter().find(is_it).map(|resource| resource.ports.clone());
        ports += expected.len();
        same(&format!("ports of {} {}", manifest.kind(), manifest.name()), found, Some(expected))?;
    }
    holds("an object has a port", ports > 0)
}

async fn what_is_gone_has_no_ports(kit: Kit) -> Outcome {
    let desired = kit.healthy();
    kit.bring_up(&desired).await?;
    kit.factory.break_down(kit.placement.release).await?;
    let gone = kit.until("missing", &desired, is_missing).await?;
    let has_none = |resource: &Resource| resource.state != "missing" || resource.ports.is_empty();
    holds(&format!("what is missing has no ports: {gone:?}"), gone.resources.iter().all(has_none))?;
    kit.target.remove(&kit.placement).await?;
    let gone = kit.observe(&desired).await?;
    holds(&format!("what was removed has no ports: {gone:?}"), gone.resources.iter().all(has_none))
}
