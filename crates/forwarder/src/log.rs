//! The delivery log's writer: what was tried is noted without waiting, and written
//! together, a moment later.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use orderwire_store::DeliveryLog;
use orderwire_store::log::DeliveryAttempt;
use orderwire_types::Label;
use orderwire_worker::Pause;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How many attempts wait to be written; beyond it they are dropped and counted.
const WAITING_MAX: usize = 8_192;
/// The most attempts of one write.
const BATCH: usize = 512;
/// How long the first attempt of a write waits for others.
const TOGETHER: Duration = Duration::from_millis(100);

/// Where attempts are noted.
#[derive(Clone)]
pub(crate) struct Log {
    entries: mpsc::Sender<Entry>,
}

pub(crate) struct Entry {
    pub(crate) endpoint: Label,
    /// How many attempts of the endpoint are kept.
    pub(crate) keep: u64,
    pub(crate) attempt: DeliveryAttempt,
}

/// What writes them.
pub(crate) struct LogWriter {
    entries: mpsc::Receiver<Entry>,
    log: Arc<dyn DeliveryLog>,
}

pub(crate) fn open(log: Arc<dyn DeliveryLog>) -> (Log, LogWriter) {
    let (sender, entries) = mpsc::channel(WAITING_MAX);
    (Log { entries: sender }, LogWriter { entries, log })
}

impl Log {
    /// Notes an attempt, or drops it where too many wait: the log must not hold up what
    /// it tells of.
    pub(crate) fn note(&self, entry: Entry) {
        if let Err(error) = self.entries.try_send(entry) {
            dropped(&error.into_inner().endpoint, 1);
        }
    }
}

fn dropped(endpoint: &Label, count: usize) {
    metrics::counter!("orderwire_forward_log_dropped_total", "forward" => endpoint.to_string())
        .increment(count as u64);
}

impl LogWriter {
    /// Writes until `end`, then what is left.
    pub(crate) async fn run(mut self, end: CancellationToken) {
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                biased;
                received = self.entries.recv_many(&mut batch, BATCH) => if received == 0 {
                    // Nobody is there who could note anything: there are no endpoints.
                    return end.cancelled().await;
                },
                () = end.cancelled() => return,
            }
            if batch.len() < BATCH {
                tokio::select! {
                    () = tokio::time::sleep(TOGETHER) => {}
                    () = end.cancelled() => {}
                }
                while batch.len() < BATCH
                    && let Ok(entry) = self.entries.try_recv()
                {
                    batch.push(entry);
                }
            }
            self.write(batch.drain(..), &end).await;
        }
    }

    /// Writes attempts, each endpoint's together, again and again until it went through;
    /// at the end once.
    async fn write(&self, batch: impl Iterator<Item = Entry>, end: &CancellationToken) {
        let mut of_endpoints: HashMap<Label, (u64, Vec<DeliveryAttempt>)> = HashMap::new();
        for Entry { endpoint, keep, attempt } in batch {
            of_endpoints.entry(endpoint).or_insert_with(|| (keep, Vec::new())).1.push(attempt);
        }
        let mut failures = 0;
        loop {
            let mut failed = HashMap::new();
            let mut last = None;
            for (endpoint, (keep, attempts)) in of_endpoints {
                if let Err(error) = self.log.log_attempts(&endpoint, &attempts, keep).await {
                    last = Some(error);
                    failed.insert(endpoint, (keep, attempts));
                }
            }
            let Some(error) = last else { return };
            if failures == 0 {
                tracing::warn!(%error, "the delivery log cannot be written; deliveries go on");
            }
            failures += 1;
            of_endpoints = failed;
            let ended = tokio::select! {
                () = tokio::time::sleep(Pause::default().after(failures)) => false,
                () = end.cancelled() => true,
            };
            if ended || !error.is_retryable() {
                of_endpoints.iter().for_each(|(endpoint, (_, attempts))| dropped(endpoint, attempts.len()));
                return;
            }
        }
    }
}
