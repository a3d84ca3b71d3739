//! What is known of a trace: stored steps, what events tell that still wait, dead letters.

use jiff::Timestamp;
use orderwire_queue::engine::{Appended, waiting_steps};
use orderwire_queue::model::TraceView;
use orderwire_types::scope::Clients;
use orderwire_types::step::{Millis, Step};
use orderwire_types::{EventId, QueueName};
use tokio_postgres::{IsolationLevel, Row};
use uuid::Uuid;

use super::timestamp;
use crate::db::Database;
use crate::error::Error;

const STEPS: &str = "SELECT client, at, event_id, role, step, outcome, queue, attempt, duration_us, detail,
        accepted_at, tasks
    FROM queue.step WHERE trace = $1 AND (n >> 20) = ANY (ARRAY(SELECT generate_series(
        (SELECT n >> 20 FROM queue.step ORDER BY n LIMIT 1), (SELECT n >> 20 FROM queue.step ORDER BY n DESC LIMIT 1)
    ))) ORDER BY n";

const EVENTS: &str =
    "SELECT e.client, e.event_id, e.accepted_at, e.queued_at, e.type, e.principal, e.tasks, e.refs, ARRAY(
        SELECT q.name FROM queue.queue q WHERE q.stream AND EXISTS (
            SELECT FROM queue.delivery d WHERE d.queue = q.id AND abs(d.position) = e.position
        ) ORDER BY q.name
    )
    FROM queue.event e WHERE e.trace = $1 AND (e.position >> 20) = ANY (ARRAY(SELECT generate_series(
        (SELECT position >> 20 FROM queue.event ORDER BY position LIMIT 1),
        (SELECT position >> 20 FROM queue.event ORDER BY position DESC LIMIT 1)
    ))) ORDER BY e.position";

const DEAD: &str = "SELECT client FROM queue.dead WHERE trace = $1";

/// What is known of a trace, all of one moment.
pub(super) async fn view(database: &Database, trace: Uuid, clients: &Clients) -> Result<TraceView, Error> {
    let what = "reading a trace";
    let mut client = database.client(what).await?;
    let (steps, events, dead) = database
        .within(what, async {
            let transaction = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead);
            let transaction = transaction.read_only(true).start().await?;
            let ask = async |statement: &str| {
                let statement = transaction.prepare_cached(statement).await?;
                transaction.query(&statement, &[&trace]).await
            };
            let (steps, events, dead) = futures::try_join!(ask(STEPS), ask(EVENTS), ask(DEAD))?;
            transaction.commit().await?;
            Ok((steps, events, dead))
        })
        .await?;
    let mut view = TraceView::default();
    for row in &steps {
        if see(&mut view, clients, row.get(0))? {
            stored(row, &mut view)?;
        }
    }
    for row in &events {
        if see(&mut view, clients, row.get(0))? {
            waiting(row, &mut view)?;
        }
    }
    for row in &dead {
        if see(&mut view, clients, row.get(0))? {
            view.dead += 1;
        }
    }
    view.steps.sort_by_key(|step| step.at);
    Ok(view)
}

/// Whether something of this client may be shown; notes whose the trace is.
fn see(view: &mut TraceView, clients: &Clients, client: &str) -> Result<bool, Error> {
    let client = client.parse().map_err(|error| Error::damaged(format!("a client's name: {error}")))?;
    let visible = match clients {
        Clients::All => true,
        Clients::Only(clients) => clients.contains(&client),
    };
    if visible {
        view.client.get_or_insert(client);
    }
    Ok(visible)
}

/// The steps of a row.
fn stored(row: &Row, view: &mut TraceView) -> Result<(), Error> {
    let (at, event_id): (_, Uuid) = (timestamp(row.get(1)), row.get(2));
    if let Some(accepted_at) = row.get::<_, Option<i64>>(10) {
        let (principal, event_type) = (row.get(3), row.get::<_, Option<&str>>(9).unwrap_or_default());
        let appended = Appended { event_id, event_type, principal, accepted_at: timestamp(accepted_at) };
        let tasks = queues(row.get::<_, Option<&str>>(11).unwrap_or_default())?;
        tell(view, appended.steps(&tasks, at));
        return Ok(());
    }
    view.steps.push(Step {
        outcome: row.get(5),
        queue: row.get::<_, Option<&str>>(6).map(queue).transpose()?,
        event_id: Some(event_id),
        attempt: row.get::<_, Option<i64>>(7).and_then(|attempt| u32::try_from(attempt).ok()),
        duration_ms: row.get::<_, Option<i64>>(8).map(Millis),
        detail: row.get(9),
        ..Step::ok(at, row.get(3), row.get(4))
    });
    Ok(())
}

/// What an event that waits tells.
fn waiting(row: &Row, view: &mut TraceView) -> Result<(), Error> {
    let (event_id, accepted_at): (Uuid, Timestamp) = (row.get(1), timestamp(row.get(2)));
    view.open += u64::try_from(row.get::<_, i32>(7)).unwrap_or_default();
    let tasks = queues(row.get(6))?;
    if !tasks.is_empty() {
        let appended = Appended { event_id, event_type: row.get(4), principal: row.get(5), accepted_at };
        tell(view, appended.steps(&tasks, timestamp(row.get(3))));
    }
    for name in row.get::<_, Vec<&str>>(8) {
        tell(view, waiting_steps(EventId(event_id), accepted_at, &queue(name)?));
    }
    Ok(())
}

/// Adds the steps of an append. An event is accepted once, however many tell of it.
fn tell(view: &mut TraceView, steps: impl IntoIterator<Item = Step>) {
    for step in steps {
        if step.step != "accepted" || !view.tells(&step) {
            view.steps.push(step);
        }
    }
}

/// The queues whose names are joined by blanks.
fn queues(names: &str) -> Result<Vec<QueueName>, Error> {
    names.split_whitespace().map(queue).collect()
}

fn queue(name: &str) -> Result<QueueName, Error> {
    name.parse().map_err(|error| Error::damaged(format!("a queue's name: {error}")))
}
