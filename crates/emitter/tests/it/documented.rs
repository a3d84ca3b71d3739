//! The examples of the documentation do what it says.

use orderwire_config::Config;

use crate::rules::{config, now, rules, typed};

/// The first block of this language behind a heading.
fn block<'d>(docs: &'d str, heading: &str, language: &str) -> Vec<&'d str> {
    let section =
        docs.split(&format!("\n## {heading}\n")).nth(1).unwrap_or_else(|| panic!("no section {heading}"));
    let section = section.split("\n## ").next().unwrap();
    let blocks: Vec<&str> = section
        .split(&format!("```{language}\n"))
        .skip(1)
        .map(|rest| rest.split("\n```").next().unwrap())
        .collect();
    assert!(!blocks.is_empty(), "no {language} in {heading}");
    blocks
}

fn docs() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/rules.md");
    std::fs::read_to_string(path).unwrap()
}

/// The data of what a configuration emits because of an event, by type, client and queue.
fn emitted(config: &Config, event_type: &str, data: &str) -> Vec<String> {
    assert_eq!(orderwire_emitter::faults(config), []);
    let trials = rules(config).trial(&typed(event_type, data), None, &config.queue_definitions(), now());
    let mut all = Vec::new();
    for trial in trials.rules {
        assert_eq!(trial.error, None, "{}", trial.rule);
        for emits in trial.emits {
            let event: serde_json::Value = serde_json::from_str(emits.event.get()).unwrap();
            let (_, data) = emits.event.get().split_once(r#""data":"#).unwrap();
            let data = data.strip_suffix('}').unwrap();
            all.push(format!(
                "{} {} {} {data}",
                event["type"].as_str().unwrap(),
                event["client"],
                serde_json::to_string(&emits.queues).unwrap()
            ));
        }
    }
    all
}

#[test]
fn the_alarm_is_emitted_when_the_measure_is_over_the_limit() {
    let docs = docs();
    let config = config(block(&docs, "An alarm when a measure is over a limit", "yaml")[0]);
    let event = block(&docs, "An alarm when a measure is over a limit", "json")[0];
    let shown = emitted(&config, "plant.measure.taken", event);
    let expected = r#"plant.alarm.raised "acme" ["alarms"] {"limit":90,"machine":"press-7","text":"press-7 has 91.50 °C","value":91.50}"#;
    assert_eq!(shown, [expected]);
    let cool = event.replace("91.50", "90.00");
    assert_eq!(emitted(&config, "plant.measure.taken", &cool), [""; 0]);
}

#[test]
fn the_order_is_fanned_out() {
    let docs = docs();
    let config = config(block(&docs, "Fan out an order", "yaml")[0]);
    let event = block(&docs, "Fan out an order", "json")[0];
    let shown = emitted(&config, "shop.order.paid", event);
    assert_eq!(
        shown,
        [
            r#"billing.invoice.due "acme" ["billing"] {"lines":[{"sku":"small-module","price":9.90}],"order":9007199254740993}"#,
            r#"warehouse.parcel.due "warehouse" ["parcels"] {"for":"acme","order":9007199254740993}"#,
            r#"orderwire.order.requested "acme" ["infra","status"] {"name":"shop-9007199254740993","product":"sensor"}"#,
        ]
    );
    let digital = event.replace("\"parcel\": true", "\"parcel\": false");
    assert_eq!(emitted(&config, "shop.order.paid", &digital).len(), 2);
}

#[test]
fn the_circle_is_no_fault_and_ends() {
    let docs = docs();
    let config = config(block(&docs, "Circles end", "yaml")[0]);
    assert_eq!(
        emitted(&config, "count.down", r#"{"n":3}"#),
        [r#"count.down "acme" ["counts","rules"] {"n":2}"#]
    );
    assert_eq!(emitted(&config, "count.down", r#"{"n":0}"#), [""; 0]);
}
