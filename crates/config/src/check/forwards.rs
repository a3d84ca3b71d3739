//! Endpoints that get events: what does not need to read a URL or a key, which the
//! forwarder does.

use std::collections::HashSet;

use orderwire_types::{Label, QueueName};

use super::{Report, span};
use crate::model::{Clients, Config, ForwardSettings, HeaderText, forward_queue};

/// The longest name, so that its queue has one.
const NAME_MAX: usize = 56;
/// How many secrets sign at once.
const SECRETS_MAX: usize = 4;
/// How many further headers there are.
const HEADERS_MAX: usize = 32;

/// Headers that carry credentials as a rule.
const CREDENTIALS: [&str; 6] =
    ["authorization", "proxy-authorization", "cookie", "x-api-key", "x-auth-token", "api-key"];

pub(super) fn check(config: &Config, report: &mut Report<'_>) {
    for (name, forward) in &config.forwards {
        let at = ["forwards", name.as_str()];
        if name.as_str().len() > NAME_MAX {
            report.fault(&at, format!("the name is longer than {NAME_MAX} characters; take a shorter one"));
        }
        queue(config, name, report);
        who(name.as_str(), forward, report);
        secrets(name.as_str(), forward, report);
        headers(name.as_str(), forward, report);
        bounds(name.as_str(), forward, report);
    }
}

/// The queue of an endpoint is configured with it; what a broker has to do with it, as a queue.
fn queue(config: &Config, name: &Label, report: &mut Report<'_>) {
    let Some(queue) = forward_queue(name) else { return };
    let Some(settings) = config.queues.get(&queue) else { return };
    let given = [
        ("kind", settings.kind.is_some()),
        ("types", settings.types.is_some()),
        ("key", settings.key.is_some()),
        ("format", settings.format.is_some()),
        ("attempts", settings.attempts.is_some()),
        ("backoff", settings.backoff.is_some()),
        ("native", settings.native.is_some()),
    ];
    for (key, _) in given.iter().filter(|(_, is_given)| *is_given) {
        let detail = format!(
            "this is the queue of forwards.{name}; configure it there, and here at most declare, principal and type"
        );
        report.fault(&["queues", queue.as_str(), key], detail);
    }
}

/// Whether this is the queue of an endpoint.
pub(super) fn owns(config: &Config, queue: &QueueName) -> bool {
    config.forwards.keys().any(|name| forward_queue(name).as_ref() == Some(queue))
}

fn who(name: &str, forward: &ForwardSettings, report: &mut Report<'_>) {
    let at = |key: &'static str| ["forwards", name, key];
    if forward.types.is_empty() && !report.lost(&at("types")) {
        let detail = "names no type; say which event types it gets, for example [\"shop.order.#\"]";
        report.fault(&at("types"), detail);
    }
    let nobody = matches!(&forward.clients, Clients::Named(clients) if clients.is_empty());
    if nobody && !report.lost(&at("clients")) {
        report.fault(&at("clients"), "names nobody; name at least one client, or write all");
    }
}

fn secrets(name: &str, forward: &ForwardSettings, report: &mut Report<'_>) {
    let at = |key: &'static str| ["forwards", name, key];
    match (&forward.secret, forward.secrets.len()) {
        (None, 0) if !report.lost(&at("secret")) && !report.lost(&at("secrets")) => {
            let detail = "secret is missing: without it the endpoint cannot tell who calls; write for example \
                          secret: ${SHOP_WEBHOOK_SECRET}";
            report.fault(&["forwards", name], detail);
        }
        (Some(_), 1..) => {
            let detail = "secret and secrets exclude each other; write secrets: [new, old], or secret alone";
            report.fault(&at("secrets"), detail);
        }
        (_, count) if count > SECRETS_MAX => {
            report.fault(&at("secrets"), format!("more than {SECRETS_MAX} secrets; remove old ones"));
        }
        _ => {}
    }
    if let Some(secret) = &forward.secret {
        report.secret(&at("secret"), secret);
    }
    for (i, secret) in forward.secrets.iter().enumerate() {
        report.secret(&["forwards", name, "secrets", &format!("[{i}]")], secret);
    }
}

fn headers(name: &str, forward: &ForwardSettings, report: &mut Report<'_>) {
    if forward.headers.len() > HEADERS_MAX {
        report.fault(&["forwards", name, "headers"], format!("more than {HEADERS_MAX} headers"));
    }
    let mut seen = HashSet::new();
    for (header, text) in &forward.headers {
        let at = ["forwards", name, "headers", header];
        let lower = header.to_ascii_lowercase();
        match text {
            HeaderText::Secret(secret) => drop(report.secret(&at, secret)),
            HeaderText::Plain(_) if CREDENTIALS.contains(&lower.as_str()) => {
                let detail = "a credential is never a plain value of the configuration; write ${NAME} for an \
                              environment variable, or file:/path for a file, that holds the whole value";
                report.fault(&at, detail);
            }
            HeaderText::Plain(_) => {}
        }
        if !seen.insert(lower) {
            report.fault(&at, "given twice, in another case; keep one");
        }
    }
}

fn bounds(name: &str, forward: &ForwardSettings, report: &mut Report<'_>) {
    let numbers = [
        ("concurrency", Some(u64::from(forward.concurrency)), 64),
        ("rate", forward.rate.map(u64::from), 10_000),
        ("attempts", Some(u64::from(forward.attempts)), 1_000),
        ("log", Some(forward.log), 1_000_000),
    ];
    for (key, number, most) in numbers {
        if let Some(number) = number
            && !(1..=most).contains(&number)
        {
            report.fault(&["forwards", name, key], format!("{number} is out of range: 1 to {most}"));
        }
    }
    span(report, &["forwards", name, "timeout"], forward.timeout, "100ms", "1m");
    let (first, last) = (forward.backoff.first, forward.backoff.last);
    if first > last {
        let detail = format!("first ({first}) is longer than last ({last})");
        report.fault(&["forwards", name, "backoff"], detail);
    }
    span(report, &["forwards", name, "backoff", "last"], last, "1ms", "1d");
    let breaker = &forward.breaker;
    if !(1..=1_000).contains(&breaker.failures) {
        let detail = format!("{} is out of range: 1 to 1000", breaker.failures);
        report.fault(&["forwards", name, "breaker", "failures"], detail);
    }
    span(report, &["forwards", name, "breaker", "pause"], breaker.pause, "100ms", "1h");
    span(report, &["forwards", name, "breaker", "pause_max"], breaker.pause_max, "100ms", "1d");
    if breaker.pause > breaker.pause_max {
        let detail = format!("pause ({}) is longer than pause_max ({})", breaker.pause, breaker.pause_max);
        report.fault(&["forwards", name, "breaker"], detail);
    }
}
