//! Keys.

use async_trait::async_trait;
use jiff::Timestamp;
use orderwire_store::{Error, KeyRecord, Keys};
use serde::de::DeserializeOwned;
use tokio_postgres::Row;

use super::error::{Failure, conflict, damaged, invalid, not_found};
use super::open::PostgresStore;
use super::session::{read, write};
use super::value::Moment;

const COLUMNS: &str = "id, name, hash, clients, rights, objects, created_at, expires_at, revoked_at";

#[async_trait]
impl Keys for PostgresStore {
    async fn add_key(&self, key: &KeyRecord) -> Result<(), Error> {
        let json = |error| invalid(format!("adding key {}: {error}", key.id));
        let clients = serde_json::to_string(&key.clients).map_err(json)?;
        let rights = serde_json::to_string(&key.rights).map_err(json)?;
        let objects = key.objects.as_ref().map(serde_json::to_string).transpose().map_err(json)?;
        let sql = format!(
            "INSERT INTO store.api_key ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
             ON CONFLICT (id) DO NOTHING"
        );
        write!(&self.shared.database, "adding a key", |session| {
            let (expires_at, revoked_at) = (key.expires_at.map(Moment), key.revoked_at.map(Moment));
            let added = session
                .execute(
                    &sql,
                    &[
                        &key.id,
                        &key.name,
                        &&key.hash[..],
                        &clients,
                        &rights,
                        &objects,
                        &Moment(key.created_at),
                        &expires_at,
                        &revoked_at,
                    ],
                )
                .await?;
            if added == 0 {
                return Err(conflict(format!("adding key {}: there is one with this id", key.id)).into());
            }
            Ok(())
        })
    }

    async fn key(&self, id: &str) -> Result<Option<KeyRecord>, Error> {
        let sql = format!("SELECT {COLUMNS} FROM store.api_key WHERE id = $1");
        read!(&self.shared.database, "reading a key", |session| {
            // No id holds NUL, and PostgreSQL takes none.
            if id.contains('\0') {
                return Ok(None);
            }
            session.row(&sql, &[&id]).await?.as_ref().map(record).transpose()
        })
    }

    async fn keys(&self) -> Result<Vec<KeyRecord>, Error> {
        let sql = format!("SELECT {COLUMNS} FROM store.api_key ORDER BY created_at, id");
        read!(&self.shared.database, "listing keys", |session| session
            .rows(&sql, &[])
            .await?
            .iter()
            .map(record)
            .collect())
    }

    async fn revoke_key(&self, id: &str, now: Timestamp) -> Result<(), Error> {
        let missing = || not_found(format!("revoking key {id}: there is none"));
        if id.contains('\0') {
            return Err(missing());
        }
        write!(&self.shared.database, "revoking a key", |session| {
            let sql = "UPDATE store.api_key SET revoked_at = coalesce(revoked_at, $2) WHERE id = $1";
            match session.execute(sql, &[&id, &Moment(now)]).await? {
                0 => Err(missing().into()),
                _ => Ok(()),
            }
        })
    }
}

fn record(row: &Row) -> Result<KeyRecord, Failure> {
    let hash: &[u8] = row.try_get(2)?;
    let moment = |column| Ok::<_, Failure>(row.try_get::<_, Option<Moment>>(column)?.map(|Moment(at)| at));
    let objects: Option<&str> = row.try_get(5)?;
    Ok(KeyRecord {
        id: row.try_get(0)?,
        name: row.try_get(1)?,
        hash: hash.try_into().map_err(|_| damaged("hash of a key"))?,
        clients: list(row.try_get(3)?)?,
        rights: list(row.try_get(4)?)?,
        objects: objects.map(list).transpose()?,
        created_at: row.try_get::<_, Moment>(6)?.0,
        expires_at: moment(7)?,
        revoked_at: moment(8)?,
    })
}

fn list<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|_| damaged("list of a key"))
}
