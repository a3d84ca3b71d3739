//! A lineage under way: nodes, and links from what was first to what came of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use orderwire_api::wire::{LineageGraph, LineageLink, LineageNode};
use orderwire_store::orders::{Order, ResourceName, RevisionResource};
use orderwire_store::{KnownCause, Lineage, Link};
use orderwire_types::step::Step;
use serde::Deserialize;
use uuid::Uuid;

/// The most events of a trace itself that are looked at.
const EVENTS_MAX: usize = 1_000;

/// What was observed of a resource, as the status of a release holds it.
#[derive(Deserialize)]
pub(super) struct Observed {
    kind: String,
    name: String,
    state: String,
}

/// What is known so far.
#[derive(Default)]
pub(super) struct Graph {
    nodes: BTreeMap<String, LineageNode>,
    links: BTreeSet<(String, String, String)>,
    pub(super) traces: BTreeSet<Uuid>,
    /// How many resources of revisions were taken into it.
    pub(super) resources: usize,
    pub(super) cut: bool,
}

impl Graph {
    /// The events of the trace itself, with their types where a step tells them.
    pub(super) fn own_events<'s>(&mut self, steps: impl Iterator<Item = &'s Step>, trace: Uuid) -> Vec<Uuid> {
        let mut events: HashMap<Uuid, Option<&str>> = HashMap::new();
        for step in steps {
            let Some(event) = step.event_id else { continue };
            if events.len() == EVENTS_MAX && !events.contains_key(&event) {
                self.cut = true;
                continue;
            }
            let told = step.detail.as_deref().filter(|_| step.step == "accepted");
            let event_type = told.and_then(|detail| Some(detail.split_once(" from ")?.0));
            let known = events.entry(event).or_default();
            *known = known.or(event_type);
        }
        for (event, event_type) in &events {
            self.event(*event, event_type.map(str::to_owned), None, Some(trace));
        }
        self.traces.insert(trace);
        events.into_keys().collect()
    }

    pub(super) fn add_links(&mut self, lineage: &Lineage) {
        self.cut |= lineage.cut;
        for link in &lineage.links {
            let Link { effect, effect_type, client, trace, cause, known, by, .. } = link;
            self.event(effect.0, Some(effect_type.clone()), Some(client.to_string()), Some(*trace));
            let (of, whose, on) = match known {
                None => (None, None, None),
                Some(KnownCause { event_type, client, trace }) => {
                    (Some(event_type.clone()), Some(client.to_string()), Some(*trace))
                }
            };
            self.event(cause.0, of, whose, on);
            self.link(&event_node(cause.0), &event_node(effect.0), &format!("caused, {by}"));
            self.traces.insert(*trace);
            self.traces.extend(on);
        }
    }

    pub(super) fn add_order(&mut self, order: &Order) {
        let (client, trace) = (order.client.to_string(), order.trace.id);
        self.event(order.id.0, None, Some(client.clone()), Some(trace));
        let id = format!("order/{}", order.id);
        self.link(&event_node(order.id.0), &id, "ordered");
        self.node(id.clone(), "order", |node| {
            node.name = Some(order.product.clone());
            node.client = Some(client.clone());
            node.trace_id = Some(shown_id(trace));
            node.state = Some(order.state.as_str().to_owned());
        });
        let Some(release) = order.release else { return };
        let release_id = self.add_release(release, &order.name, &client);
        self.link(&id, &release_id, "changed");
        if let Some(number) = order.revision {
            let revision = self.add_revision(release, &order.name, &client, number);
            self.link(&id, &revision, "made or found");
        }
    }

    /// A release and its client; the id of its node.
    pub(super) fn add_release(&mut self, release: Uuid, name: &str, client: &str) -> String {
        let of_client = format!("client/{client}");
        self.node(of_client.clone(), "client", |node| node.name = Some(client.to_owned()));
        let id = format!("release/{release}");
        self.node(id.clone(), "release", |node| {
            node.name = Some(name.to_owned());
            node.client = Some(client.to_owned());
        });
        self.link(&of_client, &id, "has");
        id
    }

    /// A revision of a release; the id of its node.
    pub(super) fn add_revision(&mut self, release: Uuid, name: &str, client: &str, number: u64) -> String {
        let id = revision_id(release, number);
        self.node(id.clone(), "revision", |node| {
            node.name = Some(format!("{name} {number}"));
            node.client = Some(client.to_owned());
        });
        self.link(&format!("release/{release}"), &id, "has");
        id
    }

    /// The trace that made a revision: one that was found again was made by another trace.
    pub(super) fn made_by(&mut self, release: Uuid, number: u64, trace: Uuid) {
        self.link(&revision_id(release, number), &trace_node(trace), "made by");
        self.node(trace_node(trace), "trace", |_| {});
    }

    /// A resource, which may be one of several revisions.
    pub(super) fn add_resource(&mut self, found: &RevisionResource) {
        let ResourceName { kind, name } = &found.resource;
        let id = resource_node(found.release, kind, name);
        self.node(id.clone(), "resource", |node| {
            node.name = Some(format!("{kind} {name}"));
            node.client = Some(found.client.to_string());
        });
        self.link(&revision_id(found.release, found.revision), &id, "has");
    }

    /// What was observed last of the resources of a release.
    pub(super) fn observed(&mut self, release: Uuid, observed: &[Observed]) {
        for resource in observed {
            let id = resource_node(release, &resource.kind, &resource.name);
            if let Some(node) = self.nodes.get_mut(&id) {
                node.state = Some(resource.state.clone());
            }
        }
    }

    fn event(&mut self, id: Uuid, of: Option<String>, client: Option<String>, trace: Option<Uuid>) {
        self.node(event_node(id), "event", |node| {
            node.name = node.name.take().or(of);
            node.client = node.client.take().or(client);
            node.trace_id = node.trace_id.take().or(trace.map(shown_id));
        });
    }

    fn node(&mut self, id: String, kind: &str, fill: impl FnOnce(&mut LineageNode)) {
        let node = self.nodes.entry(id).or_insert_with_key(|id| LineageNode {
            id: id.clone(),
            kind: kind.to_owned(),
            ..LineageNode::default()
        });
        fill(node);
    }

    fn link(&mut self, from: &str, to: &str, what: &str) {
        self.links.insert((from.to_owned(), to.to_owned(), what.to_owned()));
    }

    pub(super) fn answer(self) -> LineageGraph {
        let links = self.links.into_iter().map(|(from, to, what)| LineageLink { from, to, what });
        LineageGraph { nodes: self.nodes.into_values().collect(), links: links.collect(), cut: self.cut }
    }
}

fn event_node(id: Uuid) -> String {
    format!("event/{}", shown_id(id))
}

fn trace_node(id: Uuid) -> String {
    format!("trace/{}", shown_id(id))
}

fn resource_node(release: Uuid, kind: &str, name: &str) -> String {
    format!("resource/{release}/{kind}/{name}")
}

fn revision_id(release: Uuid, number: u64) -> String {
    format!("revision/{release}/{number}")
}

fn shown_id(id: Uuid) -> String {
    id.hyphenated().to_string()
}
