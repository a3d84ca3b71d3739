//! The connection over which commits go: its functions, and what it knows of queues.

use std::collections::HashMap;
use std::future::poll_fn;

use futures::future::{MaybeDone, maybe_done};
use orderwire_types::QueueName;
use orderwire_types::queue::QueueDef;
use tokio_postgres::error::Severity;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Statement};

use super::calls::{Function, Param};
use super::read::definition;
use crate::db::{Connection, Database};
use crate::error::Error;

/// The functions that a connection is given.
const SQL: [&str; 8] = [
    include_str!("sql/lanes.sql"),
    include_str!("sql/steps.sql"),
    include_str!("sql/commit.sql"),
    include_str!("sql/append.sql"),
    include_str!("sql/claim.sql"),
    include_str!("sql/settle.sql"),
    include_str!("sql/streams.sql"),
    include_str!("sql/dead.sql"),
];

/// Every look-up of the functions is of few rows by an index. A plan that reads a table whole,
/// because it was small when it was made, would be kept when it is large; and a plan for
/// each call costs more than the call.
const PLANS: &str = "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; \
                     SET jit = off; SET plan_cache_mode = force_generic_plan";

/// The class of the locks by which a session says that its process configures a queue, "owqu":
/// as long as it lives, shared with all that say the same.
pub(super) const CONFIGURED: i32 = 0x6f77_7175;

/// A connection with its functions.
#[derive(Debug)]
pub(super) struct Session {
    connection: Connection,
    statements: Vec<Statement>,
    pub(super) server: Backend,
    pub(super) known: Known,
}

/// The server's process behind a session.
#[derive(Clone, Debug)]
pub(super) struct Backend {
    pid: i32,
    /// When it began: numbers of processes come again.
    begun: String,
}

/// The queues as of one change of definitions.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The commit of that change.
    pub(super) defined: i64,
    pub(super) queues: HashMap<QueueName, Queue>,
}

/// What is known of a queue.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) id: i32,
    pub(super) stream: bool,
    pub(super) configured: bool,
    pub(super) def: QueueDef,
}

impl Session {
    /// Opens one for a process that configures these queues.
    pub(super) async fn open(database: &Database, configured: &[String]) -> Result<Self, Error> {
        let what = "opening a session of the queue";
        let connection = database.connect(what).await?;
        let functions = format!("{PLANS}; {}", SQL.join("\n"));
        database.within(what, connection.batch_execute(&functions)).await?;
        let texts = Function::ALL.iter().map(|function| function.statement()).collect::<Vec<_>>();
        let preparing = futures::future::try_join_all(texts.iter().map(|text| connection.prepare(text)));
        let statements = database.within(what, preparing).await?;
        let ask = "SELECT pid, backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()";
        let row = database.within(what, connection.query_one(ask, &[])).await?;
        let server = Backend { pid: row.get(0), begun: row.get(1) };
        let mut session = Self { connection, statements, server, known: Known::default() };
        session.configures(database, configured).await?;
        session.learn(database).await?;
        Ok(session)
    }

    /// Says which queues are configured here, and no longer what was said before.
    pub(super) async fn configures(&self, database: &Database, queues: &[String]) -> Result<(), Error> {
        let what = "saying which queues are configured";
        let forget = "SELECT pg_advisory_unlock_shared(l.classid::int4, l.objid::int4) FROM pg_locks l
            WHERE l.locktype = 'advisory' AND l.pid = pg_backend_pid() AND l.classid = $1::int4::oid AND l.granted";
        database.within(what, self.connection.query(forget, &[&CONFIGURED])).await?;
        let say = "SELECT pg_advisory_lock_shared($1, key) FROM (SELECT DISTINCT hashtext(name) FROM unnest($2::text[]) name) k(key)";
        database.within(what, self.connection.query(say, &[&CONFIGURED, &queues])).await.map(drop)
    }

    /// Reads the definitions anew.
    pub(super) async fn learn(&mut self, database: &Database) -> Result<(), Error> {
        let ask = "SELECT m.defined, q.id, q.stream, q.configured, q.name, q.def
                   FROM queue.meta m LEFT JOIN queue.queue q ON true";
        let rows = database.within("reading the queues", self.connection.query(ask, &[])).await?;
        let mut known = Known::default();
        for row in rows {
            known.defined = row.get(0);
            let Some(id) = row.get(1) else { continue };
            let (name, def) = definition(row.get(4), row.get(5))?;
            known.queues.insert(name, Queue { id, stream: row.get(2), configured: row.get(3), def });
        }
        self.known = known;
        Ok(())
    }

    pub(super) fn is_closed(&self) -> bool {
        self.connection.is_closed()
    }

    pub(super) fn client(&self) -> &tokio_postgres::Client {
        &self.connection
    }

    /// Sends a transaction with these calls, all at once, and returns their answers in order.
    pub(super) async fn transact(&self, calls: &[(Function, Vec<Param<'_>>)]) -> Answers {
        let mut sent = Vec::with_capacity(calls.len() + 2);
        sent.push(self.plain("BEGIN"));
        for (function, params) in calls {
            sent.push(self.call(*function, params));
        }
        sent.push(self.plain("COMMIT"));
        // The first look at each sends it: in this order.
        poll_fn(|context| {
            for future in &mut sent {
                let _ = future.as_mut().poll(context);
            }
            std::task::Poll::Ready(())
        })
        .await;
        let mut answers = Vec::with_capacity(sent.len());
        for mut future in sent {
            future.as_mut().await;
            answers.push(future.as_mut().take_output().expect("it is done, and taken once"));
        }
        Answers::new(answers)
    }

    fn plain<'a>(&'a self, text: &'a str) -> Sent<'a> {
        let answer = async move { self.connection.batch_execute(text).await.map(|()| Vec::new()) };
        Box::pin(maybe_done(Box::pin(answer) as Answering<'a>))
    }

    fn call<'a>(&'a self, function: Function, params: &'a [Param<'a>]) -> Sent<'a> {
        let statement = &self.statements[function as usize];
        let answer = async move {
            let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|param| &**param as _).collect();
            self.connection.query(statement, &params).await
        };
        Box::pin(maybe_done(Box::pin(answer) as Answering<'a>))
    }
}

type Answering<'a> =
    std::pin::Pin<Box<dyn Future<Output = Result<Vec<Row>, tokio_postgres::Error>> + Send + 'a>>;
type Sent<'a> = std::pin::Pin<Box<MaybeDone<Answering<'a>>>>;

/// What the server said to a transaction.
pub(super) struct Answers {
    /// Of each call, in order.
    pub(super) calls: Vec<Vec<Row>>,
    /// How it ended.
    pub(super) end: End,
}

/// How a transaction ended.
pub(super) enum End {
    Committed,
    /// By this; nothing of it happened.
    Undone(tokio_postgres::Error),
    /// Nobody knows: the connection broke.
    Unknown(tokio_postgres::Error),
}

impl Answers {
    fn new(answers: Vec<Result<Vec<Row>, tokio_postgres::Error>>) -> Self {
        let mut calls = Vec::with_capacity(answers.len());
        let (mut first, mut broken) = (None, false);
        for answer in answers {
            match answer {
                Ok(rows) => calls.push(rows),
                Err(error) => {
                    // An error of the session's end says nothing of the transaction's.
                    broken |= error
                        .as_db_error()
                        .is_none_or(|error| error.parsed_severity() != Some(Severity::Error));
                    first.get_or_insert(error);
                }
            }
        }
        let end = match first {
            None => End::Committed,
            Some(error) if broken => End::Unknown(error),
            Some(error) => End::Undone(error),
        };
        if matches!(end, End::Committed) {
            // Of BEGIN and COMMIT.
            calls.remove(0);
            calls.pop();
        }
        Self { calls, end }
    }
}

impl Backend {
    /// Ends it, unless it is gone; whether it is gone.
    pub(super) async fn end(&self, client: &tokio_postgres::Client) -> Result<bool, tokio_postgres::Error> {
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND backend_start::text = $2";
        Ok(client.query(end, &[&self.pid, &self.begun]).await?.is_empty())
    }
}
