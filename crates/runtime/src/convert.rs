//! Plain values of the configuration into the options of each service.

use std::collections::HashMap;

use orderwire_config::{Clients, Config, Freshness, Param, RULES_QUEUE, Shape, View};
use orderwire_provisioner::ReconcilerOptions;
use orderwire_query::{ParamDef, ViewDef};
use orderwire_types::{Limits, QueueName, scope};

use crate::transport::RELAY;
use crate::{forwards, rules};

/// The workers of this process: which role consumes which queue.
pub(crate) fn workers(config: &Config) -> HashMap<QueueName, String> {
    let always = [("data", "recorder"), ("clients", "recorder"), ("infra", "provisioner")];
    let of_rules = (!config.rules.is_empty()).then_some((RULES_QUEUE, rules::ROLE));
    let worker = |(queue, role): (&str, &str)| (queue.parse().expect("a queue name"), role.to_owned());
    let mut workers: HashMap<QueueName, String> = always.into_iter().chain(of_rules).map(worker).collect();
    workers.extend(forwards::workers(config));
    if !config.broker.url.is_none() {
        for queue in config.broker_queues().into_iter().filter(|queue| queue.native) {
            workers.entry(queue.name).or_insert_with(|| RELAY.to_owned());
        }
    }
    workers
}

pub(crate) fn reconciler_options(config: &Config) -> ReconcilerOptions {
    ReconcilerOptions {
        retention: config.retention.orders.0,
        revisions: config.retention.revisions,
        ..ReconcilerOptions::default()
    }
}

pub(crate) fn queue_options(config: &Config, limits: &Limits) -> orderwire_queue::Options {
    orderwire_queue::Options {
        remembered_for: config.retention.idempotency.0,
        traces_for: config.retention.traces.0,
        dead_for: config.retention.dead_letters.0,
        ..orderwire_queue::Options::from(limits)
    }
}

pub(crate) fn query_options(limits: &Limits) -> orderwire_query::Options {
    orderwire_query::Options {
        rows: limits.rows,
        answer_bytes: limits.answer_bytes,
        ..orderwire_query::Options::default()
    }
}

pub(crate) fn views(config: &Config, limits: &Limits) -> Vec<ViewDef> {
    config.views.values().map(|view| view_def(view, limits)).collect()
}

fn param_def(name: &str, param: &Param) -> ParamDef {
    ParamDef {
        name: name.to_owned(),
        of: param.param_type,
        required: param.required,
        default: param.default.as_ref().map(ToString::to_string),
        description: param.description.clone(),
    }
}

pub(crate) fn view_def(view: &View, limits: &Limits) -> ViewDef {
    let shape = match (view.shape, &view.group_by) {
        (Shape::Grouped, Some(by)) => orderwire_query::Shape::Grouped { by: by.clone() },
        (Shape::Latest, Some(by)) => orderwire_query::Shape::Latest { by: by.clone() },
        (Shape::Series, by) => orderwire_query::Shape::Series { by: by.clone() },
        _ => orderwire_query::Shape::Rows,
    };
    let read = match view.public_clients() {
        None => orderwire_query::Read::Key,
        Some(Clients::All) => orderwire_query::Read::Public(scope::Clients::All),
        Some(Clients::Named(names)) => {
            orderwire_query::Read::Public(scope::Clients::Only(names.into_iter().collect()))
        }
    };
    ViewDef {
        path: view.path.clone(),
        dataset: view.dataset.clone(),
        columns: view.columns.clone(),
        filter: view.filter.clone(),
        params: view.params.iter().map(|(name, param)| param_def(name, param)).collect(),
        order: view.order.clone(),
        shape,
        limit: Some(view.limit.unwrap_or(limits.rows as u64)),
        freshness: match view.freshness {
            Freshness::Strict => orderwire_query::Freshness::Strict,
            Freshness::Within(span) => orderwire_query::Freshness::Within(span.0),
        },
        ttl: view.ttl.0,
        read,
    }
}
