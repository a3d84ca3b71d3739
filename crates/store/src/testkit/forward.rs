//! Stores in front of a store: each call goes on as it is, unless the one in front does
//! something about it. For tests that watch a store, or have it fail.
//!
//! ```text
//! impl Forward for Watched { fn inner(&self) -> &dyn Store { &self.store } }
//! impl ForwardDatasets for Watched { async fn select(…) { count it; self.store.select(…) } }
//! impl ForwardClients for Watched {}
//! ```

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use orderwire_types::dataset::DatasetDef;
use orderwire_types::step::TraceRecord;
use orderwire_types::{Client, DatasetName, EventId, Label, Scope};
use tokio::sync::watch;
use uuid::Uuid;

use crate::error::Error;
use crate::evolve::Loss;
use crate::lineage::{Lineage, Link};
use crate::log::*;
use crate::model::*;
use crate::orders::*;
use crate::select::{RowSink, Select, Selected};
use crate::traits::{Clients, Datasets, Keys, Store, Traces};
use crate::turn::{Turn, Turns};

/// A store in front of another.
pub trait Forward: Send + Sync {
    /// The one behind it.
    fn inner(&self) -> &dyn Store;
}

/// Makes of each contract a trait with the same methods, which go on to the store
/// behind, and the contract of whatever has that trait.
macro_rules! forwards {
    ($($forward:ident to $port:ident {
        $(fn $now:ident(&self $(, $told:ident: $of:ty)*) -> $said:ty;)*
        $(async fn $name:ident(&self $(, $given:ident: $like:ty)*) -> $answer:ty;)*
    })+) => {$(
        #[doc = concat!("[`", stringify!($port), "`] of the store behind, unless a method is written anew.")]
        #[allow(missing_docs, reason = "they stand in the contract")]
        #[async_trait]
        pub trait $forward: Forward {
            $(fn $now(&self $(, $told: $of)*) -> $said {
                self.inner().$now($($told),*)
            })*
            $(async fn $name(&self $(, $given: $like)*) -> $answer {
                self.inner().$name($($given),*).await
            })*
        }

        #[async_trait]
        impl<T: $forward> $port for T {
            $(fn $now(&self $(, $told: $of)*) -> $said {
                $forward::$now(self $(, $told)*)
            })*
            $(async fn $name(&self $(, $given: $like)*) -> $answer {
                $forward::$name(self $(, $given)*).await
            })*
        }
    )+};
}

forwards! {
    ForwardDatasets to Datasets {
        fn dataset(&self, scope: &Scope, name: &DatasetName) -> Option<Arc<Dataset>>;
        fn datasets(&self, scope: &Scope) -> Vec<Arc<Dataset>>;
        fn generation(&self, name: &DatasetName) -> u64;
        fn id(&self) -> Uuid;
        async fn define(
            &self, scope: &Scope, name: &DatasetName, def: &DatasetDef, now: Timestamp
        ) -> Result<Defined, Error>;
        async fn evolve(
            &self, scope: &Scope, name: &DatasetName, def: &DatasetDef, loss: Loss, now: Timestamp
        ) -> Result<Defined, Error>;
        async fn remove(&self, scope: &Scope, name: &DatasetName) -> Result<(), Error>;
        async fn record(&self, recording: Recording) -> Result<Vec<RowsRecorded>, Error>;
        async fn position(&self, reader: &str) -> Result<i64, Error>;
        async fn skip(&self, reader: &str, from: i64, to: i64) -> Result<(), Error>;
        async fn imported(
            &self, scope: &Scope, name: &DatasetName, client: &Client, file: &str
        ) -> Result<Imported, Error>;
        async fn select(
            &self, scope: &Scope, select: Select, sink: Box<dyn RowSink>, time_out: Duration
        ) -> Result<(Selected, Box<dyn RowSink>), Error>;
        async fn sweep(&self, sweep: Sweep) -> Result<u64, Error>;
    }

    ForwardClients to Clients {
        async fn change_clients(&self, changes: &[ClientChange]) -> Result<(), Error>;
        async fn client(&self, scope: &Scope, client: &Client) -> Result<Option<ClientRecord>, Error>;
        async fn clients(
            &self, scope: &Scope, after: Option<&Client>, max: usize
        ) -> Result<Vec<ClientRecord>, Error>;
    }

    ForwardKeys to Keys {
        async fn add_key(&self, key: &KeyRecord) -> Result<(), Error>;
        async fn key(&self, id: &str) -> Result<Option<KeyRecord>, Error>;
        async fn keys(&self) -> Result<Vec<KeyRecord>, Error>;
        async fn revoke_key(&self, id: &str, now: Timestamp) -> Result<(), Error>;
    }

    ForwardTraces to Traces {
        async fn add_steps(&self, records: &[TraceRecord]) -> Result<(), Error>;
        async fn trace(&self, scope: &Scope, trace: Uuid) -> Result<TraceView, Error>;
        async fn add_links(&self, links: &[Link]) -> Result<(), Error>;
        async fn lineage(&self, scope: &Scope, events: &[Uuid], links_max: usize) -> Result<Lineage, Error>;
    }

    ForwardDeliveryLog to DeliveryLog {
        async fn log_attempts(
            &self, endpoint: &Label, attempts: &[DeliveryAttempt], keep: u64
        ) -> Result<(), Error>;
        async fn attempts(
            &self, scope: &Scope, endpoint: &Label, filter: &AttemptFilter, before: Option<u64>, max: usize
        ) -> Result<Vec<LoggedAttempt>, Error>;
        async fn sweep_attempts(&self, before: Timestamp, limit: usize) -> Result<u64, Error>;
    }

    ForwardTurns to Turns {
        async fn turn(&self, name: &str) -> Turn;
    }

    ForwardOrders to Orders {
        fn changes(&self) -> watch::Receiver<u64>;
        async fn accept(&self, order: NewOrder) -> Result<Acceptance, Error>;
        async fn cancel(&self, scope: &Scope, order: EventId, at: Timestamp) -> Result<Order, Error>;
        async fn claim(
            &self, target: &str, max: usize, now: Timestamp, until: Timestamp
        ) -> Result<Vec<Claimed>, Error>;
        async fn advance(&self, lease: Lease, order: EventId, advance: Advance) -> Result<Order, Error>;
        async fn extend(&self, lease: Lease, until: Timestamp) -> Result<(), Error>;
        async fn hand_back(&self, lease: Lease, due: Option<Timestamp>) -> Result<(), Error>;
        async fn touch(&self, release: Uuid, at: Timestamp) -> Result<(), Error>;
        async fn take_over(&self, targets: &[String], at: Timestamp) -> Result<u64, Error>;
        async fn next_due(&self, target: &str, now: Timestamp) -> Result<Option<Timestamp>, Error>;
        async fn untold(&self, max: usize) -> Result<Vec<StateChange>, Error>;
        async fn told(&self, seq: i64) -> Result<(), Error>;
        async fn order(&self, scope: &Scope, id: EventId) -> Result<Option<Order>, Error>;
        async fn orders(
            &self, scope: &Scope, filter: &OrderFilter, after: Option<EventId>, max: usize
        ) -> Result<Vec<Order>, Error>;
        async fn journal(
            &self, scope: &Scope, order: EventId, after: u64, max: usize
        ) -> Result<Vec<JournalEntry>, Error>;
        async fn release(&self, scope: &Scope, id: Uuid) -> Result<Option<Release>, Error>;
        async fn releases(
            &self, scope: &Scope, filter: &ReleaseFilter, after: Option<Uuid>, max: usize
        ) -> Result<Vec<Release>, Error>;
        async fn revision(
            &self, scope: &Scope, release: Uuid, number: u64
        ) -> Result<Option<Revision>, Error>;
        async fn revisions(
            &self, scope: &Scope, release: Uuid, before: Option<u64>, max: usize
        ) -> Result<Vec<Revision>, Error>;
        async fn resources(
            &self, scope: &Scope, filter: &ResourceFilter, max: usize
        ) -> Result<Vec<RevisionResource>, Error>;
        async fn trace_orders(&self, scope: &Scope, trace: Uuid) -> Result<TraceOrders, Error>;
        async fn hash_key(&self) -> Result<[u8; 32], Error>;
        async fn sweep_orders(
            &self, before: Timestamp, keep: u64, untold_for: Duration, limit: usize
        ) -> Result<u64, Error>;
    }
}
