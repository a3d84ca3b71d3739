//! What the tests share: names of their own, and short ways to ask for things.

use std::collections::BTreeSet;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::Client;
pub(crate) use orderwire_broker::testkit::tools::{PATIENCE, eventually, label, message, message_to};
use orderwire_broker::{Broker, Consumer, Declare, Error, Message, QueueBinding, Received};
use orderwire_broker_nats::{NatsBroker, Options};
use serde_json::{Value, json};
use tokio::time::timeout;

/// The server of this machine, if it is there. `CI=true` requires it.
pub(crate) fn url() -> Option<String> {
    let url = std::env::var("NATS_URL").unwrap_or_else(|_| "nats://127.0.0.1:4222".to_owned());
    let address = url.rsplit(['/', '@']).next().unwrap_or_default();
    let mut addresses = address.to_socket_addrs().into_iter().flatten();
    if addresses.any(|address| TcpStream::connect_timeout(&address, Duration::from_millis(500)).is_ok()) {
        return Some(url);
    }
    assert!(std::env::var("CI").is_err(), "no NATS at {address}, which CI requires");
    eprintln!("SKIPPED: no NATS at {address}");
    None
}

/// Settings with a stream and subjects that nothing else has.
pub(crate) fn options(url: &str) -> Options {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let word = format!("t{now:x}-{:x}-{serial:x}", std::process::id());
    Options { stream: format!("TEST-{word}"), prefix: word, ..Options::for_testing(url) }
}

/// A broker of a test's own, and a client beside it for what others do.
pub(crate) struct Bench {
    pub(crate) options: Options,
    pub(crate) broker: Arc<NatsBroker>,
    pub(crate) other: Client,
}

impl Bench {
    /// At the server of this machine.
    pub(crate) async fn open() -> Option<Self> {
        Some(Self::at(&url()?).await)
    }

    pub(crate) async fn at(url: &str) -> Self {
        let options = options(url);
        let other = async_nats::connect(url).await.unwrap();
        let broker = Arc::new(NatsBroker::open(options.clone()).await.unwrap());
        broker.check().await.unwrap();
        Self { options, broker, other }
    }

    /// Removes what the test made.
    pub(crate) async fn end(self) {
        self.broker.close().await;
        remove_stream(&self.other, &self.options.stream).await;
    }

    pub(crate) async fn declare(&self, queue: &QueueBinding) {
        self.broker.declare(queue).await.unwrap();
    }

    pub(crate) async fn reader(&self, queue: &QueueBinding) -> Reader {
        Reader(self.broker.consume(queue, 100).await.unwrap())
    }

    pub(crate) async fn say(&self, event_type: &str, label: &str) {
        publish(&*self.broker, vec![message(event_type, label)]).await.unwrap();
    }

    /// Asks the server as others do.
    pub(crate) async fn ask(&self, what: &str, request: Value) -> Value {
        ask(&self.other, what, request).await
    }

    pub(crate) async fn consumers(&self) -> BTreeSet<String> {
        let answer = self.ask(&format!("CONSUMER.NAMES.{}", self.options.stream), json!({})).await;
        let names = answer["consumers"].as_array().cloned().unwrap_or_default();
        names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect()
    }

    /// How many messages the stream holds.
    pub(crate) async fn kept(&self) -> u64 {
        let answer = self.ask(&format!("STREAM.INFO.{}", self.options.stream), json!({})).await;
        answer["state"]["messages"].as_u64().unwrap()
    }
}

pub(crate) async fn ask(client: &Client, what: &str, request: Value) -> Value {
    let answer = client.request(format!("$JS.API.{what}"), request.to_string().into()).await.unwrap();
    serde_json::from_slice(&answer.payload).unwrap()
}

pub(crate) async fn remove_stream(client: &Client, stream: &str) {
    ask(client, &format!("STREAM.DELETE.{stream}"), json!({})).await;
}

pub(crate) struct Reader(pub(crate) Box<dyn Consumer>);

impl Reader {
    /// So many messages, acked.
    pub(crate) async fn take(&mut self, count: usize) -> Vec<Received> {
        let mut taken = Vec::new();
        while taken.len() < count {
            let batch =
                timeout(PATIENCE, self.0.next(count - taken.len())).await.expect("messages come").unwrap();
            self.0.ack(&batch.iter().map(|message| message.tag).collect::<Vec<_>>()).await.unwrap();
            taken.extend(batch);
        }
        taken
    }

    pub(crate) async fn labels(&mut self, count: usize) -> Vec<String> {
        self.take(count).await.iter().map(label).collect()
    }

    pub(crate) async fn nothing_more(&mut self) {
        if let Ok(batch) = timeout(Duration::from_millis(300), self.0.next(10)).await {
            panic!("came: {batch:?}");
        }
    }
}

pub(crate) fn queue(name: &str, types: &[&str]) -> QueueBinding {
    let types = types.iter().map(|text| text.parse().unwrap()).collect();
    QueueBinding { name: name.parse().unwrap(), types, declare: Declare::Quorum }
}

pub(crate) fn adopted(name: &str, types: &[&str]) -> QueueBinding {
    QueueBinding { declare: Declare::Adopt, ..queue(name, types) }
}

/// Publishes what has to be confirmed.
pub(crate) async fn publish(broker: &dyn Broker, messages: Vec<Message>) -> Result<(), Error> {
    broker.publish(messages).await.into_iter().collect()
}
