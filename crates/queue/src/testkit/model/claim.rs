//! What a claim hands out.

use jiff::Timestamp;

use super::lanes::Lease;
use super::state::State;
use crate::engine::{Claim, Outcome};
use crate::error::Error;
use crate::model::{Delivery, DeliveryId};

impl State {
    pub(super) fn claim(&mut self, claim: &Claim, now: Timestamp) -> Result<Outcome, Error> {
        let mut number = self.last_number;
        let queue = self.queue(&claim.queue)?;
        let mut deliveries = Vec::new();
        if queue.paused {
            return Ok(Outcome::Claimed(deliveries));
        }
        let mut bytes = 0;
        let visit = (claim.max / queue.active(&claim.clients).max(1)).max(1);
        while deliveries.len() < claim.max && (deliveries.is_empty() || bytes < claim.max_bytes) {
            let Some((client, id)) = queue.next(&claim.clients) else { break };
            let mut lane = queue.take(id).expect("a ready lane");
            number += 1;
            let left = claim.max - deliveries.len();
            for item in lane.items.iter_mut().take(visit.min(left)) {
                if bytes >= claim.max_bytes && !deliveries.is_empty() {
                    break;
                }
                bytes += item.body.len();
                item.held = true;
                item.attempts += 1;
                deliveries.push(Delivery {
                    id: DeliveryId { lane: id, position: item.position, lease: number },
                    attempt: item.attempts,
                    leased_until: claim.until,
                    body: item.body.clone(),
                });
            }
            let principal = claim.principal.clone();
            lane.lease = Some(Lease { number, since: now, until: claim.until, principal });
            lane.not_before = None;
            queue.put(id, lane);
            queue.serve(&client);
        }
        self.last_number = number;
        self.go_on(claim, now, &mut deliveries, bytes)?;
        Ok(Outcome::Claimed(deliveries))
    }

    /// More of the lanes that the claimer holds.
    fn go_on(
        &mut self,
        claim: &Claim,
        now: Timestamp,
        deliveries: &mut Vec<Delivery>,
        mut bytes: usize,
    ) -> Result<(), Error> {
        for (done, held) in claim.behind.iter().enumerate() {
            let left = claim.max.saturating_sub(deliveries.len());
            if left == 0 || (bytes >= claim.max_bytes && !deliveries.is_empty()) {
                break;
            }
            let Ok(mut lane) = self.held(&claim.queue, *held, &claim.clients, now) else { continue };
            let queue = self.queue(&claim.queue)?;
            let waits = lane.not_before.is_some_and(|at| at > now);
            let (share, before) = ((left / (claim.behind.len() - done)).max(1), deliveries.len());
            if let Some(lease) = lane.lease.as_mut().filter(|_| !waits) {
                let until = lease.until.max(claim.until);
                for item in lane.items.iter_mut().skip_while(|item| item.held).take(share) {
                    if bytes >= claim.max_bytes && !deliveries.is_empty() {
                        break;
                    }
                    bytes += item.body.len();
                    item.held = true;
                    item.attempts += 1;
                    deliveries.push(Delivery {
                        id: DeliveryId { lane: held.lane, position: item.position, lease: lease.number },
                        attempt: item.attempts,
                        leased_until: until,
                        body: item.body.clone(),
                    });
                }
                if deliveries.len() > before {
                    (lease.until, lease.since) = (until, now);
                }
            }
            queue.put(held.lane, lane);
        }
        Ok(())
    }
}
