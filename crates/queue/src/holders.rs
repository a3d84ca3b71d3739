//! What consumers that stay hold: they are told at once when a call settles it,
//! whichever connection it came by.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use orderwire_types::{Client, Event};
use tokio::sync::Notify;

use crate::catalog::Queue;
use crate::engine::LaneKey;
use crate::model::{Delivery, DeliveryId, Position};

/// How many lanes one claim goes on with at most.
const BEHIND_MAX: usize = 32;

/// One lease of one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct LeaseKey {
    lane: i64,
    lease: i64,
}

/// The consumers that stay at one queue, and what each of them holds.
///
/// A place is free again when its delivery is settled through this process, or
/// when its lease ran out. Nobody asks the engine: what other processes settle
/// on the same data is noticed at the end of the lease.
#[derive(Default)]
pub(crate) struct Holders {
    /// How many consumers there are, so that nobody else pays for them.
    hands: AtomicUsize,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    leases: HashMap<LeaseKey, Held>,
    lanes: HashMap<(Client, LaneKey), LeaseKey>,
}

/// What is held of one lane.
struct Held {
    hand: Arc<Hand>,
    lane: (Client, LaneKey),
    /// When the lease runs out.
    until: Timestamp,
    /// The unsettled ones.
    positions: BTreeMap<Position, Part>,
}

/// One delivery that is held.
struct Part {
    /// The end that it was given itself: the lease is drawn out by those that follow.
    until: Timestamp,
    /// How many its consumer was given before it.
    nth: usize,
}

/// One consumer.
#[derive(Default)]
pub(crate) struct Hand {
    leases: Mutex<BTreeSet<LeaseKey>>,
    /// Where the next claim begins, so that no lane is always last.
    next: Mutex<Option<LeaseKey>>,
    count: AtomicUsize,
    /// How many it was ever given.
    given: AtomicUsize,
    lapsed: AtomicUsize,
    /// Something of it was settled, or moved.
    pub(crate) changed: Notify,
    /// Something arrived behind what it holds.
    pub(crate) more: Notify,
}

impl Hand {
    /// How many unsettled deliveries it holds.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// How many of its leases ran out since it settled or extended one.
    pub(crate) fn lapsed(&self) -> usize {
        self.lapsed.load(Ordering::Relaxed)
    }

    fn leases(&self) -> MutexGuard<'_, BTreeSet<LeaseKey>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn alive(&self) {
        self.lapsed.store(0, Ordering::Relaxed);
        self.changed.notify_one();
    }
}

impl Holders {
    /// A consumer comes.
    pub(crate) fn enter(&self) -> Arc<Hand> {
        self.hands.fetch_add(1, Ordering::Relaxed);
        Arc::default()
    }

    /// A consumer goes: what it holds is nobody's here any more.
    pub(crate) fn leave(&self, hand: &Hand) {
        self.hands.fetch_sub(1, Ordering::Relaxed);
        let mut book = self.book();
        for key in std::mem::take(&mut *hand.leases()) {
            book.remove(key);
        }
    }

    /// A claim handed these to a consumer, whose lease they have from now on.
    pub(crate) fn took(&self, hand: &Arc<Hand>, queue: &Queue, deliveries: &[Delivery]) {
        let mut book = self.book();
        for delivery in deliveries {
            let key = LeaseKey { lane: delivery.id.lane, lease: delivery.id.lease };
            let until = delivery.leased_until;
            let held = book.leases.entry(key).or_insert_with(|| Held {
                hand: Arc::clone(hand),
                lane: lane_of(queue, delivery),
                until,
                positions: BTreeMap::new(),
            });
            held.until = held.until.max(until);
            let part = Part { until, nth: hand.given.fetch_add(1, Ordering::Relaxed) };
            if held.positions.insert(delivery.id.position, part).is_none() {
                hand.count.fetch_add(1, Ordering::Relaxed);
            }
            if hand.leases().insert(key) && held.lane.1 != LaneKey::Alone {
                let lane = held.lane.clone();
                book.lanes.insert(lane, key);
            }
        }
    }

    /// Whether the consumer still holds this delivery.
    pub(crate) fn holds(&self, id: DeliveryId) -> bool {
        let key = LeaseKey { lane: id.lane, lease: id.lease };
        self.book().leases.get(&key).is_some_and(|held| held.positions.contains_key(&id.position))
    }

    /// A delivery was settled; with `behind` those behind it in its lease were
    /// returned as well.
    pub(crate) fn settled(&self, id: DeliveryId, behind: bool) {
        if self.is_watched() {
            self.strike(id, behind);
        }
    }

    /// Strikes out a delivery, and with `behind` those behind it in its lease.
    pub(crate) fn strike(&self, id: DeliveryId, behind: bool) {
        let key = LeaseKey { lane: id.lane, lease: id.lease };
        let mut book = self.book();
        let Some(held) = book.leases.get_mut(&key) else { return };
        let gone = if behind {
            held.positions.split_off(&id.position).len()
        } else {
            usize::from(held.positions.remove(&id.position).is_some())
        };
        let hand = Arc::clone(&held.hand);
        hand.count.fetch_sub(gone, Ordering::Relaxed);
        if held.positions.is_empty() {
            hand.leases().remove(&key);
            book.remove(key);
        }
        hand.alive();
    }

    /// The lease of a delivery ends at another time.
    pub(crate) fn extended(&self, id: DeliveryId, until: Timestamp) {
        if !self.is_watched() {
            return;
        }
        let key = LeaseKey { lane: id.lane, lease: id.lease };
        if let Some(held) = self.book().leases.get_mut(&key) {
            held.until = until;
            held.positions.values_mut().for_each(|part| part.until = until);
            held.hand.alive();
        }
    }

    /// An event arrived in a lane: whoever holds that lane may want more of it.
    pub(crate) fn arrived(&self, client: &Client, lane: impl FnOnce() -> LaneKey) {
        if !self.is_watched() {
            return;
        }
        let lane = match lane() {
            LaneKey::Alone => return,
            LaneKey::Stream => (Client::default_client(), LaneKey::Stream),
            lane => (client.clone(), lane),
        };
        let book = self.book();
        if let Some(held) = book.lanes.get(&lane).and_then(|key| book.leases.get(key)) {
            held.hand.more.notify_one();
        }
    }

    /// Lets go of what ran out by now.
    pub(crate) fn expire(&self, hand: &Hand, now: Timestamp) {
        let mut book = self.book();
        let mut own = hand.leases();
        own.retain(|key| {
            let Some(held) = book.leases.get(key) else { return false };
            if held.until > now {
                return true;
            }
            let gone = held.positions.len();
            hand.count.fetch_sub(gone, Ordering::Relaxed);
            hand.lapsed.fetch_add(gone, Ordering::Relaxed);
            book.remove(*key);
            false
        });
    }

    /// When the first of its leases runs out.
    pub(crate) fn first_end(&self, hand: &Hand) -> Option<Timestamp> {
        let book = self.book();
        hand.leases().iter().filter_map(|key| book.leases.get(key)).map(|held| held.until).min()
    }

    /// One delivery of each lane that a claim may go on with, a bounded number.
    ///
    /// A lane whose first delivery had its time is left to run out: those that
    /// follow must not keep a lease alive that nobody looks after.
    pub(crate) fn behind(&self, hand: &Hand, now: Timestamp) -> Vec<DeliveryId> {
        let book = self.book();
        let own = hand.leases();
        let mut next = hand.next.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = next.unwrap_or(LeaseKey { lane: 0, lease: 0 });
        let goes_on = |key: &&LeaseKey| {
            let first = book.leases.get(*key).and_then(|held| held.positions.values().next());
            first.is_some_and(|part| part.until > now)
        };
        let keys = own.range(begin..).chain(own.range(..begin)).filter(goes_on);
        let keys: Vec<LeaseKey> = keys.take(BEHIND_MAX).copied().collect();
        *next = keys.last().map(|last| LeaseKey { lane: last.lane, lease: last.lease + 1 });
        let last_of = |key: &LeaseKey| {
            let (position, _) = book.leases.get(key)?.positions.last_key_value()?;
            Some(DeliveryId { lane: key.lane, position: *position, lease: key.lease })
        };
        keys.iter().filter_map(last_of).collect()
    }

    /// The first delivery of each lane that a consumer holds, the one before all that it
    /// was given first.
    pub(crate) fn firsts(&self, hand: &Hand) -> Vec<DeliveryId> {
        let book = self.book();
        let first_of = |key: &LeaseKey| {
            let (position, part) = book.leases.get(key)?.positions.first_key_value()?;
            Some((part.nth, DeliveryId { lane: key.lane, position: *position, lease: key.lease }))
        };
        let mut firsts: Vec<_> = hand.leases().iter().filter_map(first_of).collect();
        firsts.sort_unstable_by_key(|(nth, _)| *nth);
        firsts.into_iter().map(|(_, id)| id).collect()
    }

    fn is_watched(&self) -> bool {
        self.hands.load(Ordering::Relaxed) > 0
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn remove(&mut self, key: LeaseKey) {
        if let Some(held) = self.leases.remove(&key)
            && self.lanes.get(&held.lane) == Some(&key)
        {
            self.lanes.remove(&held.lane);
        }
    }
}

/// The lane of a delivery. One that cannot be read is one that nothing arrives
/// behind; whoever gets it will say so.
fn lane_of(queue: &Queue, delivery: &Delivery) -> (Client, LaneKey) {
    match Event::decode(&delivery.body) {
        Ok(event) => match queue.lane(&event) {
            LaneKey::Stream => (Client::default_client(), LaneKey::Stream),
            lane => (event.client, lane),
        },
        Err(_) => (Client::default_client(), LaneKey::Alone),
    }
}
