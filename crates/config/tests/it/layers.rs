//! Defaults < file < environment < flags.

use std::path::PathBuf;

use orderwire_config::{Config, Freshness, Overrides, Sources, View};

use crate::load_with;

const FILE: &str = "
listen: 127.0.0.1:1
data: from-file
datasets:
  air: {fields: [{name: no2, type: float}, {name: co, type: float}]}
views:
  air: {path: /air, dataset: air, columns: [no2]}
limits: {rows: 10}
";

fn view(env: &[(&str, &str)]) -> View {
    load_with(FILE, env).unwrap_or_else(|faults| panic!("{faults}")).views["air"].clone()
}

#[test]
fn the_environment_overrides_single_keys_of_the_file() {
    let env = [
        ("ORDERWIRE__LISTEN", "127.0.0.1:2"),
        ("ORDERWIRE__VIEWS__AIR__FRESHNESS", " 5s "),
        ("ORDERWIRE__LIMITS__BODY_BYTES", "16MiB"),
        ("ORDERWIRE__DATA", ""),
        ("ORDERWIRE__CACHE__URL", " "),
        ("ORDERWIRE_API_KEY", "not ours to read"),
        ("PATH", "/bin"),
    ];
    let config = load_with(FILE, &env).unwrap();
    assert_eq!(config.listen.port(), 2);
    assert_eq!(config.views["air"].freshness, Freshness::Within("5s".parse().unwrap()));
    assert_eq!(config.views["air"].path, "/air", "the rest of the view stays");
    assert_eq!(config.limits.rows, 10, "the rest of the section stays");
    assert_eq!(config.limits.body_bytes.0, 16 << 20);
    assert_eq!(config.data, PathBuf::from("from-file"), "an empty variable says nothing");
}

#[test]
fn a_variable_is_taken_as_it_stands_unless_it_begins_as_yaml() {
    assert_eq!(view(&[("ORDERWIRE__VIEWS__AIR__COLUMNS", "[co, no2]")]).columns.unwrap(), ["co", "no2"]);
    assert_eq!(
        view(&[("ORDERWIRE__VIEWS__AIR__FILTER", "no2=gt.0 #x: y")]).filter.unwrap(),
        "no2=gt.0 #x: y"
    );
    assert_eq!(view(&[("ORDERWIRE__VIEWS__AIR__PATH", "\"/quoted\"")]).path, "/quoted");
}

#[test]
fn an_environment_is_enough() {
    let env = vec![("ORDERWIRE__LIMITS__LEASE_MAX".to_owned(), "7".to_owned())];
    let config = Config::load(&Sources { env, ..Sources::default() }).unwrap();
    assert_eq!(config.limits.lease_max, 7);
}

#[test]
fn flags_override_everything() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("orderwire.yaml");
    std::fs::write(&file, FILE).unwrap();
    let env = vec![("ORDERWIRE__LISTEN".to_owned(), "127.0.0.1:2".to_owned())];
    let overrides = Overrides { listen: Some("127.0.0.1:3".into()), data: Some("null".into()) };
    let config = Config::load(&Sources { file: Some(file), builtin: None, env, overrides }).unwrap();
    assert_eq!(config.listen.port(), 3);
    assert_eq!(config.data, PathBuf::from("null"), "a flag's value is no YAML");
    assert_eq!(config.store_folder(), PathBuf::from("null"));
}

#[test]
fn faults_name_the_variable_or_the_flag() {
    let env = [
        ("ORDERWIRE__", "x"),
        ("ORDERWIRE__CACHE", "memory://"),
        ("ORDERWIRE__CACHE__URL", "redis://:hunter2@cache"),
        ("ORDERWIRE__LIMITS__ROWS", "[1"),
        ("ORDERWIRE__STORE__URI", "sqlite://"),
        ("ORDERWIRE__VIEWS__AIR__COLUMNS", "[no3]"),
    ];
    let mut sources = Sources {
        overrides: Overrides { listen: Some("localhost".into()), data: None },
        ..Sources::default()
    };
    sources.env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let shown = Config::load(&sources).unwrap_err().to_string();
    insta::assert_snapshot!(shown);
    assert!(!shown.contains("hunter2"));
}

#[test]
fn a_section_with_everything_commented_out_is_empty() {
    let config = load_with("views:\nlimits:\n  # rows: 5\nqueues: ~\n", &[]).unwrap();
    assert_eq!(config, Config::default());
}
