//! Events in, from the queues of a broker.

use std::sync::Arc;

use orderwire_types::envelope::Incoming;
use orderwire_types::{QueueName, identity};

use super::publish::entry;
use super::{Queues, canonical, wrong_outcome};
use crate::engine::{Append, NewEntry, Op, Outcome, Reject};
use crate::error::Error;

/// A message that a broker handed over for one queue.
#[derive(Clone, Debug)]
pub struct Arrived {
    /// The event that it is.
    pub incoming: Incoming,
    /// Why it can never be a delivery of the queue, if so: it becomes a dead letter.
    pub rejected: Option<String>,
}

impl Queues {
    /// Takes in, durably, in order and in one commit, what a broker handed over for this
    /// queue, whatever the types that the queue takes otherwise. What is named is
    /// remembered for this queue, so that a redelivery appends nothing: which of them
    /// were new.
    ///
    /// # Errors
    /// `NotFound`: there is no such queue. `Full`: it holds its maximum. Nothing was
    /// taken in then.
    pub async fn arrive(&self, queue: &QueueName, arrived: &[Arrived]) -> Result<Vec<bool>, Error> {
        let name = canonical(queue);
        let queue = self.inner.catalog().get(&name).cloned().ok_or_else(|| Error::no_queue(&name))?;
        let deliveries = arrived.iter().filter(|arrived| arrived.rejected.is_none()).count() as u64;
        self.check_room(&[(Arc::clone(&queue), deliveries)]).await?;

        let mut ops: Vec<Op> = Vec::new();
        for Arrived { incoming, rejected: cause } in arrived {
            let remembered = incoming.named.then(|| identity::in_queue(incoming.event.id, &name));
            let entry = NewEntry { remembered, ..entry(incoming, std::slice::from_ref(&queue)) };
            match (cause, ops.last_mut()) {
                (Some(cause), _) => ops.push(Op::Reject(Reject { entry, cause: cause.clone() })),
                (None, Some(Op::Append(append))) => append.entries.push(entry),
                (None, _) => ops.push(Op::Append(Append { entries: vec![entry], request: None })),
            }
        }
        let mut new = Vec::with_capacity(arrived.len());
        for outcome in self.inner.committer.submit_patiently(ops).await? {
            let Outcome::Appended(appended) = outcome? else { return Err(wrong_outcome()) };
            new.extend(appended);
        }
        if new.len() != arrived.len() {
            return Err(wrong_outcome());
        }
        let (mut appended, mut dead) = (0, 0);
        for (is_new, arrived) in new.iter().zip(arrived) {
            match (is_new, &arrived.rejected) {
                (true, None) => {
                    appended += 1;
                    queue.tell_holder(&arrived.incoming.event);
                }
                (true, Some(_)) => dead += 1,
                (false, _) => {}
            }
        }
        queue.live.arrived(appended);
        queue.live.published.increment(appended);
        queue.live.dead.increment(dead);
        Ok(new)
    }
}
