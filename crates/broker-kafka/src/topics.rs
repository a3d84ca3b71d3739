//! Topics: what is there, and how it is made.

use std::sync::Arc;
use std::time::Duration;

use orderwire_broker::{Declare, Error, ErrorKind};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::metadata::MetadataBroker;
use tokio::time::Instant;

use crate::client;
use crate::error;
use crate::options::Options;

/// On how many servers a replicated topic is, where there are so many.
const REPLICAS: usize = 3;
/// How soon a topic that was made is looked for again.
const LOOK: Duration = Duration::from_millis(100);
/// The setting that says what becomes of old messages.
const CLEANUP: &str = "cleanup.policy";

/// A topic that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Topic {
    pub(crate) partitions: usize,
    /// On how many servers each of them is.
    pub(crate) replicas: usize,
    /// How many servers the cluster has.
    servers: usize,
    /// One of them.
    server: i32,
}

/// What a topic has to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    partitions: i32,
    replication: Replication,
    /// Whether the last message of each key stays, and no other.
    is_compacted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Replication {
    /// As the cluster does it.
    Usual,
    /// At least on so many servers; as a rule on [`REPLICAS`], or as many as there are.
    Several(Option<i32>),
}

impl Wanted {
    /// The topic of a queue.
    pub(crate) fn queue(declare: Declare, options: &Options) -> Self {
        let replication = match declare {
            Declare::Adopt | Declare::Classic => Replication::Usual,
            Declare::Quorum => Replication::Several(options.replication),
        };
        Self { partitions: options.partitions, replication, is_compacted: false }
    }

    /// The topic of bindings.
    pub(crate) fn bindings(options: &Options) -> Self {
        let replication = Replication::Several(options.replication);
        Self { partitions: 1, replication, is_compacted: true }
    }

    fn replicas(&self, servers: usize) -> Option<i32> {
        match self.replication {
            Replication::Usual => None,
            Replication::Several(Some(given)) => Some(given),
            Replication::Several(None) => i32::try_from(servers.clamp(1, REPLICAS)).ok(),
        }
    }

    /// What is wrong with a topic that is there; `cleanup`: its policy, where that is known.
    fn conflict(&self, there: Topic, cleanup: Option<&str>) -> Option<String> {
        let asked = usize::try_from(self.partitions).unwrap_or_default();
        if there.partitions < asked {
            return Some(format!("it has {} partitions, {asked} are asked for", there.partitions));
        }
        let replicas = self.replicas(there.servers).and_then(|replicas| usize::try_from(replicas).ok());
        if let Some(replicas) = replicas
            && there.replicas < replicas
        {
            return Some(format!("it is on {} servers, {replicas} are asked for", there.replicas));
        }
        match cleanup {
            Some(policy) if policy.contains("compact") != self.is_compacted => {
                Some(format!("its {CLEANUP} is {policy}, by which something gets lost in it"))
            }
            _ => None,
        }
    }
}

/// A client that looks at topics. Its calls wait, in threads that may.
pub(crate) struct Topics<C: ConsumerContext + 'static> {
    client: Arc<BaseConsumer<C>>,
    options: Arc<Options>,
}

impl<C: ConsumerContext + 'static> Topics<C> {
    pub(crate) fn new(client: Arc<BaseConsumer<C>>, options: Arc<Options>) -> Self {
        Self { client, options }
    }

    /// What is there under a name.
    ///
    /// # Errors
    /// `Refused`, `Unavailable`.
    pub(crate) async fn find(&self, name: &str, until: Instant) -> Result<Option<Topic>, Error> {
        let (client, topic) = (Arc::clone(&self.client), name.to_owned());
        let left = until.saturating_duration_since(Instant::now());
        blocking(move || find(&client, &topic, left)).await?
    }

    /// Makes a topic what it has to be, where it is not there. One that is there is used as it is
    /// by who `adopts`.
    ///
    /// # Errors
    /// `Conflict`: it is there, and something else. `Refused`, `Unavailable`, `Unsupported`.
    pub(crate) async fn make(
        &self,
        name: &str,
        wanted: Wanted,
        adopts: bool,
        until: Instant,
    ) -> Result<(), Error> {
        let there = match self.find(name, until).await? {
            Some(there) => there,
            None => {
                self.create(name, wanted, until).await?;
                self.await_topic(name, until).await?
            }
        };
        if adopts {
            return Ok(());
        }
        let cleanup = self.cleanup(name, there.server, until).await?;
        match wanted.conflict(there, cleanup.as_deref()) {
            None => Ok(()),
            Some(why) => {
                let advice = "change it, or, if it is a queue's, set `declare: adopt` to use it as it is";
                Err(Error::new(ErrorKind::Conflict, format!("topic {name} is there, but {why}; {advice}")))
            }
        }
    }

    async fn create(&self, name: &str, wanted: Wanted, until: Instant) -> Result<(), Error> {
        let what = format!("make topic {name}");
        let admin = self.admin(&what)?;
        let client = Arc::clone(&self.client);
        let left = until.saturating_duration_since(Instant::now());
        let servers = blocking(move || servers(&client, left)).await??;
        let replicas = wanted.replicas(servers);
        let record_bytes = client::record_bytes_max(&self.options).to_string();
        let copies = TopicReplication::Fixed(replicas.unwrap_or(-1));
        let mut topic = NewTopic::new(name, wanted.partitions, copies)
            .set("max.message.bytes", &record_bytes)
            .set(CLEANUP, if wanted.is_compacted { "compact" } else { "delete" });
        if replicas.is_some_and(|replicas| replicas > 2) {
            // What is confirmed is on two servers at least.
            topic = topic.set("min.insync.replicas", "2");
        }
        let left = until.saturating_duration_since(Instant::now());
        let within = AdminOptions::new().request_timeout(Some(left)).operation_timeout(Some(left));
        let made = admin.create_topics([&topic], &within).await;
        let answer = made.and_then(|answers| match answers.into_iter().next() {
            Some(Err((_, code))) => Err(KafkaError::AdminOp(code)),
            _ => Ok(()),
        });
        match answer {
            // Somebody was faster.
            Err(KafkaError::AdminOp(Code::TopicAlreadyExists)) => Ok(()),
            other => other.map_err(|error| error::of_call(&what, &error)),
        }
    }

    /// Waits until a topic that was made can be used.
    async fn await_topic(&self, name: &str, until: Instant) -> Result<Topic, Error> {
        loop {
            if let Some(topic) = self.find(name, until).await? {
                return Ok(topic);
            }
            if Instant::now() + LOOK >= until {
                return Err(Error::late(&format!("make topic {name}"), self.options.timeout));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What becomes of old messages of a topic; none where the cluster does not say.
    async fn cleanup(&self, name: &str, server: i32, until: Instant) -> Result<Option<String>, Error> {
        let what = format!("look at topic {name}");
        let admin = self.admin(&what)?;
        let left = until.saturating_duration_since(Instant::now());
        // Every server knows it; only the library would ask the controller.
        let within = AdminOptions::new().request_timeout(Some(left)).broker_id(server);
        let asked = admin.describe_configs([&ResourceSpecifier::Topic(name)], &within).await;
        let said = asked.and_then(|all| all.into_iter().next().transpose().map_err(KafkaError::AdminOp));
        match said {
            Ok(settings) => Ok(settings.and_then(|settings| settings.get(CLEANUP)?.value.clone())),
            // Who may use a topic need not be allowed to see its settings.
            Err(KafkaError::AdminOp(Code::UnsupportedFeature | Code::TopicAuthorizationFailed)) => Ok(None),
            Err(error) => Err(error::of_call(&what, &error)),
        }
    }

    fn admin(&self, what: &str) -> Result<AdminClient<DefaultClientContext>, Error> {
        client::config(&self.options).create().map_err(|error| error::of_call(what, &error))
    }
}

/// Runs what waits where that harms nobody.
pub(crate) async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let ended =
        |error| Error::new(ErrorKind::Unavailable, format!("a call to the broker ended badly: {error}"));
    tokio::task::spawn_blocking(call).await.map_err(ended)
}

fn find<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    name: &str,
    within: Duration,
) -> Result<Option<Topic>, Error> {
    let what = format!("look for topic {name}");
    let answer = client.fetch_metadata(Some(name), within).map_err(|error| error::of_call(&what, &error))?;
    let (servers, server) = (answer.brokers().len(), answer.brokers().first().map_or(-1, MetadataBroker::id));
    let Some(topic) = answer.topics().iter().find(|topic| topic.name() == name) else { return Ok(None) };
    match topic.error().map(Code::from) {
        // As long as it is new, its partitions have no leaders yet.
        Some(code) if error::is_missing(code) || code == Code::LeaderNotAvailable => return Ok(None),
        Some(code) => return Err(error::of_call(&what, &KafkaError::MetadataFetch(code))),
        None => {}
    }
    let partitions = topic.partitions();
    let replicas = partitions.iter().map(|partition| partition.replicas().len()).min().unwrap_or_default();
    Ok((!partitions.is_empty()).then_some(Topic { partitions: partitions.len(), replicas, servers, server }))
}

fn servers<C: ConsumerContext>(client: &BaseConsumer<C>, within: Duration) -> Result<usize, Error> {
    let answer = client.fetch_metadata(None, within);
    Ok(answer.map_err(|error| error::of_call("look at the cluster", &error))?.brokers().len())
}

#[cfg(test)]
mod tests;
