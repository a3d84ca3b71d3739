//! The reconciler: does what orders ask for and keeps releases running.
//!
//! ```text
//! store.changes ─┐                         ┌─ work: plan → prepare → apply → wait → settle
//! target.changes ┼─→ slots: claim a lease ─┤        restore, remove
//! next due ──────┘     (fair over clients) └─ supervise: a release without an order
//! untold changes ──→ teller ──→ publisher
//! ```
//!
//! All it knows is in the store: what the next thing to do is follows from the
//! order's state, the release's status and the journal, so that going on after a
//! crash is the same code as going on after a pause. What it remembers itself
//! ([`memory`]) only spares work.
//!
//! Invariants: nothing happens without the lease; a revision is written as applied
//! before it is handed to the target, and the number of a key before the key is
//! made; no slot is held while something is waited for; no wait without an end, a
//! wake-up or a pause.

mod calls;
mod carry;
mod change;
mod failure;
mod gates;
mod keys;
mod listener;
mod memory;
mod prepare;
mod remove;
mod slots;
mod stranded;
mod supervise;
mod sweeper;
mod teller;
mod work;

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use orderwire_types::Scope;
use orderwire_worker::Pause;
use tokio_util::sync::CancellationToken;

use crate::provisioner::{Parts, Provisioner};
use memory::Memory;

/// How a reconciler works.
#[derive(Clone, Copy, Debug)]
pub struct ReconcilerOptions {
    /// Whether nobody else works on these targets: then the leases that a former
    /// process held end when this one starts, instead of running out.
    pub sole: bool,
    /// How long a lease lasts; it is prolonged while somebody works under it.
    pub lease: Duration,
    /// How long a release that is not healthy yet is left alone when its target says
    /// nothing.
    pub look_again: Duration,
    /// Pauses between attempts at what is away.
    pub pause: Pause,
    /// The most that a call of a target, of the keys or of the publisher may take;
    /// to calls that may have to wait for processes to end, the target's grace is
    /// added.
    pub call: Duration,
    /// How long a gate may take to answer.
    pub gate: Duration,
    /// How long the work in hand may take when the reconciler is stopped.
    pub drain: Duration,
    /// How often finished things are swept.
    pub sweep: Duration,
    /// How long finished orders and removed releases are kept.
    pub retention: Duration,
    /// How many revisions of a release are kept at least.
    pub revisions: u64,
    /// How long a change that cannot be told is kept.
    pub untold_for: Duration,
}

impl Default for ReconcilerOptions {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            sole: true,
            lease: Duration::from_secs(30),
            look_again: Duration::from_secs(5),
            pause: Pause { first: Duration::from_secs(1), last: Duration::from_secs(60) },
            call: Duration::from_secs(60),
            gate: Duration::from_secs(3),
            drain: Duration::from_secs(15),
            sweep: Duration::from_secs(60),
            retention: 30 * DAY,
            revisions: 20,
            untold_for: DAY,
        }
    }
}

/// Works on orders and releases until it is stopped.
pub struct Reconciler {
    shared: Arc<Shared>,
}

/// What everything in here works with.
struct Shared {
    parts: Parts,
    options: ReconcilerOptions,
    scope: Scope,
    memory: Memory,
    stopping: CancellationToken,
    /// Targets that releases are on and that are not configured, once they are known.
    stranded: OnceLock<Vec<String>>,
}

impl Reconciler {
    /// For the orders of this provisioner, on its targets.
    pub fn new(provisioner: Provisioner, options: ReconcilerOptions) -> Self {
        let shared = Shared {
            parts: provisioner.parts,
            options,
            scope: Scope::internal(ROLE),
            memory: Memory::default(),
            stopping: CancellationToken::new(),
            stranded: OnceLock::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Works until `stop` is ready; then the steps in hand are ended, within the
    /// time for draining, and nothing more is begun. Dropped, it stops where it is;
    /// the next one goes on from there.
    pub async fn run(self, stop: impl Future<Output = ()> + Send) {
        let shared = &self.shared;
        metrics::describe_counter!(
            "orderwire_orders_finished_total",
            "Orders by the state that they ended in"
        );
        metrics::describe_histogram!("orderwire_order_step_seconds", "Steps of orders");
        metrics::describe_gauge!("orderwire_releases_in_work", "Releases that are worked on now, by target");
        metrics::describe_gauge!("orderwire_order_changes_untold", "Changes of orders that wait to be told");
        metrics::describe_counter!(
            "orderwire_order_changes_given_up_total",
            "Changes of orders that could not be told for too long"
        );
        metrics::describe_counter!("orderwire_leases_lost_total", "Releases that somebody else took over");
        let stopper = async {
            stop.await;
            shared.stopping.cancel();
        };
        tokio::join!(
            stopper,
            slots::run(shared),
            stranded::run(shared),
            listener::run(shared),
            teller::run(shared),
            sweeper::run(shared)
        );
    }
}

impl Shared {
    fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }

    /// Sleeps by the clock of the parts; `false` when the reconciler is stopped.
    async fn sleep(&self, time: Duration) -> bool {
        let until = later(self.now(), time);
        tokio::select! {
            () = self.parts.clock.sleep_until(until) => true,
            () = self.stopping.cancelled() => false,
        }
    }
}

/// The role, as traces and records name it.
const ROLE: &str = "provisioner";

/// The moment that lies `by` after `at`.
fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}
