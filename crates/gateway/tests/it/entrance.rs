//! Events in from a broker.

use std::collections::HashMap;

use orderwire_broker::testkit::MODEL_CAPABILITIES;
use orderwire_broker::{Message, Received, SigningKey, Tag};
use orderwire_gateway::{Entrance, Input};
use orderwire_types::{Event, EventId, QueueName, Right, Scope, scope, testkit};

use crate::support::Server;

const KEY: &[u8] = b"of this installation";

fn event(event_type: &str, client: &str) -> Event {
    let id = EventId("6f72d1c6-8c0f-5f3d-9a55-6576656e742e".parse().unwrap());
    Event { principal: "key:1".to_owned(), may_order: true, ..testkit::event(id, event_type, client) }
}

/// As the broker hands it over, from whichever queue it was put into.
fn received(message: Message) -> Received {
    Received {
        tag: Tag(1),
        id: Some(message.id),
        event_type: None,
        content_type: Some(message.content_type.to_owned()),
        headers: message.headers,
        body: message.body,
        redelivered: false,
    }
}

/// An entrance whose queues may name this client alone.
async fn entrance() -> (Server, Entrance, [QueueName; 2]) {
    let server = Server::start().await;
    let queues: [QueueName; 2] = ["shop", "infra"].map(|name| name.parse().unwrap());
    let scope = Scope {
        principal: "queue:shop".into(),
        clients: scope::Clients::Only(["acme".parse().unwrap()].into()),
        rights: [Right::Write].into(),
        objects: None,
    };
    let inputs: HashMap<_, _> =
        queues.iter().map(|name| (name.clone(), Input { scope: scope.clone(), event_type: None })).collect();
    let key = SigningKey::derived_from(KEY);
    let entrance = Entrance::new(server.gateway.clone(), key, inputs, MODEL_CAPABILITIES);
    (server, entrance, queues)
}

#[tokio::test]
async fn a_signed_message_keeps_its_principal_in_the_queues_of_its_type_alone() {
    let (_server, entrance, [shop, infra]) = entrance().await;
    let signed = SigningKey::derived_from(KEY).message(event("shop.sold", "zeta"));
    let taken = entrance.read(&shop, &received(signed.clone())).unwrap();
    assert_eq!(taken.rejected, None);
    assert_eq!((taken.incoming.event.principal.as_str(), taken.incoming.event.may_order), ("key:1", true));

    // Whoever may write to another queue puts it there.
    let carried_off = entrance.read(&infra, &received(signed)).unwrap();
    assert!(carried_off.rejected.unwrap().contains("does not take signed events"));
    let left = carried_off.incoming.event;
    assert_eq!((left.principal.as_str(), left.may_order), ("queue:shop", false));
    assert_ne!(left.client.as_str(), "zeta");
}

#[tokio::test]
async fn what_another_installation_signed_is_refused() {
    let (_server, entrance, [shop, _]) = entrance().await;
    let signed = SigningKey::derived_from(b"of another one").message(event("shop.sold", "acme"));
    let refused = entrance.read(&shop, &received(signed)).unwrap();
    assert!(refused.rejected.unwrap().contains("signature"));
    assert!(!refused.incoming.event.may_order);
}

/// Its producer mends it, and sends it again under the same message id.
#[tokio::test]
async fn a_rejected_message_does_not_stand_in_the_way_of_the_mended_one() {
    let (server, entrance, [shop, _]) = entrance().await;
    let attributes = |event_type: &str| {
        format!(r#"{{"client": "acme", "n": 1, "MessageAttributes": {{"event_type": {event_type}}}}}"#)
    };
    let message = |body: String| Received {
        tag: Tag(1),
        id: Some("order-7".to_owned()),
        event_type: None,
        content_type: None,
        headers: Vec::new(),
        body: body.into(),
        redelivered: false,
    };
    let broken = message(attributes("7"));
    let mended = message(attributes(r#"{"Type": "String", "Value": "shop.sold"}"#));
    let mut outcomes = Vec::new();
    for message in [&broken, &broken, &mended, &mended, &broken] {
        let arrived = entrance.read(&shop, message).unwrap();
        let is_rejected = arrived.rejected.is_some();
        let new = server.gateway.queues.arrive(&shop, &[arrived]).await.unwrap();
        outcomes.push((is_rejected, new[0]));
    }
    assert_eq!(outcomes, [(true, true), (true, false), (false, true), (false, false), (true, false)]);
}

#[tokio::test]
async fn rows_with_a_key_that_is_too_long_are_a_dead_letter_that_says_what_to_do() {
    let (server, entrance, [shop, _]) = entrance().await;
    server.air().await;
    let sent = |bytes: usize| {
        let row = format!(r#"{{"station":"{}","at":"2024-01-01T00:00:00Z"}}"#, "x".repeat(bytes));
        let body = format!(
            r#"{{"specversion":"1.0","id":"1","source":"/meter","type":"orderwire.rows.air","client":"acme","data":[{row}]}}"#
        );
        Received {
            tag: Tag(1),
            id: None,
            event_type: None,
            content_type: None,
            headers: Vec::new(),
            body: body.into(),
            redelivered: false,
        }
    };
    assert_eq!(entrance.read(&shop, &sent(1_024)).unwrap().rejected, None);
    let cause = entrance.read(&shop, &sent(1_025)).unwrap().rejected.unwrap();
    assert!(cause.starts_with("/data/0/station: ") && cause.contains("at most 1024 bytes"), "{cause}");
    assert!(cause.contains("shorten them, or keep what is long in a column"), "{cause}");
}
