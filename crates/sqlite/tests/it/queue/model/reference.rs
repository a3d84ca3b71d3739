//! The port's promises in lists, without any thought of cost.

use std::time::Duration;

use orderwire_queue::engine::Settled;

/// As [`super::super::support::definitions`] says.
const ATTEMPTS: u32 = 3;

/// How a delivery is settled; the delay of a retry in seconds.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    Ack,
    Retry(i64),
    Fail,
    Release,
}

pub(super) struct Reference {
    pub(super) queues: Vec<TaskQueue>,
    /// What waits in the stream `s1`.
    pub(super) stream: Vec<u64>,
    pub(super) buried: u64,
}

#[derive(Default)]
pub(super) struct TaskQueue {
    lanes: Vec<Lane>,
    /// Clients with a ready lane, next first.
    order: Vec<u8>,
    served_last: Option<u8>,
    dead: Vec<Letter>,
    arrived: usize,
}

struct Lane {
    client: u8,
    key: Option<u8>,
    /// In order: the event, the attempts that count, whether it is held, and
    /// its place in the order of arrival.
    items: Vec<(u64, u32, bool, usize)>,
    state: State,
    not_before: i64,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Ready,
    Leased(i64),
    Delayed(i64),
}

struct Letter {
    n: u64,
    attempts: u32,
    client: u8,
    key: Option<u8>,
}

impl Reference {
    pub(super) fn new(queues: &[&str]) -> Self {
        Self { queues: queues.iter().map(|_| TaskQueue::default()).collect(), stream: Vec::new(), buried: 0 }
    }

    pub(super) fn due(&self, now: i64) -> usize {
        self.queues.iter().flat_map(|queue| &queue.lanes).filter(|lane| lane.due(now)).count()
    }

    pub(super) fn expire(&mut self, now: i64) {
        for queue in &mut self.queues {
            queue.expire(now);
        }
    }

    pub(super) fn next_expiry(&self) -> Option<i64> {
        let ends = self.queues.iter().flat_map(|queue| &queue.lanes).filter_map(|lane| match lane.state {
            State::Ready => None,
            State::Leased(until) | State::Delayed(until) => Some(until),
        });
        ends.min()
    }
}

impl Lane {
    fn due(&self, now: i64) -> bool {
        matches!(self.state, State::Leased(until) | State::Delayed(until) if until <= now)
    }

    fn held(&self) -> usize {
        self.items.iter().filter(|item| item.2).count()
    }
}

impl TaskQueue {
    pub(super) fn append(&mut self, n: u64, client: u8, key: Option<u8>) {
        self.arrived += 1;
        let item = (n, 0, false, self.arrived);
        let same = |lane: &&mut Lane| lane.client == client && lane.key == key && key.is_some();
        if let Some(lane) = self.lanes.iter_mut().find(same) {
            lane.items.push(item);
            return;
        }
        let lane = Lane { client, key, items: vec![item], state: State::Ready, not_before: 0 };
        self.lanes.push(lane);
        self.enter(client);
    }

    pub(super) fn claim(&mut self, only: Option<u8>, max: usize, until: i64) -> Vec<(u64, u32)> {
        let mut claimed = Vec::new();
        let mut round: Vec<u8> =
            self.order.iter().copied().filter(|client| only.is_none_or(|only| only == *client)).collect();
        round.retain(|client| {
            self.lanes.iter().any(|lane| lane.client == *client && lane.state == State::Ready)
        });
        if round.is_empty() {
            return claimed;
        }
        let quota = (max / round.len()).max(1);
        while claimed.len() < max && !round.is_empty() {
            let client = round.remove(0);
            let ready = |lane: &&mut Lane| lane.client == client && lane.state == State::Ready;
            let lane = self.lanes.iter_mut().filter(ready).min_by_key(|lane| lane.items[0].3).unwrap();
            lane.state = State::Leased(until);
            lane.not_before = i64::MIN;
            for item in lane.items.iter_mut().take(quota.min(max - claimed.len())) {
                item.1 += 1;
                item.2 = true;
                claimed.push((item.0, item.1));
            }
            self.order.retain(|other| *other != client);
            self.order.push(client);
            self.served_last = Some(client);
            if self.lanes.iter().any(|lane| lane.client == client && lane.state == State::Ready) {
                round.push(client);
            }
        }
        claimed
    }

    /// What follows this event in its lane, as far as it is held.
    pub(super) fn go_on(&mut self, n: u64, max: usize, until: i64, now: i64) -> Vec<(u64, u32)> {
        let Some(lane) = self.good_lease(n, now) else { return Vec::new() };
        let lane = &mut self.lanes[lane];
        if lane.not_before > now {
            return Vec::new();
        }
        let mut claimed = Vec::new();
        for item in lane.items.iter_mut().filter(|item| !item.2).take(max) {
            item.1 += 1;
            item.2 = true;
            claimed.push((item.0, item.1));
        }
        if let (State::Leased(end), false) = (&mut lane.state, claimed.is_empty()) {
            *end = (*end).max(until);
        }
        claimed
    }

    /// `None` when the lease is lost.
    pub(super) fn settle(&mut self, n: u64, end: End, now: i64) -> Option<Settled> {
        let lane = self.good_lease(n, now)?;
        let at = self.lanes[lane].items.iter().position(|item| item.0 == n).unwrap();
        let attempts = self.lanes[lane].items[at].1;
        let answer = match end {
            End::Ack => {
                self.lanes[lane].items.remove(at);
                Settled::Acked
            }
            End::Fail => {
                self.die(lane, at);
                Settled::Dead
            }
            End::Retry(_) if attempts >= ATTEMPTS => {
                self.take_back(lane, at + 1);
                self.die(lane, at);
                Settled::Dead
            }
            End::Retry(delay) => {
                self.take_back(lane, at + 1);
                let lane = &mut self.lanes[lane];
                lane.items[at].2 = false;
                lane.not_before = lane.not_before.max(now + delay);
                Settled::Returned(Duration::from_secs(delay.unsigned_abs()))
            }
            End::Release => {
                self.take_back(lane, at);
                Settled::Returned(Duration::ZERO)
            }
        };
        self.release(lane, now);
        Some(answer)
    }

    pub(super) fn extend(&mut self, n: u64, until: i64, now: i64) -> bool {
        let lane = self.good_lease(n, now);
        if let Some(lane) = lane {
            self.lanes[lane].state = State::Leased(until);
        }
        lane.is_some()
    }

    pub(super) fn replay(&mut self, n: u64, attempts: u32) {
        let at = self.dead.iter().position(|letter| letter.n == n && letter.attempts == attempts).unwrap();
        let letter = self.dead.remove(at);
        self.append(n, letter.client, letter.key);
    }

    /// As `QueueState`: ready, in flight, delayed, dead.
    pub(super) fn counts(&self) -> (u64, u64, u64, u64) {
        let count = |n: usize| u64::try_from(n).unwrap();
        let all: usize = self.lanes.iter().map(|lane| lane.items.len()).sum();
        let held: usize = self.lanes.iter().map(Lane::held).sum();
        let delayed = self.lanes.iter().filter(|lane| matches!(lane.state, State::Delayed(_))).count();
        (count(all - held - delayed), count(held), count(delayed), count(self.dead.len()))
    }

    pub(super) fn unsettled(&self) -> Vec<(u64, u32)> {
        let items = self.lanes.iter().flat_map(|lane| &lane.items);
        let mut all: Vec<_> = items.map(|(n, attempts, _, _)| (*n, *attempts)).collect();
        all.sort_unstable();
        all
    }

    fn expire(&mut self, now: i64) {
        let mut due: Vec<(i64, usize)> = Vec::new();
        for (index, lane) in self.lanes.iter().enumerate() {
            if let State::Leased(until) | State::Delayed(until) = lane.state
                && until <= now
            {
                due.push((until, index));
            }
        }
        due.sort_unstable();
        let mut emptied = Vec::new();
        for (_, index) in due {
            if matches!(self.lanes[index].state, State::Delayed(_)) {
                self.lanes[index].state = State::Ready;
                let client = self.lanes[index].client;
                self.enter(client);
                continue;
            }
            let first = self.lanes[index].items.iter().position(|item| item.2).unwrap();
            self.take_back(index, first + 1);
            if self.lanes[index].items[first].1 >= ATTEMPTS {
                self.die(index, first);
            } else {
                self.lanes[index].items[first].2 = false;
            }
            if self.lanes[index].items.is_empty() {
                emptied.push(index);
            } else {
                self.release(index, now);
            }
        }
        emptied.sort_unstable();
        for index in emptied.into_iter().rev() {
            let client = self.lanes.remove(index).client;
            self.leave(client);
        }
    }

    fn good_lease(&self, n: u64, now: i64) -> Option<usize> {
        self.lanes.iter().position(|lane| {
            matches!(lane.state, State::Leased(until) if until > now)
                && lane.items.iter().any(|item| item.0 == n && item.2)
        })
    }

    /// Held ones from an index on were never handed out.
    fn take_back(&mut self, lane: usize, from: usize) {
        for item in self.lanes[lane].items.iter_mut().skip(from).filter(|item| item.2) {
            item.1 -= 1;
            item.2 = false;
        }
    }

    fn die(&mut self, lane: usize, at: usize) {
        let lane = &mut self.lanes[lane];
        let (n, attempts, _, _) = lane.items.remove(at);
        self.dead.push(Letter { n, attempts, client: lane.client, key: lane.key });
    }

    fn release(&mut self, index: usize, now: i64) {
        let lane = &mut self.lanes[index];
        if lane.held() > 0 {
            return;
        }
        if lane.items.is_empty() {
            let client = self.lanes.remove(index).client;
            self.leave(client);
        } else if lane.not_before > now {
            lane.state = State::Delayed(lane.not_before);
        } else {
            lane.state = State::Ready;
            let client = lane.client;
            self.enter(client);
        }
    }

    /// A client without a lane has no place.
    fn leave(&mut self, client: u8) {
        if self.lanes.iter().all(|lane| lane.client != client) {
            self.order.retain(|other| *other != client);
            self.served_last = self.served_last.filter(|last| *last != client);
        }
    }

    fn enter(&mut self, client: u8) {
        if self.order.contains(&client) {
            return;
        }
        match self.order.last() {
            Some(last) if self.served_last == Some(*last) => self.order.insert(self.order.len() - 1, client),
            _ => self.order.push(client),
        }
    }
}
