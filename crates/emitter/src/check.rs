//! What is wrong with the conditions and templates of rules, found before any event comes.

use orderwire_config::{Config, Emission, Rule};
use orderwire_types::Client;
use serde_json::Value;

use crate::expression::{Piece, Wrong, check_expression, check_piece, is_template, pieces, read_template};

/// A fault of the configuration's rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleFault {
    /// The path of the value at fault; a step that reads `[2]` is an entry of a list.
    pub path: Vec<String>,
    /// What is wrong, as one sentence fragment.
    pub detail: String,
}

/// Every fault of the conditions and templates.
pub fn faults(config: &Config) -> Vec<RuleFault> {
    let mut found = Vec::new();
    for (name, rule) in &config.rules {
        let mut places = Places { path: vec!["rules".to_owned(), name.to_string()], found: &mut found };
        check(rule, &mut places);
    }
    found
}

struct Places<'f> {
    path: Vec<String>,
    found: &'f mut Vec<RuleFault>,
}

impl Places<'_> {
    fn within(&mut self, step: impl Into<String>, then: impl FnOnce(&mut Self)) {
        self.path.push(step.into());
        then(self);
        self.path.pop();
    }

    fn note(&mut self, checked: Result<(), Wrong>) {
        if let Err(wrong) = checked {
            self.found.push(RuleFault { path: self.path.clone(), detail: wrong.detail });
        }
    }

    fn fault(&mut self, detail: impl Into<String>) {
        self.found.push(RuleFault { path: self.path.clone(), detail: detail.into() });
    }
}

fn check(rule: &Rule, places: &mut Places<'_>) {
    if let Some(condition) = &rule.when {
        places.within("when", |places| places.note(check_expression(condition)));
    }
    places.within("emit", |places| {
        for (i, emission) in rule.emit.iter().enumerate() {
            places.within(format!("[{i}]"), |places| self::emission(emission, places));
        }
    });
}

fn emission(emission: &Emission, places: &mut Places<'_>) {
    if let Some(client) = &emission.client {
        places.within("client", |places| {
            if is_template(client) {
                places.note(check_template(client));
            } else if let Err(invalid) = client.parse::<Client>() {
                places.fault(invalid.to_string());
            }
        });
    }
    if let Some(key) = &emission.key {
        places.within("key", |places| {
            if is_template(key) {
                places.note(check_template(key));
            } else if let Some(detail) = crate::emit::key_fault(key) {
                places.fault(detail);
            }
        });
    }
    if let Some(data) = &emission.data {
        places.within("data", |places| tree(data, places));
    }
}

/// Recursion is as deep as a configuration may be, which is 32 levels.
fn tree(value: &Value, places: &mut Places<'_>) {
    match value {
        Value::String(text) if is_template(text) => places.note(check_template(text)),
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                places.within(format!("[{i}]"), |places| tree(item, places));
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                places.within(name, |places| {
                    if is_template(name) {
                        places.fault("the name of a member is no template: only texts are");
                    }
                    tree(member, places);
                });
            }
        }
        _ => {}
    }
}

fn check_template(source: &str) -> Result<(), Wrong> {
    let template = read_template(source)?;
    for piece in pieces(&template)? {
        if let Piece::Expression(expression) = piece {
            check_piece(expression, source)?;
        }
    }
    Ok(())
}
