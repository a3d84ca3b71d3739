//! Clients.

use std::sync::Arc;

use orderwire_types::EventId;

use super::super::Factory;
use super::super::kit::{Outcome, all, at, client, id, json, only, record, refused, same, step};
use super::case_list;
use crate::error::ErrorKind;
use crate::model::{ClientChange, ClientRecord};

case_list![
    a_change_sets_and_removes_members,
    a_change_is_applied_once,
    an_older_change_keeps_what_is_there,
    a_faulty_change_refuses_all,
    clients_outside_the_scope_are_not_there,
];

fn change(n: u128, owner: &str, second: i64, attributes: &str) -> ClientChange {
    ClientChange {
        client: client(owner),
        event_id: EventId(id(n)),
        at: at(second),
        trace: id(1_000 + n),
        attributes: json(attributes),
        steps: record(1_000 + n, owner, vec![step(second, "recorded")]),
    }
}

async fn a_change_sets_and_removes_members(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let first = r#"{"b":9007199254740993,"a":"ä","c":{"x":1.10}}"#;
    let second = r#"{"b":null,"c":2,"none":null}"#;
    store.change_clients(&[change(1, "acme", 1, first), change(2, "acme", 5, second)]).await?;
    drop(store);
    let store = factory.open().await?;
    let expected = ClientRecord {
        client: client("acme"),
        since: at(1),
        changed_at: at(5),
        trace: id(1_002),
        attributes: json(r#"{"a":"ä","c":2}"#),
    };
    same("record", store.client(&all(), &client("acme")).await?, Some(expected))?;
    store.change_clients(&[change(3, "digits", 1, first)]).await?;
    let digits = store.client(&all(), &client("digits")).await?.map(|record| record.attributes);
    same("digits", digits, Some(json(r#"{"a":"ä","b":9007199254740993,"c":{"x":1.10}}"#)))?;
    same("steps of the effect", store.trace(&all(), id(1_002)).await?.steps, vec![step(5, "recorded")])
}

async fn a_change_is_applied_once(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let (first, second) = (change(1, "a", 1, r#"{"v":1}"#), change(2, "a", 1, r#"{"v":2}"#));
    store.change_clients(&[first.clone(), first.clone()]).await?;
    store.change_clients(std::slice::from_ref(&second)).await?;
    drop(store);
    let store = factory.open().await?;
    store.change_clients(&[first]).await?;
    let attributes = store.client(&all(), &client("a")).await?.map(|record| record.attributes);
    same("attributes", attributes, Some(json(r#"{"v":2}"#)))?;
    same("steps", store.trace(&all(), id(1_001)).await?.steps, vec![step(1, "recorded")])
}

async fn an_older_change_keeps_what_is_there(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    store.change_clients(&[change(1, "a", 9, r#"{"v":1}"#)]).await?;
    store.change_clients(&[change(2, "a", 3, r#"{"v":2}"#)]).await?;
    let expected = ClientRecord {
        client: client("a"),
        since: at(3),
        changed_at: at(9),
        trace: id(1_001),
        attributes: json(r#"{"v":1}"#),
    };
    same("record", store.client(&all(), &client("a")).await?, Some(expected))
}

async fn a_faulty_change_refuses_all(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let changes = [change(1, "a", 1, "{}"), change(2, "b", 1, "[]")];
    let error = refused("no object", store.change_clients(&changes).await, ErrorKind::Invalid)?;
    same("the entry is named", error.entry(), Some(1))?;
    same("nothing was changed", store.clients(&all(), None, 10).await?, Vec::new())
}

async fn clients_outside_the_scope_are_not_there(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let changes: Vec<ClientChange> =
        (1..).zip(["b", "B", "a.1", "c"]).map(|(n, owner)| change(n, owner, 1, "{}")).collect();
    store.change_clients(&changes).await?;
    let some = only(&["a.1", "c", "z"]);
    same("inside", store.client(&some, &client("c")).await?.is_some(), true)?;
    same("outside", store.client(&some, &client("b")).await?, None)?;
    for (what, scope, after, max, expected) in [
        ("all", all(), None, 10, "B a.1 b c"),
        ("a page", all(), Some("B"), 2, "a.1 b"),
        ("the end", all(), Some("c"), 2, ""),
        ("some", some.clone(), None, 10, "a.1 c"),
        ("some after one", some, Some("a.1"), 10, "c"),
        ("none", only(&[]), None, 10, ""),
    ] {
        let after = after.map(client);
        let page = store.clients(&scope, after.as_ref(), max).await?;
        let names: Vec<&str> = page.iter().map(|record| record.client.as_str()).collect();
        same(what, names.join(" "), expected.to_owned())?;
    }
    Ok(())
}
