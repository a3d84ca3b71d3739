use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use orderwire_types::envelope::Incoming;
use orderwire_worker::{BatchError, DirectHandler, DirectWorker, Handled, Stopped, StreamOptions};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::line::{SECOND, incoming, rows};

/// What happens to a batch instead of its being applied.
type Trouble = dyn Fn(Vec<String>) -> BoxFuture<'static, Result<(), BatchError>> + Send + Sync;

/// A store that remembers with its effect what had it, as a transaction would.
struct Ledger {
    applied: Mutex<Vec<String>>,
    known: Mutex<BTreeSet<String>>,
    calls: AtomicUsize,
    /// Checks that fail from now on.
    away: Arc<AtomicUsize>,
    before: Box<Trouble>,
    after: Box<Trouble>,
}

#[async_trait]
impl DirectHandler for Ledger {
    async fn handle(&self, batch: &[&Incoming]) -> Result<Vec<bool>, BatchError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let labels: Vec<String> = batch.iter().map(|incoming| incoming.event.source.clone()).collect();
        (self.before)(labels.clone()).await?;
        let new: Vec<bool> =
            labels.iter().map(|label| self.known.lock().unwrap().insert(label.clone())).collect();
        let applied = labels.iter().zip(&new).filter(|(_, new)| **new).map(|(label, _)| label.clone());
        self.applied.lock().unwrap().extend(applied);
        (self.after)(labels).await?;
        Ok(new)
    }

    async fn check(&self) -> Result<(), BatchError> {
        let fails = |left: usize| left.checked_sub(1);
        match self.away.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fails) {
            Ok(_) => Err(BatchError::retryable("the store is away")),
            Err(_) => Ok(()),
        }
    }
}

impl Ledger {
    fn new() -> Self {
        let fine = || -> Box<Trouble> { Box::new(|_| Box::pin(async { Ok(()) })) };
        Self {
            applied: Mutex::default(),
            known: Mutex::default(),
            calls: AtomicUsize::new(0),
            away: Arc::default(),
            before: fine(),
            after: fine(),
        }
    }

    fn before<F>(self, trouble: impl Fn(Vec<String>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), BatchError>> + Send + 'static,
    {
        Self { before: Box::new(move |labels| Box::pin(trouble(labels))), ..self }
    }

    fn after<F>(self, trouble: impl Fn(Vec<String>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), BatchError>> + Send + 'static,
    {
        Self { after: Box::new(move |labels| Box::pin(trouble(labels))), ..self }
    }

    fn applied(&self) -> Vec<String> {
        self.applied.lock().unwrap().clone()
    }
}

fn worker(ledger: &Arc<Ledger>) -> DirectWorker {
    DirectWorker::new(rows(), ledger.clone(), StreamOptions::default())
}

fn events(count: u64) -> Vec<Incoming> {
    (0..count).map(|n| incoming(n, "row.put", &format!("e{n}"), "k")).collect()
}

fn labels(events: &[Incoming]) -> Vec<String> {
    events.iter().map(|incoming| incoming.event.source.clone()).collect()
}

async fn handle(ledger: &Arc<Ledger>, events: &[Incoming]) -> Vec<Handled> {
    let events: Vec<&Incoming> = events.iter().collect();
    let (worker, stop) = (worker(ledger), CancellationToken::new());
    let handled = worker.handle(&events, &stop);
    tokio::time::timeout(24 * 3_600 * SECOND, handled).await.expect("an end within a day").unwrap()
}

/// Those that are given up, with why.
fn faulty(handled: &[Handled]) -> Vec<(usize, &str)> {
    let mut faulty = Vec::new();
    for (at, handled) in handled.iter().enumerate() {
        if let Handled::Faulty(cause) = handled {
            faulty.push((at, cause.as_str()));
        }
    }
    faulty
}

/// The store refuses the batch, and may or may not say which event it is: how many calls
/// that takes.
async fn one_poisoned_event(names_it: bool) -> usize {
    let events = events(1_000);
    let ledger = Arc::new(Ledger::new().before(move |batch| async move {
        match batch.iter().position(|label| label == "e613") {
            Some(at) if names_it => Err(BatchError::entry(at, "e613 is no number")),
            Some(_) => Err(BatchError::batch("e613 is no number")),
            None => Ok(()),
        }
    }));
    let handled = handle(&ledger, &events).await;
    assert_eq!(faulty(&handled), [(613, "e613 is no number")]);
    assert_eq!(handled.iter().filter(|handled| **handled == Handled::New).count(), 999);
    let mut labels = labels(&events);
    labels.remove(613);
    assert_eq!(ledger.applied(), labels, "in order");
    ledger.calls.load(Ordering::Relaxed)
}

#[tokio::test(start_paused = true)]
async fn one_poisoned_event_is_found_by_splitting_and_the_others_have_their_effect() {
    let calls = one_poisoned_event(false).await;
    assert!(calls <= 30, "{calls} calls");
    assert_eq!(one_poisoned_event(true).await, 4);
}

#[tokio::test(start_paused = true)]
async fn what_comes_again_is_told_from_what_is_new() {
    let events = events(5);
    let ledger = Arc::new(Ledger::new());
    assert_eq!(handle(&ledger, &events[..3]).await, vec![Handled::New; 3]);
    let again = handle(&ledger, &events[1..]).await;
    assert_eq!(again, [Handled::Repeated, Handled::Repeated, Handled::New, Handled::New]);
    assert_eq!(ledger.applied(), labels(&events));
    assert_eq!(handle(&ledger, &[]).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_passes_is_waited_for_and_kills_nothing() {
    let events = events(3);
    let left = Arc::new(AtomicUsize::new(8));
    let ledger = Arc::new(Ledger::new().before(move |_| {
        let failed =
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        async move { if failed { Err(BatchError::retryable("the store is away")) } else { Ok(()) } }
    }));
    assert_eq!(handle(&ledger, &events).await, vec![Handled::New; 3]);
    assert_eq!(ledger.applied(), labels(&events));
}

#[tokio::test(start_paused = true)]
async fn an_effect_whose_answer_got_lost_is_not_there_twice() {
    let events = events(3);
    let lost = AtomicUsize::new(1);
    let ledger = Arc::new(Ledger::new().after(move |_| {
        let lost = lost.swap(0, Ordering::Relaxed) > 0;
        async move { if lost { Err(BatchError::retryable("connection reset")) } else { Ok(()) } }
    }));
    assert_eq!(handle(&ledger, &events).await, vec![Handled::Repeated; 3]);
    assert_eq!(ledger.applied(), labels(&events));
}

#[tokio::test(start_paused = true)]
async fn an_event_that_makes_the_handler_hang_or_panic_is_given_up() {
    let events = events(100);
    let ledger = Arc::new(Ledger::new().before(|batch| async move {
        assert!(!batch.contains(&"e7".to_owned()), "division by e7");
        if batch.contains(&"e61".to_owned()) {
            std::future::pending::<()>().await;
        }
        Ok(())
    }));
    let handled = handle(&ledger, &events).await;
    let [(7, panicked), (61, hung)] = faulty(&handled)[..] else { panic!("{:?}", faulty(&handled)) };
    assert!(
        panicked.contains("division by e7") && hung.contains("took longer than 60s"),
        "{panicked}; {hung}"
    );
    let mut labels = labels(&events);
    labels.remove(61);
    labels.remove(7);
    assert_eq!(ledger.applied(), labels);
}

/// The handler gives no word nine times, on a batch of three: how many are given up.
async fn nine_silences(store_is_away: bool) -> usize {
    let away = Arc::new(AtomicUsize::new(0));
    let calls = AtomicUsize::new(0);
    let ledger = Ledger::new().before({
        let away = away.clone();
        move |_| {
            let fails = calls.fetch_add(1, Ordering::Relaxed) < 9;
            away.store(usize::from(fails && store_is_away), Ordering::Relaxed);
            async move {
                if fails {
                    std::future::pending::<()>().await;
                }
                Ok(())
            }
        }
    });
    faulty(&handle(&Arc::new(Ledger { away, ..ledger }), &events(3)).await).len()
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_hangs_while_its_store_is_away_kills_nothing() {
    assert_eq!(nine_silences(true).await, 0);
    // The count of the case above matters: with its store there, the handler is believed.
    assert_ne!(nine_silences(false).await, 0);
}

/// Of which one would be acked without its effect.
#[tokio::test(start_paused = true)]
async fn a_handler_that_tells_of_too_few_is_not_believed() {
    struct Forgetful(AtomicUsize);
    #[async_trait]
    impl DirectHandler for Forgetful {
        async fn handle(&self, batch: &[&Incoming]) -> Result<Vec<bool>, BatchError> {
            let forgets = self.0.fetch_add(1, Ordering::Relaxed) == 0;
            Ok(vec![true; batch.len() - usize::from(forgets)])
        }

        async fn check(&self) -> Result<(), BatchError> {
            Ok(())
        }
    }
    let handler = Arc::new(Forgetful(AtomicUsize::new(0)));
    let worker = DirectWorker::new(rows(), handler.clone(), StreamOptions::default());
    let events = events(2);
    let events: Vec<&Incoming> = events.iter().collect();
    let handled = worker.handle(&events, &CancellationToken::new()).await.unwrap();
    assert_eq!((handled, handler.0.load(Ordering::Relaxed)), (vec![Handled::New; 2], 2));
}

/// The worker is asked to stop while its handler takes so long: whether the batch came to
/// its end, and after which time.
async fn stopped_while_the_handler_takes(takes: Duration) -> (bool, Duration) {
    let (began, mut begun) = watch::channel(false);
    let ledger = Arc::new(Ledger::new().before(move |_| {
        began.send_replace(true);
        async move {
            // tidy: sleep because the handler takes that long
            tokio::time::sleep(takes).await;
            Ok(())
        }
    }));
    let stop = CancellationToken::new();
    let handled = tokio::spawn({
        let stop = stop.clone();
        async move {
            let options = StreamOptions { handler_timeout: 7_200 * SECOND, ..StreamOptions::default() };
            let event = incoming(0, "row.put", "e0", "k");
            DirectWorker::new(rows(), ledger, options).handle(&[&event], &stop).await
        }
    });
    begun.wait_for(|begun| *begun).await.unwrap();
    let begin = Instant::now();
    stop.cancel();
    let handled: Result<Vec<Handled>, Stopped> = handled.await.unwrap();
    (handled.is_ok(), begin.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_stopping_worker_waits_for_its_handler_but_not_for_ever() {
    assert_eq!(stopped_while_the_handler_takes(SECOND).await, (true, SECOND));
    let drain = StreamOptions::default().drain;
    assert_eq!(stopped_while_the_handler_takes(3_600 * SECOND).await, (false, drain));
}

#[tokio::test(start_paused = true)]
async fn a_stopping_worker_does_not_wait_for_a_store_that_is_away() {
    let stop = CancellationToken::new();
    let ledger = Arc::new(Ledger::new().before({
        let (stop, calls) = (stop.clone(), AtomicUsize::new(0));
        move |_| {
            if calls.fetch_add(1, Ordering::Relaxed) == 2 {
                stop.cancel();
            }
            async { Err(BatchError::retryable("the store is away")) }
        }
    }));
    let event = incoming(0, "row.put", "e0", "k");
    assert!(worker(&ledger).handle(&[&event], &stop).await.is_err());
    assert_eq!(ledger.calls.load(Ordering::Relaxed), 3);
}
