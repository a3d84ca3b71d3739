//! Events of the provisioner's own.

use jiff::Timestamp;
use orderwire_store::orders::{Order, StateChange};
use orderwire_types::{Data, Event, EventId, Origin, RawJson, identity};
use serde_json::{Value, json};

/// Who says so.
const SOURCE: &str = "/orderwire/provisioner";

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
    let id = identity::produced_id(&order.client, SOURCE, &format!("{}/{}", order.id, change.n));
    let event_type = format!("orderwire.order.{}", order.state);
    // In order for each release, releases beside each other.
    let key = order.release.map_or_else(|| order.id.to_string(), |release| release.to_string());
    event(order, id, &event_type, Some(key), order.updated_at, &data)
}

/// The event that announces the client of an order to the recorder. There is one
/// for good: announced again, it is known.
pub(crate) fn client_event(order: &Order) -> Event {
    let id = identity::produced_id(&order.client, SOURCE, "seen");
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
        principal: "provisioner".to_owned(),
        may_order: false,
        import: None,
        origin: Origin::Plain,
        data: Data::Json(RawJson::of(data).expect("a JSON value is JSON")),
    }
}
