//! What the settings of a sound configuration mean.

use std::path::PathBuf;
use std::time::Duration;

use orderwire_config::{ByteSize, Clients, Config, LimitsSettings, Read};
use orderwire_types::Limits;
use orderwire_types::queue::{Format, Key, Kind, default_queues};

use crate::load;

#[test]
fn without_settings_the_default_queues_exist() {
    assert_eq!(Config::default().queue_definitions(), default_queues());
}

#[test]
fn a_queue_of_a_default_name_changes_only_what_it_gives() {
    let yaml = "
queues:
  infra: {attempts: 9, backoff: {last: 5m}}
  notify: {types: [orderwire.alert.#]}
  shipping: {types: [shop.#], key: none, format: flat}
  audit:
";
    let queues = load(yaml).unwrap().queue_definitions();
    let names: Vec<&str> = queues.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["infra", "clients", "data", "status", "notify", "audit", "shipping"]);
    let infra = &queues[0].1;
    let default = &default_queues()[0].1;
    assert_eq!((infra.attempts, &infra.types), (9, &default.types));
    assert_eq!(infra.backoff.first.0, Duration::from_secs(1));
    assert_eq!(infra.backoff.last.0, Duration::from_secs(300));
    assert_eq!(queues[1..4], default_queues()[1..4]);
    assert_eq!(queues[4].1.types[0].as_str(), "orderwire.alert.#");
    let (audit, shipping) = (&queues[5].1, &queues[6].1);
    assert_eq!((audit.kind, audit.types[0].as_str()), (Kind::Stream, "#"));
    assert_eq!((shipping.kind, shipping.key, shipping.format), (Kind::Task, Key::None, Format::Flat));
    assert_eq!(shipping.attempts, 5);
}

#[test]
fn limits_have_the_defaults_of_the_vocabulary_and_override_each() {
    assert_eq!(Limits::from(&LimitsSettings::default()), Limits::default());
    let yaml =
        "limits: {body_bytes: 2MiB, event_bytes: 1000, json_depth: 3, field_bytes: 500B, batch_entries: 4,
        rows: 5, answer_bytes: 1GiB, queue_events: 6, lease_max: 7, wait_ms_max: 8, lease_ms_max: 9000,
        concurrent_requests: 10, rule_depth: 11, consumer_connections: 12,
        consumer_connections_per_key: 13}";
    let limits = Limits::from(&load(yaml).unwrap().limits);
    let expected = Limits {
        body_bytes: 2 << 20,
        event_bytes: 1000,
        json_depth: 3,
        field_bytes: 500,
        batch_entries: 4,
        rows: 5,
        answer_bytes: 1 << 30,
        queue_events: 6,
        lease_max: 7,
        wait_ms_max: 8,
        lease_ms_max: 9000,
        concurrent_requests: 10,
        rule_depth: 11,
        consumer_connections: 12,
        consumer_connections_per_key: 13,
    };
    assert_eq!(limits, expected);
}

#[test]
fn a_public_view_shows_the_default_client_unless_it_names_others() {
    let view = |more: &str| {
        let yaml = format!(
            "datasets: {{a: {{fields: [{{name: a, type: text}}]}}}}\nviews: {{v: {{path: /v, dataset: a{more}}}}}"
        );
        load(yaml).unwrap().views["v"].clone()
    };
    assert_eq!((view("").read, view("").public_clients()), (Read::Key, None));
    let named = |name: &str| Some(Clients::Named(vec![name.parse().unwrap()]));
    assert_eq!(view(", read: public").public_clients(), named("default"));
    assert_eq!(view(", read: public, clients: [acme]").public_clients(), named("acme"));
    assert_eq!(view(", read: public, clients: all").public_clients(), Some(Clients::All));
}

#[test]
fn the_store_is_in_the_data_folder_or_where_its_url_says() {
    let folder = |yaml: &str| load(yaml).unwrap().store_folder();
    assert_eq!(folder(""), PathBuf::from("./orderwire-data"));
    assert_eq!(folder("data: /d"), PathBuf::from("/d"));
    assert_eq!(folder("{data: /d, store: {url: 'sqlite:///var/lib/ow'}}"), PathBuf::from("/var/lib/ow"));
}

#[test]
fn sizes_print_as_they_are_read() {
    for text in ["0", "1B", "64KiB", "8MiB", "1GiB", "3TiB", "1025B"] {
        assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
    }
    assert_eq!("2048".parse::<ByteSize>().unwrap().to_string(), "2KiB");
}
