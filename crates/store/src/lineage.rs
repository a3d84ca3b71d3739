//! Which events caused which.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use orderwire_types::{Client, EventId, Scope};
use uuid::Uuid;

/// That an event caused another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The event that was caused.
    pub effect: EventId,
    /// Its type.
    pub effect_type: String,
    /// Whose it is.
    pub client: Client,
    /// Its trace.
    pub trace: Uuid,
    /// The event that caused it.
    pub cause: EventId,
    /// What is known of that one beside its id.
    pub known: Option<KnownCause>,
    /// What made the one of the other, in plain words: a rule, a consumer.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// An event that caused another, where whoever noted it had it at hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownCause {
    /// Its type.
    pub event_type: String,
    /// Whose it is.
    pub client: Client,
    /// Its trace.
    pub trace: Uuid,
}

/// Links around some events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lineage {
    /// The links, those nearest to the events first, then by time.
    pub links: Vec<Link>,
    /// Whether a bound left some out.
    pub cut: bool,
}

impl Link {
    /// Whether this scope covers both ends, as far as they are known.
    pub fn is_visible(&self, scope: &Scope) -> bool {
        scope.covers(&self.client) && self.known.as_ref().is_none_or(|known| scope.covers(&known.client))
    }
}

impl Lineage {
    /// Of these links the nearest to these events, at most so many: to the causes of their causes, and
    /// the effects of their effects. For engines, which find more than that.
    pub fn nearest(events: &[Uuid], found: Vec<Link>, links_max: usize) -> Self {
        let mut ordered: Vec<(u32, Link)> = Vec::with_capacity(found.len());
        let up = distances(events, &found, |link| (link.effect.0, link.cause.0));
        let down = distances(events, &found, |link| (link.cause.0, link.effect.0));
        let mut seen = HashSet::new();
        for link in found {
            let near = [up.get(&link.effect.0), down.get(&link.cause.0)].into_iter().flatten().min();
            let Some(near) = near else { continue };
            if seen.insert((link.effect, link.cause)) {
                ordered.push((*near, link));
            }
        }
        ordered.sort_by_key(|(near, link)| (*near, link.at, link.effect.0, link.cause.0));
        let cut = ordered.len() > links_max;
        ordered.truncate(links_max);
        Self { links: ordered.into_iter().map(|(_, link)| link).collect(), cut }
    }
}

/// How many links each event is away, going one way. An event that was reached is not
/// reached again, so that circles end.
fn distances(events: &[Uuid], links: &[Link], way: impl Fn(&Link) -> (Uuid, Uuid)) -> HashMap<Uuid, u32> {
    let mut next: HashMap<Uuid, Vec<Uuid>> = HashMap::new();
    for (from, to) in links.iter().map(way) {
        next.entry(from).or_default().push(to);
    }
    let mut known: HashMap<Uuid, u32> = events.iter().map(|event| (*event, 0)).collect();
    let mut front: Vec<Uuid> = events.to_vec();
    let mut distance = 0;
    while !front.is_empty() {
        distance += 1;
        let reached = front.iter().flat_map(|event| next.get(event).into_iter().flatten());
        let fresh: Vec<Uuid> = reached.filter(|event| !known.contains_key(*event)).copied().collect();
        front.clear();
        for event in fresh {
            if known.insert(event, distance).is_none() {
                front.push(event);
            }
        }
    }
    known
}
