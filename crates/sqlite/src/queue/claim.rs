//! Handing out deliveries: fair over clients, in order within a lane.

use std::collections::VecDeque;

use bytes::Bytes;
use jiff::Timestamp;
use orderwire_queue::engine::{Claim, Outcome};
use orderwire_queue::model::{Delivery, DeliveryId, Position};
use orderwire_queue::{Error, ErrorKind};
use orderwire_types::scope::Clients;
use rusqlite::OptionalExtension;

use super::lane::{Lane, LaneState, segment, segment_after};
use super::writer::{Stop, Tx};
use super::{nanos, timestamp};

/// What a claim hands out.
#[derive(Default)]
struct Handed {
    deliveries: Vec<Delivery>,
    /// Of their bodies.
    bytes: usize,
}

/// The part of a lane that a claim may take from.
struct Rest {
    /// Its first position.
    from: i64,
    /// How many deliveries it has.
    count: i64,
}

impl Handed {
    /// Whether that is as many bytes as the claim wants.
    fn reaches(&self, claim: &Claim) -> bool {
        self.bytes >= claim.max_bytes && !self.deliveries.is_empty()
    }
}

impl Tx<'_> {
    pub(super) fn claim(&mut self, claim: &Claim) -> Result<Outcome, Stop> {
        let id = self.state.id(&claim.queue)?;
        let queue = self.state.queue(id);
        let mut handed = Handed::default();
        if queue.is_stream() {
            if claim.clients != Clients::All {
                let message =
                    format!("queue {} is a stream and hands out the entries of all clients", claim.queue);
                return Err(Error::new(ErrorKind::Conflict, message).into());
            }
            let ready = queue.stream.clone().filter(|lane| lane.state == LaneState::Ready);
            if let Some(lane) = ready.filter(|_| !queue.paused) {
                let (lease, _) = self.state.queue_mut(id).visit();
                self.lease(lane, claim, claim.max.max(1), lease, &mut handed)?;
            }
        } else if !queue.paused {
            self.visit_clients(id, claim, &mut handed)?;
        }
        if !claim.behind.is_empty() && !self.state.queue(id).paused {
            self.go_on(claim, &mut handed)?;
        }
        Ok(Outcome::Claimed(handed.deliveries))
    }

    /// More of the lanes that the claimer holds.
    fn go_on(&mut self, claim: &Claim, handed: &mut Handed) -> Result<(), Stop> {
        let max = claim.max.max(1);
        for (done, delivery) in claim.behind.iter().enumerate() {
            let left = max.saturating_sub(handed.deliveries.len());
            if left == 0 || handed.reaches(claim) {
                break;
            }
            let lane = match self.held(&claim.queue, *delivery, &claim.clients) {
                Ok((lane, _)) => lane,
                Err(Stop::Refused(_)) => continue,
                Err(stop) => return Err(stop),
            };
            if lane.count == lane.held || lane.not_before > self.now {
                continue;
            }
            let share = (left / (claim.behind.len() - done)).max(1);
            self.prolong(lane, claim, share, handed)?;
        }
        Ok(())
    }

    /// Hands out what follows what is held of a lane, at most `take`, under the
    /// same lease.
    fn prolong(
        &mut self,
        mut lane: Lane,
        claim: &Claim,
        take: usize,
        handed: &mut Handed,
    ) -> Result<(), Stop> {
        let until = lane.until.max(nanos(claim.until));
        let before = handed.deliveries.len();
        let rest = Rest { from: lane.held_to + 1, count: lane.count - lane.held };
        self.collect(&lane, &rest, claim, take, timestamp(until), handed)?;
        let taken = &handed.deliveries[before..];
        let Some(last) = taken.last() else { return Ok(()) };
        let more = i64::try_from(taken.len()).expect("a slice's length");
        lane.held += more;
        lane.held_to = last.id.position.0;
        lane.leased_at = self.now;
        lane.until = until;
        let queue = self.state.queue_mut(lane.queue);
        queue.waiting -= more;
        queue.in_flight += more;
        Ok(self.save_lane(lane)?)
    }

    fn visit_clients(&mut self, queue: i64, claim: &Claim, handed: &mut Handed) -> Result<(), Stop> {
        let max = claim.max.max(1);
        let mut round = self.active(queue, &claim.clients, max)?;
        if round.is_empty() {
            return Ok(());
        }
        // Of more than `max` active clients each gives one delivery.
        let quota = (max / round.len()).max(1);
        while handed.deliveries.len() < max
            && !handed.reaches(claim)
            && let Some(client) = round.pop_front()
        {
            let lane = Lane::oldest_ready(self.db, queue, &client)?
                .ok_or_else(|| Stop::Damaged(format!("client {client} has a turn but no ready lane")))?;
            let (lease, turn) = self.state.queue_mut(queue).visit();
            let more = self.serve(queue, &client, turn)?;
            let take = quota.min(max - handed.deliveries.len());
            self.lease(lane, claim, take, lease, handed)?;
            if more {
                round.push_back(client);
            }
        }
        Ok(())
    }

    /// Clients with a ready lane, the one served longest ago first, at most `max`.
    fn active(&self, queue: i64, clients: &Clients, max: usize) -> rusqlite::Result<VecDeque<String>> {
        match clients {
            Clients::All => self
                .db
                .prepare_cached(
                    "SELECT client FROM turn WHERE queue = ?1 AND ready > 0 ORDER BY turn LIMIT ?2",
                )?
                .query_map([queue, i64::try_from(max).unwrap_or(i64::MAX)], |row| row.get(0))?
                .collect(),
            Clients::Only(clients) => {
                let mut find = self
                    .db
                    .prepare_cached("SELECT turn FROM turn WHERE queue = ?1 AND client = ?2 AND ready > 0")?;
                let mut found: Vec<(i64, String)> = Vec::new();
                for client in clients {
                    let turn = find.query_row((queue, client.as_str()), |row| row.get(0)).optional()?;
                    found.extend(turn.map(|turn| (turn, client.as_str().to_owned())));
                }
                found.sort_unstable();
                Ok(found.into_iter().take(max).map(|(_, client)| client).collect())
            }
        }
    }

    /// Leases the first deliveries of a ready lane, at most `take`. An attempt
    /// begins with the lane's row alone: what is held has one more attempt than
    /// its own row says.
    fn lease(
        &mut self,
        mut lane: Lane,
        claim: &Claim,
        take: usize,
        lease: i64,
        handed: &mut Handed,
    ) -> Result<(), Stop> {
        let before = handed.deliveries.len();
        lane.lease = lease;
        let whole = Rest { from: lane.head, count: lane.count };
        self.collect(&lane, &whole, claim, take, claim.until, handed)?;
        let taken = &handed.deliveries[before..];
        let Some(last) = taken.last() else {
            return Err(Stop::Damaged(format!("lane {} is ready but holds nothing", lane.id)));
        };
        let held = i64::try_from(taken.len()).expect("a slice's length");
        lane.state = LaneState::Leased;
        lane.held = held;
        lane.held_to = last.id.position.0;
        lane.leased_at = self.now;
        lane.until = nanos(claim.until);
        lane.not_before = i64::MIN;
        lane.holder.clone_from(&claim.principal);
        let queue = self.state.queue_mut(lane.queue);
        queue.waiting -= held;
        queue.in_flight += held;
        Ok(self.save_lane(lane)?)
    }

    /// Adds deliveries of a part of a lane, at most `take`, under the lane's lease.
    fn collect(
        &self,
        lane: &Lane,
        rest: &Rest,
        claim: &Claim,
        take: usize,
        until: Timestamp,
        handed: &mut Handed,
    ) -> rusqlite::Result<()> {
        let mut in_segment = self.db.prepare_cached(
            "SELECT d.position, d.attempt, e.body FROM delivery d CROSS JOIN event e ON e.position = d.position
             WHERE d.queue = ?1 AND d.segment = ?2 AND d.lane = ?3 AND d.position >= ?4
             ORDER BY d.position LIMIT ?5",
        )?;
        let end = handed.deliveries.len() + take;
        let mut next = Some(segment(rest.from));
        while let Some(here) =
            next.filter(|here| handed.deliveries.len() < end && *here <= segment(lane.tail))
        {
            let room = i64::try_from(end - handed.deliveries.len()).unwrap_or(i64::MAX);
            let mut rows = in_segment.query([lane.queue, here, lane.id, rest.from, room])?;
            while let Some(row) = rows.next()? {
                if handed.reaches(claim) {
                    return Ok(());
                }
                let attempt: u32 = row.get(1)?;
                let body = Bytes::copy_from_slice(row.get_ref(2)?.as_blob()?);
                handed.bytes += body.len();
                handed.deliveries.push(Delivery {
                    id: DeliveryId { lane: lane.id, position: Position(row.get(0)?), lease: lane.lease },
                    attempt: attempt + 1,
                    leased_until: until,
                    body,
                });
            }
            // A lane whose every delivery was taken needs no further look.
            let all = i64::try_from(handed.deliveries.len() + take - end).unwrap_or(i64::MAX) >= rest.count;
            next = if all || handed.deliveries.len() >= end {
                None
            } else {
                segment_after(self.db, lane.queue, here)?
            };
        }
        Ok(())
    }
}
