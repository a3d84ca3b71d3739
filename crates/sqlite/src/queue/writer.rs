//! The writer: everything that waits goes into one transaction.

use std::collections::BTreeSet;
use std::path::PathBuf;

use jiff::Timestamp;
use orderwire_queue::engine::{Committed, Op, Origin, Outcome};
use orderwire_queue::{Error, ErrorKind};
use orderwire_types::QueueName;
use orderwire_types::queue::QueueDef;
use rusqlite::{CachedStatement, Connection, OptionalExtension};
use tokio::sync::oneshot;

use super::state::State;
use super::{Options, nanos, timestamp};
use crate::db::Work;
use crate::lock::DataDir;

/// One caller's request.
#[derive(Debug)]
pub(super) enum Job {
    Declare { queues: Vec<(QueueName, QueueDef)>, origin: Origin, answer: oneshot::Sender<Result<(), Error>> },
    Commit { ops: Vec<Op>, now: Timestamp, answer: oneshot::Sender<Result<Committed, Error>> },
}

/// Why an operation did not happen.
#[derive(Debug)]
pub(super) enum Stop {
    /// It is refused by itself; nothing was written for it.
    Refused(Error),
    /// SQLite failed: the whole transaction is undone.
    Failed(rusqlite::Error),
    /// The file contradicts itself.
    Damaged(String),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error)
    }
}

/// The open transaction as one job sees it.
pub(super) struct Tx<'a> {
    pub(super) db: &'a Connection,
    pub(super) state: &'a mut State,
    pub(super) time: Timestamp,
    /// `time`, as it is stored.
    pub(super) now: i64,
    /// How much became dead letters.
    pub(super) buried_bytes: i64,
    woken: BTreeSet<i64>,
    pub(super) kept: Kept<'a>,
}

/// Statements that every event of a group needs: looking one up in the cache costs as
/// much as running it.
#[derive(Default)]
pub(super) struct Kept<'a> {
    pub(super) insert_event: Option<CachedStatement<'a>>,
    pub(super) insert_delivery: Option<CachedStatement<'a>>,
    pub(super) list_step: Option<CachedStatement<'a>>,
    pub(super) list_id: Option<CachedStatement<'a>>,
}

/// The kept statement, prepared where it is not there yet.
pub(super) fn kept<'k, 'a>(
    place: &'k mut Option<CachedStatement<'a>>,
    prepare: impl FnOnce() -> rusqlite::Result<CachedStatement<'a>>,
) -> rusqlite::Result<&'k mut CachedStatement<'a>> {
    match place {
        Some(statement) => Ok(statement),
        None => Ok(place.insert(prepare()?)),
    }
}

impl Tx<'_> {
    /// A lane of the queue became ready or an entry arrived.
    pub(super) fn wake(&mut self, queue: i64) {
        self.woken.insert(queue);
    }

    fn apply(&mut self, op: &Op) -> Result<Outcome, Stop> {
        if !matches!(op, Op::Append(_)) {
            self.state.ends.write(self.db)?;
        }
        match op {
            Op::Append(append) => self.append(append),
            Op::Reject(reject) => self.reject(reject),
            Op::Claim(claim) => self.claim(claim),
            Op::Settle(settle) => self.settle(settle),
            Op::Extend { queue, delivery, clients, until } => self.extend(queue, *delivery, clients, *until),
            Op::Expire { limit } => self.expire(*limit),
            Op::Advance { queue, to } => self.advance(queue, to.0),
            Op::Bury { queue, position, attempts, cause } => {
                self.bury_entry(queue, position.0, *attempts, cause)
            }
            Op::Pause { queue, paused } => self.pause(queue, *paused),
            Op::Replay { ids, principal } => self.replay(ids, principal),
            Op::Edit(edit) => self.edit(edit),
            Op::Discard { ids, principal, reason } => self.discard(ids, principal, reason),
            Op::Sweep(sweep) => self.sweep(sweep),
        }
    }

    fn pause(&mut self, queue: &QueueName, paused: bool) -> Result<Outcome, Stop> {
        let id = self.state.id(queue)?;
        self.state.queue_mut(id).paused = paused;
        if !paused {
            self.wake(id);
        }
        Ok(Outcome::Done)
    }
}

/// The writer thread's own.
pub(super) struct QueueWork {
    db: Connection,
    file: PathBuf,
    /// `None` after a failed transaction: to be read again.
    state: Option<State>,
    options: Options,
    /// Set when the file turned out to be damaged: nothing is written any more.
    poison: Option<Error>,
    /// Keeps the folder locked until the file is closed.
    _dir: DataDir,
}

enum Answer {
    Declared(Result<(), Error>),
    Committed(Committed),
}

impl Work for QueueWork {
    type Job = Job;

    fn connection(&self) -> &Connection {
        &self.db
    }

    fn run(&mut self, jobs: Vec<Job>) {
        match self.try_all(&jobs) {
            Ok(answers) => jobs.into_iter().zip(answers).for_each(|(job, answer)| job.answer(answer)),
            // One that needs more than there is fails no other.
            Err(_) if jobs.len() > 1 => jobs.into_iter().for_each(|job| self.run(vec![job])),
            Err(error) => jobs.into_iter().for_each(|job| job.fail(error.clone())),
        }
    }
}

impl QueueWork {
    pub(super) fn open(
        db: Connection,
        file: PathBuf,
        dir: DataDir,
        options: Options,
    ) -> Result<Self, crate::Error> {
        let state =
            State::load(&db, &options).map_err(|error| crate::Error::sqlite(&file, "opening", &error))?;
        Ok(Self { db, file, state: Some(state), options, poison: None, _dir: dir })
    }

    fn try_all(&mut self, jobs: &[Job]) -> Result<Vec<Answer>, Error> {
        match &self.poison {
            Some(poison) => Err(poison.clone()),
            None => self.transact(jobs).map_err(|stop| self.undo(stop)),
        }
    }

    fn transact(&mut self, jobs: &[Job]) -> Result<Vec<Answer>, Stop> {
        self.db.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let state = match &mut self.state {
            Some(state) => state,
            // After a failure: see whether the file can be written again.
            empty => empty.insert(State::load(&self.db, &self.options)?).touched(),
        };
        let mut answers = Vec::with_capacity(jobs.len());
        for job in jobs {
            answers.push(job.run(&self.db, state)?);
        }
        state.flush(&self.db)?;
        let next_expiry = self
            .db
            .prepare_cached("SELECT until FROM lane WHERE state <> 0 ORDER BY until LIMIT 1")?
            .query_row([], |row| row.get(0))
            .optional()?
            .map(timestamp);
        self.db.prepare_cached("COMMIT")?.execute([])?;
        for answer in &mut answers {
            if let Answer::Committed(committed) = answer {
                committed.next_expiry = next_expiry;
            }
        }
        Ok(answers)
    }

    /// Brings file and memory back to what was committed last.
    fn undo(&mut self, stop: Stop) -> Error {
        self.state = None;
        if !self.db.is_autocommit()
            && let Err(error) = self.db.execute_batch("ROLLBACK")
        {
            // SQLite rolls back by itself at the next BEGIN that succeeds;
            // until then every commit fails.
            tracing::error!(%error, file = %self.file.display(), "rolling back failed");
        }
        let error = match stop {
            Stop::Refused(error) => return error,
            Stop::Failed(error) => crate::Error::sqlite(&self.file, "committing", &error),
            Stop::Damaged(what) => crate::Error::damaged(&self.file, what),
        };
        let error = Error::from(error);
        if error.kind() == ErrorKind::Damaged {
            tracing::error!(%error, "the queue takes no more commits");
            self.poison = Some(error.clone());
        }
        error
    }
}

impl Job {
    fn run(&self, db: &Connection, state: &mut State) -> Result<Answer, Stop> {
        match self {
            Self::Declare { queues, origin, .. } => {
                state.declare(db, queues, *origin).map(Ok).or_else(refused).map(Answer::Declared)
            }
            Self::Commit { ops, now, .. } => {
                // Also one that needs none of them brings them on their way.
                state.lists(db)?;
                let mut tx = Tx {
                    db,
                    state,
                    time: *now,
                    now: nanos(*now),
                    buried_bytes: 0,
                    woken: BTreeSet::new(),
                    kept: Kept::default(),
                };
                let mut outcomes = Vec::with_capacity(ops.len());
                for op in ops {
                    outcomes.push(tx.apply(op).map(Ok).or_else(refused)?);
                }
                let Tx { state, woken, .. } = tx;
                let ready = woken.iter().map(|id| state.queue(*id).name.clone()).collect();
                Ok(Answer::Committed(Committed { outcomes, ready, next_expiry: None }))
            }
        }
    }

    /// A caller that no longer waits is no fault.
    fn answer(self, result: Answer) {
        match (self, result) {
            (Self::Declare { answer, .. }, Answer::Declared(result)) => drop(answer.send(result)),
            (Self::Commit { answer, .. }, Answer::Committed(committed)) => drop(answer.send(Ok(committed))),
            _ => unreachable!("a job is answered by its own kind"),
        }
    }

    fn fail(self, error: Error) {
        match self {
            Self::Declare { answer, .. } => drop(answer.send(Err(error))),
            Self::Commit { answer, .. } => drop(answer.send(Err(error))),
        }
    }
}

/// A refusal is an answer; anything else ends the transaction.
fn refused<T>(stop: Stop) -> Result<Result<T, Error>, Stop> {
    match stop {
        Stop::Refused(error) => Ok(Err(error)),
        other => Err(other),
    }
}
