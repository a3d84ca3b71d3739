//! Rules: which events are emitted when others come.

use std::collections::BTreeMap;

use orderwire_types::queue::QueueDef;
use orderwire_types::{EventType, Label, Pattern, QueueName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Config;
use super::queues::blank;
use crate::read::suggest;

/// The queue of the events that rules look at. It exists when there are rules, and has a
/// worker then.
pub const RULES_QUEUE: &str = "rules";

/// What is emitted when an event comes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The patterns of the event types that it looks at, 1 to 16: `*` is one word, `#` any number.
    #[schemars(with = "Vec<String>")]
    pub on: Vec<Pattern>,
    /// The condition, a MiniJinja expression over `event`, such as `event.data.value > 90`;
    /// without it the rule holds for every event that it looks at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// The events that it emits, 1 to 16.
    pub emit: Vec<Emission>,
}

/// An event that a rule emits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Emission {
    /// Its type.
    #[serde(rename = "type")]
    #[schemars(with = "String")]
    pub event_type: EventType,
    /// Its client, text or a template; by default that of the event that causes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Its ordering key, text or a template; by default that of the event that causes it,
    /// where both are of the same client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Whether it may order infrastructure for its client. False by default: then it
    /// orders nothing, whatever it holds.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub order: bool,
    /// Its data: a tree whose texts may be templates. A text that is one expression and nothing else,
    /// such as `{{ event.data.value }}`, becomes the value itself; any other text stays text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

/// The queue of these rules; none when there are none.
pub(super) fn queue(rules: &BTreeMap<Label, Rule>) -> Option<(QueueName, QueueDef)> {
    let mut types: Vec<Pattern> = Vec::new();
    for pattern in rules.values().flat_map(|rule| &rule.on) {
        if !types.contains(pattern) {
            types.push(pattern.clone());
        }
    }
    (!rules.is_empty()).then(|| (RULES_QUEUE.parse().expect("a queue name"), QueueDef { types, ..blank() }))
}

impl Config {
    /// The rule of this name.
    ///
    /// # Errors
    /// A sentence with the rule that may be meant, when there is none of this name.
    pub fn rule(&self, name: &str) -> Result<(&Label, &Rule), String> {
        if let Some(found) = self.rules.iter().find(|(label, _)| label.as_str() == name) {
            return Ok(found);
        }
        let names: Vec<&str> = self.rules.keys().map(Label::as_str).collect();
        let shown: String = name.chars().take(64).collect();
        Err(if names.is_empty() {
            format!("there is no rule {shown:?}: the configuration has none; add it under rules")
        } else {
            format!("there is no rule {shown:?}; {}", suggest(&shown, &names))
        })
    }
}
