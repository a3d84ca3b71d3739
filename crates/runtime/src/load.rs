//! The configuration, checked by everyone who has to work with it.

use orderwire_config::{Config, Faults, Names, Report, Sources};
use orderwire_types::Limits;

use crate::{convert, engines, forwards, mqtt, orders, rules, transport};

/// Loads a configuration and checks all of it, the queries of its views
/// included. A server starts with what this returns and nothing else, so what
/// it accepts is what a server accepts.
///
/// # Errors
/// Every fault together, each with its place.
pub fn load(sources: &Sources) -> Result<Config, Faults> {
    Config::load_with(sources, |config, report| {
        views(config, report);
        products(config, report);
        forwards::check(config, report);
        engines::check(config, report);
        mqtt::check(config, report);
        rules::check(config, report);
        if let Some(why) = transport::missing(config) {
            report.fault(&["broker", "url"], why);
        }
    })
}

/// Only the catalogue knows whether a product is one.
fn products(config: &Config, report: &mut Report<'_>) {
    if report.is_faulty(&["products"]) || report.is_faulty(&["environments"]) {
        return;
    }
    for fault in orders::product_faults(config) {
        report.fault(&["products", "folders"], fault);
    }
    let Ok(catalogue) = orders::catalogue(config, &Names::of(config)) else { return };
    for (alias, product) in &config.products.aliases {
        if catalogue.get(product.as_str()).is_none() {
            let known: Vec<&str> = catalogue.products().map(|product| product.name.as_str()).collect();
            let detail = format!("there is no product {product}; there are {}", known.join(", "));
            report.fault(&["products", "aliases", alias], detail);
        }
    }
}

/// The configuration knows keys and names; only the query server knows whether
/// a filter can be read and fits the types of the columns.
fn views(config: &Config, report: &mut Report<'_>) {
    let limits = Limits::from(&config.limits);
    let options = convert::query_options(&limits);
    for (name, view) in &config.views {
        let Some(dataset) = config.datasets.get(&view.dataset) else { continue };
        if report.is_faulty(&["datasets", view.dataset.as_str()]) {
            continue;
        }
        let known = |key: &str| report.is_faulty(&["views", name, key]);
        let mut faults = orderwire_query::check_view(&convert::view_def(view, &limits), dataset, &options);
        faults.retain(|fault| fault.key.is_empty() || !known(fault.key));
        for fault in faults {
            let path = ["views", name.as_str(), fault.key];
            let path = if fault.key.is_empty() { &path[..2] } else { &path[..] };
            report.fault(path, fault.detail);
        }
    }
}

#[cfg(test)]
mod tests;
