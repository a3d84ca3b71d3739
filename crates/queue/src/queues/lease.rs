//! Deliveries out, and their settlement.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use orderwire_types::queue::Kind;
use orderwire_types::scope::Clients;
use orderwire_types::{QueueName, Scope};
use tokio::time::Instant;

use super::{Queues, single, wrong_outcome};
use crate::catalog::Queue;
use crate::clock::after;
use crate::engine::{Claim, Op, Outcome, Settle, Settled};
use crate::error::{Error, ErrorKind};
use crate::holders::Hand;
use crate::model::{Delivery, DeliveryId, Settlement};
use crate::wake::Place;

/// A request for deliveries. Values beyond the options' limits are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseRequest {
    /// At most this many; 0 is taken as 1.
    pub max: usize,
    /// How long the consumer has until it settles or extends.
    pub lease: Duration,
    /// How long to wait while there is nothing.
    pub wait: Duration,
}

/// What one consumer takes at once.
pub(super) struct Taking<'h> {
    /// At most this many, at least 1.
    pub(super) max: usize,
    /// The delivery whose body reaches this many bytes is the last one.
    pub(super) max_bytes: usize,
    pub(super) lease: Duration,
    /// How long it waits; without one for as long as it may.
    pub(super) deadline: Option<Instant>,
    /// Of a consumer that stays: what it holds, to go on with.
    pub(super) hand: Option<&'h Hand>,
}

impl Taking<'_> {
    /// Returns when something arrived behind what is held.
    async fn more(&self) {
        match self.hand {
            Some(hand) => hand.more.notified().await,
            None => std::future::pending().await,
        }
    }

    async fn out_of_time(&self) {
        match self.deadline {
            Some(deadline) => tokio::time::sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    }
}

/// Where a consumer of this scope waits.
///
/// # Errors
/// `Conflict` for a stream and a scope that does not cover all clients.
pub(super) fn place(scope: &Scope, queue: &Queue) -> Result<Place, Error> {
    match scope.clients {
        Clients::All => Ok(Place::Line),
        Clients::Only(_) if queue.def.kind == Kind::Stream => Err(Error::new(
            ErrorKind::Conflict,
            format!("lease from {}: a stream is handed out to a consumer of all clients only", queue.name),
        )),
        Clients::Only(_) => Ok(Place::Crowd),
    }
}

impl Queues {
    /// Hands out deliveries under a lease, after waiting for some; none when
    /// none came within the wait, or the service stops meanwhile. Ends with the
    /// delivery whose body reaches [`crate::Options::lease_bytes`].
    ///
    /// When the call is dropped before it returned, what it claimed goes back at
    /// once, uncounted.
    ///
    /// # Errors
    /// `Conflict` when the queue has a worker that is not the caller, or is a
    /// stream and the scope does not cover all clients.
    pub async fn lease(
        &self,
        scope: &Scope,
        queue: &QueueName,
        request: LeaseRequest,
    ) -> Result<Vec<Delivery>, Error> {
        let queue = self.find_for_consumer(scope, queue)?;
        let place = place(scope, &queue)?;
        let taking = Taking {
            max: request.max.clamp(1, self.inner.options.lease_deliveries.max(1)),
            max_bytes: self.inner.options.lease_bytes,
            lease: request.lease,
            deadline: Some(self.inner.deadline(request.wait)),
            hand: None,
        };
        self.take(scope, &queue, place, &taking).await
    }

    /// Claims, and waits for something to claim; none when none came in time, or
    /// nobody may wait any more.
    pub(super) async fn take(
        &self,
        scope: &Scope,
        queue: &Queue,
        place: Place,
        taking: &Taking<'_>,
    ) -> Result<Vec<Delivery>, Error> {
        loop {
            let mut woken = pin!(queue.live.gate.waiter(place));
            woken.as_mut().enable();
            // Whoever was woken and fails, or takes all it can, wakes the next:
            // there may be more.
            match self.claim(scope, queue, taking).await {
                Ok(deliveries) if deliveries.is_empty() => {}
                Ok(deliveries) => {
                    let bytes: usize = deliveries.iter().map(|delivery| delivery.body.len()).sum();
                    if deliveries.len() >= taking.max || bytes >= taking.max_bytes {
                        queue.live.gate.wake();
                    }
                    return Ok(deliveries);
                }
                Err(err) => {
                    queue.live.gate.wake();
                    return Err(err);
                }
            }
            tokio::select! {
                () = &mut woken => {}
                () = taking.more() => {}
                () = taking.out_of_time() => return Ok(Vec::new()),
                () = self.inner.closed() => return Ok(Vec::new()),
            }
        }
    }

    /// The same for a worker of this role.
    ///
    /// # Errors
    /// As [`Self::lease`].
    pub async fn lease_for_worker(
        &self,
        role: &str,
        queue: &QueueName,
        request: LeaseRequest,
    ) -> Result<Vec<Delivery>, Error> {
        self.lease(&Scope::internal(role), queue, request).await
    }

    /// Settles one delivery.
    ///
    /// # Errors
    /// `LeaseLost` when the lease ran out or the delivery was settled already,
    /// `NotFound` when it is outside the scope, `Conflict` as for [`Self::lease`].
    pub async fn settle(
        &self,
        scope: &Scope,
        queue: &QueueName,
        delivery: DeliveryId,
        settlement: Settlement,
    ) -> Result<Settled, Error> {
        let results = self.settle_many(scope, queue, vec![(delivery, settlement)]).await?;
        results.into_iter().next().unwrap_or_else(|| Err(wrong_outcome()))
    }

    /// Settles deliveries in one commit, in the given order, each by itself:
    /// one result per delivery, with the errors of [`Self::settle`].
    ///
    /// # Errors
    /// When none of them was settled.
    pub async fn settle_many(
        &self,
        scope: &Scope,
        queue: &QueueName,
        deliveries: Vec<(DeliveryId, Settlement)>,
    ) -> Result<Vec<Result<Settled, Error>>, Error> {
        let queue = self.find_for_consumer(scope, queue)?;
        let (mut told, mut ops) = (Vec::new(), Vec::new());
        for (delivery, settlement) in deliveries {
            let behind = matches!(settlement, Settlement::Retry { .. } | Settlement::Release);
            told.push((delivery, behind));
            let (queue, clients) = (queue.name.clone(), scope.clients.clone());
            ops.push(Op::Settle(Settle { queue, delivery, clients, settlement }));
        }
        let answer = self.inner.committer.submit_patiently(ops).await?;
        let settled = answer.into_iter().zip(told).map(|(outcome, (delivery, behind))| match outcome {
            Ok(Outcome::Settled(settled)) => {
                count(&queue, settled);
                queue.live.holders.settled(delivery, behind);
                Ok(settled)
            }
            Ok(_) => Err(wrong_outcome()),
            Err(err) => {
                if err.kind() == ErrorKind::LeaseLost {
                    queue.live.holders.settled(delivery, false);
                }
                Err(err)
            }
        });
        Ok(settled.collect())
    }

    /// These are done.
    ///
    /// # Errors
    /// As [`Self::settle_many`].
    pub async fn ack(
        &self,
        scope: &Scope,
        queue: &QueueName,
        deliveries: &[DeliveryId],
    ) -> Result<Vec<Result<Settled, Error>>, Error> {
        self.settle_many(scope, queue, deliveries.iter().map(|id| (*id, Settlement::Ack)).collect()).await
    }

    /// Try these again, after `delay` or the queue's back-off.
    ///
    /// Of successive deliveries of one lane the first one is the failed
    /// attempt; it takes those behind it along, whether they are named or not.
    ///
    /// # Errors
    /// As [`Self::settle_many`].
    pub async fn nack(
        &self,
        scope: &Scope,
        queue: &QueueName,
        deliveries: &[DeliveryId],
        delay: Option<Duration>,
        cause: &str,
    ) -> Result<Vec<Result<Settled, Error>>, Error> {
        let mut order: Vec<usize> = (0..deliveries.len()).collect();
        order.sort_by_key(|at| deliveries[*at].position);
        let retry = Settlement::Retry { delay, cause: cause.to_owned() };
        let ops = order.iter().map(|at| (deliveries[*at], retry.clone())).collect();
        let settled = self.settle_many(scope, queue, ops).await?;

        let mut results: Vec<_> = deliveries.iter().map(|_| Err(wrong_outcome())).collect();
        let mut returned: HashSet<(i64, i64)> = HashSet::new();
        for (at, result) in order.into_iter().zip(settled) {
            let lease = (deliveries[at].lane, deliveries[at].lease);
            results[at] = match result {
                Ok(settled) => {
                    returned.insert(lease);
                    Ok(settled)
                }
                Err(err) if err.kind() == ErrorKind::LeaseLost && returned.contains(&lease) => {
                    Ok(Settled::Returned(Duration::ZERO))
                }
                Err(err) => Err(err),
            };
        }
        Ok(results)
    }

    /// Dead-letter these at once.
    ///
    /// # Errors
    /// As [`Self::settle_many`].
    pub async fn fail(
        &self,
        scope: &Scope,
        queue: &QueueName,
        deliveries: &[DeliveryId],
        cause: &str,
    ) -> Result<Vec<Result<Settled, Error>>, Error> {
        let fail = Settlement::Fail { cause: cause.to_owned() };
        self.settle_many(scope, queue, deliveries.iter().map(|id| (*id, fail.clone())).collect()).await
    }

    /// Moves the end of these leases to `lease` from now; each one's whole lane
    /// is extended. One result per delivery, with the errors of [`Self::settle`].
    ///
    /// # Errors
    /// When none of them was extended.
    pub async fn extend(
        &self,
        scope: &Scope,
        queue: &QueueName,
        deliveries: &[DeliveryId],
        lease: Duration,
    ) -> Result<Vec<Result<(), Error>>, Error> {
        let queue = self.find_for_consumer(scope, queue)?;
        let until = self.lease_end(lease);
        let ops = deliveries.iter().map(|delivery| Op::Extend {
            queue: queue.name.clone(),
            delivery: *delivery,
            clients: scope.clients.clone(),
            until,
        });
        let answer = self.inner.committer.submit_patiently(ops.collect()).await?;
        let extended = answer.into_iter().zip(deliveries).map(|(outcome, delivery)| {
            outcome?;
            queue.live.holders.extended(*delivery, until);
            Ok(())
        });
        Ok(extended.collect())
    }

    async fn claim(&self, scope: &Scope, queue: &Queue, taking: &Taking<'_>) -> Result<Vec<Delivery>, Error> {
        let now = self.inner.clock.now();
        let claim = Claim {
            queue: queue.name.clone(),
            clients: scope.clients.clone(),
            max: taking.max,
            max_bytes: taking.max_bytes,
            until: self.lease_end(taking.lease),
            behind: taking.hand.map_or_else(Vec::new, |hand| queue.live.holders.behind(hand, now)),
            principal: scope.principal.as_ref().to_owned(),
        };
        match single(self.inner.committer.submit(vec![Op::Claim(claim)]).await?)? {
            Outcome::Claimed(deliveries) => Ok(deliveries),
            _ => Err(wrong_outcome()),
        }
    }

    fn lease_end(&self, lease: Duration) -> jiff::Timestamp {
        after(self.inner.clock.now(), lease.min(self.inner.options.lease_max))
    }

    /// The queue, for one who consumes it. Delivery ids can be guessed, so the
    /// queues of workers are closed to others for settlements, too.
    pub(super) fn find_for_consumer(&self, scope: &Scope, name: &QueueName) -> Result<Arc<Queue>, Error> {
        let queue = self.find(scope, name)?;
        match self.inner.workers.get(&queue.name) {
            Some(role) if role.as_str() != scope.principal.as_ref() => Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "queue {} is consumed by the {role}; read the same events by a queue of your own",
                    queue.name
                ),
            )),
            _ => Ok(queue),
        }
    }
}

fn count(queue: &Queue, settled: Settled) {
    match settled {
        Settled::Acked => {
            queue.live.left(1);
            queue.live.acked.increment(1);
        }
        Settled::Returned(_) => queue.live.returned.increment(1),
        Settled::Dead => {
            queue.live.left(1);
            queue.live.dead.increment(1);
        }
    }
}
