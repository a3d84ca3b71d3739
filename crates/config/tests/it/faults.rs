//! Every fault at once, each with its place.

use crate::{load, load_with};

const FAULTY: &str = r#"
lisen: 127.0.0.1:8080
data: [a, b]
store:
  url: postgres://user:hunter2@db/orderwire
  url: sqlite://
cache:
  bytes: 64MB
broker:
  url: pulsar://broker:9092
auth: {}
queues:
  Infra: {}
  status:
    kind: tsak
    attempts: 0644
    backof: {first: 1s}
  shipping:
    types: ["a..b", "ok.#", "c d"]
    principal: someone
datasets:
  air:
    fields:
      - {name: no2, type: float}
      - {name: 1co, type: float}
      - {name: o3, type: money}
      - {type: text}
    key: [no2]
views:
  air:
    path: /rest/air
    dataset: air
    columns: [nope]
    freshness: soon
  other:
    dataset: gone
limits:
  rows: 1e3
  json_depth: 4096
  wait_ms_max: -1
telemetry: info
"#;

#[test]
fn every_fault_is_reported_together_with_its_place() {
    let env = [
        ("ORDERWIRE__LIMITS__LEASE_MAX", "no"),
        ("ORDERWIRE__RETENTION__TRACE", "7d"),
        ("ORDERWIRE_SERVER", "x"),
    ];
    let shown = load_with(FAULTY, &env).unwrap_err().to_string();
    insta::assert_snapshot!(shown);
    assert!(!shown.contains("hunter2"), "a password is never shown");
}

#[test]
fn faults_are_data_too() {
    let faults = load_with("listen: 8080\nviws: {}\n", &[]).unwrap_err().faults;
    let json = serde_json::to_value(&faults).unwrap();
    assert_eq!(json[0]["key"], "listen");
    assert_eq!((&json[0]["position"]["line"], &json[0]["position"]["column"]), (&1.into(), &9.into()));
    assert_eq!(json[1]["detail"], "unknown key; did you mean views?");
    assert_eq!((&json[1]["position"]["line"], &json[1]["position"]["column"]), (&2.into(), &1.into()));
    assert_eq!(faults.iter().count(), 2);
}

#[test]
fn unknown_key_names_what_was_meant_or_what_there_is() {
    let shown = load("limits: {row: 5}\nretention: {x: 1d}\nstorage: {}\n").unwrap_err();
    insta::assert_snapshot!(shown, @r"
    orderwire.yaml:1:10: limits.row: unknown key; did you mean rows?
    orderwire.yaml:2:13: retention.x: unknown key; use one of traces, dead_letters, idempotency, forwards, orders, revisions
    orderwire.yaml:3:1: storage: unknown key; did you mean store?
    ");
}

#[test]
fn every_duplicate_key_is_refused() {
    let shown = load("data: a\ndata: b\nlimits:\n  rows: 1\n  rows: 2\n'data': c\n").unwrap_err();
    insta::assert_snapshot!(shown, @r"
    orderwire.yaml:2:1: data: given twice, first on line 1; keep one
    orderwire.yaml:5:3: limits.rows: given twice, first on line 4; keep one
    orderwire.yaml:6:1: data: given twice, first on line 1; keep one
    ");
}

#[test]
fn a_value_that_was_reported_is_not_reported_as_missing_or_unknown() {
    let yaml = "
datasets:
  air: {fields: [{name: a b, type: text}], key: [a]}
views:
  air: {path: /air, dataset: air, columns: [a], group_by: x, shape: group}
  two: {path: /two, dataset: air, clients: [], read: pubic}
  three: {path: 3, dataset: Air}
";
    insta::assert_snapshot!(load(yaml).unwrap_err());
}

#[test]
fn a_flood_of_faults_is_cut() {
    let keys: String = (0..5_000).map(|i| format!("key{i}: 1\n")).collect();
    let shown = load(keys).unwrap_err();
    assert_eq!(shown.lines().count(), 101);
    assert!(shown.ends_with("there are more than 100 faults; mend these first"), "{shown}");
}

#[test]
fn a_file_that_is_not_yaml_is_one_fault_beside_those_of_other_sources() {
    let env = [("ORDERWIRE__STORE____URL", "sqlite://")];
    let shown = load_with("listen: [\nviews: }\n", &env).unwrap_err().to_string();
    let mut lines = shown.lines();
    let first = lines.next().unwrap();
    assert!(first.starts_with("orderwire.yaml:1:9: ") && first.contains("this is not YAML"), "{first}");
    assert!(lines.next().unwrap().starts_with("ORDERWIRE__STORE____URL: "), "{shown}");
    assert_eq!(lines.next(), None);
}

#[test]
fn a_file_that_is_no_map_or_not_there_is_a_fault() {
    assert!(load("- a\n- b\n").unwrap_err().starts_with("orderwire.yaml:1:1: a configuration is a map"));
    assert!(load("just text").unwrap_err().starts_with("orderwire.yaml:1:1: a configuration is a map"));
    let sources = orderwire_config::Sources { file: Some("/nowhere/a.yaml".into()), ..Default::default() };
    let shown = orderwire_config::Config::load(&sources).unwrap_err().to_string();
    assert!(shown.starts_with("/nowhere/a.yaml: the file cannot be read: "), "{shown}");
}

#[test]
fn bytes_that_are_not_utf8_are_located() {
    let shown = load(b"listen: 127.0.0.1:1\n# \xc3\xb6\xff\n").unwrap_err();
    assert_eq!(shown, "orderwire.yaml:2:4: a byte that is not UTF-8; save the file as UTF-8");
}
