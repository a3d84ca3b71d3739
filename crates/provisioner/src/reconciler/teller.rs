//! Tells the changes of orders to others, in their order, at least once each
//! under a name that makes a repetition known. It waits only for a publisher that is
//! away: a queue that is full does not get them.

use orderwire_store::orders::StateChange;

use super::Shared;
use crate::event::{client_event, state_event};

/// The most changes of one batch.
pub(super) const BATCH: usize = 256;

pub(super) async fn run(shared: &Shared) {
    let mut changes = shared.parts.store.changes();
    let mut failures = 0;
    loop {
        // Seen before the look, so that a change after it wakes us.
        changes.borrow_and_update();
        match tell(shared).await {
            Ok(0) => failures = 0,
            Ok(_) => {
                failures = 0;
                if !shared.stopping.is_cancelled() {
                    continue;
                }
            }
            Err(reason) => {
                failures += 1;
                tracing::warn!(reason, failures, "telling changes of orders failed; it is tried again");
                if !shared.sleep(shared.options.pause.after(failures)).await {
                    return;
                }
                continue;
            }
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = shared.stopping.cancelled() => return,
        }
    }
}

/// Tells one batch; how many changes it had.
async fn tell(shared: &Shared) -> Result<usize, String> {
    let store = &shared.parts.store;
    let untold = store.untold(BATCH).await.map_err(|error| error.to_string())?;
    #[expect(clippy::cast_precision_loss, reason = "at most one batch")]
    metrics::gauge!("orderwire_order_changes_untold").set(untold.len() as f64);
    let Some(last) = untold.last().map(|change| change.seq) else { return Ok(0) };
    let events = untold.iter().flat_map(events_of).collect();
    let published = shared.parts.publisher.publish(events);
    shared.within(published).await.unwrap_or_else(|| Err("publishing took too long".to_owned()))?;
    store.told(last).await.map_err(|error| error.to_string())?;
    Ok(untold.len())
}

/// The first change of an order also tells of its client.
fn events_of(change: &StateChange) -> impl Iterator<Item = orderwire_types::Event> {
    let client = (change.n == 1).then(|| client_event(&change.order));
    client.into_iter().chain([state_event(change)])
}
