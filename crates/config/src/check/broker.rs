//! The broker, and what queues have to do with it.

use orderwire_types::queue::Kind;
use orderwire_types::{QueueName, Right};

use super::{Report, unavailable};
use crate::model::{ByteSize, Config, INTAKE, NatsSettings};

/// The schemes of brokers that are known. Whether a build has them all is not known here.
const SCHEMES: [&str; 6] = ["amqp", "amqps", "nats", "tls", "kafka", "kafkas"];
/// The one password that everybody knows: that of a RabbitMQ on this machine.
const NO_SECRET: &str = "guest";
/// The shortest key that messages are signed with, in bytes.
const SIGNING_KEY_MIN: usize = 24;
/// The longest name of a stream.
const STREAM_BYTES_MAX: usize = 64;
/// The most events that a spool may hold.
const SPOOL_EVENTS_MAX: u64 = 100_000_000;

pub(super) fn check(config: &Config, report: &mut Report<'_>) {
    let url = &config.broker.url;
    let path = ["broker", "url"];
    if !url.is_none() {
        if !url.scheme().is_some_and(|scheme| SCHEMES.contains(&scheme)) {
            let instead = "use amqp:// or amqps:// (RabbitMQ), nats:// or tls:// (NATS JetStream), kafka:// or \
                           kafkas:// (Kafka), or remove it (the embedded queue is used)";
            report.fault(&path, unavailable(url.as_written(), instead));
        } else if url.secrets().iter().any(|secret| *secret != NO_SECRET && !is_variable(secret))
            && report.is_in_file(&path)
        {
            let detail = "a password or token does not belong into a file: write ${NAME} in its place, and set \
                          that environment variable";
            report.fault(&path, detail);
        } else if let Err(fault) = url.resolved(|name| std::env::var(name).ok()) {
            report.fault(&path, fault);
        }
    }
    for (file, other, is_alone) in [
        ("certificate", "key", config.broker.certificate.is_some() && config.broker.key.is_none()),
        ("key", "certificate", config.broker.key.is_some() && config.broker.certificate.is_none()),
    ] {
        if is_alone {
            report.fault(
                &["broker", file],
                format!("{other} is missing: a certificate and its key belong together"),
            );
        }
    }
    encryption(config, report);
    if let Some(secret) = &config.broker.signing_key
        && let Some(key) = report.secret(&["broker", "signing_key"], secret)
        && key.bytes().len() < SIGNING_KEY_MIN
    {
        let detail = format!(
            "the secret has {} bytes, {SIGNING_KEY_MIN} at least are needed; make one for example with: \
             openssl rand -base64 32",
            key.bytes().len()
        );
        report.fault(&["broker", "signing_key"], detail);
    }
    nats(&config.broker.nats, report);
    if config.broker.spool.events > SPOOL_EVENTS_MAX {
        let detail = format!("{} is out of range: 0 to {SPOOL_EVENTS_MAX}", config.broker.spool.events);
        report.fault(&["broker", "spool", "events"], detail);
    }
    for queue in config.broker_queues() {
        let name = queue.name.as_str();
        if queue.native && queue.def.kind == Kind::Stream {
            let detail = "a stream is read here alone; remove native, or use kind: task";
            report.fault(&["queues", name, "native"], detail);
        }
        let intake = format!("{name}{INTAKE}");
        if queue.native && config.queue_definitions().iter().any(|(other, _)| other.as_str() == intake) {
            let detail = format!(
                "its events come in by a queue {intake} at the broker, which is configured, too; \
                                  choose another name for one of them"
            );
            report.fault(&["queues", name, "native"], detail);
        }
        if queue.native && intake.parse::<QueueName>().is_err() {
            let detail =
                format!("the name is too long: {intake}, where its events come in, is no name of a queue");
            report.fault(&["queues", name, "native"], detail);
        }
        for (index, right) in queue.rights.iter().enumerate() {
            if !matches!(right, Right::Write | Right::Order) {
                let index = format!("[{index}]");
                let detail = "messages of a queue may have the rights write and order";
                report.fault(&["queues", name, "principal", "rights", &index], detail);
            }
        }
    }
}

fn nats(nats: &NatsSettings, report: &mut Report<'_>) {
    let mut fault = |key: &str, detail: String| report.fault(&["broker", "nats", key], detail);
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !(1..=STREAM_BYTES_MAX).contains(&nats.stream.len()) || !nats.stream.chars().all(is_word) {
        fault("stream", format!("a stream has a name of 1 to {STREAM_BYTES_MAX} letters, digits, - and _"));
    }
    if !matches!(nats.replicas, 1 | 3 | 5) {
        fault("replicas", format!("{} is out of range: 1, 3 or 5", nats.replicas));
    }
    if nats.bytes < ByteSize(1 << 20) || nats.bytes > ByteSize(1 << 40) {
        fault("bytes", format!("{} is out of range: 1MiB to 1TiB", nats.bytes));
    }
}

/// What is about encryption and would have no effect.
fn encryption(config: &Config, report: &mut Report<'_>) {
    let broker = &config.broker;
    let scheme = broker.url.scheme().unwrap_or_default();
    for (key, is_given) in [("ca", broker.ca.is_some()), ("certificate", broker.certificate.is_some())] {
        if !is_given {
            continue;
        }
        if ["amqp", "kafka"].contains(&scheme) {
            let detail = format!("has no effect, because {scheme}:// is not encrypted; use {scheme}s://");
            report.fault(&["broker", key], detail);
        }
    }
}

/// Whether it is one variable and nothing else.
fn is_variable(text: &str) -> bool {
    text.strip_prefix("${").and_then(|rest| rest.find('}')).is_some_and(|end| end + 3 == text.len())
}
