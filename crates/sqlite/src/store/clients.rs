//! Clients.

use async_trait::async_trait;
use orderwire_store::{ClientChange, ClientRecord, Clients, Error};
use orderwire_types::scope::Clients as Covered;
use orderwire_types::{Client, RawJson, Scope};
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::error::{Failure, damaged_value};
use super::filter::{Binding, clients_clause};
use super::open::SqliteStore;
use super::table::{moment, uuid};
use super::traces;

#[async_trait]
impl Clients for SqliteStore {
    async fn change_clients(&self, changes: &[ClientChange]) -> Result<(), Error> {
        let changes = changes.to_vec();
        self.write("changing clients", move |transaction| {
            for (i, change) in changes.iter().enumerate() {
                apply(transaction.connection, change).map_err(|failure| match failure {
                    Failure::Refused(error) => Failure::Refused(error.at_entry(i)),
                    Failure::Engine(error) => Failure::Engine(error),
                })?;
            }
            Ok(())
        })
        .await
    }

    async fn client(&self, scope: &Scope, client: &Client) -> Result<Option<ClientRecord>, Error> {
        if !scope.covers(client) {
            return Ok(None);
        }
        let client = client.clone();
        self.look_up("reading a client", move |connection| stored(connection, &client)).await
    }

    async fn clients(
        &self,
        scope: &Scope,
        after: Option<&Client>,
        max: usize,
    ) -> Result<Vec<ClientRecord>, Error> {
        let covered = scope.clients.clone();
        // The empty text is before every name.
        let after = after.map_or_else(String::new, |client| client.as_str().to_owned());
        self.look_up("listing clients", move |connection| list(connection, &covered, after, max)).await
    }
}

fn apply(connection: &Connection, change: &ClientChange) -> Result<(), Failure> {
    let new = connection
        .prepare_cached("INSERT OR IGNORE INTO client_change (at, event_id) VALUES (?1, ?2)")?
        .execute(params![change.at.as_microsecond(), &change.event_id.0.as_bytes()[..]])?;
    if new == 0 {
        return Ok(());
    }
    let record = change.applied_to(stored(connection, &change.client)?)?;
    connection
        .prepare_cached(
            "INSERT INTO client (name, since, changed_at, trace, attributes) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT (name) DO UPDATE SET since = excluded.since, changed_at = excluded.changed_at, \
             trace = excluded.trace, attributes = excluded.attributes",
        )?
        .execute(params![
            record.client.as_str(),
            record.since.as_microsecond(),
            record.changed_at.as_microsecond(),
            &record.trace.as_bytes()[..],
            record.attributes.get(),
        ])?;
    let at = change.steps.steps.iter().map(|step| step.at).max().unwrap_or(change.at);
    traces::add(connection, &change.steps, at)
}

fn stored(connection: &Connection, client: &Client) -> rusqlite::Result<Option<ClientRecord>> {
    connection
        .prepare_cached("SELECT name, since, changed_at, trace, attributes FROM client WHERE name = ?1")?
        .query_row([client.as_str()], record)
        .optional()
}

fn list(
    connection: &Connection,
    covered: &Covered,
    after: String,
    max: usize,
) -> rusqlite::Result<Vec<ClientRecord>> {
    let mut bound = vec![Binding::Text(after)];
    let mut sql = "SELECT name, since, changed_at, trace, attributes FROM client WHERE name > ?".to_owned();
    clients_clause(covered, "name", &mut sql, &mut bound);
    sql.push_str(" ORDER BY name LIMIT ?");
    bound.push(Binding::Integer(i64::try_from(max).unwrap_or(i64::MAX)));
    connection.prepare_cached(&sql)?.query_map(params_from_iter(bound), record)?.collect()
}

fn record(row: &Row<'_>) -> rusqlite::Result<ClientRecord> {
    Ok(ClientRecord {
        client: row.get_ref(0)?.as_str()?.parse().map_err(|_| damaged_value(0, "client"))?,
        since: moment(row, 1)?,
        changed_at: moment(row, 2)?,
        trace: uuid(row, 3)?,
        attributes: RawJson::parse(row.get(4)?).map_err(|_| damaged_value(4, "attributes"))?,
    })
}
