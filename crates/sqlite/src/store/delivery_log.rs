//! Attempts of the forwarder at endpoints.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use orderwire_store::Error;
use orderwire_store::log::{AttemptFilter, AttemptOutcome, DeliveryAttempt, DeliveryLog, LoggedAttempt};
use orderwire_types::scope::Clients;
use orderwire_types::{Client, EventId, EventType, Label, Scope};
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::error::damaged_value;
use super::filter::{Binding, clients_clause};
use super::open::SqliteStore;
use super::table::{moment, uuid};

const COLUMNS: &str =
    "number, at, event_id, event_type, client, trace, attempt, outcome, status, detail, duration";

#[async_trait]
impl DeliveryLog for SqliteStore {
    async fn log_attempts(
        &self,
        endpoint: &Label,
        attempts: &[DeliveryAttempt],
        keep: u64,
    ) -> Result<(), Error> {
        let (endpoint, attempts) = (endpoint.clone(), attempts.to_vec());
        let keep = i64::try_from(keep).unwrap_or(i64::MAX);
        self.write("logging deliveries", move |transaction| {
            let last = log(transaction.connection, &endpoint, &attempts)?;
            transaction
                .connection
                .prepare_cached("DELETE FROM delivery_attempt WHERE endpoint = ?1 AND number <= ?2")?
                .execute(params![endpoint.as_str(), last.saturating_sub(keep)])?;
            Ok(())
        })
        .await
    }

    async fn attempts(
        &self,
        scope: &Scope,
        endpoint: &Label,
        filter: &AttemptFilter,
        before: Option<u64>,
        max: usize,
    ) -> Result<Vec<LoggedAttempt>, Error> {
        if !scope.touches(&format!("queue/forward-{endpoint}")) {
            return Ok(Vec::new());
        }
        let (clients, endpoint, filter) = (scope.clients.clone(), endpoint.clone(), filter.clone());
        self.look_up("reading the delivery log", move |connection| {
            read(connection, &clients, &endpoint, &filter, before, max)
        })
        .await
    }

    async fn sweep_attempts(&self, before: Timestamp, limit: usize) -> Result<u64, Error> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.write("sweeping the delivery log", move |transaction| {
            Ok(sweep(transaction.connection, before, limit)?)
        })
        .await
    }
}

/// Appends attempts; the number of the last one.
fn log(connection: &Connection, endpoint: &Label, attempts: &[DeliveryAttempt]) -> rusqlite::Result<i64> {
    let mut number: i64 = connection
        .prepare_cached("SELECT coalesce(max(number), 0) FROM delivery_attempt WHERE endpoint = ?1")?
        .query_row([endpoint.as_str()], |row| row.get(0))?;
    let mut statement = connection.prepare_cached(&format!(
        "INSERT INTO delivery_attempt (endpoint, {COLUMNS}) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"
    ))?;
    for attempt in attempts {
        number += 1;
        statement.execute(params![
            endpoint.as_str(),
            number,
            attempt.at.as_microsecond(),
            &attempt.event_id.0.as_bytes()[..],
            attempt.event_type.as_str(),
            attempt.client.as_str(),
            &attempt.trace.as_bytes()[..],
            attempt.attempt,
            attempt.outcome.as_str(),
            attempt.status,
            attempt.detail,
            i64::try_from(attempt.duration.as_micros()).unwrap_or(i64::MAX),
        ])?;
    }
    Ok(number)
}

fn read(
    connection: &Connection,
    clients: &Clients,
    endpoint: &Label,
    filter: &AttemptFilter,
    before: Option<u64>,
    max: usize,
) -> rusqlite::Result<Vec<LoggedAttempt>> {
    let before = before.and_then(|before| i64::try_from(before).ok()).unwrap_or(i64::MAX);
    let mut bound = vec![Binding::Text(endpoint.as_str().to_owned()), Binding::Integer(before)];
    let mut sql = format!("SELECT {COLUMNS} FROM delivery_attempt WHERE endpoint = ? AND number < ?");
    clients_clause(clients, "client", &mut sql, &mut bound);
    if let Some(client) = &filter.client {
        sql.push_str(" AND client = ?");
        bound.push(Binding::Text(client.as_str().to_owned()));
    }
    if let Some(event_id) = &filter.event_id {
        sql.push_str(" AND event_id = ?");
        bound.push(Binding::Uuid(event_id.0));
    }
    if let Some(outcome) = filter.outcome {
        sql.push_str(" AND outcome = ?");
        bound.push(Binding::Text(outcome.as_str().to_owned()));
    }
    sql.push_str(" ORDER BY number DESC LIMIT ?");
    bound.push(Binding::Integer(i64::try_from(max).unwrap_or(i64::MAX)));
    connection.prepare_cached(&sql)?.query_map(params_from_iter(bound), logged)?.collect()
}

fn logged(row: &Row<'_>) -> rusqlite::Result<LoggedAttempt> {
    let number: i64 = row.get(0)?;
    let duration: i64 = row.get(10)?;
    let outcome = AttemptOutcome::of(row.get_ref(7)?.as_str()?).ok_or_else(|| damaged_value(7, "outcome"))?;
    let event_type: EventType =
        row.get_ref(3)?.as_str()?.parse().map_err(|_| damaged_value(3, "event type"))?;
    let client: Client = row.get_ref(4)?.as_str()?.parse().map_err(|_| damaged_value(4, "client"))?;
    Ok(LoggedAttempt {
        number: number.unsigned_abs(),
        attempt: DeliveryAttempt {
            at: moment(row, 1)?,
            event_id: EventId(uuid(row, 2)?),
            event_type,
            client,
            trace: uuid(row, 5)?,
            attempt: row.get(6)?,
            outcome,
            status: row.get(8)?,
            detail: row.get(9)?,
            duration: Duration::from_micros(duration.unsigned_abs()),
        },
    })
}

/// Of each endpoint the oldest, while they are old.
fn sweep(connection: &Connection, before: Timestamp, limit: i64) -> rusqlite::Result<u64> {
    // From endpoint to endpoint by the key, never through their attempts.
    let next = "SELECT endpoint FROM delivery_attempt WHERE endpoint > ?1 ORDER BY endpoint LIMIT 1";
    let young = "SELECT coalesce((SELECT number FROM delivery_attempt WHERE endpoint = ?1 AND at >= ?2 \
                 ORDER BY number LIMIT 1), 1 + (SELECT max(number) FROM delivery_attempt WHERE endpoint = ?1))";
    let drop = "DELETE FROM delivery_attempt WHERE endpoint = ?1 AND number < ?2 AND number < ?3 + \
                (SELECT min(number) FROM delivery_attempt WHERE endpoint = ?1)";
    let mut dropped: i64 = 0;
    let mut endpoint = String::new();
    while dropped < limit {
        let found: Option<String> =
            connection.prepare_cached(next)?.query_row([&endpoint], |row| row.get(0)).optional()?;
        let Some(found) = found else { break };
        endpoint = found;
        let first_young: i64 = connection
            .prepare_cached(young)?
            .query_row(params![endpoint, before.as_microsecond()], |row| row.get(0))?;
        let gone =
            connection.prepare_cached(drop)?.execute(params![endpoint, first_young, limit - dropped])?;
        dropped += i64::try_from(gone).unwrap_or(i64::MAX);
    }
    Ok(dropped.unsigned_abs())
}
