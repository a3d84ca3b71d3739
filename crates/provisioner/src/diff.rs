//! What differs between two values, field by field.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::target::FieldChange;

/// The most changes that are named.
const CHANGES_MAX: usize = 10_000;

/// The fields that differ, by the order of the keys of both.
///
/// Objects are compared key by key and lists item by item. Where all items of both
/// lists are objects with names of their own (`kind` and `metadata.name`, or
/// `name`), items of the same name are compared, wherever they stand, and the order
/// alone is no change. A pointer names the place in the new value, or, for what is
/// gone, in the old one. After 10,000 changes it ends.
pub fn diff(old: &Value, new: &Value) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    compare(old, new, &mut String::new(), &mut changes);
    changes
}

/// Recursion is as deep as the values: what was read from JSON or YAML is bounded.
fn compare(old: &Value, new: &Value, at: &mut String, changes: &mut Vec<FieldChange>) {
    if changes.len() >= CHANGES_MAX || old == new {
        return;
    }
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => objects(old, new, at, changes),
        (Value::Array(old), Value::Array(new)) => match (names(old), names(new)) {
            (Some(old_names), Some(new_names)) => {
                for (i, item) in old.iter().enumerate() {
                    if !new_names.contains_key(&name(item)) {
                        within(at, &i.to_string(), |at| change(Some(item), None, at, changes));
                    }
                }
                for (i, item) in new.iter().enumerate() {
                    let before = old_names.get(&name(item)).map(|i| &old[*i]);
                    within(at, &i.to_string(), |at| either(before, Some(item), at, changes));
                }
            }
            _ => {
                for i in 0..old.len().max(new.len()) {
                    within(at, &i.to_string(), |at| either(old.get(i), new.get(i), at, changes));
                }
            }
        },
        (old, new) => change(Some(old), Some(new), at, changes),
    }
}

fn objects(
    old: &Map<String, Value>,
    new: &Map<String, Value>,
    at: &mut String,
    changes: &mut Vec<FieldChange>,
) {
    for (key, value) in old {
        within(at, &escape(key), |at| either(Some(value), new.get(key), at, changes));
    }
    for (key, value) in new.iter().filter(|(key, _)| !old.contains_key(*key)) {
        within(at, &escape(key), |at| change(None, Some(value), at, changes));
    }
}

fn either(old: Option<&Value>, new: Option<&Value>, at: &mut String, changes: &mut Vec<FieldChange>) {
    match (old, new) {
        (Some(old), Some(new)) => compare(old, new, at, changes),
        (old, new) => change(old, new, at, changes),
    }
}

fn change(old: Option<&Value>, new: Option<&Value>, at: &str, changes: &mut Vec<FieldChange>) {
    if changes.len() < CHANGES_MAX && (old.is_some() || new.is_some()) {
        changes.push(FieldChange { field: at.to_owned(), old: old.cloned(), new: new.cloned() });
    }
}

fn within(at: &mut String, step: &str, then: impl FnOnce(&mut String)) {
    let length = at.len();
    at.push('/');
    at.push_str(step);
    then(at);
    at.truncate(length);
}

/// Where the items of a list are, by their names, when each has one of its own.
fn names(items: &[Value]) -> Option<HashMap<Name<'_>, usize>> {
    let names: HashMap<Name<'_>, usize> = items.iter().enumerate().map(|(i, item)| (name(item), i)).collect();
    let all_named = items.iter().all(|item| name(item).1.is_some());
    (all_named && names.len() == items.len()).then_some(names)
}

type Name<'v> = (Option<&'v str>, Option<&'v str>);

fn name(item: &Value) -> Name<'_> {
    match (item["kind"].as_str(), item["metadata"]["name"].as_str()) {
        (Some(kind), Some(name)) => (Some(kind), Some(name)),
        _ => (None, item["name"].as_str()),
    }
}

fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(old: &Value, new: &Value) -> Vec<String> {
        let value = |value: &Option<Value>| value.as_ref().map_or("-".to_owned(), ToString::to_string);
        diff(old, new)
            .iter()
            .map(|change| format!("{} {} -> {}", change.field, value(&change.old), value(&change.new)))
            .collect()
    }

    #[test]
    fn each_field_that_differs_is_named_once() {
        let old = json!({"a": 1, "b": {"c/d": [1, 2], "e~": null}, "gone": true});
        let new = json!({"a": 1, "b": {"c/d": [1, 3, 4], "e~": "x"}, "here": {}});
        assert_eq!(
            shown(&old, &new),
            [
                "/b/c~1d/1 2 -> 3",
                "/b/c~1d/2 - -> 4",
                "/b/e~0 null -> \"x\"",
                "/gone true -> -",
                "/here - -> {}"
            ]
        );
        assert!(shown(&old, &old).is_empty());
        assert_eq!(shown(&json!(1), &json!("1")), [" 1 -> \"1\""]);
    }

    #[test]
    fn things_with_names_are_matched_by_them() {
        let file = |name: &str, path: &str| json!({"kind": "File", "metadata": {"name": name}, "path": path});
        let old = json!([file("a", "1"), file("b", "2"), {"kind": "Process", "metadata": {"name": "a"}}]);
        let new = json!([file("b", "3"), {"kind": "Process", "metadata": {"name": "a"}}, file("c", "1")]);
        let changes = shown(&old, &new);
        assert_eq!(changes.len(), 3, "{changes:?}");
        assert!(changes[0].starts_with("/0 ") && changes[0].ends_with("-> -"), "{changes:?}");
        assert_eq!(changes[1], "/0/path \"2\" -> \"3\"");
        assert!(changes[2].starts_with("/2 - -> "), "{changes:?}");
        assert!(
            shown(&json!([{"name": "x"}, {"name": "y"}]), &json!([{"name": "y"}, {"name": "x"}])).is_empty()
        );
        assert_eq!(shown(&json!([{"name": "x"}, {"name": "x"}]), &json!([{"name": "x"}])).len(), 1);
    }

    #[test]
    fn there_is_an_end() {
        let list = |n: u64| Value::Array((0..20_000).map(|i| json!(i + n)).collect());
        assert_eq!(diff(&list(0), &list(1)).len(), CHANGES_MAX);
    }
}
