//! Releases on targets that are not configured (any more): nothing can be done with
//! them, and they say so. A target that is configured again goes on with them.
//!
//! Which targets these are is known at the start: a new release is only made on a
//! target that is configured.

use std::collections::BTreeMap;

use orderwire_store::Error;
use orderwire_store::orders::{Advance, ReleaseFilter};
use orderwire_types::{OrderState, ReleaseState};
use uuid::Uuid;

use super::Shared;
use super::change::Build;
use super::listener;
use super::work::{Flow, Stop, Work};

/// How many releases are read at once.
const PAGE: usize = 500;

/// Finds the targets and makes their releases due.
pub(super) async fn run(shared: &Shared) {
    // Others may have a target that is not configured here.
    if !shared.options.sole {
        return;
    }
    let mut failures = 0;
    while let Err(error) = find(shared).await {
        failures += 1;
        tracing::warn!(error = %error, failures, "looking for targets that are gone failed; it is tried again");
        if !shared.sleep(shared.options.pause.after(failures)).await {
            return;
        }
    }
}

async fn find(shared: &Shared) -> Result<(), Error> {
    let store = &shared.parts.store;
    let mut gone: BTreeMap<String, u64> = BTreeMap::new();
    let mut after: Option<Uuid> = None;
    loop {
        let page = store.releases(&shared.scope, &ReleaseFilter::default(), after, PAGE).await?;
        for release in page.iter().filter(|release| !shared.parts.targets.contains_key(&release.target)) {
            *gone.entry(release.target.clone()).or_default() += 1;
        }
        match page.last() {
            Some(last) if page.len() == PAGE && !shared.stopping.is_cancelled() => after = Some(last.id),
            _ => break,
        }
    }
    for (target, releases) in &gone {
        tracing::warn!(target.name = target, releases, "{}; its releases are left alone", sentence(target));
    }
    let targets: Vec<String> = gone.into_keys().collect();
    let targets = shared.stranded.get_or_init(|| targets);
    store.take_over(targets, shared.now()).await?;
    for target in targets {
        listener::touch_each(shared, target).await?;
    }
    Ok(())
}

impl Work {
    /// Whether the target of the release is not configured.
    pub(super) fn is_stranded(&self) -> bool {
        !self.shared.parts.targets.contains_key(&self.release.target)
    }

    /// The order waits, or ends when somebody cancelled it; the release says why. Only
    /// another configuration, and with it another start, changes anything.
    pub(super) async fn strand(&mut self) -> Result<Flow, Stop> {
        let why = sentence(&self.release.target);
        let Some(order) = &self.order else { return self.strand_release(why).await };
        if order.cancel {
            let reason = format!("cancelled; {why}: what is on it was left as it is");
            let advance = Advance::default()
                .state(OrderState::Cancelled, Some(reason.clone()))
                .begun("cancel")
                .done("cancel")
                .step(self.step("cancelled", "ok", Some(reason)));
            self.advance(advance).await?;
            return Ok(Flow::Due(Some(self.shared.now())));
        }
        let waiting = Some(format!("waiting: {why}; configure it again, or cancel the order"));
        if order.reason != waiting {
            let state = order.state;
            self.advance(Advance::default().state(state, waiting)).await?;
        }
        Ok(Flow::Due(None))
    }

    async fn strand_release(&mut self, why: String) -> Result<Flow, Stop> {
        let status = match self.release.status.state {
            ReleaseState::Ready | ReleaseState::Degraded | ReleaseState::Changing
                if self.release.status.applied.is_some() =>
            {
                self.status(ReleaseState::Degraded, Some(format!("{why}; configure it again")))
            }
            _ => self.untouched(&why),
        };
        if status != self.release.status {
            self.advance(Advance::default().status(status)).await?;
        }
        Ok(Flow::Due(None))
    }
}

fn sentence(target: &str) -> String {
    format!("target {target} is not configured on this server")
}
