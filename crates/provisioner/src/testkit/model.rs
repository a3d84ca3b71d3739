//! A target in memory that keeps every promise, and its broken twins: they keep the
//! suite honest, for a case that a twin passes checks nothing.

mod target;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::sync::broadcast;
use uuid::Uuid;

use self::target::ModelTarget;
use super::{Factory, Refused, Sample};
use crate::target::{Manifest, Target};

orderwire_types::faults! {
    /// The check finds faults where none are.
    RefusesEverything => a_check_finds_no_fault_in_what_can_run,
    /// The check finds none, and nothing is refused.
    AcceptsEverything => a_check_names_the_object_and_the_field_of_each_fault what_is_refused_touches_nothing,
    /// A plan shows only what is there already.
    PlansNothingNew => a_plan_of_what_is_new_creates_all_of_it a_plan_of_another_revision_says_what_changes_and_how,
    /// A plan changes what it keeps.
    PlansToChangeAll => a_plan_of_what_is_there_keeps_all_of_it nothing_drifts_after_an_apply,
    /// A plan applies.
    PlansByDoing => a_plan_touches_nothing,
    /// Drift is looked for in what was applied, not in what is there.
    BlindToDrift => what_was_changed_behind_its_back_is_drift,
    /// What was applied once is not looked at again.
    TrustsWhatItApplied => an_apply_mends_drift,
    /// Everything is made anew by every apply.
    AppliesAgain => the_same_again_touches_nothing another_trace_alone_touches_nothing,
    /// Another trace makes everything anew.
    TouchesForATrace => another_trace_alone_touches_nothing,
    /// Another grant is not handed over.
    IgnoresGrants => another_grant_is_handed_over,
    /// What the new revision does not hold stays.
    KeepsTheEarlier => another_revision_takes_the_place_of_the_earlier,
    /// After a failure nothing is applied any more.
    GivesUpForGood => what_was_given_up_is_made_anew,
    /// What was half done when a call was dropped is forgotten.
    ForgetsDroppedCalls => an_apply_that_was_dropped_leaves_nothing_behind,
    /// Nothing ever becomes ready.
    NeverReady => what_is_applied_becomes_healthy,
    /// What was never applied is ready.
    ReadyWithoutAnything => what_was_never_applied_is_missing,
    /// Everything is ready at once.
    ReadyTooEarly => what_is_not_healthy_yet_progresses_and_says_why,
    /// What has failed progresses.
    NeverFails => what_will_not_become_healthy_fails_and_says_why,
    /// What is there counts, whatever is desired.
    IgnoresTheRevision => another_revision_than_the_desired_is_missing,
    /// The objects count, whichever revision they were applied as.
    IgnoresTheNumber => a_revision_counts_once_it_was_applied,
    /// What ended with Orderwire is ready after its restart.
    ForgetsThatItEnded => what_ends_with_orderwire_is_missing_after_a_restart,
    /// What is gone is ready.
    BlindToBreakdowns => what_breaks_down_is_noticed_and_brought_back,
    /// Looking makes what is missing.
    MakesByLooking => looking_touches_nothing,
    /// No change is told.
    Silent => changes_are_told,
    /// No object is known to have a port.
    KnowsNoPorts => what_is_ready_says_where_its_ports_are,
    /// Where ports are is not said.
    HidesPorts => what_is_ready_says_where_its_ports_are,
    /// A port is said to be where another one is.
    MixesUpPorts => what_is_ready_says_where_its_ports_are,
    /// Ports stay where they were when nothing runs there any more.
    RemembersPorts => what_is_gone_has_no_ports,
    /// A stop leaves everything running.
    StopsNothing => a_stop_ends_what_ends_with_orderwire_and_removes_nothing,
    /// A stop removes everything.
    RemovesByStopping => a_stop_ends_what_ends_with_orderwire_and_removes_nothing,
    /// A removal leaves a thing.
    LeavesSomething => a_removal_leaves_nothing what_was_removed_can_be_made_again,
    /// A removal names nothing.
    RemovesInSilence => a_removal_names_what_it_removed,
    /// A removal names what was not there.
    ClaimsTooMuch => a_second_removal_removes_nothing,
    /// A removal knows only what this run has applied.
    ForgetsEarlierRuns => a_removal_finds_what_an_earlier_run_has_left,
    /// A removal takes every release of the client.
    RemovesOthers => a_removal_leaves_other_releases_alone,
}

/// What is on the target, whoever is connected to it.
#[derive(Default)]
struct World {
    releases: HashMap<Uuid, BTreeMap<Key, Thing>>,
    /// The number of the revision that was applied last.
    applied: HashMap<Uuid, u64>,
    made: u64,
    opened: u64,
}

type Key = (String, String);

struct Thing {
    manifest: Manifest,
    grant: Vec<(String, String)>,
    /// Another number for each that was made.
    number: u64,
    /// Which opening of the target runs it.
    run_by: u64,
    /// Whether it had the time to become ready.
    settled: bool,
}

/// Opens models, or twins of one kind.
pub struct ModelFactory {
    fault: Fault,
    world: Arc<Mutex<World>>,
    changed: broadcast::Sender<Uuid>,
}

impl ModelFactory {
    /// Over an empty world.
    pub fn new(fault: Fault) -> Self {
        Self { fault, world: Arc::default(), changed: broadcast::channel(100).0 }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Factory for ModelFactory {
    async fn open(&self) -> Result<Arc<dyn Target>, String> {
        let mut world = self.lock();
        world.opened += 1;
        let opened = world.opened;
        drop(world);
        Ok(Arc::new(ModelTarget::new(self.fault, self.world.clone(), self.changed.clone(), opened)))
    }

    fn sample(&self) -> Sample {
        let healthy =
            vec![thing("a", "healthy", "1"), thing("b", "healthy", "1"), thing("c", "healthy", "1")];
        let other = vec![thing("a", "healthy", "2"), thing("b", "healthy", "1"), thing("d", "healthy", "1")];
        Sample {
            healthy,
            other,
            never_ready: vec![thing("a", "waits", "1")],
            fails: vec![thing("a", "fails", "1")],
            refused: vec![Refused {
                manifests: vec![thing("a", "what", "1")],
                names: vec!["Thing a", "spec.becomes"],
            }],
            patience: Duration::from_millis(500),
        }
    }

    async fn things(&self, release: Uuid) -> Result<BTreeSet<String>, String> {
        let world = self.lock();
        let places = [release, target::hidden(release)];
        let things = places.iter().filter_map(|place| world.releases.get(place)).flatten();
        let name = |((kind, name), thing): (&Key, &Thing)| {
            format!("{kind} {name} {} {} {}", thing.number, thing.run_by, thing.manifest.0["spec"]["text"])
        };
        Ok(things.map(name).collect())
    }

    async fn address(&self, release: Uuid, port: &str) -> Result<Option<String>, String> {
        let world = self.lock();
        let things = world.releases.get(&release).into_iter().flatten();
        let has_it = |thing: &&Thing| target::port(&thing.manifest) == Some(port);
        Ok(things.map(|(_, thing)| thing).find(has_it).map(|thing| target::address(thing.number)))
    }

    async fn disturb(&self, release: Uuid) -> Result<(), String> {
        let mut world = self.lock();
        let things = world.releases.get_mut(&release).ok_or("the release is not there")?;
        let thing = things.values_mut().next().ok_or("nothing is there")?;
        thing.manifest.0["spec"]["text"] = "disturbed".into();
        Ok(())
    }

    async fn break_down(&self, release: Uuid) -> Result<(), String> {
        self.lock().releases.get_mut(&release).ok_or("the release is not there")?.pop_first();
        if self.fault != Fault::Silent {
            // Nobody may listen.
            self.changed.send(release).ok();
        }
        Ok(())
    }

    fn ends_with_orderwire(&self) -> bool {
        true
    }
}

fn thing(name: &str, becomes: &str, text: &str) -> Manifest {
    let mut spec: Value = json!({"becomes": becomes, "text": text});
    if name != "c" {
        spec["port"] = format!("port-{name}").into();
    }
    Manifest(json!({"apiVersion": "model/v1", "kind": "Thing", "metadata": {"name": name}, "spec": spec}))
}
