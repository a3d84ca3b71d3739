//! The routes of keys.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use orderwire_api::extract::{Document, Segments};
use orderwire_api::problem::shown;
use orderwire_api::wire::{CreatedKey, KeyInfo, List, NewKey, WhoAmI};
use orderwire_api::{Caller, Problem, ReadProblems, WriteProblems};
use orderwire_store::{Error, ErrorKind, KeyRecord};
use orderwire_types::scope::Clients;
use orderwire_types::{Client, DatasetName, QueueName, Right, Scope};

use super::{BOOTSTRAP_NAME, RELEASE_PREFIX, text};
use crate::problems::invalid;
use crate::state::Shared;

/// Makes a key. It is shown in this answer and never again.
#[utoipa::path(post, path = "/v1/keys", tag = "keys", request_body = NewKey,
    responses((status = 201, description = "the key", body = CreatedKey), WriteProblems))]
pub(crate) async fn post_key(
    State(state): State<Shared>,
    caller: Caller,
    Document(new): Document<NewKey>,
) -> Result<(StatusCode, Json<CreatedKey>), Problem> {
    caller.require(Right::Admin)?;
    let (id, secret) = text::generate();
    let record = record(&new, id, text::hash(&secret), state.now())?;
    if !is_within(&record, &caller.scope) {
        return Err(Problem::forbidden(
            "a key cannot have more clients or objects than the one that makes it",
        ));
    }
    state.store().add_key(&record).await.map_err(Problem::of_store)?;
    tracing::info!(key.id = %record.id, principal = %caller.scope.principal, "a key was made");
    let key = text::join(&record.id, &secret);
    Ok((StatusCode::CREATED, Json(CreatedKey { key, info: info(record) })))
}

/// Every key without its secret, oldest first.
#[utoipa::path(get, path = "/v1/keys", tag = "keys",
    responses((status = 200, description = "the keys", body = List<KeyInfo>), ReadProblems))]
pub(crate) async fn list_keys(
    State(state): State<Shared>,
    caller: Caller,
) -> Result<Json<List<KeyInfo>>, Problem> {
    caller.require(Right::Admin)?;
    let keys = state.store().keys().await.map_err(Problem::of_store)?;
    let items = keys.into_iter().filter(|key| is_within(key, &caller.scope)).map(info).collect();
    Ok(Json(List { items, next: None }))
}

/// Revokes a key, at once and for good.
#[utoipa::path(delete, path = "/v1/keys/{id}", tag = "keys", params(("id" = String, Path, description = "its id")),
    responses((status = 204, description = "it is refused from now on"), ReadProblems))]
pub(crate) async fn delete_key(
    State(state): State<Shared>,
    caller: Caller,
    Segments(id): Segments<String>,
) -> Result<StatusCode, Problem> {
    caller.require(Right::Admin)?;
    let key = state.store().key(&id).await.map_err(Problem::of_store)?;
    if !key.is_some_and(|key| is_within(&key, &caller.scope)) {
        let missing = Error::new(ErrorKind::NotFound, format!("key {} does not exist", shown(&id)));
        return Err(Problem::of_store(missing));
    }
    state.gateway.keys.revoke(&id).await.map_err(Problem::of_store)?;
    tracing::info!(key.id = %id, principal = %caller.scope.principal, "a key was revoked");
    Ok(StatusCode::NO_CONTENT)
}

/// Who the key belongs to, and what it may.
#[utoipa::path(get, path = "/v1/whoami", tag = "keys",
    responses((status = 200, description = "the caller", body = WhoAmI), ReadProblems))]
pub(crate) async fn get_whoami(caller: Caller) -> Json<WhoAmI> {
    let scope = &caller.scope;
    Json(WhoAmI {
        principal: scope.principal.as_ref().to_owned(),
        clients: names(&scope.clients),
        roles: scope.rights.iter().map(|right| role(*right)).collect(),
        objects: scope.objects.as_ref().map(|objects| objects.iter().cloned().collect()),
    })
}

/// Whether a key reaches no further than a caller.
fn is_within(key: &KeyRecord, scope: &Scope) -> bool {
    let clients = match (&key.clients, &scope.clients) {
        (_, Clients::All) => true,
        (Clients::All, Clients::Only(_)) => false,
        (Clients::Only(of_key), Clients::Only(of_scope)) => of_key.is_subset(of_scope),
    };
    let objects = match (&key.objects, &scope.objects) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(of_key), Some(of_scope)) => of_key.iter().all(|object| of_scope.contains(object)),
    };
    clients && objects
}

fn record(new: &NewKey, id: String, hash: [u8; 32], now: Timestamp) -> Result<KeyRecord, Problem> {
    if new.name.len() > 256 || new.name.chars().any(char::is_control) {
        return Err(invalid("/name", "must be at most 256 bytes without control characters"));
    }
    if new.name.starts_with(BOOTSTRAP_NAME) || new.name.starts_with(RELEASE_PREFIX) {
        return Err(invalid("/name", "this name is the server's own"));
    }
    if new.roles.is_empty() {
        return Err(invalid(
            "/roles",
            "a key needs at least one of read, write, order, consume, operate, admin",
        ));
    }
    let mut rights = BTreeSet::new();
    for (i, name) in new.roles.iter().enumerate() {
        let known = RIGHTS.iter().find(|right| role(**right) == *name);
        rights.insert(*known.ok_or_else(|| {
            invalid(format!("/roles/{i}"), "must be read, write, order, consume, operate or admin")
        })?);
    }
    let clients = match &new.clients {
        None => Clients::All,
        Some(clients) if clients.is_empty() => {
            return Err(invalid("/clients", "name at least one client, or leave the member out for all"));
        }
        Some(clients) => {
            let parse = |(i, name): (usize, &String)| {
                name.parse::<Client>().map_err(|err| invalid(format!("/clients/{i}"), err.to_string()))
            };
            Clients::Only(clients.iter().enumerate().map(parse).collect::<Result<_, _>>()?)
        }
    };
    for (i, object) in new.objects.iter().flatten().enumerate() {
        let valid = match object.split_once('/') {
            Some(("dataset", name)) => name.parse::<DatasetName>().is_ok(),
            Some(("queue", name)) => name.parse::<QueueName>().is_ok(),
            _ => false,
        };
        if !valid {
            return Err(invalid(format!("/objects/{i}"), "must be dataset/NAME or queue/NAME"));
        }
    }
    let expires_at = match &new.expires_at {
        None => None,
        Some(text) => match text.parse::<Timestamp>() {
            Ok(end) if end > now => Some(end),
            Ok(_) => return Err(invalid("/expires_at", "must lie in the future")),
            Err(_) => return Err(invalid("/expires_at", "must be a time of RFC 3339")),
        },
    };
    Ok(KeyRecord {
        id,
        name: new.name.clone(),
        hash,
        clients,
        rights: rights.into_iter().collect(),
        objects: new.objects.clone(),
        created_at: now,
        expires_at,
        revoked_at: None,
    })
}

const RIGHTS: [Right; 6] =
    [Right::Read, Right::Write, Right::Order, Right::Consume, Right::Operate, Right::Admin];

fn role(right: Right) -> String {
    format!("{right:?}").to_lowercase()
}

fn names(clients: &Clients) -> Option<Vec<String>> {
    match clients {
        Clients::All => None,
        Clients::Only(clients) => Some(clients.iter().map(ToString::to_string).collect()),
    }
}

fn info(record: KeyRecord) -> KeyInfo {
    KeyInfo {
        id: record.id,
        name: record.name,
        clients: names(&record.clients),
        roles: record.rights.into_iter().map(role).collect(),
        objects: record.objects,
        created_at: record.created_at.to_string(),
        expires_at: record.expires_at.map(|end| end.to_string()),
        revoked_at: record.revoked_at.map(|end| end.to_string()),
    }
}
