//! Rules: what of them is known without their language.

use orderwire_config::Config;
use orderwire_types::queue::{Key, Kind};

use crate::load;

const SOUND: &str = "
queues: {alarms: {types: [plant.alarm.#]}, rules: {attempts: 2}}
rules:
  hot:
    on: [plant.measure.taken, plant.#.seen]
    when: event.data.value > 90
    emit:
      - type: plant.alarm.hot
        client: ops
        order: true
        data: {value: '{{ event.data.value }}', 1: [1.5, true, null, 0x10, no]}
  seen: {on: [plant.#.seen], emit: [{type: plant.alarm.noted}]}
";

fn faults(yaml: &str) -> String {
    load(yaml)
        .map(|config| panic!("no fault: {config:?}"))
        .unwrap_or_else(|faults| faults.replace("orderwire.yaml:", ""))
}

#[test]
fn rules_have_a_queue_of_what_they_look_at() {
    assert!(Config::default().queue_definitions().iter().all(|(name, _)| name.as_str() != "rules"));
    let config = load(SOUND).unwrap();
    let queues = config.queue_definitions();
    let (_, rules) = queues.iter().find(|(name, _)| name.as_str() == "rules").unwrap();
    let types: Vec<&str> = rules.types.iter().map(orderwire_types::Pattern::as_str).collect();
    assert_eq!(types, ["plant.measure.taken", "plant.#.seen"]);
    assert_eq!((rules.kind, rules.key, rules.attempts), (Kind::Task, Key::Partitionkey, 2));
}

#[test]
fn a_rule_is_read_as_it_stands() {
    let config = load(SOUND).unwrap();
    let (name, rule) = config.rule("hot").unwrap();
    let emission = &rule.emit[0];
    assert_eq!((name.as_str(), rule.when.as_deref()), ("hot", Some("event.data.value > 90")));
    assert_eq!((emission.event_type.as_str(), emission.client.as_deref()), ("plant.alarm.hot", Some("ops")));
    assert!(emission.order && !config.rule("seen").unwrap().1.emit[0].order);
    let data = emission.data.as_ref().unwrap().to_string();
    assert_eq!(data, r#"{"1":[1.5,true,null,16,"no"],"value":"{{ event.data.value }}"}"#);
}

#[test]
fn a_rule_that_is_not_there_is_told_with_the_one_that_may_be_meant() {
    let config = load(SOUND).unwrap();
    let said = |name: &str| config.rule(name).unwrap_err();
    assert_eq!(said("hott"), "there is no rule \"hott\"; did you mean hot?");
    assert_eq!(said("something"), "there is no rule \"something\"; use one of hot, seen");
    assert!(Config::default().rule("hot").unwrap_err().contains("the configuration has none"));
}

#[test]
fn a_rule_can_work() {
    let shown = faults(
        "queues: {rules: {kind: task, types: [a]}, work: {types: [work.#]}}
rules:
  rows: {on: [a], emit: [{type: orderwire.rows.air}, {type: orderwire.rows}]}
  own: {on: [a], emit: [{type: orderwire.client.changed}]}
  order: {on: [a], emit: [{type: orderwire.order.requested}]}
  lost: {on: [a], emit: [{type: nobody.takes.this}]}
  circle: {on: [work.#], emit: [{type: work.again}]}
  nothing: {on: [], emit: []}
",
    );
    insta::assert_snapshot!(shown, @r"
    1:24: queues.rules.kind: the queue rules is that of the rules, which say what it takes; remove kind, or choose another name for a queue of your own
    1:37: queues.rules.types: the queue rules is that of the rules, which say what it takes; remove types, or choose another name for a queue of your own
    3:33: rules.rows.emit[0].type: rows are checked against their dataset where they come in, and those of a rule would not be; emit another type, and have a consumer post the rows
    3:61: rules.rows.emit[1].type: rows are checked against their dataset where they come in, and those of a rule would not be; emit another type, and have a consumer post the rows
    4:32: rules.own.emit[0].type: types that begin with orderwire. are those of Orderwire's own events; choose another
    5:34: rules.order.emit[0].type: orderwire.order.requested orders nothing without the right to; add order: true beside the type
    6:33: rules.lost.emit[0].type: no queue of the configuration takes events of the type nobody.takes.this; add one under queues, or correct the type
    7:40: rules.circle.emit[0].type: the rule feeds itself: it looks at events of the type work.again; add a condition that ends it (when), or choose another type
    8:17: rules.nothing.on: is empty; name at least one pattern of event types
    8:27: rules.nothing.emit: is empty; name at least one event with its type
    ");
}

#[test]
fn what_ends_by_a_condition_or_may_order_is_no_fault() {
    for rules in [
        "{on: [work.#], when: event.data.n < 3, emit: [{type: work.again}]}",
        "{on: [work.#], emit: [{type: orderwire.order.requested, order: true}]}",
        "{on: [orderwire.order.ready], emit: [{type: work.done}]}",
    ] {
        let yaml = format!("queues: {{work: {{types: [work.#]}}}}\nrules: {{r: {rules}}}\n");
        assert!(load(&yaml).is_ok(), "{rules}: {:?}", load(&yaml));
    }
}

#[test]
fn behind_a_broker_who_may_start_an_order_has_to_be_said() {
    let yaml = |queues: &str, rest: &str| {
        format!(
            "queues: {{{queues}}}\nrules: {{r: {{on: [a], emit: [{{type: orderwire.order.requested, order: true}}]}}}}\n{rest}"
        )
    };
    let broker = "broker: {url: 'amqp://localhost'}";
    assert!(load(yaml("", "")).is_ok(), "there are only callers with rights of their own");
    let shown = faults(&yaml("", broker));
    assert!(shown.contains("rules.r.emit[0].order: what it emits may order"), "{shown}");
    assert!(shown.contains("queues: {rules: {principal: {clients: [...]}}}"), "{shown}");
    let said = "rules: {principal: {clients: [acme]}}";
    assert!(load(yaml(said, broker)).is_ok(), "{:?}", load(yaml(said, broker)));
}

#[test]
fn what_a_rule_has_not_is_refused_with_its_place() {
    let shown = faults(
        "rules:
  Hot: {on: [a], emit: [{type: a.b}]}
  one: {on: [a], wenn: x, emit: [{type: a.b, dataa: 1}]}
  two: {on: a, emit: [{}]}
  three: {emit: [{type: 'a b'}]}
",
    );
    for part in [
        "2:3: rules.Hot: name \"Hot\" is not valid",
        "3:18: rules.one.wenn: unknown key; did you mean when?",
        "3:46: rules.one.emit[0].dataa: unknown key; did you mean data?",
        "4:13: rules.two.on: expected a list",
        "4:23: rules.two.emit[0]: type is missing",
        "rules.three.emit[0].type: event type \"a b\" is not valid",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[test]
fn rules_are_bounded() {
    let rule = "{on: [a], emit: [{type: work.x}]}";
    let rules: String = (0..201).map(|n| format!("  r{n}: {rule}\n")).collect();
    let shown = faults(&format!("queues: {{work: {{types: [work.#]}}}}\nrules:\n{rules}"));
    assert!(shown.contains("rules: there are 201 rules, at most 200"), "{shown}");
    let many = vec!["{type: work.x}"; 17].join(", ");
    let shown =
        faults(&format!("queues: {{work: {{types: [work.#]}}}}\nrules: {{r: {{on: [a], emit: [{many}]}}}}"));
    assert!(shown.contains("rules.r.emit: has 17 entries, at most 16"), "{shown}");
}
