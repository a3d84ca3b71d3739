//! Connections to MQTT brokers, and what their topics mean.

use std::collections::HashMap;

use orderwire_types::topic::TopicText;
use orderwire_types::{Client, EventType, Label, Right};

use super::{Report, span};
use crate::model::{Clients, Config, Mqtt, TopicMapping};

/// The most mappings of one connection.
const TOPICS_MAX: usize = 1000;
/// The longest client id, in bytes.
const CLIENT_ID_MAX: usize = 256;
/// The longest user, in bytes.
const USER_BYTES_MAX: usize = 1024;
/// The longest password, in bytes: what the protocol can say.
const PASSWORD_BYTES_MAX: usize = 65_535;

pub(super) fn check(config: &Config, report: &mut Report<'_>) {
    let mut ids: HashMap<(String, String), &Label> = HashMap::new();
    for (name, mqtt) in &config.mqtt {
        let at = |key: &'static str| ["mqtt", name.as_str(), key];
        if report.lost(&["mqtt", name.as_str()]) {
            continue;
        }
        login(name, mqtt, report);
        // Those of one installation are compared with each other.
        let id = mqtt.client_id(name, "");
        if id.is_empty() || id.len() > CLIENT_ID_MAX || id.chars().any(char::is_control) {
            let detail = format!("a client id is 1 to {CLIENT_ID_MAX} bytes without control characters");
            report.fault(&at("client_id"), detail);
        } else if let Some(other) = ids.insert((mqtt.url.clone(), id), name) {
            let detail = format!(
                "the connection {other} has the same client id at the same broker, which lets one of them be \
                 there; give each its own"
            );
            report.fault(&at("client_id"), detail);
        }
        span(report, &at("keep_alive"), mqtt.keep_alive, "5s", "18h");
        span(report, &at("session"), mqtt.session, "0s", "36500d");
        for (index, right) in mqtt.rights().iter().enumerate() {
            if !matches!(right, Right::Write | Right::Order) {
                let index = format!("[{index}]");
                let detail = "messages may have the rights write and order";
                report.fault(&["mqtt", name.as_str(), "principal", "rights", &index], detail);
            }
        }
        if mqtt.topics.is_empty() || mqtt.topics.len() > TOPICS_MAX {
            let detail = format!(
                "{} mappings; at least one is needed, at most {TOPICS_MAX} are taken",
                mqtt.topics.len()
            );
            report.fault(&at("topics"), detail);
            continue;
        }
        for (index, mapping) in mqtt.topics.iter().enumerate() {
            let step = format!("[{index}]");
            let mut of = Of { path: ["mqtt", name.as_str(), "topics", &step], report };
            one(config, mqtt, mapping, &mut of);
            let earlier = mqtt.topics[..index].iter().position(|other| other.topic.covers(&mapping.topic));
            if let Some(earlier) = earlier {
                let detail = format!(
                    "never reached: topics[{earlier}] ({}) comes first and takes all of it; put this one before it",
                    mqtt.topics[earlier].topic
                );
                of.fault("topic", detail);
            }
        }
    }
}

fn login(name: &Label, mqtt: &Mqtt, report: &mut Report<'_>) {
    let at = |key: &'static str| ["mqtt", name.as_str(), key];
    if let Some(user) = &mqtt.user
        && (user.is_empty() || user.len() > USER_BYTES_MAX || user.contains('\0'))
    {
        report.fault(&at("user"), format!("a user is 1 to {USER_BYTES_MAX} bytes without a NUL"));
    }
    let Some(password) = &mqtt.password else { return };
    if mqtt.user.is_none() {
        report.fault(&at("password"), "a password needs a user");
    }
    let value = report.secret(&at("password"), password);
    if value.is_some_and(|value| value.bytes().len() > PASSWORD_BYTES_MAX) {
        report.fault(&at("password"), format!("the password is longer than {PASSWORD_BYTES_MAX} bytes"));
    }
}

/// The mapping that faults are of.
struct Of<'o, 'r> {
    path: [&'o str; 4],
    report: &'o mut Report<'r>,
}

impl Of<'_, '_> {
    fn fault(&mut self, key: &str, detail: impl Into<String>) {
        let [a, b, c, d] = self.path;
        self.report.fault(&[a, b, c, d, key], detail);
    }
}

fn one(config: &Config, mqtt: &Mqtt, mapping: &TopicMapping, of: &mut Of<'_, '_>) {
    if mapping.qos > 1 {
        of.fault("qos", format!("{} is not available; 1 is at least once, 0 at most once", mapping.qos));
    }
    if mapping.event_type.is_some() && mapping.dataset.is_some() {
        of.fault("type", "rows of a dataset have a type of their own; remove type or dataset");
    }
    let texts = [("type", &mapping.event_type), ("client", &mapping.client), ("key", &mapping.key)];
    for (key, text) in texts.into_iter().filter_map(|(key, text)| Some((key, text.as_ref()?))) {
        names(mapping, key, text, of);
    }
    // Something that any level may be stands for each name.
    let sample = |text: &TopicText| text.fill_with(|_| "x");
    if let Some(text) = &mapping.event_type
        && let Err(invalid) = sample(text).parse::<EventType>()
    {
        of.fault("type", invalid.to_string());
    }
    if let Some(text) = &mapping.client {
        match (sample(text).parse::<Client>(), &mqtt.principal.clients) {
            (Err(invalid), _) => of.fault("client", invalid.to_string()),
            (Ok(client), Clients::Named(clients))
                if text.names().next().is_none() && !clients.contains(&client) =>
            {
                of.fault("client", format!("client {client} is not among those of principal.clients"));
            }
            _ => {}
        }
    }
    rows(config, mapping, of);
}

/// The dataset and its columns must exist.
fn rows(config: &Config, mapping: &TopicMapping, of: &mut Of<'_, '_>) {
    for text in mapping.columns.values() {
        names(mapping, "columns", text, of);
    }
    let Some(dataset) = &mapping.dataset else {
        if !mapping.columns.is_empty() {
            of.fault("columns", "columns belong to rows; name their dataset, or remove columns");
        }
        return;
    };
    let Some(def) = config.datasets.get(dataset) else {
        if !of.report.lost(&["datasets", dataset.as_str()]) && !of.report.lost(&["datasets"]) {
            of.fault("dataset", format!("there is no dataset {dataset}; define it under datasets"));
        }
        return;
    };
    if of.report.lost(&["datasets", dataset.as_str()]) {
        return;
    }
    for column in mapping.columns.keys().filter(|column| def.field(column.as_str()).is_none()) {
        of.fault("columns", format!("column {column} is not in dataset {dataset}"));
    }
}

/// A text may hold the names of its topic and no others.
fn names(mapping: &TopicMapping, key: &str, text: &TopicText, of: &mut Of<'_, '_>) {
    for name in text.names() {
        if !mapping.topic.names().any(|other| other == name) {
            let there: Vec<String> = mapping.topic.names().map(|name| format!("{{{name}}}")).collect();
            let there = if there.is_empty() { "no names".to_owned() } else { there.join(", ") };
            of.fault(key, format!("{{{name}}} is not in the topic, which has {there}"));
        }
    }
}
