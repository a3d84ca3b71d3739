use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ByteSize;
use crate::secret::Secret;

/// The outside transport between producers and Orderwire.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Broker {
    /// `none`: producers talk to Orderwire, events wait in the embedded queue. Else
    /// `amqp://` or `amqps://` (RabbitMQ), `nats://` or `tls://` (NATS JetStream; several
    /// servers of a cluster are joined by commas), `kafka://` or `kafkas://` (Kafka, in builds
    /// with that feature). A password or token stands in it as `${NAME}`, which the environment
    /// variable replaces.
    pub url: BrokerUrl,
    /// A file of certificates (PEM) that the broker's is checked against, instead of the
    /// system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// A file with our own certificate (PEM), and those that it is signed by: a broker that
    /// asks for one knows us by it. With `key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// The file of its private key (PEM).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// What messages between the servers of one installation are signed with, 24 bytes or
    /// more: the same for all servers that share a broker. By default a key of the data folder's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signing_key: Option<Secret>,
    /// What only NATS JetStream has.
    pub nats: NatsSettings,
    /// What is kept while the broker is away.
    pub spool: Spool,
}

/// What only NATS JetStream has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NatsSettings {
    /// The stream that everything goes through, of letters, digits, `-` and `_`; its
    /// subjects begin with the same in lower case. Installations that share an account of
    /// the server need one each.
    pub stream: String,
    /// On how many servers of a cluster it is kept: 1, 3 or 5.
    pub replicas: usize,
    /// The most that it holds, 1MiB to 1TiB, which the server sets aside. When it is full
    /// the broker is as good as away.
    pub bytes: ByteSize,
    /// A credentials file (a JWT with its seed, as `nsc` writes it), by which the server
    /// knows us instead of what stands in the url. It is read at the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<PathBuf>,
}

impl Default for NatsSettings {
    fn default() -> Self {
        Self { stream: "ORDERWIRE".to_owned(), replicas: 1, bytes: ByteSize(1 << 30), credentials: None }
    }
}

/// What is kept while the broker is away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Spool {
    /// How many events at most, up to 100,000,000; 0: none, so that events are refused with
    /// 503 while the broker is away.
    pub events: u64,
    /// The folder; by default `spool` in the data folder. It has to outlive the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
}

impl Default for Spool {
    fn default() -> Self {
        Self { events: 1_000_000, folder: None }
    }
}

/// The address of a broker. It may hold a password, which `Debug` does not show.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct BrokerUrl(String);

/// There is no broker.
const NONE: &str = "none";
/// The schemes of NATS; the second is encrypted in any case.
const NATS: [&str; 2] = ["nats", "tls"];

impl Default for BrokerUrl {
    fn default() -> Self {
        Self(NONE.to_owned())
    }
}

impl fmt::Debug for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.scheme().unwrap_or("");
        if self.is_none() { f.write_str(NONE) } else { write!(f, "{scheme}://…") }
    }
}

impl BrokerUrl {
    /// Whether there is no broker.
    pub fn is_none(&self) -> bool {
        self.0 == NONE
    }

    /// What stands before `://`.
    pub fn scheme(&self) -> Option<&str> {
        self.0.split_once("://").map(|(scheme, _)| scheme)
    }

    /// As it was written.
    pub(crate) fn as_written(&self) -> &str {
        &self.0
    }

    /// Whether it is of NATS.
    pub fn is_nats(&self) -> bool {
        self.scheme().is_some_and(|scheme| NATS.contains(&scheme))
    }

    /// The passwords and tokens as they were written: of NATS a user without a password is a token.
    pub(crate) fn secrets(&self) -> Vec<&str> {
        let is_nats = self.is_nats();
        let secret = |server| {
            let info = user_info(server)?;
            info.split_once(':').map(|(_, password)| password).or(is_nats.then_some(info))
        };
        self.servers().into_iter().filter_map(secret).collect()
    }

    /// The address without user and password: which broker it is.
    pub fn place(&self) -> String {
        let place = |server: &str| {
            let (scheme, rest) = server.split_at(server.find("://").map_or(0, |at| at + 3));
            let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            format!("{scheme}{host}{}", path.split(['?', '#']).next().unwrap_or_default())
        };
        self.servers().into_iter().map(place).collect::<Vec<_>>().join(",")
    }

    /// The servers as they were written: of NATS there may be several.
    fn servers(&self) -> Vec<&str> {
        if self.is_nats() { self.0.split(',').collect() } else { vec![self.0.as_str()] }
    }

    /// The address with every `${NAME}` replaced by that variable.
    ///
    /// # Errors
    /// When a variable is not there, or a `${` has no end.
    pub fn resolved(&self, variable: impl Fn(&str) -> Option<String>) -> Result<String, String> {
        let mut out = String::with_capacity(self.0.len());
        let mut rest = self.0.as_str();
        while let Some((before, after)) = rest.split_once("${") {
            let (name, behind) = after.split_once('}').ok_or("a ${ without its }")?;
            out.push_str(before);
            let value =
                variable(name).ok_or_else(|| format!("the environment variable {name} is not set"))?;
            out.push_str(&encoded(&value));
            rest = behind;
        }
        out.push_str(rest);
        Ok(out)
    }
}

/// What stands before the host of one server.
fn user_info(server: &str) -> Option<&str> {
    let (_, rest) = server.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    authority.rsplit_once('@').map(|(info, _)| info)
}

/// A value as a part of a URL: what may mean anything there is percent-encoded (RFC 3986, section 2.1).
fn encoded(value: &str) -> String {
    let unreserved = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    let encode =
        |byte: u8| if unreserved(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    value.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_is_the_same_whoever_calls_it() {
        for (text, place) in [
            ("amqp://shop:${RABBIT}@mq.example:5672/%2f?x=hunter2", "amqp://mq.example:5672/%2f"),
            ("amqp://a@b:hunter2@mq.example", "amqp://mq.example"),
            ("amqp://mq.example/a@b", "amqp://mq.example/a@b"),
            ("nats://hunter2@a:4222,tls://u:hunter2@b,c", "nats://a:4222,tls://b,c"),
            ("none", "none"),
        ] {
            assert_eq!(BrokerUrl(text.to_owned()).place(), place);
        }
    }

    #[test]
    fn passwords_are_found_replaced_and_not_shown() {
        let url = BrokerUrl("amqp://shop:${RABBIT}@mq.example:5672/%2f".to_owned());
        assert_eq!(url.secrets(), ["${RABBIT}"]);
        assert_eq!(format!("{url:?}"), "amqp://…");
        let variable = |name: &str| (name == "RABBIT").then(|| "secret".to_owned());
        assert_eq!(url.resolved(variable).unwrap(), "amqp://shop:secret@mq.example:5672/%2f");
        assert!(url.resolved(|_| None).unwrap_err().contains("RABBIT"));
        let awkward = url.resolved(|_| Some("p@ss/w%rd:é".to_owned())).unwrap();
        assert_eq!(awkward, "amqp://shop:p%40ss%2Fw%25rd%3A%C3%A9@mq.example:5672/%2f");
        assert!(BrokerUrl("amqp://${A".to_owned()).resolved(|_| None).is_err());
        for (text, secrets) in [
            ("none", &[][..]),
            ("amqp://localhost", &[]),
            ("amqp://guest@localhost", &[]),
            ("amqp://guest:guest@localhost/a@b", &["guest"]),
            ("amqp://a:b,c@localhost", &["b,c"]),
            ("nats://localhost:4222", &[]),
            ("nats://token@localhost:4222", &["token"]),
            ("tls://a:one@h1,tls://${TOKEN}@h2, nats://h3", &["one", "${TOKEN}"]),
        ] {
            assert_eq!(BrokerUrl(text.to_owned()).secrets(), secrets, "{text}");
        }
    }
}
