//! What the cases are written with.

use std::fmt::Debug;
use std::str::FromStr;

use jiff::Timestamp;
use orderwire_types::dataset::DatasetDef;
use orderwire_types::step::{Step, TraceRecord};
pub(super) use orderwire_types::testkit::{Failed, Outcome, holds, same};
use orderwire_types::{Client, DatasetName, EventId, RawJson, Right, Scope, scope};
use uuid::Uuid;

use crate::error::{Error, ErrorKind};
use crate::model::{Recording, RowsEvent, Source, Sweep};

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self(format!("{:?}: {error}", error.kind()))
    }
}

/// Fails unless the call was refused in this way; returns the refusal.
pub(super) fn refused<T: Debug>(what: &str, result: Result<T, Error>, kind: ErrorKind) -> Outcome<Error> {
    match result {
        Err(error) if error.kind() == kind => Ok(error),
        other => Err(Failed(format!("{what}: found {other:?}, expected {kind:?}"))),
    }
}

pub(super) fn parse<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().expect("names in cases are valid")
}

pub(super) fn dataset(text: &str) -> DatasetName {
    parse(text)
}

pub(super) fn client(text: &str) -> Client {
    parse(text)
}

pub(super) fn def(json: &str) -> DatasetDef {
    serde_json::from_str(json).expect("definitions in cases are valid")
}

/// A moment, in seconds after a fixed one that is whole hours after 1970.
pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_760_000_400 + second).expect("within the range")
}

pub(super) fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

/// Everything.
pub(super) fn all() -> Scope {
    Scope::internal("testkit")
}

/// These clients, every object.
pub(super) fn only(clients: &[&str]) -> Scope {
    Scope {
        principal: "key:test".into(),
        clients: scope::Clients::Only(clients.iter().map(|name| client(name)).collect()),
        rights: [Right::Read, Right::Operate].into(),
        objects: None,
    }
}

/// Every client, these objects.
pub(super) fn objects(objects: &[&str]) -> Scope {
    Scope { objects: Some(objects.iter().map(|&object| object.to_owned()).collect()), ..all() }
}

/// An event with rows for dataset `d`.
pub(super) fn event(n: u128, owner: &str, rows: &str) -> RowsEvent {
    RowsEvent {
        dataset: dataset("d"),
        client: client(owner),
        event_id: EventId(id(n)),
        trace: id(1_000 + n),
        rows: json(rows),
        accepted_at: at(1),
        import: None,
        remembered: false,
    }
}

pub(super) fn json(text: &str) -> RawJson {
    RawJson::parse(text.to_owned()).expect("JSON in cases is valid")
}

/// A batch of the stream `data`.
pub(super) fn batch(from: i64, to: i64, events: Vec<RowsEvent>) -> Recording {
    Recording { reader: "data".to_owned(), source: Source::Stream { from, to }, events, now: at(2) }
}

/// What came for the stream `data` from a broker.
pub(super) fn arrived(events: Vec<RowsEvent>) -> Recording {
    Recording { source: Source::Broker, ..batch(0, 0, events) }
}

/// A sweep that drops nothing but what is past the retention of its dataset, in one piece.
pub(super) fn sweep(second: i64) -> Sweep {
    const NEVER: i64 = -10_000_000;
    Sweep { now: at(second), traces_before: at(NEVER), remembered_before: at(NEVER), limit: 100 }
}

/// One step of a trace.
pub(super) fn step(second: i64, what: &str) -> Step {
    Step::ok(at(second), "worker", what)
}

pub(super) fn record(trace: u128, owner: &str, steps: Vec<Step>) -> TraceRecord {
    TraceRecord { trace: id(trace), client: client(owner), steps }
}

/// Texts of one's own.
pub(super) fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}
