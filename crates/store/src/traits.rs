//! The contracts. What is written here is all that a user of the store may
//! count on, and all that an engine must keep.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use orderwire_types::dataset::DatasetDef;
use orderwire_types::step::TraceRecord;
use orderwire_types::{Client, DatasetName, Scope};
use uuid::Uuid;

use crate::error::Error;
use crate::evolve::Loss;
use crate::lineage::{Lineage, Link};
use crate::log::DeliveryLog;
use crate::model::{
    ClientChange, ClientRecord, Dataset, Defined, Imported, KeyRecord, Recording, RowsRecorded, Sweep,
    TraceView,
};
use crate::orders::Orders;
use crate::select::{RowSink, Select, Selected};
use crate::turn::Turns;

/// Typed tables and their rows.
///
/// A dataset is one table for all clients: its own columns and the hidden
/// ones ([`orderwire_types::dataset::HIDDEN_COLUMNS`]). A declared key is
/// unique per client. Names outside the scope's objects (`dataset/<name>`) and
/// rows of clients outside the scope look as if they did not exist.
///
/// Processes may share a store. Rows that one of them recorded are read by all at once; what
/// is answered from memory is as this process wrote it at once, and as others did within
/// a second. `_seq` becomes visible in its order, whoever records, and generations are the
/// same in all of them.
#[async_trait]
pub trait Datasets: Send + Sync {
    /// Makes the dataset exist with this definition. What is there evolves:
    /// columns may be added (in the rows that are there they are their default, else
    /// null, so not required; what these [keep](orderwire_types::dataset::Unknown::Keep) under the
    /// name stays where it is), a column may get a wider type
    /// ([`CHANGES`](crate::evolve::CHANGES)) or stop being required (unless it is of
    /// the key), their order, descriptions, units, defaults, retention, `on_conflict`,
    /// `unknown` and `time` may change; the partitions only while there is no row. With [`Loss::Allowed`] columns may also go, what
    /// was kept beyond the fields among them, and types change that lose a part of their values.
    ///
    /// Rows may arrive meanwhile: what was accepted by the definition before is recorded
    /// by the new one, without the fields that are gone (kept, where it keeps such), and a date as the timestamp
    /// that its column became. That holds for events accepted up to
    /// [`SETTLING`](crate::evolve::SETTLING) after the change.
    ///
    /// # Errors
    /// `Invalid` for a definition with faults, `Conflict` for a change that
    /// would lose data without leave or contradict rows: a column removed, of another
    /// type or newly required, another key.
    async fn evolve(
        &self,
        scope: &Scope,
        name: &DatasetName,
        def: &DatasetDef,
        loss: Loss,
        now: Timestamp,
    ) -> Result<Defined, Error>;

    /// The same without a loss.
    ///
    /// # Errors
    /// As [`Datasets::evolve`].
    async fn define(
        &self,
        scope: &Scope,
        name: &DatasetName,
        def: &DatasetDef,
        now: Timestamp,
    ) -> Result<Defined, Error> {
        self.evolve(scope, name, def, Loss::Refused, now).await
    }

    /// One dataset. Answered from memory: called on every write and read.
    fn dataset(&self, scope: &Scope, name: &DatasetName) -> Option<std::sync::Arc<Dataset>>;

    /// All datasets, by name.
    fn datasets(&self, scope: &Scope) -> Vec<std::sync::Arc<Dataset>>;

    /// Forgets a dataset with all its rows. Their space may only be free after
    /// [`Datasets::sweep`].
    ///
    /// # Errors
    /// `NotFound`.
    async fn remove(&self, scope: &Scope, name: &DatasetName) -> Result<(), Error>;

    /// Records a batch: every row, what moves with it, and one
    /// `recorded` trace record per (batch, trace), in one durable
    /// transaction (the records are made by [`crate::recorded_steps`]). What moves is the
    /// reader's position, and the memory of the events that are
    /// [remembered](crate::RowsEvent::remembered): such an event is passed over when it was
    /// recorded before, in this batch too, from whichever [`crate::Source`], until
    /// [`Sweep::remembered_before`] passes it. So each row is written exactly once per event,
    /// however often the batch comes; a piece of an imported file whose lines are known is
    /// passed over, and one that overlaps is written from the first unknown line.
    /// A row whose key is there follows the dataset's `on_conflict`; one that takes
    /// the place of another has the event, trace, time and `_seq` of its own arrival,
    /// so that whoever reads on by `_seq` sees it. `_seq` is never given twice.
    /// For the recorder's own use.
    ///
    /// # Errors
    /// `Conflict` when the position is not `from`; `Invalid` or `NotFound`
    /// with [`Error::entry`] when one event cannot be recorded (nothing of the
    /// batch was); `Unavailable`.
    async fn record(&self, recording: Recording) -> Result<Vec<RowsRecorded>, Error>;

    /// The position of a reader; 0 when it has none. It is told behind the writes that were
    /// handed over before, by the way that they go: a store that cannot write any more, or hangs
    /// while it writes, does not answer. For the recorder's own use, and to tell whether the
    /// store works.
    ///
    /// # Errors
    /// `Damaged` when nothing more is written; `Unavailable`.
    async fn position(&self, reader: &str) -> Result<i64, Error>;

    /// Moves a reader from `from` to `to` without an effect, past an entry that was
    /// dead-lettered.
    ///
    /// # Errors
    /// `Conflict` when the position is not `from`.
    async fn skip(&self, reader: &str, from: i64, to: i64) -> Result<(), Error>;

    /// How much of this file is recorded for the client; nothing for what is outside the scope.
    async fn imported(
        &self,
        scope: &Scope,
        name: &DatasetName,
        client: &Client,
        file: &str,
    ) -> Result<Imported, Error>;

    /// Reads rows within the scope into the sink, which is returned with the
    /// outcome. Ends with `TooCostly` after `time_out`, and early when the
    /// call is dropped.
    async fn select(
        &self,
        scope: &Scope,
        select: Select,
        sink: Box<dyn RowSink>,
        time_out: Duration,
    ) -> Result<(Selected, Box<dyn RowSink>), Error>;

    /// A number that changes with every committed change of the dataset's rows
    /// or definition: whoever cached an answer under an equal number has the
    /// present answer. From memory; 0 for a dataset that does not exist. Read it before the
    /// rows that are cached under it.
    fn generation(&self, name: &DatasetName) -> u64;

    /// What names this store among all: made with it, and kept with it. Of two stores only
    /// copies have the same. From memory.
    fn id(&self) -> Uuid;

    /// Drops rows that are past their dataset's retention or whose dataset was
    /// removed, and what else is said to be too old, a bounded piece of each; returns how
    /// many. A row whose `time` is null is as old as its record. Rows of a
    /// [partition](orderwire_types::dataset::Partition) go when all of it is past the retention; where it
    /// goes as a whole it counts as one.
    async fn sweep(&self, sweep: Sweep) -> Result<u64, Error>;
}

/// Who there is.
#[async_trait]
pub trait Clients: Send + Sync {
    /// Applies changes, all in one durable transaction, each once. `Invalid` with
    /// [`Error::entry`] when the attributes are no object. For the recorder's own use.
    async fn change_clients(&self, changes: &[ClientChange]) -> Result<(), Error>;

    /// One client.
    async fn client(&self, scope: &Scope, client: &Client) -> Result<Option<ClientRecord>, Error>;

    /// Clients by name, after `after`, at most `max`.
    async fn clients(
        &self,
        scope: &Scope,
        after: Option<&Client>,
        max: usize,
    ) -> Result<Vec<ClientRecord>, Error>;
}

/// Who may call. For the gateway's own use: it checks the caller's right.
#[async_trait]
pub trait Keys: Send + Sync {
    /// Stores a new key.
    ///
    /// # Errors
    /// `Conflict` when the id is taken.
    async fn add_key(&self, key: &KeyRecord) -> Result<(), Error>;

    /// One key, revoked and expired ones included.
    async fn key(&self, id: &str) -> Result<Option<KeyRecord>, Error>;

    /// All keys, oldest first.
    async fn keys(&self) -> Result<Vec<KeyRecord>, Error>;

    /// Revokes a key at once and for good; again is no error.
    ///
    /// # Errors
    /// `NotFound`.
    async fn revoke_key(&self, id: &str, now: Timestamp) -> Result<(), Error>;
}

/// What workers did, and what came of what.
#[async_trait]
pub trait Traces: Send + Sync {
    /// Stores steps that have no other effect to go with.
    async fn add_steps(&self, records: &[TraceRecord]) -> Result<(), Error>;

    /// Notes which events caused which; a link that is there (the same two events) stays as it is.
    async fn add_links(&self, links: &[Link]) -> Result<(), Error>;

    /// What led to these events, and what these led to: links from effect to cause and from
    /// cause to effect, each way to any depth, circles included; the nearest first, and at most
    /// `links_max`. A link of which an end is known to be of a client outside the scope is not there, and
    /// nothing is found through it. [`crate::Datasets::sweep`] drops links as old as traces.
    async fn lineage(&self, scope: &Scope, events: &[Uuid], links_max: usize) -> Result<Lineage, Error>;

    /// What the store knows of a trace, within the scope.
    async fn trace(&self, scope: &Scope, trace: Uuid) -> Result<TraceView, Error>;
}

/// The whole store.
pub trait Store: Datasets + Clients + Keys + Traces + Orders + DeliveryLog + Turns {}

impl<T: Datasets + Clients + Keys + Traces + Orders + DeliveryLog + Turns> Store for T {}
