//! Attempts of the forwarder at endpoints.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use orderwire_store::Error;
use orderwire_store::log::{AttemptFilter, AttemptOutcome, DeliveryAttempt, DeliveryLog, LoggedAttempt};
use orderwire_types::{Client, EventId, EventType, Label, Scope};
use tokio_postgres::Row;

use super::error::{Failure, damaged};
use super::filter::{Query, limit};
use super::open::PostgresStore;
use super::session::{Session, read, write};
use super::table::push;
use super::value::{Bound, Moment, escaped, unescaped};

const COLUMNS: &str =
    "number, at, event_id, event_type, client, trace, attempt, outcome, status, detail, duration";

/// The class of advisory locks of endpoints, "owdl".
const LOCKS: i32 = 0x6f77_646c;

#[async_trait]
impl DeliveryLog for PostgresStore {
    async fn log_attempts(
        &self,
        endpoint: &Label,
        attempts: &[DeliveryAttempt],
        keep: u64,
    ) -> Result<(), Error> {
        write!(&self.shared.database, "logging deliveries", |session| log(session, endpoint, attempts, keep)
            .await)
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
        let mut query = Query::new(format!("SELECT {COLUMNS} FROM store.delivery_attempt WHERE endpoint = "));
        query.bind(Box::new(endpoint.as_str().to_owned()));
        query.push(" AND number < ");
        query.bind(Box::new(before.and_then(|before| i64::try_from(before).ok()).unwrap_or(i64::MAX)));
        query.and_clients(&scope.clients, "client");
        query.and_text("client", filter.client.as_ref().map(Client::as_str));
        query.and_id("event_id", filter.event_id.map(|id| id.0));
        query.and_text("outcome", filter.outcome.map(AttemptOutcome::as_str));
        query.push(" ORDER BY number DESC");
        query.limit(max);
        read!(&self.shared.database, "reading the delivery log", |session| {
            session.rows(&query.sql, &query.values()).await?.iter().map(logged).collect()
        })
    }

    async fn sweep_attempts(&self, before: Timestamp, max: usize) -> Result<u64, Error> {
        write!(&self.shared.database, "sweeping the delivery log", |session| sweep(
            session,
            before,
            limit(max)
        )
        .await)
    }
}

/// Appends attempts, and drops the oldest beyond `keep`.
async fn log(
    session: &Session,
    endpoint: &Label,
    attempts: &[DeliveryAttempt],
    keep: u64,
) -> Result<(), Failure> {
    let endpoint = endpoint.as_str();
    hold(session, endpoint).await?;
    let sql = "SELECT coalesce(max(number), 0) FROM store.delivery_attempt WHERE endpoint = $1";
    let last: i64 = session.row(sql, &[&endpoint]).await?.ok_or_else(|| damaged("log"))?.try_get(0)?;
    let mut number = last;
    let numbers: Vec<i64> = attempts
        .iter()
        .map(|_| {
            number += 1;
            number
        })
        .collect();
    let mut query = Query::new(format!("INSERT INTO store.delivery_attempt (endpoint, {COLUMNS}) SELECT "));
    query.bind(Box::new(endpoint.to_owned()));
    query.push("::text, rows.* FROM unnest(");
    let each = |of: &dyn Fn(&DeliveryAttempt) -> String| attempts.iter().map(of).collect::<Vec<_>>();
    let ids = |of: &dyn Fn(&DeliveryAttempt) -> uuid::Uuid| attempts.iter().map(of).collect::<Vec<_>>();
    let micros = |attempt: &DeliveryAttempt| i64::try_from(attempt.duration.as_micros()).unwrap_or(i64::MAX);
    let arrays: [(&str, Bound); 11] = [
        ("bigint", Box::new(numbers)),
        ("timestamptz", Box::new(attempts.iter().map(|attempt| Moment(attempt.at)).collect::<Vec<_>>())),
        ("uuid", Box::new(ids(&|attempt| attempt.event_id.0))),
        ("text", Box::new(each(&|attempt| attempt.event_type.as_str().to_owned()))),
        ("text", Box::new(each(&|attempt| attempt.client.as_str().to_owned()))),
        ("uuid", Box::new(ids(&|attempt| attempt.trace))),
        ("bigint", Box::new(attempts.iter().map(|attempt| i64::from(attempt.attempt)).collect::<Vec<_>>())),
        ("text", Box::new(each(&|attempt| attempt.outcome.as_str().to_owned()))),
        ("int", Box::new(attempts.iter().map(|attempt| attempt.status.map(i32::from)).collect::<Vec<_>>())),
        (
            "text",
            Box::new(
                attempts.iter().map(|attempt| attempt.detail.as_deref().map(escaped)).collect::<Vec<_>>(),
            ),
        ),
        ("bigint", Box::new(attempts.iter().map(micros).collect::<Vec<_>>())),
    ];
    for (i, (kind, array)) in arrays.into_iter().enumerate() {
        query.push(if i == 0 { "" } else { ", " });
        query.bind(array);
        push(&mut query.sql, format_args!("::{kind}[]"));
    }
    query.push(") AS rows");
    session.execute(&query.sql, &query.values()).await?;
    let oldest = number.saturating_sub(i64::try_from(keep).unwrap_or(i64::MAX));
    let sql = "DELETE FROM store.delivery_attempt WHERE endpoint = $1 AND number <= $2";
    session.execute(sql, &[&endpoint, &oldest]).await?;
    Ok(())
}

/// Has others that write the log of this endpoint wait.
async fn hold(session: &Session, endpoint: &str) -> Result<(), Failure> {
    session.rows("SELECT pg_advisory_xact_lock($1, hashtext($2))", &[&LOCKS, &endpoint]).await?;
    Ok(())
}

fn logged(row: &Row) -> Result<LoggedAttempt, Failure> {
    let number: i64 = row.try_get(0)?;
    let (event_type, client, outcome): (&str, &str, &str) =
        (row.try_get(3)?, row.try_get(4)?, row.try_get(7)?);
    let event_type: EventType = event_type.parse().map_err(|_| damaged("type of an event"))?;
    let (attempt, duration): (i64, i64) = (row.try_get(6)?, row.try_get(10)?);
    let status: Option<i32> = row.try_get(8)?;
    Ok(LoggedAttempt {
        number: number.unsigned_abs(),
        attempt: DeliveryAttempt {
            at: row.try_get::<_, Moment>(1)?.0,
            event_id: EventId(row.try_get(2)?),
            event_type,
            client: client.parse().map_err(|_| damaged("client of an attempt"))?,
            trace: row.try_get(5)?,
            attempt: u32::try_from(attempt).map_err(|_| damaged("number of an attempt"))?,
            outcome: AttemptOutcome::of(outcome).ok_or_else(|| damaged("outcome of an attempt"))?,
            status: status.map(u16::try_from).transpose().map_err(|_| damaged("status of an attempt"))?,
            detail: row.try_get::<_, Option<&str>>(9)?.map(unescaped),
            duration: Duration::from_micros(duration.unsigned_abs()),
        },
    })
}

/// Of each endpoint the oldest, while they are old.
async fn sweep(session: &Session, before: Timestamp, limit: i64) -> Result<u64, Failure> {
    // From endpoint to endpoint by the key, never through their attempts.
    let next = "SELECT endpoint FROM store.delivery_attempt WHERE endpoint > $1 ORDER BY endpoint LIMIT 1";
    let drop = "DELETE FROM store.delivery_attempt a WHERE a.endpoint = $1 AND a.number < ( \
                    SELECT least(first.number + $3, coalesce(( \
                        SELECT y.number FROM store.delivery_attempt y WHERE y.endpoint = $1 AND y.at >= $2 \
                        ORDER BY y.number LIMIT 1), first.number + $3)) \
                    FROM (SELECT min(number) AS number FROM store.delivery_attempt WHERE endpoint = $1) AS first)";
    let mut dropped: i64 = 0;
    let mut endpoint = String::new();
    while dropped < limit {
        let Some(row) = session.row(next, &[&endpoint]).await? else { break };
        endpoint = row.try_get(0)?;
        hold(session, &endpoint).await?;
        let left = limit - dropped;
        let gone = session.execute(drop, &[&endpoint, &Moment(before), &left.min(i64::MAX / 2)]).await?;
        dropped += i64::try_from(gone).unwrap_or(i64::MAX);
    }
    Ok(dropped.unsigned_abs())
}
