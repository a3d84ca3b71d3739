//! The thread that writes: group commit.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use orderwire_store::{Error, ErrorKind};
use orderwire_types::{DatasetName, Limits};
use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

use super::catalogue::{Catalogue, Entry};
use super::error::{Failure, from_sqlite};
use super::table::Filler;
use crate::db::Work;
use crate::late::LateOptions;
use crate::remembered::Ids;

/// One caller's write.
pub(super) struct Job {
    /// Names the operation in errors.
    what: &'static str,
    /// Whether it has a transaction of its own, because those behind it must
    /// find its effect in memory.
    alone: bool,
    write: Box<dyn Write>,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Job").field(&self.what).finish()
    }
}

impl Job {
    /// A write and the channel on which its caller waits. It runs again when
    /// the transaction that it shared was taken back.
    pub(super) fn new<T, F>(what: &'static str, write: F) -> (Self, oneshot::Receiver<Result<T, Error>>)
    where
        T: Send + 'static,
        F: Fn(&mut Transaction<'_>) -> Result<T, Failure> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let write = Box::new(Call { write, done: None, reply });
        (Self { what, alone: false, write }, answer)
    }

    /// The same in a transaction of its own.
    pub(super) fn alone(self) -> Self {
        Self { alone: true, ..self }
    }
}

/// What a write works on.
pub(super) struct Transaction<'a> {
    pub(super) connection: &'a Connection,
    pub(super) memory: &'a mut Memory,
}

/// What the writer keeps beside the file.
pub(super) struct Memory {
    pub(super) limits: Limits,
    pub(super) catalogue: Arc<Catalogue>,
    /// The greatest generation that was ever given, also to failed writes.
    pub(super) last_generation: u64,
    /// By dataset; filled at first use, dropped when the definition changes.
    /// `last_seq` may be ahead of the file after a failed write: it only grows.
    pub(super) fillers: HashMap<DatasetName, Filler>,
    /// The events that were recorded and may come again.
    pub(super) remembered: Remembered,
    /// What happens in memory after the commit.
    pub(super) effects: Vec<Effect>,
    /// Changes with every committed change of an order or release.
    pub(super) orders_changed: watch::Sender<u64>,
}

/// Ids in memory as they are in the file.
pub(super) struct Remembered {
    /// `None` after a transaction that failed: to be read again.
    ids: Option<Ids>,
    /// Whether the open transaction used them.
    used: bool,
    options: LateOptions,
}

impl Remembered {
    pub(super) fn load(connection: &Connection, options: LateOptions) -> rusqlite::Result<Self> {
        Ok(Self { ids: Some(Ids::load(connection, options)?), used: false, options })
    }

    /// The ids, for the open transaction. A write that is refused must not have changed them.
    pub(super) fn ids(&mut self, connection: &Connection) -> rusqlite::Result<&mut Ids> {
        self.used = true;
        match &mut self.ids {
            Some(ids) => Ok(ids),
            empty => Ok(empty.insert(Ids::load(connection, self.options)?)),
        }
    }

    /// Writes what is due, before the commit.
    fn flush(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        match &mut self.ids {
            Some(ids) if self.used => ids.write(connection),
            _ => Ok(()),
        }
    }

    /// The transaction ended.
    fn end(&mut self, committed: bool) {
        if self.used && !committed {
            self.ids = None;
        }
        self.used = false;
    }
}

/// A change in memory.
pub(super) enum Effect {
    /// The rows of this dataset changed.
    Rows(Arc<Entry>, u64),
    /// A dataset is there or has another definition.
    Defined(Entry),
    /// A dataset is gone.
    Removed(DatasetName),
    /// An order or release changed, or is due.
    Orders,
}

impl Memory {
    /// A generation that no dataset ever had.
    pub(super) fn next_generation(&mut self) -> u64 {
        self.last_generation += 1;
        self.last_generation
    }
}

/// What SQLite reported first, to a write or to a read: nothing is written
/// any more.
#[derive(Debug, Default)]
pub(super) struct Damage(OnceLock<Error>);

impl Damage {
    pub(super) fn note(&self, error: &Error) {
        if error.kind() == ErrorKind::Damaged && self.0.set(error.clone()).is_ok() {
            tracing::error!(%error, "the store is damaged: nothing more is written");
        }
    }

    pub(super) fn found(&self) -> Option<&Error> {
        self.0.get()
    }
}

/// Names the beginning of a transaction in errors.
const BEGINNING: &str = "beginning to write";

/// Why a transaction was taken back.
struct Fault {
    error: Error,
    /// Whether it may be for the sake of one job, and others can be done.
    of_a_job: bool,
}

/// The connection that writes and its memory.
pub(super) struct Core {
    file: PathBuf,
    connection: Connection,
    memory: Memory,
    damage: Arc<Damage>,
}

impl Core {
    pub(super) fn new(file: PathBuf, connection: Connection, memory: Memory, damage: Arc<Damage>) -> Self {
        Self { file, connection, memory, damage }
    }

    /// Does these jobs in one transaction and answers them. When it fails,
    /// each has one of its own, so that only those fail that cannot be done.
    fn commit(&mut self, mut jobs: Vec<Job>) {
        // Whose callers have gone meanwhile is done nevertheless: nobody can
        // tell them apart from one that goes a moment later.
        let Err(fault) = self.transact(&mut jobs) else {
            return jobs.into_iter().for_each(|job| job.write.answer());
        };
        if jobs.len() == 1 || !fault.of_a_job {
            return jobs.into_iter().for_each(|job| job.write.fail(fault.error.clone()));
        }
        let mut ended = None;
        for job in jobs {
            match &ended {
                Some(error) => job.write.fail(Error::clone(error)),
                None => ended = self.commit_one(job),
            }
        }
    }

    /// Does one job; the error that would meet every other as well.
    fn commit_one(&mut self, job: Job) -> Option<Error> {
        let mut job = [job];
        let done = self.transact(&mut job);
        let [job] = job;
        let Err(fault) = done else {
            job.write.answer();
            return None;
        };
        job.write.fail(fault.error.clone());
        (!fault.of_a_job).then_some(fault.error)
    }

    fn transact(&mut self, jobs: &mut [Job]) -> Result<(), Fault> {
        if let Some(damage) = self.damage.found() {
            return Err(Fault { error: damage.clone(), of_a_job: false });
        }
        let applied = self.apply(jobs);
        match applied {
            Ok(()) => {
                self.settle();
                Ok(())
            }
            Err((what, error)) => Err(self.undo(what, &error)),
        }
    }

    /// Brings file and memory back to what was committed last.
    fn undo(&mut self, what: &str, error: &rusqlite::Error) -> Fault {
        let error = from_sqlite(&self.file, what, error);
        self.memory.effects.clear();
        self.memory.fillers.clear();
        self.memory.remembered.end(false);
        // Some errors take the transaction back by themselves.
        if !self.connection.is_autocommit()
            && let Err(rollback) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::error!(error = %rollback, "a transaction of the store could not be taken back");
        }
        self.damage.note(&error);
        Fault { of_a_job: what != BEGINNING && error.kind() != ErrorKind::Damaged, error }
    }

    fn apply(&mut self, jobs: &mut [Job]) -> Result<(), (&'static str, rusqlite::Error)> {
        let run = |sql| self.connection.prepare_cached(sql).and_then(|mut statement| statement.execute([]));
        run("BEGIN IMMEDIATE").map_err(|error| (BEGINNING, error))?;
        for job in jobs {
            let failed = |error| (job.what, error);
            run("SAVEPOINT job").map_err(failed)?;
            let effects = self.memory.effects.len();
            let mut transaction = Transaction { connection: &self.connection, memory: &mut self.memory };
            let refused = job.write.run(&mut transaction).map_err(failed)?;
            if refused {
                run("ROLLBACK TO job").map_err(failed)?;
                self.memory.effects.truncate(effects);
            }
            run("RELEASE job").map_err(failed)?;
        }
        let flushed = self.memory.remembered.flush(&self.connection);
        flushed.and_then(|()| run("COMMIT")).map_err(|error| ("committing", error))?;
        Ok(())
    }

    fn settle(&mut self) {
        use std::sync::atomic::Ordering;
        self.memory.remembered.end(true);
        let mut orders = false;
        for effect in self.memory.effects.drain(..) {
            match effect {
                Effect::Orders => orders = true,
                Effect::Rows(entry, generation) => entry.generation.store(generation, Ordering::Release),
                Effect::Defined(entry) => {
                    self.memory.fillers.remove(&entry.dataset.name);
                    self.memory.catalogue.put(entry);
                }
                Effect::Removed(name) => {
                    self.memory.fillers.remove(&name);
                    self.memory.catalogue.remove(&name);
                }
            }
        }
        if orders {
            self.memory.orders_changed.send_modify(|changes| *changes += 1);
        }
    }
}

impl Work for Core {
    type Job = Job;

    fn connection(&self) -> &Connection {
        &self.connection
    }

    fn run(&mut self, jobs: Vec<Job>) {
        let mut group = Vec::with_capacity(jobs.len());
        for job in jobs {
            if job.alone {
                if !group.is_empty() {
                    self.commit(std::mem::take(&mut group));
                }
                self.commit(vec![job]);
            } else {
                group.push(job);
            }
        }
        if !group.is_empty() {
            self.commit(group);
        }
    }
}

/// A write, whatever it answers.
trait Write: Send {
    /// Does it, once per transaction; true when it was refused.
    fn run(&mut self, transaction: &mut Transaction<'_>) -> rusqlite::Result<bool>;
    /// Answers what it did or why it was refused.
    fn answer(self: Box<Self>);
    /// Answers that nothing was done.
    fn fail(self: Box<Self>, error: Error);
}

struct Call<T, F> {
    write: F,
    done: Option<Result<T, Error>>,
    reply: oneshot::Sender<Result<T, Error>>,
}

impl<T, F> Write for Call<T, F>
where
    T: Send,
    F: Fn(&mut Transaction<'_>) -> Result<T, Failure> + Send,
{
    fn run(&mut self, transaction: &mut Transaction<'_>) -> rusqlite::Result<bool> {
        let done = match (self.write)(transaction) {
            Ok(value) => Ok(value),
            Err(Failure::Refused(error)) => Err(error),
            Err(Failure::Engine(error)) => return Err(error),
        };
        let refused = done.is_err();
        self.done = Some(done);
        Ok(refused)
    }

    fn answer(self: Box<Self>) {
        let done = self.done.expect("answered after it ran");
        // The caller may have gone.
        drop(self.reply.send(done));
    }

    fn fail(self: Box<Self>, error: Error) {
        drop(self.reply.send(Err(error)));
    }
}
