//! What one server of those that share a store does alone.

use std::pin::pin;
use std::sync::Arc;

use orderwire_store::Store;
use tokio_util::sync::CancellationToken;

/// Does the work while it is this server's turn, until `stop`. The work ends when its token
/// says so: when the turn is lost, too, and is begun anew when it is this server's again.
pub(crate) async fn in_turn<F: Future<Output = ()>>(
    store: Arc<dyn Store>,
    name: &str,
    stop: CancellationToken,
    mut work: impl FnMut(CancellationToken) -> F,
) {
    metrics::describe_gauge!("orderwire_turn", "Whether this server does what one of several does alone");
    let has = metrics::gauge!("orderwire_turn", "turn" => name.to_owned());
    has.set(0);
    loop {
        let mut turn = tokio::select! {
            turn = store.turn(name) => turn,
            () = stop.cancelled() => return,
        };
        has.set(1);
        let over = stop.child_token();
        let mut working = pin!(work(over.clone()));
        let is_lost = tokio::select! {
            () = &mut working => false,
            () = turn.lost() => {
                tracing::warn!(turn = name, "the store cannot be reached: another server may take this over");
                over.cancel();
                working.await;
                true
            }
        };
        has.set(0);
        if !is_lost || stop.is_cancelled() {
            return;
        }
    }
}
