//! What led to a trace, and what it led to: events that caused events, and the clients, releases,
//! revisions and traces that orders among them made.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use orderwire_api::extract::Segments;
use orderwire_api::problem::shown;
use orderwire_api::wire::{LineageLink, LineageNode, TraceLineage};
use orderwire_api::{Caller, Problem, ReadProblems};
use orderwire_store::orders::{Order, OrderFilter};
use orderwire_store::{KnownCause, Lineage, Link, Reach};
use orderwire_types::step::Step;
use orderwire_types::{QueueName, Right, Scope, TraceId};
use uuid::Uuid;

use crate::clients::ORDERS;
use crate::problems::of_queue;
use crate::state::{Shared, State as GatewayState};

/// How far a lineage reaches.
const REACH: Reach = Reach { depth: 64, links: 1_000 };
/// The most events of the trace itself that are looked at.
const EVENTS_MAX: usize = 1_000;
/// The most traces of which orders are looked for, and the most orders of one.
const TRACES_MAX: usize = 50;
const ORDERS_MAX: usize = 100;

/// Events that led to those of a trace and that these led to, to a depth of 64, and what orders
/// among them made. The answer is a graph: nodes, and links from what was first to what came of
/// it. At most 1,000 links between events are told, the nearest; `cut` says that there is more.
#[utoipa::path(get, path = "/v1/traces/{trace_id}/lineage", tag = "traces",
    params(("trace_id" = String, Path, description = "the trace id"),
        ("orderwire-client" = Option<String>, Header, description = "of this client only")),
    responses((status = 200, description = "the graph", body = TraceLineage), ReadProblems))]
pub(crate) async fn get_lineage(
    State(state): State<Shared>,
    caller: Caller,
    Segments(given): Segments<String>,
    headers: HeaderMap,
) -> Result<Json<TraceLineage>, Problem> {
    caller.require(Right::Read)?;
    let scope = caller.narrowed(&headers)?;
    let trace = TraceId::from_given(&given).id;
    let queue = state.queues().trace(&scope, trace).await.map_err(|err| of_queue(&err))?;
    let store = state.store().trace(&scope, trace).await.map_err(Problem::of_store)?;
    if queue.client.is_none() && store.client.is_none() {
        return Err(Problem::not_found(format!("trace {} does not exist", shown(&given))));
    }
    let mut graph = Graph::default();
    let touches = |queue: &QueueName| scope.touches(&format!("queue/{queue}"));
    let steps = queue.steps.iter().chain(&store.steps);
    let visible = steps.filter(|step| step.queue.as_ref().is_none_or(touches));
    let events = graph.own_events(visible, trace);
    let lineage = state.store().lineage(&scope, &events, REACH).await.map_err(Problem::of_store)?;
    graph.add_links(&lineage);
    if scope.touches(ORDERS) {
        add_orders(&state, &scope, &mut graph, trace).await?;
    }
    Ok(Json(graph.answer(given)))
}

/// What orders of all traces in sight made.
async fn add_orders(
    state: &GatewayState,
    scope: &Scope,
    graph: &mut Graph,
    trace: Uuid,
) -> Result<(), Problem> {
    let mut traces: Vec<Uuid> = graph.traces.iter().copied().filter(|other| *other != trace).collect();
    traces.insert(0, trace);
    if traces.len() > TRACES_MAX {
        graph.cut = true;
        traces.truncate(TRACES_MAX);
    }
    for trace in traces {
        let filter = OrderFilter { trace: Some(trace), ..OrderFilter::default() };
        let orders =
            state.store().orders(scope, &filter, None, ORDERS_MAX).await.map_err(Problem::of_store)?;
        graph.cut |= orders.len() == ORDERS_MAX;
        for order in &orders {
            graph.add_order(order);
            let (Some(release), Some(number)) = (order.release, order.revision) else { continue };
            let revision = state.store().revision(scope, release, number).await.map_err(Problem::of_store)?;
            if let Some(revision) = revision {
                // A revision that was found again was made by another trace.
                graph.link(&revision_id(release, number), &trace_node(revision.trace.id), "made by");
                graph.node(trace_node(revision.trace.id), "trace", |_| {});
            }
        }
    }
    Ok(())
}

/// What is known so far.
#[derive(Default)]
struct Graph {
    nodes: BTreeMap<String, LineageNode>,
    links: BTreeSet<(String, String, String)>,
    traces: BTreeSet<Uuid>,
    cut: bool,
}

impl Graph {
    /// The events of the trace itself, with their types where a step tells them.
    fn own_events<'s>(&mut self, steps: impl Iterator<Item = &'s Step>, trace: Uuid) -> Vec<Uuid> {
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

    fn add_links(&mut self, lineage: &Lineage) {
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

    fn add_order(&mut self, order: &Order) {
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
        let of_client = format!("client/{client}");
        self.node(of_client.clone(), "client", |node| node.name = Some(client.clone()));
        let release_id = format!("release/{release}");
        self.node(release_id.clone(), "release", |node| {
            node.name = Some(order.name.clone());
            node.client = Some(client.clone());
        });
        self.link(&of_client, &release_id, "has");
        self.link(&id, &release_id, "changed");
        if let Some(number) = order.revision {
            let revision = revision_id(release, number);
            self.node(revision.clone(), "revision", |node| {
                node.name = Some(format!("{} {number}", order.name));
                node.client = Some(client.clone());
            });
            self.link(&release_id, &revision, "has");
            self.link(&id, &revision, "made or found");
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

    fn answer(self, trace_id: String) -> TraceLineage {
        let links = self.links.into_iter().map(|(from, to, what)| LineageLink { from, to, what });
        TraceLineage {
            trace_id,
            nodes: self.nodes.into_values().collect(),
            links: links.collect(),
            cut: self.cut,
        }
    }
}

fn event_node(id: Uuid) -> String {
    format!("event/{}", shown_id(id))
}

fn trace_node(id: Uuid) -> String {
    format!("trace/{}", shown_id(id))
}

fn revision_id(release: Uuid, number: u64) -> String {
    format!("revision/{release}/{number}")
}

fn shown_id(id: Uuid) -> String {
    id.hyphenated().to_string()
}
