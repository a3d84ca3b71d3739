//! Making the target hold a revision.

use std::task::Poll;

use super::super::kit::{Kit, Outcome, grant, holds, same};
use super::case_list;
use crate::target::{Desired, Error};

case_list![
    what_is_applied_becomes_healthy,
    the_same_again_touches_nothing,
    another_trace_alone_touches_nothing,
    another_grant_is_handed_over,
    another_revision_takes_the_place_of_the_earlier,
    what_was_given_up_is_made_anew,
    what_is_refused_touches_nothing,
    an_apply_that_was_dropped_leaves_nothing_behind,
];

async fn what_is_applied_becomes_healthy(kit: Kit) -> Outcome {
    for desired in [kit.healthy(), kit.other()] {
        kit.bring_up(&desired).await?;
        let observed = kit.observe(&desired).await?;
        let states: Vec<&str> = observed.resources.iter().map(|resource| resource.state.as_str()).collect();
        same("states", states, vec!["ready"; desired.manifests.len()])?;
    }
    holds("something is there", !kit.things().await?.is_empty())
}

async fn the_same_again_touches_nothing(kit: Kit) -> Outcome {
    kit.bring_up(&kit.healthy()).await?;
    let before = kit.things().await?;
    kit.bring_up(&kit.healthy()).await?;
    same("things", kit.things().await?, before)
}

async fn another_trace_alone_touches_nothing(kit: Kit) -> Outcome {
    kit.bring_up(&kit.healthy()).await?;
    let before = kit.things().await?;
    let trace = orderwire_types::TraceId::from_uuid(uuid::Uuid::from_u128(2));
    kit.bring_up(&Desired { trace, revision: 7, ..kit.healthy() }).await?;
    same("things", kit.things().await?, before)
}

async fn another_grant_is_handed_over(kit: Kit) -> Outcome {
    kit.bring_up(&kit.healthy()).await?;
    let before = kit.things().await?;
    kit.target.apply(&kit.placement, &kit.healthy(), &grant("2")).await?;
    kit.until("ready", &kit.healthy(), |observed| observed.health == crate::target::Health::Ready).await?;
    holds("something was made anew", kit.things().await? != before)
}

async fn another_revision_takes_the_place_of_the_earlier(kit: Kit) -> Outcome {
    kit.bring_up(&kit.other()).await?;
    let alone = kit.things().await?.len();
    kit.bring_up(&kit.healthy()).await?;
    kit.bring_up(&kit.other()).await?;
    same("as many things as without an earlier revision", kit.things().await?.len(), alone)?;
    kit.apply(&kit.healthy()).await?;
    let now = kit.things().await?;
    kit.until("ready", &kit.healthy(), |observed| observed.health == crate::target::Health::Ready).await?;
    kit.apply(&kit.other()).await?;
    // At once, not some time later.
    let after = kit.things().await?;
    let changed = kit.factory.sample().healthy.len();
    let both = now.intersection(&after).count();
    holds(&format!("less than all {changed} of the earlier are left ({both})"), both < changed)?;
    kit.until("ready", &kit.other(), |observed| observed.health == crate::target::Health::Ready).await?;
    same("things afterwards", kit.things().await?.len(), alone)
}

async fn what_was_given_up_is_made_anew(kit: Kit) -> Outcome {
    let fails = kit.desired(kit.factory.sample().fails);
    kit.apply(&fails).await?;
    let failed =
        |observed: &crate::target::Observed| matches!(observed.health, crate::target::Health::Failed(_));
    kit.until("failed", &fails, failed).await?;
    kit.bring_up(&kit.healthy()).await
}

async fn what_is_refused_touches_nothing(kit: Kit) -> Outcome {
    kit.bring_up(&kit.healthy()).await?;
    let before = kit.things().await?;
    for refused in kit.factory.sample().refused {
        let desired = kit.desired(refused.manifests);
        let result = kit.target.apply(&kit.placement, &desired, &grant("1")).await;
        holds(&format!("it is refused: {result:?}"), matches!(result, Err(Error::Refused(_))))?;
    }
    same("things", kit.things().await?, before)
}

/// Dropped after so many looks at it: sooner or later in its work.
const LOOKS: [usize; 6] = [1, 2, 3, 4, 6, 9];

async fn an_apply_that_was_dropped_leaves_nothing_behind(kit: Kit) -> Outcome {
    for looks in LOOKS {
        let (desired, granted) = (kit.healthy(), grant("1"));
        let mut applying = kit.target.apply(&kit.placement, &desired, &granted);
        let mut left = looks;
        std::future::poll_fn(|context| {
            left -= 1;
            match applying.as_mut().poll(context) {
                Poll::Pending if left > 0 => Poll::Pending,
                _ => Poll::Ready(()),
            }
        })
        .await;
        drop(applying);
        kit.apply(&kit.other()).await?;
        kit.target.remove(&kit.placement).await?;
        same(&format!("things after {looks} looks"), kit.things().await?.len(), 0)?;
    }
    Ok(())
}
