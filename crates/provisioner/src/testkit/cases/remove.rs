//! Removing a release.

use super::super::kit::{Kit, Outcome, holds, names, placement, same};
use super::case_list;
use crate::target::{Effect, Health};

case_list![
    a_removal_leaves_nothing,
    a_removal_names_what_it_removed,
    a_second_removal_removes_nothing,
    a_removal_finds_what_an_earlier_run_has_left,
    a_removal_leaves_other_releases_alone,
    what_was_removed_can_be_made_again,
];

async fn a_removal_leaves_nothing(kit: Kit) -> Outcome {
    for desired in [kit.healthy(), kit.desired(kit.factory.sample().never_ready)] {
        kit.apply(&desired).await?;
        kit.target.remove(&kit.placement).await?;
        same("things", kit.things().await?.len(), 0)?;
        let observed = kit.observe(&desired).await?;
        holds(&format!("it is missing: {observed:?}"), matches!(observed.health, Health::Missing(_)))?;
    }
    Ok(())
}

async fn a_removal_names_what_it_removed(kit: Kit) -> Outcome {
    kit.bring_up(&kit.healthy()).await?;
    let removed = kit.target.remove(&kit.placement).await?;
    for name in names(&kit.healthy().manifests) {
        same(
            &format!("how often {name} is named"),
            removed.iter().filter(|other| **other == name).count(),
            1,
        )?;
    }
    Ok(())
}

async fn a_second_removal_removes_nothing(kit: Kit) -> Outcome {
    same("removed of nothing", kit.target.remove(&kit.placement).await?, vec![])?;
    kit.bring_up(&kit.healthy()).await?;
    kit.target.remove(&kit.placement).await?;
    same("removed again", kit.target.remove(&kit.placement).await?, vec![])
}

async fn a_removal_finds_what_an_earlier_run_has_left(kit: Kit) -> Outcome {
    kit.bring_up(&kit.healthy()).await?;
    let kit = kit.reopen().await?;
    let removed = kit.target.remove(&kit.placement).await?;
    holds("it names something", !removed.is_empty())?;
    same("things", kit.things().await?.len(), 0)
}

async fn a_removal_leaves_other_releases_alone(kit: Kit) -> Outcome {
    let other = Kit { factory: kit.factory.clone(), target: kit.target.clone(), placement: placement("b") };
    other.bring_up(&other.healthy()).await?;
    kit.bring_up(&kit.healthy()).await?;
    let before = other.things().await?;
    kit.target.remove(&kit.placement).await?;
    same("things of the other", other.things().await?, before)
}

async fn what_was_removed_can_be_made_again(kit: Kit) -> Outcome {
    kit.bring_up(&kit.other()).await?;
    kit.target.remove(&kit.placement).await?;
    let plan = kit.target.plan(&kit.placement, &kit.healthy()).await?;
    holds("all is created", plan.iter().all(|planned| planned.effect == Effect::Create))?;
    kit.bring_up(&kit.healthy()).await
}
