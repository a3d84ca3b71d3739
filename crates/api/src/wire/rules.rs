//! What rules would do with an event: no answer of the server, but what `rule test` prints.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What the rules of a configuration would do with an event.
#[derive(Debug, Serialize, Deserialize)]
pub struct RuleTrials {
    /// The event as expressions see it.
    pub event: Box<RawValue>,
    /// Each rule, in order of name.
    pub rules: Vec<RuleTrial>,
}

/// What one rule would do.
#[derive(Debug, Serialize, Deserialize)]
pub struct RuleTrial {
    /// Its name.
    pub rule: String,
    /// Whether it looks at events of this type.
    pub matches: bool,
    /// Whether its condition holds; true without one. Absent where it does not look at the event, or fails
    /// before that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holds: Option<bool>,
    /// Why the condition does not hold, where that is not plain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why the rule fails; then the event would become a dead letter, and no rule would emit anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What it would emit.
    pub emits: Vec<RuleEmits>,
}

/// An event that a rule would emit.
#[derive(Debug, Serialize, Deserialize)]
pub struct RuleEmits {
    /// As a CloudEvent.
    pub event: Box<RawValue>,
    /// The queues of the configuration that would take it.
    pub queues: Vec<String>,
}
