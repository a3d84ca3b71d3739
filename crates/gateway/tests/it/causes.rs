//! Events whose producers say what caused them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use orderwire_gateway::{Causes, Gateway};
use orderwire_store::testkit::forward::*;
use orderwire_store::{Error, Link, Store};
use serde_json::json;
use tokio::sync::watch;

use crate::support::Server;

/// A store that answers no write of links while it hangs.
struct Hanging {
    store: Arc<dyn Store>,
    hangs: watch::Receiver<bool>,
}

impl Forward for Hanging {
    fn inner(&self) -> &dyn Store {
        self.store.as_ref()
    }
}

#[async_trait]
impl ForwardTraces for Hanging {
    async fn add_links(&self, links: &[Link]) -> Result<(), Error> {
        self.hangs.clone().wait_for(|hangs| !hangs).await.unwrap();
        self.store.add_links(links).await
    }
}

impl ForwardDatasets for Hanging {}
impl ForwardClients for Hanging {}
impl ForwardKeys for Hanging {}
impl ForwardOrders for Hanging {}
impl ForwardDeliveryLog for Hanging {}
impl ForwardTurns for Hanging {}

#[tokio::test]
async fn nobody_waits_for_the_note_of_what_caused_an_event() {
    let mut server = Server::start().await;
    server.knows_default_client().await;
    let (hangs, receiver) = watch::channel(true);
    let store: Arc<dyn Store> = Arc::new(Hanging { store: server.store.clone(), hangs: receiver });
    let (causes, writer) = Causes::open(store.clone());
    let noting = tokio::spawn(writer.run(std::future::pending()));
    server.on(Gateway { store, causes, ..server.gateway.clone() });
    let cause = uuid::Uuid::from_u128(7).to_string();
    let event = |id: u32| {
        json!({"specversion": "1.0", "id": id.to_string(), "source": "/shop", "type": "shop.sold", "causeid": cause, "data": {}})
            .to_string()
    };
    let publish = async |id: u32| {
        let form = [("content-type", "application/cloudevents+json")];
        let accepted = server.call("POST", "/v1/events", &form, event(id)).await.ok(202);
        accepted["trace_id"].as_str().unwrap().to_owned()
    };
    let published = async {
        for id in 0..20 {
            publish(id).await;
        }
        publish(20).await
    };
    // One that waited for the note would not come to an end.
    let trace = tokio::time::timeout(Duration::from_secs(20), published).await.unwrap();
    let lineage = format!("/v1/traces/{trace}/lineage");
    assert_eq!(server.get(&lineage).await.ok(200)["links"], json!([]));
    hangs.send_replace(false);
    let noted = async {
        while server.get(&lineage).await.ok(200)["links"] == json!([]) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), noted).await.unwrap();
    let links = server.get(&lineage).await.ok(200)["links"].clone();
    assert_eq!(links[0]["from"], format!("event/{cause}"));
    noting.abort();
}
