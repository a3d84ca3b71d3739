//! The settings of the scheduler.

use std::time::Duration;

use orderwire_types::Limits;

/// What one answer with bodies holds, in bytes.
const LEASE_BYTES: usize = 8 << 20;

/// How much the scheduler takes, and how long it keeps.
#[derive(Clone, Debug)]
pub struct Options {
    /// The most unsettled events of one queue; beyond it a publish is `Full`.
    pub queue_events: u64,
    /// The most deliveries of one lease; a request for more gets this many.
    pub lease_deliveries: usize,
    /// The delivery, entry or letter whose body reaches this many bytes, all
    /// bodies of the answer together, is the answer's last one. Also how much
    /// one commit of a replay puts back.
    pub lease_bytes: usize,
    /// The longest wait of a long poll; a longer one is cut.
    pub wait_max: Duration,
    /// The longest lease; a longer one is cut.
    pub lease_max: Duration,
    /// How long a call waits for its commit before it is `Unconfirmed`.
    pub call_timeout: Duration,
    /// How long the first operation of a group waits for others. Zero is right
    /// wherever a commit takes time itself: what arrives meanwhile is the next group.
    pub group_window: Duration,
    /// The most operations and events of one group.
    pub group_ops: usize,
    /// The most bytes of events of one group; a single larger call goes alone.
    pub group_bytes: usize,
    /// The most calls that wait for a commit; beyond it a call is `Unavailable`.
    pub pending_calls: usize,
    /// How many event types' routes are remembered.
    pub cached_routes: usize,
    /// How long ids that producers named are remembered.
    pub remembered_for: Duration,
    /// How long trace steps are kept.
    pub traces_for: Duration,
    /// How long dead letters are kept.
    pub dead_for: Duration,
    /// The pause between two sweeps of what is past its retention.
    pub sweep_every: Duration,
    /// The pause between two looks at the queues' figures.
    pub figures_every: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self::from(&Limits::default())
    }
}

impl From<&Limits> for Options {
    /// The server's limits, and defaults for the rest.
    fn from(limits: &Limits) -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            queue_events: limits.queue_events,
            lease_deliveries: limits.lease_max,
            lease_bytes: LEASE_BYTES,
            wait_max: Duration::from_millis(limits.wait_ms_max),
            lease_max: Duration::from_millis(limits.lease_ms_max),
            call_timeout: Duration::from_secs(30),
            group_window: Duration::ZERO,
            group_ops: 4_096,
            group_bytes: 16 << 20,
            pending_calls: 2 * limits.concurrent_requests,
            cached_routes: 4_096,
            remembered_for: DAY,
            traces_for: 7 * DAY,
            dead_for: 30 * DAY,
            sweep_every: Duration::from_secs(60),
            figures_every: Duration::from_secs(10),
        }
    }
}

impl Options {
    /// Small limits, so that tests reach them.
    pub fn for_testing() -> Self {
        Self {
            queue_events: 100_000,
            lease_deliveries: 1_000,
            pending_calls: 256,
            group_ops: 64,
            cached_routes: 4,
            ..Self::default()
        }
    }
}
