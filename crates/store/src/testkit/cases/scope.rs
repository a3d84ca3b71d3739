//! What is outside a scope looks as if it did not exist.

use std::collections::BTreeSet;
use std::sync::Arc;

use orderwire_types::{Client, Scope, scope};

use super::super::Factory;
use super::super::kit::{Outcome, all, at, batch, dataset, def, event, holds, objects, only, refused, same};
use super::super::rows::{PATIENCE, compare, of, only_if, read, read_up_to};
use super::case_list;
use super::record::numbers;
use super::select::Nothing;
use crate::error::ErrorKind;
use crate::select::{Compare, Count, Filter, Operand, Select};

case_list![
    rows_of_other_clients_are_not_there,
    a_scope_of_many_clients_reads_theirs_alone,
    datasets_outside_the_objects_are_not_there,
];

async fn rows_of_other_clients_are_not_there(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    numbers(&store).await?;
    let events = vec![
        event(1, "a", r#"{"n":1}"#),
        event(2, "b", r#"{"n":2}"#),
        event(3, "c", r#"{"n":3}"#),
        event(4, "a", r#"{"n":4}"#),
    ];
    store.record(batch(0, 1, events)).await?;
    let named = |name: &str| compare("_client", Compare::Eq(Operand::Text(name.to_owned())));
    let anything = Filter::Or(vec![named("b"), Filter::Not(Box::new(named("b")))]);
    for (clients, filter, expected) in [
        (&["a"][..], Filter::And(Vec::new()), "1 4"),
        (&["a", "c"], Filter::And(Vec::new()), "1 3 4"),
        (&[], Filter::And(Vec::new()), ""),
        (&["z"], Filter::And(Vec::new()), ""),
        (&["a"], named("b"), ""),
        (&["a", "b"], named("b"), "2"),
        (&["a"], anything, "1 4"),
    ] {
        let what = format!("{clients:?} {filter:?}");
        let select = Select { count: Count::Exact, ..only_if(of(&["n"]), filter) };
        let (found, selected) = read_up_to(&store, &only(clients), select.clone(), usize::MAX).await?;
        same(&what, found.join(" "), expected.to_owned())?;
        same(&what, selected.total, Some(found.len() as u64))?;
        // A count of its own sees no more than the rows do.
        let none = Select { limit: 0, ..select };
        let (_, selected) = read_up_to(&store, &only(clients), none, usize::MAX).await?;
        same(&what, selected.total, Some(found.len() as u64))?;
    }
    Ok(())
}

async fn a_scope_of_many_clients_reads_theirs_alone(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    numbers(&store).await?;
    let events =
        vec![event(1, "c-7", r#"{"n":1}"#), event(2, "d", r#"{"n":2}"#), event(3, "c-1999", r#"{"n":3}"#)];
    store.record(batch(0, 1, events)).await?;
    let many: BTreeSet<Client> = (0..2_000).map(|n| super::super::kit::client(&format!("c-{n}"))).collect();
    let scope = Scope { clients: scope::Clients::Only(many), ..all() };
    same("rows", read(&store, &scope, of(&["n"])).await?.join(" "), "1 3".to_owned())
}

async fn datasets_outside_the_objects_are_not_there(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    numbers(&store).await?;
    store.record(batch(0, 1, vec![event(1, "a", r#"{"n":1}"#)])).await?;
    let plain = def(r#"{"fields":[{"name":"n","type":"integer"}]}"#);
    store.define(&all(), &dataset("e"), &plain, at(1)).await?;
    let scope = objects(&["dataset/e", "queue/d"]);
    holds("one that is outside is none", store.dataset(&scope, &dataset("d")).is_none())?;
    holds("one that is inside is there", store.dataset(&scope, &dataset("e")).is_some())?;
    let names: Vec<String> = store.datasets(&scope).iter().map(|found| found.name.to_string()).collect();
    same("all", names, vec!["e".to_owned()])?;
    let result = store.select(&scope, of(&["n"]), Box::new(Nothing), PATIENCE).await;
    refused("reading", result.map(|(selected, _)| selected), ErrorKind::NotFound)?;
    refused("removing", store.remove(&scope, &dataset("d")).await, ErrorKind::NotFound)?;
    refused("changing", store.define(&scope, &dataset("d"), &plain, at(2)).await, ErrorKind::NotFound)?;
    refused("making", store.define(&scope, &dataset("f"), &plain, at(2)).await, ErrorKind::NotFound)?;
    same("it is as it was", read(&store, &all(), of(&["n"])).await?.join(" "), "1".to_owned())
}
