//! What the provisioner needs from others, as narrow ports that the runtime
//! fills.

use async_trait::async_trait;
use orderwire_types::{Client, Event, Right};

/// Makes and revokes the keys of releases.
#[async_trait]
pub trait ReleaseKeys: Send + Sync + 'static {
    /// Makes a key with this public id (16 hex digits), limited to the client, the
    /// rights and the objects, and returns its text, which is shown here and never
    /// again. `name` says which release it is for.
    ///
    /// # Errors
    /// In plain words, when the store fails or the id is taken.
    async fn make(
        &self,
        id: &str,
        name: &str,
        client: &Client,
        rights: &[Right],
        objects: &[String],
    ) -> Result<String, String>;

    /// Revokes a key, at once and for good. One that does not exist is no error.
    ///
    /// # Errors
    /// In plain words, when the store fails.
    async fn revoke(&self, id: &str) -> Result<(), String>;
}

/// Publishes events of the provisioner's own.
#[async_trait]
pub trait Publisher: Send + Sync + 'static {
    /// Makes events durable in the queues that take them and have room; each is named by
    /// its id, so that a repetition within a day is known as one. An event that no
    /// queue takes is dropped; what a full queue does not get is said in the log and
    /// counted, and not kept for it: others are not made to wait for it.
    ///
    /// # Errors
    /// In plain words; the same call may succeed later.
    async fn publish(&self, events: Vec<Event>) -> Result<(), String>;
}
