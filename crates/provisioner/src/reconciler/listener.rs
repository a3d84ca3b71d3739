//! Hears what happens on targets and makes the releases due: at the start all of them, because
//! nobody heard what happened before.

use futures::future::{join_all, try_join_all};
use orderwire_store::Error;
use orderwire_store::orders::ReleaseFilter;
use tokio::sync::broadcast::error::RecvError;
use uuid::Uuid;

use super::Shared;
use crate::target::Target;

/// So many are made due at once: they share a commit, and what somebody waits for comes between.
const AT_ONCE: usize = 32;

pub(super) async fn run(shared: &Shared) {
    join_all(shared.parts.targets.iter().map(|(name, target)| listen(shared, name, target.as_ref()))).await;
}

async fn listen(shared: &Shared, name: &str, target: &dyn Target) {
    let mut changes = target.changes();
    // As if much had been missed.
    let mut heard = Err(RecvError::Lagged(0));
    loop {
        let mut failures = 0;
        loop {
            let touched = match heard {
                Ok(release) => shared.parts.store.touch(release, shared.now()).await,
                Err(RecvError::Lagged(_)) => touch_each(shared, name).await,
                Err(RecvError::Closed) => return,
            };
            let Err(error) = touched else { break };
            failures += 1;
            tracing::warn!(target.name = name, error = %error, "noting a change on a target failed; it is tried again");
            if !shared.sleep(shared.options.pause.after(failures)).await {
                return;
            }
        }
        heard = tokio::select! {
            heard = changes.recv() => heard,
            () = shared.stopping.cancelled() => return,
        };
    }
}

/// Makes every release due that has something on the target, without touching anybody's lease.
/// Bit by bit, so that orders and rows need not wait until the last of many is due.
pub(super) async fn touch_each(shared: &Shared, target: &str) -> Result<(), Error> {
    let store = &shared.parts.store;
    let filter = ReleaseFilter { target: Some(target.to_owned()), ..ReleaseFilter::default() };
    let mut after: Option<Uuid> = None;
    loop {
        let page = store.releases(&shared.scope, &filter, after, AT_ONCE).await?;
        let there = page.iter().filter(|release| release.status.applied.is_some());
        try_join_all(there.map(|release| store.touch(release.id, shared.now()))).await?;
        match page.last() {
            Some(last) if page.len() == AT_ONCE && !shared.stopping.is_cancelled() => after = Some(last.id),
            _ => return Ok(()),
        }
    }
}
