//! Calls on their way to the commit that carries them.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::engine::{Op, Outcome, Settle};
use crate::error::{Error, ErrorKind};
use crate::model::{DeliveryId, Settlement};

/// What became of a call's operations, one by one.
pub(crate) type Answer = Result<Vec<Result<Outcome, Error>>, Error>;

/// A call that waits for its commit.
pub(crate) struct Job {
    pub(crate) ops: Vec<Op>,
    /// What to do when the caller is gone before the commit begins.
    pub(crate) unless_gone: bool,
    pub(crate) reply: oneshot::Sender<Reply>,
}

/// An answer that returns what it hands out when nobody takes it.
pub(crate) struct Reply {
    answer: Option<Answer>,
    /// The claim that the answer hands out deliveries of, and where they go back.
    claimed: Option<(Claimed, mpsc::Sender<Op>)>,
}

/// Whose deliveries a claim hands out.
pub(crate) struct Claimed {
    pub(crate) queue: orderwire_types::QueueName,
    pub(crate) clients: orderwire_types::scope::Clients,
}

impl Claimed {
    fn release(&self, delivery: DeliveryId) -> Op {
        let (queue, clients) = (self.queue.clone(), self.clients.clone());
        Op::Settle(Settle { queue, delivery, clients, settlement: Settlement::Release })
    }
}

impl Reply {
    pub(crate) fn new(answer: Answer, claimed: Option<(Claimed, mpsc::Sender<Op>)>) -> Self {
        Self { answer: Some(answer), claimed }
    }

    /// Takes the answer; from now on its deliveries are the caller's.
    pub(crate) fn take(mut self) -> Answer {
        self.answer.take().expect("an answer is taken once, by value")
    }
}

impl Drop for Reply {
    /// The caller went away after its claim was committed: nobody has seen the
    /// deliveries, so they go back at once and uncounted.
    fn drop(&mut self) {
        let (Some(Ok(outcomes)), Some((claimed, returns))) = (self.answer.take(), self.claimed.take()) else {
            return;
        };
        let deliveries = outcomes.into_iter().flat_map(|outcome| match outcome {
            Ok(Outcome::Claimed(deliveries)) => deliveries,
            _ => Vec::new(),
        });
        let firsts = first_of_lanes(deliveries.map(|delivery| delivery.id));
        let count = firsts.len();
        for delivery in firsts {
            // A full channel or a stopped service: the leases run out instead.
            if returns.try_send(claimed.release(delivery)).is_err() {
                tracing::warn!(queue.name = %claimed.queue, "deliveries whose consumer left wait for their lease");
                return;
            }
        }
        tracing::debug!(queue.name = %claimed.queue, lanes = count, "returned deliveries whose consumer left");
    }
}

/// The first delivery of each lane; releasing it releases those behind it.
fn first_of_lanes(deliveries: impl Iterator<Item = DeliveryId>) -> Vec<DeliveryId> {
    let mut seen = std::collections::HashSet::new();
    deliveries.filter(|delivery| seen.insert(delivery.lane)).collect()
}

/// The way to the service that commits.
#[derive(Clone)]
pub(crate) struct Committer {
    pub(crate) jobs: mpsc::Sender<Job>,
    pub(crate) timeout: Duration,
}

impl Committer {
    /// Commits for a caller from outside: refused at once when too many wait.
    pub(crate) async fn submit(&self, ops: Vec<Op>) -> Answer {
        let (reply, answer) = oneshot::channel();
        self.jobs.try_send(Job { ops, unless_gone: true, reply }).map_err(|err| match err {
            mpsc::error::TrySendError::Full(_) => unavailable("too many calls wait for the queue's storage"),
            mpsc::error::TrySendError::Closed(_) => stopped(),
        })?;
        self.answer(answer).await
    }

    /// Commits what was handed out already and is better late than never:
    /// waits for a place, and happens also when the caller goes away.
    pub(crate) async fn submit_patiently(&self, ops: Vec<Op>) -> Answer {
        let (reply, answer) = oneshot::channel();
        let sent = self.jobs.send_timeout(Job { ops, unless_gone: false, reply }, self.timeout).await;
        sent.map_err(|err| match err {
            mpsc::error::SendTimeoutError::Timeout(_) => {
                unavailable("too many calls wait for the queue's storage")
            }
            mpsc::error::SendTimeoutError::Closed(_) => stopped(),
        })?;
        self.answer(answer).await
    }

    /// Returns deliveries that nobody has seen, uncounted, when there is no time to
    /// wait. Where that is not possible their leases run out instead.
    pub(crate) fn return_unseen(&self, claimed: &Claimed, deliveries: impl Iterator<Item = DeliveryId>) {
        let ops: Vec<Op> = first_of_lanes(deliveries).into_iter().map(|id| claimed.release(id)).collect();
        if ops.is_empty() {
            return;
        }
        let (reply, _) = oneshot::channel();
        if self.jobs.try_send(Job { ops, unless_gone: false, reply }).is_err() {
            tracing::warn!(queue.name = %claimed.queue, "deliveries whose consumer left wait for their lease");
        }
    }

    async fn answer(&self, answer: oneshot::Receiver<Reply>) -> Answer {
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(Ok(reply)) => reply.take(),
            Ok(Err(_)) => Err(unconfirmed("the queue stopped before its storage confirmed")),
            Err(_) => Err(unconfirmed("the queue's storage did not confirm in time")),
        }
    }
}

fn unavailable(message: &str) -> Error {
    Error::new(ErrorKind::Unavailable, message)
}

/// The job was handed in and may be committed yet.
fn unconfirmed(message: &str) -> Error {
    Error::new(ErrorKind::Unconfirmed, message)
}

fn stopped() -> Error {
    unavailable("the queue is shutting down")
}
