//! What led to a trace, a release or a resource, and what came of it: events that caused events,
//! and the clients, releases, revisions, resources and traces that orders among them made.

mod graph;

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use orderwire_api::extract::{Params, Segments};
use orderwire_api::problem::shown;
use orderwire_api::wire::{LineageGraph, TraceLineage};
use orderwire_api::{Caller, Problem, ReadProblems};
use orderwire_store::orders::{OrderFilter, Release, ResourceFilter, RevisionResource};
use orderwire_types::{QueueName, Right, Scope, TraceId};
use serde::Deserialize;
use uuid::Uuid;

use self::graph::{Graph, Observed};
use crate::clients::ORDERS;
use crate::problems::{invalid, of_queue};
use crate::state::{Shared, State as GatewayState};

/// The most links between events.
const LINKS_MAX: usize = 1_000;
/// The most traces of which orders are looked for, and the most orders of one, or of a release.
const TRACES_MAX: usize = 50;
const ORDERS_MAX: usize = 100;
/// The most releases and revisions of one of them, or that orders of traces made; the most resources
/// of all revisions of an answer.
const RELEASES_MAX: usize = 50;
const REVISIONS_MAX: usize = 100;
const RESOURCES_MAX: usize = 1_000;

/// Events that led to those of a trace and that these led to, to any depth, and what orders
/// among them made: releases, revisions and their resources. The answer is a graph: nodes, and
/// links from what was first to what came of it. At most 1,000 links between events are told, the
/// nearest, 100 revisions and 1,000 resources of these; `cut` says that there is more.
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
    let lineage = state.store().lineage(&scope, &events, LINKS_MAX).await.map_err(Problem::of_store)?;
    graph.add_links(&lineage);
    if scope.touches(ORDERS) {
        add_orders(&state, &scope, &mut graph, trace).await?;
    }
    let LineageGraph { nodes, links, cut } = graph.answer();
    Ok(Json(TraceLineage { trace_id: given, nodes, links, cut }))
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
    let mut seen = BTreeSet::new();
    for trace in traces {
        let filter = OrderFilter { trace: Some(trace), ..OrderFilter::default() };
        let orders =
            state.store().orders(scope, &filter, None, ORDERS_MAX).await.map_err(Problem::of_store)?;
        graph.cut |= orders.len() == ORDERS_MAX;
        for order in &orders {
            graph.add_order(order);
            let (Some(release), Some(number)) = (order.release, order.revision) else { continue };
            if seen.contains(&(release, number)) {
                continue;
            }
            if seen.len() == REVISIONS_MAX {
                graph.cut = true;
                continue;
            }
            seen.insert((release, number));
            let revision = state.store().revision(scope, release, number).await.map_err(Problem::of_store)?;
            if let Some(revision) = revision {
                graph.made_by(release, number, revision.trace.id);
            }
            let of_revision = ResourceFilter {
                release: Some(release),
                revision: Some(number),
                ..ResourceFilter::default()
            };
            for found in resources(state, scope, &of_revision, graph).await? {
                graph.add_resource(&found);
            }
        }
    }
    let releases: BTreeSet<Uuid> = seen.into_iter().map(|(release, _)| release).collect();
    for release in releases {
        if let Some(release) = state.store().release(scope, release).await.map_err(Problem::of_store)? {
            observe(graph, &release)?;
        }
    }
    Ok(())
}

/// Resources, as many as there is room for in the answer.
async fn resources(
    state: &GatewayState,
    scope: &Scope,
    filter: &ResourceFilter,
    graph: &mut Graph,
) -> Result<Vec<RevisionResource>, Problem> {
    let room = RESOURCES_MAX - graph.resources;
    let mut found = state.store().resources(scope, filter, room + 1).await.map_err(Problem::of_store)?;
    graph.cut |= found.len() > room;
    found.truncate(room);
    graph.resources += found.len();
    Ok(found)
}

/// Says how the resources of a release are, as far as they are in sight.
fn observe(graph: &mut Graph, release: &Release) -> Result<(), Problem> {
    let observed: Vec<Observed> = serde_json::from_str(release.status.resources.get())
        .map_err(|err| Problem::damaged(&format!("the resources of release {}: {err}", release.id)))?;
    graph.observed(release.id, &observed);
    Ok(())
}

#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LineageParams {
    /// The id of a release.
    release: Option<String>,
    /// The name of a resource: of an object or process of a release.
    resource: Option<String>,
    /// The kind of the resource, such as `Process` or `Deployment`.
    kind: Option<String>,
}

/// Where a release or a resource comes from: its client, its release, the revisions that have
/// it, the traces that made these, the orders, and the events that led to them, to any depth.
///
/// The answer is a graph like that of a trace. A resource is named by its name, with its kind
/// where that is not enough; of one that several releases have all are told. At most 50
/// releases, of each the newest 100 revisions and orders, are told; `cut` says that there is more.
#[utoipa::path(get, path = "/v1/lineage", tag = "traces", params(LineageParams,
        ("orderwire-client" = Option<String>, Header, description = "of this client only")),
    responses((status = 200, description = "the graph", body = LineageGraph), ReadProblems))]
pub(crate) async fn get_lineage_of(
    State(state): State<Shared>,
    caller: Caller,
    Params(params): Params<LineageParams>,
    headers: HeaderMap,
) -> Result<Json<LineageGraph>, Problem> {
    caller.require(Right::Read)?;
    let scope = caller.narrowed(&headers)?;
    let (filter, what) = wanted(params)?;
    let missing = || Problem::not_found(format!("{what} does not exist"));
    if !scope.touches(ORDERS) {
        return Err(missing());
    }
    let mut graph = Graph::default();
    let found = resources(&state, &scope, &filter, &mut graph).await?;
    let mut releases: BTreeSet<Uuid> = found.iter().map(|found| found.release).collect();
    releases.extend(filter.release);
    if releases.len() > RELEASES_MAX {
        graph.cut = true;
    }
    let mut events = Vec::new();
    let mut any = false;
    for id in releases.into_iter().take(RELEASES_MAX) {
        let Some(release) = state.store().release(&scope, id).await.map_err(Problem::of_store)? else {
            continue;
        };
        any = true;
        let of_release: Vec<&RevisionResource> = found.iter().filter(|found| found.release == id).collect();
        // Of a resource only the revisions that have it.
        let only = filter.name.is_some().then(|| of_release.iter().map(|found| found.revision).collect());
        events.extend(add_release(&state, &scope, &mut graph, &release, only.as_ref()).await?);
        for found in of_release {
            // It may be older than those that were looked up.
            graph.add_revision(id, &release.name, release.client.as_str(), found.revision);
            graph.add_resource(found);
        }
        observe(&mut graph, &release)?;
    }
    if !any {
        return Err(missing());
    }
    let lineage = state.store().lineage(&scope, &events, LINKS_MAX).await.map_err(Problem::of_store)?;
    graph.add_links(&lineage);
    Ok(Json(graph.answer()))
}

/// Which resources are asked for, and of what.
fn wanted(params: LineageParams) -> Result<(ResourceFilter, String), Problem> {
    let LineageParams { release, resource, kind } = params;
    match (release, resource, kind) {
        (Some(given), None, None) => {
            let what = format!("release {}", shown(&given));
            let id = given.parse().map_err(|_| Problem::not_found(format!("{what} does not exist")))?;
            Ok((ResourceFilter { release: Some(id), ..ResourceFilter::default() }, what))
        }
        (None, Some(name), kind) => {
            let what = format!("resource {}", shown(&name));
            Ok((ResourceFilter { name: Some(name), kind, ..ResourceFilter::default() }, what))
        }
        _ => Err(invalid("", "the query of the URL: name a release, or a resource with or without its kind")),
    }
}

/// A release with its revisions and orders; the events of these. With `only` these revisions,
/// and the orders that made or found them.
async fn add_release(
    state: &GatewayState,
    scope: &Scope,
    graph: &mut Graph,
    release: &Release,
    only: Option<&BTreeSet<u64>>,
) -> Result<Vec<Uuid>, Problem> {
    let is_wanted =
        |number: Option<u64>| only.is_none_or(|only| number.is_some_and(|number| only.contains(&number)));
    let client = release.client.as_str();
    graph.add_release(release.id, &release.name, client);
    let store = state.store();
    let revisions =
        store.revisions(scope, release.id, None, REVISIONS_MAX).await.map_err(Problem::of_store)?;
    graph.cut |= revisions.len() == REVISIONS_MAX;
    for revision in revisions.iter().filter(|revision| is_wanted(Some(revision.number))) {
        graph.add_revision(release.id, &release.name, client, revision.number);
        graph.made_by(release.id, revision.number, revision.trace.id);
    }
    let filter = OrderFilter { release: Some(release.id), ..OrderFilter::default() };
    let orders = store.orders(scope, &filter, None, ORDERS_MAX).await.map_err(Problem::of_store)?;
    graph.cut |= orders.len() == ORDERS_MAX;
    let wanted = orders.iter().filter(|order| is_wanted(order.revision));
    Ok(wanted
        .map(|order| {
            graph.add_order(order);
            order.id.0
        })
        .collect())
}
