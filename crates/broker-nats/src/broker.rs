//! The broker.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use orderwire_broker::{
    Broker, Capabilities, Consumer, Durability, Error, ErrorKind, Message, QueueBinding, Retention, in_time,
};
use orderwire_types::{Pattern, QueueName};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::api;
use crate::consumer::NatsConsumer;
use crate::link::Link;
use crate::options::Options;
use crate::publish::{self, Publisher};
use crate::pull::{Pull, say_unsaid};
use crate::sweep;
use crate::topology::Topology;
use crate::wire;

/// A number that no connection has.
const NO_CONNECTION: u64 = u64::MAX;

/// NATS JetStream as a broker.
#[derive(Debug)]
pub struct NatsBroker {
    topology: Arc<Topology>,
    link: Arc<Link>,
    publisher: Publisher,
    /// The connection over which the stream was seen.
    stream_seen: AtomicU64,
    making_stream: Mutex<()>,
    consumers: TaskTracker,
    _sweeps: DropGuard,
}

impl NatsBroker {
    /// Begins to connect, and goes on in the background without end; calls say until then
    /// why it is not connected.
    ///
    /// # Errors
    /// `Unsupported`: the settings are wrong, or a file that they name cannot be read.
    pub async fn open(options: Options) -> Result<Self, Error> {
        options.check()?;
        let link = Arc::new(Link::open(&options).await?);
        let publisher = Publisher::new(&link, options.unconfirmed_bytes_max);
        let (pause, dropped) = (options.sweep, CancellationToken::new());
        let topology = Arc::new(Topology::new(link.clone(), options));
        tokio::spawn(sweep::run(topology.clone(), pause, dropped.clone()));
        Ok(Self {
            topology,
            link,
            publisher,
            stream_seen: AtomicU64::new(NO_CONNECTION),
            making_stream: Mutex::new(()),
            consumers: TaskTracker::new(),
            _sweeps: dropped.drop_guard(),
        })
    }

    /// The connection, over which the stream is there.
    async fn ready(&self) -> Result<u64, Error> {
        let connection = self.link.wait_connected().await?;
        let seen = || self.stream_seen.load(Ordering::Acquire) == connection;
        if seen() {
            return Ok(connection);
        }
        let _one_at_a_time = self.making_stream.lock().await;
        if !seen() {
            self.topology.make_stream().await?;
            self.stream_seen.store(connection, Ordering::Release);
        }
        Ok(connection)
    }

    /// Any number of requests end within the time of one call.
    async fn in_time<T>(
        &self,
        doing: &str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::select! {
            biased;
            answer = in_time(self.link.timeout(), doing, call) => answer,
            () = self.link.closed().cancelled() => {
                Err(Error::new(ErrorKind::Unavailable, format!("{doing}: the broker is closed")))
            }
        }
    }
}

#[async_trait]
impl Broker for NatsBroker {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            name: "NATS JetStream",
            durability: Durability::Process,
            ordering: orderwire_broker::Ordering::Queue,
            retention: Retention::UntilAcked,
            body_bytes_max: wire::body_bytes_max(self.link.max_payload()),
            reports_unroutable: false,
            // What filters let through besides is passed over here.
            routes_by_pattern: true,
        }
    }

    fn address(&self, queue: &QueueName) -> String {
        self.topology.names.by_name(queue)
    }

    async fn declare(&self, queue: &QueueBinding) -> Result<(), Error> {
        self.in_time(&format!("declare queue {}", queue.name), async {
            self.ready().await?;
            self.topology.declare(queue).await
        })
        .await
    }

    async fn unbind(&self, queue: &QueueName, types: &[Pattern]) -> Result<(), Error> {
        self.in_time(&format!("unbind queue {queue}"), async {
            self.ready().await?;
            self.topology.unbind(queue, types).await
        })
        .await
    }

    async fn publish(&self, messages: Vec<Message>) -> Vec<Result<(), Error>> {
        if messages.is_empty() {
            return Vec::new();
        }
        let count = messages.len();
        let connection = match self.in_time("publish", self.ready()).await {
            Ok(connection) => connection,
            Err(error) => return error.for_each(count),
        };
        let answers = self.publisher.publish(&self.link, &self.topology.names, connection, messages).await;
        if publish::tells_of_no_stream(&answers) {
            // Somebody removed it: the next call makes it anew.
            self.stream_seen.store(NO_CONNECTION, Ordering::Release);
        }
        answers
    }

    async fn consume(&self, queue: &QueueBinding, prefetch: u16) -> Result<Box<dyn Consumer>, Error> {
        let doing = format!("consume queue {}", queue.name);
        let (connection, pull) = self
            .in_time(&doing, async {
                let connection = self.ready().await?;
                say_unsaid(&self.topology, &queue.name).await?;
                self.topology.go_on(&queue.name).await?;
                let places = self.topology.places(queue).await?;
                let pull = Pull::new(&self.topology, queue, places, connection, prefetch).await?;
                Ok((connection, pull))
            })
            .await?;
        let dropped = CancellationToken::new();
        let consumer = NatsConsumer {
            topology: self.topology.clone(),
            queue: queue.name.clone(),
            connection,
            shared: pull.shared().clone(),
            _ends: dropped.clone().drop_guard(),
        };
        self.consumers.spawn(pull.run(dropped));
        Ok(Box::new(consumer))
    }

    async fn check(&self) -> Result<(), Error> {
        self.in_time("check", async {
            self.ready().await?;
            let name = &self.topology.names.stream;
            let doing = format!("stream {name}");
            let stream = api::stream(&self.link, name).await;
            let stream = stream.map_err(|failure| failure.error(&doing, ErrorKind::Refused))?;
            let Some(stream) = stream else {
                self.stream_seen.store(NO_CONNECTION, Ordering::Release);
                return Err(Error::new(ErrorKind::Unavailable, format!("{doing}: it was removed")));
            };
            let (bytes, max) = (stream.state.bytes, u64::try_from(stream.config.max_bytes).unwrap_or(0));
            // The last part of it may be too small for a message already.
            if max > 0 && bytes >= max - max / 100 {
                let what = format!("{doing}: it is full ({bytes} of {max} bytes): queues have to be read");
                return Err(Error::new(ErrorKind::Unavailable, what));
            }
            Ok(())
        })
        .await
    }

    async fn close(&self) {
        let until = Instant::now() + self.link.timeout();
        self.link.closed().cancel();
        self.consumers.close();
        let ended = timeout_at(until, self.consumers.wait()).await.is_ok();
        // Acks that are on their way go first.
        let flushed = matches!(timeout_at(until, self.link.client().flush()).await, Ok(Ok(())));
        let drained = matches!(timeout_at(until, self.link.client().drain()).await, Ok(Ok(())));
        tracing::debug!(ended, flushed, drained, "the connection to NATS is closed");
    }
}
