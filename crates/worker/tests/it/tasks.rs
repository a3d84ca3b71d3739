use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::future::BoxFuture;
use orderwire_queue::testkit::Factory;
use orderwire_queue::testkit::twins::{Fault, TwinFactory};
use orderwire_worker::{Task, TaskHandler, TaskOptions, TaskWorker, Verdict};
use tokio::sync::{Barrier, Notify, mpsc, watch};
use tokio::time::Instant;

use crate::line::{Line, ROLE, Running, SECOND, scope, tasks};

type Act = dyn Fn(Seen) -> BoxFuture<'static, Verdict> + Send + Sync;

/// Notes what it sees, then acts.
struct Handler {
    seen: Mutex<Vec<Seen>>,
    told: mpsc::UnboundedSender<Seen>,
    act: Box<Act>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    label: String,
    attempt: u32,
}

#[async_trait]
impl TaskHandler for Handler {
    async fn handle(&self, task: &Task) -> Verdict {
        let seen = Seen { label: task.event.source.clone(), attempt: task.delivery.attempt };
        self.seen.lock().unwrap().push(seen.clone());
        let _ = self.told.send(seen.clone());
        (self.act)(seen).await
    }
}

impl Handler {
    fn seen(&self) -> Vec<(String, u32)> {
        self.seen.lock().unwrap().iter().map(|seen| (seen.label.clone(), seen.attempt)).collect()
    }
}

fn handler<F>(
    act: impl Fn(Seen) -> F + Send + Sync + 'static,
) -> (Arc<Handler>, mpsc::UnboundedReceiver<Seen>)
where
    F: Future<Output = Verdict> + Send + 'static,
{
    let (told, seen) = mpsc::unbounded_channel();
    let act: Box<Act> = Box::new(move |seen| Box::pin(act(seen)));
    (Arc::new(Handler { seen: Mutex::default(), told, act }), seen)
}

/// Acks what it sees when the gate opens.
fn gated(gate: &Arc<Notify>) -> (Arc<Handler>, mpsc::UnboundedReceiver<Seen>) {
    let gate = Arc::clone(gate);
    handler(move |_| {
        let gate = Arc::clone(&gate);
        async move {
            gate.notified().await;
            Verdict::Ack
        }
    })
}

/// The attempts of what waits, in order.
async fn attempts(line: &Line) -> Vec<u32> {
    let waiting = line.queues.peek(&scope(), &tasks(), 10).await.unwrap();
    waiting.iter().map(|(attempts, _)| *attempts).collect()
}

fn start(line: &Line, handler: &Arc<Handler>, options: TaskOptions) -> Running {
    let worker = TaskWorker::new(line.queues.clone(), tasks(), ROLE, Arc::clone(handler), options);
    Running::start(|stopped| {
        worker.run(async {
            let _ = stopped.await;
        })
    })
}

fn seen(pairs: &[(&str, u32)]) -> Vec<(String, u32)> {
    pairs.iter().map(|(label, attempt)| ((*label).to_owned(), *attempt)).collect()
}

async fn figures(line: &Line) -> (u64, u64, u64, u64) {
    let state = line.state(&tasks()).await;
    (state.ready, state.in_flight, state.delayed, state.dead)
}

#[tokio::test(start_paused = true)]
async fn every_delivery_is_handled_once_in_order_of_its_key() {
    let mut line = Line::open().await;
    let (handler, mut told) = handler(|_| async { Verdict::Ack });
    let worker = start(&line, &handler, TaskOptions { parallel: 3, ..TaskOptions::default() });
    for i in 0..10 {
        line.publish("task.do", &[(&format!("a{i}"), "a"), (&format!("b{i}"), "b"), (&format!("c{i}"), "c")])
            .await;
    }
    for _ in 0..30 {
        told.recv().await.unwrap();
    }
    worker.drain().await;
    for key in ["a", "b", "c"] {
        let of_key: Vec<_> = handler.seen().into_iter().filter(|(label, _)| label.starts_with(key)).collect();
        let due: Vec<_> = (0..10).map(|i| (format!("{key}{i}"), 1)).collect();
        assert_eq!(of_key, due);
    }
    assert_eq!(figures(&line).await, (0, 0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn lanes_are_handled_at_the_same_time() {
    let mut line = Line::open().await;
    // Nobody passes before all four are there.
    let together = Arc::new(Barrier::new(4));
    let (handler, mut told) = handler(move |_| {
        let together = Arc::clone(&together);
        async move {
            together.wait().await;
            Verdict::Ack
        }
    });
    let worker = start(&line, &handler, TaskOptions { parallel: 4, ..TaskOptions::default() });
    line.publish("task.do", &[("a", "a"), ("b", "b"), ("c", "c"), ("d", "d")]).await;
    for _ in 0..4 {
        told.recv().await.unwrap();
    }
    worker.drain().await;
    assert_eq!(figures(&line).await, (0, 0, 0, 0));
    assert_eq!(handler.seen().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_verdict_decides_what_becomes_of_a_delivery() {
    let mut line = Line::open().await;
    let (handler, mut told) = handler(|seen| async move {
        match (seen.label.as_str(), seen.attempt) {
            ("bad", _) => Verdict::Fail { cause: "no address".to_owned() },
            ("slow", 1) => Verdict::Retry { after: Some(5 * SECOND), cause: "busy".to_owned() },
            _ => Verdict::Ack,
        }
    });
    let worker = start(&line, &handler, TaskOptions::default());
    let begin = Instant::now();
    line.publish("task.do", &[("bad", "k"), ("slow", "k"), ("good", "k")]).await;
    for _ in 0..4 {
        told.recv().await.unwrap();
    }
    assert!(begin.elapsed() >= 5 * SECOND, "the retry came after {:?}", begin.elapsed());
    worker.drain().await;
    assert_eq!(handler.seen(), seen(&[("bad", 1), ("slow", 1), ("slow", 2), ("good", 1)]));
    let dead = line.dead().await;
    assert_eq!((dead.len(), dead[0].cause.as_str()), (1, "no address"));
    assert_eq!(figures(&line).await, (0, 0, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_handler_over_its_time_is_a_failed_attempt() {
    let mut line = Line::open().await;
    let (handler, mut told) = handler(|seen| async move {
        if seen.attempt == 1 {
            std::future::pending::<()>().await;
        }
        Verdict::Ack
    });
    let worker =
        start(&line, &handler, TaskOptions { handler_timeout: 7 * SECOND, ..TaskOptions::default() });
    let begin = Instant::now();
    line.publish("task.do", &[("a", "k")]).await;
    told.recv().await.unwrap();
    told.recv().await.unwrap();
    assert!(begin.elapsed() >= 7 * SECOND, "given up after {:?}", begin.elapsed());
    worker.drain().await;
    assert_eq!(handler.seen(), seen(&[("a", 1), ("a", 2)]));
    assert_eq!(figures(&line).await, (0, 0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failed_attempt_and_hurts_nobody_else() {
    let mut line = Line::open().await;
    let (handler, mut told) = handler(|seen| async move {
        assert!(seen.label != "bad", "unbelievable input");
        Verdict::Ack
    });
    let worker = start(&line, &handler, TaskOptions::default());
    line.publish("task.do", &[("bad", "k"), ("good", "k")]).await;
    // Three attempts of the one, one of the other.
    for _ in 0..4 {
        told.recv().await.unwrap();
    }
    worker.drain().await;
    assert_eq!(handler.seen(), seen(&[("bad", 1), ("bad", 2), ("bad", 3), ("good", 1)]));
    let dead = line.dead().await;
    assert!(dead[0].cause.contains("unbelievable input"), "{}", dead[0].cause);
}

#[tokio::test(start_paused = true)]
async fn the_lease_of_a_long_handler_is_extended() {
    let mut line = Line::open().await;
    let done = Arc::new(Notify::new());
    let (handler, _told) = handler({
        let done = Arc::clone(&done);
        move |seen| {
            let done = Arc::clone(&done);
            async move {
                // tidy: sleep because the length of the work is what is tested, on a paused clock
                tokio::time::sleep(40 * SECOND).await;
                if seen.label == "last" {
                    done.notify_one();
                }
                Verdict::Ack
            }
        }
    });
    let options = TaskOptions { lease: 10 * SECOND, ..TaskOptions::default() };
    let worker = start(&line, &handler, options);
    line.publish("task.do", &[("first", "k"), ("last", "k")]).await;
    done.notified().await;
    worker.drain().await;
    assert_eq!(handler.seen(), seen(&[("first", 1), ("last", 1)]));
    assert_eq!(figures(&line).await, (0, 0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_ack_whose_answer_got_lost_gives_back_those_behind_it_at_once() {
    let engine = TwinFactory::new(Fault::LosesAnAnswer).open().await.unwrap();
    let mut line = Line::over(engine).await;
    let (handler, mut told) = handler(|_| async { Verdict::Ack });
    line.publish("task.do", &[("a1", "k"), ("a2", "k"), ("a3", "k")]).await;
    let begin = Instant::now();
    let worker = start(&line, &handler, TaskOptions::default());
    for _ in 0..3 {
        told.recv().await.unwrap();
    }
    assert!(begin.elapsed() < 5 * SECOND, "the rest of the lane came after {:?}", begin.elapsed());
    worker.drain().await;
    assert_eq!(handler.seen(), seen(&[("a1", 1), ("a2", 1), ("a3", 1)]));
    assert_eq!(figures(&line).await, (0, 0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_stopping_worker_finishes_what_it_began_and_returns_the_rest_uncounted() {
    let mut line = Line::open().await;
    let gate = Arc::new(Notify::new());
    let (handler, mut told) = gated(&gate);
    line.publish("task.do", &[("a1", "k"), ("a2", "k"), ("a3", "k")]).await;
    let worker = start(&line, &handler, TaskOptions { drain: 3_600 * SECOND, ..TaskOptions::default() });
    told.recv().await.unwrap();
    assert_eq!(figures(&line).await, (0, 3, 0, 0), "the whole lane is in hand");
    let stopped = worker.stop();
    tokio::task::yield_now().await;
    assert!(!stopped.is_finished());
    gate.notify_one();
    stopped.await.unwrap();
    assert_eq!(handler.seen(), seen(&[("a1", 1)]));
    assert_eq!(figures(&line).await, (2, 0, 0, 0));
    assert_eq!(attempts(&line).await, [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_outlasts_the_drain_is_cut_off_and_its_delivery_returned() {
    let mut line = Line::open().await;
    let (handler, mut told) = handler(|_| std::future::pending());
    line.publish("task.do", &[("a1", "k"), ("a2", "k")]).await;
    let options = TaskOptions { drain: 5 * SECOND, ..TaskOptions::default() };
    let worker = start(&line, &handler, options);
    told.recv().await.unwrap();
    let begin = Instant::now();
    worker.drain().await;
    assert!((5 * SECOND..8 * SECOND).contains(&begin.elapsed()), "stopped after {:?}", begin.elapsed());
    assert_eq!(figures(&line).await, (2, 0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn without_a_place_nothing_is_leased_and_no_attempt_is_counted() {
    let mut line = Line::open().await;
    let (places, open) = watch::channel(4);
    let (handler, mut told) = handler({
        let places = places.clone();
        move |seen| {
            // The first that fails closes the worker.
            let fails = seen.label == "a1" && seen.attempt == 1;
            if fails {
                places.send_replace(0);
            }
            async move {
                match fails {
                    true => Verdict::Retry { after: Some(SECOND), cause: "away".to_owned() },
                    false => Verdict::Ack,
                }
            }
        }
    });
    line.publish("task.do", &[("a1", "a"), ("a2", "a"), ("a3", "a")]).await;
    let worker = TaskWorker::new(line.queues.clone(), tasks(), ROLE, handler.clone(), TaskOptions::default());
    let worker = Running::start(|stopped| {
        worker.with_places(open).run(async {
            let _ = stopped.await;
        })
    });
    told.recv().await.unwrap();
    line.publish("task.do", &[("b1", "b"), ("c1", "c")]).await;
    // tidy: sleep because nothing happening is what is tested, on a paused clock
    tokio::time::sleep(600 * SECOND).await;
    assert_eq!(handler.seen(), seen(&[("a1", 1)]));
    assert_eq!(attempts(&line).await, [1, 0, 0, 0, 0]);

    places.send_replace(4);
    for _ in 0..5 {
        told.recv().await.unwrap();
    }
    worker.drain().await;
    let of = |key: &str| -> Vec<(String, u32)> {
        handler.seen().into_iter().filter(|(label, _)| label.starts_with(key)).collect()
    };
    assert_eq!(of("a"), seen(&[("a1", 1), ("a1", 2), ("a2", 1), ("a3", 1)]));
    assert_eq!((of("b"), of("c")), (seen(&[("b1", 1)]), seen(&[("c1", 1)])));
    assert_eq!(figures(&line).await, (0, 0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_was_leased_and_not_begun_is_given_back_when_the_last_place_goes() {
    let mut line = Line::open().await;
    let (places, open) = watch::channel(4);
    let gate = Arc::new(Notify::new());
    let (handler, mut told) = gated(&gate);
    line.publish("task.do", &[("a1", "a"), ("a2", "a"), ("a3", "a")]).await;
    let worker = TaskWorker::new(line.queues.clone(), tasks(), ROLE, handler.clone(), TaskOptions::default());
    let worker = Running::start(|stopped| {
        worker.with_places(open).run(async {
            let _ = stopped.await;
        })
    });
    told.recv().await.unwrap();
    assert_eq!(figures(&line).await, (0, 3, 0, 0), "the whole lane is in hand");
    places.send_replace(0);
    gate.notify_one();
    // tidy: sleep because nothing happening is what is tested, on a paused clock
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(handler.seen(), seen(&[("a1", 1)]));
    assert_eq!(figures(&line).await, (2, 0, 0, 0));
    // One place: one after the other, each with its first attempt.
    places.send_replace(1);
    for _ in 0..2 {
        told.recv().await.unwrap();
        gate.notify_one();
    }
    worker.drain().await;
    assert_eq!(handler.seen(), seen(&[("a1", 1), ("a2", 1), ("a3", 1)]));
    assert_eq!(figures(&line).await, (0, 0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_deliveries_of_a_worker_that_vanishes_come_again() {
    let mut line = Line::open().await;
    line.publish("task.do", &[("a1", "k"), ("a2", "k")]).await;
    let (stuck, mut told) = handler(|_| std::future::pending());
    let worker = start(&line, &stuck, TaskOptions { lease: 10 * SECOND, ..TaskOptions::default() });
    told.recv().await.unwrap();
    worker.kill().await;
    let (handler, mut told) = handler(|_| async { Verdict::Ack });
    let worker = start(&line, &handler, TaskOptions::default());
    told.recv().await.unwrap();
    told.recv().await.unwrap();
    worker.drain().await;
    assert_eq!(handler.seen(), seen(&[("a1", 2), ("a2", 1)]));
    assert_eq!(figures(&line).await, (0, 0, 0, 0));
}
