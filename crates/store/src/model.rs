//! What the store takes in and hands out.

use jiff::Timestamp;
use orderwire_types::dataset::DatasetDef;
pub use orderwire_types::event::ImportedLines;
use orderwire_types::step::{Step, TraceRecord};
use orderwire_types::{Client, DatasetName, EventId, RawJson, Right, scope};
use uuid::Uuid;

/// A dataset as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// Its name.
    pub name: DatasetName,
    /// Its definition.
    pub def: DatasetDef,
    /// When it was defined first.
    pub created_at: Timestamp,
    /// When its definition changed last.
    pub changed_at: Timestamp,
}

/// What a definition did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defined {
    /// The dataset is new.
    Created,
    /// It was there and has changed.
    Changed,
    /// It was there with the same definition.
    Unchanged,
}

/// One event's rows on their way into a dataset.
#[derive(Clone, Debug)]
pub struct RowsEvent {
    /// The dataset.
    pub dataset: DatasetName,
    /// Whose rows.
    pub client: Client,
    /// The event that carries them; row `i` gets `identity::row_id(event_id, i)`.
    pub event_id: EventId,
    /// Their trace.
    pub trace: Uuid,
    /// One row object or an array of them.
    pub rows: RawJson,
    /// When the edge accepted it, for the trace.
    pub accepted_at: Timestamp,
    /// Where the rows stand in an imported file, if they do.
    pub import: Option<ImportedLines>,
    /// Whether the store remembers the event, because it may come again where no position
    /// tells: from a broker, or a second time by another way.
    pub remembered: bool,
}

/// A batch of a stream on its way into the store: effect, position and trace
/// in one transaction.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Who reads: the stream's name.
    pub reader: String,
    /// Where the batch was read.
    pub source: Source,
    /// The events.
    pub events: Vec<RowsEvent>,
    /// When: `_recorded_at` of every row.
    pub now: Timestamp,
}

/// Where a batch was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// In the queue's stream, where the reader has a position, which moves with the batch.
    Stream {
        /// The position that the batch was read from: when the stored one differs,
        /// nothing is done and the answer is `Conflict` (another reader is ahead).
        from: i64,
        /// The position after the batch.
        to: i64,
    },
    /// At a broker, which knows no position of ours: only events that are
    /// [remembered](RowsEvent::remembered) are recorded once.
    Broker,
}

/// What a recording did, one per event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowsRecorded {
    /// Whether the event was remembered, so that it was passed over, rows and trace: the
    /// other figures are 0 then.
    pub repeated: bool,
    /// Rows that the event carried.
    pub rows: u64,
    /// Of these, rows that are new or took the place of an old one.
    pub written: u64,
}

/// How much of a file is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Rows from the first on without a gap: whoever goes on from there leaves nothing out.
    pub rows: u64,
    /// Rows wherever they stand: more, when a piece was put aside or left out.
    pub lines: u64,
}

/// What [`crate::Datasets::sweep`] drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// The present: datasets say how long they keep rows.
    pub now: Timestamp,
    /// Trace records and links from before. They go by windows of time, so that some stay up to
    /// an hour longer, links up to a day.
    pub traces_before: Timestamp,
    /// What is [remembered](RowsEvent::remembered) from before is forgotten at once, and its
    /// space is freed a piece at a time.
    pub remembered_before: Timestamp,
    /// At most this many rows, as many trace records, and as many remembered events.
    pub limit: usize,
}

/// A client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRecord {
    /// Its name.
    pub client: Client,
    /// When it was seen first.
    pub since: Timestamp,
    /// When something of it changed last.
    pub changed_at: Timestamp,
    /// The trace of that change.
    pub trace: Uuid,
    /// What is known of it beyond that: a JSON object.
    pub attributes: RawJson,
}

/// A change of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientChange {
    /// The client.
    pub client: Client,
    /// The event that says so: applied once.
    pub event_id: EventId,
    /// When the event was accepted: a change older than the stored one keeps
    /// what is there.
    pub at: Timestamp,
    /// Its trace.
    pub trace: Uuid,
    /// Members of the attributes that are set; `null` removes one.
    pub attributes: RawJson,
    /// The steps of the effect, stored with it.
    pub steps: TraceRecord,
}

/// A key as it is stored: never the secret itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// Its public id, part of the key's text.
    pub id: String,
    /// What it is for, in its maker's words.
    pub name: String,
    /// SHA-256 of the secret.
    pub hash: [u8; 32],
    /// Which clients.
    pub clients: scope::Clients,
    /// Which rights.
    pub rights: Vec<Right>,
    /// Which objects, as `dataset/<name>` or `queue/<name>`; `None` is all.
    pub objects: Option<Vec<String>>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it is valid, if not for good.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// What the store knows of a trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceView {
    /// Whose it is; `None` when the store knows nothing of the trace.
    pub client: Option<Client>,
    /// The steps, in order of time.
    pub steps: Vec<Step>,
}
