//! The lanes of a queue, and whose turn it is.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use jiff::Timestamp;
use orderwire_types::Client;
use orderwire_types::queue::QueueDef;
use orderwire_types::scope::Clients;

use super::state::{Item, covers};
use crate::engine::{LaneKey, Origin};
use crate::model::Position;

/// A queue of the model.
#[derive(Clone)]
pub(super) struct Queue {
    pub(super) def: QueueDef,
    pub(super) origin: Origin,
    pub(super) bound: bool,
    pub(super) paused: bool,
    pub(super) lanes: BTreeMap<i64, Lane>,
    by_key: HashMap<(Client, LaneKey), i64>,
    /// The ready lanes of each client by their first position.
    ready: BTreeMap<Client, BTreeSet<(Position, i64)>>,
    /// When leases run out and pauses end.
    timers: BTreeSet<(Timestamp, i64)>,
    /// Whose turn it is: the smallest first. A client has one while it has lanes.
    turns: HashMap<Client, (u64, u64)>,
    lanes_of: HashMap<Client, usize>,
    served: u64,
    arrived: u64,
}

/// The unsettled deliveries of one (client, key), in order.
#[derive(Clone)]
pub(super) struct Lane {
    pub(super) client: Client,
    pub(super) key: LaneKey,
    pub(super) items: VecDeque<Item>,
    pub(super) lease: Option<Lease>,
    pub(super) not_before: Option<Timestamp>,
}

#[derive(Clone)]
pub(super) struct Lease {
    pub(super) number: i64,
    pub(super) since: Timestamp,
    pub(super) until: Timestamp,
    pub(super) principal: String,
}

impl Queue {
    pub(super) fn new(def: QueueDef, origin: Origin) -> Self {
        Self {
            def,
            origin,
            bound: true,
            paused: false,
            lanes: BTreeMap::new(),
            by_key: HashMap::new(),
            ready: BTreeMap::new(),
            timers: BTreeSet::new(),
            turns: HashMap::new(),
            lanes_of: HashMap::new(),
            served: 0,
            arrived: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    pub(super) fn items(&self) -> impl Iterator<Item = &Item> {
        self.lanes.values().flat_map(|lane| &lane.items)
    }

    /// Puts a delivery at the end of its lane; whether that made the lane ready.
    pub(super) fn push(&mut self, item: Item, new_lane: i64) -> bool {
        // A stream is one lane, whoever its events belong to.
        let client = match item.lane {
            LaneKey::Stream => Client::default_client(),
            _ => item.client.clone(),
        };
        let known = match &item.lane {
            LaneKey::Alone => None,
            key => self.by_key.get(&(client.clone(), key.clone())).copied(),
        };
        if let Some(id) = known {
            self.lanes.get_mut(&id).expect("a known lane").items.push_back(item);
            return false;
        }
        if item.lane != LaneKey::Alone {
            self.by_key.insert((client.clone(), item.lane.clone()), new_lane);
        }
        let key = item.lane.clone();
        self.put(new_lane, Lane { client, key, items: [item].into(), lease: None, not_before: None })
    }

    /// Takes a lane out, to change it and put it back.
    pub(super) fn take(&mut self, id: i64) -> Option<Lane> {
        let lane = self.lanes.remove(&id)?;
        *self.lanes_of.entry(lane.client.clone()).or_default() -= 1;
        if let Some(at) = lane.timer() {
            self.timers.remove(&(at, id));
        } else if let Some(first) = lane.items.front() {
            let lanes = self.ready.entry(lane.client.clone()).or_default();
            lanes.remove(&(first.position, id));
            if lanes.is_empty() {
                self.ready.remove(&lane.client);
            }
        }
        Some(lane)
    }

    /// Puts a lane back, unless nothing is left of it; whether it is ready.
    pub(super) fn put(&mut self, id: i64, mut lane: Lane) -> bool {
        if lane.items.iter().all(|item| !item.held) {
            lane.lease = None;
        }
        let Some(first) = lane.items.front().map(|item| item.position) else {
            self.by_key.remove(&(lane.client.clone(), lane.key));
            self.settle_turn(&lane.client);
            return false;
        };
        let client = lane.client.clone();
        let timer = lane.timer();
        match timer {
            Some(at) => {
                self.timers.insert((at, id));
            }
            None => {
                self.ready.entry(client.clone()).or_default().insert((first, id));
            }
        }
        self.lanes.insert(id, lane);
        *self.lanes_of.entry(client.clone()).or_default() += 1;
        self.settle_turn(&client);
        timer.is_none()
    }

    /// A client without a lane has no turn; one that becomes active goes
    /// before the one served last and behind those that wait longer.
    fn settle_turn(&mut self, client: &Client) {
        if self.lanes_of.get(client).is_none_or(|lanes| *lanes == 0) {
            self.lanes_of.remove(client);
            self.turns.remove(client);
        } else if !self.turns.contains_key(client) {
            self.arrived += 1;
            self.turns.insert(client.clone(), ((2 * self.served).saturating_sub(1), self.arrived));
        }
    }

    /// The client whose turn it is, and its oldest ready lane.
    pub(super) fn next(&self, clients: &Clients) -> Option<(Client, i64)> {
        let active = self.ready.keys().filter(|client| self.may_serve(clients, client));
        let client = active.min_by_key(|client| self.turns[*client])?;
        let (_, lane) = self.ready[client].first()?;
        Some((client.clone(), *lane))
    }

    /// A client was served: it goes behind all others.
    pub(super) fn serve(&mut self, client: &Client) {
        self.served += 1;
        if self.turns.contains_key(client) {
            self.turns.insert(client.clone(), (2 * self.served, 0));
        }
    }

    /// How many clients have a ready lane.
    pub(super) fn active(&self, clients: &Clients) -> usize {
        self.ready.keys().filter(|client| self.may_serve(clients, client)).count()
    }

    fn may_serve(&self, clients: &Clients, client: &Client) -> bool {
        match self.def.kind {
            orderwire_types::queue::Kind::Stream => *clients == Clients::All,
            orderwire_types::queue::Kind::Task => covers(clients, client),
        }
    }

    /// Lanes whose lease or pause ended, the earliest first.
    pub(super) fn due(&self, now: Timestamp, limit: usize) -> Vec<i64> {
        self.timers.iter().take_while(|(at, _)| *at <= now).take(limit).map(|(_, lane)| *lane).collect()
    }

    pub(super) fn next_timer(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }
}

impl Lane {
    /// A pause that is over by now holds nothing back.
    pub(super) fn end_pause(&mut self, now: Timestamp) {
        self.not_before = self.not_before.filter(|at| *at > now);
    }

    /// When the lane changes by itself; `None` when it is ready.
    fn timer(&self) -> Option<Timestamp> {
        self.lease.as_ref().map(|lease| lease.until).or(self.not_before)
    }
}
