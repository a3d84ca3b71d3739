//! YAML beside the configuration, in its manner: bounded, every fault with its place,
//! keys given twice, tags and merge keys refused.
//!
//! [`documents`] is YAML as it was written, for what has no type here; [`read`] is a
//! typed value.

use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use crate::check::Report;
use crate::fault::{Fault, Faults, PathName, Position};
use crate::load::FILE_BYTES_MAX;
use crate::model::ByteSize;
use crate::tree::{Id, Scalar, Tree, Value as TreeValue, compose, compose_all, resolve};

/// A value with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where it begins.
    pub at: Position,
    /// What it is.
    pub value: Value,
}

/// A value as it was written; aliases are written out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// One word, number or text.
    Scalar {
        /// Without its quotes, escapes resolved.
        text: String,
        /// Whether it stood without quotes and not in a block (`|`, `>`): only then may
        /// it be anything but text.
        plain: bool,
    },
    /// The entries of a list.
    List(Vec<Node>),
    /// The entries of a map in their order, each key once.
    Map(Vec<(Key, Node)>),
}

/// The key of an entry. Every key is text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Where it begins.
    pub at: Position,
    /// The key, without its quotes.
    pub text: String,
}

/// Every document of a text (`---` lies between them), empty ones left out. `file` is
/// what positions name. All documents together have at most 50,000 values and 16 MiB
/// of text, aliases counted as often as used, and are 32 levels deep.
///
/// # Errors
/// Every fault that could be found, each with its place.
pub fn documents(file: &str, text: &str, bytes_max: usize) -> Result<Vec<Node>, Faults> {
    let mut faults = Vec::new();
    let mut tree = Tree::default();
    let roots = within(file, text, bytes_max)
        .and_then(|()| compose_all(&mut tree, file, text, &mut faults))
        .unwrap_or_else(|fault| {
            faults.push(fault);
            Vec::new()
        });
    Faults::none_or(faults)?;
    let filled = roots.into_iter().filter(|id| !tree.node(*id).value.is_null());
    Ok(filled.map(|id| Node::of(&tree, id)).collect())
}

/// A typed value from a text of one document, 1 MiB at most.
///
/// # Errors
/// Every fault with its place: those of the text, and those that the type finds.
pub fn read<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, Faults> {
    read_with(file, text, |_, _| {})
}

/// The same, with checks of what was read; their faults are reported together with all
/// others.
///
/// # Errors
/// As [`read`].
pub fn read_with<T>(file: &str, text: &str, more: impl FnOnce(&T, &mut Report<'_>)) -> Result<T, Faults>
where
    T: DeserializeOwned,
{
    let mut faults = Vec::new();
    let mut tree = Tree::default();
    let root = within(file, text, FILE_BYTES_MAX).and_then(|()| compose(&mut tree, file, text, &mut faults));
    let root = match root {
        Ok(root) => root,
        Err(fault) => {
            faults.push(fault);
            return Err(Faults::of(faults));
        }
    };
    let mut lost = Vec::new();
    let Some(value) = crate::read::read::<T>(&mut tree, root, |_, _| false, &mut faults, &mut lost) else {
        return Err(Faults::of(faults));
    };
    more(&value, &mut Report::new(&tree, root, &lost, &mut faults));
    Faults::none_or(faults)?;
    Ok(value)
}

fn within(file: &str, text: &str, bytes_max: usize) -> Result<(), Fault> {
    if text.len() <= bytes_max {
        return Ok(());
    }
    let size = ByteSize(u64::try_from(bytes_max).unwrap_or(u64::MAX));
    let detail = format!("this text is larger than {size}");
    Err(Fault { position: Some(Position::whole(file)), key: String::new(), detail })
}

impl Node {
    /// Recursion is as deep as a document may be, which is 32 levels.
    fn of(tree: &Tree, id: Id) -> Self {
        let node = tree.node(id);
        let value = match &node.value {
            TreeValue::Scalar { text, plain } => Value::Scalar { text: text.clone(), plain: *plain },
            TreeValue::List(items) => Value::List(items.iter().map(|id| Self::of(tree, *id)).collect()),
            TreeValue::Map(entries) => Value::Map(
                entries
                    .iter()
                    .map(|entry| {
                        (Key { at: entry.at.clone(), text: entry.key.clone() }, Self::of(tree, entry.id))
                    })
                    .collect(),
            ),
        };
        Self { at: node.at.clone(), value }
    }

    /// The value of a key; nothing when this is no map or has no such key.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(other, _)| other.text == key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// Its JSON by the core schema of YAML 1.2: a plain `true`, `12`, `0x1f`, `1.5`,
    /// `null` or `~` has its type; what is quoted, and every other word (`no`, `on`,
    /// `1e3x`), is text. A key is text always.
    ///
    /// # Errors
    /// Numbers that would arrive as others than they were meant: with a leading zero
    /// (`0644`), too large for 64 bits, infinite or not a number.
    pub fn to_json(&self) -> Result<Json, Faults> {
        let mut faults = Vec::new();
        let json = self.json(&PathName::default(), &mut faults);
        Faults::none_or(faults)?;
        Ok(json)
    }

    fn json(&self, path: &PathName, faults: &mut Vec<Fault>) -> Json {
        match &self.value {
            Value::Scalar { text, plain } => match resolve(text, *plain) {
                Ok(Scalar::Null) => Json::Null,
                Ok(Scalar::Bool(value)) => value.into(),
                Ok(Scalar::Unsigned(number)) => number.into(),
                Ok(Scalar::Signed(number)) => number.into(),
                Ok(Scalar::Float(number)) => number.into(),
                Ok(Scalar::Text(text)) => text.into(),
                Err(detail) => {
                    faults.push(Fault { position: Some(self.at.clone()), key: path.0.clone(), detail });
                    Json::Null
                }
            },
            Value::List(items) => {
                let item = |(i, node): (usize, &Self)| {
                    let mut path = path.clone();
                    path.index(i);
                    node.json(&path, faults)
                };
                Json::Array(items.iter().enumerate().map(item).collect())
            }
            Value::Map(entries) => {
                let entry = |(key, node): &(Key, Self)| {
                    let mut path = path.clone();
                    path.key(&key.text);
                    (key.text.clone(), node.json(&path, faults))
                };
                Json::Object(entries.iter().map(entry).collect())
            }
        }
    }
}
