//! Who waits at a queue, and how they are woken.

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// The place where consumers of one queue wait.
///
/// Consumers of all clients stand in line: one event wakes the one that has
/// waited longest, who wakes the next when there is more than it could take.
/// Consumers of some clients, and readers with a position of their own, cannot
/// stand in that line, because the one woken may have no use for the event;
/// they are woken together.
///
/// No wake-up is lost: a waiter enters the line before it looks whether there
/// is anything, and one that leaves the line after it was woken passes the
/// wake-up on ([`Notify`] does that when it is dropped).
#[derive(Default)]
pub(crate) struct Gate {
    line: Notify,
    crowd: Notify,
}

/// Where to wait.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// One after the other.
    Line,
    /// All together.
    Crowd,
}

impl Gate {
    /// A waiter; call `enable` on it before looking.
    pub(crate) fn waiter(&self, place: Place) -> Notified<'_> {
        match place {
            Place::Line => self.line.notified(),
            Place::Crowd => self.crowd.notified(),
        }
    }

    /// Something may be there.
    pub(crate) fn wake(&self) {
        self.line.notify_one();
        self.crowd.notify_waiters();
    }
}
