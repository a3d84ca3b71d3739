//! Whether a view can be served, before anything is.

use std::fmt;
use std::slice::from_ref;

use orderwire_types::dataset::DatasetDef;

use crate::dialect::{Allowed, Columns, Query, order_of};
use crate::error::Error;
use crate::options::Options;
use crate::params::{self, bind, samples};
use crate::view::{Shape, View, ViewDef, path_fault};

/// What is wrong with a view's definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewFault {
    /// The key of its definition: `path`, `columns`, `filter`, `order`, `shape`, `params` or
    /// `group_by`; empty for the view as a whole.
    pub key: &'static str,
    /// What is wrong and what to do.
    pub detail: String,
}

impl fmt::Display for ViewFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.detail)
    }
}

/// What keeps a view from being served from this dataset; nothing when it can
/// be. Every condition and every term of the order is tried by itself, so that
/// one fault does not hide the others.
pub fn check_view(view: &ViewDef, dataset: &DatasetDef, options: &Options) -> Vec<ViewFault> {
    let mut faults = Faults(Vec::new());
    if let Some(detail) = path_fault(&view.path) {
        faults.0.push(ViewFault { key: "path", detail });
    }
    let all = Columns::of_dataset(view.dataset.as_str(), dataset);
    faults.of("columns", view.select(&all));
    let filter = view.filter.as_deref().unwrap_or_default();
    let samples = samples(&view.params);
    if let Some(query) = faults.of("filter", Query::parse(filter, options.into(), Allowed::Conditions)) {
        let wrong = params::faults(&view.params, &query.conditions);
        faults.0.extend(wrong.into_iter().map(|(key, detail)| ViewFault { key, detail }));
        for condition in &bind(&query.conditions, &samples) {
            faults.of("filter", all.filter(from_ref(condition)));
        }
    }
    if let Some(order) = &view.order
        && let Some(terms) = faults.of("order", order_of(order, options.conditions))
    {
        for term in &terms {
            faults.of("order", all.order(from_ref(term)));
        }
    }
    if let Some(by) = view.shape.by() {
        faults.of("group_by", all.grouping(by));
    }
    for param in &view.params {
        if is_taken(&param.name) || all.find(&param.name).is_ok() {
            let detail = format!(
                "{} is a column, or means something else in a query; choose another name",
                param.name
            );
            faults.0.push(ViewFault { key: "params", detail });
        }
    }
    if matches!(view.shape, Shape::Latest { .. }) && view.order.is_some() {
        let detail = "shape: latest takes the newest row of each group; remove order".to_owned();
        faults.0.push(ViewFault { key: "order", detail });
    }
    if matches!(view.shape, Shape::Series { .. }) && view.order.is_none() && dataset.time.is_none() {
        let detail = format!(
            "shape: series goes by the time of its dataset, and {} has none; say order",
            view.dataset
        );
        faults.0.push(ViewFault { key: "shape", detail });
    }
    if faults.0.is_empty() {
        // The parts fit; now all together, exactly as it is served.
        let served = View::new(view.clone(), options)
            .and_then(|view| view.plan(dataset, &Query::default(), &samples, options.rows));
        faults.of("", served);
    }
    faults.0
}

/// What a query string has for itself.
fn is_taken(name: &str) -> bool {
    matches!(name, "select" | "order" | "limit" | "offset" | "cursor" | "latest" | "and" | "or" | "not")
}

struct Faults(Vec<ViewFault>);

impl Faults {
    fn of<T>(&mut self, key: &'static str, tried: Result<T, Error>) -> Option<T> {
        match tried {
            Ok(value) => Some(value),
            Err(error) => {
                self.0.push(ViewFault { key, detail: error.detail() });
                None
            }
        }
    }
}
