//! A configuration as it was written: nodes that know their place. Scalars
//! keep their spelling, so that the type of the key decides what they mean
//! (`no` is a word where text is expected, never `false`).

mod compose;
mod de;
mod scalar;

use std::collections::HashSet;

pub(crate) use compose::{compose, compose_all};
pub(crate) use de::{Cause, NodeDeserializer, ReadError};
pub(crate) use scalar::{Scalar, resolve};

use crate::fault::Position;

/// The index of a node in its tree.
pub(crate) type Id = usize;

/// One place in a container: the container and the index of its entry.
pub(crate) type Slot = (Id, usize);

/// The nodes of every source and of what they were merged into. Aliases make
/// it a graph without cycles; `compose` bounds its size when written out.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
    /// Entries that turned out faulty: reported, then read as if absent.
    dead: HashSet<Slot>,
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) at: Position,
    pub(crate) value: Value,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Scalar { text: String, plain: bool },
    List(Vec<Id>),
    Map(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) at: Position,
    pub(crate) id: Id,
}

impl Value {
    /// Whether nothing was given: an empty value, `~` or `null`.
    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }
}

impl Tree {
    pub(crate) fn add(&mut self, at: Position, value: Value) -> Id {
        self.nodes.push(Node { at, value });
        self.nodes.len() - 1
    }

    pub(crate) fn node(&self, id: Id) -> &Node {
        &self.nodes[id]
    }

    /// The entries of a map; none of anything else.
    pub(crate) fn entries(&self, id: Id) -> &[Entry] {
        match &self.nodes[id].value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// Adds an entry to a map that is still being built.
    pub(crate) fn push(&mut self, map: Id, entry: Entry) {
        match &mut self.nodes[map].value {
            Value::Map(entries) => entries.push(entry),
            other => *other = Value::Map(vec![entry]),
        }
    }

    /// Lays `high` over `low`: maps key by key, everything else as a whole.
    /// Where `high` says nothing, `low` stays.
    pub(crate) fn merge(&mut self, low: Id, high: Id) -> Id {
        if self.nodes[high].value.is_null() {
            return low;
        }
        let (Value::Map(low_entries), Value::Map(high_entries)) =
            (&self.nodes[low].value, &self.nodes[high].value)
        else {
            return high;
        };
        let (mut merged, high_entries) = (low_entries.clone(), high_entries.clone());
        for entry in high_entries {
            match merged.iter().position(|other| other.key == entry.key) {
                None => merged.push(entry),
                Some(i) => merged[i].id = self.merge(merged[i].id, entry.id),
            }
        }
        let at = self.nodes[low].at.clone();
        self.add(at, Value::Map(merged))
    }

    /// Takes an entry out of what is read.
    pub(crate) fn kill(&mut self, slot: Slot) {
        self.dead.insert(slot);
    }

    pub(crate) fn is_dead(&self, slot: Slot) -> bool {
        self.dead.contains(&slot)
    }

    /// The node in a slot.
    pub(crate) fn child(&self, (id, index): Slot) -> Id {
        match &self.nodes[id].value {
            Value::List(items) => items[index],
            Value::Map(entries) => entries[index].id,
            Value::Scalar { .. } => id,
        }
    }

    /// Where the entry of a slot begins: its key in a map, its value in a list.
    pub(crate) fn slot_at(&self, slot: Slot) -> Position {
        match &self.nodes[slot.0].value {
            Value::Map(entries) => entries[slot.1].at.clone(),
            _ => self.nodes[self.child(slot)].at.clone(),
        }
    }

    /// Where the value at a path was given, or else the nearest key above it.
    /// `[2]` in a path counts the entries of a list that are still read.
    pub(crate) fn locate(&self, root: Id, path: &[String]) -> Option<Position> {
        let (mut id, mut found) = (root, None);
        for (depth, step) in path.iter().enumerate() {
            let Some(slot) = self.slot(id, step) else { break };
            id = self.child(slot);
            let last = depth + 1 == path.len();
            found = Some(if last { self.nodes[id].at.clone() } else { self.slot_at(slot) });
        }
        found
    }

    fn slot(&self, id: Id, step: &str) -> Option<Slot> {
        let index = match &self.nodes[id].value {
            Value::Map(entries) => entries.iter().position(|entry| entry.key == step),
            Value::List(items) => {
                let nth = step.strip_prefix('[')?.strip_suffix(']')?.parse().ok()?;
                (0..items.len()).filter(|i| !self.is_dead((id, *i))).nth(nth)
            }
            Value::Scalar { .. } => None,
        };
        index.map(|index| (id, index))
    }
}
