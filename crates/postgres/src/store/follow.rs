//! Following what other processes change: they tell it (NOTIFY), and as a message may be
//! lost, the database is looked at now and then as well.
//!
//! It is told apart from the transaction that changed something: NOTIFY has all
//! transactions of the server that tell something commit one after the other.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::open::Shared;
use super::session::read;
use crate::db::{Heard, Listener};

/// The channel on which it is told that datasets or orders changed. The message says who did.
const CHANNEL: &str = "orderwire_datasets";

/// How often the database is looked at without having been told to.
const LOOK: Duration = Duration::from_millis(400);

/// The shortest pause between two looks, and between two messages.
const PAUSE: Duration = Duration::from_millis(50);

/// The tasks that listen, that look, and that tell.
pub(super) fn spawn(shared: &Arc<Shared>) -> (Listener, JoinHandle<()>, JoinHandle<()>) {
    let us = format!("{:016x}", fastrand::u64(..));
    let look = Arc::new(Notify::new());
    let heard = {
        let (us, look) = (us.clone(), look.clone());
        move |heard| match heard {
            Heard::Told { payload, .. } if payload == us => {}
            Heard::Told { .. } | Heard::Listening => look.notify_one(),
        }
    };
    let listener = Listener::spawn(shared.database.clone(), &[CHANNEL], heard);
    (listener, tokio::spawn(follow(shared.clone(), look)), tokio::spawn(tell(shared.clone(), us)))
}

async fn follow(shared: Arc<Shared>, look: Arc<Notify>) {
    let mut well = true;
    loop {
        // Either is a reason to look.
        let _ = tokio::time::timeout(LOOK, look.notified()).await;
        let followed = shared.follow().await;
        match &followed {
            Err(error) if well => tracing::warn!(%error, "changes of datasets by others are not seen now"),
            Ok(()) if !well => tracing::info!("changes of datasets by others are seen again"),
            _ => {}
        }
        well = followed.is_ok();
        tokio::time::sleep(PAUSE).await;
    }
}

async fn tell(shared: Arc<Shared>, us: String) {
    let mut changes = shared.changed.subscribe();
    while changes.changed().await.is_ok() {
        let telling = read!(&shared.database, "telling of a change", |session| {
            session.rows("SELECT pg_notify($1, $2)", &[&CHANNEL, &us]).await
        });
        if let Err(error) = telling {
            // They see it a moment later.
            tracing::debug!(%error, "others were not told of a change of datasets");
        }
        tokio::time::sleep(PAUSE).await;
    }
}
