//! Claims releases that are due, as many at once as each target bears.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use orderwire_store::Error;
use orderwire_store::orders::Claimed;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use uuid::Uuid;

use super::work::Work;
use super::{Shared, later};

/// What is due but was claimed by somebody else in the same moment is looked at
/// again after this time.
const RACE: Duration = Duration::from_millis(10);

pub(super) async fn run(shared: &Arc<Shared>) {
    if !begin(shared).await {
        return;
    }
    let mut slots = Slots {
        shared,
        running: JoinSet::new(),
        releases: HashMap::new(),
        held: HashMap::new(),
        used: BTreeMap::new(),
    };
    let mut changes = shared.parts.store.changes();
    let mut failures = 0;
    while !shared.stopping.is_cancelled() {
        // Seen before the look, so that a change after it wakes us.
        changes.borrow_and_update();
        let wake = match slots.fill().await {
            Ok(due) => {
                failures = 0;
                due
            }
            Err(error) => {
                failures += 1;
                tracing::warn!(error = %error, failures, "claiming releases failed; it is tried again");
                // Changes do not shorten the pause.
                if !shared.sleep(shared.options.pause.after(failures)).await {
                    break;
                }
                continue;
            }
        };
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { break },
            () = shared.parts.clock.sleep_until(wake.unwrap_or(Timestamp::MAX)), if wake.is_some() => {}
            Some(ended) = slots.running.join_next_with_id(), if !slots.running.is_empty() => slots.free(ended),
            () = shared.stopping.cancelled() => break,
        }
    }
    slots.drain().await;
}

/// Ends the leases of a former process. Some releases may be gone over already to see what
/// changed meanwhile ([`super::listener`]): these stay due.
async fn begin(shared: &Shared) -> bool {
    if !shared.options.sole {
        return true;
    }
    let targets: Vec<String> = shared.parts.targets.keys().cloned().collect();
    let mut failures = 0;
    while let Err(error) = shared.parts.store.take_over(&targets, shared.now()).await {
        failures += 1;
        tracing::warn!(error = %error, failures, "looking for unfinished work failed; it is tried again");
        if !shared.sleep(shared.options.pause.after(failures)).await {
            return false;
        }
    }
    true
}

/// What came of a look at a target.
enum Filled {
    Claimed,
    /// Nothing is to be claimed before this moment, or a change.
    NothingUntil(Option<Timestamp>),
}

struct Slots<'a> {
    shared: &'a Arc<Shared>,
    running: JoinSet<()>,
    /// The release of each running task and its target.
    releases: HashMap<Id, (Uuid, String)>,
    /// The running task of each release.
    held: HashMap<Uuid, AbortHandle>,
    /// How many slots of each target are taken.
    used: BTreeMap<String, u32>,
}

impl Slots<'_> {
    /// Claims what is due until nothing is or no slot is free; when to look again.
    async fn fill(&mut self) -> Result<Option<Timestamp>, Error> {
        loop {
            while let Some(ended) = self.running.try_join_next_with_id() {
                self.free(ended);
            }
            if self.shared.stopping.is_cancelled() {
                return Ok(None);
            }
            let mut next = None;
            let mut claimed = false;
            for (target, free) in self.free_slots() {
                match self.fill_target(&target, free).await? {
                    Filled::Claimed => claimed = true,
                    Filled::NothingUntil(due) => next = next.into_iter().chain(due).min(),
                }
            }
            if !claimed {
                return Ok(next);
            }
        }
    }

    async fn fill_target(&mut self, target: &str, free: usize) -> Result<Filled, Error> {
        let store = &self.shared.parts.store;
        let now = self.shared.now();
        match store.next_due(target, now).await? {
            Some(due) if due <= now => {}
            due => return Ok(Filled::NothingUntil(due)),
        }
        let claimed = store.claim(target, free, now, later(now, self.shared.options.lease)).await?;
        if claimed.is_empty() {
            return Ok(Filled::NothingUntil(Some(later(now, RACE))));
        }
        for claimed in claimed {
            self.end_former(claimed.release.id).await;
            self.spawn(claimed);
        }
        Ok(Filled::Claimed)
    }

    /// The targets that have free slots, and how many.
    fn free_slots(&self) -> Vec<(String, usize)> {
        let parts = &self.shared.parts;
        let free = |name: &String| {
            let bound = parts.target_settings.get(name).map_or(1, |own| own.concurrency);
            let free = bound.saturating_sub(self.used.get(name).copied().unwrap_or_default());
            (free > 0).then(|| (name.clone(), free as usize))
        };
        let stranded = self.shared.stranded.get().into_iter().flatten();
        parts.targets.keys().chain(stranded).filter_map(free).collect()
    }

    /// A release that is claimed while it is worked on here: its former lease ran out
    /// unnoticed, as when the machine slept. What is in flight ends first.
    async fn end_former(&mut self, release: Uuid) {
        let Some(former) = self.held.get(&release).cloned() else { return };
        former.abort();
        while self.held.contains_key(&release) {
            let Some(ended) = self.running.join_next_with_id().await else { return };
            self.free(ended);
        }
    }

    fn spawn(&mut self, claimed: Claimed) {
        let (release, target) = (claimed.release.id, claimed.release.target.clone());
        let work = Work::new(Arc::clone(self.shared), claimed);
        let task = self.running.spawn(work.run());
        let used = self.used.entry(target.clone()).or_default();
        *used += 1;
        metrics::gauge!("orderwire_releases_in_work", "target" => target.clone()).set(*used);
        self.releases.insert(task.id(), (release, target));
        self.held.insert(release, task);
    }

    fn free(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) if error.is_cancelled() => {
                metrics::counter!("orderwire_leases_lost_total").increment(1);
                tracing::warn!("the lease of a release ran out unnoticed; the work on it begins anew");
                error.id()
            }
            Err(error) => {
                // Its lease runs out, then it is tried again.
                tracing::error!(error = %error, "the work on a release ended unexpectedly; it is tried again");
                error.id()
            }
        };
        let Some((release, target)) = self.releases.remove(&id) else { return };
        self.held.remove(&release);
        let used = self.used.entry(target.clone()).or_default();
        *used = used.saturating_sub(1);
        metrics::gauge!("orderwire_releases_in_work", "target" => target).set(*used);
    }

    /// Lets the steps in hand end.
    async fn drain(mut self) {
        let ended = async { while self.running.join_next().await.is_some() {} };
        if tokio::time::timeout(self.shared.options.drain, ended).await.is_err() {
            tracing::warn!(
                releases = self.running.len(),
                "work in hand did not end in time and was cut short; it goes on at the next start"
            );
            self.running.shutdown().await;
        }
    }
}
