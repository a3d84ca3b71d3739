//! Endpoints of the configuration into those of the forwarder.

use std::num::NonZeroU32;

use orderwire_config::{Clients, Config, ForwardSettings, HeaderText, Report, forward_queue};
use orderwire_forwarder::{BreakerOptions, Endpoint, EndpointOptions, HeaderContent, Part};
use orderwire_types::{Label, QueueName, scope};

use crate::error::Error;

/// The role of the worker of the endpoints' queues.
const ROLE: &str = "forwarder";

/// The queues of endpoints, each with the role of its worker.
pub(crate) fn workers(config: &Config) -> impl Iterator<Item = (QueueName, String)> {
    config.forwards.keys().filter_map(|name| Some((forward_queue(name)?, ROLE.to_owned())))
}

/// Every endpoint.
///
/// # Errors
/// A secret that was there when the configuration was checked and is not any more.
pub(crate) fn endpoints(config: &Config) -> Result<Vec<Endpoint>, Error> {
    let endpoint = |(name, settings): (&Label, &ForwardSettings)| {
        let wrong = |why: String| Error::failed(format!("forwards.{name}: {why}"));
        let queue = forward_queue(name).ok_or_else(|| wrong("the name is too long".to_owned()))?;
        let (options, mut unread) = options(name, queue, settings);
        match unread.pop() {
            Some(why) => Err(wrong(why)),
            None => Endpoint::new(options.of).map_err(|faults| {
                wrong(faults.into_iter().map(|fault| fault.detail).collect::<Vec<_>>().join("; "))
            }),
        }
    };
    config.forwards.iter().map(endpoint).collect()
}

/// Only the forwarder knows which URL it can call and which key can sign.
pub(crate) fn check(config: &Config, report: &mut Report<'_>) {
    for (name, settings) in &config.forwards {
        let Some(queue) = forward_queue(name) else { continue };
        // Secrets that cannot be read are told already.
        let (Options { of, secrets }, _) = options(name, queue, settings);
        let faults = Endpoint::new(of).err().unwrap_or_default();
        for fault in faults {
            let name = name.as_str();
            match fault.part {
                Part::Url => report.fault(&["forwards", name, "url"], fault.detail),
                Part::Header(header) => report.fault(&["forwards", name, "headers", &header], fault.detail),
                Part::Secret(index) => match secrets.get(index) {
                    Some(Some(place)) => {
                        report.fault(&["forwards", name, "secrets", &format!("[{place}]")], fault.detail);
                    }
                    _ => report.fault(&["forwards", name, "secret"], fault.detail),
                },
            }
        }
    }
}

/// The options of an endpoint, and where its secrets stand: in the list, by index, or
/// under `secret`.
struct Options {
    of: EndpointOptions,
    secrets: Vec<Option<usize>>,
}

/// The options of an endpoint without what cannot be read, and why that cannot.
fn options(name: &Label, queue: QueueName, settings: &ForwardSettings) -> (Options, Vec<String>) {
    let mut unread = Vec::new();
    let (mut secrets, mut places) = (Vec::new(), Vec::new());
    let in_list = settings.secrets.iter().enumerate().map(|(place, secret)| (Some(place), secret));
    for (place, secret) in settings.secret.iter().map(|secret| (None, secret)).chain(in_list) {
        match secret.resolve() {
            Ok(value) => {
                secrets.push(value);
                places.push(place);
            }
            Err(why) => unread.push(why),
        }
    }
    let mut headers = Vec::new();
    for (header, text) in &settings.headers {
        match text {
            HeaderText::Plain(text) => headers.push((header.clone(), HeaderContent::Plain(text.clone()))),
            HeaderText::Secret(secret) => match secret.resolve() {
                Ok(value) => headers.push((header.clone(), HeaderContent::Secret(value))),
                Err(why) => unread.push(why),
            },
        }
    }
    let of = EndpointOptions {
        name: name.clone(),
        queue,
        url: settings.url.clone(),
        types: settings.types.clone(),
        clients: match &settings.clients {
            Clients::All => scope::Clients::All,
            Clients::Named(names) => scope::Clients::Only(names.iter().cloned().collect()),
        },
        format: settings.format,
        secrets,
        headers,
        timeout: settings.timeout.0,
        concurrency: usize::try_from(settings.concurrency).unwrap_or(usize::MAX),
        rate: settings.rate.and_then(NonZeroU32::new),
        allow_private: settings.allow_private,
        breaker: BreakerOptions {
            failures: settings.breaker.failures,
            pause: settings.breaker.pause.0,
            pause_max: settings.breaker.pause_max.0,
        },
        log: settings.log,
    };
    (Options { of, secrets: places }, unread)
}
