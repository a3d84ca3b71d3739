//! How a connection is made.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use orderwire_config::SecretValue;
use orderwire_worker::Pause;

use crate::error::Error;
use crate::socket::Opener;

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1.1.
    V3,
    /// MQTT 5.0.
    V5,
}

/// Where a broker is: `mqtt://HOST:PORT`, or `mqtts://HOST:PORT` over TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Whether it is spoken to over TLS.
    pub tls: bool,
    /// Its name or its address.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// The schemes, with whether they mean TLS, and the usual port.
const SCHEMES: [(&str, bool, u16); 2] = [("mqtt", false, 1883), ("mqtts", true, 8883)];

impl FromStr for Address {
    type Err = String;

    /// # Errors
    /// Why it is none and what to do, without repeating what may hold a password.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &dyn fmt::Display| {
            format!("not a URL such as mqtt://host:1883 or mqtts://host:8883: {what}")
        };
        let url = url::Url::parse(text).map_err(|err| wrong(&err))?;
        let known = SCHEMES.iter().find(|(scheme, ..)| *scheme == url.scheme());
        let (_, tls, port) = known.ok_or_else(|| wrong(&"use mqtt:// or mqtts://"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("credentials do not belong into the URL; write them as user and password".to_owned());
        }
        let host =
            url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| wrong(&"the host is missing"))?;
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(wrong(&"nothing stands behind host and port"));
        }
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { tls: *tls, host, port: url.port().unwrap_or(*port) })
    }
}

/// Who we are at the broker.
#[derive(Clone, Debug)]
pub struct Login {
    /// The name.
    pub user: String,
    /// Its password.
    pub password: Option<SecretValue>,
}

/// How the broker's certificate is checked.
#[derive(Clone, Debug)]
pub struct Tls {
    /// A file of certificates (PEM) that it is checked against, instead of the system's.
    pub ca: Option<PathBuf>,
}

/// What is subscribed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// A topic filter of MQTT.
    pub filter: String,
    /// Whether each message comes at least once (QoS 1); otherwise at most once (QoS 0).
    pub at_least_once: bool,
}

/// How a connection is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// The name of the connection, for logs and metrics.
    pub name: String,
    /// The broker's host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// TLS, if it is spoken.
    pub tls: Option<Tls>,
    /// Who we are there, if we say so.
    pub login: Option<Login>,
    /// The version of the protocol.
    pub version: Version,
    /// By which name the broker knows our session.
    pub client_id: String,
    /// After this time of silence we ask whether the broker is there.
    pub keep_alive: Duration,
    /// For how long the broker keeps what we miss; zero: not at all. With 3.1.1 anything
    /// but zero is as long as the broker's own settings say.
    pub session: Duration,
    /// What is subscribed to.
    pub filters: Vec<Filter>,
    /// The largest body that is taken whole, in bytes.
    pub body_bytes_max: usize,
    /// How much of a larger one is kept, in bytes.
    pub kept_of_too_large: usize,
    /// How many messages are held unacknowledged at once: the receive maximum of MQTT 5.
    pub window: u16,
    /// How many bytes they may take together, before no more are read.
    pub window_bytes: usize,
    /// The most messages that the port gets at once.
    pub batch: usize,
    /// How long the broker may take to answer, and to take what we send.
    pub timeout: Duration,
    /// The pause after a failure.
    pub pause: Pause,
}

impl Options {
    /// A connection to this host with nothing but defaults, and without a filter.
    pub fn new(name: impl Into<String>, host: impl Into<String>, port: u16) -> Self {
        let name = name.into();
        Self {
            client_id: format!("orderwire-{name}"),
            name,
            host: host.into(),
            port,
            tls: None,
            login: None,
            version: Version::V5,
            keep_alive: Duration::from_secs(30),
            session: Duration::from_secs(86_400),
            filters: Vec::new(),
            body_bytes_max: 8 << 20,
            kept_of_too_large: 64 << 10,
            window: 512,
            window_bytes: 32 << 20,
            batch: 256,
            timeout: Duration::from_secs(10),
            pause: Pause { first: Duration::from_millis(100), last: Duration::from_secs(15) },
        }
    }

    /// Whether a service could begin with them; the broker is not asked.
    ///
    /// # Errors
    /// `Invalid`: the certificates cannot be read, or the host is no name for one.
    pub fn check(&self) -> Result<(), Error> {
        Opener::new(self).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_their_defaults() {
        for (url, tls, host, port) in [
            ("mqtt://broker", false, "broker", 1883),
            ("mqtts://mq.example/", true, "mq.example", 8883),
            ("mqtts://[::1]:1234", true, "::1", 1234),
        ] {
            assert_eq!(url.parse(), Ok(Address { tls, host: host.to_owned(), port }), "{url}");
        }
        for bad in ["none", "mqtt://", "http://a", "mqtt://a/b", "mqtt://a?b", "mqtt://a#b", "mqtt://a:99999"]
        {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
        for bad in ["mqtt://shop:hunter2@a", "mqtt://shop@a", "mqtt://:hunter2@a"] {
            let said = bad.parse::<Address>().unwrap_err();
            assert!(said.contains("user and password") && !said.contains("hunter2"), "{said}");
        }
    }
}
