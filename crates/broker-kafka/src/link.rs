//! Keeps the clients of a cluster at work: makes them, sees when they are of no use any
//! more, and makes them anew, with growing pauses and without end.

use std::sync::Arc;
use std::time::Duration;

use orderwire_broker::{Error, ErrorKind};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval_at, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::bindings::{self, Bindings};
use crate::client::Watch;
use crate::error;
use crate::options::Options;
use crate::publisher::Publisher;
use crate::topics::{Topics, Wanted, blocking};

/// How long a connection has to live before its end is a surprise: until then the
/// pauses go on growing.
const STEADY: Duration = Duration::from_secs(10);

/// What is there while there is a connection.
pub(crate) struct Link {
    pub(crate) publisher: Elsewhere<Publisher>,
    pub(crate) bindings: Bindings,
    pub(crate) topics: Topics<Watch>,
    client: Elsewhere<Arc<BaseConsumer<Watch>>>,
    /// Ends the thread that reads the bindings.
    ended: CancellationToken,
}

/// Something whose end may take a while, and does so in a thread of its own.
pub(crate) struct Elsewhere<T: Send + 'static>(Option<T>);

impl<T: Send + 'static> std::ops::Deref for Elsewhere<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl<T: Send + 'static> Drop for Elsewhere<T> {
    fn drop(&mut self) {
        let value = self.0.take();
        if let Err(error) = std::thread::Builder::new().spawn(move || drop(value)) {
            tracing::debug!(%error, "no thread for the end of a client, which takes a moment here");
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

impl Link {
    /// Connects, sees that there is a place for bindings, and reads them.
    ///
    /// # Errors
    /// Why not, within the time-out.
    async fn open(options: &Arc<Options>, suspect: &Arc<Notify>) -> Result<Self, Error> {
        let until = Instant::now() + options.timeout;
        let what = format!("connection to {}", options.place());
        let watch = Watch::new(Arc::clone(suspect));
        let client = bindings::client(options, watch.clone());
        let client = Arc::new(client.map_err(|error| error::of_call(&what, &error))?);
        let topics = Topics::new(Arc::clone(&client), Arc::clone(options));
        let name = bindings::topic(options);
        let listened = CancellationToken::new();
        // What a client tells comes only while somebody asks it.
        let (asked, over) = (Arc::clone(&client), listened.clone());
        let listening = tokio::task::spawn_blocking(move || {
            while !over.is_cancelled() {
                if let Some(Err(error)) = asked.poll(Duration::from_millis(50)) {
                    let reason = error.to_string();
                    rdkafka::client::ClientContext::error(&**asked.context(), error, &reason);
                }
            }
        });
        let listened = listened.drop_guard();
        let made = topics.make(&name, Wanted::bindings(options), false, until).await;
        drop(listened);
        listening.await.map_err(|error| Error::new(ErrorKind::Unavailable, error.to_string()))?;
        made.map_err(|error| match (error.kind(), watch.last()) {
            // The client knows better why nobody answers.
            (ErrorKind::Unavailable, Some(why)) => Error::new(why.kind(), format!("{what}: {why}")),
            _ => Error::new(error.kind(), format!("{what}: {error}")),
        })?;
        let publisher = Publisher::new(options, watch).map_err(|error| error::of_call(&what, &error))?;
        let ended = CancellationToken::new();
        let bindings = Bindings::follow(Arc::clone(&client), Arc::clone(options), ended.clone())?;
        let link = Self {
            publisher: Elsewhere(Some(publisher)),
            bindings,
            topics,
            client: Elsewhere(Some(client)),
            ended,
        };
        link.bindings.catch_up(until).await?;
        Ok(link)
    }

    /// Whether it is of use still.
    async fn look(&self, options: &Options) -> Result<(), Error> {
        if !self.publisher.is_fit() {
            return Err(Error::new(ErrorKind::Unavailable, "the producer gave up"));
        }
        let (client, topic, within) = (Arc::clone(&self.client), bindings::topic(options), options.timeout);
        let answer = blocking(move || client.fetch_metadata(Some(&topic), within).map(drop)).await?;
        answer.map_err(|error| {
            match (self.client.context().last(), error::of_call("ask the cluster", &error)) {
                (Some(why), said) if said.kind() == ErrorKind::Unavailable => why,
                (_, said) => said,
            }
        })
    }
}

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
    pub(crate) fn start(options: &Arc<Options>, closing: CancellationToken) -> Self {
        let (state, watched) = watch::channel(State::Connecting);
        let supervisor = Supervisor { options: Arc::clone(options), closing, state };
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
            Ok(State::Connecting | State::Closed) | Err(_) => Err(error::closed()),
        }
    }

    /// Waits until the connection has ended after `closing` was cancelled.
    pub(crate) async fn ended(&self) {
        let task = self.task.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the supervisor of the connection to the broker ended badly");
        }
    }
}

struct Supervisor {
    options: Arc<Options>,
    closing: CancellationToken,
    state: watch::Sender<State>,
}

impl Supervisor {
    async fn run(self) {
        let closing = self.closing.clone();
        let suspect = Arc::new(Notify::new());
        let mut pause = self.options.pause_first;
        while let Some(opened) = closing.run_until_cancelled(Link::open(&self.options, &suspect)).await {
            let begun = Instant::now();
            let why = match opened {
                Ok(link) => self.hold(link, &suspect).await,
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

    /// Shows the connection until it is of no use any more, or has to end; why.
    async fn hold(&self, link: Link, suspect: &Notify) -> Error {
        let link = Arc::new(link);
        tracing::info!(broker.place = self.options.place(), "connected to the broker");
        self.state.send_replace(State::Up(Arc::clone(&link)));
        let mut look = interval_at(Instant::now() + self.options.session, self.options.session);
        loop {
            tokio::select! {
                () = self.closing.cancelled() => {
                    self.state.send_replace(State::Closed);
                    link.publisher.flush(self.options.timeout).await;
                    return error::closed();
                }
                () = suspect.notified() => {}
                _ = look.tick() => {}
            }
            if let Some(Err(why)) = self.closing.run_until_cancelled(link.look(&self.options)).await {
                return Error::new(why.kind(), format!("connection to {}: {why}", self.options.place()));
            }
        }
    }

    /// Once for each end, not for each attempt.
    fn tell_end(&self, why: &Error) {
        if matches!(*self.state.borrow(), State::Down(_)) {
            tracing::debug!(%why, "not connected to the broker yet");
        } else {
            tracing::warn!(%why, "not connected to the broker; trying again");
        }
    }
}

/// Between half of it and all of it, so that many do not come back at the same moment.
fn spread(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + fastrand::f64() / 2.0)
}
