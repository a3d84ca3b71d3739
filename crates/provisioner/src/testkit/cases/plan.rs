//! Looking before doing: check, plan and drift.

use std::collections::BTreeSet;

use super::super::kit::{Kit, Outcome, holds, names, same};
use super::case_list;
use crate::target::{Effect, Planned};

case_list![
    a_check_finds_no_fault_in_what_can_run,
    a_check_names_the_object_and_the_field_of_each_fault,
    a_plan_of_what_is_new_creates_all_of_it,
    a_plan_of_what_is_there_keeps_all_of_it,
    a_plan_of_another_revision_says_what_changes_and_how,
    a_plan_touches_nothing,
    nothing_drifts_after_an_apply,
    what_was_changed_behind_its_back_is_drift,
    an_apply_mends_drift,
];

async fn a_check_finds_no_fault_in_what_can_run(kit: Kit) -> Outcome {
    let sample = kit.factory.sample();
    for manifests in [sample.healthy, sample.other, sample.never_ready, sample.fails] {
        same("faults", kit.target.check(&manifests), vec![])?;
    }
    Ok(())
}

async fn a_check_names_the_object_and_the_field_of_each_fault(kit: Kit) -> Outcome {
    let refused = kit.factory.sample().refused;
    holds("the sample has something to refuse", !refused.is_empty())?;
    for refused in refused {
        let faults = kit.target.check(&refused.manifests);
        let named = |fault: &String| refused.names.iter().all(|name| fault.contains(name));
        holds(&format!("a fault names {:?}: {faults:?}", refused.names), faults.iter().any(named))?;
    }
    Ok(())
}

async fn a_plan_of_what_is_new_creates_all_of_it(kit: Kit) -> Outcome {
    let plan = kit.target.plan(&kit.placement, &kit.healthy()).await?;
    let objects = kit.healthy().manifests.len();
    same("effects", effects(&plan), vec![Effect::Create; objects])
}

async fn a_plan_of_what_is_there_keeps_all_of_it(kit: Kit) -> Outcome {
    kit.bring_up(&kit.healthy()).await?;
    let plan = kit.target.plan(&kit.placement, &kit.healthy()).await?;
    let objects = kit.healthy().manifests.len();
    same("effects", effects(&plan), vec![Effect::Keep; objects])
}

async fn a_plan_of_another_revision_says_what_changes_and_how(kit: Kit) -> Outcome {
    kit.bring_up(&kit.healthy()).await?;
    let plan = kit.target.plan(&kit.placement, &kit.other()).await?;
    let of = |effect| plan.iter().filter(move |planned| planned.effect == effect);
    let before = names(&kit.healthy().manifests);
    let after = names(&kit.other().manifests);
    let listed = |effect| -> BTreeSet<String> {
        of(effect).map(|planned| format!("{} {}", planned.kind, planned.name)).collect()
    };
    same("created", listed(Effect::Create), after.difference(&before).cloned().collect())?;
    same("removed", listed(Effect::Remove), before.difference(&after).cloned().collect())?;
    holds("something changes", of(Effect::Change).count() > 0)?;
    let says_how = |planned: &Planned| planned.fields.iter().any(|field| field.old != field.new);
    holds("every change has its fields", of(Effect::Change).all(says_how))
}

async fn a_plan_touches_nothing(kit: Kit) -> Outcome {
    kit.target.plan(&kit.placement, &kit.healthy()).await?;
    same("things of a new release", kit.things().await?.len(), 0)?;
    kit.bring_up(&kit.healthy()).await?;
    let before = kit.things().await?;
    kit.target.plan(&kit.placement, &kit.other()).await?;
    kit.target.drift(&kit.placement, &kit.other()).await?;
    same("things", kit.things().await?, before)
}

async fn nothing_drifts_after_an_apply(kit: Kit) -> Outcome {
    for desired in [kit.healthy(), kit.other()] {
        kit.bring_up(&desired).await?;
        same("drift", kit.target.drift(&kit.placement, &desired).await?, vec![])?;
    }
    Ok(())
}

async fn what_was_changed_behind_its_back_is_drift(kit: Kit) -> Outcome {
    kit.bring_up(&kit.healthy()).await?;
    kit.factory.disturb(kit.placement.release).await?;
    let drift = kit.target.drift(&kit.placement, &kit.healthy()).await?;
    holds("something drifts", !drift.is_empty())?;
    holds("nothing that is kept drifts", !effects(&drift).contains(&Effect::Keep))
}

async fn an_apply_mends_drift(kit: Kit) -> Outcome {
    kit.bring_up(&kit.healthy()).await?;
    kit.factory.disturb(kit.placement.release).await?;
    let disturbed = kit.things().await?;
    kit.bring_up(&kit.healthy()).await?;
    holds("what was disturbed is not there", kit.things().await? != disturbed)?;
    same("drift", kit.target.drift(&kit.placement, &kit.healthy()).await?, vec![])
}

fn effects(plan: &[Planned]) -> Vec<Effect> {
    plan.iter().map(|planned| planned.effect).collect()
}
