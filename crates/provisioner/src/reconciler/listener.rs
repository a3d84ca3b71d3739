//! Hears what happens on targets and makes the releases due: at the start all of them, because
//! nobody heard what happened before.

use futures::future::{join, join_all, try_join_all};
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
    let hear = async {
        loop {
            let heard = tokio::select! {
                heard = changes.recv() => heard,
                () = shared.stopping.cancelled() => return,
            };
            match heard {
                Ok(release) => make_due(shared, name, Some(release)).await,
                Err(RecvError::Lagged(_)) => make_due(shared, name, None).await,
                Err(RecvError::Closed) => return,
            }
        }
    };
    // Beside each other: an order may wait for what is told meanwhile.
    join(hear, make_due(shared, name, None)).await;
}

/// Makes a release due, or all of a target, and tries until it is done.
async fn make_due(shared: &Shared, target: &str, release: Option<Uuid>) {
    let mut failures = 0;
    loop {
        let touched = match release {
            Some(release) => shared.parts.store.touch(release, shared.now()).await,
            None => touch_each(shared, target).await,
        };
        let Err(error) = touched else { return };
        failures += 1;
        tracing::warn!(target.name = target, error = %error, "noting a change on a target failed; it is tried again");
        if !shared.sleep(shared.options.pause.after(failures)).await {
            return;
        }
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
