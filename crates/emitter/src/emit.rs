//! What rules make of an event.

use std::sync::Arc;

use jiff::Timestamp;
use orderwire_config::{Config, Emission, Rule};
use orderwire_types::json::nests_at_most;
use orderwire_types::{Client, Data, Event, Label, Limits, Origin, RawJson, identity};

use crate::data::data;
use crate::expression::{Condition, Engine, Wrong, is_template};

/// The most events that all rules together emit because of one.
const EVENTS_MAX: usize = 100;
/// The longest ordering key, in bytes.
const KEY_BYTES_MAX: usize = 1_024;

/// How much rules may emit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// How many rules in a row may lead to an event.
    pub depth: u8,
    /// The largest event, envelope included, in bytes.
    pub event_bytes: usize,
    /// The deepest nesting of its data.
    pub json_depth: usize,
}

impl From<&Limits> for Bounds {
    fn from(limits: &Limits) -> Self {
        Self { depth: limits.rule_depth, event_bytes: limits.event_bytes, json_depth: limits.json_depth }
    }
}

/// The rules of a configuration. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Rules {
    rules: Arc<[(Label, Rule)]>,
    bounds: Bounds,
}

/// What a rule makes of an event whose type it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Its condition holds: these events.
    Emits(Vec<Event>),
    /// Its condition does not hold; why, where that is not plain.
    Passes(Option<String>),
}

impl Rules {
    /// The rules of a configuration in which [`faults`](crate::faults) finds nothing.
    pub fn new(config: &Config, bounds: Bounds) -> Self {
        let rules = config.rules.iter().map(|(name, rule)| (name.clone(), rule.clone())).collect();
        Self { rules, bounds }
    }

    /// Each rule by its name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(Label, Rule)> {
        self.rules.iter()
    }

    /// What the rules that look at such an event make of it, in order of name; nothing is read of the
    /// event when none does. A rule that fails ends it, because then nothing is emitted at all.
    ///
    /// # Errors
    /// The rule that failed, and why: the same event makes it fail again.
    pub(crate) fn emit(
        &self,
        cause: &Event,
        now: Timestamp,
    ) -> Result<Vec<(Label, Outcome)>, (Label, String)> {
        let mut outcomes = Vec::new();
        let mut engine = None;
        let mut count = 0;
        for (name, rule) in self.iter().filter(|(_, rule)| takes(rule, cause)) {
            let engine = engine.get_or_insert_with(|| Engine::new(cause));
            let outcome =
                self.apply(name, rule, cause, engine, now).map_err(|detail| (name.clone(), detail))?;
            if let Outcome::Emits(events) = &outcome {
                count += events.len();
            }
            if count > EVENTS_MAX {
                let detail = format!("the rules would emit more than {EVENTS_MAX} events because of one");
                return Err((name.clone(), detail));
            }
            outcomes.push((name.clone(), outcome));
        }
        Ok(outcomes)
    }

    /// What one rule makes of an event whose type it takes.
    ///
    /// # Errors
    /// Why it fails.
    pub(crate) fn apply(
        &self,
        name: &Label,
        rule: &Rule,
        cause: &Event,
        engine: &Engine,
        now: Timestamp,
    ) -> Result<Outcome, String> {
        if let Some(condition) = &rule.when {
            let holds = engine.condition(condition).map_err(|wrong| format!("when: {}", wrong.detail))?;
            if let Condition::Fails(why) = holds {
                return Ok(Outcome::Passes(why));
            }
        }
        let depth = cause.depth.saturating_add(1);
        if depth > self.bounds.depth {
            return Err(format!(
                "the chain ends here: {} rules in a row led to this event, and limits.rule_depth allows no more; \
                 give the rule a condition that ends it, or raise the limit",
                cause.depth
            ));
        }
        let mut events = Vec::with_capacity(rule.emit.len());
        for (index, emission) in rule.emit.iter().enumerate() {
            let place = |detail: String| format!("emit[{index}].{detail}");
            let made = Made::of(emission, cause, engine).map_err(place)?;
            let event = Event {
                id: identity::emitted_id(cause.id, name.as_str(), index as u64),
                event_type: emission.event_type.clone(),
                source: format!("/orderwire/rules/{name}"),
                client: made.client,
                key: made.key,
                time: None,
                trace: cause.trace.clone(),
                attempt: None,
                cause: Some(cause.id),
                accepted_at: now,
                principal: format!("rule:{name}"),
                may_order: emission.order,
                depth,
                import: None,
                origin: Origin::Plain,
                data: made.data,
            };
            self.check(&event).map_err(place)?;
            events.push(event);
        }
        Ok(Outcome::Emits(events))
    }

    /// That an event is no larger than one from outside could be.
    fn check(&self, event: &Event) -> Result<(), String> {
        let Bounds { event_bytes, json_depth, .. } = self.bounds;
        let Data::Json(json) = &event.data else { return Ok(()) };
        if !nests_at_most(json.get().as_bytes(), json_depth) {
            return Err(format!("data: nests deeper than {json_depth} levels (limits.json_depth)"));
        }
        let bytes = event.encode().len();
        if bytes > event_bytes {
            return Err(format!(
                "data: the event takes {bytes} bytes, at most {event_bytes} (limits.event_bytes)"
            ));
        }
        Ok(())
    }
}

/// Whether a rule looks at such an event.
pub(crate) fn takes(rule: &Rule, event: &Event) -> bool {
    rule.on.iter().any(|pattern| pattern.matches(&event.event_type))
}

/// What templates made of an event to be emitted.
struct Made {
    client: Client,
    key: Option<String>,
    data: Data,
}

impl Made {
    fn of(emission: &Emission, cause: &Event, engine: &Engine) -> Result<Self, String> {
        let filled = |text: &str| if is_template(text) { engine.text(text) } else { Ok(text.to_owned()) };
        let client = match &emission.client {
            None => cause.client.clone(),
            Some(template) => filled(template)
                .map_err(|wrong| wrong.detail)
                .and_then(|client| client.parse::<Client>().map_err(|invalid| invalid.to_string()))
                .map_err(|detail| format!("client: {detail}"))?,
        };
        let key = match &emission.key {
            // What belongs together of a client stays in order.
            None => cause.key.clone().filter(|_| client == cause.client),
            Some(template) => {
                let key = filled(template).map_err(|Wrong { detail, .. }| format!("key: {detail}"))?;
                if let Some(detail) = key_fault(&key) {
                    return Err(format!("key: {detail}"));
                }
                Some(key)
            }
        };
        let data = match &emission.data {
            None => Data::None,
            Some(tree) => {
                let json = RawJson::parse(data(tree, engine)?);
                Data::Json(json.map_err(|error| format!("data: this makes no JSON: {error}"))?)
            }
        };
        Ok(Self { client, key, data })
    }
}

/// Why a text can be no ordering key.
pub(crate) fn key_fault(key: &str) -> Option<String> {
    if key.is_empty() {
        return Some("a key is not empty; leave it out, or give it a default".to_owned());
    }
    if key.len() > KEY_BYTES_MAX {
        return Some(format!("the key takes {} bytes, at most {KEY_BYTES_MAX} are taken", key.len()));
    }
    key.chars().any(char::is_control).then(|| "a key has no control characters".to_owned())
}
