//! The typed structure from a tree, with every fault and not only the first:
//! serde stops at a fault, so the faulty entry is reported, taken out, and the
//! tree is read again.

use serde::de::DeserializeOwned;

use crate::fault::{FAULTS_MAX, Fault, PathName};
use crate::tree::{Cause, Id, NodeDeserializer, ReadError, Tree};

/// Reads `root`; the faults found are pushed. Returns nothing when so little
/// could be read that further checks would be about something else.
///
/// Entries that were reported are dead in the tree afterwards; `lost` gets
/// their paths, so that later checks can keep quiet about their absence.
pub(crate) fn read<T>(
    tree: &mut Tree,
    root: Id,
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
        let Some(slot) = error.slot else {
            faults.push(Fault {
                position: Some(tree.node(root).at.clone()),
                key: String::new(),
                detail: describe(&error, ""),
            });
            return None;
        };
        // A key that is missing only because its value was reported already.
        let repeated = match &error.cause {
            Cause::Missing(field) => {
                let id = tree.child(slot);
                let reported =
                    |(i, entry): (usize, &crate::tree::Entry)| entry.key == *field && tree.is_dead((id, i));
                tree.entries(id).iter().enumerate().any(reported)
            }
            _ => false,
        };
        let path: Vec<String> = error.path.iter().rev().cloned().collect();
        if !repeated {
            let position = match error.cause {
                Cause::UnknownWord { .. } | Cause::Other(_) if !error.in_key => {
                    tree.node(tree.child(slot)).at.clone()
                }
                _ => tree.slot_at(slot),
            };
            let detail = describe(&error, &path.join("."));
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

fn describe(error: &ReadError, path: &str) -> String {
    match &error.cause {
        Cause::UnknownKey { expected } => unknown_key(path, expected),
        Cause::UnknownWord { given, expected } => {
            format!("{given:?} is not known; {}", suggest(given, expected))
        }
        Cause::Missing(field) => format!("{field} is missing; add it"),
        Cause::Other(detail) => detail.clone(),
    }
}

/// Keys of the product that this version does not have yet: said so, instead
/// of calling them unknown.
const LATER: [&str; 5] = ["auth", "channels", "rollouts", "rules", "scaler"];
const LATER_QUEUE: [&str; 4] = ["declare", "native", "principal", "type"];

fn unknown_key(path: &str, expected: &'static [&'static str]) -> String {
    let key = path.rsplit('.').next().unwrap_or(path);
    let later = LATER.contains(&path)
        || (path.starts_with("queues.") && path.matches('.').count() == 2 && LATER_QUEUE.contains(&key));
    if later {
        "is not available in this version; remove it".to_owned()
    } else {
        format!("unknown key; {}", suggest(key, expected))
    }
}

/// What was meant, or else everything that could be.
fn suggest(given: &str, expected: &[&str]) -> String {
    let lower = given.to_lowercase();
    let close = |word: &&&str| strsim::damerau_levenshtein(&lower, word) <= 1 + word.len() / 4;
    let nearest = expected.iter().filter(close).min_by_key(|word| strsim::damerau_levenshtein(&lower, word));
    match nearest {
        Some(word) => format!("did you mean {word}?"),
        None => format!("use one of {}", expected.join(", ")),
    }
}
