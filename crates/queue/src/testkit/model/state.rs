//! What the model knows, and how it is looked at.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use jiff::Timestamp;
use orderwire_types::queue::{Kind, QueueDef};
use orderwire_types::scope::Clients;
use orderwire_types::step::Step;
use orderwire_types::{Client, EventId, EventType, QueueName};
use uuid::Uuid;

use super::lanes::Queue;
use crate::engine::{Elsewhere, LaneKey, NewEntry, Origin, waiting_steps};
use crate::error::{Error, ErrorKind};
use crate::model::{DeadFilter, DeadLetter, DeadPage, Entry, Position, QueueState, TraceView};

#[derive(Clone, Default)]
pub(super) struct State {
    pub(super) queues: BTreeMap<QueueName, Queue>,
    pub(super) dead: BTreeMap<i64, Dead>,
    pub(super) remembered: HashMap<Uuid, Timestamp>,
    pub(super) requests: HashMap<Uuid, ([u8; 16], Timestamp)>,
    pub(super) steps: Vec<(Uuid, Client, Step)>,
    pub(super) last_position: i64,
    pub(super) last_dead: i64,
    /// Lanes and leases share one counter.
    pub(super) last_number: i64,
}

/// A delivery of one queue.
#[derive(Clone)]
pub(super) struct Item {
    pub(super) position: Position,
    pub(super) attempts: u32,
    pub(super) held: bool,
    pub(super) event_id: EventId,
    pub(super) event_type: EventType,
    pub(super) client: Client,
    pub(super) trace: Uuid,
    pub(super) accepted_at: Timestamp,
    pub(super) body: Bytes,
    pub(super) lane: LaneKey,
}

/// A dead letter, and the delivery that it was.
#[derive(Clone)]
pub(super) struct Dead {
    pub(super) letter: DeadLetter,
    pub(super) item: Item,
}

impl Item {
    /// A delivery of an entry that was just appended.
    pub(super) fn new(position: Position, entry: &NewEntry, lane: &LaneKey) -> Self {
        Self {
            position,
            attempts: 0,
            held: false,
            event_id: entry.event_id,
            event_type: entry.event_type.clone(),
            client: entry.client.clone(),
            trace: entry.trace,
            accepted_at: entry.accepted_at,
            body: entry.body.clone(),
            lane: lane.clone(),
        }
    }

    pub(super) fn entry(&self) -> Entry {
        Entry { position: self.position, body: self.body.clone() }
    }
}

impl State {
    pub(super) fn declare(&mut self, queues: &[(QueueName, QueueDef)], origin: Origin) -> Result<(), Error> {
        for (name, def) in queues {
            if self.queues.get(name).is_some_and(|queue| !queue.is_empty() && queue.def.kind != def.kind) {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!("declare queue {name}: it holds deliveries and is of the other kind"),
                ));
            }
        }
        if origin == Origin::Configuration {
            for (name, queue) in &mut self.queues {
                if queue.origin == Origin::Configuration && queues.iter().all(|(other, _)| other != name) {
                    queue.def.types.clear();
                    queue.bound = false;
                }
            }
        }
        for (name, def) in queues {
            let queue = self.queues.entry(name.clone()).or_insert_with(|| Queue::new(def.clone(), origin));
            queue.def = def.clone();
            queue.origin = origin;
            queue.bound = true;
        }
        self.drop_unbound();
        Ok(())
    }

    /// Queues that are bound to nothing disappear when they are empty.
    pub(super) fn drop_unbound(&mut self) {
        let dead = &self.dead;
        self.queues.retain(|name, queue| {
            queue.bound || !queue.is_empty() || dead.values().any(|dead| dead.letter.queue == *name)
        });
    }

    pub(super) fn definitions(&self) -> Vec<(QueueName, QueueDef)> {
        self.queues.iter().map(|(name, queue)| (name.clone(), queue.def.clone())).collect()
    }

    /// What is told to one who missed what happened.
    pub(super) fn everything(&self) -> Elsewhere {
        let next_expiry = self.queues.values().filter_map(Queue::next_timer).min();
        Elsewhere { ready: self.queues.keys().cloned().collect(), definitions: true, next_expiry }
    }

    pub(super) fn queue(&mut self, name: &QueueName) -> Result<&mut Queue, Error> {
        self.queues.get_mut(name).ok_or_else(|| Error::no_queue(name))
    }

    pub(super) fn queue_state(&mut self, name: &QueueName) -> Result<QueueState, Error> {
        let dead = self.dead.values().filter(|dead| dead.letter.queue == *name).count() as u64;
        let queue = self.queue(name)?;
        let in_flight = queue.items().filter(|item| item.held).count() as u64;
        let delayed = queue.lanes.values().filter(|lane| lane.not_before.is_some()).count() as u64;
        let all = queue.items().count() as u64;
        Ok(QueueState {
            name: name.clone(),
            def: queue.def.clone(),
            ready: all - in_flight - delayed,
            in_flight,
            delayed,
            dead,
            oldest: queue.items().map(|item| item.accepted_at).min(),
            paused: queue.paused,
        })
    }

    pub(super) fn dead_page(
        &self,
        clients: &Clients,
        filter: &DeadFilter,
        after: i64,
        max: usize,
        max_bytes: usize,
    ) -> DeadPage {
        let letters = self.dead.range(after + 1..).map(|(_, dead)| &dead.letter);
        let selected = |letter: &&DeadLetter| covers(clients, &letter.client) && selects(filter, letter);
        let mut items: Vec<DeadLetter> = letters.filter(selected).take(max + 1).cloned().collect();
        let within = within(items.iter().map(|letter| letter.body.len()), max, max_bytes);
        let next = (items.len() > within).then(|| {
            items.truncate(within);
            items.last().map(|letter| letter.id)
        });
        DeadPage { items, next: next.flatten() }
    }

    pub(super) fn trace_view(&self, trace: Uuid, clients: &Clients) -> TraceView {
        let mut view = TraceView::default();
        for (_, client, step) in self.steps.iter().filter(|(other, ..)| *other == trace) {
            if covers(clients, client) {
                view.client.get_or_insert_with(|| client.clone());
                view.steps.push(step.clone());
            }
        }
        for (name, queue) in &self.queues {
            for item in queue.items().filter(|item| item.trace == trace && covers(clients, &item.client)) {
                view.client.get_or_insert_with(|| item.client.clone());
                view.open += 1;
                if queue.def.kind == Kind::Stream {
                    let [accepted, queued] = waiting_steps(item.event_id, item.accepted_at, name);
                    if !view.tells(&accepted) {
                        view.steps.push(accepted);
                    }
                    view.steps.push(queued);
                }
            }
        }
        let dead = self.dead.values().map(|dead| &dead.letter);
        for letter in dead.filter(|letter| letter.trace == trace && covers(clients, &letter.client)) {
            view.client.get_or_insert_with(|| letter.client.clone());
            view.dead += 1;
        }
        view.steps.sort_by_key(|step| step.at);
        view
    }
}

/// How many of these sizes there are up to the one that reaches `max_bytes`,
/// at most `max`.
pub(super) fn within(sizes: impl Iterator<Item = usize>, max: usize, max_bytes: usize) -> usize {
    let (mut count, mut bytes) = (0, 0);
    for size in sizes.take(max) {
        if bytes >= max_bytes && count > 0 {
            break;
        }
        bytes += size;
        count += 1;
    }
    count
}

pub(super) fn covers(clients: &Clients, client: &Client) -> bool {
    match clients {
        Clients::All => true,
        Clients::Only(clients) => clients.contains(client),
    }
}

fn selects(filter: &DeadFilter, letter: &DeadLetter) -> bool {
    let has = |text: &str| letter.cause.to_ascii_lowercase().contains(&text.to_ascii_lowercase());
    filter.ids.as_ref().is_none_or(|ids| ids.contains(&letter.id))
        && filter.queue.as_ref().is_none_or(|queue| *queue == letter.queue)
        && filter.event_type.as_ref().is_none_or(|pattern| pattern.matches(&letter.event_type))
        && filter.client.as_ref().is_none_or(|client| *client == letter.client)
        && filter.cause.as_ref().is_none_or(|cause| has(cause))
        && filter.since.is_none_or(|since| letter.died_at >= since)
        && filter.until.is_none_or(|until| letter.died_at < until)
}
