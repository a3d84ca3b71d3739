//! What one process of those that share a database does alone: an advisory lock, kept by a
//! connection of its own for as long as that lives.
//!
//! Whoever is gone loses it: with its connection when the process ends, and soon after when
//! its machine does, because the server is told to ask for signs of life.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::{Connection, Database};
use crate::error::Error;

/// The first half of the key of these locks, "owal".
const CLASS: i32 = 0x6f77_616c;
/// How often who waits looks whether it is free, and the pause before a new connection.
const LOOK: Duration = Duration::from_millis(500);
/// How often who has it looks whether its connection lives.
const BEAT: Duration = Duration::from_secs(2);
/// What the server is told: a client that gives no sign of life for about 15 s is gone.
const SIGNS: &str = "SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 3; SET tcp_keepalives_count = 3; \
                     SET tcp_user_timeout = 15000";

/// The lock, as long as the value and its connection live.
#[derive(Debug)]
pub(crate) struct Hold {
    /// Its sender is gone when it is lost.
    pub(crate) alive: watch::Receiver<()>,
    _beating: AbortOnDropHandle<()>,
}

impl Hold {
    /// Waits until nobody has the lock of this name, and takes it.
    pub(crate) async fn take(database: Database, name: &str) -> Self {
        let mut well = true;
        loop {
            match wait(&database, name).await {
                Ok(connection) => return Self::of(database, connection),
                Err(error) => {
                    if well {
                        tracing::warn!(%error, hold = name, "waiting for the database, to do alone what one does alone");
                    }
                    well = false;
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn of(database: Database, connection: Connection) -> Self {
        let (kept, alive) = watch::channel(());
        let beating = tokio::spawn(async move {
            let _kept = kept;
            while !connection.is_closed() {
                tokio::time::sleep(BEAT).await;
                let beat = connection.simple_query("");
                if database.within("holding a lock", beat).await.is_err() {
                    return;
                }
            }
        });
        Self { alive, _beating: AbortOnDropHandle::new(beating) }
    }
}

/// A connection that has the lock.
async fn wait(database: &Database, name: &str) -> Result<Connection, Error> {
    let what = "waiting for a lock";
    let connection = database.connect(what).await?;
    database.within(what, connection.batch_execute(SIGNS)).await?;
    loop {
        let ask = "SELECT pg_try_advisory_lock($1, hashtext($2))";
        if database.within(what, connection.query_one(ask, &[&CLASS, &name])).await?.get(0) {
            return Ok(connection);
        }
        tokio::time::sleep(LOOK).await;
    }
}
