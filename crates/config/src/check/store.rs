//! Where queues and tables are kept.

use std::time::Duration;

use orderwire_types::dataset::Span;

use super::{Report, has_password, unavailable};
use crate::model::{Config, SQLITE};

/// The fewest and the most connections that are made as they are needed.
const CONNECTIONS: std::ops::RangeInclusive<u64> = 4..=1000;
/// The shortest and the longest time of a statement, as seconds.
const STATEMENT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(600));
/// Parameters of the URL that are settings of their own, and which.
const OURS: [(&str, &str); 4] =
    [("password", "password"), ("sslrootcert", "ca"), ("sslcert", "certificate"), ("sslkey", "key")];

pub(super) fn check(config: &Config, report: &mut Report<'_>) {
    let store = &config.store;
    let path = ["store", "url"];
    if !CONNECTIONS.contains(&store.connections) {
        report.fault(&["store", "connections"], format!("{} is out of range: 4 to 1000", store.connections));
    }
    let Span(time) = store.statement_timeout;
    if time < STATEMENT.0 || time > STATEMENT.1 {
        let detail = format!("{} is out of range: 1s to 10m", store.statement_timeout);
        report.fault(&["store", "statement_timeout"], detail);
    }
    if store.is_postgres() {
        postgres(config, report);
        return;
    }
    match store.url.strip_prefix(SQLITE) {
        Some(folder) if folder.contains(['?', '#', '\0']) => {
            report.fault(&path, "parameters are not supported; name a folder: sqlite:///var/lib/orderwire");
        }
        Some(_) => {}
        None => {
            let instead = "use sqlite:// (embedded, in the data folder) or postgres:// (a PostgreSQL that servers share)";
            report.fault(&path, unavailable(&store.url, instead));
            return;
        }
    }
    for (key, is_given) in [
        ("password", store.password.is_some()),
        ("ca", store.ca.is_some()),
        ("certificate", store.certificate.is_some()),
        ("key", store.key.is_some()),
    ] {
        if is_given {
            report.fault(&["store", key], "has no effect, because store.url is no PostgreSQL");
        }
    }
}

fn postgres(config: &Config, report: &mut Report<'_>) {
    let store = &config.store;
    let path = ["store", "url"];
    if has_password(&store.url) {
        let detail =
            "a password does not belong into the URL; write it as store.password: ${NAME} or file:/path";
        report.fault(&path, detail);
    }
    let query = store.url.split_once('?').map_or("", |(_, query)| query);
    for parameter in query.split('&') {
        // An escaped letter would hide the name of what is a secret.
        let name = parameter.split('=').next().unwrap_or_default();
        if name.contains('%') {
            report.fault(&path, "the names of parameters are written without %");
        }
        if let Some((_, ours)) = OURS.iter().find(|(theirs, _)| *theirs == name) {
            report.fault(&path, format!("{name} does not belong into the URL; write it as store.{ours}"));
        }
    }
    if let Some(password) = &store.password {
        report.secret(&["store", "password"], password);
    }
    for (file, other, is_alone) in [
        ("certificate", "key", store.certificate.is_some() && store.key.is_none()),
        ("key", "certificate", store.key.is_some() && store.certificate.is_none()),
    ] {
        if is_alone {
            let detail = format!("{other} is missing: a certificate and its key belong together");
            report.fault(&["store", file], detail);
        }
    }
}
