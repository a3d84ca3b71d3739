//! The model of a target, and where its twins differ.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::broadcast;
use uuid::Uuid;

use super::{Fault, Key, Thing, World};
use crate::target::{
    Desired, Effect, Error, FieldChange, Grant, Health, Manifest, Observed, Placement, Planned, Resource,
    Target,
};

/// Which opening runs what has been stopped.
const STOPPED: u64 = 0;

pub(super) struct ModelTarget {
    fault: Fault,
    world: Arc<Mutex<World>>,
    changed: broadcast::Sender<Uuid>,
    opened: u64,
    /// For twins: an apply has ended in a failure.
    has_failed: AtomicBool,
}

impl ModelTarget {
    pub(super) fn new(
        fault: Fault,
        world: Arc<Mutex<World>>,
        changed: broadcast::Sender<Uuid>,
        opened: u64,
    ) -> Self {
        Self { fault, world, changed, opened, has_failed: AtomicBool::new(false) }
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, release: Uuid) {
        if !self.is(Fault::Silent) {
            // Nobody may listen.
            self.changed.send(release).ok();
        }
    }

    fn make(&self, release: Uuid, manifests: &[Manifest], grant: &Grant) {
        let mut world = self.lock();
        let world = &mut *world;
        let things = world.releases.entry(release).or_default();
        if !self.is(Fault::KeepsTheEarlier) {
            things.retain(|key, _| manifests.iter().any(|manifest| of(manifest) == *key));
        }
        for manifest in manifests {
            let is_so = |thing: &&Thing| {
                (thing.manifest == *manifest || self.is(Fault::TrustsWhatItApplied))
                    && (thing.grant == grant.values || self.is(Fault::IgnoresGrants))
                    && thing.run_by == self.opened
            };
            if things.get(&of(manifest)).filter(is_so).is_some() && !self.is(Fault::AppliesAgain) {
                continue;
            }
            world.made += 1;
            let (manifest_, grant) = (manifest.clone(), grant.values.clone());
            let thing =
                Thing { manifest: manifest_, grant, number: world.made, run_by: self.opened, settled: false };
            things.insert(of(manifest), thing);
        }
    }

    fn ports_there(
        &self,
        manifest: &Manifest,
        thing: Option<&Thing>,
        state: &str,
    ) -> BTreeMap<String, String> {
        let there = thing.map(|thing| thing.number).filter(|_| state != "missing");
        let number = match self.fault {
            Fault::HidesPorts => None,
            Fault::MixesUpPorts => there.map(|number| number + 1),
            Fault::RemembersPorts => there.or(Some(0)),
            _ => there,
        };
        let port = port(manifest).map(str::to_owned);
        port.into_iter().filter_map(|port| Some((port, address(number?)))).collect()
    }

    fn state(&self, thing: Option<&Thing>) -> &'static str {
        let Some(thing) = thing.filter(|thing| {
            thing.run_by == self.opened || thing.run_by != STOPPED && self.is(Fault::ForgetsThatItEnded)
        }) else {
            return "missing";
        };
        match thing.manifest.0["spec"]["becomes"].as_str() {
            _ if self.is(Fault::ReadyTooEarly) => "ready",
            Some("healthy") if thing.settled && !self.is(Fault::NeverReady) => "ready",
            Some("fails") if thing.settled && !self.is(Fault::NeverFails) => "failed",
            _ => "progressing",
        }
    }
}

/// The port of a thing, if it has one.
pub(super) fn port(manifest: &Manifest) -> Option<&str> {
    manifest.0["spec"]["port"].as_str()
}

/// Where the port of the thing with this number is.
pub(super) fn address(number: u64) -> String {
    format!("model:{number}")
}

fn of(manifest: &Manifest) -> Key {
    (manifest.kind().to_owned(), manifest.name().to_owned())
}

#[async_trait]
impl Target for ModelTarget {
    fn kind(&self) -> &'static str {
        "model"
    }

    fn check(&self, manifests: &[Manifest]) -> Vec<String> {
        let known = |manifest: &&Manifest| {
            let becomes = manifest.0["spec"]["becomes"].as_str().unwrap_or_default();
            !["healthy", "waits", "fails"].contains(&becomes) && !self.is(Fault::AcceptsEverything)
                || self.is(Fault::RefusesEverything)
        };
        let fault = |manifest: &Manifest| {
            format!("{} {}: spec.becomes: is not known", manifest.kind(), manifest.name())
        };
        manifests.iter().filter(known).map(fault).collect()
    }

    fn ports(&self, manifest: &Manifest) -> Vec<String> {
        port(manifest).filter(|_| !self.is(Fault::KnowsNoPorts)).map(str::to_owned).into_iter().collect()
    }

    async fn plan(&self, placement: &Placement, desired: &Desired) -> Result<Vec<Planned>, Error> {
        if self.is(Fault::PlansByDoing) {
            self.make(placement.release, &desired.manifests, &Grant { values: vec![] });
        }
        let world = self.lock();
        let empty = BTreeMap::new();
        let there = world.releases.get(&placement.release).unwrap_or(&empty);
        let planned = |key: Key, effect, fields| Planned { kind: key.0, name: key.1, effect, fields };
        let mut plan = Vec::new();
        for manifest in &desired.manifests {
            let text = |manifest: &Manifest| manifest.0["spec"].clone();
            let (effect, old) = match there.get(&of(manifest)) {
                None if self.is(Fault::PlansNothingNew) => continue,
                None => (Effect::Create, None),
                Some(thing) if thing.manifest == *manifest && !self.is(Fault::PlansToChangeAll) => {
                    (Effect::Keep, None)
                }
                Some(thing) => (Effect::Change, Some(text(&thing.manifest))),
            };
            let field =
                |old| FieldChange { field: "/spec".to_owned(), old: Some(old), new: Some(text(manifest)) };
            plan.push(planned(of(manifest), effect, old.into_iter().map(field).collect()));
        }
        let gone = there.keys().filter(|key| !desired.manifests.iter().any(|manifest| of(manifest) == **key));
        plan.extend(gone.map(|key| planned(key.clone(), Effect::Remove, vec![])));
        Ok(plan)
    }

    async fn apply(&self, placement: &Placement, desired: &Desired, grant: &Grant) -> Result<(), Error> {
        if let Some(fault) = self.check(&desired.manifests).into_iter().next() {
            return Err(Error::Refused(fault));
        }
        if self.is(Fault::GivesUpForGood) && self.has_failed.load(Ordering::Relaxed) {
            return Err(Error::Refused("it has failed".to_owned()));
        }
        let release = placement.release;
        let mut grant = grant.clone();
        if self.is(Fault::TouchesForATrace) {
            grant.values.push(("TRACE".to_owned(), desired.trace.to_string()));
        }
        if self.is(Fault::ForgetsDroppedCalls) {
            // Found by nobody but the call itself, when it comes to its end.
            let key = {
                let mut world = self.lock();
                world.made += 1;
                ("Thing".to_owned(), format!("half-done-{}", world.made))
            };
            let (manifest, grant) = (desired.manifests[0].clone(), grant.values.clone());
            let half_done = Thing { manifest, grant, number: 0, run_by: STOPPED, settled: false };
            self.lock().releases.entry(hidden(release)).or_default().insert(key.clone(), half_done);
            tokio::task::yield_now().await;
            self.lock().releases.entry(hidden(release)).or_default().remove(&key);
        }
        self.make(release, &desired.manifests, &grant);
        self.lock().applied.insert(release, desired.revision);
        tokio::task::yield_now().await;
        let (world, changed, silent) = (self.world.clone(), self.changed.clone(), self.is(Fault::Silent));
        tokio::spawn(async move {
            tokio::task::yield_now().await;
            let mut world = world.lock().unwrap_or_else(PoisonError::into_inner);
            for thing in world.releases.get_mut(&release).into_iter().flat_map(BTreeMap::values_mut) {
                thing.settled = true;
            }
            if !silent {
                // Nobody may listen.
                changed.send(release).ok();
            }
        });
        Ok(())
    }

    async fn observe(&self, placement: &Placement, desired: &Desired) -> Result<Observed, Error> {
        if self.is(Fault::MakesByLooking) {
            self.make(placement.release, &desired.manifests, &Grant { values: vec![] });
        }
        let world = self.lock();
        let numbered = world.applied.get(&placement.release) == Some(&desired.revision)
            || [Fault::IgnoresTheNumber, Fault::IgnoresTheRevision, Fault::ReadyWithoutAnything]
                .contains(&self.fault);
        let there = world.releases.get(&placement.release).filter(|_| numbered);
        let mut resources = Vec::new();
        for manifest in &desired.manifests {
            let thing = there.and_then(|there| there.get(&of(manifest)));
            let is_it = |thing: &&Thing| {
                let same = |field: &str| thing.manifest.0["spec"][field] == manifest.0["spec"][field];
                same("becomes") && (same("text") || thing.manifest.0["spec"]["text"] == "disturbed")
            };
            let thing = thing.filter(|thing| is_it(thing) || self.is(Fault::IgnoresTheRevision));
            let mut state = self.state(thing);
            let skips = there.is_some()
                && [Fault::BlindToBreakdowns, Fault::IgnoresTheRevision].contains(&self.fault)
                || self.is(Fault::ReadyWithoutAnything);
            if state == "missing" && thing.is_none() && skips {
                state = "ready";
            }
            let (kind, name) = of(manifest);
            let reason = (state != "ready").then(|| format!("{kind} {name} is {state}"));
            let state = state.to_owned();
            let ports = self.ports_there(manifest, thing, &state);
            resources.push(Resource { kind, name, state, reason, endpoint: None, ports });
        }
        let any = |state: &str| resources.iter().find(|resource| resource.state == state)?.reason.clone();
        let health = match (any("missing"), any("failed"), any("progressing")) {
            (Some(reason), ..) => Health::Missing(reason),
            (_, Some(reason), _) => {
                self.has_failed.store(true, Ordering::Relaxed);
                Health::Failed(reason)
            }
            (.., Some(reason)) => Health::Progressing(reason),
            _ => Health::Ready,
        };
        Ok(Observed { health, resources })
    }

    async fn remove(&self, placement: &Placement) -> Result<Vec<String>, Error> {
        let mut world = self.lock();
        if self.is(Fault::RemovesOthers) {
            world.releases.retain(|release, _| *release == placement.release);
        }
        let mut there = world.releases.remove(&placement.release).unwrap_or_default();
        if self.is(Fault::ForgetsEarlierRuns) {
            there.retain(|_, thing| thing.run_by == self.opened);
        }
        let mut names: Vec<String> = there.keys().map(|(kind, name)| format!("{kind} {name}")).collect();
        if self.is(Fault::LeavesSomething) {
            world.releases.insert(placement.release, there.pop_first().into_iter().collect());
        }
        drop(world);
        if self.is(Fault::RemovesInSilence) {
            names.clear();
        }
        if self.is(Fault::ClaimsTooMuch) {
            names.push("Thing z".to_owned());
        }
        self.tell(placement.release);
        Ok(names)
    }

    async fn drift(&self, placement: &Placement, desired: &Desired) -> Result<Vec<Planned>, Error> {
        if self.is(Fault::BlindToDrift) {
            return Ok(Vec::new());
        }
        let plan = self.plan(placement, desired).await?;
        Ok(plan.into_iter().filter(|planned| planned.effect != Effect::Keep).collect())
    }

    fn changes(&self) -> broadcast::Receiver<Uuid> {
        self.changed.subscribe()
    }

    async fn stop(&self) {
        let mut world = self.lock();
        if self.is(Fault::RemovesByStopping) {
            world.releases.clear();
        }
        if self.is(Fault::StopsNothing) {
            return;
        }
        for thing in world.releases.values_mut().flat_map(BTreeMap::values_mut) {
            thing.run_by = STOPPED;
        }
    }
}

/// Where a twin hides what it forgets: where the things of a release are counted.
pub(super) fn hidden(release: Uuid) -> Uuid {
    Uuid::from_u128(!release.as_u128())
}
