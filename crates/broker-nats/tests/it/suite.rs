//! The conformance suite, at the server of this machine, and in a cluster of three.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use futures::{StreamExt as _, future, stream};
use orderwire_broker::Broker;
use orderwire_broker::testkit::{Case, Factory, cases, documented};
use orderwire_broker_nats::{NatsBroker, Options};
use orderwire_servers::nats::Nats;
use orderwire_types::QueueName;
use serde_json::json;

use crate::kit::{Bench, ask, options, remove_stream, url};
use crate::server::is_there;

/// Brokers on one stream, which each case has for itself.
struct Place {
    url: String,
    options: Options,
}

impl Place {
    async fn broker(&self) -> Result<NatsBroker, String> {
        let broker = NatsBroker::open(self.options.clone()).await.map_err(|error| error.to_string())?;
        broker.check().await.map_err(|error| error.to_string())?;
        Ok(broker)
    }

    async fn client(&self) -> Result<async_nats::Client, String> {
        async_nats::connect(&self.url).await.map_err(|error| error.to_string())
    }
}

#[async_trait]
impl Factory for Place {
    async fn open(&self) -> Result<Arc<dyn Broker>, String> {
        Ok(Arc::new(self.broker().await?))
    }

    async fn occupy(&self, queue: &QueueName) -> Result<bool, String> {
        // The stream is there once a broker was.
        self.broker().await?.close().await;
        let name = queue.as_str().replace('.', "=");
        let subject = format!("{}.queue.{name}", self.options.prefix);
        let config = json!({
            "durable_name": name, "ack_policy": "explicit", "deliver_policy": "all",
            "filter_subject": subject, "max_deliver": 7,
        });
        let request = json!({ "stream_name": self.options.stream, "config": config });
        let what = format!("CONSUMER.DURABLE.CREATE.{}.{name}", self.options.stream);
        let answer = ask(&self.client().await?, &what, request).await;
        if answer["error"].is_null() { Ok(true) } else { Err(answer.to_string()) }
    }

    async fn remove(&self, _queues: &[QueueName]) -> Result<(), String> {
        remove_stream(&self.client().await?, &self.options.stream).await;
        Ok(())
    }
}

fn place() -> Option<Arc<dyn Factory>> {
    let url = url()?;
    let options = options(&url);
    Some(Arc::new(Place { url, options }))
}

orderwire_broker::broker_conformance!(place());

/// With each message on three servers, of which every case speaks to all and asks one.
#[tokio::test]
async fn every_promise_is_kept_by_a_cluster_with_three_replicas() {
    if !is_there() {
        return;
    }
    let cluster = Nats::cluster().unwrap();
    let all = cluster.iter().map(Nats::url).collect::<Vec<_>>().join(",");
    let run = async |(case, one): (Case, &Nats)| {
        let options = Options { replicas: 3, ..options(&all) };
        let outcome = case.run(Arc::new(Place { url: one.url(), options })).await;
        outcome.err().map(|why| format!("{}: {why}", case.name))
    };
    // Each waits for the servers to agree most of its time.
    let broken = stream::iter(cases().into_iter().zip(cluster.iter().cycle())).map(run).buffer_unordered(6);
    let broken: Vec<String> = broken.filter_map(future::ready).collect().await;
    assert!(broken.is_empty(), "{broken:#?}");
}

/// The row of the page is written when `UPDATE_GENERATED` is set.
#[tokio::test]
async fn the_row_of_the_page_is_generated() {
    let Some(bench) = Bench::open().await else { return };
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/brokers.md");
    documented(&page, &bench.broker.capabilities(), "NATS 2.9, alone and in a cluster of three");
    bench.end().await;
}
