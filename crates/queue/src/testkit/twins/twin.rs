//! A twin: what is asked and answered, with a fault in between.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use orderwire_types::queue::QueueDef;
use orderwire_types::scope::Clients;
use orderwire_types::{Client, Event, QueueName};

use super::Fault;
use crate::engine::{Append, Claim, Edit, Engine, LaneKey, NewEntry, Op, Outcome, Settle, Settled};
use crate::error::{Error, ErrorKind};
use crate::model::{DeadFilter, Delivery, Position, Settlement};
use crate::testkit::model::ModelPlace;

/// An engine with a fault.
pub(super) struct Twin {
    pub(super) fault: Fault,
    pub(super) inner: Arc<dyn Engine>,
    pub(super) place: ModelPlace,
    pub(super) before: Arc<Mutex<ModelPlace>>,
    pub(super) memory: Mutex<Memory>,
}

/// What some twins keep in mind.
#[derive(Default)]
pub(super) struct Memory {
    clients: Vec<Client>,
    leased: HashMap<QueueName, Vec<Delivery>>,
    tries: HashMap<Position, u32>,
    pub(super) bindings: HashMap<QueueName, QueueDef>,
    pub(super) oldest: Option<Timestamp>,
    pub(super) answer_lost: bool,
}

impl Twin {
    pub(super) fn memory<T>(&self, with: impl FnOnce(&mut Memory) -> T) -> T {
        with(&mut self.memory.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The last position that was given out.
    fn last_position(&self) -> Position {
        self.place.last_position()
    }

    /// The operation that is done instead.
    pub(super) fn distort(&self, op: Op) -> Op {
        match (self.fault, op) {
            (Fault::FansOutInPart, Op::Append(append)) => each(append, |entry| entry.queues.truncate(1)),
            (Fault::ForgetsNamedIds, Op::Append(append)) => each(append, |entry| entry.remembered = None),
            (Fault::RemembersUnnamedIds, Op::Append(append)) => {
                each(append, |entry| entry.remembered = Some(entry.event_id.0))
            }
            (Fault::DeliversTheRejected, Op::Reject(reject)) => {
                Op::Append(Append { entries: vec![reject.entry], request: None })
            }
            (Fault::ForgetsTheRejected, Op::Reject(mut reject)) => {
                reject.entry.remembered = None;
                Op::Reject(reject)
            }
            (Fault::ForgetsRequests, Op::Append(append)) => Op::Append(Append { request: None, ..append }),
            (Fault::IgnoresFingerprints, Op::Append(mut append)) => {
                if let Some(request) = &mut append.request {
                    request.fingerprint = [0; 16];
                }
                Op::Append(append)
            }
            (Fault::ServesTheFirstClientOnly | Fault::GoesOnFirst, Op::Append(append)) => {
                self.memory(|memory| {
                    for entry in &append.entries {
                        if !memory.clients.contains(&entry.client) {
                            memory.clients.push(entry.client.clone());
                        }
                    }
                });
                Op::Append(append)
            }
            (Fault::ServesTheFirstClientOnly | Fault::ForgetsPlaces, Op::Claim(claim)) => {
                let first = self.memory(|memory| memory.clients.first().cloned());
                let clients = first.map_or(Clients::All, |client| Clients::Only([client].into()));
                Op::Claim(Claim { clients, ..claim })
            }
            (Fault::HandsOutOne, Op::Claim(claim)) => Op::Claim(Claim { max: 1, ..claim }),
            (Fault::IgnoresKeys, Op::Append(append)) => each(append, |entry| {
                for (_, lane) in entry.queues.iter_mut().filter(|(_, lane)| *lane != LaneKey::Stream) {
                    *lane = LaneKey::Key("one".to_owned());
                }
            }),
            (Fault::SplitsStreams, Op::Append(append)) => each(append, |entry| {
                for (_, lane) in entry.queues.iter_mut().filter(|(_, lane)| *lane == LaneKey::Stream) {
                    *lane = LaneKey::Alone;
                }
            }),
            (Fault::ClaimsAnyClient, Op::Claim(claim)) => Op::Claim(Claim { clients: Clients::All, ..claim }),
            (Fault::ClaimsWithoutBound, Op::Claim(claim)) => {
                Op::Claim(Claim { max_bytes: usize::MAX, ..claim })
            }
            (Fault::NeverGoesOn, Op::Claim(claim)) => Op::Claim(Claim { behind: Vec::new(), ..claim }),
            (Fault::GoesOnFirst, Op::Claim(claim)) if !claim.behind.is_empty() => {
                let first = self.memory(|memory| memory.clients.first().cloned());
                let clients = first.map_or(Clients::All, |client| Clients::Only([client].into()));
                Op::Claim(Claim { clients, ..claim })
            }
            (Fault::GoesOnForAnybody, Op::Claim(mut claim)) => {
                self.memory(|memory| {
                    for id in &mut claim.behind {
                        let mut leased = memory.leased.get(&claim.queue).into_iter().flatten();
                        if let Some(other) = leased.find(|other| other.id.lane == id.lane) {
                            *id = other.id;
                        }
                    }
                });
                Op::Claim(claim)
            }
            (Fault::KeepsTheEnd, Op::Claim(claim)) if !claim.behind.is_empty() => {
                Op::Claim(Claim { until: Timestamp::UNIX_EPOCH, ..claim })
            }
            (Fault::GoesOnWithTheFirst, Op::Claim(mut claim)) => {
                claim.behind.truncate(1);
                Op::Claim(claim)
            }
            (Fault::NeverExpires, Op::Expire { .. }) => Op::Expire { limit: 0 },
            (Fault::ExpiresWithoutBound, Op::Expire { .. }) => Op::Expire { limit: usize::MAX },
            (Fault::EditsForAnybody, Op::Edit(edit)) => Op::Edit(Edit { clients: Clients::All, ..edit }),
            (Fault::IgnoresPauses, Op::Pause { queue, .. }) => Op::Pause { queue, paused: false },
            (Fault::ReadsPausedStreams, Op::Pause { queue, .. }) => Op::Pause { queue, paused: false },
            (Fault::IgnoresDiscards, Op::Discard { principal, reason, .. }) => {
                Op::Discard { ids: Vec::new(), principal, reason }
            }
            (Fault::AdvancesTooFar, Op::Advance { queue, to }) => {
                Op::Advance { queue, to: Position(to.0 + 1) }
            }
            (Fault::BelievesAnyPosition, Op::Advance { queue, to }) => {
                Op::Advance { queue, to: to.min(self.last_position()) }
            }
            (Fault::SweepsTheYoung, Op::Sweep(mut sweep)) => {
                sweep.remembered_before = Timestamp::MAX;
                sweep.dead_before = Timestamp::MAX;
                Op::Sweep(sweep)
            }
            (Fault::SweepsWithoutBound, Op::Sweep(mut sweep)) => {
                sweep.limit = usize::MAX;
                Op::Sweep(sweep)
            }
            (_, Op::Settle(settle)) => Op::Settle(self.distort_settle(settle)),
            (Fault::SettlesForAnybody, Op::Extend { queue, delivery, until, .. }) => {
                Op::Extend { queue, delivery, clients: Clients::All, until }
            }
            (_, op) => op,
        }
    }

    fn distort_settle(&self, mut settle: Settle) -> Settle {
        if self.fault == Fault::ForgetsPlaces {
            self.memory(|memory| {
                let mut leased = memory.leased.get(&settle.queue).into_iter().flatten();
                let settled = leased.find(|delivery| delivery.id == settle.delivery);
                let event = settled.and_then(|delivery| Event::decode(&delivery.body).ok());
                memory.clients = event.into_iter().map(|event| event.client).collect();
            });
        }
        settle.settlement = match (self.fault, settle.settlement) {
            (Fault::IgnoresDelays, Settlement::Retry { cause, .. }) => {
                Settlement::Retry { delay: Some(Duration::ZERO), cause }
            }
            (Fault::RepeatsTheFirstPause, Settlement::Retry { delay: None, cause }) => {
                Settlement::Retry { delay: Some(Duration::from_secs(1)), cause }
            }
            (Fault::CountsReleases, Settlement::Release) => {
                Settlement::Retry { delay: Some(Duration::ZERO), cause: "released".to_owned() }
            }
            (Fault::DropsTheDeadLetter, Settlement::Fail { .. }) => Settlement::Ack,
            (_, settlement) => settlement,
        };
        if self.fault == Fault::SettlesForAnybody {
            settle.clients = Clients::All;
        }
        settle
    }

    /// The outcome that is reported instead.
    pub(super) fn misreport(&self, asked: &Op, outcome: Result<Outcome, Error>) -> Result<Outcome, Error> {
        match (self.fault, asked, outcome) {
            (Fault::AcksLostLeases, Op::Settle(settle), Err(err))
                if err.kind() == ErrorKind::LeaseLost && settle.settlement == Settlement::Ack =>
            {
                Ok(Outcome::Settled(Settled::Acked))
            }
            (Fault::ExtendsLostLeases, Op::Extend { .. }, Err(err)) if err.kind() == ErrorKind::LeaseLost => {
                Ok(Outcome::Done)
            }
            (Fault::DropsTheDeadLetter, Op::Settle(settle), Ok(Outcome::Settled(Settled::Acked)))
                if settle.settlement != Settlement::Ack =>
            {
                Ok(Outcome::Settled(Settled::Dead))
            }
            (Fault::IgnoresDiscards, Op::Discard { ids, .. }, Ok(_)) => Ok(Outcome::Count(ids.len() as u64)),
            (_, Op::Claim(claim), Ok(Outcome::Claimed(deliveries))) => {
                Ok(Outcome::Claimed(self.miscount(&claim.queue, deliveries)))
            }
            (.., outcome) => outcome,
        }
    }

    fn miscount(&self, queue: &QueueName, mut deliveries: Vec<Delivery>) -> Vec<Delivery> {
        match self.fault {
            Fault::HandsOutBackwards => deliveries.reverse(),
            Fault::ForgetsAttempts => deliveries.iter_mut().for_each(|delivery| delivery.attempt = 1),
            Fault::CountsThoseBehind => self.memory(|memory| {
                for delivery in &mut deliveries {
                    let tries = memory.tries.entry(delivery.id.position).or_default();
                    *tries += 1;
                    delivery.attempt = *tries;
                }
            }),
            Fault::ReturnsThoseBefore
            | Fault::ReturnsThoseBehind
            | Fault::ForgetsPlaces
            | Fault::GoesOnForAnybody => {
                self.memory(|memory| memory.leased.insert(queue.clone(), deliveries.clone()));
            }
            Fault::SharesLanes => self.memory(|memory| {
                let leased = memory.leased.entry(queue.clone()).or_default();
                if deliveries.is_empty() {
                    deliveries.clone_from(leased);
                } else {
                    leased.clone_from(&deliveries);
                }
            }),
            _ => {}
        }
        deliveries
    }

    /// Makes edits those of a caller who has seen the letter as it is now.
    pub(super) async fn see_all(&self, ops: &mut [Op]) -> Result<(), Error> {
        for op in ops {
            let Op::Edit(edit) = op else { continue };
            let filter = DeadFilter { ids: Some(vec![edit.id]), ..DeadFilter::default() };
            let page = self.inner.dead(&Clients::All, &filter, 0, 1, usize::MAX).await?;
            if let Some(letter) = page.items.into_iter().next() {
                edit.seen = letter.body;
            }
        }
        Ok(())
    }

    /// Further operations that nobody asked for.
    pub(super) async fn extra(&self, op: &Op) -> Result<Vec<Op>, Error> {
        match (self.fault, op) {
            (Fault::ReplaysTwice, Op::Replay { ids, .. }) => {
                let filter = DeadFilter { ids: Some(ids.clone()), ..DeadFilter::default() };
                let page = self.inner.dead(&Clients::All, &filter, 0, 100, usize::MAX).await?;
                let entries = page.items.into_iter().map(|letter| NewEntry {
                    event_id: letter.event_id,
                    remembered: None,
                    event_type: letter.event_type,
                    client: letter.client,
                    trace: letter.trace,
                    accepted_at: letter.died_at,
                    principal: "twin".to_owned(),
                    queues: vec![(letter.queue, LaneKey::Alone)],
                    body: letter.body,
                });
                Ok(vec![Op::Append(Append { entries: entries.collect(), request: None })])
            }
            (Fault::ReturnsThoseBefore, Op::Settle(settle))
                if matches!(settle.settlement, Settlement::Retry { .. }) =>
            {
                Ok(self.releases(settle, |other| other < settle.delivery.position))
            }
            (Fault::ReturnsThoseBehind, Op::Settle(settle))
                if matches!(settle.settlement, Settlement::Fail { .. }) =>
            {
                Ok(self.releases(settle, |other| other > settle.delivery.position))
            }
            (Fault::BuriesThoseBefore, Op::Bury { queue, position, .. }) => {
                Ok(vec![Op::Advance { queue: queue.clone(), to: *position }])
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Releases what was leased with a delivery, at such positions.
    fn releases(&self, settle: &Settle, at: impl Fn(Position) -> bool) -> Vec<Op> {
        let leased = self.memory(|memory| memory.leased.get(&settle.queue).cloned().unwrap_or_default());
        let others = leased.into_iter().map(|delivery| delivery.id);
        let others = others.filter(|id| id.lane == settle.delivery.lane && at(id.position));
        let release = |id| Settle { delivery: id, settlement: Settlement::Release, ..settle.clone() };
        others.map(|id| Op::Settle(release(id))).collect()
    }
}

fn each(mut append: Append, change: impl FnMut(&mut NewEntry)) -> Op {
    append.entries.iter_mut().for_each(change);
    Op::Append(append)
}
