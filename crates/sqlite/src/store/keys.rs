//! Keys.

use async_trait::async_trait;
use jiff::Timestamp;
use orderwire_store::{Error, KeyRecord, Keys};
use rusqlite::{OptionalExtension, Row, params};
use serde::de::DeserializeOwned;

use super::error::{conflict, damaged_value, invalid, not_found};
use super::open::SqliteStore;
use super::table::{moment, moment_or_null};

const COLUMNS: &str = "id, name, hash, clients, rights, objects, created_at, expires_at, revoked_at";

#[async_trait]
impl Keys for SqliteStore {
    async fn add_key(&self, key: &KeyRecord) -> Result<(), Error> {
        let key = key.clone();
        let json = |error| invalid(format!("adding key {}: {error}", key.id));
        let clients = serde_json::to_string(&key.clients).map_err(json)?;
        let rights = serde_json::to_string(&key.rights).map_err(json)?;
        let objects = key.objects.as_ref().map(serde_json::to_string).transpose().map_err(json)?;
        self.write("adding a key", move |transaction| {
            let added = transaction
                .connection
                .prepare_cached(
                    "INSERT INTO api_key (id, name, hash, clients, rights, objects, created_at, expires_at, \
                     revoked_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (id) DO NOTHING",
                )?
                .execute(params![
                    key.id,
                    key.name,
                    &key.hash[..],
                    clients,
                    rights,
                    objects,
                    key.created_at.as_microsecond(),
                    key.expires_at.map(Timestamp::as_microsecond),
                    key.revoked_at.map(Timestamp::as_microsecond),
                ])?;
            if added == 0 {
                return Err(conflict(format!("adding key {}: there is one with this id", key.id)).into());
            }
            Ok(())
        })
        .await
    }

    async fn key(&self, id: &str) -> Result<Option<KeyRecord>, Error> {
        let id = id.to_owned();
        self.look_up("reading a key", move |connection| {
            connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM api_key WHERE id = ?1"))?
                .query_row([&id], record)
                .optional()
        })
        .await
    }

    async fn keys(&self) -> Result<Vec<KeyRecord>, Error> {
        self.look_up("listing keys", move |connection| {
            connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM api_key ORDER BY created_at, id"))?
                .query_map([], record)?
                .collect()
        })
        .await
    }

    async fn revoke_key(&self, id: &str, now: Timestamp) -> Result<(), Error> {
        let id = id.to_owned();
        self.write("revoking a key", move |transaction| {
            let found = transaction
                .connection
                .prepare_cached("UPDATE api_key SET revoked_at = coalesce(revoked_at, ?2) WHERE id = ?1")?
                .execute(params![id, now.as_microsecond()])?;
            if found == 0 {
                return Err(not_found(format!("revoking key {id}: there is none")).into());
            }
            Ok(())
        })
        .await
    }
}

fn record(row: &Row<'_>) -> rusqlite::Result<KeyRecord> {
    let hash = row.get_ref(2)?.as_blob()?.try_into().map_err(|_| damaged_value(2, "hash"))?;
    let objects = match row.get_ref(5)?.as_str_or_null()? {
        Some(_) => Some(list(row, 5)?),
        None => None,
    };
    Ok(KeyRecord {
        id: row.get(0)?,
        name: row.get(1)?,
        hash,
        clients: list(row, 3)?,
        rights: list(row, 4)?,
        objects,
        created_at: moment(row, 6)?,
        expires_at: moment_or_null(row, 7)?,
        revoked_at: moment_or_null(row, 8)?,
    })
}

fn list<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    serde_json::from_str(row.get_ref(column)?.as_str()?).map_err(|_| damaged_value(column, "list"))
}
