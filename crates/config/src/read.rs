//! The typed structure from a tree, with every fault and not only the first:
//! serde stops at a fault, so the faulty entry is reported, taken out, and the
//! tree is read again.

use serde::de::DeserializeOwned;

use crate::fault::{FAULTS_MAX, Fault, PathName};
use crate::tree::{Cause, Id, NodeDeserializer, ReadError, Tree};

/// What a later version will know, by its path, or by the path of a value and the word
/// that stands there: said so, instead of called unknown.
pub(crate) type Later = fn(path: &[String], word: Option<&str>) -> bool;

/// Reads `root`; the faults found are pushed. Returns nothing when so little
/// could be read that further checks would be about something else.
///
/// Entries that were reported are dead in the tree afterwards; `lost` gets
/// their paths, so that later checks can keep quiet about their absence.
pub(crate) fn read<T>(
    tree: &mut Tree,
    root: Id,
    later: Later,
    faults: &mut Vec<Fault>,
    lost: &mut Vec<Vec<String>>,
) -> Option<T>
where
    T: DeserializeOwned,
{
    // One fault more than is shown, so that the report can say that there are more.
    while faults.len() <= FAULTS_MAX {
        let error = match T::deserialize(NodeDeserializer { tree, id: root }) {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        // A key that is missing only because its value was reported already.
        let repeated = match &error.cause {
            Cause::Missing(field) => {
                let id = error.slot.map_or(root, |slot| tree.child(slot));
                let reported =
                    |(i, entry): (usize, &crate::tree::Entry)| entry.key == *field && tree.is_dead((id, i));
                tree.entries(id).iter().enumerate().any(reported)
            }
            _ => false,
        };
        let path: Vec<String> = error.path.iter().rev().cloned().collect();
        let Some(slot) = error.slot else {
            if !repeated {
                let position = Some(tree.node(root).at.clone());
                faults.push(Fault { position, key: String::new(), detail: describe(&error, &path, later) });
            }
            return None;
        };
        if !repeated {
            let position = match error.cause {
                Cause::UnknownWord { .. } | Cause::Other(_) if !error.in_key => {
                    tree.node(tree.child(slot)).at.clone()
                }
                _ => tree.slot_at(slot),
            };
            let detail = describe(&error, &path, later);
            faults.push(Fault { position: Some(position), key: name(&path), detail });
        }
        tree.kill(slot);
        lost.push(path);
    }
    None
}

/// The name of a path whose list steps read `[2]`.
pub(crate) fn name(path: &[String]) -> String {
    let mut name = PathName::default();
    for step in path {
        match step.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).and_then(|n| n.parse().ok()) {
            Some(index) => name.index(index),
            None => name.key(step),
        }
    }
    name.0
}

fn describe(error: &ReadError, path: &[String], later: Later) -> String {
    match &error.cause {
        Cause::UnknownKey { .. } if later(path, None) => {
            "is not available in this version; remove it".to_owned()
        }
        Cause::UnknownKey { expected } => {
            let key = path.last().map_or("", String::as_str);
            format!("unknown key; {}", suggest(key, expected))
        }
        Cause::UnknownWord { given, expected } if later(path, Some(given)) => {
            format!("{given} is not available in this version; use {}", expected.join(", "))
        }
        Cause::UnknownWord { given, expected } => {
            format!("{given:?} is not known; {}", suggest(given, expected))
        }
        Cause::Missing(field) => format!("{field} is missing; add it"),
        Cause::Other(detail) => detail.clone(),
    }
}

/// What was meant, or else everything that could be.
pub(crate) fn suggest(given: &str, expected: &[&str]) -> String {
    let lower = given.to_lowercase();
    let close = |word: &&&str| strsim::damerau_levenshtein(&lower, word) <= 1 + word.len() / 4;
    let nearest = expected.iter().filter(close).min_by_key(|word| strsim::damerau_levenshtein(&lower, word));
    match nearest {
        Some(word) => format!("did you mean {word}?"),
        None => format!("use one of {}", expected.join(", ")),
    }
}
