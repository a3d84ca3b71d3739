//! The way to the server: what a URL says, how a connection is set up, the pool,
//! and the connection that listens.

mod hold;
mod listen;
mod tls;
mod url;

use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::path::PathBuf;
use std::time::Duration;

use deadpool_postgres::{Client, Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Config, Row};
use tokio_util::task::AbortOnDropHandle;

pub(crate) use self::hold::Hold;
pub(crate) use self::listen::{Heard, Listener};
use self::tls::Tls;
use crate::error::{Error, ErrorKind};

/// The oldest server that the tests run against, as `server_version_num` says it.
const OLDEST_SERVER: i32 = 150_000;

/// How the database is reached.
#[derive(Clone)]
pub struct Options {
    /// `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, with what libpq knows as parameters
    /// behind a `?`. `sslmode` is `disable`, `prefer` (the default), `require`, `verify-ca`
    /// or `verify-full` (the default with certificates to trust); `sslrootcert` a file of
    /// certificates that are trusted in place of the system's.
    pub url: String,
    /// The password, instead of one in the URL.
    pub password: Option<String>,
    /// Certificates (PEM) of whoever may have signed the server's, as `sslrootcert` names them.
    pub ca_file: Option<PathBuf>,
    /// The certificate that we show.
    pub identity: Option<Identity>,
    /// Connections at most, beside the one that listens.
    pub connections: usize,
    /// How long a call waits for a connection that is free, and how long a new one may
    /// take to be there.
    pub connect_timeout: Duration,
    /// How long one statement may take. We wait a little longer for its answer.
    pub statement_timeout: Duration,
    /// How long a statement may wait for a lock.
    pub lock_timeout: Duration,
    /// How long a transaction may stand still before the server ends it.
    pub idle_timeout: Duration,
    /// What the server's lists of connections call us.
    pub application_name: String,
}

/// A certificate of our own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The certificate and those that it is signed by (PEM).
    pub certificate_file: PathBuf,
    /// Its private key (PEM).
    pub key_file: PathBuf,
}

impl Options {
    /// The usual settings for the database of this URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            password: None,
            ca_file: None,
            identity: None,
            connections: 8,
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(10),
            lock_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(10),
            application_name: "orderwire".to_owned(),
        }
    }

    /// Small limits, so that tests reach them.
    pub fn for_testing(url: impl Into<String>) -> Self {
        Self {
            connections: 4,
            statement_timeout: Duration::from_secs(5),
            lock_timeout: Duration::from_secs(3),
            idle_timeout: Duration::from_secs(5),
            ..Self::new(url)
        }
    }

    /// Whether they can be used, as far as it can be told without the server: the URL, the
    /// files of certificates.
    ///
    /// # Errors
    /// `Refused`, with what to do.
    pub fn check(&self) -> Result<(), Error> {
        self.read().map(drop)
    }

    fn read(&self) -> Result<(Config, Tls), Error> {
        let (mut config, tls) = url::parse(self)?;
        if let Some(password) = &self.password {
            config.password(password);
        }
        if config.get_application_name().is_none() {
            config.application_name(&self.application_name);
        }
        config
            .connect_timeout(self.connect_timeout)
            .tcp_user_timeout(self.statement_timeout * 2)
            .keepalives_idle(Duration::from_secs(15))
            .keepalives_interval(Duration::from_secs(5))
            .keepalives_retries(3);
        Ok((config, tls::connector(&tls)?))
    }

    /// What a new connection is told first.
    fn setup(&self) -> String {
        format!(
            "SET statement_timeout = {}; SET lock_timeout = {}; \
             SET idle_in_transaction_session_timeout = {}; SET synchronous_commit = on; \
             SET TimeZone = 'UTC'; SET search_path = ''; SET client_min_messages = warning",
            self.statement_timeout.as_millis(),
            self.lock_timeout.as_millis(),
            self.idle_timeout.as_millis(),
        )
    }
}

impl fmt::Debug for Options {
    /// The URL may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("connections", &self.connections).finish_non_exhaustive()
    }
}

/// A database on a PostgreSQL server. Clones share the pool.
#[derive(Clone)]
pub struct Database {
    pool: Pool,
    config: Config,
    tls: Tls,
    options: Options,
}

/// A connection beside the pool. It is closed when this is dropped.
#[derive(Debug)]
pub(crate) struct Connection {
    client: tokio_postgres::Client,
    _task: AbortOnDropHandle<()>,
}

impl Deref for Connection {
    type Target = tokio_postgres::Client;

    fn deref(&self) -> &Self::Target {
        &self.client
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("place", &self.place()).finish_non_exhaustive()
    }
}

impl Database {
    /// Whether Orderwire could work on the database now: it answers, is of a version and an
    /// encoding that can be used, and lets us make what we need. Leaves nothing behind. The
    /// server's version.
    ///
    /// # Errors
    /// As [`Self::open`], with what to do.
    pub async fn try_out(options: &Options) -> Result<String, Error> {
        let database = Self::open(&Options { connections: 1, ..options.clone() }).await?;
        let what = format!("looking at the rights on {}", database.place());
        let ask = "SELECT current_setting('server_version'), current_user::text, current_database()::text, \
                          has_database_privilege(current_database(), 'CREATE'), \
                          current_setting('transaction_read_only') = 'on'";
        let rows = database.query(&what, ask, &[]).await?;
        let row = rows.first().ok_or_else(|| Error::damaged("it says nothing of itself"))?;
        let (version, user, name): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        let refused =
            |why: String| Err(Error::new(ErrorKind::Refused, format!("{}: {why}", database.place())));
        if row.get(4) {
            return refused(
                "the server takes no writes; name the primary, or add target_session_attrs=read-write to the URL"
                    .to_owned(),
            );
        }
        if !row.get::<_, bool>(3) {
            return refused(format!(
                "the user {user} may not create schemas in the database {name}; have its owner say GRANT CREATE ON \
                 DATABASE \"{name}\" TO \"{user}\", or make the user its owner"
            ));
        }
        Ok(version)
    }

    /// Connects, and looks whether the server is one that Orderwire can use.
    ///
    /// # Errors
    /// `Refused` when a person has to change something: the URL, the server's version, the
    /// database's encoding, rights. `Unavailable` when nobody answers there now.
    pub async fn open(options: &Options) -> Result<Self, Error> {
        Self::open_at_least(options, OLDEST_SERVER).await
    }

    async fn open_at_least(options: &Options, oldest: i32) -> Result<Self, Error> {
        let (config, tls) = options.read()?;
        let manager = Manager::from_config(
            config.clone(),
            tls.clone(),
            ManagerConfig { recycling_method: RecyclingMethod::Fast },
        );
        let setup = options.setup();
        let pool = Pool::builder(manager)
            .max_size(options.connections.max(1))
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(options.connect_timeout))
            .create_timeout(Some(options.connect_timeout))
            .post_create(Hook::async_fn(move |client, _| {
                let setup = setup.clone();
                Box::pin(async move { client.batch_execute(&setup).await.map_err(HookError::Backend) })
            }))
            .build()
            .map_err(|error| {
                Error::new(ErrorKind::Refused, format!("making the pool of connections: {error}"))
            })?;
        let database = Self { pool, config, tls, options: options.clone() };
        database.check(oldest).await?;
        Ok(database)
    }

    /// Whether the server is one that Orderwire can use.
    async fn check(&self, oldest: i32) -> Result<(), Error> {
        let client = self.client("connecting").await?;
        let ask = "SELECT current_setting('server_version_num')::int4, current_setting('server_version'), \
                          current_setting('server_encoding')";
        let row = self.within("connecting", client.query_one(ask, &[])).await?;
        let (number, version, encoding): (i32, String, String) = (row.get(0), row.get(1), row.get(2));
        if number < oldest {
            let message = format!(
                "{} is PostgreSQL {version}: Orderwire needs {} or later; upgrade the server or name another",
                self.place(),
                oldest / 10_000
            );
            return Err(Error::new(ErrorKind::Refused, message));
        }
        if encoding != "UTF8" {
            let message = format!(
                "the database of {} is encoded in {encoding}: Orderwire needs UTF8; create one (CREATE DATABASE … \
                 ENCODING 'UTF8' TEMPLATE template0) and name it",
                self.place()
            );
            return Err(Error::new(ErrorKind::Refused, message));
        }
        Ok(())
    }

    /// Where it is, for people: without the password.
    pub(crate) fn place(&self) -> String {
        url::place(&self.config)
    }

    /// A connection of the pool, to do `what`.
    ///
    /// # Errors
    /// `Unavailable`, or `Refused` by the server.
    pub(crate) async fn client(&self, what: &str) -> Result<Client, Error> {
        let place = || format!("{what} on {}", self.place());
        self.pool.get().await.map_err(|error| Error::pool(&place(), &error))
    }

    /// A connection beside the pool, for who keeps one, set up as all are.
    ///
    /// # Errors
    /// As [`Self::client`].
    pub(crate) async fn connect(&self, what: &str) -> Result<Connection, Error> {
        let what = format!("{what} on {}", self.place());
        let connecting = self.config.connect(self.tls.clone());
        let (client, connection) = self.within(&what, connecting).await?;
        // An error of the connection is that of the call that waits for it, too.
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to the database ended");
            }
        }));
        self.within(&what, client.batch_execute(&self.options.setup())).await?;
        Ok(Connection { client, _task: task })
    }

    /// Cancels what runs on a connection, and closes it; returns before that is done. A
    /// cancellation names a connection, not a statement: it could meet the next one there.
    pub(crate) fn cancel(&self, client: Client) {
        // Without a runtime there is no connection either.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (token, tls, patience) = (client.cancel_token(), self.tls.clone(), self.options.connect_timeout);
        runtime.spawn(async move {
            let cancelled = tokio::time::timeout(patience, token.cancel_query(tls)).await;
            if !matches!(cancelled, Ok(Ok(()))) {
                tracing::debug!("a statement could not be cancelled: it ends with its connection");
            }
            // Only then its place in the pool is free.
            drop(Client::take(client));
        });
    }

    /// The answer of the server, which does `what`; waits a little longer for it than the
    /// server may take.
    ///
    /// # Errors
    /// As the server says; `Unavailable` when it says nothing.
    pub(crate) async fn within<T>(
        &self,
        what: &str,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Error> {
        match tokio::time::timeout(self.answer_timeout(), answer).await {
            Ok(answer) => answer.map_err(|error| Error::postgres(what, &error)),
            Err(_) => Err(Error::slow(what)),
        }
    }

    /// The rows of one prepared statement over a connection of the pool.
    ///
    /// # Errors
    /// As [`Self::client`] and [`Self::within`].
    pub(crate) async fn query(
        &self,
        what: &str,
        statement: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Error> {
        let client = self.client(what).await?;
        self.within(what, async {
            let statement = client.prepare_cached(statement).await?;
            client.query(&statement, params).await
        })
        .await
    }

    /// How long an answer is waited for.
    pub(crate) fn answer_timeout(&self) -> Duration {
        self.options.statement_timeout + Duration::from_secs(2)
    }
}

/// A database of a server that is there already. None, said loudly, where there is none, which
/// `CI=true` requires.
#[cfg(test)]
pub(crate) fn url_for_testing() -> Option<String> {
    let given = std::env::var("POSTGRES_URL").ok();
    if given.is_none() && std::net::TcpStream::connect(("127.0.0.1", 5432)).is_err() {
        assert!(std::env::var_os("CI").is_none(), "CI needs a PostgreSQL: cargo xtask services");
        eprintln!("SKIPPED: no PostgreSQL on 127.0.0.1:5432, and no POSTGRES_URL");
        return None;
    }
    Some(given.unwrap_or_else(|| "postgres://postgres@127.0.0.1:5432/postgres".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_that_is_too_old_is_refused_with_what_to_do() {
        let Some(url) = url_for_testing() else { return };
        let error = Database::open_at_least(&Options::for_testing(url), 990_000).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        let text = error.to_string();
        assert!(text.contains("Orderwire needs 99 or later; upgrade the server"), "{text}");
    }
}
