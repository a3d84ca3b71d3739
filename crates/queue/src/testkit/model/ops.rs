//! What each operation does.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use orderwire_types::QueueName;
use orderwire_types::queue::Kind;
use orderwire_types::scope::Clients;
use orderwire_types::step::{Millis, Step};

use super::lanes::{Lane, Lease};
use super::state::{Dead, Item, State, covers};
use crate::clock::after;
use crate::engine::{
    Append, Appended, Committed, Edit, NewEntry, Op, Outcome, Reject, Settle, Settled, Sweep,
};
use crate::error::{Error, ErrorKind};
use crate::model::{DeadLetter, DeliveryId, Position, Settlement};

/// Queues in which something became ready.
type Ready = BTreeSet<QueueName>;

impl State {
    pub(super) fn commit(&mut self, ops: Vec<Op>, now: Timestamp) -> Committed {
        let mut ready = Ready::new();
        let outcomes = ops.into_iter().map(|op| self.apply(op, now, &mut ready)).collect();
        self.drop_unbound();
        let next_expiry = self.queues.values().filter_map(super::lanes::Queue::next_timer).min();
        Committed { outcomes, ready: ready.into_iter().collect(), next_expiry }
    }

    fn apply(&mut self, op: Op, now: Timestamp, ready: &mut Ready) -> Result<Outcome, Error> {
        match op {
            Op::Append(append) => self.append(&append, now, ready),
            Op::Reject(reject) => self.reject(reject, now),
            Op::Claim(claim) => self.claim(&claim, now),
            Op::Settle(settle) => self.settle(&settle, now, ready).map(Outcome::Settled),
            Op::Extend { queue, delivery, clients, until } => {
                let mut lane = self.held(&queue, delivery, &clients, now)?;
                if let Some(lease) = &mut lane.lease {
                    lease.until = until;
                }
                self.queue(&queue)?.put(delivery.lane, lane);
                Ok(Outcome::Done)
            }
            Op::Expire { limit } => Ok(Outcome::Count(self.expire(limit, now, ready))),
            Op::Advance { queue, to } => self.advance(&queue, to, ready),
            Op::Bury { queue, position, attempts, cause } => {
                let mut item = self.remove_entry(&queue, position, ready)?;
                item.attempts = attempts;
                self.die(&queue, item, cause, now);
                Ok(Outcome::Done)
            }
            Op::Pause { queue, paused } => {
                self.queue(&queue)?.paused = paused;
                if !paused {
                    ready.insert(queue);
                }
                Ok(Outcome::Done)
            }
            Op::Replay { ids, principal } => Ok(Outcome::Count(self.replay(&ids, &principal, now, ready))),
            Op::Edit(edit) => self.edit(edit, now),
            Op::Discard { ids, principal, reason } => {
                let gone: Vec<Dead> = ids.iter().filter_map(|id| self.dead.remove(id)).collect();
                for dead in &gone {
                    let step = Step {
                        role: principal.clone(),
                        detail: Some(reason.clone()),
                        ..Step::ok(now, "queue", "discarded")
                    };
                    self.note(&dead.letter.queue, &dead.item, step);
                }
                Ok(Outcome::Count(gone.len() as u64))
            }
            Op::Sweep(sweep) => Ok(Outcome::Count(self.sweep(&sweep))),
        }
    }

    fn append(&mut self, append: &Append, now: Timestamp, ready: &mut Ready) -> Result<Outcome, Error> {
        for (queue, _) in append.entries.iter().flat_map(|entry| &entry.queues) {
            self.queue(queue)?;
        }
        if let Some(request) = &append.request {
            match self.requests.get(&request.id) {
                Some((known, _)) if *known == request.fingerprint => {
                    return Ok(Outcome::Appended(vec![false; append.entries.len()]));
                }
                Some(_) => {
                    return Err(Error::new(
                        ErrorKind::IdempotencyConflict,
                        format!("append: request {} came before with another body", request.id),
                    ));
                }
                None => self.requests.insert(request.id, (request.fingerprint, now)),
            };
        }
        let new = append.entries.iter().map(|entry| self.append_one(entry, now, ready)).collect();
        Ok(Outcome::Appended(new))
    }

    fn reject(&mut self, Reject { entry, cause }: Reject, now: Timestamp) -> Result<Outcome, Error> {
        let [(name, lane)] = &entry.queues[..] else {
            return Err(Error::new(ErrorKind::Conflict, "reject: an event is rejected for one queue"));
        };
        self.queue(name)?;
        if !self.is_new(&entry, now) {
            return Ok(Outcome::Appended(vec![false]));
        }
        self.last_position += 1;
        let steps = Appended::from(&entry).steps(&[], now);
        self.steps.extend(steps.into_iter().map(|step| (entry.trace, entry.client.clone(), step)));
        let item = Item { attempts: 1, ..Item::new(Position(self.last_position), &entry, lane) };
        self.die(name, item, cause, now);
        Ok(Outcome::Appended(vec![true]))
    }

    /// Whether the entry did not come before; it is remembered now.
    fn is_new(&mut self, entry: &NewEntry, now: Timestamp) -> bool {
        let Some(name) = entry.remembered else { return true };
        if self.remembered.contains_key(&name) {
            return false;
        }
        self.remembered.insert(name, now);
        true
    }

    fn append_one(&mut self, entry: &NewEntry, now: Timestamp, ready: &mut Ready) -> bool {
        if !self.is_new(entry, now) {
            return false;
        }
        self.last_position += 1;
        let mut task_queues = Vec::new();
        for (name, lane) in &entry.queues {
            let item = Item::new(Position(self.last_position), entry, lane);
            if self.push(name, item, ready) == Kind::Task {
                task_queues.push(name.clone());
            }
        }
        if !task_queues.is_empty() {
            let steps = Appended::from(entry).steps(&task_queues, now);
            self.steps.extend(steps.into_iter().map(|step| (entry.trace, entry.client.clone(), step)));
        }
        true
    }

    fn push(&mut self, name: &QueueName, item: Item, ready: &mut Ready) -> Kind {
        self.last_number += 1;
        let number = self.last_number;
        let queue = self.queues.get_mut(name).expect("checked before");
        let became_ready = queue.push(item, number);
        if became_ready || queue.def.kind == Kind::Stream {
            ready.insert(name.clone());
        }
        queue.def.kind
    }

    /// Takes out the lane of a delivery that is held under this very lease.
    pub(super) fn held(
        &mut self,
        name: &QueueName,
        delivery: DeliveryId,
        clients: &Clients,
        now: Timestamp,
    ) -> Result<Lane, Error> {
        let queue = self.queue(name)?;
        let lost = || {
            Error::new(
                ErrorKind::LeaseLost,
                format!("delivery {delivery} of {name} is not under this lease any more"),
            )
        };
        let lane = queue.lanes.get(&delivery.lane).ok_or_else(lost)?;
        let item = lane.items.iter().find(|item| item.position == delivery.position).ok_or_else(lost)?;
        if !covers(clients, &item.client) {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("delivery {delivery} of {name} does not exist"),
            ));
        }
        let valid = |lease: &Lease| lease.number == delivery.lease && lease.until > now;
        if !item.held || !lane.lease.as_ref().is_some_and(valid) {
            return Err(lost());
        }
        queue.take(delivery.lane).ok_or_else(lost)
    }

    fn settle(&mut self, settle: &Settle, now: Timestamp, ready: &mut Ready) -> Result<Settled, Error> {
        let Settle { queue: name, delivery, clients, settlement } = settle;
        let mut lane = self.held(name, *delivery, clients, now)?;
        let def = self.queue(name)?.def.clone();
        let at = lane.items.iter().position(|item| item.position == delivery.position).expect("held");
        let item = lane.items[at].clone();
        let lease = lane.lease.clone().expect("held");
        let settled = match settlement {
            Settlement::Ack => {
                lane.items.remove(at);
                self.note_attempt(name, &item, &lease, "ok", None, now);
                Settled::Acked
            }
            Settlement::Fail { cause } => {
                lane.items.remove(at);
                self.note_attempt(name, &item, &lease, "failed", Some(cause), now);
                self.die(name, item, cause.clone(), now);
                Settled::Dead
            }
            Settlement::Release => {
                lane.items[at].attempts -= 1;
                lane.items[at].held = false;
                give_back(&mut lane, at + 1);
                Settled::Returned(Duration::ZERO)
            }
            Settlement::Retry { delay, cause } => {
                give_back(&mut lane, at + 1);
                if item.attempts >= def.attempts {
                    lane.items.remove(at);
                    self.note_attempt(name, &item, &lease, "failed", Some(cause), now);
                    self.die(name, item, cause.clone(), now);
                    Settled::Dead
                } else {
                    lane.items[at].held = false;
                    let pause = delay.unwrap_or_else(|| def.backoff.after(item.attempts));
                    // Those behind it may wait for longer.
                    lane.not_before = lane.not_before.max((!pause.is_zero()).then(|| after(now, pause)));
                    self.note_attempt(name, &item, &lease, "retry", Some(cause), now);
                    Settled::Returned(pause)
                }
            }
        };
        lane.end_pause(now);
        self.put_back(name, delivery.lane, lane, ready);
        Ok(settled)
    }

    fn put_back(&mut self, name: &QueueName, id: i64, lane: Lane, ready: &mut Ready) {
        if self.queues.get_mut(name).is_some_and(|queue| queue.put(id, lane)) {
            ready.insert(name.clone());
        }
    }

    fn expire(&mut self, limit: usize, now: Timestamp, ready: &mut Ready) -> u64 {
        let mut count = 0;
        for name in self.queues.keys().cloned().collect::<Vec<_>>() {
            let queue = self.queues.get_mut(&name).expect("listed");
            for id in queue.due(now, limit - count) {
                count += 1;
                let mut lane = self.queues.get_mut(&name).and_then(|queue| queue.take(id)).expect("due");
                match lane.lease.take() {
                    Some(lease) => self.expire_lane(&name, &mut lane, &lease, now),
                    None => lane.not_before = None,
                }
                lane.end_pause(now);
                self.put_back(&name, id, lane, ready);
            }
        }
        count as u64
    }

    /// The first held delivery had an attempt that ran out; nobody says that
    /// those behind it were tried.
    fn expire_lane(&mut self, name: &QueueName, lane: &mut Lane, lease: &Lease, now: Timestamp) {
        let Some(at) = lane.items.iter().position(|item| item.held) else { return };
        give_back(lane, at + 1);
        lane.items[at].held = false;
        let item = lane.items[at].clone();
        let cause = "the lease ran out".to_owned();
        self.note_attempt(name, &item, lease, "expired", Some(&cause), now);
        if item.attempts >= self.queues[name].def.attempts {
            lane.items.remove(at);
            self.die(name, item, cause, now);
        }
    }

    fn advance(&mut self, name: &QueueName, to: Position, ready: &mut Ready) -> Result<Outcome, Error> {
        let last = self.last_position;
        let ids: Vec<i64> = self.queue(name)?.lanes.keys().copied().collect();
        if to.0 > last {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("advance {name} to {}: the last position is {last}", to.0),
            ));
        }
        for id in ids {
            let mut lane = self.queue(name)?.take(id).expect("listed");
            lane.items.retain(|item| item.position > to);
            self.put_back(name, id, lane, ready);
        }
        Ok(Outcome::Done)
    }

    fn remove_entry(&mut self, name: &QueueName, at: Position, ready: &mut Ready) -> Result<Item, Error> {
        let queue = self.queue(name)?;
        let found = queue.lanes.iter().find_map(|(id, lane)| {
            lane.items.iter().position(|item| item.position == at).map(|index| (*id, index))
        });
        let (id, index) = found.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("entry {} of {name} does not exist", at.0))
        })?;
        let mut lane = queue.take(id).expect("found");
        let item = lane.items.remove(index).expect("found");
        self.put_back(name, id, lane, ready);
        Ok(item)
    }

    fn die(&mut self, name: &QueueName, item: Item, cause: String, now: Timestamp) {
        self.last_dead += 1;
        let step = Step {
            outcome: "failed".to_owned(),
            attempt: Some(item.attempts),
            detail: Some(cause.clone()),
            ..Step::ok(now, "queue", "dead-lettered")
        };
        self.note(name, &item, step);
        let letter = DeadLetter {
            id: self.last_dead,
            queue: name.clone(),
            event_id: item.event_id,
            event_type: item.event_type.clone(),
            client: item.client.clone(),
            trace: item.trace,
            attempts: item.attempts,
            cause,
            died_at: now,
            body: item.body.clone(),
        };
        self.dead.insert(self.last_dead, Dead { letter, item });
    }

    fn replay(&mut self, ids: &[i64], principal: &str, now: Timestamp, ready: &mut Ready) -> u64 {
        let mut count = 0;
        for id in ids {
            let known = self.dead.get(id).map(|dead| dead.letter.queue.clone());
            let Some(name) = known.filter(|name| self.queues.contains_key(name)) else { continue };
            let Dead { mut item, .. } = self.dead.remove(id).expect("known");
            self.last_position += 1;
            (item.position, item.attempts, item.held) = (Position(self.last_position), 0, false);
            self.note(
                &name,
                &item,
                Step { role: principal.to_owned(), ..Step::ok(now, "queue", "replayed") },
            );
            self.push(&name, item, ready);
            count += 1;
        }
        count
    }

    fn edit(&mut self, edit: Edit, now: Timestamp) -> Result<Outcome, Error> {
        let Edit { id, clients, seen, body, principal, reason } = edit;
        let known = self.dead.get_mut(&id).filter(|dead| covers(&clients, &dead.letter.client));
        let dead = known
            .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("dead letter {id} does not exist")))?;
        if dead.letter.body != seen {
            return Err(Error::new(ErrorKind::Conflict, format!("dead letter {id} was changed meanwhile")));
        }
        dead.letter.body = body.clone();
        dead.item.body = body;
        let (queue, item) = (dead.letter.queue.clone(), dead.item.clone());
        let step = Step { role: principal, detail: reason, ..Step::ok(now, "queue", "edited") };
        self.note(&queue, &item, step);
        Ok(Outcome::Done)
    }

    fn sweep(&mut self, sweep: &Sweep) -> u64 {
        fn old<K: Clone>(rows: impl Iterator<Item = (K, bool)>, limit: usize) -> Vec<K> {
            rows.filter(|(_, old)| *old).map(|(key, _)| key).take(limit).collect()
        }
        let remembered =
            old(self.remembered.iter().map(|(id, at)| (*id, *at < sweep.remembered_before)), sweep.limit);
        let requests =
            old(self.requests.iter().map(|(id, (_, at))| (*id, *at < sweep.remembered_before)), sweep.limit);
        let dead = old(
            self.dead.iter().map(|(id, dead)| (*id, dead.letter.died_at < sweep.dead_before)),
            sweep.limit,
        );
        let steps = self.steps.len();
        let mut left = sweep.limit;
        self.steps.retain(|(.., step)| {
            let drop = step.at < sweep.steps_before && left > 0;
            left -= usize::from(drop);
            !drop
        });
        let count = remembered.len() + requests.len() + dead.len() + (steps - self.steps.len());
        self.remembered.retain(|id, _| !remembered.contains(id));
        self.requests.retain(|id, _| !requests.contains(id));
        self.dead.retain(|id, _| !dead.contains(id));
        count as u64
    }

    fn note_attempt(
        &mut self,
        name: &QueueName,
        item: &Item,
        lease: &Lease,
        outcome: &str,
        cause: Option<&String>,
        now: Timestamp,
    ) {
        let step = Step {
            role: lease.principal.clone(),
            outcome: outcome.to_owned(),
            attempt: Some(item.attempts),
            duration_ms: Some(Millis::between(lease.since, now)),
            detail: cause.cloned(),
            ..Step::ok(now, "queue", "attempt")
        };
        self.note(name, item, step);
    }

    fn note(&mut self, name: &QueueName, item: &Item, step: Step) {
        let step = Step { queue: Some(name.clone()), event_id: Some(item.event_id.0), ..step };
        self.steps.push((item.trace, item.client.clone(), step));
    }
}

/// Takes back the attempts of held deliveries from this index on.
fn give_back(lane: &mut Lane, from: usize) {
    for item in lane.items.iter_mut().skip(from).filter(|item| item.held) {
        item.held = false;
        item.attempts -= 1;
    }
}
