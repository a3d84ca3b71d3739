//! Forgets what finished long ago.

use super::Shared;

/// The most orders, releases and revisions of one sweep: it shares the store's
/// writer with everybody.
const LIMIT: usize = 1_000;

pub(super) async fn run(shared: &Shared) {
    while shared.sleep(shared.options.sweep).await {
        let options = &shared.options;
        let before = shared.now().checked_sub(options.retention).unwrap_or(jiff::Timestamp::MIN);
        let swept =
            shared.parts.store.sweep_orders(before, options.revisions, options.untold_for, LIMIT).await;
        if let Err(error) = swept {
            tracing::warn!(error = %error, "sweeping finished orders failed; it is tried again");
        }
    }
}
