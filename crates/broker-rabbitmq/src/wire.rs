//! Keeps one connection up: makes it, sees its end, and makes it anew, with growing
//! pauses and without end.

use std::sync::Arc;
use std::time::Duration;

use orderwire_broker::{Error, ErrorKind};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::error;
use crate::link::{Link, Purpose};
use crate::options::Options;
use crate::topology::Topology;

/// How long a connection has to live before its end is a surprise: until then the
/// pauses go on growing.
const STEADY: Duration = Duration::from_secs(10);

/// A supervised connection.
pub(crate) struct Wire {
    state: watch::Receiver<State>,
    options: Arc<Options>,
    task: std::sync::Mutex<Option<JoinHandle<()>>>,
}

#[derive(Clone)]
enum State {
    /// The first attempt goes on.
    Connecting,
    Up(Arc<Link>),
    /// Another attempt goes on, or is waited for; why the one before failed.
    Down(Error),
    Closed,
}

impl Wire {
    /// Begins to connect, until `closing` is cancelled.
    pub(crate) fn start(
        options: &Arc<Options>,
        purpose: Purpose,
        topology: &Arc<Topology>,
        closing: CancellationToken,
    ) -> Self {
        let (state, watched) = watch::channel(State::Connecting);
        let supervisor = Supervisor {
            options: Arc::clone(options),
            purpose,
            topology: Arc::clone(topology),
            closing,
            state,
        };
        let task = tokio::spawn(supervisor.run());
        Self { state: watched, options: Arc::clone(options), task: Some(task).into() }
    }

    /// The connection. Only the first attempt is waited for: later the last failure is
    /// told at once.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn link(&self) -> Result<Arc<Link>, Error> {
        let mut state = self.state.clone();
        let known = state.wait_for(|state| !matches!(state, State::Connecting));
        let known = timeout(self.options.timeout, known).await;
        let late = || error::late(&format!("connection to {}", self.options.place()), self.options.timeout);
        match known.map_err(|_| late())?.as_deref() {
            Ok(State::Up(link)) => Ok(Arc::clone(link)),
            Ok(State::Down(error)) => Err(error.clone()),
            Ok(State::Connecting | State::Closed) | Err(_) => {
                Err(Error::new(ErrorKind::Unavailable, "the connection to the broker was closed"))
            }
        }
    }

    /// Waits until the connection has ended after `closing` was cancelled.
    pub(crate) async fn ended(&self) {
        let task = self.task.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the supervisor of a connection to the broker ended badly");
        }
    }
}

struct Supervisor {
    options: Arc<Options>,
    purpose: Purpose,
    topology: Arc<Topology>,
    closing: CancellationToken,
    state: watch::Sender<State>,
}

impl Supervisor {
    async fn run(self) {
        let closing = self.closing.clone();
        let mut pause = self.options.pause_first;
        while let Some(opened) = closing.run_until_cancelled(self.open()).await {
            let begun = Instant::now();
            let why = match opened {
                Ok(link) => {
                    self.hold(link).await;
                    let place = self.options.place();
                    Error::new(ErrorKind::Unavailable, format!("connection to {place}: it ended"))
                }
                Err(why) => why,
            };
            if closing.is_cancelled() {
                break;
            }
            if begun.elapsed() >= STEADY {
                pause = self.options.pause_first;
            }
            self.tell_end(&why);
            self.state.send_replace(State::Down(why));
            if closing.run_until_cancelled(sleep(spread(pause))).await.is_none() {
                break;
            }
            pause = pause.saturating_mul(2).min(self.options.pause_last);
        }
        self.state.send_replace(State::Closed);
    }

    async fn open(&self) -> Result<Link, Error> {
        Link::open(&self.options, self.purpose, &self.topology).await
    }

    /// Shows the connection until it ends, or has to.
    async fn hold(&self, link: Link) {
        let link = Arc::new(link);
        tracing::info!(broker.place = self.options.place(), purpose = ?self.purpose, "connected to the broker");
        self.state.send_replace(State::Up(Arc::clone(&link)));
        tokio::select! {
            () = link.ended.cancelled() => {}
            () = self.closing.cancelled() => {
                self.state.send_replace(State::Closed);
            }
        }
        link.close(self.options.timeout).await;
    }

    /// Once for each end, not for each attempt.
    fn tell_end(&self, why: &Error) {
        if matches!(*self.state.borrow(), State::Down(_)) {
            tracing::debug!(%why, purpose = ?self.purpose, "not connected to the broker yet");
        } else {
            tracing::warn!(%why, purpose = ?self.purpose, "not connected to the broker; trying again");
        }
    }
}

/// Between half of it and all of it, so that many do not come back at the same moment.
fn spread(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + fastrand::f64() / 2.0)
}
