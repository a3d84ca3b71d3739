//! The connection: made anew by the library whenever it ends, and watched.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ClientError, ConnectOptions, Event, ServerError};
use orderwire_broker::{Error, ErrorKind, Tls};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::options::{Login, Options};

/// A ping after so long without a word; the connection ends when two are not answered.
const PING: Duration = Duration::from_secs(5);
/// The longest pause between attempts to connect.
const PAUSE_MAX: Duration = Duration::from_secs(4);
/// What the connection holds for one subscription before it drops messages: more than a
/// consumer may ask for.
const SUBSCRIPTION_MAX: usize = 1 << 17;
/// How often the state is looked at without having been told of a change.
const LOOK: Duration = Duration::from_secs(1);
/// What a server takes that has not said how much it takes.
const PAYLOAD_DEFAULT: usize = 1 << 20;

/// The connection of a broker.
#[derive(Debug)]
pub(crate) struct Link {
    client: Client,
    told: Arc<Mutex<Told>>,
    changes: watch::Receiver<u64>,
    closed: CancellationToken,
    servers: String,
    timeout: Duration,
}

/// What the library and the server told last.
#[derive(Debug, Default)]
struct Told {
    /// Why it is not connected.
    away: Option<Away>,
    /// What the server forbade, and when.
    forbidden: Option<(Instant, String)>,
}

#[derive(Clone, Debug)]
struct Away {
    refused: bool,
    why: String,
}

impl Link {
    /// Begins to connect, and goes on in the background.
    ///
    /// # Errors
    /// `Unsupported`: the settings are wrong, or a file that they name cannot be read.
    pub(crate) async fn open(options: &Options) -> Result<Self, Error> {
        let (servers, login_of_url) = options.url.servers()?;
        let login = match &options.login {
            Login::None => &login_of_url,
            login => login,
        };
        let told = Arc::new(Mutex::new(Told::default()));
        let (changed, changes) = watch::channel(0);
        let connect = credentials(login).await?;
        let connect = with_tls(connect, options)?
            .name("orderwire")
            .retry_on_initial_connect()
            .connection_timeout(options.timeout)
            .request_timeout(Some(options.timeout))
            .ping_interval(PING)
            .subscription_capacity(SUBSCRIPTION_MAX)
            .reconnect_delay_callback(pause)
            .event_callback({
                let told = told.clone();
                move |event| {
                    note(&mut told.lock().unwrap_or_else(PoisonError::into_inner), &event);
                    changed.send_modify(|count| *count += 1);
                    async {}
                }
            });
        let unsupported =
            |error| Error::new(ErrorKind::Unsupported, format!("connect to {}: {error}", options.url));
        let client = connect.connect(servers).await.map_err(unsupported)?;
        Ok(Self {
            client,
            told,
            changes,
            closed: CancellationToken::new(),
            servers: options.url.to_string(),
            timeout: options.timeout,
        })
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// After how long a call fails.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Ends when the broker is closed.
    pub(crate) fn closed(&self) -> &CancellationToken {
        &self.closed
    }

    /// The largest message, headers included, that the server takes.
    pub(crate) fn max_payload(&self) -> usize {
        match self.client.server_info().max_payload {
            0 => PAYLOAD_DEFAULT,
            max => max,
        }
    }

    /// Whether the server knows several filters for one consumer.
    pub(crate) fn has_filters(&self) -> bool {
        self.client.is_server_compatible(2, 10, 0)
    }

    /// The number of the connection that is there. Each has its own.
    ///
    /// # Errors
    /// `Unavailable`, or `Refused` when the server does not let us in.
    pub(crate) fn connected(&self) -> Result<u64, Error> {
        if self.closed.is_cancelled() {
            return Err(Error::new(ErrorKind::Unavailable, "the broker is closed"));
        }
        // Before the state, so that a connection that comes in between is not taken for
        // the one before it.
        let number = self.number();
        if self.client.connection_state() == State::Connected {
            return Ok(number);
        }
        let away = self.told().away.clone();
        let refused = away.as_ref().is_some_and(|away| away.refused);
        let kind = if refused { ErrorKind::Refused } else { ErrorKind::Unavailable };
        let why = away.map_or_else(|| "not yet connected".to_owned(), |away| away.why);
        Err(Error::new(kind, format!("NATS at {}: {why}", self.servers)))
    }

    /// The same, after a connection that is just being made was waited for.
    pub(crate) async fn wait_connected(&self) -> Result<u64, Error> {
        let mut changes = self.changes.clone();
        let until = Instant::now() + self.timeout;
        loop {
            match self.connected() {
                Err(error) if error.kind() == ErrorKind::Unavailable && self.is_fresh() => {
                    if Instant::now() >= until {
                        return Err(error);
                    }
                    let look = LOOK.min(until.saturating_duration_since(Instant::now()));
                    changed(&mut changes, look).await;
                }
                answer => return answer,
            }
        }
    }

    /// Whether it has never been connected, nor failed to.
    fn is_fresh(&self) -> bool {
        !self.closed.is_cancelled() && self.number() == 0 && self.told().away.is_none()
    }

    /// Whether the connection of this number is there still.
    pub(crate) fn holds(&self, number: u64) -> bool {
        self.connected().is_ok_and(|connected| connected == number)
    }

    /// The same, also of a broker that is being closed.
    pub(crate) fn is_up(&self, number: u64) -> bool {
        self.number() == number && self.client.connection_state() == State::Connected
    }

    /// Waits until the connection of this number is gone.
    pub(crate) async fn lost(&self, number: u64) {
        let mut changes = self.changes.clone();
        while self.holds(number) {
            tokio::select! {
                () = self.closed.cancelled() => {}
                // Events are dropped when there are many.
                () = changed(&mut changes, LOOK) => {}
            }
        }
    }

    /// The same, also of a broker that is being closed.
    pub(crate) async fn gone(&self, number: u64) {
        let mut changes = self.changes.clone();
        while self.is_up(number) {
            changed(&mut changes, LOOK).await;
        }
    }

    /// What the server forbade since then, where it concerns this subject.
    pub(crate) fn forbidden(&self, since: Instant, subject: &str) -> Option<Error> {
        let told = self.told();
        let (at, what) = told.forbidden.as_ref()?;
        // The library tells it in lower case.
        let subject = format!("\"{}\"", subject.to_ascii_lowercase());
        let concerns = *at >= since && what.to_ascii_lowercase().contains(&subject);
        concerns.then(|| Error::new(ErrorKind::Refused, format!("NATS: {what}")))
    }

    /// The number of the last connection.
    pub(crate) fn number(&self) -> u64 {
        self.client.statistics().connects.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until something was told, or until it is time to look without.
async fn changed(changes: &mut watch::Receiver<u64>, look: Duration) {
    if matches!(timeout(look, changes.changed()).await, Ok(Err(_))) {
        // Nobody is left to tell.
        sleep(look).await;
    }
}

async fn credentials(login: &Login) -> Result<ConnectOptions, Error> {
    Ok(match login {
        Login::None => ConnectOptions::new(),
        Login::Password { user, password } => {
            ConnectOptions::with_user_and_password(user.clone(), password.expose().to_owned())
        }
        Login::Token(token) => ConnectOptions::with_token(token.expose().to_owned()),
        Login::Credentials(path) => {
            // The content of the file is secret; what is wrong with it is not said.
            let unreadable = |_| {
                let path = path.display();
                Error::new(
                    ErrorKind::Unsupported,
                    format!("{path} is not a readable file of NATS credentials"),
                )
            };
            ConnectOptions::with_credentials_file(path).await.map_err(unreadable)?
        }
    })
}

fn with_tls(mut connect: ConnectOptions, options: &Options) -> Result<ConnectOptions, Error> {
    let Tls { ca_file, identity } = &options.tls;
    let shown = identity.iter().flat_map(|own| [&own.certificate_file, &own.key_file]);
    for path in ca_file.iter().chain(shown) {
        // Read at each connection; said now rather than then.
        if let Err(error) = std::fs::File::open(path) {
            let path = path.display();
            return Err(Error::new(ErrorKind::Unsupported, format!("{path} cannot be read: {error}")));
        }
    }
    if let Some(path) = ca_file {
        connect = connect.add_root_certificates(path.clone());
    }
    if let Some(own) = identity {
        connect = connect.add_client_certificate(own.certificate_file.clone(), own.key_file.clone());
    }
    Ok(connect)
}

/// The pause before another attempt to connect. Servers that come back are not met by all
/// at once, because each process began at another time.
fn pause(attempts: usize) -> Duration {
    let doubled = Duration::from_millis(10).saturating_mul(1 << attempts.saturating_sub(1).min(16));
    if attempts <= 1 { Duration::ZERO } else { doubled.min(PAUSE_MAX) }
}

fn note(told: &mut Told, event: &Event) {
    let away = |refused: bool, why: String| Some(Away { refused, why });
    match event {
        Event::Connected => {
            tracing::info!("NATS is connected");
            told.away = None;
        }
        Event::Disconnected => {
            tracing::warn!("the connection to NATS ended, it is made anew");
            told.away = away(false, "the connection ended".to_owned());
        }
        Event::ServerError(ServerError::AuthorizationViolation) => {
            told.away = away(true, "the server does not let us in".to_owned());
        }
        Event::ServerError(ServerError::Other(what)) if is_forbidden(what) => {
            tracing::warn!(what, "NATS forbids it");
            told.forbidden = Some((Instant::now(), what.clone()));
        }
        Event::ClientError(ClientError::Other(why)) => {
            told.away = away(is_refusal(why), why.clone());
        }
        Event::SlowConsumer(_) => tracing::warn!("messages came faster than they were taken"),
        event => tracing::debug!(%event, "NATS"),
    }
}

fn is_forbidden(what: &str) -> bool {
    what.to_ascii_lowercase().contains("permissions violation")
}

/// The library passes on why it could not connect as text only.
fn is_refusal(why: &str) -> bool {
    let why = why.to_ascii_lowercase();
    why.contains("authorization violation") || why.contains("signing nonce")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_limit() {
        assert_eq!(pause(1), Duration::ZERO);
        assert!(pause(2) < pause(3));
        assert_eq!(pause(usize::MAX), PAUSE_MAX);
    }

    #[test]
    fn why_it_is_away_is_told_until_it_is_back() {
        let mut told = Told::default();
        note(&mut told, &Event::ClientError(ClientError::Other("authorization violation: x".to_owned())));
        assert!(told.away.as_ref().is_some_and(|away| away.refused));
        note(&mut told, &Event::ClientError(ClientError::Other("IO error: refused".to_owned())));
        assert!(told.away.as_ref().is_some_and(|away| !away.refused));
        note(&mut told, &Event::Connected);
        assert!(told.away.is_none());
    }
}
