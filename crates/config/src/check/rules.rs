//! Rules: their bounds, and the types that they emit. Their conditions and templates are in
//! a language of its own, which the emitter reads and checks.

use orderwire_types::queue::QueueDef;
use orderwire_types::{EventType, QueueName};

use super::Report;
use crate::model::{Config, Emission, RULES_QUEUE, Rule};

/// The most rules.
const RULES_MAX: usize = 200;
/// The most patterns, and the most events, of one rule.
const PARTS_MAX: usize = 16;

/// What the types of Orderwire's own events begin with.
const OWN: &str = "orderwire.";
/// What the types of rows begin with.
const ROWS: &str = "orderwire.rows";
/// The one own type that a rule may emit.
const ORDER: &str = "orderwire.order.requested";

pub(super) fn check(config: &Config, report: &mut Report<'_>) {
    let count = config.rules.len();
    if count > RULES_MAX {
        let detail = format!("there are {count} rules, at most {RULES_MAX} are taken; make one of several");
        report.fault(&["rules"], detail);
        return;
    }
    queue(config, report);
    who_orders(config, report);
    let queues = config.queue_definitions();
    for (name, rule) in &config.rules {
        let name = name.as_str();
        parts(name, "on", rule.on.len(), "pattern of event types", report);
        parts(name, "emit", rule.emit.len(), "event with its type", report);
        for (i, emission) in rule.emit.iter().enumerate() {
            let at = format!("[{i}]");
            if let Some(detail) = type_fault(rule, emission, &queues, report) {
                report.fault(&["rules", name, "emit", &at, "type"], detail);
            }
        }
    }
}

/// The settings of the queue that rules read from.
fn queue(config: &Config, report: &mut Report<'_>) {
    let Some(settings) = config.queues.get(RULES_QUEUE).filter(|_| !config.rules.is_empty()) else { return };
    for (key, is_given) in [("kind", settings.kind.is_some()), ("types", settings.types.is_some())] {
        if is_given {
            let detail = format!(
                "the queue {RULES_QUEUE} is that of the rules, which say what it takes; remove {key}, or choose \
                 another name for a queue of your own"
            );
            report.fault(&["queues", RULES_QUEUE, key], detail);
        }
    }
}

/// Behind a broker anybody who may write there starts rules. Who by that may order has to be said.
fn who_orders(config: &Config, report: &mut Report<'_>) {
    let is_said = config.queues.get(RULES_QUEUE).is_some_and(|settings| settings.principal.is_some());
    if config.broker.url.is_none() || is_said || report.lost(&["queues"]) {
        return;
    }
    for (name, rule) in &config.rules {
        for (i, _) in rule.emit.iter().enumerate().filter(|(_, emission)| emission.order) {
            let detail = format!(
                "what it emits may order, and at the broker any producer can start it in the name of any client; say \
                 whose messages rules look at: queues: {{{RULES_QUEUE}: {{principal: {{clients: [...]}}}}}}, or \
                 clients: all"
            );
            report.fault(&["rules", name.as_str(), "emit", &format!("[{i}]"), "order"], detail);
        }
    }
}

fn parts(name: &str, key: &str, count: usize, what: &str, report: &mut Report<'_>) {
    let path = ["rules", name, key];
    if count > PARTS_MAX {
        report.fault(&path, format!("has {count} entries, at most {PARTS_MAX} are taken"));
    } else if count == 0 && !report.lost(&path) {
        report.fault(&path, format!("is empty; name at least one {what}"));
    }
}

/// Why a rule cannot emit events of this type.
fn type_fault(
    rule: &Rule,
    emission: &Emission,
    queues: &[(QueueName, QueueDef)],
    report: &Report<'_>,
) -> Option<String> {
    let event_type = &emission.event_type;
    let text = event_type.as_str();
    if text == ROWS || text.strip_prefix(ROWS).is_some_and(|rest| rest.starts_with('.')) {
        return Some(
            "rows are checked against their dataset where they come in, and those of a rule would not be; \
             emit another type, and have a consumer post the rows"
                .to_owned(),
        );
    }
    if text == ORDER && !emission.order {
        return Some(format!("{text} orders nothing without the right to; add order: true beside the type"));
    }
    if text.starts_with(OWN) && text != ORDER {
        return Some(format!(
            "types that begin with {OWN} are those of Orderwire's own events; choose another"
        ));
    }
    if rule.when.is_none() && takes(&rule.on, event_type) {
        return Some(format!(
            "the rule feeds itself: it looks at events of the type {text}; add a condition that ends it (when), \
             or choose another type"
        ));
    }
    let is_taken = queues.iter().any(|(_, def)| takes(&def.types, event_type));
    if !is_taken && !report.lost(&["queues"]) {
        return Some(format!(
            "no queue of the configuration takes events of the type {text}; add one under queues, or correct the type"
        ));
    }
    None
}

fn takes(patterns: &[orderwire_types::Pattern], event_type: &EventType) -> bool {
    patterns.iter().any(|pattern| pattern.matches(event_type))
}
