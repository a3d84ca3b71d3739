//! Connections to MQTT brokers.

use orderwire_config::{Clients, MqttVersion};

use crate::load;

const DATASET: &str = "datasets: {air: {fields: [{name: id, type: text}, {name: no2, type: float}]}}\n";

fn faults(connection: &str) -> String {
    let yaml = format!("{DATASET}mqtt: {{a: {{{connection}}}}}");
    load(&yaml).map(|config| panic!("no fault: {config:?}")).unwrap_or_else(|faults| faults)
}

#[test]
fn a_connection_has_defaults() {
    let yaml = format!(
        "{DATASET}mqtt:\n  plant:\n    url: mqtt://broker\n    topics:\n      - topic: plants/{{client}}/{{station}}/air\n        \
         dataset: air\n        client: '{{client}}'\n        columns: {{id: 's-{{station}}'}}\n"
    );
    let config = load(&yaml).unwrap_or_else(|faults| panic!("{faults}"));
    let (name, plant) = config.mqtt.iter().next().unwrap();
    assert_eq!(
        (plant.version, plant.client_id(name, "5a0e")),
        (MqttVersion::V5, "orderwire-plant-5a0e".to_owned())
    );
    assert_eq!(
        (plant.keep_alive.to_string(), plant.session.to_string()),
        ("30s".to_owned(), "1d".to_owned())
    );
    assert_eq!(plant.principal.clients, Clients::All);
    assert_eq!((plant.topics[0].qos, plant.topics[0].topic.filter()), (1, "plants/+/+/air".to_owned()));
    for version in ["5", "3.1.1", "'5'"] {
        // Every run of the tests has this variable.
        let yaml = format!(
            "mqtt: {{a: {{url: 'mqtt://b', user: u, password: '${{CARGO_PKG_NAME}}', version: {version}, topics: [{{topic: a, type: x}}]}}}}"
        );
        assert!(load(&yaml).is_ok(), "{version}");
    }
}

#[test]
fn what_cannot_work_is_said_with_its_place() {
    for (connection, detail) in [
        (
            "url: 'mqtt://b', user: u, password: hunter2, topics: [{topic: a, type: x}]",
            "mqtt.a.password: a secret is never a plain value",
        ),
        (
            "url: 'mqtt://b', user: u, password: '${ORDERWIRE_NOT_SET}', topics: [{topic: a, type: x}]",
            "mqtt.a.password: the environment variable ORDERWIRE_NOT_SET is not set",
        ),
        (
            "url: 'mqtt://b', password: '${CARGO_PKG_NAME}', topics: [{topic: a, type: x}]",
            "mqtt.a.password: a password needs a user",
        ),
        ("url: 'mqtt://b', user: '', topics: [{topic: a, type: x}]", "mqtt.a.user"),
        ("url: 'mqtt://b', version: 4, topics: [{topic: a, type: x}]", "mqtt.a.version"),
        ("url: 'mqtt://b', client_id: '', topics: [{topic: a, type: x}]", "mqtt.a.client_id"),
        ("url: 'mqtt://b', keep_alive: 1s, topics: [{topic: a, type: x}]", "5s to 18h"),
        (
            "url: 'mqtt://b', principal: {rights: [admin]}, topics: [{topic: a, type: x}]",
            "rights write and order",
        ),
        ("url: 'mqtt://b', topics: []", "at least one"),
        ("url: 'mqtt://b', topics: [{topic: 'a/#/b', type: x}]", "# stands at the end alone"),
        ("url: 'mqtt://b', topics: [{topic: '$share/g/a', type: x}]", "shared subscriptions"),
        (
            "url: 'mqtt://b', topics: [{topic: a, type: 'x.{client}'}]",
            "topics[0].type: {client} is not in the topic",
        ),
        ("url: 'mqtt://b', topics: [{topic: a, type: 'x..y'}]", "topics[0].type: event type"),
        ("url: 'mqtt://b', topics: [{topic: a, type: x, dataset: air}]", "remove type or dataset"),
        ("url: 'mqtt://b', topics: [{topic: a, dataset: water}]", "there is no dataset water"),
        (
            "url: 'mqtt://b', topics: [{topic: a, dataset: air, columns: {co: x}}]",
            "column co is not in dataset air",
        ),
        ("url: 'mqtt://b', topics: [{topic: a, type: x, columns: {id: x}}]", "columns belong to rows"),
        ("url: 'mqtt://b', topics: [{topic: a, type: x, qos: 2}]", "2 is not available"),
        ("url: 'mqtt://b', topics: [{topic: a, type: x, client: 'a b'}]", "topics[0].client: client"),
        (
            "url: 'mqtt://b', principal: {clients: [acme]}, topics: [{topic: a, type: x, client: evil}]",
            "not among those of principal.clients",
        ),
        (
            "url: 'mqtt://b', topics: [{topic: 'a/#', type: x}, {topic: 'a/{b}', type: y}]",
            "topics[1].topic: never reached",
        ),
        ("url: 'mqtt://b', topics: [{topic: a, type: x, more: y}]", "more: unknown key"),
    ] {
        let shown = faults(connection);
        assert!(shown.contains(detail) && !shown.contains("hunter2"), "{connection}: {shown}");
        assert_eq!(shown.lines().count(), 1, "{connection}: {shown}");
    }
    // What partly overlaps is fine: the first decides.
    let yaml = "mqtt: {a: {url: 'mqtt://b', topics: [{topic: 'a/{b}', type: x}, {topic: 'a/#', type: y}]}}";
    assert!(load(yaml).is_ok());
    let same = "url: 'mqtt://b', client_id: c, topics: [{topic: a, type: x}]";
    let shown = load(format!("mqtt: {{one: {{{same}}}, two: {{{same}}}}}")).unwrap_err();
    assert!(shown.contains("mqtt.two.client_id: the connection one"), "{shown}");
}
