use std::path::Path;

use super::*;

fn load_text(text: &'static str) -> Result<Config, Faults> {
    load(&Sources { builtin: Some(("f.yaml", text)), ..Sources::default() })
}

#[test]
fn the_queries_of_views_are_checked_with_everything_else() {
    let faults = load_text(
        "listen: nowhere
datasets:
  air:
    fields:
      - {name: n, type: integer}
      - {name: who, type: text}
      - {name: raw, type: json}
      - {name: 'a.b', type: text}
  broken: {fields: []}
views:
  typed: {path: /typed, dataset: air, filter: n=eq.x&gone=eq.1, order: raw}
  like:
    path: /like
    dataset: air
    filter: n=like.1*
  group: {path: /group, dataset: air, shape: grouped, group_by: raw}
  tree: {path: /tree, dataset: air, filter: 'or=(n.eq.1'}
  nul: {path: /nul, dataset: air, filter: \"who=eq.a\\0\"}
  path: {path: /rest/x, dataset: air}
  columns: {path: /columns, dataset: air, columns: [gone], filter: n=eq.y}
  unread: {path: /unread, dataset: broken, filter: n=eq.x}
  sound: {path: /sound, dataset: air, filter: 'who=like.*a', order: '\"a.b\".desc'}
",
    )
    .unwrap_err();
    let shown: Vec<String> = faults.iter().map(ToString::to_string).collect();
    let wanted = [
        ("f.yaml:1:9: listen: ", ""),
        ("f.yaml:9:20: datasets.broken.fields: ", "at least one"),
        ("f.yaml:11:47: views.typed.filter: ", "\"gone\" does not exist"),
        ("f.yaml:11:47: views.typed.filter: ", "type integer"),
        ("f.yaml:11:72: views.typed.order: ", "no order"),
        ("f.yaml:15:13: views.like.filter: ", "needs a text column"),
        ("f.yaml:16:65: views.group.group_by: ", "it is json"),
        ("f.yaml:17:45: views.tree.filter: ", "expected"),
        ("f.yaml:18:43: views.nul.filter: ", "NUL"),
        ("f.yaml:19:16: views.path.path: ", "reserved"),
        ("f.yaml:20:53: views.columns.columns[0]: ", "gone"),
        ("f.yaml:20:68: views.columns.filter: ", "type integer"),
    ];
    for (place, part) in wanted {
        let found = shown.iter().filter(|line| line.starts_with(place) && line.contains(part)).count();
        assert_eq!(found, 1, "{place} {part}: {shown:#?}");
    }
    assert_eq!(shown.len(), wanted.len(), "each once: {shown:#?}");
}

#[test]
fn a_broker_that_is_not_in_this_build_is_refused_with_what_to_do() {
    for text in
        ["broker: {url: 'kafka://h:9092'}", "broker: {url: 'kafkas://ada:${HOME}@h,i:1/?partitions=3'}"]
    {
        let loaded = load_text(text);
        if cfg!(feature = "kafka") {
            loaded.unwrap();
            continue;
        }
        let shown = loaded.unwrap_err().to_string();
        assert!(shown.starts_with("f.yaml:1:15: broker.url: kafka"), "{shown}");
        assert!(shown.contains("feature kafka") && shown.contains("--features kafka"), "{shown}");
        assert!(!shown.contains("ada"), "{shown}");
    }
    load_text("broker: {url: 'amqp://h'}").unwrap();
}

#[test]
fn the_examples_are_sound() {
    let examples = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples"));
    let mut seen = 0;
    for folder in std::fs::read_dir(examples).unwrap() {
        let file = folder.unwrap().path().join("orderwire.yaml");
        if file.exists() {
            seen += 1;
            let sources = Sources { file: Some(file.clone()), ..Sources::default() };
            if let Err(faults) = load(&sources) {
                panic!("{}: {faults}", file.display());
            }
        }
    }
    assert!(seen > 0, "no example in {}", examples.display());
}

#[test]
fn an_alias_has_to_stand_for_a_product() {
    let faults =
        load_text("products:\n  aliases:\n    small-module: sensor\n    big-module: turbine\n").unwrap_err();
    let shown: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "f.yaml:4:17: products.aliases.big-module: there is no product turbine; there are broken, sensor, web"
        ]
    );
}

#[test]
fn where_an_mqtt_broker_is_and_whom_it_has_to_be_is_checked() {
    let faults = load_text(
        "mqtt:
  sound: {url: 'mqtt://b', topics: [{topic: a, type: x}]}
  scheme: {url: 'http://b', topics: [{topic: a, type: x}]}
  login: {url: 'mqtt://shop:hunter2@b', topics: [{topic: a, type: x}]}
  plain: {url: 'mqtt://b', ca: x.pem, client_id: c, topics: [{topic: a, type: x}]}
  ca: {url: 'mqtts://b', ca: /nowhere/x.pem, topics: [{topic: a, type: x}]}
",
    )
    .unwrap_err();
    let shown: Vec<String> = faults.iter().map(ToString::to_string).collect();
    for (place, part) in [
        ("f.yaml:3:17: mqtt.scheme.url: ", "use mqtt:// or mqtts://"),
        ("f.yaml:4:16: mqtt.login.url: ", "write them as user and password"),
        ("f.yaml:5:32: mqtt.plain.ca: ", "without TLS there is no certificate"),
        ("f.yaml:6:7: mqtt.ca: ", "/nowhere/x.pem"),
    ] {
        let found = shown.iter().filter(|line| line.starts_with(place) && line.contains(part)).count();
        assert_eq!(found, 1, "{place} {part}: {shown:#?}");
    }
    assert!(shown.len() == 4 && !shown.concat().contains("hunter2"), "{shown:#?}");
}
