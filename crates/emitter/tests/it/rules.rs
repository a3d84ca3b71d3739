//! What the tests share: configurations from text, sample events, and what a rule makes of them.

use jiff::Timestamp;
use orderwire_api::wire::RuleTrial;
use orderwire_config::{Config, Sources};
use orderwire_emitter::{Bounds, Rules};
use orderwire_types::envelope::{Arrival, from_json};
use orderwire_types::{Client, Event, Limits};
use serde_json::json;
use uuid::Uuid;

pub(crate) fn now() -> Timestamp {
    "2026-11-20T12:00:00Z".parse().unwrap()
}

/// A configuration that has no fault but, perhaps, those that only the emitter finds.
pub(crate) fn config(yaml: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("orderwire.yaml");
    std::fs::write(&file, yaml).unwrap();
    let sources = Sources { file: Some(file), ..Sources::default() };
    Config::load(&sources).unwrap_or_else(|faults| panic!("{faults}"))
}

/// A configuration with a rule `r` on events of the type `in.put`, with the queue `out` for `out.#`.
pub(crate) fn one_rule(rest: &str) -> Config {
    config(&format!("queues: {{out: {{types: [out.#]}}}}\nrules:\n  r:\n    on: [in.put]\n{rest}"))
}

/// A text as it stands in YAML.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

/// A CloudEvent of the type `in.put` with this data, of the client `acme`.
pub(crate) fn event(data: &str) -> Event {
    typed("in.put", data)
}

pub(crate) fn typed(event_type: &str, data: &str) -> Event {
    let envelope = json!({"specversion": "1.0", "id": "1", "source": "/test", "type": event_type,
        "client": "acme", "partitionkey": "k", "traceid": "their trace"});
    let envelope = envelope.to_string();
    let body = format!("{},\"data\":{data}}}", envelope.strip_suffix('}').unwrap());
    let arrival = Arrival {
        principal: "key:1",
        client: Client::default_client(),
        event_type: None,
        source: None,
        traceparent: None,
        message_id: None,
        request: None,
        now: now(),
        new_id: Uuid::nil(),
        limits: &Limits::default(),
    };
    from_json(body.as_bytes(), &arrival).unwrap_or_else(|fault| panic!("{fault}: {body}")).event
}

pub(crate) fn rules(config: &Config) -> Rules {
    Rules::new(config, Bounds::from(&Limits::from(&config.limits)))
}

/// What the only rule would do with an event.
pub(crate) fn tried(config: &Config, event: &Event) -> RuleTrial {
    assert_eq!(orderwire_emitter::faults(config), [], "the rules have no fault");
    let mut trials = rules(config).trial(event, None, &config.queue_definitions(), now());
    assert_eq!(trials.rules.len(), 1);
    trials.rules.remove(0)
}

/// What a template makes of data, as JSON, or why it fails.
pub(crate) fn made(template: &str, data: &str) -> Result<String, String> {
    let config = one_rule(&format!("    emit: [{{type: out.x, data: {{v: {}}}}}]\n", quoted(template)));
    let trial = tried(&config, &event(data));
    if let Some(error) = trial.error {
        return Err(error);
    }
    let event = trial.emits[0].event.get();
    let (_, value) = event.split_once(r#""data":{"v":"#).unwrap_or_else(|| panic!("{event}"));
    Ok(value.strip_suffix("}}").unwrap().to_owned())
}

/// What an expression that stands alone makes of data.
pub(crate) fn value(expression: &str, data: &str) -> Result<String, String> {
    made(&format!("{{{{ {expression} }}}}"), data)
}

/// What a condition says of data: whether it holds, and why not; or why it fails.
pub(crate) fn condition(condition: &str, data: &str) -> Result<(bool, Option<String>), String> {
    let config = one_rule(&format!("    when: {}\n    emit: [{{type: out.x}}]\n", quoted(condition)));
    let trial = tried(&config, &event(data));
    match (trial.error, trial.holds) {
        (Some(error), _) => Err(error),
        (None, Some(holds)) => Ok((holds, trial.reason)),
        (None, None) => panic!("the rule does not look at the event"),
    }
}
