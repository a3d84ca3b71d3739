//! The conformance suite, at the server of this machine.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use orderwire_broker::Broker;
use orderwire_broker::testkit::{Factory, documented};
use orderwire_broker_nats::{NatsBroker, Options};
use orderwire_types::QueueName;
use serde_json::json;

use crate::kit::{Bench, ask, options, remove_stream, url};

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

/// The row of the page is written when `UPDATE_GENERATED` is set.
#[tokio::test]
async fn the_row_of_the_page_is_generated() {
    let Some(bench) = Bench::open().await else { return };
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/brokers.md");
    documented(&page, &bench.broker.capabilities(), "NATS 2.9");
    bench.end().await;
}
