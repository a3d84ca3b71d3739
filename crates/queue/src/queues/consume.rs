//! Consumers that stay: one delivery after the other, as many at once as they may hold.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use orderwire_types::{QueueName, Scope};
use tokio::sync::oneshot;

use super::Queues;
use super::lease::{Taking, place};
use crate::catalog::Queue;
use crate::commit::Claimed;
use crate::error::{Error, ErrorKind};
use crate::holders::Hand;
use crate::model::{Delivery, Settlement};
use crate::wake::Place;

/// The delivery whose body reaches this many bytes is the last one that is
/// claimed ahead of its hand-out: much less than for a lease, because there may be many
/// consumers that take nothing from their connection.
const AHEAD_BYTES: usize = 256 << 10;
/// The most deliveries of one claim.
const AHEAD_MAX: usize = 64;
/// After so many rounds of leases that ran out unsettled a consumer is taken for gone.
const SILENT_ROUNDS: usize = 2;

/// A consumer that stays at one queue, of which any number of deliveries up to a
/// bound may be unsettled. They are settled by the usual calls, wherever these
/// come from; a place that became free is given to the next delivery at once.
///
/// It also gets more of a key of which it holds something already, which nobody
/// else does: so one key is worked on without a pause.
///
/// When it is dropped, what was not handed out goes back at once and uncounted;
/// what was handed out stays under its lease, for the consumer may have it and
/// may settle it yet. [`Self::give_back`] says that it will not.
pub struct Consumer {
    queues: Queues,
    scope: Arc<Scope>,
    queue: Arc<Queue>,
    place: Place,
    lease: Duration,
    hand: Arc<Hand>,
    /// The claim that is under way. It has a task of its own: one that is woken
    /// has to look at once, however long the consumer takes for something else.
    claim: Option<oneshot::Receiver<Result<Vec<Delivery>, Error>>>,
    /// Claimed, and not handed out.
    ready: VecDeque<Delivery>,
}

impl Queues {
    /// A consumer that stays at a queue, with leases of this length, cut to the longest.
    ///
    /// # Errors
    /// As [`Self::lease`]; `Unavailable` when nobody may wait any more.
    pub fn consumer(
        &self,
        scope: &Arc<Scope>,
        queue: &QueueName,
        lease: Duration,
    ) -> Result<Consumer, Error> {
        let queue = self.find_for_consumer(scope, queue)?;
        let place = place(scope, &queue)?;
        if self.inner.is_closing() {
            return Err(stopping(&queue));
        }
        let hand = queue.live.holders.enter();
        Ok(Consumer {
            queues: self.clone(),
            scope: Arc::clone(scope),
            queue,
            place,
            lease,
            hand,
            claim: None,
            ready: VecDeque::new(),
        })
    }
}

impl Consumer {
    /// The next delivery, once fewer than `max` of this consumer's are unsettled;
    /// `None` when nobody may wait any more. Not more than `credit` are taken
    /// ahead; there has to be some. Nothing is lost when the call is dropped.
    ///
    /// # Errors
    /// As [`Queues::lease`]; `LeaseLost` when the leases of `max` deliveries ran out twice
    /// without one that was settled or extended: the consumer is taken for gone,
    /// before it uses up the attempts of what others could work on.
    pub async fn next(&mut self, max: usize, credit: usize) -> Result<Option<Delivery>, Error> {
        loop {
            if self.queues.inner.is_closing() {
                return Ok(None);
            }
            self.queue.live.holders.expire(&self.hand, self.queues.inner.clock.now());
            if self.hand.lapsed() >= SILENT_ROUNDS * max {
                return Err(Error::new(
                    ErrorKind::LeaseLost,
                    format!(
                        "{} leases of queue {} ran out and none was settled or extended meanwhile: the consumer is taken for gone",
                        self.hand.lapsed(),
                        self.queue.name
                    ),
                ));
            }
            if let Some(delivery) = self.first_ready() {
                return Ok(Some(delivery));
            }
            let room = max.saturating_sub(self.unsettled()).min(credit).min(AHEAD_MAX);
            if self.claim.is_none() {
                if room == 0 {
                    self.changed().await;
                    continue;
                }
                self.claim = Some(self.begin(room));
            }
            if let Some(claim) = &mut self.claim {
                let claimed = claim.await;
                self.claim = None;
                // Without an answer the task ended with the process, or by a fault that it logged.
                self.ready.extend(claimed.unwrap_or_else(|_| Err(stopping(&self.queue)))?);
            }
        }
    }

    /// How many deliveries it holds.
    pub fn unsettled(&self) -> usize {
        self.hand.count()
    }

    /// Returns when nobody may wait any more.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + use<> {
        let inner = Arc::clone(&self.queues.inner);
        async move { inner.closed().await }
    }

    /// The consumer went away without a word: what was handed out to it and is not
    /// settled is returned now. That which it was handed first is an attempt that failed for
    /// this cause, for it may be what ended the consumer; of the rest nobody says that it
    /// was tried, and it is not counted.
    pub async fn give_back(mut self, cause: &str) {
        self.let_go();
        let retry = Settlement::Retry { delay: None, cause: cause.to_owned() };
        let others = std::iter::repeat(Settlement::Release);
        let firsts = self.queue.live.holders.firsts(&self.hand).into_iter();
        let ends: Vec<_> = firsts.zip(std::iter::once(retry).chain(others)).collect();
        if ends.is_empty() {
            return;
        }
        // Those of which the lease ran out meanwhile are back already.
        if let Err(error) = self.queues.settle_many(&self.scope, &self.queue.name, ends).await {
            tracing::warn!(queue.name = %self.queue.name, %error, "deliveries whose consumer left wait for their lease");
        }
    }

    /// The first one that is ready, unless it was returned or its lease ran out meanwhile.
    fn first_ready(&mut self) -> Option<Delivery> {
        while let Some(delivery) = self.ready.pop_front() {
            if self.queue.live.holders.holds(delivery.id) {
                return Some(delivery);
            }
        }
        None
    }

    /// Returns when something that it holds was settled, moved or ran out.
    async fn changed(&self) {
        let inner = &self.queues.inner;
        let end = self.queue.live.holders.first_end(&self.hand);
        let runs_out = async {
            match end {
                Some(end) => inner.clock.sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.hand.changed.notified() => {}
            () = runs_out => {}
            () = inner.closed() => {}
        }
    }

    /// Begins a claim of at most `max`.
    fn begin(&self, max: usize) -> oneshot::Receiver<Result<Vec<Delivery>, Error>> {
        let (mut answer, claimed) = oneshot::channel();
        let (queues, scope, queue) = (self.queues.clone(), Arc::clone(&self.scope), Arc::clone(&self.queue));
        let (hand, place, lease) = (Arc::clone(&self.hand), self.place, self.lease);
        tokio::spawn(async move {
            let taking = Taking { max, max_bytes: AHEAD_BYTES, lease, deadline: None, hand: Some(&hand) };
            let taken = tokio::select! {
                // What was claimed by then goes back by itself.
                () = answer.closed() => return,
                taken = queues.take(&scope, &queue, place, &taking) => taken,
            };
            if let Ok(deliveries) = &taken {
                queue.live.holders.took(&hand, &queue, deliveries);
            }
            if let Err(Ok(unseen)) = answer.send(taken) {
                return_unseen(&queues, &scope, &queue, &unseen);
            }
        });
        claimed
    }

    /// Returns what was not handed out.
    fn let_go(&mut self) {
        if let Some(mut claim) = self.claim.take() {
            // From now on the task keeps what it gets, and returns it.
            claim.close();
            if let Ok(Ok(deliveries)) = claim.try_recv() {
                self.ready.extend(deliveries);
            }
        }
        let unseen: Vec<Delivery> = self.ready.drain(..).collect();
        return_unseen(&self.queues, &self.scope, &self.queue, &unseen);
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.let_go();
        self.queue.live.holders.leave(&self.hand);
    }
}

/// Returns these deliveries, uncounted. Those that are not held any more are lost to the
/// engine's check of their lease.
fn return_unseen(queues: &Queues, scope: &Scope, queue: &Queue, unseen: &[Delivery]) {
    let claimed = Claimed { queue: queue.name.clone(), clients: scope.clients.clone() };
    queues.inner.committer.return_unseen(&claimed, unseen.iter().map(|delivery| delivery.id));
    unseen.iter().for_each(|delivery| queue.live.holders.strike(delivery.id, true));
}

fn stopping(queue: &Queue) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        format!("queue {}: the server is stopping and hands out nothing more", queue.name),
    )
}
