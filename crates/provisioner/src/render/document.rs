//! From rendered text to values: placeholders are replaced in the tree, never in
//! the text.

use std::collections::BTreeSet;

use orderwire_config::yaml::{self, Node};
use serde_json::{Map, Value};

use super::tokens::{Part, Tokens, size, text_of};
use super::{OBJECTS_MAX, OUTPUT_BYTES_MAX, RenderError};

/// One document of a template.
pub(super) struct Document {
    /// The line of the template that it begins on; 0 when it is not known.
    pub(super) line: usize,
    pub(super) value: Value,
}

/// What is left of the size that a product may have.
pub(super) struct Budget(usize);

impl Budget {
    pub(super) fn new(bytes: usize) -> Self {
        Self(bytes)
    }

    fn take(&mut self, bytes: usize) -> Result<(), String> {
        self.0 = self.0.checked_sub(bytes).ok_or("the objects of the product are larger than 1 MiB")?;
        Ok(())
    }
}

/// Reads what a template has rendered.
pub(super) fn read(
    template: &str,
    source: &str,
    text: &str,
    tokens: &Tokens,
    budget: &mut Budget,
) -> Result<Vec<Document>, RenderError> {
    let lines = Lines { template, source, text, tokens };
    let nodes = yaml::documents(template, text, OUTPUT_BYTES_MAX).map_err(|faults| {
        let first = faults.iter().next();
        let line = first.and_then(|fault| fault.position.as_ref()?.line);
        let detail = first.map_or_else(String::new, |fault| match fault.key.as_str() {
            "" => fault.detail.clone(),
            key => format!("{}: {}", tokens.shown(key), tokens.shown(&fault.detail)),
        });
        lines.error(line, &detail)
    })?;
    if nodes.len() > OBJECTS_MAX {
        let detail = format!("a release has at most {OBJECTS_MAX} objects");
        return Err(RenderError::at(template, 0, detail));
    }
    let mut reader = Reader { tokens, budget, lines: &lines, seen: BTreeSet::new() };
    let documents = nodes
        .iter()
        .map(|node| {
            let line = node.at.line.and_then(|line| lines.in_template(line)).unwrap_or(0);
            Ok(Document { line, value: reader.value(node)? })
        })
        .collect::<Result<Vec<_>, RenderError>>()?;
    let seen = reader.seen;
    lines.all_replaced(&seen)?;
    Ok(documents)
}

struct Reader<'r> {
    tokens: &'r Tokens,
    budget: &'r mut Budget,
    lines: &'r Lines<'r>,
    /// The placeholders that were met.
    seen: BTreeSet<usize>,
}

impl Reader<'_> {
    /// Recursion is as deep as a document may be, which is 32 levels.
    fn value(&mut self, node: &Node) -> Result<Value, RenderError> {
        let at = |detail: String| self.lines.error(node.at.line, &detail);
        match &node.value {
            yaml::Value::Scalar { text, plain } => {
                let parts = self.tokens.parts(text).map_err(at)?;
                let value = match parts.as_slice() {
                    [Part::Token(index)] if *plain => {
                        self.seen.insert(*index);
                        self.tokens.value(*index)
                    }
                    parts if parts.iter().any(|part| matches!(part, Part::Token(_))) => {
                        self.text(parts).map(Value::String)
                    }
                    _ => node.to_json().map_err(|faults| {
                        faults.iter().next().map_or_else(String::new, |fault| fault.detail.clone())
                    }),
                };
                let value = value.and_then(|value| {
                    self.budget.take(size(&value))?;
                    Ok(value)
                });
                value.map_err(|detail| self.lines.error(node.at.line, &detail))
            }
            yaml::Value::List(items) => items.iter().map(|item| self.value(item)).collect(),
            yaml::Value::Map(entries) => {
                let mut map = Map::new();
                for (key, node) in entries {
                    let parts = self.tokens.parts(&key.text);
                    let text = parts.and_then(|parts| {
                        let text = self.text(&parts)?;
                        self.budget.take(text.len())?;
                        Ok(text)
                    });
                    let text = text.map_err(|detail| self.lines.error(key.at.line, &detail))?;
                    let value = self.value(node)?;
                    if map.contains_key(&text) {
                        let shown: String = text.chars().take(64).collect();
                        let detail = format!("the key {shown:?} is given twice; keep one");
                        return Err(self.lines.error(key.at.line, &detail));
                    }
                    map.insert(text, value);
                }
                Ok(Value::Object(map))
            }
        }
    }

    fn text(&mut self, parts: &[Part<'_>]) -> Result<String, String> {
        let mut text = String::new();
        for part in parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Token(index) => {
                    self.seen.insert(*index);
                    text.push_str(&text_of(&self.tokens.value(*index)?)?);
                }
            }
            if text.len() > OUTPUT_BYTES_MAX {
                return Err("a text is larger than 1 MiB".to_owned());
            }
        }
        Ok(text)
    }
}

/// The lines of a template and of what it rendered.
struct Lines<'l> {
    template: &'l str,
    source: &'l str,
    text: &'l str,
    tokens: &'l Tokens,
}

impl Lines<'_> {
    fn error(&self, line: Option<usize>, detail: &str) -> RenderError {
        let Some(line) = line else { return RenderError::at(self.template, 0, detail) };
        if let Some(known) = self.in_template(line) {
            return RenderError::at(self.template, known, detail);
        }
        let rendered = self.text.lines().nth(line - 1).unwrap_or_default();
        let shown: String = self.tokens.shown(rendered.trim()).chars().take(120).collect();
        let detail = format!("{detail} (line {line} of what it rendered: {shown})");
        RenderError::at(self.template, 0, detail)
    }

    /// The line of the template that made a line of the text: the only one that can
    /// have, or, where as many lines of both look the same, the one at the same place
    /// among them.
    fn in_template(&self, line: usize) -> Option<usize> {
        let shown = |line: &str| self.tokens.shown(line).trim_end().to_owned();
        let wanted = shown(self.text.lines().nth(line.checked_sub(1)?)?);
        let same = |lines: &mut dyn Iterator<Item = String>| -> Vec<usize> {
            lines.enumerate().filter(|(_, line)| *line == wanted).map(|(i, _)| i + 1).collect()
        };
        let written = same(&mut self.source.lines().map(|line| placeholders(line).trim_end().to_owned()));
        let rendered = same(&mut self.text.lines().map(shown));
        let place = rendered.iter().position(|other| *other == line)?;
        if written.len() == rendered.len() { written.get(place).copied() } else { None }
    }

    /// A placeholder that is not in the tree stands in a comment, or somewhere where
    /// its value would be lost.
    fn all_replaced(&self, seen: &BTreeSet<usize>) -> Result<(), RenderError> {
        for (i, line) in self.text.lines().enumerate() {
            let mut is_comment = false;
            for part in self.tokens.parts(line).map_err(|detail| self.error(Some(i + 1), &detail))? {
                match part {
                    Part::Literal(text) => is_comment |= text.contains('#'),
                    Part::Token(index) if !is_comment && !seen.contains(&index) => {
                        let detail =
                            "a value can only stand in a scalar or a key, not in a tag, anchor or directive";
                        return Err(self.error(Some(i + 1), detail));
                    }
                    Part::Token(_) => {}
                }
            }
        }
        Ok(())
    }
}

/// A line of a template with each `{{ … }}` as it is shown in what was rendered.
fn placeholders(line: &str) -> String {
    let mut shown = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((_, after)) = after.split_once("}}") else { break };
        shown.push_str(before);
        shown.push_str("{{…}}");
        rest = after;
    }
    shown.push_str(rest);
    shown
}
