//! Keys.

use std::sync::Arc;

use orderwire_types::{Right, scope};

use super::super::Factory;
use super::super::kit::{Outcome, at, client, refused, same};
use super::case_list;
use crate::error::ErrorKind;
use crate::model::KeyRecord;

case_list![a_key_comes_back_as_it_was_given, an_id_is_taken_once, a_revoked_key_stays_revoked];

fn key(id: &str, second: i64) -> KeyRecord {
    KeyRecord {
        id: id.to_owned(),
        name: "für \"alles\"".to_owned(),
        hash: [7; 32],
        clients: scope::Clients::All,
        rights: vec![Right::Admin],
        objects: None,
        created_at: at(second),
        expires_at: None,
        revoked_at: None,
    }
}

async fn a_key_comes_back_as_it_was_given(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let narrow = KeyRecord {
        clients: scope::Clients::Only([client("a"), client("b")].into()),
        rights: vec![Right::Write, Right::Read],
        objects: Some(vec!["dataset/d".to_owned(), "queue/q".to_owned()]),
        expires_at: Some(at(99)),
        ..key("narrow", 1)
    };
    let nothing = KeyRecord { objects: Some(Vec::new()), ..key("nothing", 2) };
    for key in [&nothing, &narrow, &key("wide", 3)] {
        store.add_key(key).await?;
    }
    drop(store);
    let store = factory.open().await?;
    same("one", store.key("narrow").await?, Some(narrow.clone()))?;
    same("all, oldest first", store.keys().await?, vec![narrow, nothing, key("wide", 3)])?;
    same("none", store.key("NARROW").await?, None)
}

async fn an_id_is_taken_once(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    store.add_key(&key("k", 1)).await?;
    let other = KeyRecord { hash: [8; 32], ..key("k", 2) };
    refused("a second", store.add_key(&other).await, ErrorKind::Conflict)?;
    same("the first", store.key("k").await?, Some(key("k", 1)))
}

async fn a_revoked_key_stays_revoked(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    refused("none", store.revoke_key("k", at(5)).await, ErrorKind::NotFound)?;
    store.add_key(&key("k", 1)).await?;
    store.revoke_key("k", at(5)).await?;
    store.revoke_key("k", at(6)).await?;
    let revoked = KeyRecord { revoked_at: Some(at(5)), ..key("k", 1) };
    same("at once", store.key("k").await?, Some(revoked.clone()))?;
    drop(store);
    let store = factory.open().await?;
    same("after opening again", store.key("k").await?, Some(revoked.clone()))?;
    same("in the list", store.keys().await?, vec![revoked])
}
