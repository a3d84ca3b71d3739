//! Recording: rows, position and trace in one transaction. The hot path of
//! telemetry.
//!
//! Rows are read and checked before the transaction begins ([`Batch`]). In it whoever
//! records holds the rows of the datasets from the moment at which `_seq` is given until
//! the commit: so numbers become visible in their order, on whichever node they were given.

use std::collections::HashMap;

use orderwire_store::{Error, Recording, RowsRecorded, recorded_steps};

use super::batch::{Batch, Part};
use super::error::{Failure, conflict};
use super::imports::{self, Lines};
use super::open::Shared;
use super::session::{Session, transact};
use super::traces;

/// How often a batch is read anew because a definition changed meanwhile.
const READINGS: u32 = 5;

const WHAT: &str = "recording rows";

pub(super) async fn record(shared: &Shared, recording: &Recording) -> Result<Vec<RowsRecorded>, Error> {
    let mut reading = 1;
    let mut is_followed = false;
    loop {
        let batch = match Batch::read(&shared.catalogue, recording) {
            Ok(batch) => batch,
            // Another node may have taken the rows by a definition that is not known here yet.
            Err(_) if !is_followed => {
                is_followed = true;
                shared.follow().await?;
                continue;
            }
            Err(refused) => return Err(refused),
        };
        let stored = transact!(&shared.database, WHAT, |session| store(session, recording, &batch).await);
        let failure = match stored {
            Ok(Stored { results, generations }) => {
                for (part, generation) in batch.parts.iter().zip(generations) {
                    shared.catalogue.changed(&part.entry.dataset.name, generation);
                }
                if !batch.parts.is_empty() {
                    shared.tell();
                }
                return Ok(results);
            }
            Err(failure) => failure,
        };
        if failure.is_of_data() {
            return Err(blame(shared, recording, failure).await);
        }
        if !failure.is_stale() || reading == READINGS {
            return Err(failure.into_error(WHAT));
        }
        shared.follow().await?;
        reading += 1;
    }
}

/// What a transaction did.
struct Stored {
    results: Vec<RowsRecorded>,
    /// One for each part of the batch.
    generations: Vec<i64>,
}

async fn store(session: &Session, recording: &Recording, batch: &Batch<'_>) -> Result<Stored, Failure> {
    let mut places = Vec::with_capacity(batch.parts.len());
    for part in &batch.parts {
        places.push(hold(session, part).await?);
    }
    move_position(session, &recording.reader, recording.from, recording.to).await?;
    let mut results = batch.results.clone();
    for (part, place) in batch.parts.iter().zip(&places) {
        let known = known(session, recording, part).await?;
        part.insert(session, recording, place.last_seq, &known, &mut results).await?;
    }
    let records = recorded_steps(recording, &results);
    traces::add(session, records.iter().map(|record| (record, recording.now))).await?;
    Ok(Stored { results, generations: places.iter().map(|place| place.generation).collect() })
}

/// Where the rows of a part go.
struct Place {
    /// The number before that of its first row.
    last_seq: i64,
    generation: i64,
}

/// Takes the numbers of a part's rows, and with them the row of the dataset; `Stale` when it
/// has another definition by now.
async fn hold(session: &Session, part: &Part<'_>) -> Result<Place, Failure> {
    let sql = "UPDATE store.dataset SET last_seq = last_seq + $3, generation = nextval('store.generation') \
               WHERE name = $1 AND defined = $2 RETURNING last_seq - $3, generation";
    let rows = i64::try_from(part.rows.len()).unwrap_or(i64::MAX);
    let name = part.entry.dataset.name.as_str();
    let row = session.row(sql, &[&name, &part.entry.defined, &rows]).await?.ok_or(Failure::Stale)?;
    Ok(Place { last_seq: row.try_get(0)?, generation: row.try_get(1)? })
}

/// Notes the lines of imported files among the rows of a part; those that were known, by event.
async fn known(
    session: &Session,
    recording: &Recording,
    part: &Part<'_>,
) -> Result<HashMap<usize, imports::Known>, Failure> {
    let mut known = HashMap::new();
    for &at in &part.events {
        let event = &recording.events[at];
        let Some(import) = &event.import else { continue };
        let count = part.rows.iter().filter(|row| row.event == at).count();
        let piece = Lines::of(import, count).map_err(|failure| at_entry(failure, at))?;
        known.insert(at, imports::note(session, event, import, piece).await?);
    }
    Ok(known)
}

fn at_entry(failure: Failure, entry: usize) -> Failure {
    match failure {
        Failure::Refused(error) => Failure::Refused(error.at_entry(entry)),
        failure => failure,
    }
}

/// Moves a reader on.
pub(super) async fn move_position(
    session: &Session,
    reader: &str,
    from: i64,
    to: i64,
) -> Result<(), Failure> {
    let moved = match from {
        0 => {
            let sql = "INSERT INTO store.reader AS r (name, position) VALUES ($1, $2) \
                       ON CONFLICT (name) DO UPDATE SET position = $2 WHERE r.position = 0";
            session.execute(sql, &[&reader, &to]).await?
        }
        _ => {
            let sql = "UPDATE store.reader SET position = $3 WHERE name = $1 AND position = $2";
            session.execute(sql, &[&reader, &from, &to]).await?
        }
    };
    if moved == 1 {
        return Ok(());
    }
    let is = position(session, reader).await?;
    Err(conflict(format!("recording for reader {reader} from position {from}: its position is {is}")).into())
}

/// Where a reader is.
pub(super) async fn position(session: &Session, reader: &str) -> Result<i64, Failure> {
    let row = session.row("SELECT position FROM store.reader WHERE name = $1", &[&reader]).await?;
    row.map_or(Ok(0), |row| Ok(row.try_get(0)?))
}

/// Names the event with a value that PostgreSQL cannot keep: stores each alone, and takes it back.
async fn blame(shared: &Shared, recording: &Recording, failure: Failure) -> Error {
    let error = failure.into_error(WHAT);
    for (i, event) in recording.events.iter().enumerate() {
        let alone = Recording { events: vec![event.clone()], ..recording.clone() };
        let Ok(batch) = Batch::read(&shared.catalogue, &alone) else { continue };
        let tried = transact!(&shared.database, "looking for a row that cannot be stored", |session| {
            store(session, &alone, &batch).await?;
            // So that nothing of it stays.
            Err::<(), _>(Failure::Stale)
        });
        match tried {
            Err(failure) if failure.is_of_data() => return error.at_entry(i),
            Err(failure) if !failure.is_stale() => return failure.into_error(WHAT),
            _ => {}
        }
    }
    error
}
