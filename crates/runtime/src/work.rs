//! The workers of a server, and what it does by the clock.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use orderwire_config::Retention;
use orderwire_provisioner::targets::process::STOP_MARGIN;
use orderwire_provisioner::{OrderEvents, Provisioner, Reconciler, ReconcilerOptions};
use orderwire_queue::{Clock, Queues};
use orderwire_store::{Store, Sweep};
use orderwire_telemetry::{Metrics, UPKEEP_EVERY};
use orderwire_types::QueueName;
use orderwire_types::dataset::Span;
use orderwire_worker::{DirectHandler, StreamOptions, StreamWorker, TaskHandler, TaskOptions, TaskWorker};
use tokio_util::sync::CancellationToken;

use crate::stage::Stage;
use crate::transport::Transport;
use crate::turn::in_turn;

/// The stream of rows, and the name of its reader in the store.
pub(crate) const DATA: &str = "data";

/// The turn of whoever records what waits in the stream of rows.
const RECORDER_TURN: &str = "rows";

/// The turn of whoever works on orders.
const ORDERS_TURN: &str = "orders";

/// For what is little, and a busy machine.
const SLACK: Duration = Duration::from_secs(5);

/// Starts the workers of the queues that are always there; the handlers of streams.
pub(crate) fn start_workers(
    stage: &mut Stage,
    queues: &Queues,
    store: &Arc<dyn Store>,
    provisioner: &Provisioner,
    clock: &Clock,
    transport: Option<&Transport>,
) -> HashMap<QueueName, Arc<dyn DirectHandler>> {
    let data: QueueName = DATA.parse().expect("a queue name");
    let direct = transport.is_some_and(|transport| transport.is_direct(&data));
    let rows = Arc::new(orderwire_recorder::Rows::new(store.clone(), &data, clock.clone(), direct));
    let recorder = {
        let (queues, data, rows) = (queues.clone(), data.clone(), rows.clone());
        in_turn(store.clone(), RECORDER_TURN, stage.stop.clone(), move |stop| {
            StreamWorker::new(queues.clone(), data.clone(), rows.clone(), StreamOptions::default())
                .run(stop.cancelled_owned())
        })
    };
    stage.spawn("the recorder of rows", recorder);

    let changes = Arc::new(orderwire_recorder::ClientChanges::new(store.clone(), clock.clone()));
    start_task(stage, queues, ("clients", "recorder"), "the recorder of clients", changes, transport);
    let orders = Arc::new(OrderEvents::new(provisioner.clone()));
    start_task(stage, queues, ("infra", "provisioner"), "the provisioner of events", orders, transport);
    if let Some(transport) = transport {
        transport.start_relays(stage, queues);
    }
    HashMap::from([(data, rows as Arc<dyn DirectHandler>)])
}

/// Starts the worker of a task queue; where the queue is native, what it handled goes on to
/// the broker.
pub(crate) fn start_task<H: TaskHandler>(
    stage: &mut Stage,
    queues: &Queues,
    (queue, role): (&str, &'static str),
    name: &'static str,
    handler: Arc<H>,
    transport: Option<&Transport>,
) {
    let stop = stage.stop.clone().cancelled_owned();
    let (queues, options) = (queues.clone(), TaskOptions::default());
    let relay = transport.and_then(|transport| transport.relay(queue, Some(handler.clone())));
    let queue = queue.parse().expect("a queue name");
    match relay {
        Some(relay) => {
            stage.spawn(name, TaskWorker::new(queues, queue, role, Arc::new(relay), options).run(stop));
        }
        None => stage.spawn(name, TaskWorker::new(queues, queue, role, handler, options).run(stop)),
    }
}

/// Works on orders; at the end what they run is stopped, too. Of servers that share a store one
/// does, because releases run on its machine.
pub(crate) fn start_orders(
    store: Arc<dyn Store>,
    provisioner: Provisioner,
    options: ReconcilerOptions,
    patience: Duration,
) -> Stage {
    let mut stage = Stage::new("the reconciler of orders", patience);
    let working = in_turn(store, ORDERS_TURN, stage.stop.clone(), move |stop| {
        let reconciler = Reconciler::new(provisioner.clone(), options);
        let targets = provisioner.targets().clone();
        async move {
            reconciler.run(stop.cancelled_owned()).await;
            futures::future::join_all(targets.values().map(|target| target.stop())).await;
        }
    });
    stage.spawn("the reconciler of orders", working);
    stage
}

/// How long the reconciler may take to stop: the work in hand first, then what runs, all
/// targets at once.
pub(crate) fn orders_patience(drain: Duration, graces: impl Iterator<Item = Duration>) -> Duration {
    drain + graces.max().unwrap_or_default() + STOP_MARGIN + SLACK
}

pub(crate) async fn keep_up(metrics: Metrics, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(UPKEEP_EVERY) => metrics.upkeep(),
            () = stop.cancelled() => return,
        }
    }
}

/// Drops what is past its retention, a piece at a time, every minute.
pub(crate) async fn sweep(
    store: Arc<dyn Store>,
    retention: Retention,
    clock: Clock,
    stop: CancellationToken,
) {
    const EVERY: Duration = Duration::from_secs(60);
    const PIECE: usize = 1_000;
    loop {
        // At once after a start: a server that is restarted often sweeps, too.
        loop {
            let now = clock.now();
            let before = |span: Span| now - jiff::SignedDuration::from(span);
            let sweep = Sweep {
                now,
                traces_before: before(retention.traces),
                remembered_before: before(retention.idempotency),
                limit: PIECE,
            };
            match store.sweep(sweep).await {
                Ok(swept) if swept >= PIECE as u64 && !stop.is_cancelled() => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(%error, "sweeping the store; tried again in a minute");
                    break;
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_waits_for_the_longest_grace_of_all_targets() {
        let seconds = Duration::from_secs;
        let patience = orders_patience(seconds(15), [seconds(5), seconds(300), seconds(0)].into_iter());
        assert_eq!(patience, seconds(15 + 300) + STOP_MARGIN + SLACK);
        assert_eq!(orders_patience(seconds(15), std::iter::empty()), seconds(15) + STOP_MARGIN + SLACK);
    }
}
