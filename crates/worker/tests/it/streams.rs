use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::future::BoxFuture;
use orderwire_queue::Position;
use orderwire_types::Event;
use orderwire_worker::{BatchError, StreamEntry, StreamHandler, StreamOptions, StreamWorker};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::line::{Line, Running, SECOND, rows};

/// What happens to a batch instead of its being applied.
type Trouble = dyn Fn(Vec<String>) -> BoxFuture<'static, Result<(), BatchError>> + Send + Sync;

/// A store that keeps its position with its effect, as a transaction would.
struct Ledger {
    state: watch::Sender<State>,
    /// Calls for the position that fail from now on.
    away: Arc<AtomicUsize>,
    before: Box<Trouble>,
    after: Box<Trouble>,
}

#[derive(Clone, Default)]
struct State {
    position: Position,
    applied: Vec<String>,
    batches: Vec<usize>,
    skipped: usize,
}

#[async_trait]
impl StreamHandler for Ledger {
    async fn position(&self) -> Result<Position, BatchError> {
        let fails = |left: usize| left.checked_sub(1);
        match self.away.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fails) {
            Ok(_) => Err(BatchError::retryable("the store is away")),
            Err(_) => Ok(self.state.borrow().position),
        }
    }

    async fn handle(&self, batch: &[StreamEntry], from: Position) -> Result<(), BatchError> {
        let labels: Vec<String> = batch.iter().map(|entry| entry.event.source.clone()).collect();
        (self.before)(labels.clone()).await?;
        self.state.send_modify(|state| {
            assert_eq!(state.position, from, "the position that the batch follows");
            state.position = batch[batch.len() - 1].position;
            state.applied.extend(labels.clone());
            state.batches.push(labels.len());
        });
        (self.after)(labels).await
    }

    async fn skip(&self, position: Position) -> Result<(), BatchError> {
        self.state.send_modify(|state| {
            state.position = position;
            state.skipped += 1;
        });
        Ok(())
    }
}

impl Ledger {
    fn new() -> Self {
        let fine = || -> Box<Trouble> { Box::new(|_| Box::pin(async { Ok(()) })) };
        Self { state: watch::Sender::default(), away: Arc::default(), before: fine(), after: fine() }
    }

    fn before<F>(mut self, trouble: impl Fn(Vec<String>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), BatchError>> + Send + 'static,
    {
        self.before = Box::new(move |labels| Box::pin(trouble(labels)));
        self
    }

    fn after<F>(mut self, trouble: impl Fn(Vec<String>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), BatchError>> + Send + 'static,
    {
        self.after = Box::new(move |labels| Box::pin(trouble(labels)));
        self
    }

    fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Returns when so many entries were applied or skipped.
    async fn until(&self, count: usize) {
        let mut state = self.state.subscribe();
        let there = state.wait_for(|state| state.applied.len() + state.skipped >= count);
        tokio::time::timeout(24 * 3_600 * SECOND, there).await.expect("progress within a day").unwrap();
    }
}

fn start(line: &Line, ledger: &Arc<Ledger>) -> Running {
    let worker = StreamWorker::new(line.queues.clone(), rows(), Arc::clone(ledger), StreamOptions::default());
    Running::start(|stopped| {
        worker.run(async {
            let _ = stopped.await;
        })
    })
}

async fn publish(line: &mut Line, count: usize) -> Vec<String> {
    let labels: Vec<String> = (0..count).map(|i| format!("e{i}")).collect();
    let events: Vec<(&str, &str)> = labels.iter().map(|label| (label.as_str(), "k")).collect();
    line.publish("row.put", &events).await;
    labels
}

/// Whether the queue holds anything of the stream.
async fn left(line: &Line) -> u64 {
    line.state(&rows()).await.ready
}

#[tokio::test(start_paused = true)]
async fn a_backlog_is_applied_in_one_batch_and_the_space_freed() {
    let mut line = Line::open().await;
    let labels = publish(&mut line, 500).await;
    let ledger = Arc::new(Ledger::new());
    let worker = start(&line, &ledger);
    ledger.until(500).await;
    worker.drain().await;
    assert_eq!(ledger.state().applied, labels);
    assert_eq!(ledger.state().batches, [500]);
    assert_eq!(left(&line).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_single_entry_is_applied_at_once() {
    let mut line = Line::open().await;
    let ledger = Arc::new(Ledger::new());
    let worker = start(&line, &ledger);
    // tidy: sleep because the paused clock moves on only when the worker waits for entries
    tokio::time::sleep(SECOND).await;
    let begin = Instant::now();
    publish(&mut line, 1).await;
    ledger.until(1).await;
    assert_eq!(begin.elapsed(), std::time::Duration::ZERO);
    worker.drain().await;
    assert_eq!(left(&line).await, 0);
}

/// The store refuses the batch, and may or may not say which entry it is.
async fn one_poisoned_entry(names_it: bool) -> usize {
    let mut line = Line::open().await;
    let mut labels = publish(&mut line, 1_000).await;
    let calls = Arc::new(AtomicUsize::new(0));
    let ledger = Arc::new(Ledger::new().before({
        let calls = Arc::clone(&calls);
        move |batch| {
            calls.fetch_add(1, Ordering::Relaxed);
            let at = batch.iter().position(|label| label == "e613");
            async move {
                match at {
                    Some(at) if names_it => Err(BatchError::entry(at, "e613 is no number")),
                    Some(_) => Err(BatchError::batch("e613 is no number")),
                    None => Ok(()),
                }
            }
        }
    }));
    let worker = start(&line, &ledger);
    ledger.until(1_000).await;
    worker.drain().await;
    labels.remove(613);
    assert_eq!(ledger.state().applied, labels);
    let dead = line.dead().await;
    assert_eq!(dead.len(), 1);
    assert_eq!(Event::decode(&dead[0].body).unwrap().source, "e613");
    assert_eq!(dead[0].cause, "e613 is no number");
    assert_eq!(left(&line).await, 0);
    calls.load(Ordering::Relaxed)
}

#[tokio::test(start_paused = true)]
async fn one_poisoned_entry_among_a_thousand_is_found_by_splitting() {
    let calls = one_poisoned_entry(false).await;
    assert!(calls <= 30, "{calls} calls");
}

#[tokio::test(start_paused = true)]
async fn a_poisoned_entry_that_the_handler_names_is_gone_to_directly() {
    assert_eq!(one_poisoned_entry(true).await, 4);
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_makes_the_handler_panic_becomes_a_dead_letter() {
    let mut line = Line::open().await;
    publish(&mut line, 3).await;
    let ledger = Arc::new(Ledger::new().before(|batch| async move {
        assert!(!batch.contains(&"e1".to_owned()), "division by e1");
        Ok(())
    }));
    let worker = start(&line, &ledger);
    ledger.until(3).await;
    worker.drain().await;
    assert_eq!(ledger.state().applied, ["e0", "e2"]);
    let dead = line.dead().await;
    assert!(dead[0].cause.contains("division by e1"), "{}", dead[0].cause);
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_makes_the_handler_hang_becomes_a_dead_letter() {
    let mut line = Line::open().await;
    let mut labels = publish(&mut line, 100).await;
    let ledger = Arc::new(Ledger::new().before(|batch| async move {
        if batch.contains(&"e61".to_owned()) {
            std::future::pending::<()>().await;
        }
        Ok(())
    }));
    let worker = start(&line, &ledger);
    ledger.until(100).await;
    worker.drain().await;
    labels.remove(61);
    assert_eq!(ledger.state().applied, labels);
    let dead = line.dead().await;
    assert_eq!(dead.len(), 1);
    assert!(dead[0].cause.contains("took longer than 60s"), "{}", dead[0].cause);
    // The whole three times, its parts once each down to the entry, that three times.
    assert_eq!(dead[0].attempts, 3 + 6 + 3);
    assert_eq!(left(&line).await, 0);
}

/// The handler fails to give a word nine times, each time in this way, on a
/// batch of three; what becomes of it.
async fn nine_silences<F>(silent: fn() -> F, position_fails: bool) -> (Vec<String>, usize)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut line = Line::open().await;
    publish(&mut line, 3).await;
    let away = Arc::new(AtomicUsize::new(0));
    let calls = Arc::new(AtomicUsize::new(0));
    let ledger = Ledger::new().before({
        let away = Arc::clone(&away);
        move |_| {
            let fails = calls.fetch_add(1, Ordering::Relaxed) < 9;
            away.store(usize::from(fails && position_fails), Ordering::Relaxed);
            async move {
                if fails {
                    silent().await;
                }
                Ok(())
            }
        }
    });
    let ledger = Arc::new(Ledger { away, ..ledger });
    let worker = start(&line, &ledger);
    ledger.until(3).await;
    worker.drain().await;
    (ledger.state().applied, line.dead().await.len())
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_hangs_while_its_store_is_away_kills_nothing() {
    let (applied, dead) = nine_silences(std::future::pending, true).await;
    assert_eq!((applied.as_slice(), dead), (["e0", "e1", "e2"].map(str::to_owned).as_slice(), 0));
    // The count of the case above matters: with its store there, the handler is believed.
    let (_, dead) = nine_silences(std::future::pending, false).await;
    assert_ne!(dead, 0);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_while_its_store_is_away_kills_nothing() {
    let (applied, dead) = nine_silences(|| async { panic!("no connection") }, true).await;
    assert_eq!((applied.as_slice(), dead), (["e0", "e1", "e2"].map(str::to_owned).as_slice(), 0));
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_passes_is_waited_for_and_kills_nothing() {
    let mut line = Line::open().await;
    let labels = publish(&mut line, 3).await;
    let fails = Arc::new(Mutex::new(8));
    let ledger = Arc::new(Ledger::new().before({
        let fails = Arc::clone(&fails);
        move |_| {
            let mut fails = fails.lock().unwrap();
            let failed = *fails > 0;
            *fails -= i32::from(failed);
            async move { if failed { Err(BatchError::retryable("the store is away")) } else { Ok(()) } }
        }
    }));
    let worker = start(&line, &ledger);
    ledger.until(3).await;
    worker.drain().await;
    assert_eq!(*fails.lock().unwrap(), 0);
    assert_eq!(ledger.state().applied, labels);
    assert_eq!(line.dead().await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_batch_whose_answer_got_lost_is_not_applied_again() {
    let mut line = Line::open().await;
    let labels = publish(&mut line, 3).await;
    let ledger = Arc::new(Ledger::new().after(|_| async { Err(BatchError::retryable("connection reset")) }));
    let worker = start(&line, &ledger);
    ledger.until(3).await;
    let more = publish(&mut line, 2).await;
    ledger.until(5).await;
    worker.drain().await;
    assert_eq!(ledger.state().applied, [labels, more].concat());
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_effect_and_advance_doubles_nothing() {
    let mut line = Line::open().await;
    let mut labels = publish(&mut line, 3).await;
    // The effect is there, but the worker never hears of it.
    let stuck = Arc::new(Ledger::new().after(|_| std::future::pending()));
    let worker = start(&line, &stuck);
    stuck.until(3).await;
    worker.kill().await;
    assert_eq!(left(&line).await, 3, "the queue was not told");

    let ledger = Arc::new(Ledger { state: watch::Sender::new(stuck.state()), ..Ledger::new() });
    let worker = start(&line, &ledger);
    labels.extend(publish(&mut line, 2).await);
    ledger.until(5).await;
    worker.drain().await;
    assert_eq!(ledger.state().applied, labels);
    assert_eq!(left(&line).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_stopping_worker_lets_its_batch_end() {
    let mut line = Line::open().await;
    let labels = publish(&mut line, 3).await;
    let (began, mut begun) = watch::channel(false);
    let (open, gate) = watch::channel(false);
    let ledger = Arc::new(Ledger::new().before(move |_| {
        began.send_replace(true);
        let mut gate = gate.clone();
        async move {
            gate.wait_for(|open| *open).await.map_err(|err| BatchError::retryable(err.to_string()))?;
            Ok(())
        }
    }));
    let worker = start(&line, &ledger);
    begun.wait_for(|begun| *begun).await.unwrap();
    let stopped = worker.stop();
    tokio::task::yield_now().await;
    assert!(!stopped.is_finished());
    open.send_replace(true);
    stopped.await.unwrap();
    assert_eq!(ledger.state().applied, labels);
    assert_eq!(left(&line).await, 0, "the queue was told");
}

#[tokio::test(start_paused = true)]
async fn a_stopping_worker_does_not_wait_for_a_store_that_is_away() {
    let mut line = Line::open().await;
    publish(&mut line, 3).await;
    let (began, mut begun) = watch::channel(0);
    let ledger = Arc::new(Ledger::new().before(move |_| {
        began.send_modify(|count| *count += 1);
        async { Err(BatchError::retryable("the store is away")) }
    }));
    let worker = start(&line, &ledger);
    begun.wait_for(|count| *count >= 3).await.unwrap();
    worker.drain().await;
    assert_eq!(left(&line).await, 3);
    assert_eq!(ledger.state().applied, [""; 0]);
}
