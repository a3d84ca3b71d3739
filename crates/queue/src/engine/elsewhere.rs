//! What happens to the same data through other processes.

use jiff::Timestamp;
use orderwire_types::QueueName;

/// What other processes did, where an engine is [shared](super::Capabilities::shared).
///
/// Hints, all of them: what they say is looked at before anything is done. Some of what this
/// process did itself may be among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elsewhere {
    /// Queues in which a lane became ready or an entry arrived: wake their consumers.
    pub ready: Vec<QueueName>,
    /// Whether definitions changed: read them anew.
    pub definitions: bool,
    /// When the next lease runs out or delayed lane becomes ready, where that may be
    /// news: run [`Op::Expire`](super::Op::Expire) then, because who handed out the
    /// lease may be gone.
    pub next_expiry: Option<Timestamp>,
}
