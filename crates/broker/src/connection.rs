//! A connection that is kept: made, watched, and made anew when it ends, with growing
//! pauses and without end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind};

/// How long a connection has to live before its end is a surprise: until then the
/// pauses go on growing.
const STEADY: Duration = Duration::from_secs(10);

/// What makes the connections of a broker, one after another.
#[async_trait]
pub trait Connector: Send + Sync + 'static {
    /// What is there while there is a connection.
    type Link: Send + Sync + 'static;

    /// Connects, and makes everything as it was on the connection before.
    ///
    /// # Errors
    /// Why not, within the time-out.
    async fn open(&self) -> Result<Self::Link, Error>;

    /// Waits until a connection is of no use any more, and ends what is left of it; why it
    /// is. Given up when the broker closes.
    async fn lost(&self, link: &Self::Link) -> Error;

    /// Ends a connection in good order, within the time-out.
    async fn close(&self, link: &Self::Link);
}

/// How a connection is kept.
#[derive(Clone, Debug)]
pub struct Keeping {
    /// Where the server is, for people; without credentials.
    pub place: String,
    /// What the connection is for, for the log.
    pub purpose: &'static str,
    /// How long whoever needs it waits for the first attempt.
    pub timeout: Duration,
    /// The pause after the first failed attempt; doubled after each.
    pub pause_first: Duration,
    /// The longest pause between two attempts.
    pub pause_last: Duration,
}

/// A connection that is kept by a task of its own.
pub struct Connection<Link> {
    state: watch::Receiver<State<Link>>,
    keeping: Keeping,
    task: Mutex<Option<JoinHandle<()>>>,
}

enum State<Link> {
    /// The first attempt goes on.
    Connecting,
    Up(Arc<Link>),
    /// Another attempt goes on, or is waited for; why the one before failed.
    Down(Error),
    Closed,
}

impl<Link: Send + Sync + 'static> Connection<Link> {
    /// Begins to connect, until `closing` is cancelled.
    pub fn keep(
        connector: impl Connector<Link = Link>,
        keeping: Keeping,
        closing: CancellationToken,
    ) -> Self {
        let (state, watched) = watch::channel(State::Connecting);
        let supervisor = Supervisor { connector, keeping: keeping.clone(), closing, state };
        let task = tokio::spawn(supervisor.run());
        Self { state: watched, keeping, task: Some(task).into() }
    }

    /// What is there while it is connected. Only the first attempt is waited for: later the
    /// last failure is told at once.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn link(&self) -> Result<Arc<Link>, Error> {
        let mut state = self.state.clone();
        let known = state.wait_for(|state| !matches!(state, State::Connecting));
        let known = timeout(self.keeping.timeout, known).await;
        let late = || Error::late(&format!("connection to {}", self.keeping.place), self.keeping.timeout);
        match known.map_err(|_| late())?.as_deref() {
            Ok(State::Up(link)) => Ok(Arc::clone(link)),
            Ok(State::Down(error)) => Err(error.clone()),
            Ok(State::Connecting | State::Closed) | Err(_) => Err(Error::closed()),
        }
    }

    /// The same for a publish of so many messages, which fails with an answer to each.
    ///
    /// # Errors
    /// The answers. What is wrong with the connection is no fault of the messages, so that
    /// it is `Refused` where it is not about to change.
    pub async fn link_for(
        &self,
        messages: usize,
        until: Instant,
    ) -> Result<Arc<Link>, Vec<Result<(), Error>>> {
        let error = match timeout_at(until, self.link()).await {
            Ok(Ok(link)) => return Ok(link),
            Ok(Err(error)) if !error.is_retryable() => Error::new(ErrorKind::Refused, error.to_string()),
            Ok(Err(error)) => error,
            Err(_) => Error::late("publish", self.keeping.timeout),
        };
        Err(error.for_each(messages))
    }

    /// Waits until it has ended after `closing` was cancelled.
    pub async fn ended(&self) {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the supervisor of a connection to the broker ended badly");
        }
    }
}

struct Supervisor<C: Connector> {
    connector: C,
    keeping: Keeping,
    closing: CancellationToken,
    state: watch::Sender<State<C::Link>>,
}

impl<C: Connector> Supervisor<C> {
    async fn run(self) {
        let closing = self.closing.clone();
        let mut pause = self.keeping.pause_first;
        while let Some(opened) = closing.run_until_cancelled(self.connector.open()).await {
            let begun = Instant::now();
            let why = match opened {
                Ok(link) => self.hold(link).await,
                Err(why) => why,
            };
            if closing.is_cancelled() {
                break;
            }
            if begun.elapsed() >= STEADY {
                pause = self.keeping.pause_first;
            }
            self.tell_end(&why);
            self.state.send_replace(State::Down(why));
            if closing.run_until_cancelled(sleep(spread(pause))).await.is_none() {
                break;
            }
            pause = pause.saturating_mul(2).min(self.keeping.pause_last);
        }
        self.state.send_replace(State::Closed);
    }

    /// Shows the connection until it is of no use any more, or has to end; why.
    async fn hold(&self, link: C::Link) -> Error {
        let link = Arc::new(link);
        let Keeping { place, purpose, .. } = &self.keeping;
        tracing::info!(broker.place = place, purpose, "connected to the broker");
        self.state.send_replace(State::Up(Arc::clone(&link)));
        if let Some(why) = self.closing.run_until_cancelled(self.connector.lost(&link)).await {
            return why;
        }
        self.state.send_replace(State::Closed);
        self.connector.close(&link).await;
        Error::closed()
    }

    /// Once for each end, not for each attempt.
    fn tell_end(&self, why: &Error) {
        let purpose = self.keeping.purpose;
        if matches!(*self.state.borrow(), State::Down(_)) {
            tracing::debug!(%why, purpose, "not connected to the broker yet");
        } else {
            tracing::warn!(%why, purpose, "not connected to the broker; trying again");
        }
    }
}

/// Between half of it and all of it, so that many do not come back at the same moment.
fn spread(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + fastrand::f64() / 2.0)
}

/// The answer to a call; one that does not come within this time is an error.
///
/// # Errors
/// What the call says, or `Unavailable`.
pub async fn in_time<T>(
    within: Duration,
    what: &str,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    timeout(within, call).await.unwrap_or_else(|_| Err(Error::late(what, within)))
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use tokio::sync::Notify;

    use super::*;

    /// Answers as it was told, then for good as the last time.
    struct Told {
        answers: Mutex<VecDeque<Result<u32, ErrorKind>>>,
        opened: watch::Sender<u32>,
        cut: Arc<Notify>,
        closed: watch::Sender<u32>,
    }

    #[async_trait]
    impl Connector for Told {
        type Link = u32;

        async fn open(&self) -> Result<u32, Error> {
            self.opened.send_modify(|count| *count += 1);
            let mut answers = self.answers.lock().unwrap();
            let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().copied() };
            answer.unwrap().map_err(|kind| Error::new(kind, "as told"))
        }

        async fn lost(&self, _: &u32) -> Error {
            self.cut.notified().await;
            Error::new(ErrorKind::Unavailable, "cut")
        }

        async fn close(&self, link: &u32) {
            self.closed.send_replace(*link);
        }
    }

    struct Bench {
        connection: Connection<u32>,
        opened: watch::Receiver<u32>,
        closed: watch::Receiver<u32>,
        cut: Arc<Notify>,
        closing: CancellationToken,
    }

    fn start(answers: &[Result<u32, ErrorKind>]) -> Bench {
        let (cut, closing) = (Arc::new(Notify::new()), CancellationToken::new());
        let ((opened, of_opened), (closed, of_closed)) = (watch::channel(0), watch::channel(0));
        let answers = Mutex::new(answers.iter().copied().collect());
        let connector = Told { answers, opened, cut: Arc::clone(&cut), closed };
        let keeping = Keeping {
            place: "there".to_owned(),
            purpose: "test",
            timeout: Duration::from_secs(5),
            pause_first: Duration::from_secs(1),
            pause_last: Duration::from_secs(4),
        };
        let connection = Connection::keep(connector, keeping, closing.clone());
        Bench { connection, opened: of_opened, closed: of_closed, cut, closing }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_attempt_is_waited_for_and_a_failure_told_at_once() {
        let mut bench = start(&[Err(ErrorKind::Unavailable), Ok(7)]);
        assert_eq!(bench.connection.link().await.unwrap_err().to_string(), "as told");
        let now = Instant::now();
        assert!(bench.connection.link().await.is_err());
        assert_eq!(now.elapsed(), Duration::ZERO);
        bench.opened.wait_for(|count| *count == 2).await.unwrap();
        tokio::task::yield_now().await;
        assert_eq!(*bench.connection.link().await.unwrap(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_ends_is_made_anew() {
        let mut bench = start(&[Ok(1), Ok(2)]);
        assert_eq!(*bench.connection.link().await.unwrap(), 1);
        bench.cut.notify_one();
        bench.opened.wait_for(|count| *count == 2).await.unwrap();
        tokio::task::yield_now().await;
        assert_eq!(*bench.connection.link().await.unwrap(), 2);
        assert_eq!(*bench.closed.borrow(), 0, "who has gone is not closed");
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_up_to_a_limit() {
        let mut bench = start(&[Err(ErrorKind::Unavailable)]);
        bench.opened.wait_for(|count| *count == 1).await.unwrap();
        for (attempt, most) in [(2, 1), (3, 2), (4, 4), (5, 4), (6, 4)] {
            let begun = Instant::now();
            bench.opened.wait_for(|count| *count == attempt).await.unwrap();
            let (paused, most) = (begun.elapsed(), Duration::from_secs(most));
            assert!(paused >= most / 2 && paused <= most, "{paused:?} before attempt {attempt}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn closing_ends_the_connection_in_good_order_and_for_good() {
        let bench = start(&[Ok(3)]);
        bench.connection.link().await.unwrap();
        bench.closing.cancel();
        bench.connection.ended().await;
        assert_eq!(*bench.closed.borrow(), 3);
        let error = bench.connection.link().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(*bench.opened.borrow(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_change_by_itself_is_no_fault_of_the_messages() {
        let until = Instant::now() + Duration::from_secs(5);
        for (said, answered) in
            [(ErrorKind::Unsupported, ErrorKind::Refused), (ErrorKind::Unavailable, ErrorKind::Unavailable)]
        {
            let answers = start(&[Err(said)]).connection.link_for(2, until).await.unwrap_err();
            let kinds = answers.into_iter().map(|answer| answer.unwrap_err().kind());
            assert_eq!(kinds.collect::<Vec<_>>(), [answered, answered]);
        }
    }
}
