//! The suite of brokers, but for what this server does not do.

use std::sync::Arc;

use async_trait::async_trait;
use orderwire_broker::Broker;
use orderwire_broker::testkit::{Factory, cases};
use orderwire_broker_kafka::KafkaBroker;
use orderwire_types::QueueName;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, LocalSet};

use super::Tansu;

/// What it does not do: it forgets the text beside offsets, by which the next consumer knows what was
/// handed out, and what is done out of order.
pub(crate) const NOT_HERE: [&str; 4] = [
    "an_ack_of_some_leaves_the_others",
    "an_unacked_message_comes_again",
    "closing_ends_consumers_and_gives_back",
    "what_a_consumer_held_goes_to_the_others",
];

/// A server as the suite sees it.
struct Place(Tansu);

impl Place {
    async fn factory() -> Option<Arc<dyn Factory>> {
        // Cases beside it go on meanwhile.
        let tansu = tokio::task::spawn_blocking(Tansu::start).await.unwrap()?;
        Some(Arc::new(Self(tansu)))
    }
}

#[async_trait]
impl Factory for Place {
    async fn open(&self) -> Result<Arc<dyn Broker>, String> {
        let broker = KafkaBroker::start(self.0.options());
        broker.check().await.map_err(|error| error.to_string())?;
        Ok(Arc::new(broker))
    }

    async fn occupy(&self, queue: &QueueName) -> Result<bool, String> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.0.options().servers.join(","));
        let admin: AdminClient<DefaultClientContext> = config.create().map_err(|error| error.to_string())?;
        let topic = NewTopic::new(queue.as_str(), 1, TopicReplication::Fixed(1));
        let made = admin.create_topics([&topic], &AdminOptions::new()).await;
        let made = made.map_err(|error| error.to_string())?;
        made.into_iter().all(|made| made.is_ok()).then_some(true).ok_or("it was not made".to_owned())
    }

    async fn remove(&self, _queues: &[QueueName]) -> Result<(), String> {
        // The server goes with its case.
        Ok(())
    }

    fn patience(&self) -> std::time::Duration {
        crate::support::PATIENCE
    }
}

/// How many cases go on at once. Each waits for consumer groups most of its time.
const AT_ONCE: usize = 10;

#[tokio::test]
async fn every_promise_is_kept_but_those_that_need_the_text_beside_offsets() {
    let suite = cases();
    for name in NOT_HERE {
        assert!(suite.iter().any(|case| case.name == name), "no case {name}");
    }
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut under_way = JoinSet::new();
    let here = LocalSet::new();
    for case in suite.into_iter().filter(|case| !NOT_HERE.contains(&case.name)) {
        under_way.spawn_local_on(broken(case.name, Arc::clone(&places)), &here);
    }
    let all = here.run_until(under_way.join_all()).await;
    let broken: Vec<String> = all.into_iter().flatten().collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

/// What is broken of a promise, on a server of its own.
async fn broken(name: &'static str, places: Arc<Semaphore>) -> Option<String> {
    let _place = places.acquire().await;
    let factory = Place::factory().await?;
    let case = cases().into_iter().find(|case| case.name == name)?;
    case.run(factory).await.err().map(|why| format!("{name}: {why}"))
}
