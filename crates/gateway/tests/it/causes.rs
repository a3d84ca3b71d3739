//! Events whose producers say what caused them.

use std::time::Duration;

use orderwire_gateway::{Causes, Gateway};
use serde_json::json;

use crate::support::Server;

#[tokio::test]
async fn nobody_waits_for_the_note_of_what_caused_an_event() {
    let mut server = Server::start().await;
    server.knows_default_client().await;
    let (causes, writer) = Causes::open(server.store.clone());
    server.on(Gateway { causes, ..server.gateway.clone() });
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
    // Nobody writes yet: one that waited for the note would not come to an end.
    let trace = tokio::time::timeout(Duration::from_secs(20), published).await.unwrap();
    let lineage = format!("/v1/traces/{trace}/lineage");
    assert_eq!(server.get(&lineage).await.ok(200)["links"], json!([]));
    let noting = tokio::spawn(writer.run(std::future::pending()));
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
