//! What differs between manifests.

use serde_json::Value;

use crate::target::{Effect, FieldChange, Manifest, Planned};

/// The longest text that is shown of a field; files may be long.
const SHOWN_BYTES_MAX: usize = 1_024;

/// What becomes of every object: those that are desired in their order, then those
/// that go.
pub(super) fn plan(there: &[Manifest], desired: &[Manifest]) -> Vec<Planned> {
    let same = |a: &Manifest, b: &Manifest| (a.kind(), a.name()) == (b.kind(), b.name());
    let kept = desired.iter().map(|new| match there.iter().find(|old| same(old, new)) {
        None => planned(new, Effect::Create, Vec::new()),
        Some(old) => {
            let mut fields = crate::diff::diff(&old.0, &new.0);
            for value in fields.iter_mut().flat_map(|field| [&mut field.old, &mut field.new]).flatten() {
                cut(value);
            }
            planned(new, if fields.is_empty() { Effect::Keep } else { Effect::Change }, fields)
        }
    });
    let gone = there.iter().filter(|old| !desired.iter().any(|new| same(old, new)));
    kept.chain(gone.map(|old| planned(old, Effect::Remove, Vec::new()))).collect()
}

fn planned(manifest: &Manifest, effect: Effect, fields: Vec<FieldChange>) -> Planned {
    let (kind, name) = (manifest.kind().to_owned(), manifest.name().to_owned());
    Planned { kind, name, effect, fields }
}

fn cut(value: &mut Value) {
    if let Value::String(text) = value
        && text.len() > SHOWN_BYTES_MAX
    {
        text.truncate(text.floor_char_boundary(SHOWN_BYTES_MAX));
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(name: &str, spec: &Value) -> Manifest {
        Manifest(json!({"kind": "Process", "metadata": {"name": name}, "spec": spec}))
    }

    #[test]
    fn every_object_has_its_effect_and_every_field_its_pointer() {
        let there = [
            object("a", &json!({"e": {"x/y": "1", "z": 1}})),
            object("b", &json!({})),
            object("d", &json!({})),
        ];
        let desired =
            [object("c", &json!({})), object("a", &json!({"e": {"x/y": "2"}})), object("b", &json!({}))];
        let plan = plan(&there, &desired);
        let effects: Vec<_> = plan.iter().map(|planned| (planned.name.as_str(), planned.effect)).collect();
        let expected =
            [("c", Effect::Create), ("a", Effect::Change), ("b", Effect::Keep), ("d", Effect::Remove)];
        assert_eq!(effects, expected);
        let fields = json!([
            {"field": "/spec/e/x~1y", "old": "1", "new": "2"},
            {"field": "/spec/e/z", "old": 1},
        ]);
        assert_eq!(json!(plan[1].fields), fields);
    }

    #[test]
    fn a_long_text_is_cut() {
        let long = "ä".repeat(2_000);
        let plan = plan(&[object("a", &json!({"c": long}))], &[object("a", &json!({"c": 1}))]);
        let old = plan[0].fields[0].old.as_ref().and_then(Value::as_str).map(str::len);
        assert_eq!(old, Some(1_024 + "…".len()));
    }
}
