//! What producers say caused their events: noted without waiting, and written together, a
//! moment later. The events are durable before, and no publisher waits for the store of links.
//! What does not fit, or cannot be written, is counted and told, never silently lost.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use orderwire_store::{Error, ErrorKind, Link, Store};
use orderwire_types::Event;
use tokio::sync::mpsc;

/// How many links wait to be written: two requests as large as they may be by default.
const WAITING_MAX: usize = 20_000;
/// The most links of one write.
const BATCH: usize = 512;
/// How long one write may take.
const WRITE_MAX: Duration = Duration::from_secs(10);
/// How long what is left may take at the end.
const END_MAX: Duration = Duration::from_secs(5);
/// The pause behind a write that failed; the longest, to which it doubles.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Where causes are noted.
#[derive(Clone, Debug)]
pub struct Causes {
    links: mpsc::Sender<Link>,
    dropped: Arc<Dropped>,
}

/// What writes them.
pub struct CauseWriter {
    links: mpsc::Receiver<Link>,
    dropped: Arc<Dropped>,
    store: Arc<dyn Store>,
}

/// How many were dropped, and how many of these were told.
#[derive(Debug, Default)]
struct Dropped {
    all: AtomicU64,
    told: AtomicU64,
}

impl Dropped {
    /// Counts them; whether all of those before were told.
    fn add(&self, count: usize) -> bool {
        let count = count as u64;
        metrics::counter!("orderwire_causes_dropped_total").increment(count);
        self.all.fetch_add(count, Ordering::SeqCst) == self.told.load(Ordering::SeqCst)
    }

    /// Tells of those that were dropped since it was told.
    fn tell(&self) {
        let all = self.all.load(Ordering::SeqCst);
        let before = self.told.swap(all, Ordering::SeqCst);
        if all > before {
            tracing::warn!(links = all - before, "what caused some events was not noted");
        }
    }
}

impl Causes {
    /// Where causes are noted, and what writes them to this store.
    pub fn open(store: Arc<dyn Store>) -> (Self, CauseWriter) {
        Self::with_room(store, WAITING_MAX)
    }

    fn with_room(store: Arc<dyn Store>, room: usize) -> (Self, CauseWriter) {
        let (sender, links) = mpsc::channel(room);
        let dropped = Arc::new(Dropped::default());
        (Self { links: sender, dropped: Arc::clone(&dropped) }, CauseWriter { links, dropped, store })
    }

    /// Notes what caused an event, if its producer says so.
    pub(crate) fn note(&self, link: Link) {
        // The first of many is told at once, the others once there is room again.
        if self.links.try_send(link).is_err() && self.dropped.add(1) {
            tracing::warn!("what caused some events is not noted: too many wait for the store");
        }
    }
}

/// The link of an event whose producer says what caused it.
pub(crate) fn link_of(event: &Event) -> Option<Link> {
    Some(Link {
        effect: event.id,
        effect_type: event.event_type.to_string(),
        client: event.client.clone(),
        trace: event.trace.id,
        cause: event.cause?,
        known: None,
        by: event.source.clone(),
        at: event.accepted_at,
    })
}

impl CauseWriter {
    /// Writes until `end`, then what is left, for a moment.
    pub async fn run(mut self, end: impl Future<Output = ()> + Send) {
        let mut end = pin!(end);
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                biased;
                () = &mut end => break,
                received = self.links.recv_many(&mut batch, BATCH) => if received == 0 {
                    // Nobody is there who could note anything.
                    return end.await;
                },
            }
            // What is not written by the end goes with the rest.
            tokio::select! {
                biased;
                () = &mut end => break,
                () = self.write_all(&mut batch) => {}
            }
        }
        self.links.close();
        let rest = async {
            while !batch.is_empty() || self.links.recv_many(&mut batch, BATCH).await > 0 {
                self.write_all(&mut batch).await;
            }
        };
        if tokio::time::timeout(END_MAX, rest).await.is_err() {
            let mut left = batch.len();
            while self.links.try_recv().is_ok() {
                left += 1;
            }
            self.dropped.add(left);
        }
        self.dropped.tell();
    }

    /// Writes a batch, again and again until the store takes it; then it is empty.
    async fn write_all(&self, batch: &mut Vec<Link>) {
        let mut pause = PAUSE;
        loop {
            let written = match self.write(batch).await {
                Err(error) if !error.is_retryable() => self.write_each(batch).await,
                written => written,
            };
            let Err(error) = written else { break };
            if pause == PAUSE {
                tracing::warn!(%error, links = batch.len(), "what caused some events waits for the store");
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        batch.clear();
        self.dropped.tell();
    }

    /// One of a batch is in the way of the others: each goes alone, and those that the store will
    /// never take are dropped. What is left in the batch is to be tried again.
    async fn write_each(&self, batch: &mut Vec<Link>) -> Result<(), Error> {
        while let Some(link) = batch.last() {
            match self.write(std::slice::from_ref(link)).await {
                Err(error) if !error.is_retryable() => {
                    tracing::warn!(%error, event.id = %link.effect, "what caused an event cannot be noted");
                    self.dropped.add(1);
                }
                written => written?,
            }
            batch.pop();
        }
        Ok(())
    }

    async fn write(&self, links: &[Link]) -> Result<(), Error> {
        let written = tokio::time::timeout(WRITE_MAX, self.store.add_links(links)).await;
        let silent = |_| Error::new(ErrorKind::Unavailable, "the store did not answer in time");
        written.map_err(silent).flatten()
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use jiff::Timestamp;
    use orderwire_sqlite::DataDir;
    use orderwire_sqlite::store::SqliteStore;
    use orderwire_store::testkit::forward::*;
    use orderwire_types::{EventId, Scope};
    use tokio::sync::{oneshot, watch};
    use uuid::Uuid;

    use super::*;

    /// A store that answers no write of links while it hangs, refuses one of them for good, and is
    /// away for some writes of a single one.
    struct Hanging {
        store: Arc<dyn Store>,
        hangs: watch::Receiver<bool>,
        away: AtomicU64,
    }

    impl Forward for Hanging {
        fn inner(&self) -> &dyn Store {
            self.store.as_ref()
        }
    }

    #[async_trait]
    impl ForwardTraces for Hanging {
        async fn add_links(&self, links: &[Link]) -> Result<(), Error> {
            self.hangs.clone().wait_for(|hangs| !hangs).await.unwrap();
            if links.iter().any(|link| link.by == "/wrong") {
                return Err(Error::new(ErrorKind::Invalid, "no such link"));
            }
            let less = |left: u64| left.checked_sub(1);
            if links.len() == 1 && self.away.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
                return Err(Error::new(ErrorKind::Unavailable, "away"));
            }
            self.store.add_links(links).await
        }
    }

    impl ForwardDatasets for Hanging {}
    impl ForwardClients for Hanging {}
    impl ForwardKeys for Hanging {}
    impl ForwardOrders for Hanging {}
    impl ForwardDeliveryLog for Hanging {}
    impl ForwardTurns for Hanging {}

    struct Site {
        store: Arc<dyn Store>,
        hangs: watch::Sender<bool>,
        causes: Causes,
        end: Option<oneshot::Sender<()>>,
        writing: tokio::task::JoinHandle<()>,
        _folder: tempfile::TempDir,
    }

    fn start(room: usize) -> Site {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::open(folder.path()).unwrap();
        let options = orderwire_sqlite::store::Options::default();
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&dir, options).unwrap());
        let (hangs, receiver) = watch::channel(true);
        let hanging = Hanging { store: store.clone(), hangs: receiver, away: AtomicU64::new(2) };
        let (causes, writer) = Causes::with_room(Arc::new(hanging), room);
        let (end, ended) = oneshot::channel();
        let writing = tokio::spawn(writer.run(async {
            let _ = ended.await;
        }));
        Site { store, hangs, causes, end: Some(end), writing, _folder: folder }
    }

    impl Site {
        fn note(&self, n: u128, by: &str) {
            self.causes.note(Link {
                effect: EventId(Uuid::from_u128(n)),
                effect_type: "a.b".to_owned(),
                client: "acme".parse().unwrap(),
                trace: Uuid::from_u128(1),
                cause: EventId(Uuid::from_u128(1_000_000)),
                known: None,
                by: by.to_owned(),
                at: Timestamp::UNIX_EPOCH,
            });
        }

        fn dropped(&self) -> u64 {
            self.causes.dropped.all.load(Ordering::SeqCst)
        }

        /// Ends the writer; how many links are there then.
        async fn ended(&mut self) -> usize {
            drop(self.end.take());
            (&mut self.writing).await.unwrap();
            let cause = [Uuid::from_u128(1_000_000)];
            self.store.lineage(&Scope::internal("test"), &cause, 1_000).await.unwrap().links.len()
        }
    }

    #[tokio::test]
    async fn what_waits_is_bounded_and_what_does_not_fit_is_counted() {
        let mut site = start(10);
        // Not yet taken by the writer, which runs when this waits.
        (0..25).for_each(|n| site.note(n, "/a"));
        assert_eq!(site.dropped(), 15);
        site.hangs.send_replace(false);
        assert_eq!(site.ended().await, 10);
        assert_eq!(site.dropped(), 15);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_store_that_hangs_did_not_take_is_written_once_it_answers() {
        let mut site = start(1_000);
        (0..600).for_each(|n| site.note(n, "/a"));
        // Longer than any write may take: it is tried again.
        tokio::time::sleep(WRITE_MAX * 3).await; // tidy: sleep because time is paused
        // The store works in real time.
        tokio::time::resume();
        site.hangs.send_replace(false);
        assert_eq!(site.ended().await, 600);
        assert_eq!(site.dropped(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_store_does_not_take_before_the_end_is_counted() {
        let mut site = start(1_000);
        (0..600).for_each(|n| site.note(n, "/a"));
        assert_eq!(site.ended().await, 0);
        assert_eq!(site.dropped(), 600);
    }

    #[tokio::test]
    async fn a_link_that_is_never_taken_is_counted_and_stops_no_other() {
        let mut site = start(1_000);
        site.hangs.send_replace(false);
        (0..9).for_each(|n| site.note(n, if n == 4 { "/wrong" } else { "/a" }));
        assert_eq!(site.ended().await, 8);
        assert_eq!(site.dropped(), 1);
    }
}
