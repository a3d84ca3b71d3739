//! What runs behind the handle: the commits, the end of leases, the sweep.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::clock::{after, before};
use crate::commit::{Answer, Claimed, Job, Reply};
use crate::engine::{Committed, Elsewhere, Op, Outcome, Sweep};
use crate::error::{Error, ErrorKind};
use crate::queues::Inner;
use crate::queues::replay::{Begun, replays};

/// Lanes that one run of [`Op::Expire`] returns.
const EXPIRE_LANES: usize = 1_024;
/// Rows of each table that one run of [`Op::Sweep`] drops.
const SWEEP_ROWS: usize = 1_024;
/// The pause after a failed commit before the service's own work is tried again.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// How long the parts of a commit that failed may be tried one by one.
const TIME_APART: Duration = Duration::from_secs(2);
/// The least time between two runs of [`Op::Expire`] for the same moment.
const EXPIRE_PAUSE: Duration = Duration::from_millis(1);

/// Commits what the handles ask for, one group at a time: whatever arrives
/// while a commit is on its way is the next group.
///
/// Invariant: one [`crate::Engine::commit`] is under way at most, so that
/// operations become durable in the order in which they were taken.
pub struct Service {
    commits: Commits,
    begun: mpsc::Receiver<Begun>,
}

/// The commits, one after the other.
struct Commits {
    inner: Arc<Inner>,
    jobs: mpsc::Receiver<Job>,
    /// Kept, because every answer to a claim needs one.
    returns: mpsc::Sender<Op>,
    returned: mpsc::Receiver<Op>,
}

impl Service {
    pub(crate) fn new(
        inner: Arc<Inner>,
        jobs: mpsc::Receiver<Job>,
        returns: mpsc::Sender<Op>,
        returned: mpsc::Receiver<Op>,
        begun: mpsc::Receiver<Begun>,
    ) -> Self {
        Self { commits: Commits { inner, jobs, returns, returned }, begun }
    }

    /// Works until `shutdown` is ready; then takes nothing new, finishes what
    /// was taken, and returns.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let inner = Arc::clone(&self.commits.inner);
        tokio::select! {
            () = self.commits.run(shutdown) => {}
            () = look_at_figures(&inner) => {}
            () = replays(&inner, self.begun) => {}
            () = hear_of_others(&inner) => {}
        }
    }
}

impl Commits {
    async fn run(mut self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        let mut own = OwnWork::new(&self.inner);
        let mut taken: VecDeque<Job> = VecDeque::new();
        let mut open = true;
        let mut expiry_elsewhere = self.inner.expiry_elsewhere.subscribe();
        loop {
            let mut ops: Vec<Op> = Vec::new();
            if taken.is_empty() {
                let mut jobs = Vec::new();
                let limit = self.inner.options.group_ops.max(1);
                tokio::select! {
                    biased;
                    () = shutdown.as_mut(), if open => {
                        open = false;
                        self.close();
                        continue;
                    }
                    count = self.jobs.recv_many(&mut jobs, limit) => {
                        if count == 0 && !open {
                            break;
                        }
                        taken.extend(jobs);
                        if open {
                            self.wait_for_others(&mut taken).await;
                        }
                    }
                    Some(op) = self.returned.recv() => ops.push(op),
                    () = own.due(&self.inner), if open => {}
                    // The sender is there as long as `self` is.
                    Ok(()) = expiry_elsewhere.changed(), if open => {
                        own.hear(*expiry_elsewhere.borrow_and_update());
                    }
                }
            }
            while let Ok(op) = self.returned.try_recv() {
                ops.push(op);
            }
            own.add_to(&mut ops, &self.inner, open);
            self.commit(ops, &mut taken, &mut own).await;
        }
        // Deliveries whose consumers left while the last groups were committed.
        let mut ops = Vec::new();
        while let Ok(op) = self.returned.try_recv() {
            ops.push(op);
        }
        if !ops.is_empty() {
            self.commit(ops, &mut taken, &mut own).await;
        }
    }

    /// Takes nothing new from now on, and lets those who wait go.
    fn close(&mut self) {
        self.jobs.close();
        self.inner.closing.send_replace(true);
    }

    /// Gives other calls the group window to join.
    async fn wait_for_others(&mut self, taken: &mut VecDeque<Job>) {
        let options = &self.inner.options;
        if options.group_window.is_zero() {
            return;
        }
        let until = Instant::now() + options.group_window;
        while taken.len() < options.group_ops {
            match tokio::time::timeout_at(until, self.jobs.recv()).await {
                Ok(Some(job)) => taken.push_back(job),
                Ok(None) | Err(_) => return,
            }
        }
    }

    /// One commit: the service's own operations, and as many of the taken jobs
    /// as fit. When it fails, each of them is tried by itself, so that one that
    /// needs more than there is fails no other.
    async fn commit(&mut self, own_ops: Vec<Op>, taken: &mut VecDeque<Job>, own: &mut OwnWork) {
        let own_count = own_ops.len();
        let (ops, callers) = self.group(own_ops, taken);
        if ops.is_empty() && !own.probes(&self.inner) {
            return;
        }
        let apart = (callers.len() + usize::from(own_count > 0) > 1).then(|| ops.clone());
        let (start, now) = (Instant::now(), self.inner.clock.now());
        match (self.try_commit(ops, now).await, apart) {
            (Ok(committed), _) => {
                self.note_health(None);
                self.done(committed, own_count, callers, own, now);
            }
            (Err(err), Some(ops)) if err.kind() == ErrorKind::Unavailable => {
                self.commit_apart(ops, own_count, callers, own, start).await;
            }
            (Err(err), _) => {
                self.note_health(Some(&err));
                own.failed();
                for caller in callers {
                    self.answer(caller, Err(err.clone()));
                }
            }
        }
    }

    /// Commits what failed together one by one, in the same order, for a
    /// limited time: what has none left fails as the last one did.
    async fn commit_apart(
        &self,
        ops: Vec<Op>,
        own_count: usize,
        callers: Vec<Caller>,
        own: &mut OwnWork,
        start: Instant,
    ) {
        let mut ops = ops.into_iter();
        let mut fault = None;
        if own_count > 0 {
            let now = self.inner.clock.now();
            match self.try_commit(ops.by_ref().take(own_count).collect(), now).await {
                Ok(committed) => self.done(committed, own_count, Vec::new(), own, now),
                Err(err) => {
                    own.failed();
                    fault = Some(err);
                }
            }
        }
        for caller in callers {
            let caller_ops: Vec<Op> = ops.by_ref().take(caller.ops).collect();
            if let Some(err) = fault.as_ref().filter(|_| start.elapsed() > TIME_APART) {
                self.answer(caller, Err(err.clone()));
                continue;
            }
            let now = self.inner.clock.now();
            match self.try_commit(caller_ops, now).await {
                Ok(committed) => self.done(committed, 0, vec![caller], own, now),
                Err(err) => {
                    fault = Some(err.clone());
                    self.answer(caller, Err(err));
                }
            }
        }
        if fault.is_some() {
            own.failed();
        }
        self.note_health(fault.as_ref());
    }

    async fn try_commit(&self, ops: Vec<Op>, now: Timestamp) -> Result<Committed, Error> {
        let (count, start) = (ops.len(), Instant::now());
        let result = self.inner.engine.commit(ops, now).await;
        metrics::histogram!("orderwire_queue_commit_seconds").record(start.elapsed().as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        metrics::histogram!("orderwire_queue_commit_ops").record(count as f64);
        result.and_then(|committed| complete(committed, count))
    }

    /// Takes over what a commit did, and answers.
    fn done(
        &self,
        committed: Committed,
        own_count: usize,
        callers: Vec<Caller>,
        own: &mut OwnWork,
        now: Timestamp,
    ) {
        let Committed { outcomes, ready, next_expiry } = committed;
        let mut outcomes = outcomes.into_iter();
        own.done(outcomes.by_ref().take(own_count).collect(), next_expiry, now);
        for caller in callers {
            let answer = outcomes.by_ref().take(caller.ops).collect();
            self.answer(caller, Ok(answer));
        }
        for queue in &ready {
            self.inner.wake(queue);
        }
    }

    /// Adds jobs to the operations until the group is full. A claim or append
    /// whose caller is gone is left out: nobody would take its answer.
    fn group(&self, mut ops: Vec<Op>, taken: &mut VecDeque<Job>) -> (Vec<Op>, Vec<Caller>) {
        let options = &self.inner.options;
        let (mut callers, mut bytes, mut weight) = (Vec::with_capacity(taken.len()), 0usize, 0usize);
        while let Some(job) = taken.front() {
            let (job_weight, job_bytes) =
                job.ops.iter().map(size).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
            let full = weight + job_weight > options.group_ops || bytes + job_bytes > options.group_bytes;
            if full && !callers.is_empty() {
                break;
            }
            let Some(Job { ops: job_ops, unless_gone, reply }) = taken.pop_front() else { break };
            let claimed = job_ops.iter().find_map(|op| match op {
                Op::Claim(claim) => {
                    Some(Claimed { queue: claim.queue.clone(), clients: claim.clients.clone() })
                }
                _ => None,
            });
            if unless_gone && reply.is_closed() {
                // It may have been woken for what it now leaves to the next.
                if let Some(claimed) = claimed {
                    self.inner.wake(&claimed.queue);
                }
                continue;
            }
            (weight, bytes) = (weight + job_weight, bytes + job_bytes);
            callers.push(Caller { ops: job_ops.len(), claimed, reply });
            ops.extend(job_ops);
        }
        (ops, callers)
    }

    fn answer(&self, caller: Caller, answer: Answer) {
        let claimed = caller.claimed.map(|claimed| (claimed, self.returns.clone()));
        // When nobody listens any more, the reply returns what it hands out.
        let _ = caller.reply.send(Reply::new(answer, claimed));
    }

    fn note_health(&self, fault: Option<&Error>) {
        let mut known = self.inner.fault.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*known, fault) {
            (None, Some(err)) => tracing::error!(error = %err, "the queue's storage fails"),
            (Some(_), None) => tracing::info!("the queue's storage works again"),
            _ => {}
        }
        *known = fault.cloned();
    }
}

/// Who waits for a part of a group.
struct Caller {
    ops: usize,
    claimed: Option<Claimed>,
    reply: tokio::sync::oneshot::Sender<Reply>,
}

/// The service's own operations: when they are due, and what they left to do.
struct OwnWork {
    expire_at: Option<Timestamp>,
    sweep_at: Timestamp,
    /// After a failed commit.
    not_before: Option<Instant>,
    pending: Vec<Own>,
    sweep_every: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Own {
    Expire,
    Sweep,
}

impl OwnWork {
    /// Leases may have run out while nothing ran, so the first thing is to look.
    fn new(inner: &Inner) -> Self {
        let now = inner.clock.now();
        let sweep_every = inner.options.sweep_every;
        Self { expire_at: Some(now), sweep_at: now, not_before: None, pending: Vec::new(), sweep_every }
    }

    /// Returns when something is due; after a failed commit also when it is
    /// time to see whether the storage works again.
    async fn due(&self, inner: &Inner) {
        if let Some(at) = self.not_before {
            tokio::time::sleep_until(at).await;
            return;
        }
        let next = self.expire_at.map_or(self.sweep_at, |at| at.min(self.sweep_at));
        inner.clock.sleep_until(next).await;
    }

    /// A lease runs out then, or a delayed lane becomes ready, that another process made so.
    fn hear(&mut self, next_expiry: Option<Timestamp>) {
        self.expire_at = self.expire_at.into_iter().chain(next_expiry).min();
    }

    /// Whether a commit is due for no other reason than to see whether the
    /// storage works again.
    fn probes(&self, inner: &Inner) -> bool {
        inner.is_faulty() && self.not_before.is_none_or(|at| at <= Instant::now())
    }

    /// Adds what is due behind the operations that are there.
    fn add_to(&mut self, ops: &mut Vec<Op>, inner: &Inner, open: bool) {
        self.pending.clear();
        if !open || self.not_before.is_some_and(|at| at > Instant::now()) {
            return;
        }
        let (now, options) = (inner.clock.now(), &inner.options);
        if self.expire_at.is_some_and(|at| at <= now) {
            self.pending.push(Own::Expire);
            ops.push(Op::Expire { limit: EXPIRE_LANES });
        }
        if self.sweep_at <= now {
            self.pending.push(Own::Sweep);
            ops.push(Op::Sweep(Sweep {
                remembered_before: before(now, options.remembered_for),
                steps_before: before(now, options.traces_for),
                dead_before: before(now, options.dead_for),
                limit: SWEEP_ROWS,
            }));
        }
    }

    fn done(
        &mut self,
        outcomes: Vec<Result<Outcome, Error>>,
        next_expiry: Option<Timestamp>,
        now: Timestamp,
    ) {
        let skipped = outcomes.len().saturating_sub(self.pending.len());
        let pending = std::mem::take(&mut self.pending);
        self.not_before = None;
        self.expire_at = next_expiry;
        for (own, outcome) in pending.into_iter().zip(outcomes.into_iter().skip(skipped)) {
            let more = |limit| matches!(outcome, Ok(Outcome::Count(count)) if count >= limit as u64);
            match own {
                Own::Expire if more(EXPIRE_LANES) => self.expire_at = Some(now),
                // An engine that still names this moment must not keep it busy.
                Own::Expire => {
                    self.expire_at =
                        next_expiry.map(|at| if at <= now { after(now, EXPIRE_PAUSE) } else { at });
                }
                Own::Sweep if more(SWEEP_ROWS) => self.sweep_at = now,
                Own::Sweep => self.sweep_at = after(now, self.sweep_every),
            }
            if let Err(err) = outcome {
                tracing::warn!(error = %err, "the queue's housekeeping failed");
            }
        }
    }

    fn failed(&mut self) {
        self.pending.clear();
        // A pause that runs is not drawn out: callers that keep failing must not
        // keep leases from running out and space from being freed.
        let now = Instant::now();
        if self.not_before.is_none_or(|at| at <= now) {
            self.not_before = Some(now + PAUSE_AFTER_FAILURE);
        }
    }
}

/// Takes over the engine's figures now and then.
async fn look_at_figures(inner: &Inner) {
    loop {
        tokio::time::sleep(inner.options.figures_every).await;
        if let Err(err) = inner.look_at_figures().await {
            tracing::warn!(error = %err, "the queues' figures cannot be read");
        }
    }
}

/// Takes over what other processes do to the same queues.
async fn hear_of_others(inner: &Inner) {
    loop {
        let Elsewhere { ready, definitions, next_expiry } = inner.engine.elsewhere().await;
        // Before the wake-ups: one may be of a queue that is new here.
        while definitions && let Err(err) = inner.reload().await {
            tracing::warn!(error = %err, "the queues' definitions changed and cannot be read");
            tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
        }
        if definitions {
            inner.look_for_contradictions();
        }
        for queue in &ready {
            inner.wake(queue);
        }
        if next_expiry.is_some() {
            inner.expiry_elsewhere.send_replace(next_expiry);
        }
    }
}

/// How much an operation counts in a group: in operations, and in bytes.
fn size(op: &Op) -> (usize, usize) {
    match op {
        Op::Append(append) => {
            (append.entries.len().max(1), append.entries.iter().map(|entry| entry.body.len()).sum())
        }
        Op::Reject(reject) => (1, reject.entry.body.len()),
        Op::Edit(edit) => (1, edit.body.len()),
        _ => (1, 0),
    }
}

/// An engine that answers less than it was asked has broken its contract.
fn complete(committed: Committed, ops: usize) -> Result<Committed, Error> {
    if committed.outcomes.len() == ops {
        Ok(committed)
    } else {
        let message = format!("the storage answered {} of {ops} operations", committed.outcomes.len());
        Err(Error::new(ErrorKind::Damaged, message))
    }
}
