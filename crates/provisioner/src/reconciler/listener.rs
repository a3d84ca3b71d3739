//! Hears what happens on targets and makes the releases due.

use futures::future::{join_all, try_join_all};
use orderwire_store::Error;
use orderwire_store::orders::ReleaseFilter;
use tokio::sync::broadcast::error::RecvError;
use uuid::Uuid;

use super::Shared;
use crate::target::Target;

/// How many releases are read at once.
pub(super) const PAGE: usize = 500;

pub(super) async fn run(shared: &Shared) {
    join_all(shared.parts.targets.iter().map(|(name, target)| listen(shared, name, target.as_ref()))).await;
}

async fn listen(shared: &Shared, name: &str, target: &dyn Target) {
    let mut changes = target.changes();
    loop {
        let heard = tokio::select! {
            heard = changes.recv() => heard,
            () = shared.stopping.cancelled() => return,
        };
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
    }
}

/// Makes every release of a target due, without touching anybody's lease.
pub(super) async fn touch_each(shared: &Shared, target: &str) -> Result<(), Error> {
    let store = &shared.parts.store;
    let filter = ReleaseFilter { target: Some(target.to_owned()), ..ReleaseFilter::default() };
    let mut after: Option<Uuid> = None;
    loop {
        let page = store.releases(&shared.scope, &filter, after, PAGE).await?;
        // At once, so that they share commits.
        try_join_all(page.iter().map(|release| store.touch(release.id, shared.now()))).await?;
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.id),
            _ => return Ok(()),
        }
    }
}
