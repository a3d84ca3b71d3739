//! The events of this server as an AsyncAPI 3 document, from its live queues and datasets, and
//! what of it is at the broker.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use orderwire_api::{Caller, Problem, ReadProblems};
use orderwire_types::dataset::{DatasetDef, FieldType};
use orderwire_types::queue::{Format, Key, Kind, QueueDef};
use orderwire_types::{QueueName, Right};
use serde_json::{Map, Value, json};

use crate::state::Shared;

/// The version of the specification that the document follows,
/// <https://www.asyncapi.com/docs/reference/specification/v3.0.0>.
const ASYNCAPI: &str = "3.0.0";

/// The queues and datasets that the caller may touch, as an AsyncAPI 3 document.
///
/// Each queue is a channel from which events are consumed by HTTP; `events` and each
/// dataset are channels that take them in. Behind a broker each queue is one there as well.
#[utoipa::path(get, path = "/asyncapi.json", tag = "operation",
    responses((status = 200, description = "an AsyncAPI 3 document", body = Object), ReadProblems))]
pub(crate) async fn get_asyncapi(
    State(state): State<Shared>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Json<Value>, Problem> {
    if !caller.scope.may(Right::Consume) {
        caller.require(Right::Read)?;
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let queues = state.queues().definitions(&caller.scope);
    let datasets = state.store().datasets(&caller.scope);
    let datasets = datasets.iter().map(|dataset| (dataset.name.as_str(), &dataset.def));
    let mut document = document(host, &queues, datasets);
    if let Some(broker) = &state.gateway.broker {
        add_broker(&mut document, broker, &queues);
    }
    Ok(Json(document))
}

/// What other people's code has to know of the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerView {
    /// What is spoken to it, as AsyncAPI calls it: `amqp`, `amqps`, `nats`, `kafka`, `kafka-secure`.
    pub protocol: &'static str,
    /// The host of one of its servers, and its port where one is given.
    pub host: String,
    /// What stands behind them: the virtual host of RabbitMQ.
    pub path: String,
    /// The queues that are there.
    pub queues: Vec<BrokerQueueView>,
}

/// A queue, and what is at the broker of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerQueueView {
    /// Its name.
    pub name: QueueName,
    /// Where at the broker events are put into it: a queue, a subject or a topic.
    pub intake: String,
    /// Where at the broker other people's consumers read it.
    pub out: Option<String>,
}

fn document<'d>(
    host: Option<&str>,
    queues: &[(QueueName, QueueDef)],
    datasets: impl Iterator<Item = (&'d str, &'d DatasetDef)>,
) -> Value {
    let (mut channels, mut operations, mut messages) = (Map::new(), Map::new(), Map::new());
    for (name, form) in [
        ("cloudevents", Format::Cloudevents),
        ("message-attributes", Format::MessageAttributes),
        ("flat", Format::Flat),
    ] {
        messages.insert(name.to_owned(), message(name, form));
    }
    channels.insert("events".to_owned(), json!({
        "address": "/v1/events",
        "title": "events in",
        "description": "POST one event, a CloudEvents batch or NDJSON; answered with 202 after it is durable.",
        "messages": {
            "cloudevents": reference("messages", "cloudevents"),
            "message-attributes": reference("messages", "message-attributes"),
        },
    }));
    operations.insert(
        "publish".to_owned(),
        json!({
            "action": "receive",
            "channel": {"$ref": "#/channels/events"},
            "bindings": {"http": {"method": "POST", "bindingVersion": "0.3.0"}},
        }),
    );
    for (name, def) in queues {
        let channel = format!("queue.{name}");
        let form = form(def.format);
        channels.insert(
            channel.clone(),
            json!({
                "address": format!("/v1/queues/{name}"),
                "title": format!("queue {name}"),
                "description": description(name, def),
                "messages": {form: reference("messages", form)},
            }),
        );
        operations.insert(
            format!("consume.{name}"),
            json!({
                "action": "send",
                "channel": {"$ref": format!("#/channels/{channel}")},
                "summary": format!("POST /v1/queues/{name}/lease, or GET …/stream or …/ws; then ack or nack"),
            }),
        );
    }
    for (name, def) in datasets {
        let (channel, row) = (format!("rows.{name}"), format!("row.{name}"));
        messages.insert(
            row.clone(),
            json!({
                "name": format!("orderwire.rows.{name}"),
                "title": format!("a row of {name}"),
                "contentType": "application/json",
                "payload": row_schema(def),
            }),
        );
        channels.insert(
            channel.clone(),
            json!({
                "address": format!("/v1/datasets/{name}/rows"),
                "title": format!("rows of {name} in"),
                "description": "POST a JSON object or array, NDJSON or CSV.",
                "messages": {"row": reference("messages", &row)},
            }),
        );
        operations.insert(
            format!("record.{name}"),
            json!({
                "action": "receive",
                "channel": {"$ref": format!("#/channels/{channel}")},
                "bindings": {"http": {"method": "POST", "bindingVersion": "0.3.0"}},
            }),
        );
    }
    let mut document = json!({
        "asyncapi": ASYNCAPI,
        "info": {
            "title": "Orderwire",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What this server takes in and hands out. Every call shows a key.",
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages},
    });
    if let Some(host) = host {
        document["servers"] = json!({"this": {"host": host, "protocol": "http"}});
    }
    document
}

/// Adds the server and the channels of a broker, of the queues that the caller may touch. All
/// that was there before is spoken to this server alone.
fn add_broker(document: &mut Value, broker: &BrokerView, queues: &[(QueueName, QueueDef)]) {
    let BrokerView { protocol, host, path, queues: there } = broker;
    let own = document["servers"].get("this").map(|_| json!([{"$ref": "#/servers/this"}]));
    if let (Some(own), Some(channels)) = (own, document["channels"].as_object_mut()) {
        channels.values_mut().for_each(|channel| channel["servers"] = own.clone());
    }
    document["servers"]["broker"] = json!({"host": host, "protocol": protocol});
    if !path.is_empty() {
        document["servers"]["broker"]["pathname"] = path.as_str().into();
    }
    for queue in there {
        let Some((name, def)) = queues.iter().find(|(name, _)| *name == queue.name) else { continue };
        let mut add = |action: &str, verb: &str, at: &str, title: String, forms: Vec<&str>| {
            let channel = format!("broker.{at}");
            let messages: Map<String, Value> =
                forms.into_iter().map(|form| (form.to_owned(), reference("messages", form))).collect();
            document["channels"][&channel] = json!({
                "address": at,
                "title": title,
                "servers": [{"$ref": "#/servers/broker"}],
                "messages": messages,
            });
            if protocol.starts_with("amqp") {
                document["channels"][&channel]["bindings"] = json!({"amqp": {
                    "is": "queue",
                    "queue": {"name": at, "durable": true, "exclusive": false, "autoDelete": false},
                    "bindingVersion": "0.3.0",
                }});
            }
            document["operations"][format!("{verb}.{name}")] =
                json!({"action": action, "channel": {"$ref": format!("#/channels/{channel}")}});
        };
        let title = format!("queue {name}, in by the broker");
        add("receive", "put", &queue.intake, title, vec!["cloudevents", "message-attributes", "flat"]);
        if let Some(out) = &queue.out {
            let title = format!("queue {name}, for consumers at the broker");
            add("send", "take", out, title, vec![form(def.format)]);
        }
    }
}

fn reference(kind: &str, name: &str) -> Value {
    json!({"$ref": format!("#/components/{kind}/{name}")})
}

fn form(format: Format) -> &'static str {
    match format {
        Format::Cloudevents => "cloudevents",
        Format::MessageAttributes => "message-attributes",
        Format::Flat => "flat",
    }
}

fn description(name: &QueueName, def: &QueueDef) -> String {
    let types: Vec<String> = def.types.iter().map(ToString::to_string).collect();
    let order = match (def.kind, def.key) {
        (Kind::Stream, _) => "a stream in arrival order",
        (Kind::Task, Key::Partitionkey) => "a task queue in order per partition key, else per client",
        (Kind::Task, Key::Client) => "a task queue in order per client",
        (Kind::Task, Key::None) => "a task queue without order",
    };
    let types = if types.is_empty() { "no types yet".to_owned() } else { types.join(", ") };
    format!("{name} is {order}; it takes {types}.")
}

fn message(name: &str, format: Format) -> Value {
    let text = json!({"type": "string"});
    let (content_type, required, properties) = match format {
        Format::Cloudevents => (
            "application/cloudevents+json",
            json!(["specversion", "id", "source", "type"]),
            json!({
                "specversion": {"const": "1.0"}, "id": text, "source": text, "type": text,
                "time": {"type": "string", "format": "date-time"}, "client": text, "partitionkey": text,
                "eventid": {"type": "string", "format": "uuid"}, "traceparent": text, "data": {},
            }),
        ),
        Format::MessageAttributes => (
            "application/json",
            json!(["MessageAttributes"]),
            json!({
                "client": text,
                "MessageAttributes": {
                    "type": "object",
                    "required": ["event_type"],
                    "additionalProperties": {"type": "object", "properties": {"Type": text, "Value": text}},
                },
                "Metadata": {"type": "object"},
            }),
        ),
        Format::Flat => (
            "application/json",
            json!(["client", "trace_id"]),
            json!({"client": text, "trace_id": text, "event_id": text, "event_type": text,
                "published_on": text, "retrace_intent": text}),
        ),
    };
    json!({
        "name": name,
        "contentType": content_type,
        "payload": {"type": "object", "required": required, "properties": properties},
    })
}

/// The JSON Schema of a row.
fn row_schema(def: &DatasetDef) -> Value {
    let mut properties = Map::new();
    for field in &def.fields {
        let mut schema = match field.field_type {
            FieldType::Text => json!({"type": "string"}),
            FieldType::Integer => json!({"type": "integer"}),
            FieldType::Float => json!({"type": "number"}),
            FieldType::Boolean => json!({"type": "boolean"}),
            FieldType::Timestamp => json!({"type": "string", "format": "date-time"}),
            FieldType::Decimal => json!({"type": "number"}),
            FieldType::Date => json!({"type": "string", "format": "date"}),
            FieldType::Uuid => json!({"type": "string", "format": "uuid"}),
            FieldType::Json => json!({}),
            FieldType::Texts => json!({"type": "array", "items": {"type": "string"}}),
        };
        if let Some(default) = &field.default {
            schema["default"] = default.clone();
        }
        let unit = field.unit.as_ref().map(|unit| format!("in {unit}"));
        let told: Vec<String> = field.description.iter().cloned().chain(unit).collect();
        if !told.is_empty() {
            schema["description"] = told.join(", ").into();
        }
        properties.insert(field.name.to_string(), schema);
    }
    let required: Vec<String> = def
        .fields
        .iter()
        .filter(|field| field.required && field.default.is_none())
        .map(|field| field.name.to_string())
        .collect();
    json!({"type": "object", "required": required, "properties": properties})
}

#[cfg(test)]
mod tests {
    use orderwire_types::queue::default_queues;

    use super::*;

    fn air() -> DatasetDef {
        serde_json::from_value(json!({
            "fields": [{"name": "at", "type": "timestamp", "required": true},
                       {"name": "no2", "type": "float", "unit": "µg/m³", "description": "Nitrogen dioxide"}],
        }))
        .unwrap()
    }

    fn broker() -> BrokerView {
        let queue = |name: &str, intake: &str, out: Option<&str>| BrokerQueueView {
            name: name.parse().unwrap(),
            intake: intake.to_owned(),
            out: out.map(str::to_owned),
        };
        BrokerView {
            protocol: "amqp",
            host: "mq.example:5672".to_owned(),
            path: "/shop".to_owned(),
            queues: vec![
                queue("infra", "infra", None),
                queue("clients", "clients.in", Some("clients")),
                queue("hidden", "hidden", None),
            ],
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let air = air();
        let mut document = document(Some("localhost:8080"), &default_queues(), [("air", &air)].into_iter());
        assert!(document["channels"]["events"]["servers"].is_null(), "there is one server only");
        for with_broker in [false, true] {
            if with_broker {
                add_broker(&mut document, &broker(), &default_queues());
            }
            let mut references = Vec::new();
            collect(&document, &mut references);
            assert!(references.len() > 10, "{references:?}");
            for reference in references {
                let pointer = reference.strip_prefix('#').expect("within the document");
                assert!(document.pointer(pointer).is_some(), "{reference}");
            }
        }
        assert_eq!(document["channels"]["queue.infra"]["address"], "/v1/queues/infra");
        assert_eq!(document["components"]["messages"]["row.air"]["payload"]["required"], json!(["at"]));
    }

    #[test]
    fn a_broker_is_a_server_with_the_queues_that_the_caller_may_touch() {
        let mut document = document(Some("localhost:8080"), &default_queues(), std::iter::empty());
        add_broker(&mut document, &broker(), &default_queues());
        assert_eq!(
            document["servers"]["broker"],
            json!({"host": "mq.example:5672", "protocol": "amqp", "pathname": "/shop"})
        );
        let at = |channel: &str| document["channels"][channel]["servers"][0]["$ref"].as_str().unwrap();
        assert_eq!((at("events"), at("queue.infra")), ("#/servers/this", "#/servers/this"));
        assert_eq!((at("broker.infra"), at("broker.clients")), ("#/servers/broker", "#/servers/broker"));
        assert_eq!(
            document["channels"]["broker.clients.in"]["bindings"]["amqp"]["queue"]["name"],
            "clients.in"
        );
        let operation = |name: &str| {
            let operation = &document["operations"][name];
            (operation["action"].as_str().unwrap(), operation["channel"]["$ref"].as_str().unwrap())
        };
        assert_eq!(operation("put.infra"), ("receive", "#/channels/broker.infra"));
        assert_eq!(operation("put.clients"), ("receive", "#/channels/broker.clients.in"));
        assert_eq!(operation("take.clients"), ("send", "#/channels/broker.clients"));
        assert!(document["operations"]["take.infra"].is_null(), "it is read here alone");
        assert!(document["channels"]["broker.hidden"].is_null(), "nothing of it may be known");
        let messages = document["channels"]["broker.clients"]["messages"].as_object().unwrap();
        assert_eq!(messages.len(), 1, "in its one form: {messages:?}");
    }

    #[test]
    fn what_is_said_of_queues_of_amqp_is_not_said_of_subjects() {
        let mut document = document(Some("localhost:8080"), &default_queues(), std::iter::empty());
        let mut nats = BrokerView { protocol: "nats", path: String::new(), ..broker() };
        nats.queues[0].intake = "orderwire.queue.infra".to_owned();
        add_broker(&mut document, &nats, &default_queues());
        let server = &document["servers"]["broker"];
        assert_eq!(*server, json!({"host": "mq.example:5672", "protocol": "nats"}));
        let channel = &document["channels"]["broker.orderwire.queue.infra"];
        assert_eq!(channel["address"], "orderwire.queue.infra");
        assert!(channel["bindings"].is_null(), "{channel}");
    }

    fn collect(value: &Value, references: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(reference)) = members.get("$ref") {
                    references.push(reference.clone());
                }
                members.values().for_each(|value| collect(value, references));
            }
            Value::Array(items) => items.iter().for_each(|value| collect(value, references)),
            _ => {}
        }
    }
}
