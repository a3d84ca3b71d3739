//! In what brokers differ, as data.

/// What survives when a confirmed message is followed by a fault of the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// The end of the broker's process: the message was handed to the operating
    /// system, not synchronised to the device.
    Process,
    /// The loss of power as well: synchronised, or held by a majority of nodes that do.
    Power,
}

/// In which order a consumer gets what one publisher published one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ordering {
    /// As published, redelivered messages aside.
    Queue,
    /// As published among messages of the same key, redelivered messages aside.
    Key,
}

/// What becomes of messages that nobody takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// They stay until they are acked.
    UntilAcked,
    /// They go when the limits of the broker's own configuration are reached.
    Limited,
}

/// What a broker can do. Shown in the documentation; nobody asks for a broker's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The broker's name, for people.
    pub name: &'static str,
    /// What a confirmed message survives, with the settings that a declaration by
    /// Orderwire makes.
    pub durability: Durability,
    /// The order of delivery.
    pub ordering: Ordering,
    /// What becomes of messages that nobody takes.
    pub retention: Retention,
    /// The largest body that it takes, in bytes.
    pub body_bytes_max: usize,
    /// Whether a published message that no queue takes is reported as
    /// [`crate::ErrorKind::Unroutable`]; otherwise it is dropped or kept for nobody.
    pub reports_unroutable: bool,
    /// Whether it routes by every pattern of types itself. Otherwise a consumer may
    /// also get messages whose type its queue does not take, and has to pass them over.
    pub routes_by_pattern: bool,
}
