//! Forgets what finished long ago.

use std::time::Duration;

use jiff::Timestamp;
use orderwire_store::Error;

use super::{Shared, teller};

/// The most orders, releases and revisions of one piece of a sweep: it shares the
/// store's writer with everybody.
const LIMIT: usize = 1_000;

pub(super) async fn run(shared: &Shared) {
    while shared.sleep(shared.options.sweep).await {
        if let Err(error) = sweep(shared).await {
            tracing::warn!(error = %error, "sweeping finished orders failed; it is tried again");
        }
    }
}

/// Sweeps piece by piece, until one is not full.
async fn sweep(shared: &Shared) -> Result<(), Error> {
    let (store, options) = (&shared.parts.store, &shared.options);
    let before = shared.now().checked_sub(options.retention).unwrap_or(Timestamp::MIN);
    loop {
        say_given_up(shared, options.untold_for).await?;
        let swept = store.sweep_orders(before, options.revisions, options.untold_for, LIMIT).await?;
        if swept < LIMIT as u64 || shared.stopping.is_cancelled() {
            return Ok(());
        }
    }
}

/// Says that the sweep drops changes that could not be told.
async fn say_given_up(shared: &Shared, untold_for: Duration) -> Result<(), Error> {
    // By the same clock as the store's.
    let Ok(before) = Timestamp::now().checked_sub(untold_for) else { return Ok(()) };
    let untold = shared.parts.store.untold(teller::BATCH).await?;
    let changes = untold.iter().filter(|change| change.order.updated_at <= before).count();
    if changes > 0 {
        metrics::counter!("orderwire_order_changes_given_up_total").increment(changes as u64);
        tracing::warn!(
            changes,
            "changes of orders could not be told for too long and are given up; their orders say the same"
        );
    }
    Ok(())
}
