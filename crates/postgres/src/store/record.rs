//! Recording: rows, position, trace and what is remembered in one transaction. The hot
//! path of telemetry.
//!
//! Rows are read and checked before the transaction begins ([`Batch`]). In it whoever
//! records holds the rows of the datasets from the moment at which `_seq` is given until
//! the commit: so numbers become visible in their order, on whichever node they were given.

use std::collections::{HashMap, HashSet};

use orderwire_store::{Error, Recording, RowsRecorded, Source, recorded_steps};

use super::batch::{Batch, Part};
use super::error::{Failure, conflict};
use super::imports::{self, Lines};
use super::open::Shared;
use super::session::{Session, read, transact};
use super::{partitions, remembered, traces};

/// How often a batch is read anew because a definition changed meanwhile, or a partition went.
const READINGS: u32 = 5;

const WHAT: &str = "recording rows";

pub(super) async fn record(shared: &Shared, recording: &Recording) -> Result<Vec<RowsRecorded>, Error> {
    let refused = match record_all(shared, recording).await {
        Err(refused) if refused.entry().is_some() => refused,
        done => return done,
    };
    // What was recorded before is passed over, whatever became of its dataset since then.
    if !recording.events.iter().any(|event| event.remembered) {
        return Err(refused);
    }
    let repeated =
        read!(&shared.database, WHAT, |session| remembered::repeated(session, &recording.events).await)?;
    let repeated: HashSet<usize> = repeated.into_iter().collect();
    if !refused.entry().is_some_and(|entry| repeated.contains(&entry)) {
        return Err(refused);
    }
    let kept: Vec<usize> = (0..recording.events.len()).filter(|at| !repeated.contains(at)).collect();
    let events = kept.iter().map(|&at| recording.events[at].clone()).collect();
    let rest = Recording { events, ..recording.clone() };
    let recorded = record_all(shared, &rest).await.map_err(|error| match error.entry() {
        Some(entry) => error.at_entry(kept[entry]),
        None => error,
    })?;
    let passed_over = RowsRecorded { repeated: true, ..RowsRecorded::default() };
    let mut results = vec![passed_over; recording.events.len()];
    for (at, result) in kept.into_iter().zip(recorded) {
        results[at] = result;
    }
    Ok(results)
}

async fn record_all(shared: &Shared, recording: &Recording) -> Result<Vec<RowsRecorded>, Error> {
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
        let stored = match partitions::make_for(shared, &batch, recording.now).await {
            Ok(()) => transact!(&shared.database, WHAT, |session| store(session, recording, &batch).await),
            Err(failure) => Err(failure),
        };
        let failure = match stored {
            Ok(Stored { results, generations }) => {
                let changed = batch.parts.iter().zip(generations);
                let mut is_changed = false;
                for (part, generation) in changed.filter_map(|(part, new)| Some((part, new?))) {
                    shared.catalogue.changed(&part.entry.dataset.name, generation);
                    is_changed = true;
                }
                if is_changed {
                    shared.tell();
                }
                return Ok(results);
            }
            Err(failure) => failure,
        };
        if failure.is_of_data() {
            return Err(blame(shared, recording, failure).await);
        }
        if !(failure.is_stale() || failure.lacks_a_partition()) || reading == READINGS {
            return Err(failure.into_error(WHAT));
        }
        shared.follow().await?;
        reading += 1;
    }
}

/// What a transaction did.
struct Stored {
    results: Vec<RowsRecorded>,
    /// One for each part of the batch of which something is new.
    generations: Vec<Option<i64>>,
}

async fn store(session: &Session, recording: &Recording, batch: &Batch<'_>) -> Result<Stored, Failure> {
    let mut results = batch.results.clone();
    if recording.events.iter().any(|event| event.remembered) {
        // Before it is looked at what is remembered: who else records the same event waits.
        let names: Vec<&str> = batch.parts.iter().map(|part| part.entry.dataset.name.as_str()).collect();
        let sql = "SELECT 1 FROM store.dataset WHERE name = ANY($1) ORDER BY name FOR UPDATE";
        session.rows(sql, &[&names]).await?;
        for repeated in remembered::repeated(session, &recording.events).await? {
            results[repeated] = RowsRecorded { repeated: true, ..RowsRecorded::default() };
        }
    }
    let mut places = Vec::with_capacity(batch.parts.len());
    for part in &batch.parts {
        places.push(if part.is_repeated(&results) { None } else { Some(hold(session, part).await?) });
    }
    if let Source::Stream { from, to } = recording.source {
        move_position(session, &recording.reader, from, to).await?;
    }
    for (part, place) in batch.parts.iter().zip(&places) {
        let Some(place) = place else { continue };
        let known = known(session, recording, part, &results).await?;
        part.insert(session, recording, place.last_seq, &known, &mut results).await?;
    }
    let records = recorded_steps(recording, &results);
    traces::add(session, records.iter().map(|record| (record, recording.now))).await?;
    remembered::remember(session, recording, &results).await?;
    let generation = |place: &Option<Place>| place.as_ref().map(|place| place.generation);
    Ok(Stored { results, generations: places.iter().map(generation).collect() })
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
    results: &[RowsRecorded],
) -> Result<HashMap<usize, imports::Known>, Failure> {
    let mut known = HashMap::new();
    for &at in part.events.iter().filter(|&&at| !results[at].repeated) {
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
