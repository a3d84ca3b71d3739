//! The largest body that the server takes, which it says only when it gets a larger one: by ending
//! the channel, with all that is on its way there.

use std::sync::atomic::{AtomicUsize, Ordering};

use orderwire_broker::{Error, ErrorKind};

use crate::error;

/// What is known of it; for all connections, one after the other.
#[derive(Debug)]
pub(crate) struct Largest(AtomicUsize);

impl Largest {
    /// Nothing is known but our own limit, in bytes.
    pub(crate) fn new(own: usize) -> Self {
        Self(AtomicUsize::new(own))
    }

    /// Whether a body of so many bytes may be taken.
    ///
    /// # Errors
    /// `TooLarge`.
    pub(crate) fn fits(&self, id: &str, bytes: usize) -> Result<(), Error> {
        let most = self.0.load(Ordering::SeqCst);
        if bytes <= most {
            return Ok(());
        }
        let why = format!("publish message {id}: its body has {bytes} bytes, {most} are the most");
        Err(Error::new(ErrorKind::TooLarge, why))
    }

    /// Hears what the server said when it ended a channel.
    pub(crate) fn hear(&self, said: &lapin::Error) {
        let Some(most) = error::largest(said) else { return };
        if self.0.fetch_min(most, Ordering::SeqCst) > most {
            tracing::warn!(
                bytes = most,
                "the broker takes only smaller messages than was known (max_message_size); larger ones go \
                 straight into the queues here from now on"
            );
        }
    }
}
