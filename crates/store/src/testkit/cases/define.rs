//! Definitions.

use std::sync::Arc;

use super::super::Factory;
use super::super::kit::{Outcome, all, at, batch, dataset, def, event, holds, refused, same};
use super::super::rows::{of, read};
use super::case_list;
use crate::error::ErrorKind;
use crate::model::Defined;
use crate::select::Select;

case_list![
    a_definition_comes_back_as_it_was_given,
    a_definition_evolves_and_keeps_its_rows,
    a_column_may_stop_being_required,
    a_change_that_loses_or_contradicts_rows_is_a_conflict,
    a_faulty_definition_is_invalid,
    a_removed_dataset_leaves_nothing_behind,
];

const PLAIN: &str = r#"{"fields":[{"name":"K.1","type":"text","required":true,"unit":"m","description":"it's \"x\" \\\\ %s"},
    {"name":"order","type":"integer"}],"key":["K.1"],"on_conflict":"keep","retention":"7d"}"#;

async fn a_definition_comes_back_as_it_was_given(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let plain = def(PLAIN);
    same("first", store.define(&all(), &dataset("d"), &plain, at(1)).await?, Defined::Created)?;
    same("again", store.define(&all(), &dataset("d"), &plain, at(2)).await?, Defined::Unchanged)?;
    store.define(&all(), &dataset("c"), &plain, at(3)).await?;
    drop(store);
    let store = factory.open().await?;
    let Some(found) = store.dataset(&all(), &dataset("d")) else {
        return Err("the dataset is gone after opening again".to_owned().into());
    };
    same("definition", &found.def, &plain)?;
    same("times", (found.created_at, found.changed_at), (at(1), at(1)))?;
    let names: Vec<String> = store.datasets(&all()).iter().map(|found| found.name.to_string()).collect();
    same("all by name", names, vec!["c".to_owned(), "d".to_owned()])?;
    holds("an unknown one is none", store.dataset(&all(), &dataset("e")).is_none())?;
    same("generation of none", store.generation(&dataset("e")), 0)
}

async fn a_definition_evolves_and_keeps_its_rows(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    store.define(&all(), &dataset("d"), &def(PLAIN), at(1)).await?;
    store.record(batch(0, 1, vec![event(1, "a", r#"{"K.1":"x","order":1}"#)])).await?;
    let next = def(r#"{"fields":[{"name":"when","type":"timestamp"},
        {"name":"K.1","type":"text","required":true},{"name":"order","type":"integer"}],
        "key":["K.1"],"on_conflict":"update","time":"when","unknown":"ignore"}"#);
    same("change", store.define(&all(), &dataset("d"), &next, at(5)).await?, Defined::Changed)?;
    let new = r#"[{"K.1":"x","order":2},{"K.1":"y","when":"2024-01-01T00:00:00Z","other":[]}]"#;
    store.record(batch(1, 2, vec![event(2, "a", new)])).await?;
    drop(store);
    let store = factory.open().await?;
    let found = store.dataset(&all(), &dataset("d")).ok_or("the dataset is gone".to_owned())?;
    same("definition", &found.def, &next)?;
    same("times", (found.created_at, found.changed_at), (at(1), at(5)))?;
    let rows = read(&store, &all(), of(&["K.1", "order", "when"])).await?;
    same("rows", rows, vec!["'x' 2 null".to_owned(), "'y' null 2024-01-01T00:00:00Z".to_owned()])?;
    // Names that engines have a meaning of their own for are names like others.
    let names =
        ["rowid", "oid", "ctid", "xmin", "xmax", "cmin", "cmax", "tableoid", "user", "select", "Rows"];
    let fields: Vec<String> =
        names.iter().map(|name| format!(r#"{{"name":"{name}","type":"text"}}"#)).collect();
    let name = dataset("table");
    // The first two are there from the beginning: SQLite adds no column of such a name later.
    for some in [2, names.len()] {
        let of_names = def(&format!(r#"{{"fields":[{}]}}"#, fields[..some].join(",")));
        store.define(&all(), &name, &of_names, at(6)).await?;
    }
    let values: Vec<String> = names.iter().map(|name| format!(r#""{name}":"{name}""#)).collect();
    let mut odd = event(3, "a", &format!("{{{}}}", values.join(",")));
    odd.dataset = name.clone();
    store.record(batch(2, 3, vec![odd])).await?;
    let expected: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
    let rows = read(&store, &all(), Select { dataset: name, ..of(&names) }).await?;
    same("rows of odd names", rows, vec![expected.join(" ")])
}

async fn a_column_may_stop_being_required(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let name = dataset("d");
    store
        .define(&all(), &name, &def(r#"{"fields":[{"name":"v","type":"text","required":true}]}"#), at(1))
        .await?;
    store.record(batch(0, 1, vec![event(1, "a", r#"{"v":"x"}"#)])).await?;
    store.define(&all(), &name, &def(r#"{"fields":[{"name":"v","type":"text"}]}"#), at(2)).await?;
    store.record(batch(1, 2, vec![event(2, "a", "{}")])).await?;
    same("rows", read(&store, &all(), of(&["v"])).await?, vec!["'x'".to_owned(), "null".to_owned()])
}

async fn a_change_that_loses_or_contradicts_rows_is_a_conflict(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let plain = def(PLAIN);
    store.define(&all(), &dataset("d"), &plain, at(1)).await?;
    store.record(batch(0, 1, vec![event(1, "a", r#"{"K.1":"x","order":7}"#)])).await?;
    let generation = store.generation(&dataset("d"));
    let key = r#"{"name":"K.1","type":"text","required":true}"#;
    for (what, fields, names) in [
        ("a column removed", key.to_owned(), r#"["K.1"]"#),
        ("another type", format!(r#"{key},{{"name":"order","type":"text"}}"#), r#"["K.1"]"#),
        (
            "newly required",
            format!(r#"{key},{{"name":"order","type":"integer","required":true}}"#),
            r#"["K.1"]"#,
        ),
        (
            "a new required column",
            format!(
                r#"{key},{{"name":"order","type":"integer"}},{{"name":"n","type":"text","required":true}}"#
            ),
            r#"["K.1"]"#,
        ),
        ("no key", format!(r#"{key},{{"name":"order","type":"integer"}}"#), "[]"),
    ] {
        let next = def(&format!(r#"{{"fields":[{fields}],"key":{names}}}"#));
        refused(what, store.define(&all(), &dataset("d"), &next, at(2)).await, ErrorKind::Conflict)?;
    }
    let found = store.dataset(&all(), &dataset("d")).ok_or("the dataset is gone".to_owned())?;
    same("definition", &found.def, &plain)?;
    same("generation", store.generation(&dataset("d")), generation)?;
    same("rows", read(&store, &all(), of(&["K.1", "order"])).await?, vec!["'x' 7".to_owned()])
}

async fn a_faulty_definition_is_invalid(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let faulty = def(r#"{"fields":[{"name":"a","type":"text"},{"name":"A","type":"text"}]}"#);
    refused("twice by case", store.define(&all(), &dataset("d"), &faulty, at(1)).await, ErrorKind::Invalid)?;
    holds("nothing was made", store.dataset(&all(), &dataset("d")).is_none())
}

async fn a_removed_dataset_leaves_nothing_behind(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let name = dataset("d");
    refused("removing none", store.remove(&all(), &name).await, ErrorKind::NotFound)?;
    store.define(&all(), &name, &def(PLAIN), at(1)).await?;
    store.record(batch(0, 1, vec![event(1, "a", r#"{"K.1":"x"}"#)])).await?;
    let before = store.generation(&name);
    store.remove(&all(), &name).await?;
    same("generation of none", store.generation(&name), 0)?;
    holds("it is gone", store.dataset(&all(), &name).is_none())?;
    refused("reading none", read_kind(&store).await, ErrorKind::NotFound)?;
    drop(store);
    let store = factory.open().await?;
    holds("it is gone after opening again", store.dataset(&all(), &name).is_none())?;
    let other = def(r#"{"fields":[{"name":"order","type":"text"}]}"#);
    same("made anew", store.define(&all(), &name, &other, at(9)).await?, Defined::Created)?;
    holds("a generation never comes back", store.generation(&name) > before)?;
    same("no rows", read(&store, &all(), of(&["order"])).await?, Vec::new())
}

async fn read_kind(store: &Arc<dyn crate::traits::Store>) -> Result<(), crate::error::Error> {
    struct Nothing;
    impl crate::select::RowSink for Nothing {
        fn row(&mut self, _: &mut dyn Iterator<Item = crate::select::Cell<'_>>) -> bool {
            true
        }
    }
    store.select(&all(), of(&[]), Box::new(Nothing), super::super::rows::PATIENCE).await.map(|_| ())
}
