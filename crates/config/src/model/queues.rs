use std::collections::BTreeMap;

use orderwire_types::dataset::Span;
use orderwire_types::queue::{Backoff, Declare, Format, Key, Kind, QueueDef, default_queues};
use orderwire_types::{EventType, Pattern, QueueName, Right};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::views::Clients;

/// The queue of everything, which exists only when it is configured.
pub(crate) const AUDIT: &str = "audit";

/// Settings of a queue; what is not given stays as it is by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct QueueSettings {
    /// Task (the default of a further queue) or stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// The patterns of the event types that it takes: `*` is one word, `#` any
    /// number. A further queue needs them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<String>>")]
    pub types: Option<Vec<Pattern>>,
    /// What orders the deliveries of a task queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    /// The form in which consumers get events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// How many attempts a delivery has before it is dead-lettered, 1 to 1000; by default 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// The pause between attempts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<BackoffSettings>,
    /// How it comes to be at the broker; by default `adopt` for `infra`, `clients` and
    /// `status`, `quorum` for all others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub declare: Option<Declare>,
    /// Whether its events are for other people's consumers at the broker, in the form that
    /// `format` says; task queues only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub native: Option<bool>,
    /// Whose are messages of its broker queue that no gateway signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<PrincipalSettings>,
    /// The type of messages of its broker queue that say none; with it, objects there may
    /// have the flat form.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub event_type: Option<EventType>,
}

/// Whose are messages that no gateway signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PrincipalSettings {
    /// The clients that they may name: `all` (the default) or a list.
    pub clients: Clients,
    /// What they may do: `write`, `order`. By default `[write]`, for `infra` also `order`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<String>>")]
    pub rights: Option<Vec<Right>>,
}

impl Default for PrincipalSettings {
    fn default() -> Self {
        Self { clients: Clients::All, rights: None }
    }
}

/// What a broker has to do with a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerQueue {
    /// Its name.
    pub name: QueueName,
    /// Its settings.
    pub def: QueueDef,
    /// How it comes to be at the broker.
    pub declare: Declare,
    /// Whether its events are for other people's consumers at the broker.
    pub native: bool,
    /// The clients that messages of other producers may name.
    pub clients: Clients,
    /// What they may do.
    pub rights: Vec<Right>,
    /// The type of messages that say none.
    pub event_type: Option<EventType>,
}

impl BrokerQueue {
    /// The queue at the broker from which events come in: of its own name, unless that is
    /// where they go out to other people's consumers.
    pub fn intake(&self) -> QueueName {
        if !self.native {
            return self.name.clone();
        }
        format!("{}{INTAKE}", self.name).parse().expect("checked to be short enough")
    }
}

/// What the name of a native queue's intake ends with.
pub(crate) const INTAKE: &str = ".in";

/// What a broker has to do with each of these queues.
pub(crate) fn at_broker(
    definitions: Vec<(QueueName, QueueDef)>,
    settings: &BTreeMap<QueueName, QueueSettings>,
) -> Vec<BrokerQueue> {
    let default = QueueSettings::default();
    let with = |(name, def): (QueueName, QueueDef)| {
        let settings = settings.get(&name).unwrap_or(&default);
        let principal = settings.principal.clone().unwrap_or_default();
        let is_infra = name.as_str() == "infra";
        let declare = if ["infra", "clients", "status"].contains(&name.as_str()) {
            Declare::Adopt
        } else {
            Declare::default()
        };
        let rights = if is_infra { vec![Right::Write, Right::Order] } else { vec![Right::Write] };
        BrokerQueue {
            declare: settings.declare.unwrap_or(declare),
            native: settings.native.unwrap_or(false),
            clients: principal.clients,
            rights: principal.rights.unwrap_or(rights),
            event_type: settings.event_type.clone(),
            name,
            def,
        }
    };
    definitions.into_iter().map(with).collect()
}

/// The pause before another attempt: doubles from `first` up to `last`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BackoffSettings {
    /// After the first failed attempt; by default 1s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<Span>,
    /// At most; by default 1m, up to 1d.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Span>,
}

impl QueueSettings {
    /// These settings over a definition, field by field.
    fn over(&self, base: QueueDef) -> QueueDef {
        let backoff = self.backoff.unwrap_or_default();
        QueueDef {
            kind: self.kind.unwrap_or(base.kind),
            types: self.types.clone().unwrap_or(base.types),
            key: self.key.unwrap_or(base.key),
            format: self.format.unwrap_or(base.format),
            attempts: self.attempts.unwrap_or(base.attempts),
            backoff: Backoff {
                first: backoff.first.unwrap_or(base.backoff.first),
                last: backoff.last.unwrap_or(base.backoff.last),
            },
        }
    }
}

/// The definition that a queue of this name has before any setting; none for a
/// further queue.
pub(crate) fn base(name: &str) -> Option<QueueDef> {
    if name == AUDIT {
        let everything = "#".parse().expect("a pattern");
        return Some(QueueDef { kind: Kind::Stream, types: vec![everything], ..blank() });
    }
    default_queues().into_iter().find(|(default, _)| default.as_str() == name).map(|(_, def)| def)
}

/// Every queue: the default ones and those that other keys need first, then the others by name.
pub(super) fn definitions(
    settings: &BTreeMap<QueueName, QueueSettings>,
    needed: impl IntoIterator<Item = (QueueName, QueueDef)>,
) -> Vec<(QueueName, QueueDef)> {
    let mut all = default_queues();
    all.extend(needed);
    for (name, settings) in settings {
        match all.iter_mut().find(|(default, _)| default == name) {
            Some((_, def)) => *def = settings.over(def.clone()),
            None => all.push((name.clone(), settings.over(base(name.as_str()).unwrap_or_else(blank)))),
        }
    }
    all
}

/// A task queue that takes nothing.
pub(super) fn blank() -> QueueDef {
    // The default of `attempts` is known to serde alone.
    serde_json::from_str(r#"{"types":[]}"#).expect("a definition needs its types only")
}
