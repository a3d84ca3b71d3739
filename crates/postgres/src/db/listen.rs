//! The connection that listens: what other processes tell through the database.

use std::future::poll_fn;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::task::JoinHandle;
use tokio_postgres::{AsyncMessage, Client};

use super::Database;
use crate::error::{Error, ErrorKind};

/// The pause before the first attempt to come back, and the longest one.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// What was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It listens, for the first time or again: what was told before was not heard.
    Listening,
    /// Somebody told this on a channel; it may have been us.
    Told {
        /// The channel.
        channel: String,
        /// What.
        payload: String,
    },
}

/// A task that listens until it is dropped. It comes back by itself, with pauses.
#[derive(Debug)]
pub(crate) struct Listener {
    task: JoinHandle<()>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Listener {
    /// Listens on these channels, names in lower case that need no quotes. `on` is called
    /// within the task that reads the socket: it must not take long.
    pub(crate) fn spawn(
        database: Database,
        channels: &'static [&'static str],
        mut on: impl FnMut(Heard) + Send + 'static,
    ) -> Self {
        let task = tokio::spawn(async move {
            let mut pause = PAUSES.0;
            loop {
                let mut listened = false;
                let ended = listen(&database, channels, &mut |heard| {
                    listened = true;
                    on(heard);
                })
                .await;
                if listened {
                    pause = PAUSES.0;
                }
                tracing::warn!(error = %ended, "the connection that listens ended; it comes back");
                tokio::time::sleep(pause.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
                pause = (pause * 2).min(PAUSES.1);
            }
        });
        Self { task }
    }
}

/// Listens until the connection ends, and says why it did.
async fn listen(database: &Database, channels: &[&str], on: &mut (dyn FnMut(Heard) + Send)) -> Error {
    let what = "listening";
    let connecting = database.config.connect(database.tls.clone());
    let (client, mut connection) = match database.within(what, connecting).await {
        Ok(connected) => connected,
        Err(error) => return error,
    };
    let mut begun = Box::pin(database.within(what, begin(&client, channels)).fuse());
    let mut beginning = true;
    loop {
        // Whoever drives the connection hears what it says.
        let message = poll_fn(|cx| connection.poll_message(cx));
        tokio::select! {
            begun = &mut begun, if beginning => match begun {
                Ok(()) => {
                    beginning = false;
                    on(Heard::Listening);
                }
                Err(error) => return error,
            },
            message = message => match message {
                Some(Ok(AsyncMessage::Notification(told))) => {
                    on(Heard::Told { channel: told.channel().to_owned(), payload: told.payload().to_owned() });
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Error::postgres(what, &error),
                None => return Error::new(ErrorKind::Unavailable, "listening: the server closed the connection"),
            },
        }
    }
}

async fn begin(client: &Client, channels: &[&str]) -> Result<(), tokio_postgres::Error> {
    let listens: Vec<_> = channels.iter().map(|channel| format!("LISTEN {channel}")).collect();
    client.batch_execute(&listens.join("; ")).await
}
