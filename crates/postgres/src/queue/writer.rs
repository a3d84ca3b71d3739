//! The writer: one commit after the other, and what became of one without an answer.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use orderwire_queue::engine::{Committed, Op, Origin};
use orderwire_queue::{Error as QueueError, ErrorKind as Kind};
use orderwire_types::QueueName;
use orderwire_types::queue::{Kind as QueueKind, QueueDef};
use tokio::time::Instant;
use tokio_postgres::Row;
use uuid::Uuid;

use super::calls::{Call, Function, Param, params};
use super::elsewhere::Own;
use super::plan::{Plan, span};
use super::session::{Answers, Backend, CONFIGURED, End, Session};
use super::{QueueOptions, nanos, timestamp};
use crate::db::Database;
use crate::error::{Error, ErrorKind};

/// How often a commit is made anew because definitions changed meanwhile.
const ANEW: usize = 8;
/// The pause before it is asked again what became of a commit.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// How long it is waited for others that configure a queue to be gone.
const LEAVING: Duration = Duration::from_secs(2);
/// Nodes that did not commit for so long are forgotten.
const FORGET_NODES: &str = "DELETE FROM queue.node WHERE seen_at < now() - interval '7 days'";

/// The state of definitions that a commit found is not the one that it was made for.
const REDEFINED: &str = "OWDEF";

#[derive(Debug)]
pub(super) struct Writer {
    database: Database,
    node: Uuid,
    /// The number of the last commit that was tried.
    number: i64,
    session: Option<Session>,
    /// The queues of the configuration, as it was declared last.
    configured: Vec<String>,
    ask_for: Duration,
    /// The numbers of commits that were ours.
    own: Arc<Own>,
}

/// What became of a transaction.
enum Became {
    Done(Vec<Vec<Row>>),
    /// Nothing happened: definitions are others than the session knew.
    Redefined,
}

impl Writer {
    pub(super) async fn open(
        database: Database,
        node: Uuid,
        options: &QueueOptions,
        own: Arc<Own>,
    ) -> Result<Self, Error> {
        let session = Session::open(&database, &[]).await?;
        let raise = "UPDATE queue.meta SET position = greatest(position, $1) WHERE id = 1";
        let client = session.client();
        database.within("opening the queue", client.execute(raise, &[&options.position_min])).await?;
        database.within("opening the queue", client.execute(FORGET_NODES, &[])).await?;
        Ok(Self {
            database,
            node,
            number: 0,
            session: Some(session),
            configured: Vec::new(),
            ask_for: options.ask_for,
            own,
        })
    }

    pub(super) async fn commit(&mut self, ops: &[Op], now: Timestamp) -> Result<Committed, QueueError> {
        for _ in 0..ANEW {
            let session = self.session("committing").await?;
            let Plan { calls, mut outcomes } = Plan::new(ops, nanos(now), &session.known);
            let mut readers = Vec::with_capacity(calls.len());
            let mut sent = Vec::with_capacity(calls.len());
            for Call { function, params, read } in calls {
                readers.push(read);
                sent.push((function, params));
            }
            let Became::Done(answers) = self.transact(sent).await? else { continue };
            let damaged = |error: tokio_postgres::Error| Error::postgres("reading a commit's answer", &error);
            for (read, rows) in readers.into_iter().zip(&answers) {
                read(rows, &mut outcomes).map_err(damaged)?;
            }
            let outcomes: Option<Vec<_>> = outcomes.into_iter().collect();
            let outcomes = outcomes.ok_or_else(|| Error::damaged("a function answered nothing"))?;
            let end = answers.last().and_then(|rows| rows.first());
            let end = end.ok_or_else(|| Error::damaged("a commit ended without a word"))?;
            self.own.add(end.try_get(0).map_err(damaged)?);
            let ready: Vec<String> = end.try_get(1).map_err(damaged)?;
            let next: Option<i64> = end.try_get(2).map_err(damaged)?;
            let ready = ready.iter().map(|name| name.parse()).collect::<Result<_, _>>();
            let ready = ready.map_err(|error| Error::damaged(format!("a queue's name: {error}")))?;
            return Ok(Committed { outcomes, ready, next_expiry: next.map(timestamp) });
        }
        Err(QueueError::new(Kind::Unavailable, "committing: definitions of queues keep changing"))
    }

    /// Makes queues exist. Of the configuration's, others that run may have more: these stay.
    pub(super) async fn declare(
        &mut self,
        queues: &[(QueueName, QueueDef)],
        origin: Origin,
    ) -> Result<(), QueueError> {
        if origin == Origin::Call {
            return self.declare_once(queues, origin).await.map(drop);
        }
        self.configured = queues.iter().map(|(name, _)| name.to_string()).collect();
        self.say_what_is_configured().await?;
        let until = Instant::now() + LEAVING;
        loop {
            let kept = self.declare_once(queues, origin).await?;
            if kept.is_empty() {
                return Ok(());
            }
            if Instant::now() >= until {
                tracing::warn!(
                    queues = kept.join(", "),
                    "another server on this database configures queues that this one does not: they stay bound, \
                     until one starts that does not when no server runs any more that does"
                );
                return Ok(());
            }
            // Of a process that ended this moment the server may not know that yet.
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// Has the session say which queues are configured here.
    async fn say_what_is_configured(&mut self) -> Result<(), Error> {
        let (database, configured) = (self.database.clone(), self.configured.clone());
        let session = self.session("declaring queues").await?;
        session.configures(&database, &configured).await
    }

    /// Declares queues; of those that are not configured here, which ones stay.
    async fn declare_once(
        &mut self,
        queues: &[(QueueName, QueueDef)],
        origin: Origin,
    ) -> Result<Vec<String>, QueueError> {
        let text = |def: &QueueDef| serde_json::to_string(def).expect("a definition is plain data");
        for _ in 0..ANEW {
            let session = self.session("declaring queues").await?;
            let configured = origin == Origin::Configuration;
            let unbound: Vec<(String, String)> = session
                .known
                .queues
                .iter()
                .filter(|(name, queue)| queue.configured && queues.iter().all(|(other, _)| other != *name))
                .map(|(name, queue)| {
                    (name.to_string(), text(&QueueDef { types: Vec::new(), ..queue.def.clone() }))
                })
                .collect();
            let column =
                |of: &dyn Fn(&QueueDef) -> i64| queues.iter().map(|(_, def)| of(def)).collect::<Vec<_>>();
            let (unbound_names, unbound_defs): (Vec<_>, Vec<_>) = unbound.into_iter().unzip();
            let params = params![
                configured,
                queues.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
                queues.iter().map(|(_, def)| text(def)).collect::<Vec<_>>(),
                queues.iter().map(|(_, def)| def.kind == QueueKind::Stream).collect::<Vec<_>>(),
                column(&|def| i64::from(def.attempts)),
                column(&|def| span(def.backoff.first.0)),
                column(&|def| span(def.backoff.last.0)),
                unbound_names,
                unbound_defs,
                CONFIGURED,
            ];
            let Became::Done(answers) = self.transact(vec![(Function::Declare, params)]).await? else {
                continue;
            };
            let answer = answers.first().and_then(|rows| rows.first());
            let answer = answer.ok_or_else(|| Error::damaged("a declaration was answered nothing"))?;
            let (other, kept): (Option<String>, Option<Vec<String>>) = (answer.get(0), answer.get(1));
            return match other {
                None => Ok(kept.unwrap_or_default()),
                Some(name) => {
                    let message =
                        format!("queue {name} holds deliveries and cannot become one of the other kind");
                    Err(QueueError::new(Kind::Conflict, message))
                }
            };
        }
        Err(QueueError::new(Kind::Unavailable, "declaring queues: their definitions keep changing"))
    }

    /// Opens a session that was lost, also when nobody commits: it says which queues are
    /// configured here.
    pub(super) async fn come_back(&mut self) {
        if !self.configured.is_empty()
            && let Err(error) = self.session("coming back").await
        {
            tracing::debug!(%error, "the queue's connection was lost; it is tried again");
        }
    }

    /// The session, opened anew where it is closed.
    async fn session(&mut self, what: &str) -> Result<&mut Session, Error> {
        if self.session.as_ref().is_none_or(Session::is_closed) {
            self.session = None;
            let opened = Session::open(&self.database, &self.configured).await;
            let opened = opened.map_err(|error| Error::new(error.kind(), format!("{what}: {error}")))?;
            return Ok(self.session.insert(opened));
        }
        Ok(self.session.as_mut().expect("it is open"))
    }

    /// One transaction with these calls between its beginning and its end.
    async fn transact(&mut self, calls: Vec<(Function, Vec<Param<'_>>)>) -> Result<Became, Error> {
        let mut session = self.session.take().expect("the caller opened it");
        self.number += 1;
        let mut all = Vec::with_capacity(calls.len() + 2);
        all.push((Function::Begin, params![self.node, self.number, session.known.defined]));
        all.extend(calls);
        all.push((Function::End, params![self.node]));
        let sent = tokio::time::timeout(self.database.answer_timeout(), session.transact(&all)).await;
        let server = session.server.clone();
        let why = match sent {
            Ok(Answers { end: End::Committed, mut calls }) => {
                self.session = Some(session);
                calls.remove(0);
                return Ok(Became::Done(calls));
            }
            Ok(Answers { end: End::Undone(error), .. }) => {
                if error.code().is_some_and(|code| code.code() == REDEFINED) {
                    session.learn(&self.database).await?;
                    self.session = Some(session);
                    return Ok(Became::Redefined);
                }
                self.session = Some(session);
                return Err(Error::postgres("committing", &error));
            }
            Ok(Answers { end: End::Unknown(error), .. }) => Error::postgres("committing", &error).to_string(),
            Err(_) => Error::slow("committing").to_string(),
        };
        drop(session);
        Err(self.find_out(&server, &why).await)
    }

    /// What became of the last commit, whose session of then is given up. An error either way:
    /// what the commit did is not known in detail even when it happened.
    async fn find_out(&mut self, server: &Backend, why: &str) -> Error {
        let until = Instant::now() + self.ask_for;
        loop {
            match self.ask(server).await {
                Ok(Some(true)) => {
                    let message = format!("{why}; it happened all the same, and its answer was lost");
                    return Error::new(ErrorKind::Unconfirmed, message);
                }
                Ok(Some(false)) => {
                    return Error::new(ErrorKind::Unavailable, format!("{why}; nothing of it happened"));
                }
                Ok(None) | Err(_) if Instant::now() < until => tokio::time::sleep(ASK_EVERY).await,
                Ok(None) => {
                    let message = format!("{why}; the session that it was sent over does not end");
                    return Error::new(ErrorKind::Unconfirmed, message);
                }
                Err(error) => {
                    let message = format!("{why}; whether it happened cannot be asked ({error})");
                    return Error::new(ErrorKind::Unconfirmed, message);
                }
            }
        }
    }

    /// Whether the last commit happened; none as long as its session is not gone.
    async fn ask(&mut self, server: &Backend) -> Result<Option<bool>, Error> {
        let (node, number, database) = (self.node, self.number, self.database.clone());
        let session = self.session("asking what became of a commit").await?;
        let what = "asking what became of a commit";
        if !database.within(what, server.end(session.client())).await? {
            return Ok(None);
        }
        let ask = "SELECT commits FROM queue.node WHERE id = $1";
        let row = database.within(what, session.client().query_opt(ask, &[&node])).await?;
        Ok(Some(row.is_some_and(|row| row.get::<_, i64>(0) == number)))
    }
}
