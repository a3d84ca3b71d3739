//! What rules would do with an event, touching nothing.

use jiff::Timestamp;
use orderwire_api::wire::{RuleEmits, RuleTrial, RuleTrials};
use orderwire_types::envelope::to_cloudevent;
use orderwire_types::queue::QueueDef;
use orderwire_types::{Event, EventType, Label, QueueName};
use serde_json::value::RawValue;

use crate::emit::{Outcome, Rules, takes};
use crate::expression::Engine;

impl Rules {
    /// What each rule, or only this one, would do with an event. `queues` say who would take what is
    /// emitted.
    pub fn trial(
        &self,
        event: &Event,
        only: Option<&Label>,
        queues: &[(QueueName, QueueDef)],
        now: Timestamp,
    ) -> RuleTrials {
        let asked = self.iter().filter(|(name, _)| only.is_none_or(|only| only == name));
        let trial = |(name, rule): &(Label, orderwire_config::Rule)| {
            let mut trial = RuleTrial {
                rule: name.to_string(),
                matches: takes(rule, event),
                holds: None,
                reason: None,
                error: None,
                emits: Vec::new(),
            };
            if !trial.matches {
                return trial;
            }
            // Each rule by itself, so that one which does too much hides nothing of the others.
            match self.apply(name, rule, event, &Engine::new(event), now) {
                Ok(Outcome::Emits(events)) => {
                    trial.holds = Some(true);
                    trial.emits = events.iter().map(|event| emits(event, queues)).collect();
                }
                Ok(Outcome::Passes(reason)) => {
                    trial.holds = Some(false);
                    trial.reason = reason;
                }
                Err(error) => trial.error = Some(error),
            }
            trial
        };
        RuleTrials { event: shown(event), rules: asked.map(trial).collect() }
    }
}

fn emits(event: &Event, queues: &[(QueueName, QueueDef)]) -> RuleEmits {
    RuleEmits { event: shown(event), queues: takers(&event.event_type, queues) }
}

fn takers(event_type: &EventType, queues: &[(QueueName, QueueDef)]) -> Vec<String> {
    let takes =
        |(_, def): &&(QueueName, QueueDef)| def.types.iter().any(|pattern| pattern.matches(event_type));
    let mut names: Vec<String> = queues.iter().filter(takes).map(|(name, _)| name.to_string()).collect();
    names.sort_unstable();
    names
}

fn shown(event: &Event) -> Box<RawValue> {
    RawValue::from_string(to_cloudevent(event)).expect("a CloudEvent is JSON")
}
