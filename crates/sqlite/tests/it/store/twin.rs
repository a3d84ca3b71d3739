//! A store around a store that breaks one promise.

mod orders;
mod ports;
mod rewrite;
mod sink;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicI64};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use orderwire_store::Store;
use orderwire_store::testkit::Factory;
use orderwire_types::{EventId, OrderState};
use tokio::sync::watch;
use uuid::Uuid;

use super::support::Folder;

/// The promise that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    ForgetsOnOpening,
    ForgetsUnits,
    MakesChangedDatasetsAnew,
    HidesConflicts,
    KeepsRequired,
    TakesFaultyDefinitions,
    NeverRemoves,
    WritesRepeatedBatches,
    LosesPosition,
    CommitsHalfBatches,
    NamesNoEntry,
    IgnoresOnConflict,
    StampsLate,
    CountsAnewWhenEmpty,
    SkipsFromAnywhere,
    LosesEveryTenth,
    StaleGeneration,
    CutsToMillis,
    JsonThroughFloat,
    IntegersThroughFloat,
    HidesFaultyRows,
    ForgetsImports,
    PassesOverWholePieces,
    PassesOverLatePieces,
    MixesFiles,
    TakesLteForLt,
    NotHoldsForNull,
    TakesAndForOr,
    IgnoresOrder,
    LikeIgnoresCase,
    LikeWithoutQuotes,
    TiesBackwards,
    NullsLast,
    CountsThePage,
    IgnoresOffset,
    GoesOnWithoutTheSink,
    HidesWrongReads,
    SelectsForAll,
    SelectsForMany,
    IgnoresObjects,
    IgnoresTimeOut,
    ReadsOnWhenDropped,
    NoObjectsAreAll,
    HidesTakenIds,
    ForgetsRevocation,
    NullIsAValue,
    AppliesChangesAgain,
    LastArrivalWins,
    ShowsAllClients,
    StepsBackwards,
    RecordsWithoutTrace,
    SweepsWithoutLimit,
    NeverSweepsRows,
    NeverSweepsTraces,
    ForgetsFingerprints,
    TakesCreateForApply,
    NeverRecordsRefused,
    KeepsNamespaces,
    ForgetsOlderOrders,
    CancelsAnything,
    ClaimsUnfairly,
    ClaimsOnAnyTarget,
    StaleLeasesWrite,
    LosesTouches,
    LosesTouchesOfHeld,
    ForgetsWhatIsDue,
    NoticesNothing,
    OverwritesFinished,
    ForgetsUntold,
    IgnoresFilters,
    SweepsTooEarly,
    SweepsUntold,
    TakesAnyState,
    TrustsTheClock,
    ForgetsWhereItIs,
    DescribesAlways,
    CancelsHalfDone,
    NoticesTooMuch,
    HandsOutAll,
}

/// A folder whose store is a twin.
pub(super) struct TwinFolder {
    folders: [Folder; 2],
    opened: AtomicBool,
    fault: Fault,
}

impl TwinFolder {
    pub(super) fn new(fault: Fault) -> Self {
        Self { folders: [Folder::new(), Folder::new()], opened: AtomicBool::new(false), fault }
    }
}

#[async_trait]
impl Factory for TwinFolder {
    async fn open(&self) -> Result<Arc<dyn Store>, String> {
        let again = self.opened.swap(true, std::sync::atomic::Ordering::SeqCst);
        let other = again && self.fault == Fault::ForgetsOnOpening;
        let inner = Factory::open(&self.folders[usize::from(other)]).await?;
        Ok(Arc::new(Twin {
            inner,
            fault: self.fault,
            count: AtomicI64::new(0),
            states: Mutex::default(),
            held: Mutex::default(),
            quiet: watch::Sender::new(0),
        }))
    }
}

struct Twin {
    inner: Arc<dyn Store>,
    fault: Fault,
    /// What a fault counts.
    count: AtomicI64,
    /// States that a fault wrote.
    states: Mutex<HashMap<EventId, OrderState>>,
    /// Releases that were claimed and not handed back.
    held: Mutex<HashSet<Uuid>>,
    /// Where nothing changes.
    quiet: watch::Sender<u64>,
}
