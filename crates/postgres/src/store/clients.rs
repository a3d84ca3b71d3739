//! Clients.

use async_trait::async_trait;
use orderwire_store::{ClientChange, ClientRecord, Clients, Error};
use orderwire_types::{Client, RawJson, Scope};
use tokio_postgres::Row;

use super::error::{Failure, damaged};
use super::filter::Query;
use super::open::PostgresStore;
use super::session::{Session, read, write};
use super::traces;
use super::value::Moment;

const COLUMNS: &str = "name, since, changed_at, trace, attributes";

/// The class of advisory locks of clients, "owcl".
const LOCKS: i32 = 0x6f77_636c;

#[async_trait]
impl Clients for PostgresStore {
    async fn change_clients(&self, changes: &[ClientChange]) -> Result<(), Error> {
        write!(&self.shared.database, "changing clients", |session| {
            hold(session, changes).await?;
            for (i, change) in changes.iter().enumerate() {
                apply(session, change).await.map_err(|failure| match failure {
                    Failure::Refused(error) => Failure::Refused(error.at_entry(i)),
                    failure => failure,
                })?;
            }
            Ok(())
        })
    }

    async fn client(&self, scope: &Scope, client: &Client) -> Result<Option<ClientRecord>, Error> {
        if !scope.covers(client) {
            return Ok(None);
        }
        read!(&self.shared.database, "reading a client", |session| stored(session, client).await)
    }

    async fn clients(
        &self,
        scope: &Scope,
        after: Option<&Client>,
        max: usize,
    ) -> Result<Vec<ClientRecord>, Error> {
        let mut query = Query::new(format!("SELECT {COLUMNS} FROM store.client WHERE name > "));
        // The empty text is before every name.
        query.bind(Box::new(after.map_or_else(String::new, |client| client.as_str().to_owned())));
        query.and_clients(&scope.clients, "name");
        query.push(" ORDER BY name");
        query.limit(max);
        read!(&self.shared.database, "listing clients", |session| {
            session.rows(&query.sql, &query.values()).await?.iter().map(record).collect()
        })
    }
}

/// Has changes of the same clients wait for this one. Everybody takes them in the same order.
async fn hold(session: &Session, changes: &[ClientChange]) -> Result<(), Failure> {
    let names: Vec<&str> = changes.iter().map(|change| change.client.as_str()).collect();
    let sql = "SELECT pg_advisory_xact_lock($1, key) FROM \
               (SELECT DISTINCT hashtext(name) AS key FROM unnest($2::text[]) AS name ORDER BY 1) AS keys";
    session.rows(sql, &[&LOCKS, &names]).await?;
    Ok(())
}

async fn apply(session: &Session, change: &ClientChange) -> Result<(), Failure> {
    let sql = "INSERT INTO store.client_change (at, event_id) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    if session.execute(sql, &[&Moment(change.at), &change.event_id.0]).await? == 0 {
        return Ok(());
    }
    let record = change.applied_to(stored(session, &change.client).await?)?;
    let sql = "INSERT INTO store.client (name, since, changed_at, trace, attributes) VALUES ($1, $2, $3, $4, $5) \
               ON CONFLICT (name) DO UPDATE SET since = excluded.since, changed_at = excluded.changed_at, \
               trace = excluded.trace, attributes = excluded.attributes";
    let (name, attributes) = (record.client.as_str(), record.attributes.get());
    session
        .execute(sql, &[&name, &Moment(record.since), &Moment(record.changed_at), &record.trace, &attributes])
        .await?;
    let at = change.steps.steps.iter().map(|step| step.at).max().unwrap_or(change.at);
    traces::add(session, std::iter::once((&change.steps, at))).await
}

async fn stored(session: &Session, client: &Client) -> Result<Option<ClientRecord>, Failure> {
    let sql = "SELECT name, since, changed_at, trace, attributes FROM store.client WHERE name = $1";
    session.row(sql, &[&client.as_str()]).await?.as_ref().map(record).transpose()
}

fn record(row: &Row) -> Result<ClientRecord, Failure> {
    let name: &str = row.try_get(0)?;
    Ok(ClientRecord {
        client: name.parse().map_err(|_| damaged("name of a client"))?,
        since: row.try_get::<_, Moment>(1)?.0,
        changed_at: row.try_get::<_, Moment>(2)?.0,
        trace: row.try_get(3)?,
        attributes: RawJson::parse(row.try_get(4)?).map_err(|_| damaged("attributes of a client"))?,
    })
}
