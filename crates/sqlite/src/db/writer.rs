//! The thread that writes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::mpsc;

use super::Log;
use super::log::Keeper;
use crate::error::{Error, ErrorKind};

/// What a writer thread does with what it is sent.
pub(crate) trait Work: Send + 'static {
    /// One caller's request, with the channel on which it waits.
    type Job: Send + 'static;

    /// Does the jobs, in order, and answers each. Called with everything that
    /// was waiting (up to the group's size): one transaction can carry all.
    fn run(&mut self, jobs: Vec<Self::Job>);

    /// The connection that writes; no transaction is open between two runs.
    fn connection(&self) -> &Connection;
}

/// The thread that owns the connection that writes. Dropping it waits until
/// the jobs that were sent are done and the file is closed.
///
/// A panic ends the thread: what it had in memory cannot be trusted. Jobs that
/// wait and all that come later are dropped without an answer.
#[derive(Debug)]
pub(crate) struct Writer<J> {
    sender: Option<mpsc::Sender<J>>,
    thread: Option<JoinHandle<()>>,
}

impl<J: Send + 'static> Writer<J> {
    /// Starts the thread; `group` is the most jobs that it takes at once, and
    /// as many may wait. Between groups it keeps the log short.
    pub(crate) fn spawn<W: Work<Job = J>>(
        name: &str,
        group: usize,
        work: W,
        log: Arc<Log>,
    ) -> Result<Self, Error> {
        let (sender, receiver) = mpsc::channel(group);
        let thread_name = name.to_owned();
        let run = move || {
            let serve = AssertUnwindSafe(|| serve(work, receiver, group, Keeper::new(log)));
            if let Err(panic) = catch_unwind(serve) {
                let panic = message(panic.as_ref());
                tracing::error!(thread = thread_name, panic, "a thread that writes panicked: restart");
            }
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run).map_err(|error| {
            Error::new(ErrorKind::Unavailable, format!("starting the thread {name} failed: {error}"))
        })?;
        Ok(Self { sender: Some(sender), thread: Some(thread) })
    }

    /// Hands over a job; waits while too many are waiting. `false` when the
    /// thread has ended, which only a defect can bring about.
    pub(crate) async fn send(&self, job: J) -> bool {
        match &self.sender {
            Some(sender) => sender.send(job).await.is_ok(),
            None => false,
        }
    }
}

fn serve<W: Work>(mut work: W, mut receiver: mpsc::Receiver<W::Job>, group: usize, mut keeper: Keeper) {
    while let Some(first) = keeper.next(&mut receiver, work.connection()) {
        let mut jobs = vec![first];
        while jobs.len() < group {
            let Ok(next) = receiver.try_recv() else { break };
            jobs.push(next);
        }
        work.run(jobs);
    }
}

/// What a panic said.
fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it said nothing")
}

impl<J> Drop for Writer<J> {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a thread that writes panicked while it ended");
        }
    }
}
