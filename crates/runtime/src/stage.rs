//! Tasks that stop together, in their turn of the drain.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::error::Error;

/// Tasks that stop together.
pub(crate) struct Stage {
    name: &'static str,
    pub(crate) stop: CancellationToken,
    tasks: JoinSet<&'static str>,
    /// How long they may take to stop.
    patience: Duration,
}

impl Stage {
    pub(crate) fn new(name: &'static str, patience: Duration) -> Self {
        Self { name, stop: CancellationToken::new(), tasks: JoinSet::new(), patience }
    }

    pub(crate) fn spawn<T: Send>(
        &mut self,
        name: &'static str,
        task: impl Future<Output = T> + Send + 'static,
    ) {
        self.tasks.spawn(async move {
            task.await;
            name
        });
    }

    /// Ends when one of the tasks does, which none may while the server runs.
    pub(crate) async fn fault(&mut self) -> Error {
        match self.tasks.join_next().await {
            Some(Ok(name)) => Error::failed(format!("{name} ended without being asked to; see the log")),
            Some(Err(error)) => Error::failed(format!("a task of {} failed: {error}", self.name)),
            None => std::future::pending().await,
        }
    }

    pub(crate) async fn drain(mut self) -> Result<(), Error> {
        self.stop.cancel();
        let all = async {
            let mut failed = None;
            while let Some(ended) = self.tasks.join_next().await {
                if let Err(error) = ended {
                    failed = Some(Error::failed(format!("a task of {} failed: {error}", self.name)));
                }
            }
            failed
        };
        match tokio::time::timeout(self.patience, all).await {
            Ok(None) => Ok(()),
            Ok(Some(error)) => Err(error),
            Err(_) => Err(Error::failed(format!(
                "{} did not stop within {:?}; nothing acknowledged is lost, it goes on at the next start",
                self.name, self.patience
            ))),
        }
    }
}
