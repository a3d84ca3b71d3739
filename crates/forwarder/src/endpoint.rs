//! What is configured of an endpoint, checked once.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use orderwire_config::SecretValue;
use orderwire_types::queue::Format;
use orderwire_types::scope::Clients;
use orderwire_types::{Label, Pattern, QueueName};
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::breaker::BreakerOptions;
use crate::guard;
use crate::signer::Signer;

/// The longest URL, in bytes.
const URL_MAX: usize = 2_048;
/// The longest value of a header, in bytes.
const HEADER_MAX: usize = 4_096;

/// Headers that the forwarder or the protocol sets.
const RESERVED: [&str; 14] = [
    "content-type",
    "content-length",
    "content-encoding",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "host",
    "user-agent",
    "traceparent",
    "tracestate",
];
/// What the headers of Standard Webhooks begin with.
const RESERVED_PREFIX: &str = "webhook-";

/// What is configured of an endpoint.
#[derive(Clone, Debug)]
pub struct EndpointOptions {
    /// Its name.
    pub name: Label,
    /// Its queue.
    pub queue: QueueName,
    /// Where events are posted.
    pub url: String,
    /// The patterns of the event types that its queue takes.
    pub types: Vec<Pattern>,
    /// Whose events it gets; those of others are passed over.
    pub clients: Clients,
    /// The form in which it gets them.
    pub format: Format,
    /// The secrets that sign, the newest first; at least one.
    pub secrets: Vec<SecretValue>,
    /// Further headers.
    pub headers: Vec<(String, HeaderContent)>,
    /// How long it has to answer.
    pub timeout: Duration,
    /// How many events are posted at once.
    pub concurrency: usize,
    /// The most posts a second.
    pub rate: Option<NonZeroU32>,
    /// Whether its address may be a private one.
    pub allow_private: bool,
    /// When nothing is posted for a while.
    pub breaker: BreakerOptions,
    /// How many attempts the delivery log keeps.
    pub log: u64,
}

/// The value of a header.
#[derive(Clone, Debug)]
pub enum HeaderContent {
    /// A plain one.
    Plain(String),
    /// A secret.
    Secret(SecretValue),
}

/// A part of the configuration of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Its URL.
    Url,
    /// One of its secrets, by index.
    Secret(usize),
    /// A header, by name.
    Header(String),
}

/// What is wrong with an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointFault {
    /// Where.
    pub part: Part,
    /// What, and what to do, as a sentence fragment.
    pub detail: String,
}

/// An endpoint that events can be posted to.
#[derive(Debug)]
pub struct Endpoint {
    pub(crate) options: EndpointOptions,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) signer: Signer,
}

impl Endpoint {
    /// The endpoint of these options.
    ///
    /// # Errors
    /// Everything that is wrong with its URL, its secrets and its headers.
    pub fn new(options: EndpointOptions) -> Result<Self, Vec<EndpointFault>> {
        let mut faults = Vec::new();
        let url = url(&options.url, options.allow_private)
            .map_err(|detail| faults.push(EndpointFault { part: Part::Url, detail }))
            .ok();
        let signer = Signer::new(&options.secrets).map_err(|of_secrets| {
            faults.extend(
                of_secrets
                    .into_iter()
                    .map(|(index, detail)| EndpointFault { part: Part::Secret(index), detail }),
            );
        });
        let mut headers = HeaderMap::new();
        for (name, content) in &options.headers {
            match header(name, content) {
                Ok((name, value)) => drop(headers.insert(name, value)),
                Err(detail) => faults.push(EndpointFault { part: Part::Header(name.clone()), detail }),
            }
        }
        match (url, signer) {
            (Some(url), Ok(signer)) if faults.is_empty() => Ok(Self { options, url, headers, signer }),
            _ => Err(faults),
        }
    }

    /// Its name.
    pub fn name(&self) -> &Label {
        &self.options.name
    }

    /// Its URL for people: without path and query, which may be a credential.
    pub fn shown_url(&self) -> String {
        let has_more = self.url.path() != "/" || self.url.query().is_some();
        let more = if has_more { "/…" } else { "" };
        format!("{}{more}", self.url.origin().ascii_serialization())
    }
}

fn url(text: &str, allow_private: bool) -> Result<Url, String> {
    const WRITE: &str = "write for example https://shop.example/hooks";
    if text.len() > URL_MAX {
        return Err(format!("longer than {URL_MAX} characters"));
    }
    // What the parser says of it may repeat a credential.
    let url = Url::parse(text).map_err(|_| format!("this is no URL; {WRITE}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("{}:// is no HTTP; {WRITE}", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a credential is never in the configuration; name it under headers, for example \
                    authorization: ${SHOP_TOKEN}, which holds the whole value"
            .to_owned());
    }
    if url.fragment().is_some() {
        return Err("what follows # never reaches the endpoint; remove it".to_owned());
    }
    // The client asks no resolver for a literal, so that nothing else would check it.
    let host = url.host_str().unwrap_or_default();
    let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = literal.parse::<IpAddr>() {
        guard::check(address, allow_private).map_err(|refused| refused.to_string())?;
    }
    Ok(url)
}

fn header(name: &str, content: &HeaderContent) -> Result<(HeaderName, HeaderValue), String> {
    let name: HeaderName = name.parse().map_err(|_| "this is no name of a header".to_owned())?;
    if RESERVED.contains(&name.as_str()) || name.as_str().starts_with(RESERVED_PREFIX) {
        return Err("this header is set by Orderwire; remove it".to_owned());
    }
    let (bytes, is_secret) = match content {
        HeaderContent::Plain(text) => (text.as_bytes(), false),
        HeaderContent::Secret(secret) => (secret.bytes(), true),
    };
    if bytes.len() > HEADER_MAX {
        return Err(format!("the value is longer than {HEADER_MAX} bytes"));
    }
    let mut value = HeaderValue::from_bytes(bytes).map_err(|_| {
        "the value has a control character, such as a line end, and cannot be sent".to_owned()
    })?;
    value.set_sensitive(is_secret);
    Ok((name, value))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The secret at a place that every run of the tests has.
    pub(crate) fn secret() -> SecretValue {
        "${CARGO_MANIFEST_DIR}".parse::<orderwire_config::Secret>().unwrap().resolve().unwrap()
    }

    pub(crate) fn options(url: &str) -> EndpointOptions {
        EndpointOptions {
            name: "shop".parse().unwrap(),
            queue: "forward-shop".parse().unwrap(),
            url: url.to_owned(),
            types: vec!["shop.#".parse().unwrap()],
            clients: Clients::All,
            format: Format::Cloudevents,
            secrets: vec![secret()],
            headers: Vec::new(),
            timeout: Duration::from_secs(5),
            concurrency: 4,
            rate: None,
            allow_private: false,
            breaker: BreakerOptions::default(),
            log: 100,
        }
    }

    fn fault(options: EndpointOptions) -> String {
        let faults = Endpoint::new(options).map(|endpoint| endpoint.shown_url()).unwrap_err();
        assert_eq!(faults.len(), 1, "{faults:?}");
        faults[0].detail.clone()
    }

    #[test]
    fn a_url_that_cannot_be_called_is_refused() {
        for (url, said) in [
            ("shop.example/hooks", "this is no URL"),
            ("ftp://shop.example", "ftp:// is no HTTP"),
            ("https://", "this is no URL"),
            ("https://user:hunter2@shop.example", "under headers"),
            ("https://hunter2@shop.example", "under headers"),
            ("https://shop.example/#part", "#"),
        ] {
            let found = fault(options(url));
            assert!(found.contains(said) && !found.contains("hunter2"), "{url}: {found}");
        }
        assert!(fault(options(&format!("https://shop.example/{}", "x".repeat(2_048)))).contains("longer"));
    }

    #[test]
    fn a_literal_address_is_guarded_in_every_spelling() {
        for url in [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://017700000001/",
            "http://10.0.0.1:8080/hooks",
            "http://[::1]/",
            "http://[::ffff:10.0.0.1]/",
            "http://[64:ff9b::7f00:1]/",
            "http://[fd00::1]/",
        ] {
            assert!(fault(options(url)).contains("allow_private"), "{url}");
            let allowed = EndpointOptions { allow_private: true, ..options(url) };
            assert!(Endpoint::new(allowed).is_ok(), "{url}");
        }
        for url in
            ["http://169.254.169.254/latest", "http://0.0.0.0/", "http://[fe80::1]/", "http://224.0.0.1/"]
        {
            let found = fault(EndpointOptions { allow_private: true, ..options(url) });
            assert!(found.contains("is not called"), "{url}: {found}");
        }
        assert!(Endpoint::new(options("https://1.1.1.1/hooks")).is_ok());
    }

    #[test]
    fn headers_of_the_protocol_and_values_with_line_ends_are_refused() {
        let plain = |text: &str| HeaderContent::Plain(text.to_owned());
        for (name, value, said) in [
            ("Webhook-Id", "x", "set by Orderwire"),
            ("content-type", "x", "set by Orderwire"),
            ("a b", "x", "no name"),
            ("x-a", "b\r\nx-c: d", "control character"),
            ("x-a", &"x".repeat(4_097), "longer"),
        ] {
            let headers = vec![(name.to_owned(), plain(value))];
            let found = fault(EndpointOptions { headers, ..options("https://shop.example") });
            assert!(found.contains(said), "{name}: {found}");
        }
        let headers = vec![("authorization".to_owned(), HeaderContent::Secret(secret()))];
        let endpoint = Endpoint::new(EndpointOptions { headers, ..options("https://shop.example") }).unwrap();
        let shown = format!("{endpoint:?}");
        assert!(!shown.contains(env!("CARGO_MANIFEST_DIR")), "{shown}");
    }

    #[test]
    fn a_url_is_shown_without_what_may_be_a_credential() {
        let shown = |url| Endpoint::new(options(url)).unwrap().shown_url();
        assert_eq!(shown("https://shop.example/hooks?token=hunter2"), "https://shop.example/…");
        assert_eq!(shown("https://shop.example:8443/services/T0/hunter2"), "https://shop.example:8443/…");
        assert_eq!(shown("https://shop.example/?hunter2"), "https://shop.example/…");
        assert_eq!(shown("https://shop.example"), "https://shop.example");
    }
}
