//! What fails: servers, connections, room.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use orderwire_broker::{Broker, ErrorKind, QueueBinding};
use orderwire_broker_nats::{NatsBroker, Options};
use orderwire_servers::proxy::{Proxy, Wire};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::kit::{Bench, PATIENCE, Reader, eventually, label, message, options, publish, queue};
use crate::server::Server;

/// A publisher that goes on until it is told to stop, and says what was confirmed.
struct Load {
    stop: Arc<AtomicBool>,
    confirmed: Arc<std::sync::Mutex<BTreeSet<String>>>,
    task: JoinHandle<()>,
}

impl Load {
    fn begin(broker: Arc<NatsBroker>) -> Self {
        let (stop, confirmed) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let task = tokio::spawn(load(broker, stop.clone(), Arc::clone(&confirmed)));
        Self { stop, confirmed, task }
    }

    fn count(&self) -> usize {
        self.confirmed.lock().unwrap().len()
    }

    /// Waits until so many more are confirmed.
    async fn more(&self, count: usize) {
        let until = self.count() + count;
        eventually("messages are confirmed", async || self.count() >= until).await;
    }

    async fn end(self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.unwrap();
        self.confirmed.lock().unwrap().clone()
    }
}

async fn load(
    broker: Arc<NatsBroker>,
    stop: Arc<AtomicBool>,
    confirmed: Arc<std::sync::Mutex<BTreeSet<String>>>,
) {
    let mut next = 0;
    while !stop.load(Ordering::SeqCst) {
        let labels: Vec<String> = (next..next + 20).map(|number| format!("m{number:06}")).collect();
        next += 20;
        let answers = broker.publish(labels.iter().map(|label| message("load", label)).collect()).await;
        let failed = answers.iter().any(Result::is_err);
        let good = labels.into_iter().zip(answers).filter(|(_, answer)| answer.is_ok());
        confirmed.lock().unwrap().extend(good.map(|(label, _)| label));
        if failed {
            // tidy: sleep because a publisher that is refused tries again after a pause
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Reads until all of these came, with a new consumer whenever one fails. Acks half of
/// what comes at first, so that some is acked and some comes again.
async fn came(broker: &NatsBroker, queue: &QueueBinding, expected: &BTreeSet<String>) {
    let mut missing = expected.clone();
    let until = Instant::now() + PATIENCE;
    while !missing.is_empty() {
        assert!(Instant::now() < until, "{} confirmed messages are missing: {missing:?}", missing.len());
        let Ok(mut consumer) = broker.consume(queue, 200).await else { continue };
        while let Ok(Ok(batch)) = timeout(Duration::from_secs(2), consumer.next(100)).await {
            for received in &batch {
                missing.remove(&label(received));
            }
            let tags: Vec<_> = batch.iter().map(|received| received.tag).collect();
            if consumer.ack(&tags).await.is_err() || missing.is_empty() {
                break;
            }
        }
    }
}

/// Reads and acks beside a publisher; what it read counts as come.
fn reading(broker: Arc<NatsBroker>, queue: QueueBinding) -> (Arc<AtomicBool>, JoinHandle<BTreeSet<String>>) {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let task = tokio::spawn(async move {
        let mut came = BTreeSet::new();
        while !stopped.load(Ordering::SeqCst) {
            let Ok(mut consumer) = broker.consume(&queue, 50).await else {
                // tidy: sleep because a consumer that is refused is opened again after a pause
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            while !stopped.load(Ordering::SeqCst) {
                match timeout(Duration::from_millis(200), consumer.next(50)).await {
                    Ok(Ok(batch)) => {
                        came.extend(batch.iter().map(label));
                        let tags: Vec<_> = batch.iter().map(|received| received.tag).collect();
                        if consumer.ack(&tags).await.is_err() {
                            break;
                        }
                    }
                    Ok(Err(_)) => break,
                    Err(_) => {}
                }
            }
        }
        came
    });
    (stop, task)
}

async fn nothing_confirmed_is_missing(end: fn(&mut Server)) {
    let Some(mut server) = Server::start(&[]).await else { return };
    let bench = Bench::at(&server.url()).await;
    // One is read all the while, the other only afterwards.
    let (read, unread) = (queue("read", &["load"]), queue("unread", &["#"]));
    bench.declare(&read).await;
    bench.declare(&unread).await;
    let load = Load::begin(bench.broker.clone());
    let (stop, reader) = reading(bench.broker.clone(), read.clone());
    for _ in 0..3 {
        load.more(300).await;
        end(&mut server);
        server.run().await;
    }
    load.more(300).await;
    let confirmed = load.end().await;
    stop.store(true, Ordering::SeqCst);
    let already = reader.await.unwrap();
    came(&bench.broker, &read, &confirmed.difference(&already).cloned().collect()).await;
    came(&bench.broker, &unread, &confirmed).await;
}

#[tokio::test]
async fn nothing_confirmed_is_missing_when_the_server_restarts() {
    nothing_confirmed_is_missing(Server::stop).await;
}

#[tokio::test]
async fn nothing_confirmed_is_missing_when_the_server_is_killed() {
    nothing_confirmed_is_missing(Server::kill).await;
}

/// A queue that was empty when the server was killed begins where it was.
#[tokio::test]
async fn a_queue_that_was_read_to_its_end_goes_on_after_a_kill() {
    let Some(mut server) = Server::start(&[]).await else { return };
    let bench = Bench::at(&server.url()).await;
    let (old, fresh) = (queue("old", &["a"]), queue("fresh", &["a"]));
    bench.declare(&old).await;
    let mut reader = bench.reader(&old).await;
    for number in 0..20 {
        bench.say("a", &format!("before {number}")).await;
    }
    reader.take(20).await;
    eventually("the stream is empty", async || bench.kept().await == 0).await;
    // Declared far behind the beginning of an empty stream.
    bench.declare(&fresh).await;
    server.kill();
    server.run().await;
    let late = async || publish(&*bench.broker, vec![message("a", "after")]).await.is_ok();
    eventually("it is published", late).await;
    for queue in [&old, &fresh] {
        eventually("a consumer", async || bench.broker.consume(queue, 10).await.is_ok()).await;
        let mut reader = bench.reader(queue).await;
        let mut labels = reader.labels(1).await;
        while labels.last().is_some_and(|label| label != "after") {
            labels.extend(reader.labels(1).await);
        }
    }
}

#[tokio::test]
async fn a_connection_that_is_cut_fails_what_hangs_on_it_and_comes_back() {
    let Some(server) = Server::start(&[]).await else { return };
    let proxy = Proxy::to(server.port()).await.unwrap();
    let bench = Bench::at(&format!("nats://127.0.0.1:{}", proxy.port())).await;
    let q = queue("q", &["a"]);
    bench.declare(&q).await;
    let mut reader = bench.reader(&q).await;
    bench.say("a", "first").await;
    let held = reader.0.next(10).await.unwrap();
    bench.say("a", "held").await;
    reader.0.next(10).await.unwrap();
    proxy.make(Wire::Cut);
    let error = timeout(PATIENCE, reader.0.next(10)).await.expect("it fails").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let error = reader.0.ack(&[held[0].tag]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let error = publish(&*bench.broker, vec![message("a", "away")]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(bench.broker.check().await.is_err());
    proxy.make(Wire::Good);
    eventually("it is back", async || bench.broker.check().await.is_ok()).await;
    bench.say("a", "second").await;
    let mut reader = bench.reader(&q).await;
    // What was held comes again, first; what was acked meanwhile does not.
    assert_eq!(reader.labels(2).await, ["held", "second"]);
    reader.nothing_more().await;
}

#[tokio::test]
async fn a_connection_that_goes_silent_is_noticed_and_replaced() {
    let Some(server) = Server::start(&[]).await else { return };
    let proxy = Proxy::to(server.port()).await.unwrap();
    let bench = Bench::at(&format!("nats://127.0.0.1:{}", proxy.port())).await;
    let q = queue("q", &["a"]);
    bench.declare(&q).await;
    let mut reader = bench.reader(&q).await;
    let before = proxy.connections();
    proxy.make(Wire::Forgotten);
    let (waited, published) = tokio::join!(
        timeout(PATIENCE, reader.0.next(10)),
        timeout(PATIENCE, publish(&*bench.broker, vec![message("a", "into silence")])),
    );
    // Three heartbeats of the consumer, and the time-out of the call.
    let error = waited.expect("the wait fails").unwrap_err();
    assert!(error.to_string().contains("silent"), "{error}");
    assert_eq!(published.expect("the call ends").unwrap_err().kind(), ErrorKind::Unconfirmed);
    proxy.make(Wire::Good);
    // The old connection stays as it is until the library gives it up.
    eventually("another connection", async || proxy.connections() > before).await;
    eventually("it is back", async || bench.broker.check().await.is_ok()).await;
    bench.say("a", "after").await;
    let mut reader = bench.reader(&q).await;
    let mut labels = reader.labels(1).await;
    while labels.last().is_some_and(|label| label != "after") {
        // The one into silence may have been sent by the new connection.
        assert_eq!(labels, ["into silence"]);
        labels.extend(reader.labels(1).await);
    }
}

#[tokio::test]
async fn a_full_stream_refuses_until_queues_are_read() {
    let Some(server) = Server::start(&[]).await else { return };
    let small = Options { stream_bytes_max: 64 << 10, ..options(&server.url()) };
    let broker = NatsBroker::open(small).await.unwrap();
    let q = queue("q", &["a"]);
    broker.declare(&q).await.unwrap();
    let body = "x".repeat(400);
    let mut confirmed = 0;
    let error = loop {
        match publish(&broker, vec![message("a", &format!("{confirmed:03}{body}"))]).await {
            Ok(()) => confirmed += 1,
            Err(error) => break error,
        }
        assert!(confirmed < 1000, "it is full at last");
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(confirmed > 50, "{confirmed}");
    let mut reader = Reader(broker.consume(&q, 100).await.unwrap());
    assert_eq!(reader.take(confirmed).await.len(), confirmed);
    let again = async || publish(&broker, vec![message("a", "again")]).await.is_ok();
    eventually("there is room again", again).await;
    assert_eq!(reader.labels(1).await, ["again"]);
}

#[tokio::test]
async fn a_full_stream_is_told_by_the_check() {
    let Some(server) = Server::start(&[]).await else { return };
    let small = Options { stream_bytes_max: 64 << 10, ..options(&server.url()) };
    let broker = NatsBroker::open(small).await.unwrap();
    broker.declare(&queue("q", &["a"])).await.unwrap();
    let is_full = async || {
        // Ever smaller, down to the last byte.
        for size in [4_000, 300, 1] {
            while publish(&broker, vec![message("a", &fresh(size))]).await.is_ok() {}
        }
        broker.check().await.is_err()
    };
    eventually("it is full", is_full).await;
    let error = broker.check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("full"), "{error}");
}

/// A text that was not there before, of about this length.
fn fresh(size: usize) -> String {
    static SERIAL: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    format!("{:06}{}", SERIAL.fetch_add(1, Ordering::Relaxed), "x".repeat(size))
}

#[tokio::test]
async fn a_consumer_that_others_remove_fails() {
    let Some(bench) = Bench::open().await else { return };
    let q = queue("q", &["a"]);
    bench.declare(&q).await;
    let mut reader = bench.reader(&q).await;
    reader.nothing_more().await;
    bench.ask(&format!("CONSUMER.DELETE.{}.q", bench.options.stream), json!({})).await;
    let error = timeout(PATIENCE, reader.0.next(10)).await.expect("it fails").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let gone = bench.broker.consume(&q, 10).await.err().unwrap();
    assert_eq!(gone.kind(), ErrorKind::Conflict, "{gone}");
    bench.end().await;
}

/// What is published between the end of a consumer and its return waits for it.
#[tokio::test]
async fn a_queue_whose_consumer_others_remove_misses_nothing() {
    let Some(bench) = Bench::open().await else { return };
    let (removed, other) = (queue("removed", &["a"]), queue("other", &["a"]));
    bench.declare(&removed).await;
    bench.declare(&other).await;
    bench.say("a", "first").await;
    assert_eq!(bench.reader(&removed).await.labels(1).await, ["first"]);
    assert_eq!(bench.reader(&other).await.labels(1).await, ["first"]);
    eventually("the stream is empty", async || bench.kept().await == 0).await;
    bench.say("a", "waits").await;
    bench.ask(&format!("CONSUMER.DELETE.{}.removed", bench.options.stream), json!({})).await;
    bench.say("a", "meanwhile").await;
    let mut reader = bench.reader(&other).await;
    assert_eq!(reader.labels(2).await, ["waits", "meanwhile"]);
    bench.say("a", "at last").await;
    assert_eq!(reader.labels(1).await, ["at last"]);
    // tidy: sleep because a sweep that has to leave all of it shows in nothing
    tokio::time::sleep(5 * bench.options.sweep).await;
    bench.declare(&removed).await;
    assert_eq!(bench.reader(&removed).await.labels(3).await, ["waits", "meanwhile", "at last"]);
    bench.end().await;
}

#[tokio::test]
async fn what_a_consumer_holds_for_long_stays_with_it() {
    let Some(url) = crate::kit::url() else { return };
    let options = Options { ack_wait: Duration::from_millis(400), ..options(&url) };
    let broker = NatsBroker::open(options.clone()).await.unwrap();
    let q = queue("q", &["a"]);
    broker.declare(&q).await.unwrap();
    publish(&broker, vec![message("a", "1"), message("a", "2")]).await.unwrap();
    let mut reader = Reader(broker.consume(&q, 10).await.unwrap());
    // One in the hands of the reader, one that waits for it.
    let held = reader.0.next(1).await.unwrap();
    // tidy: sleep because the server counts by the clock
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(reader.labels(1).await, ["2"]);
    reader.nothing_more().await;
    reader.0.ack(&[held[0].tag]).await.unwrap();
    drop(reader);
    Reader(broker.consume(&q, 10).await.unwrap()).nothing_more().await;
    crate::kit::remove_stream(&async_nats::connect(&url).await.unwrap(), &options.stream).await;
}

#[tokio::test]
async fn a_stream_that_others_remove_is_made_anew() {
    let Some(bench) = Bench::open().await else { return };
    bench.declare(&queue("q", &["a"])).await;
    bench.ask(&format!("STREAM.DELETE.{}", bench.options.stream), json!({})).await;
    let error = publish(&*bench.broker, vec![message("a", "lost")]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    eventually("it is there again", async || bench.broker.check().await.is_ok()).await;
    bench.declare(&queue("q", &["a"])).await;
    bench.say("a", "kept").await;
    assert_eq!(bench.reader(&queue("q", &["a"])).await.labels(1).await, ["kept"]);
    bench.end().await;
}
