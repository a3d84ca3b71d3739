//! Replays at a rate: begun, followed, cancelled, and run behind the handle.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use orderwire_types::Scope;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

use super::dead::piece;
use super::{Inner, Queues};
use crate::error::{Error, ErrorKind};
use crate::model::DeadFilter;
use crate::replay::{Pace, Record, Replay, ReplayId, ReplayState};

/// How long a call waits for the letters to be counted.
const COUNTED_WITHIN: Duration = Duration::from_secs(1);

/// A replay on its way to where it runs.
pub(crate) struct Begun {
    record: Arc<Record>,
    filter: DeadFilter,
}

impl Queues {
    /// Begins to put the selected dead letters back at this rate, as
    /// [`Queues::replay`] does at once. Letters that die after the call began are
    /// not selected. Answers when the letters are counted, or after a second.
    ///
    /// # Errors
    /// `Busy` when as many replays run as may.
    pub async fn start_replay(
        &self,
        scope: &Scope,
        filter: &DeadFilter,
        rate: NonZeroU32,
    ) -> Result<Replay, Error> {
        let room = self.inner.begin.try_reserve().map_err(|err| match err {
            TrySendError::Full(()) => Error::new(ErrorKind::Busy, "other replays are only just beginning"),
            TrySendError::Closed(()) => Error::new(ErrorKind::Unavailable, "the queue is shutting down"),
        })?;
        let ids = filter.ids.as_ref().map(Vec::len);
        let replay = Replay {
            id: ReplayId(Uuid::new_v4()),
            filter: DeadFilter { ids: None, ..filter.clone() },
            ids,
            rate,
            principal: scope.principal.as_ref().to_owned(),
            started_at: self.inner.clock.now(),
            ended_at: None,
            state: ReplayState::Running,
            matched: None,
            done: 0,
            reason: None,
        };
        let filter = self.selection(scope, filter).into_filter();
        let record = Arc::new(Record::new(replay, scope.clone()));
        self.inner.replays.add(&record)?;
        room.send(Begun { record: Arc::clone(&record), filter });
        self.inner.show_replays();
        Ok(record.wait(COUNTED_WITHIN, |told| told.matched.is_some() || !told.is_running()).await)
    }

    /// The replays within the scope, those that ended lately among them, in the
    /// order in which they began.
    pub fn replays(&self, scope: &Scope) -> Vec<Replay> {
        self.inner.replays.within(scope).iter().map(|record| record.now()).collect()
    }

    /// One replay.
    ///
    /// # Errors
    /// `NotFound`, also after a restart.
    pub fn replay_of(&self, scope: &Scope, id: ReplayId) -> Result<Replay, Error> {
        Ok(self.inner.replays.get(scope, id)?.now())
    }

    /// Ends a replay and answers when it has ended: nothing more is put back then.
    /// One that ended before stays as it is. Still running when its storage does
    /// not answer within [`crate::Options::call_timeout`].
    ///
    /// # Errors
    /// `NotFound`, also after a restart.
    pub async fn cancel_replay(&self, scope: &Scope, id: ReplayId) -> Result<Replay, Error> {
        let record = self.inner.replays.get(scope, id)?;
        record.cancel();
        Ok(record.wait(self.inner.options.call_timeout, |told| !told.is_running()).await)
    }
}

impl Inner {
    /// Shows how many replays run.
    fn show_replays(&self) {
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        metrics::gauge!("orderwire_replays_running").set(self.replays.running() as f64);
    }
}

/// Runs replays as they are begun, for as long as it is polled.
pub(crate) async fn replays(inner: &Arc<Inner>, mut begun: mpsc::Receiver<Begun>) {
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            Some(begun) = begun.recv() => {
                running.spawn(run(Queues { inner: Arc::clone(inner) }, begun));
            }
            Some(ended) = running.join_next() => {
                if let Err(err) = ended {
                    tracing::error!(error = %err, "a replay ended unexpectedly");
                }
            }
            // The handle holds the other end of what is begun.
            else => std::future::pending::<()>().await,
        }
    }
}

/// Runs one to its end and tells how it ended.
async fn run(queues: Queues, begun: Begun) {
    let Begun { record, filter } = begun;
    let ending = Ending { record, inner: Arc::clone(&queues.inner) };
    let ended = put_back(&queues, &ending.record, filter).await;
    ending.tell(ended);
}

/// Puts the letters back at their pace, until it is asked to end.
async fn put_back(queues: &Queues, record: &Record, filter: DeadFilter) -> Result<ReplayState, Error> {
    let inner = &queues.inner;
    let (rate, principal) = {
        let told = record.told.borrow();
        (told.rate, told.principal.clone())
    };
    let stopped = async {
        tokio::select! {
            () = record.cancelled() => Ok(ReplayState::Cancelled),
            () = inner.closed() => Err(Error::new(ErrorKind::Unavailable, "the server is shutting down")),
        }
    };
    let mut stopped = std::pin::pin!(stopped);

    let mut matched = 0;
    let mut selection = queues.selected(&record.scope, filter.clone());
    loop {
        tokio::select! {
            biased;
            ended = &mut stopped => return ended,
            page = selection.next() => match page? {
                Some(page) => matched += page.len() as u64,
                None => break,
            },
        }
    }
    record.told.send_modify(|told| told.matched = Some(matched));

    let mut pace = Pace::new(rate, Instant::now());
    let mut selection = queues.selected(&record.scope, filter);
    while let Some(page) = selection.next().await? {
        let mut left = page.as_slice();
        while !left.is_empty() {
            // Only between two pieces: one that is being committed is counted.
            tokio::select! {
                biased;
                ended = &mut stopped => return ended,
                () = tokio::time::sleep_until(pace.piece_at()) => {}
            }
            let due = pace.due(Instant::now()).min(left.len());
            let (now, later) = left.split_at(piece(&left[..due], inner.options.lease_bytes));
            let count = queues.put_back(now, &principal).await?;
            record.told.send_modify(|told| told.done += count);
            pace.went(now.len());
            left = later;
        }
    }
    Ok(ReplayState::Done)
}

/// Tells of the end of a replay, also of one that panics or is dropped: what is
/// told of it must not run for ever.
struct Ending {
    record: Arc<Record>,
    inner: Arc<Inner>,
}

impl Ending {
    fn tell(&self, ended: Result<ReplayState, Error>) {
        let at = self.inner.clock.now();
        self.record.told.send_modify(|told| {
            told.ended_at = Some(at);
            match ended {
                Ok(state) => told.state = state,
                Err(err) => {
                    told.state = ReplayState::Failed;
                    told.reason = Some(err.to_string());
                }
            }
        });
        self.inner.show_replays();
        let told = self.record.now();
        tracing::info!(
            replay.id = %told.id, principal = told.principal, state = told.state.word(),
            matched = told.matched, done = told.done, error = told.reason,
            "a replay at a rate ended"
        );
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if self.record.told.borrow().is_running() {
            self.tell(Err(Error::new(ErrorKind::Unavailable, "it ended unexpectedly")));
        }
    }
}
