//! The line to the server: one connection for all, made anew when it gave no answer.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult,
};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::options::Options;
use crate::Error;

/// How long a connection has to live before its end is a surprise: until then the
/// pauses go on growing.
const STEADY: Duration = Duration::from_secs(10);

/// A connection that is kept by a task of its own.
#[derive(Debug)]
pub(super) struct Line {
    shared: Arc<Shared>,
    first_attempt: Duration,
    _ends: DropGuard,
}

#[derive(Debug)]
struct Shared {
    /// Where the server is, for people.
    place: String,
    timeout: Duration,
    /// So long a server that keeps nothing is given nothing.
    rest: Duration,
    state: watch::Sender<State>,
}

#[derive(Clone, Debug)]
enum State {
    /// The first attempt goes on.
    Connecting,
    Up(Up),
    /// Another attempt goes on, or is waited for; why the one before failed.
    Away(String),
}

#[derive(Clone, Debug)]
struct Up {
    /// The number of the connection. Each has its own.
    number: u64,
    connection: MultiplexedConnection,
    refusal: Option<Refusal>,
}

/// The server answers, and keeps nothing.
#[derive(Clone, Debug)]
struct Refusal {
    why: String,
    at: Instant,
}

/// Why a call failed.
enum Failure {
    /// The server said no.
    Refused(String),
    /// Nobody answered, or nothing that can be read.
    Lost(String),
}

impl Line {
    pub(super) fn start(options: Options) -> Result<Self, Error> {
        let (_, place) = options.client()?;
        let (state, _) = watch::channel(State::Connecting);
        let shared = Arc::new(Shared { place, timeout: options.timeout, rest: options.pause_last, state });
        let ended = CancellationToken::new();
        metrics::describe_gauge!("orderwire_cache_connected", "1 while the shared cache is connected");
        let (keeper, until) = (Arc::clone(&shared), ended.clone());
        let first_attempt = options.connect_timeout + options.timeout;
        tokio::spawn(async move { until.run_until_cancelled(keep(keeper, options)).await });
        Ok(Self { shared, first_attempt, _ends: ended.drop_guard() })
    }

    /// The answer to what changes nothing that others rely on.
    pub(super) async fn ask<T: FromRedisValue>(&self, asked: &Pipeline) -> Result<T, Error> {
        let mut up = self.up()?;
        let answered = self.shared.in_time(asked.query_async(&mut up.connection)).await;
        answered.map_err(|failure| self.shared.failed(up.number, failure))
    }

    /// Has the server keep something, unless it has just said that it keeps nothing.
    pub(super) async fn give(&self, given: &Cmd) -> Result<(), Error> {
        let up = self.up()?;
        if let Some(refusal) = up.refusal.as_ref().filter(|refusal| refusal.at.elapsed() < self.shared.rest) {
            return Err(Error(refusal.why.clone()));
        }
        self.insist(given, up).await
    }

    /// Whether the server keeps this. Only the first attempt to connect is waited for.
    pub(super) async fn check(&self, given: &Cmd) -> Result<(), Error> {
        let mut state = self.shared.state.subscribe();
        let known = state.wait_for(|state| !matches!(state, State::Connecting));
        // Who has not connected by then says so below.
        timeout(self.first_attempt, known).await.map(drop).ok();
        self.insist(given, self.up()?).await
    }

    async fn insist(&self, given: &Cmd, mut up: Up) -> Result<(), Error> {
        match self.shared.in_time(given.exec_async(&mut up.connection)).await {
            Ok(()) => {
                self.shared.kept(&up);
                Ok(())
            }
            Err(Failure::Refused(why)) => Err(self.shared.refused(up.number, &why)),
            Err(lost) => Err(self.shared.failed(up.number, lost)),
        }
    }

    fn up(&self) -> Result<Up, Error> {
        match &*self.shared.state.borrow() {
            State::Up(up) => Ok(up.clone()),
            State::Connecting => Err(self.shared.error("not connected yet")),
            State::Away(why) => Err(self.shared.error(why)),
        }
    }
}

impl Shared {
    fn error(&self, why: &str) -> Error {
        Error(format!("{}: {why}", self.place))
    }

    async fn in_time<T>(&self, call: impl Future<Output = RedisResult<T>>) -> Result<T, Failure> {
        match timeout(self.timeout, call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) if says_no(&error) => Err(Failure::Refused(error.to_string())),
            Ok(Err(error)) => Err(Failure::Lost(error.to_string())),
            Err(_) => Err(Failure::Lost(format!("no answer within {:?}", self.timeout))),
        }
    }

    /// What becomes of a connection when a call failed.
    fn failed(&self, number: u64, failure: Failure) -> Error {
        match failure {
            Failure::Refused(why) => self.error(&why),
            Failure::Lost(why) => {
                let is_news = self.change(number, |_| Some(State::Away(why.clone())));
                if is_news {
                    self.tell_away(&why);
                }
                self.error(&why)
            }
        }
    }

    /// The server keeps nothing, for want of memory or because we may not.
    fn refused(&self, number: u64, why: &str) -> Error {
        let error = self.error(why);
        let mut is_news = false;
        self.change(number, |up| {
            is_news = up.refusal.is_none();
            let refusal = Some(Refusal { why: error.0.clone(), at: Instant::now() });
            Some(State::Up(Up { refusal, ..up.clone() }))
        });
        if is_news {
            tracing::warn!(
                cache.place = self.place,
                why,
                "the cache keeps nothing new; reads go to the store"
            );
        }
        error
    }

    /// The server keeps what it is given.
    fn kept(&self, by: &Up) {
        if by.refusal.is_none() {
            return;
        }
        let forgive = |up: &Up| up.refusal.is_some().then(|| State::Up(Up { refusal: None, ..up.clone() }));
        if self.change(by.number, forgive) {
            tracing::info!(cache.place = self.place, "the cache keeps entries again");
        }
    }

    /// Changes the state of this connection, unless it has been replaced. Whether it did.
    fn change(&self, number: u64, change: impl FnOnce(&Up) -> Option<State>) -> bool {
        self.state.send_if_modified(|state| {
            let State::Up(up) = &*state else { return false };
            let Some(changed) = (up.number == number).then(|| change(up)).flatten() else { return false };
            *state = changed;
            true
        })
    }

    fn tell_away(&self, why: &str) {
        metrics::gauge!("orderwire_cache_connected").set(0.0);
        tracing::warn!(cache.place = self.place, why, "the cache is away; reads go to the store");
    }
}

/// Whether the server itself answered. What it did not understand is no fault of the line.
fn says_no(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension)
}

/// Makes connections, one after another, without end.
async fn keep(shared: Arc<Shared>, options: Options) {
    let mut state = shared.state.subscribe();
    let mut pause = options.pause_first;
    let mut number = 0;
    loop {
        match timeout(options.connect_timeout, connect(&options)).await {
            Ok(Ok(connection)) => {
                let begun = Instant::now();
                number += 1;
                shared.state.send_replace(State::Up(Up { number, connection, refusal: None }));
                metrics::gauge!("orderwire_cache_connected").set(1.0);
                tracing::info!(cache.place = shared.place, "connected to the cache");
                if state.wait_for(|state| matches!(state, State::Away(_))).await.is_err() {
                    return;
                }
                if begun.elapsed() >= STEADY {
                    pause = options.pause_first;
                }
            }
            Ok(Err(why)) => away(&shared, &why),
            Err(_) => away(&shared, &format!("no connection within {:?}", options.connect_timeout)),
        }
        sleep(spread(pause)).await;
        pause = pause.saturating_mul(2).min(options.pause_last);
    }
}

/// Once for each end, not for each attempt.
fn away(shared: &Shared, why: &str) {
    match shared.state.send_replace(State::Away(why.to_owned())) {
        State::Away(_) => tracing::debug!(why, "not connected to the cache yet"),
        State::Connecting | State::Up(_) => shared.tell_away(why),
    }
}

/// A connection over which the server answers.
async fn connect(options: &Options) -> Result<MultiplexedConnection, String> {
    // With the certificates of now: they are renewed while we run.
    let (client, _) = options.client().map_err(|error| error.0)?;
    over(&client).await.map_err(|error| error.to_string())
}

async fn over(client: &Client) -> RedisResult<MultiplexedConnection> {
    // Every call has a time-out of ours, and so has this one.
    let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    redis::cmd("PING").exec_async(&mut connection).await?;
    Ok(connection)
}

/// Between half of it and all of it, so that many do not come back at the same moment.
fn spread(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + fastrand::f64() / 2.0)
}
