//! What a connection to Kafka needs to know.

use std::borrow::Cow;
use std::time::Duration;

use orderwire_broker::{Error, ErrorKind, Password, Tls};
use percent_encoding::percent_decode_str;

/// The port of a server whose URL names none.
const PORT: u16 = 9092;

/// The settings of a [`crate::KafkaBroker`].
#[derive(Clone, Debug)]
pub struct Options {
    /// Some servers of the cluster, each `HOST:PORT`; they know the others.
    pub servers: Vec<String>,
    /// Who we are to the cluster; none: it does not ask.
    pub login: Option<Login>,
    /// How connections are encrypted; none: they are not.
    pub tls: Option<Tls>,
    /// What the topic of bindings (`PREFIX.bindings`) and the consumer groups
    /// (`PREFIX.QUEUE`) begin with.
    pub prefix: String,
    /// What the cluster's own tools call us.
    pub name: String,
    /// How many partitions a topic has that we make: the most consumers of a queue that get
    /// something at once.
    pub partitions: i32,
    /// On how many servers a topic is that [`orderwire_broker::Declare::Quorum`] asks for;
    /// none: three, or as many as there are.
    pub replication: Option<i32>,
    /// How long a call may take at most.
    pub timeout: Duration,
    /// After how long without a sign a consumer counts as dead, and others get its
    /// partitions; also how often the cluster is asked whether it is there.
    pub session: Duration,
    /// How often a consumer gives that sign; so soon it hears of other consumers.
    pub heartbeat: Duration,
    /// The pause after the first failed attempt to connect; doubled after each.
    pub pause_first: Duration,
    /// The longest pause between two attempts.
    pub pause_last: Duration,
    /// The largest body that is published, in bytes. Topics that we make take it; those of
    /// others may take less.
    pub body_bytes_max: usize,
    /// How many bytes may be published and not confirmed; whoever publishes more waits.
    pub unconfirmed_bytes_max: usize,
    /// How many bytes a consumer fetches ahead, one fetch aside.
    pub ahead_bytes_max: usize,
}

/// Who we are, and how it is proven.
#[derive(Clone, Debug)]
pub struct Login {
    /// The user.
    pub user: String,
    /// The password.
    pub password: Password,
    /// How it is shown.
    pub mechanism: Mechanism,
}

/// How a password is shown (SASL).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// As it is: for encrypted connections.
    Plain,
    /// Proven without being sent, with SHA-256.
    ScramSha256,
    /// Proven without being sent, with SHA-512.
    ScramSha512,
}

impl Mechanism {
    /// As Kafka writes it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let all = [Self::Plain, Self::ScramSha256, Self::ScramSha512];
        all.into_iter().find(|mechanism| mechanism.as_str().eq_ignore_ascii_case(text))
    }
}

impl Options {
    /// From `kafka://USER:PASSWORD@HOST:PORT,HOST:PORT/`, or `kafkas://…` for TLS, of which every part but
    /// a host may be left out. Special characters of user and password are percent-encoded.
    /// `?sasl=PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512` (with a user and without `sasl`: the
    /// last), `partitions=N` and `replication=N` are understood. Everything else is as in
    /// [`Options::default`].
    ///
    /// # Errors
    /// `Unsupported`: it is no such URL. The message does not repeat it.
    pub fn from_url(url: &str) -> Result<Self, Error> {
        let (is_encrypted, rest) = match (url.strip_prefix("kafka://"), url.strip_prefix("kafkas://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(malformed("begins with neither kafka:// nor kafkas://")),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if !path.is_empty() {
            return Err(malformed("has a path, which means nothing to Kafka"));
        }
        let (user_info, hosts) = match authority.rsplit_once('@') {
            Some((user_info, hosts)) => (Some(user_info), hosts),
            None => (None, authority),
        };
        let mut options =
            Self { servers: Vec::new(), tls: is_encrypted.then(Tls::default), ..Self::default() };
        for host in hosts.split(',') {
            options.servers.push(server(host)?);
        }
        let mut mechanism = None;
        for (key, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match key {
                "sasl" => {
                    let known = Mechanism::parse(value);
                    mechanism = Some(known.ok_or_else(|| malformed("names a sasl that is not understood"))?);
                }
                "partitions" => options.partitions = count(value, 10_000)?,
                "replication" => options.replication = Some(count(value, 100)?),
                _ => {
                    return Err(malformed("has a setting that is none of sasl, partitions and replication"));
                }
            }
        }
        if let Some(user_info) = user_info {
            let (user, password) = user_info.split_once(':').ok_or_else(|| malformed("has no password"))?;
            let decode = |text| decoded(text).ok_or_else(|| malformed("has a % that is no percent-encoding"));
            options.login = Some(Login {
                user: decode(user)?,
                password: Password::new(decode(password)?),
                mechanism: mechanism.unwrap_or(Mechanism::ScramSha512),
            });
        } else if mechanism.is_some() {
            return Err(malformed("says how a password is shown, and has no user"));
        }
        Ok(options)
    }

    /// Where the cluster is, for people.
    pub(crate) fn place(&self) -> String {
        let scheme = if self.tls.is_some() { "kafkas" } else { "kafka" };
        format!("{scheme}://{}", self.servers.join(","))
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            servers: vec![format!("127.0.0.1:{PORT}")],
            login: None,
            tls: None,
            prefix: "orderwire".to_owned(),
            name: "orderwire".to_owned(),
            partitions: 6,
            replication: None,
            timeout: Duration::from_secs(10),
            session: Duration::from_secs(10),
            heartbeat: Duration::from_secs(2),
            pause_first: Duration::from_millis(100),
            pause_last: Duration::from_secs(10),
            body_bytes_max: 4 << 20,
            unconfirmed_bytes_max: 64 << 20,
            ahead_bytes_max: 8 << 20,
        }
    }
}

fn malformed(why: &str) -> Error {
    let form =
        "kafka://USER:PASSWORD@HOST:PORT,HOST:PORT/?sasl=…&partitions=N&replication=N, or kafkas:// for TLS";
    Error::new(ErrorKind::Unsupported, format!("the broker's url {why}: its form is {form}"))
}

/// A host with its port.
fn server(host: &str) -> Result<String, Error> {
    let is_plain = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
    };
    let (name, port) = match host.strip_prefix('[') {
        // An address of IPv6, whose colons stand in brackets.
        Some(rest) => {
            let (address, port) =
                rest.split_once(']').ok_or_else(|| malformed("has an address without its ]"))?;
            address
                .parse::<std::net::Ipv6Addr>()
                .map_err(|_| malformed("has brackets without an address"))?;
            (format!("[{address}]"), port)
        }
        None => {
            let at = host.find(':').unwrap_or(host.len());
            let (name, port) = host.split_at(at);
            if !is_plain(name) {
                return Err(malformed("has a server without a name, or with one that is none"));
            }
            (name.to_owned(), port)
        }
    };
    let port = match port.strip_prefix(':') {
        Some(port) => port.parse().map_err(|_| malformed("has a port that is none"))?,
        None if port.is_empty() => PORT,
        None => return Err(malformed("has something behind an address")),
    };
    Ok(format!("{name}:{port}"))
}

fn count(value: &str, most: i32) -> Result<i32, Error> {
    let number = value.parse().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| malformed("has a number that is out of range"))
}

/// Text without its percent-encoding (RFC 3986, section 2.1); none: it has a `%` that is
/// none.
fn decoded(text: &str) -> Option<String> {
    let is_code =
        |rest: &str| rest.as_bytes().get(..2).is_some_and(|code| code.iter().all(u8::is_ascii_hexdigit));
    let decoded = percent_decode_str(text).decode_utf8().ok().map(Cow::into_owned);
    decoded.filter(|_| text.split('%').skip(1).all(is_code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_with_its_defaults() {
        for url in ["kafka://broker.example", "kafka://broker.example/", "kafka://broker.example:9092"] {
            let options = Options::from_url(url).unwrap();
            assert_eq!(options.servers, ["broker.example:9092"], "{url}");
            assert!(options.tls.is_none() && options.login.is_none());
            assert_eq!((options.partitions, options.replication), (6, None));
        }
    }

    #[test]
    fn every_part_of_a_url_is_read() {
        let url = "kafkas://ada:s%40f%2Ce@k-1:9094,[::1]:9095,10.0.0.7/?sasl=scram-sha-256&partitions=3&replication=2";
        let options = Options::from_url(url).unwrap();
        assert_eq!(options.servers, ["k-1:9094", "[::1]:9095", "10.0.0.7:9092"]);
        let login = options.login.unwrap();
        assert_eq!((login.user.as_str(), login.password.expose()), ("ada", "s@f,e"));
        assert_eq!(login.mechanism, Mechanism::ScramSha256);
        assert!(options.tls.is_some());
        assert_eq!((options.partitions, options.replication), (3, Some(2)));
    }

    #[test]
    fn a_password_is_never_sent_as_it_is_unless_that_is_asked_for() {
        let mechanism = |url| Options::from_url(url).unwrap().login.unwrap().mechanism;
        assert_eq!(mechanism("kafkas://ada:secret@k"), Mechanism::ScramSha512);
        assert_eq!(mechanism("kafkas://ada:secret@k?sasl=PLAIN"), Mechanism::Plain);
    }

    #[test]
    fn what_is_no_url_is_refused_without_its_password() {
        for bad in [
            "http://ada:s3cret@host",
            "kafka://",
            "kafka://ada:s3cret@",
            "kafka://ada:s3cret@host:port",
            "kafka://ada:s3cret@host,,other",
            "kafka://ada:s3cret@host/topic",
            "kafka://ada:s3cret@host?heartbeat=1",
            "kafka://ada:s3cret@host?sasl=gssapi",
            "kafka://ada:s3cret@host?partitions=0",
            "kafka://ada:s3cret%@host",
            "kafka://s3cret@host",
            "kafka://host?sasl=PLAIN",
            "kafka://[::1",
            "kafka://[s3cret]:1",
        ] {
            let error = Options::from_url(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{bad}");
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
        }
        let options = Options::from_url("kafka://ada:s3cret@host").unwrap();
        assert!(!format!("{options:?}").contains("s3cret"));
    }
}
