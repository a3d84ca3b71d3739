//! Events of the provisioner's own.

use jiff::Timestamp;
use orderwire_store::orders::{Order, StateChange};
use orderwire_types::{Data, Event, EventId, Origin, RawJson, identity};
use serde_json::{Value, json};

/// Who says so.
const SOURCE: &str = "/orderwire/provisioner";
/// The same as a role.
const ROLE: &str = "provisioner";

/// The event that tells a change of an order's state: `orderwire.order.<state>`.
/// The same change makes the same event, however often it is told.
pub(crate) fn state_event(change: &StateChange) -> Event {
    let order = &change.order;
    let mut data = json!({
        "order_id": order.id.to_string(),
        "trace_id": order.trace.to_string(),
        "client": order.client.as_str(),
        "name": order.name,
        "product": order.product,
        "environment": order.environment,
        "namespace": order.namespace,
        "target": order.target,
        "action": order.action.as_str(),
        "state": order.state.as_str(),
        "revision": order.revision,
        "created_at": order.created_at.to_string(),
        "updated_at": order.updated_at.to_string(),
    });
    let further = [
        ("archtype", order.archtype.as_deref().map(Value::from)),
        ("hardware", order.hardware.as_deref().map(Value::from)),
        ("reason", order.reason.as_deref().map(Value::from)),
        ("release_id", order.release.map(|release| Value::from(release.to_string()))),
        ("removed", (!order.removed.is_empty()).then(|| Value::from(order.removed.clone()))),
    ];
    for (name, value) in further {
        if let Some(value) = value {
            data[name] = value;
        }
    }
    let id = identity::own_id(ROLE, &order.client, &format!("{}/{}", order.id, change.n));
    let event_type = format!("orderwire.order.{}", order.state);
    // In order for each release, releases beside each other.
    let key = order.release.map_or_else(|| order.id.to_string(), |release| release.to_string());
    event(order, id, &event_type, Some(key), order.updated_at, &data)
}

/// The event that announces the client of an order to the recorder. There is one
/// for good: announced again, it is known.
pub(crate) fn client_event(order: &Order) -> Event {
    let id = identity::own_id(ROLE, &order.client, "seen");
    let data = json!({ "client": order.client.as_str() });
    event(order, id, "orderwire.client.changed", None, order.created_at, &data)
}

fn event(
    order: &Order,
    id: EventId,
    event_type: &str,
    key: Option<String>,
    at: Timestamp,
    data: &Value,
) -> Event {
    Event {
        id,
        event_type: event_type.parse().expect("the provisioner's event types are valid"),
        source: SOURCE.to_owned(),
        client: order.client.clone(),
        key,
        time: None,
        trace: order.trace.clone(),
        attempt: None,
        cause: Some(order.id),
        accepted_at: at,
        principal: ROLE.to_owned(),
        may_order: false,
        depth: order.depth,
        import: None,
        origin: Origin::Plain,
        data: Data::Json(RawJson::of(data).expect("a JSON value is JSON")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orderwire_types::{Action, OrderState, TraceId};
    use uuid::Uuid;

    fn change(state: OrderState, n: u64) -> StateChange {
        let at: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
        let order = Order {
            id: EventId(Uuid::from_u128(1)),
            trace: TraceId::from_given("their trace"),
            client: "acme".parse().unwrap(),
            name: "sensor".to_owned(),
            product: "sensor".to_owned(),
            environment: "dev".to_owned(),
            archtype: None,
            hardware: Some("shared".to_owned()),
            namespace: "acme".to_owned(),
            target: "local".to_owned(),
            action: Action::Apply,
            to_revision: None,
            parameters: RawJson::parse(r#"{"label":"private"}"#.to_owned()).unwrap(),
            principal: "key:1".to_owned(),
            fingerprint: [0; 16],
            ordered_at: at,
            depth: 3,
            release: Some(Uuid::from_u128(2)),
            state,
            reason: Some("because".to_owned()),
            revision: Some(3),
            cancel: false,
            removed: Vec::new(),
            created_at: at,
            updated_at: at,
        };
        StateChange { seq: 9, order, n }
    }

    #[test]
    fn a_change_of_state_is_the_same_event_however_often_it_is_told() {
        let first = state_event(&change(OrderState::Failed, 2));
        assert_eq!(first, state_event(&change(OrderState::Failed, 2)));
        assert_ne!(first.id, state_event(&change(OrderState::Failed, 3)).id);
        assert_eq!((first.event_type.as_str(), first.may_order), ("orderwire.order.failed", false));
        assert_eq!((first.depth, client_event(&change(OrderState::Failed, 2).order).depth), (3, 3));
        let Data::Json(data) = &first.data else { panic!("{first:?}") };
        assert!(!data.get().contains("private"), "{}", data.get());
        insta::assert_json_snapshot!(serde_json::from_str::<Value>(data.get()).unwrap());
    }

    #[test]
    fn no_producer_can_name_an_own_event() {
        let change = change(OrderState::Ready, 2);
        let client = &change.order.client;
        let name = format!("{}/{}", change.order.id, change.n);
        for (own, name) in [(state_event(&change), name.as_str()), (client_event(&change.order), "seen")] {
            for source in [SOURCE, ROLE, &own.source] {
                assert_ne!(own.id, identity::produced_id(client, source, name));
                assert_ne!(own.id, identity::message_id(client, source, name));
            }
        }
    }

    #[test]
    fn every_state_has_an_event_type_that_the_queue_takes() {
        for state in OrderState::ALL {
            let event = state_event(&change(state, 1));
            let pattern: orderwire_types::Pattern = "orderwire.order.#".parse().unwrap();
            assert!(pattern.matches(&event.event_type), "{}", event.event_type);
        }
    }

    #[test]
    fn a_client_is_announced_by_one_event_for_good() {
        let (one, mut other) = (change(OrderState::Accepted, 1), change(OrderState::Ready, 5));
        other.order.id = EventId(Uuid::from_u128(7));
        assert_eq!(client_event(&one.order).id, client_event(&other.order).id);
    }
}
