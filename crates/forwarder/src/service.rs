//! What runs: a worker per endpoint, the delivery log's writer and its retention.

use std::sync::Arc;
use std::time::Duration;

use orderwire_worker::{TaskOptions, TaskWorker};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::endpoint::EndpointOptions;
use crate::forwarder::{Forward, Inner};
use crate::handler::Posts;
use crate::log::LogWriter;

/// The role of the worker of endpoints' queues.
pub(crate) const ROLE: &str = "forwarder";

/// A lease; extended while an endpoint takes its time. Short, because after a crash what
/// was leased waits for its end.
const LEASE: Duration = Duration::from_secs(15);
/// For what is little beside the post itself, and a busy machine.
const SLACK: Duration = Duration::from_secs(10);
/// Between two looks for what is past the retention.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// The most attempts that are dropped in one transaction.
const SWEEP_PIECE: usize = 1_000;

/// Takes from the queues of endpoints and posts.
pub struct Service {
    inner: Arc<Inner>,
    writer: LogWriter,
}

impl Service {
    pub(crate) fn new(inner: Arc<Inner>, writer: LogWriter) -> Self {
        Self { inner, writer }
    }

    /// Works until `shutdown` is ready; then nothing more is posted, what is under way
    /// ends, and the delivery log is written to its end. Returns before only when a part
    /// failed.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let (stop, end_log) = (CancellationToken::new(), CancellationToken::new());
        let mut tasks = JoinSet::new();
        for forward in self.inner.forwards.values() {
            tasks.spawn(work(Arc::clone(&self.inner), Arc::clone(forward), stop.clone()));
        }
        tasks.spawn(sweep(Arc::clone(&self.inner), stop.clone()));
        let mut writing = JoinSet::new();
        writing.spawn(self.writer.run(end_log.clone()));
        tokio::select! {
            () = shutdown => {}
            ended = tasks.join_next() => tracing::error!(?ended, "a part of the forwarder ended unasked"),
            ended = writing.join_next() => tracing::error!(?ended, "the delivery log's writer ended unasked"),
        }
        stop.cancel();
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a part of the forwarder ended badly");
            }
        }
        end_log.cancel();
        while let Some(ended) = writing.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "the delivery log's writer ended badly");
            }
        }
    }
}

async fn work(inner: Arc<Inner>, forward: Arc<Forward>, stop: CancellationToken) {
    let options = &forward.endpoint.options;
    let handler = Arc::new(Posts(Arc::clone(&forward)));
    let worker =
        TaskWorker::new(inner.queues.clone(), options.queue.clone(), ROLE, handler, task_options(options))
            .with_places(forward.breaker.places());
    let half_open = async {
        loop {
            forward.breaker.half_open().await;
            forward.show_breaker();
        }
    };
    tokio::select! {
        () = worker.run(stop.cancelled_owned()) => {}
        () = half_open => {}
    }
}

fn task_options(options: &EndpointOptions) -> TaskOptions {
    // Whoever waits for the rate waits for those before it at most.
    let for_rate = options.rate.map_or(Duration::ZERO, |rate| {
        let each = Duration::from_secs(1) / rate.get();
        each.saturating_mul(u32::try_from(options.concurrency).unwrap_or(u32::MAX))
    });
    TaskOptions {
        parallel: options.concurrency,
        batch: options.concurrency,
        lease: LEASE,
        handler_timeout: options.timeout + for_rate + SLACK,
        ..TaskOptions::default()
    }
}

/// Drops what is past the retention, a piece at a time.
async fn sweep(inner: Arc<Inner>, stop: CancellationToken) {
    loop {
        loop {
            let before = inner.clock.now().checked_sub(inner.log_for).unwrap_or(jiff::Timestamp::MIN);
            match inner.store.sweep_attempts(before, SWEEP_PIECE).await {
                Ok(swept) if swept >= SWEEP_PIECE as u64 && !stop.is_cancelled() => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(%error, "sweeping the delivery log; tried again in a minute");
                    break;
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(SWEEP_EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}
