//! What is well formed and still cannot work.

use orderwire_config::{Config, View};

use crate::load;

/// The faults of a file, without their file name.
fn faults(yaml: &str) -> String {
    load(yaml)
        .map(|config| panic!("no fault: {config:?}"))
        .unwrap_or_else(|faults| faults.replace("orderwire.yaml:", ""))
}

fn view_faults(lines: &[&str]) -> String {
    let mut yaml =
        "datasets:\n  air: {fields: [{name: no2, type: float}, {name: a.b, type: json}]}\nviews:\n"
            .to_owned();
    for line in lines {
        yaml.push_str(&format!("  {line}\n"));
    }
    faults(&yaml)
}

#[test]
fn a_view_may_not_take_a_reserved_or_malformed_path() {
    let paths = [
        "/v1",
        "/v1/air",
        "/rest/x",
        "/healthz",
        "/readyz/",
        "/metrics",
        "/openapi.json",
        "/asyncapi.json",
        "/docs/a",
        "/console",
        "/CONSOLE/x",
        "air",
        "/",
        "",
        "/a/",
        "/a//b",
        "/a/../v1",
        "/a/{b}",
        "/a b",
        "/%76%31/x",
        "/a?b",
        "/*a",
    ];
    let lines: Vec<String> =
        paths.iter().enumerate().map(|(i, path)| format!("v{i}: {{path: {path:?}, dataset: air}}")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let shown = view_faults(&lines);
    assert_eq!(shown.lines().count(), paths.len(), "{shown}");
    insta::assert_snapshot!(shown);
    for fine in ["/v1x", "/restaurant", "/api/v1/measures/air", "/a.b_c~d-e"] {
        let yaml = format!(
            "datasets: {{a: {{fields: [{{name: a, type: text}}]}}}}\nviews: {{v: {{path: {fine}, dataset: a}}}}"
        );
        assert!(load(&yaml).is_ok(), "{fine}");
    }
}

#[test]
fn a_view_speaks_of_what_exists() {
    let shown = view_faults(&[
        "columns: {path: /columns, dataset: air, columns: [no2, _seq, a.b, co, no2]}",
        "nothing: {path: /nothing, dataset: air, columns: []}",
        "gone: {path: /gone, dataset: water}",
        "group: {path: /group, dataset: air, shape: grouped, group_by: co}",
        "hidden: {path: /hidden, dataset: air, shape: grouped, group_by: _client}",
    ]);
    insta::assert_snapshot!(shown);
}

#[test]
fn settings_of_a_view_fit_each_other() {
    let shown = view_faults(&[
        "one: {path: /same, dataset: air}",
        "two: {path: /same, dataset: air}",
        "Three: {path: /three, dataset: air, shape: grouped}",
        "four: {path: /four, dataset: air, group_by: no2}",
        "five: {path: /five, dataset: air, freshness: 4s, ttl: 2h, limit: 0}",
        "six: {path: /six, dataset: air, freshness: 2h, limit: 1000001}",
        "seven: {path: /seven, dataset: air, freshness: 10m, ttl: 5m}",
        "eight: {path: /eight, dataset: air, clients: all}",
        "nine: {path: /nine, dataset: air, read: public, clients: []}",
    ]);
    insta::assert_snapshot!(shown);
}

#[test]
fn a_queue_can_work() {
    let shown = faults(
        "queues:
  event-status: {attempts: 3}
  empty: {types: []}
  none: {}
  data: {kind: task}
  audit: {kind: task}
  infra: {attempts: 0, backoff: {first: 2m}}
  flow: {kind: stream, types: [a], key: client}
  slow: {types: [a], attempts: 1001, backoff: {last: 2d}}
",
    );
    insta::assert_snapshot!(shown);
}

#[test]
fn a_dataset_is_sound() {
    let shown = faults(
        "datasets:
  air:
    fields:
      - {name: a, type: text}
      - {name: A, type: json, required: true}
    key: [a, A, b]
    time: a
    retention: 1s
  none: {fields: []}
",
    );
    insta::assert_snapshot!(shown);
}

#[test]
fn a_key_may_say_its_client_first() {
    let yaml = "datasets:
  air:
    fields: [{name: a, type: text, required: true}]
    key: [_client, a]
";
    let config = load(yaml).unwrap();
    let air = config.datasets.values().next().unwrap();
    assert_eq!(format!("{:?}", air.key), "[a]");
    let misplaced = faults(&yaml.replace("[_client, a]", "[a, _client]"));
    assert!(misplaced.starts_with("4:10: datasets.air.key: _client is part of every key"), "{misplaced}");
}

#[test]
fn limits_and_times_have_bounds() {
    let shown = faults(
        "limits: {body_bytes: 1, event_bytes: 2MiB, field_bytes: 3MiB, json_depth: 128, batch_entries: 0, rows: 0,
  answer_bytes: 5GiB, queue_events: 0, lease_max: 10001, wait_ms_max: 0, lease_ms_max: 1, concurrent_requests: 0,
  rule_depth: 101, consumer_connections: 0, consumer_connections_per_key: 1000001}
retention: {traces: 1m, dead_letters: 4000d, idempotency: 31d, orders: 1h, revisions: 1}
cache: {bytes: 1KiB}
",
    );
    insta::assert_snapshot!(shown);
}

#[test]
fn what_this_version_has_not_is_said_so() {
    let shown = faults(
        "store: {url: 'mysql://u:hunter2@h/d'}
cache: {url: 'memcached://u:hunter2@h'}
broker: {url: 'pulsar://h'}
telemetry: {log: 'info,orderwire=loud,verbose'}
auth: {}
rollouts: {}

scaler:
targets: {a: {kind: kubernetes}, b: {kind: gitops}, c: {kind: proces}, d: {kind: docker}}
channels: {}
",
    );
    insta::assert_snapshot!(shown);
    assert!(!shown.contains("hunter2"));
    assert!(faults("store: {url: 'hunter2'}").contains("this is not an URL that is known"));
    assert!(faults("store: {url: 'sqlite:///a?mode=memory'}").contains("parameters are not supported"));
}

#[test]
fn what_a_cache_has_to_do_with_it_is_checked() {
    let pair = "certificate: a.pem, key: a.key";
    for (settings, said) in [
        ("url: 'redis://u:hunter2@h'", "cache.url: a password does not belong into the URL"),
        ("url: 'redis://h', password: hunter2", "a secret is never a plain value"),
        ("url: 'redis://h', password: 'file:/nowhere/key'", "cache.password: "),
        ("url: 'memory://', password: '${CARGO_PKG_NAME}'", "cache.password: has no effect"),
        ("url: 'redis://h', ca: ca.pem", "cache.ca: has no effect, because cache.url is not encrypted"),
        (&format!("url: 'redis://h', {pair}"), "cache.certificate: has no effect"),
        ("url: 'rediss://h', certificate: a.pem", "cache.certificate: key is missing"),
        ("url: 'rediss://h', key: a.key", "cache.key: certificate is missing"),
    ] {
        let shown = faults(&format!("cache: {{{settings}}}\n"));
        assert!(shown.contains(said) && !shown.contains("hunter2"), "{settings}: {shown}");
    }
    let fine = format!("url: 'rediss://u@h:6380/1', password: '${{CARGO_PKG_NAME}}', ca: ca.pem, {pair}");
    assert!(load(format!("cache: {{{fine}}}\n")).is_ok());
}

#[test]
fn what_a_postgresql_has_to_do_with_it_is_checked() {
    for (settings, said) in [
        (
            "url: 'postgres://u:hunter2@h/d'",
            "store.url: a password does not belong into the URL; write it as store.password",
        ),
        (
            "url: 'postgres://u@h/d?password=hunter2'",
            "password does not belong into the URL; write it as store.password",
        ),
        ("url: 'postgres://u@h/d?pass%77ord=hunter2'", "the names of parameters are written without %"),
        (
            "url: 'postgres://u@h/d?sslmode=require&sslrootcert=/x'",
            "sslrootcert does not belong into the URL; write it as store.ca",
        ),
        ("url: 'postgres://u@h/d', password: hunter2", "a secret is never a plain value"),
        ("url: 'postgres://u@h/d', password: 'file:/nowhere/key'", "store.password: "),
        ("url: 'postgres://u@h/d', certificate: a.pem", "store.certificate: key is missing"),
        ("url: 'postgres://u@h/d', key: a.key", "store.key: certificate is missing"),
        (
            "url: 'sqlite://', password: '${CARGO_PKG_NAME}'",
            "store.password: has no effect, because store.url is no PostgreSQL",
        ),
        ("ca: ca.pem", "store.ca: has no effect, because store.url is no PostgreSQL"),
        ("connections: 3", "store.connections: 3 is out of range: 4 to 1000"),
        ("statement_timeout: 11m", "store.statement_timeout: 11m is out of range: 1s to 10m"),
    ] {
        let shown = faults(&format!("store: {{{settings}}}\n"));
        assert!(shown.contains(said) && !shown.contains("hunter2"), "{settings}: {shown}");
    }
    let fine = "url: 'postgres://u@h,i/d?sslmode=verify-ca', password: '${CARGO_PKG_NAME}', ca: ca.pem, \
                certificate: a.pem, key: a.key, connections: 40, statement_timeout: 30s";
    let config = load(format!("store: {{{fine}}}\n")).unwrap();
    assert!(config.store.is_postgres() && !Config::default().store.is_postgres());
}

#[test]
fn what_is_about_encryption_and_has_no_effect_is_a_fault() {
    let pair = "certificate: a.pem, key: a.key";
    for (settings, said) in [
        (
            "url: 'amqp://h', ca: ca.pem",
            "broker.ca: has no effect, because amqp:// is not encrypted; use amqps://",
        ),
        ("url: 'kafka://h', ca: ca.pem", "broker.ca: has no effect, because kafka:// is not encrypted"),
        (&format!("url: 'amqp://h', {pair}"), "broker.certificate: has no effect"),
        (&format!("url: 'kafka://h', {pair}"), "broker.certificate: has no effect"),
        ("url: 'amqps://h', certificate: a.pem", "broker.certificate: key is missing"),
        ("url: 'amqps://h', key: a.key", "broker.key: certificate is missing"),
        ("url: 'amqps://h', signing_key: 'file:/nowhere/key'", "broker.signing_key: "),
    ] {
        let shown = faults(&format!("broker: {{{settings}}}\n"));
        assert!(shown.contains(said), "{settings}: {shown}");
    }
    let fine =
        format!("broker: {{url: 'amqps://h', ca: ca.pem, {pair}, signing_key: '${{CARGO_MANIFEST_DIR}}'}}\n");
    assert!(load(&fine).is_ok(), "{:?}", load(&fine));
    let fine = format!("broker: {{url: 'kafkas://h', ca: ca.pem, {pair}}}\n");
    assert!(load(&fine).is_ok(), "{:?}", load(&fine));
}

#[test]
fn a_broker_of_nats_has_its_own_settings() {
    let yaml = "broker: {url: 'tls://one.example,tls://two.example', nats: {stream: SHOP, replicas: 3, bytes: 8GiB}}\n";
    let nats = load(yaml).unwrap().broker.nats;
    assert_eq!((nats.stream.as_str(), nats.replicas, nats.bytes.0), ("SHOP", 3, 8 << 30));
    let shown = faults("broker: {url: 'nats://t0ken@h', nats: {stream: a.b, replicas: 2, bytes: 1KiB}}\n");
    insta::assert_snapshot!(shown, @r"
    1:15: broker.url: a password or token does not belong into a file: write ${NAME} in its place, and set that environment variable
    1:48: broker.nats.stream: a stream has a name of 1 to 64 letters, digits, - and _
    1:63: broker.nats.replicas: 2 is out of range: 1, 3 or 5
    1:73: broker.nats.bytes: 1KiB is out of range: 1MiB to 1TiB
    ");
    for secret in ["nats://a:b@h", "amqp://a:b@h", "nats://h,nats://a:b@h"] {
        assert!(faults(&format!("broker: {{url: '{secret}'}}\n")).contains("does not belong"), "{secret}");
    }
}

#[test]
fn a_configuration_made_by_code_is_checked_too() {
    let mut config = Config::default();
    config.check().unwrap();
    let view: View = serde_json::from_str(r#"{"path":"/v1/x","dataset":"gone"}"#).unwrap();
    config.views.insert("x".to_owned(), view);
    let shown = config.check().unwrap_err().to_string();
    insta::assert_snapshot!(shown, @r"
    views.x.path: /v1 is reserved; choose another, for example /api/v1/x
    views.x.dataset: there is no dataset gone; define it under datasets
    ");
}
