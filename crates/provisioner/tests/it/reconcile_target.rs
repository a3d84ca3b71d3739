//! A target whose releases behave as their manifests say, and the other ports of
//! the provisioner, all of which remember what they were asked.

use std::collections::{BTreeMap, HashMap};
use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use orderwire_provisioner::target::{
    Desired, Error, Grant, Health, Manifest, Observed, Placement, Planned, Resource,
};
use orderwire_provisioner::{Publisher, ReleaseKeys, Target};
use orderwire_types::{Client, Event, Right};
use tokio::sync::{Semaphore, broadcast, watch};
use uuid::Uuid;

/// What runs of a release.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Copy {
    pub(crate) revision: u64,
    pub(crate) manifests: Vec<Manifest>,
    pub(crate) key: Option<String>,
}

/// Where a call of the target ends for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Before it did anything.
    Before(usize),
    /// When half of it was done.
    Half(usize),
    /// When all was done, before the caller learns of it.
    After(usize),
}

#[derive(Default)]
struct State {
    running: HashMap<Uuid, Vec<Copy>>,
    /// Releases that became healthy although their behaviour is `later`.
    healthy: Vec<Uuid>,
    /// Clients in the order in which their releases were applied.
    applied: Vec<(Client, Uuid)>,
    in_flight: HashMap<Uuid, usize>,
    copies_max: usize,
    in_flight_max: usize,
}

pub(crate) struct Scripted {
    state: Mutex<State>,
    changes: broadcast::Sender<Uuid>,
    /// Moves with every call.
    pub(crate) activity: watch::Sender<u64>,
    pub(crate) away: AtomicBool,
    calls: AtomicUsize,
    halves: Mutex<Vec<usize>>,
    cut: Mutex<Option<Cut>>,
    dead: watch::Sender<bool>,
    /// When set: observations are handed out only with a permit.
    pub(crate) gate: Mutex<Option<Arc<Semaphore>>>,
    /// Where the ports of all releases are.
    pub(crate) address: Mutex<Option<String>>,
}

impl Scripted {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::default(),
            changes: broadcast::Sender::new(64),
            activity: watch::Sender::new(0),
            away: AtomicBool::new(false),
            calls: AtomicUsize::new(0),
            halves: Mutex::default(),
            cut: Mutex::new(None),
            dead: watch::Sender::new(false),
            gate: Mutex::new(None),
            address: Mutex::new(None),
        }
    }

    pub(crate) fn cut_at(&self, cut: Cut) {
        *self.cut.lock().unwrap() = Some(cut);
    }

    /// How many calls there were that count for [`Cut`].
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    pub(crate) fn is_dead(&self) -> bool {
        *self.dead.borrow()
    }

    /// The numbers of the calls that have a half.
    pub(crate) fn halves(&self) -> Vec<usize> {
        self.halves.lock().unwrap().clone()
    }

    pub(crate) async fn died(&self) {
        self.dead.subscribe().wait_for(|dead| *dead).await.unwrap();
    }

    /// As after a restart of the process: calls of the former one are gone.
    pub(crate) fn revive(&self, vanish: bool) {
        self.dead.send_replace(false);
        *self.cut.lock().unwrap() = None;
        let mut state = self.state.lock().unwrap();
        state.in_flight.clear();
        if vanish {
            state.running.clear();
        }
    }

    pub(crate) fn running(&self, release: Uuid) -> Vec<Copy> {
        self.state.lock().unwrap().running.get(&release).cloned().unwrap_or_default()
    }

    pub(crate) fn all_running(&self) -> usize {
        self.state.lock().unwrap().running.values().map(Vec::len).sum()
    }

    pub(crate) fn vanish(&self, release: Uuid) {
        self.state.lock().unwrap().running.remove(&release);
    }

    /// Lets this run, whatever was applied.
    pub(crate) fn put(&self, release: Uuid, copies: Vec<Copy>) {
        self.state.lock().unwrap().running.insert(release, copies);
    }

    pub(crate) fn applied(&self) -> Vec<(Client, Uuid)> {
        self.state.lock().unwrap().applied.clone()
    }

    /// The most copies of one release and the most calls that there were at once.
    pub(crate) fn most(&self) -> (usize, usize) {
        let state = self.state.lock().unwrap();
        (state.copies_max, state.in_flight_max)
    }

    pub(crate) fn become_healthy(&self, release: Uuid) {
        self.state.lock().unwrap().healthy.push(release);
    }

    pub(crate) fn become_ill(&self, release: Uuid) {
        self.state.lock().unwrap().healthy.retain(|healthy| *healthy != release);
    }

    pub(crate) fn tell(&self, release: Uuid) {
        self.changes.send(release).expect("a reconciler listens");
    }

    fn act<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap();
        let done = act(&mut state);
        let copies = state.running.values().map(Vec::len).max().unwrap_or_default();
        state.copies_max = state.copies_max.max(copies);
        drop(state);
        self.activity.send_modify(|n| *n += 1);
        done
    }

    async fn die_if(&self, here: Cut) {
        if *self.dead.borrow() || *self.cut.lock().unwrap() == Some(here) {
            self.dead.send_replace(true);
            pending::<()>().await;
        }
    }

    async fn half(&self, call: usize) {
        self.halves.lock().unwrap().push(call);
        self.die_if(Cut::Half(call)).await;
    }

    /// One at a time for each release, and a number.
    fn enter(&self, release: Uuid) -> (usize, Entered<'_>) {
        self.act(|state| {
            let calls = state.in_flight.entry(release).or_default();
            *calls += 1;
            assert_eq!(*calls, 1, "two calls for release {release} at once");
            state.in_flight_max =
                state.in_flight_max.max(state.in_flight.values().filter(|n| **n > 0).count());
        });
        (self.calls.fetch_add(1, Ordering::SeqCst) + 1, Entered { target: self, release })
    }
}

/// A call of the target; dropped with it.
struct Entered<'t> {
    target: &'t Scripted,
    release: Uuid,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if let Ok(mut state) = self.target.state.lock() {
            state.in_flight.insert(self.release, 0);
        }
    }
}

fn behaviour(manifests: &[Manifest]) -> String {
    manifests[0].0["spec"]["behaviour"].as_str().unwrap().to_owned()
}

#[async_trait]
impl Target for Scripted {
    fn kind(&self) -> &'static str {
        "process"
    }

    fn check(&self, _: &[Manifest]) -> Vec<String> {
        Vec::new()
    }

    fn ports(&self, manifest: &Manifest) -> Vec<String> {
        manifest.0["spec"]["port"].as_str().map(str::to_owned).into_iter().collect()
    }

    async fn plan(&self, _: &Placement, _: &Desired) -> Result<Vec<Planned>, Error> {
        Ok(Vec::new())
    }

    async fn apply(&self, placement: &Placement, desired: &Desired, grant: &Grant) -> Result<(), Error> {
        let (call, _entered) = self.enter(placement.release);
        if self.away.load(Ordering::SeqCst) {
            return Err(Error::Unavailable("the target is away".to_owned()));
        }
        self.die_if(Cut::Before(call)).await;
        if behaviour(&desired.manifests) == "refused" {
            return Err(Error::Refused("the target does not want this".to_owned()));
        }
        let key = grant.values.iter().find(|(name, _)| name == "ORDERWIRE_API_KEY");
        let copy = Copy {
            revision: desired.revision,
            manifests: desired.manifests.clone(),
            key: key.map(|(_, text)| text.clone()),
        };
        let is_there = self.act(|state| {
            state.applied.push((placement.client.clone(), placement.release));
            let running = state.running.entry(placement.release).or_default();
            let is_there = *running == [copy.clone()];
            if !is_there {
                running.clear();
            }
            is_there
        });
        self.half(call).await;
        tokio::task::yield_now().await;
        if !is_there {
            self.act(|state| state.running.entry(placement.release).or_default().push(copy));
        }
        self.die_if(Cut::After(call)).await;
        Ok(())
    }

    async fn observe(&self, placement: &Placement, desired: &Desired) -> Result<Observed, Error> {
        let (call, _entered) = self.enter(placement.release);
        self.die_if(Cut::Before(call)).await;
        if self.away.load(Ordering::SeqCst) {
            return Err(Error::Unavailable("the target is away".to_owned()));
        }
        let (running, healthy, applied) = self.act(|state| {
            let running = state.running.get(&placement.release).cloned().unwrap_or_default();
            let applied = state.applied.iter().filter(|(_, release)| *release == placement.release).count();
            (running, state.healthy.contains(&placement.release), applied)
        });
        let health = match running.as_slice() {
            [copy] if copy.manifests == desired.manifests => match behaviour(&copy.manifests).as_str() {
                "ready" => Health::Ready,
                "later" | "once" if healthy => Health::Ready,
                "once" if applied == 1 => Health::Ready,
                "once" => Health::Failed("it exited 5 times".to_owned()),
                "fails" => Health::Failed("it exited 5 times".to_owned()),
                _ => Health::Progressing("it does not answer yet".to_owned()),
            },
            _ => Health::Missing("its process is gone".to_owned()),
        };
        let gate = self.gate.lock().unwrap().clone();
        if let Some(gate) = gate {
            gate.acquire().await.unwrap().forget();
        }
        self.die_if(Cut::After(call)).await;
        let state = if health == Health::Ready { "ready" } else { "progressing" };
        let resource = Resource {
            kind: "Process".to_owned(),
            name: "main".to_owned(),
            state: state.to_owned(),
            reason: None,
            endpoint: None,
            ports: self
                .ports(&desired.manifests[0])
                .into_iter()
                .zip(self.address.lock().unwrap().clone())
                .collect(),
        };
        Ok(Observed { health, resources: vec![resource] })
    }

    async fn remove(&self, placement: &Placement) -> Result<Vec<String>, Error> {
        let (call, _entered) = self.enter(placement.release);
        if self.away.load(Ordering::SeqCst) {
            return Err(Error::Unavailable("the target is away".to_owned()));
        }
        self.die_if(Cut::Before(call)).await;
        // It ends first, then the record of it is dropped.
        let removed = self.act(|state| state.running.get_mut(&placement.release).map(std::mem::take));
        self.half(call).await;
        self.act(|state| state.running.remove(&placement.release));
        self.die_if(Cut::After(call)).await;
        Ok(removed.unwrap_or_default().iter().map(|_| "Process main".to_owned()).collect())
    }

    async fn drift(&self, _: &Placement, _: &Desired) -> Result<Vec<Planned>, Error> {
        Ok(Vec::new())
    }

    fn changes(&self) -> broadcast::Receiver<Uuid> {
        self.changes.subscribe()
    }

    async fn stop(&self) {}
}

/// A key as it was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) client: Client,
    pub(crate) rights: Vec<Right>,
    pub(crate) objects: Vec<String>,
    pub(crate) revoked: bool,
}

#[derive(Default)]
pub(crate) struct KeyRing(Mutex<BTreeMap<String, Key>>);

impl KeyRing {
    pub(crate) fn all(&self) -> BTreeMap<String, Key> {
        self.0.lock().unwrap().clone()
    }

    /// The texts of the keys that work.
    pub(crate) fn live(&self) -> Vec<String> {
        let live = |(id, key): (String, Key)| (!key.revoked).then(|| format!("text-of-{id}"));
        self.all().into_iter().filter_map(live).collect()
    }
}

#[async_trait]
impl ReleaseKeys for KeyRing {
    async fn make(
        &self,
        id: &str,
        _: &str,
        client: &Client,
        rights: &[Right],
        objects: &[String],
    ) -> Result<String, String> {
        assert!(id.len() == 16 && id.chars().all(|c| c.is_ascii_hexdigit()), "{id} is no key id");
        let key = Key {
            client: client.clone(),
            rights: rights.to_vec(),
            objects: objects.to_vec(),
            revoked: false,
        };
        match self.0.lock().unwrap().insert(id.to_owned(), key) {
            None => Ok(format!("text-of-{id}")),
            Some(_) => Err(format!("key {id} is taken")),
        }
    }

    async fn revoke(&self, id: &str) -> Result<(), String> {
        if let Some(key) = self.0.lock().unwrap().get_mut(id) {
            key.revoked = true;
        }
        Ok(())
    }
}

#[derive(Default)]
pub(crate) struct Told {
    events: Mutex<Vec<Event>>,
    pub(crate) failing: AtomicBool,
    pub(crate) refused: AtomicUsize,
    pub(crate) activity: watch::Sender<u64>,
}

impl Told {
    pub(crate) fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }
}

#[async_trait]
impl Publisher for Told {
    async fn publish(&self, events: Vec<Event>) -> Result<(), String> {
        let failing = self.failing.load(Ordering::SeqCst);
        if failing {
            self.refused.fetch_add(1, Ordering::SeqCst);
        } else {
            self.events.lock().unwrap().extend(events);
        }
        self.activity.send_modify(|n| *n += 1);
        if failing { Err("the queue is full".to_owned()) } else { Ok(()) }
    }
}
