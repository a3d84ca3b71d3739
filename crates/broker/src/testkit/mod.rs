//! The conformance suite of brokers: every promise of [`crate::Broker`] and
//! [`crate::Consumer`] as a named case that any broker can be put to.
//!
//! The crate of a broker calls it from its tests with one line per set-up:
//!
//! ```text
//! orderwire_broker::broker_conformance!(my_server().await.map(MyFactory::arc));
//! ```
//!
//! Cases may run at the same time on one real server: each has a name of its own, of
//! which the names of its queues and the first word of its types are made, and messages
//! of others are passed over. What a case declared is removed at its end. Waits are for
//! something that comes; that nothing comes is seen by a short wait, in the few cases that
//! cannot see it otherwise. A case reports what is broken as an error instead of a panic,
//! so that [`twins`] can show that the suite notices.

mod bench;
mod cases;
mod model;
mod page;
pub mod tools;
pub mod twins;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use orderwire_types::QueueName;

pub use self::cases::cases;
pub use self::model::{CAPABILITIES as MODEL_CAPABILITIES, ModelBroker, ModelPlace};
pub use self::page::documented;
use crate::contract::Broker;

/// Opens brokers on one place (a server, a cluster) that outlives them.
#[async_trait]
pub trait Factory: Send + Sync {
    /// Opens a broker that is connected. Called again for one that stands beside the
    /// others, as of another process, and after one was dropped, closed or not; all that
    /// was confirmed must be there then.
    ///
    /// # Errors
    /// Why it cannot be opened, in plain words.
    async fn open(&self) -> Result<Arc<dyn Broker>, String>;

    /// Makes a queue of this name as other people do, with arguments that neither
    /// [`crate::Declare::Classic`] nor [`crate::Declare::Quorum`] asks for, and that can
    /// be adopted. `false` where all queues are alike.
    ///
    /// # Errors
    /// Why it cannot be made, in plain words.
    async fn occupy(&self, queue: &QueueName) -> Result<bool, String>;

    /// Removes these queues, of which some may not be there.
    ///
    /// # Errors
    /// Why they cannot be removed, in plain words.
    async fn remove(&self, queues: &[QueueName]) -> Result<(), String>;

    /// How long a case waits for what has to come. More than it ever takes: it ends only
    /// cases that fail.
    fn patience(&self) -> Duration {
        Duration::from_secs(20)
    }
}

/// A case of the suite.
pub type Case = orderwire_types::testkit::Case<dyn Factory>;

/// Puts a broker to the case of this name; for [`crate::broker_conformance`]. Without a
/// factory nothing is checked: who has none says so loudly.
///
/// # Panics
/// When the broker breaks the promise.
pub async fn check(name: &str, factory: Option<Arc<dyn Factory>>) {
    let case = cases().into_iter().find(|case| case.name == name).expect("a case of this name");
    let Some(factory) = factory else { return };
    if let Err(broken) = case.run(factory).await {
        panic!("{name}: {broken}");
    }
}
