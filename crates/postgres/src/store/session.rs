//! Statements on one connection, alone or in a transaction.
//!
//! Invariants:
//! - a connection goes back to the pool when nothing runs on it any more and its
//!   transaction has ended; else it is closed, which ends both;
//! - each transaction leaves a token of its own, as a row. One whose COMMIT was sent and not
//!   answered is asked for by it on another connection, so that nobody does again what was
//!   done. Not by the id of the transaction: a server that crashed may give it out again.

use std::time::Duration;

use deadpool_postgres::{Client, Object};
use orderwire_store::Error;
use tokio::time::Instant;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::error::{Failure, damaged, from_engine};
use crate::db::Database;
use crate::error as engine;

/// How a transaction is tried that others undo, or whose connection ends before its COMMIT.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tries {
    /// How often at most.
    pub(super) count: u32,
    /// The pause before the second one; it grows by itself with each.
    pub(super) pause: Duration,
    /// Whether it is also tried again when it waited too long for a lock.
    pub(super) locks: bool,
    /// How long the server may take for a statement, where that is longer than usual.
    pub(super) longest: Option<Duration>,
}

pub(super) const TRIES: Tries =
    Tries { count: 5, pause: Duration::from_millis(10), locks: false, longest: None };

/// How long the outcome of a COMMIT without an answer is asked for.
const OUTCOME: Duration = Duration::from_secs(10);

/// The pause before it is asked for again.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// The most statements that stay prepared on a connection. Those of reads are as many as
/// callers think of.
const STATEMENTS: usize = 300;

/// A connection in use.
pub(super) struct Session {
    /// None once it was given back.
    client: Option<Client>,
    /// How long an answer is waited for.
    patience: Duration,
}

/// Values of a statement.
pub(super) type Values<'v> = &'v [&'v (dyn ToSql + Sync)];

impl Session {
    pub(super) async fn open(database: &Database, what: &str) -> Result<Self, Error> {
        let client = database.client(what).await.map_err(|error| from_engine(&error))?;
        if client.statement_cache.size() > STATEMENTS {
            client.statement_cache.clear();
        }
        Ok(Self { client: Some(client), patience: database.answer_timeout() })
    }

    /// All rows of a statement.
    pub(super) async fn rows(&self, sql: &str, values: Values<'_>) -> Result<Vec<Row>, Failure> {
        let client = self.client();
        self.patiently(async {
            let statement = client.prepare_cached(sql).await?;
            client.query(&statement, values).await
        })
        .await
    }

    /// The first row of a statement, if there is one.
    pub(super) async fn row(&self, sql: &str, values: Values<'_>) -> Result<Option<Row>, Failure> {
        let mut rows = self.rows(sql, values).await?;
        Ok(if rows.is_empty() { None } else { Some(rows.swap_remove(0)) })
    }

    /// Runs a statement; how many rows it changed.
    pub(super) async fn execute(&self, sql: &str, values: Values<'_>) -> Result<u64, Failure> {
        let client = self.client();
        self.patiently(async {
            let statement = client.prepare_cached(sql).await?;
            client.execute(&statement, values).await
        })
        .await
    }

    /// Is ready to wait so long for an answer.
    pub(super) fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Runs statements without values.
    pub(super) async fn batch(&self, sql: &str) -> Result<(), Failure> {
        self.patiently(self.client().batch_execute(sql)).await
    }

    /// The connection itself.
    pub(super) fn client(&self) -> &Client {
        self.client.as_ref().expect("in use until it is given back")
    }

    /// Gives the connection back to the pool: nothing runs on it.
    pub(super) fn give_back(mut self) {
        drop(self.client.take());
    }

    /// Gives it back after a read, when nothing runs on it any more.
    pub(super) fn after_read<T>(self, done: Result<T, Failure>) -> Result<T, Failure> {
        let ended = match &done {
            Ok(_) | Err(Failure::Refused(_) | Failure::Stale) => true,
            Err(failure) => failure.code().is_some() && !failure.is_cut(),
        };
        if ended {
            self.give_back();
        }
        done
    }

    /// Takes the connection: whoever has it ends it.
    pub(super) fn into_client(mut self) -> Client {
        self.client.take().expect("in use until it is given back")
    }

    async fn patiently<T>(
        &self,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Failure> {
        match tokio::time::timeout(self.patience, answer).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(Failure::Slow),
        }
    }

    /// Begins a transaction; its token.
    async fn begin(&self) -> Result<Uuid, Failure> {
        // They grow, so that new ones are neighbours.
        let token = Uuid::now_v7();
        self.batch(&format!("BEGIN; INSERT INTO store.ended (token) VALUES ('{token}')")).await?;
        Ok(token)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            // Something may run on it, or a transaction be open.
            drop(Object::take(client));
        }
    }
}

/// How a call goes: it is done again when others undid it, or when its connection ended
/// before anything was done.
pub(super) struct Course<'c> {
    database: &'c Database,
    what: &'c str,
    tries: Tries,
    attempt: u32,
}

impl<'c> Course<'c> {
    pub(super) fn new(database: &'c Database, what: &'c str, tries: Tries) -> Self {
        Self { database, what, tries, attempt: 1 }
    }

    pub(super) async fn open(&self) -> Result<Session, Failure> {
        let session = Session::open(self.database, self.what).await?;
        Ok(match self.tries.longest {
            Some(longest) => session.with_patience(longest + self.database.answer_timeout()),
            None => session,
        })
    }

    pub(super) async fn begin(&self) -> Result<Transaction<'c>, Failure> {
        let session = self.open().await?;
        let token = session.begin().await?;
        Ok(Transaction { database: self.database, what: self.what, session, token })
    }

    /// What the call came to, unless it is to be done again.
    pub(super) async fn ended<T>(&mut self, done: Result<T, Failure>) -> Option<Result<T, Failure>> {
        let Err(failure) = &done else { return Some(done) };
        let again =
            failure.is_in_the_way() || failure.is_cut() || (self.tries.locks && failure.is_of_a_lock());
        if self.attempt == self.tries.count || !again {
            return Some(done);
        }
        tokio::time::sleep(self.tries.pause * self.attempt).await;
        self.attempt += 1;
        None
    }
}

/// A transaction under way.
pub(super) struct Transaction<'c> {
    database: &'c Database,
    what: &'c str,
    session: Session,
    token: Uuid,
}

impl Transaction<'_> {
    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// Commits what was done. A failure that is not a refusal is one of before the commit:
    /// nothing was done.
    pub(super) async fn end<T>(self, done: Result<T, Failure>) -> Result<T, Failure> {
        let done = match done {
            Ok(done) => done,
            Err(failure) => {
                if self.session.batch("ROLLBACK").await.is_ok() {
                    self.session.give_back();
                }
                return Err(failure);
            }
        };
        match self.session.batch("COMMIT").await {
            Ok(()) => self.session.give_back(),
            Err(failure) if failure.is_in_the_way() => return Err(failure),
            Err(failure) => {
                drop(self.session);
                if !is_committed(self.database, self.what, self.token).await? {
                    return Err(failure);
                }
            }
        }
        Ok(done)
    }
}

/// Does a write in one transaction, after whose commit it is done: a `Result` with a
/// [`Failure`]. A macro, because the futures of closures that borrow cannot be said to be
/// `Send` for every lifetime.
macro_rules! transact {
    ($database:expr, $what:expr, |$session:ident| $write:expr) => {
        $crate::store::session::transact!($database, $what, $crate::store::session::TRIES, |$session| $write)
    };
    ($database:expr, $what:expr, $tries:expr, |$session:ident| $write:expr) => {{
        let mut course = $crate::store::session::Course::new($database, $what, $tries);
        loop {
            let done = match course.begin().await {
                Ok(transaction) => {
                    let $session = transaction.session();
                    let done: Result<_, $crate::store::error::Failure> = Box::pin(async { $write }).await;
                    transaction.end(done).await
                }
                Err(failure) => Err(failure),
            };
            if let Some(done) = course.ended(done).await {
                break done;
            }
        }
    }};
}

/// The same with an error of the store.
macro_rules! write {
    ($database:expr, $what:expr, |$session:ident| $write:expr) => {
        $crate::store::session::transact!($database, $what, |$session| $write)
            .map_err(|failure| failure.into_error($what))
    };
}

/// Reads a little, without a transaction.
macro_rules! read {
    ($database:expr, $what:expr, |$session:ident| $read:expr) => {{
        let mut course = $crate::store::session::Course::new($database, $what, $crate::store::session::TRIES);
        let done = loop {
            let done = match course.open().await {
                Ok(session) => {
                    let $session = &session;
                    let done: Result<_, $crate::store::error::Failure> = Box::pin(async { $read }).await;
                    session.after_read(done)
                }
                Err(failure) => Err(failure),
            };
            if let Some(done) = course.ended(done).await {
                break done;
            }
        };
        done.map_err(|failure| failure.into_error($what))
    }};
}

pub(super) use {read, transact, write};

/// What became of a transaction whose COMMIT was not answered. Who asks puts its token there
/// as that of one that was undone: the server lets them wait while it may still end either
/// way, and once they have done so it cannot be committed any more.
async fn is_committed(database: &Database, what: &str, token: Uuid) -> Result<bool, Error> {
    let deadline = Instant::now() + OUTCOME;
    while Instant::now() < deadline {
        let sql = "INSERT INTO store.ended AS e (token, undone) VALUES ($1, true) \
                   ON CONFLICT (token) DO UPDATE SET undone = e.undone RETURNING undone";
        let undone: Result<bool, Error> = read!(database, what, |session| {
            let row = session.row(sql, &[&token]).await?;
            Ok(row.ok_or_else(|| damaged("end of a transaction"))?.try_get(0)?)
        });
        match undone {
            Ok(undone) => return Ok(!undone),
            // It is still about to end, or nobody answers yet.
            Err(_) => tokio::time::sleep(ASK_AGAIN).await,
        }
    }
    let message = format!(
        "{what}: the connection was lost while the transaction ended, and the database does not say what became of it"
    );
    Err(from_engine(&engine::Error::new(engine::ErrorKind::Unconfirmed, message)))
}
