//! The settings of the broker.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::ServerAddr;
use orderwire_broker::{Error, ErrorKind, Password, Tls};
use percent_encoding::percent_decode_str;

/// The settings of [`crate::NatsBroker`].
#[derive(Clone, Debug)]
pub struct Options {
    /// The servers, `nats://HOST:PORT` or `tls://HOST:PORT`, joined by commas where there
    /// are several. A user and password, or a token, may stand before the host.
    pub url: Url,
    /// Who we are. Goes before what the URL says.
    pub login: Login,
    /// What is trusted and shown over TLS, which the URL or the server asks for.
    pub tls: Tls,
    /// The name of the stream: letters, digits, `-` and `_`.
    pub stream: String,
    /// What the subjects begin with: words of letters, digits, `-` and `_`, joined by dots.
    pub prefix: String,
    /// On how many nodes of a cluster the stream is kept: 1, 3 or 5.
    pub replicas: usize,
    /// How many bytes the stream holds at most. The server sets them aside. Over it
    /// publishing fails as `Unavailable` until queues have acked.
    pub stream_bytes_max: u64,
    /// For how long the server remembers ids, to drop repetitions.
    pub remember: Duration,
    /// After how long a message that is not acked comes again although nobody gave it back,
    /// because its consumer ended without a word.
    pub ack_wait: Duration,
    /// How often an idle consumer hears from the server. One that hears nothing for three
    /// times as long fails.
    pub heartbeat: Duration,
    /// How often what every queue has acked is removed from the stream.
    pub sweep: Duration,
    /// After how long a call without an answer fails.
    pub timeout: Duration,
    /// How many bytes may be published and not confirmed; whoever publishes more waits.
    pub unconfirmed_bytes_max: usize,
}

impl Options {
    /// The usual settings for these servers.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: Url(url.into()),
            login: Login::None,
            tls: Tls::default(),
            stream: "ORDERWIRE".to_owned(),
            prefix: "orderwire".to_owned(),
            replicas: 1,
            stream_bytes_max: 1 << 30,
            remember: Duration::from_secs(120),
            ack_wait: Duration::from_secs(10),
            heartbeat: Duration::from_secs(5),
            sweep: Duration::from_secs(1),
            timeout: Duration::from_secs(10),
            unconfirmed_bytes_max: 64 << 20,
        }
    }

    /// Limits that tests reach soon.
    pub fn for_testing(url: impl Into<String>) -> Self {
        Self {
            stream_bytes_max: 64 << 20,
            ack_wait: Duration::from_secs(5),
            heartbeat: Duration::from_millis(500),
            sweep: Duration::from_millis(200),
            timeout: Duration::from_secs(5),
            ..Self::new(url)
        }
    }

    /// Fails unless the names are ones that a server takes, and the numbers make sense.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let unsupported = |what: &str| Err(Error::new(ErrorKind::Unsupported, what));
        if !is_word(&self.stream) {
            return unsupported("the name of the stream is not of letters, digits, - and _");
        }
        if !self.prefix.split('.').all(is_word) {
            return unsupported("the prefix of subjects is not of words of letters, digits, - and _");
        }
        if !matches!(self.replicas, 1 | 3 | 5) {
            return unsupported("the stream has 1, 3 or 5 replicas");
        }
        let waits = [self.remember, self.ack_wait, self.heartbeat, self.sweep, self.timeout];
        if waits.iter().any(|wait| *wait < Duration::from_millis(100)) {
            return unsupported("a time of the broker's settings is shorter than 100 ms");
        }
        if self.unconfirmed_bytes_max == 0
            || u32::try_from(self.unconfirmed_bytes_max).is_err()
            || i64::try_from(self.stream_bytes_max).is_err()
        {
            return unsupported("a limit of the broker's settings is out of range");
        }
        Ok(())
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}

/// Where the servers are. Shown without what stands before the hosts.
#[derive(Clone)]
pub struct Url(String);

impl Url {
    /// The servers without credentials, which the library would show in its log, and the
    /// credentials of the first that has any.
    pub(crate) fn servers(&self) -> Result<(Vec<ServerAddr>, Login), Error> {
        // What the library says of a URL may repeat it.
        let unreadable =
            |nth: usize| Error::new(ErrorKind::Unsupported, format!("server {nth} of broker.url is no URL"));
        let mut login = Login::None;
        let mut servers = Vec::new();
        for (index, part) in self.0.split(',').map(str::trim).enumerate() {
            let given: ServerAddr = part.parse().map_err(|_| unreadable(index + 1))?;
            if !matches!(given.scheme(), "nats" | "tls") {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!("server {} of broker.url is neither nats:// nor tls://", index + 1),
                ));
            }
            if matches!(login, Login::None) {
                login = login_of(&given);
            }
            servers.push(bare(&given).parse().map_err(|_| unreadable(index + 1))?);
        }
        Ok((servers, login))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.0.split(',').map(str::trim).enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match part.parse::<ServerAddr>() {
                Ok(server) => write!(f, "{comma}{}", bare(&server))?,
                Err(_) => write!(f, "{comma}(not a URL)")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn bare(server: &ServerAddr) -> String {
    let host = server.host();
    // An IPv6 address.
    let (open, close) = if host.contains(':') && !host.starts_with('[') { ("[", "]") } else { ("", "") };
    format!("{}://{open}{host}{close}:{}", server.scheme(), server.port())
}

fn login_of(server: &ServerAddr) -> Login {
    let secret = |text: &str| Password::new(percent_decoded(text));
    match (server.username(), server.password()) {
        (Some(user), Some(password)) => {
            Login::Password { user: percent_decoded(user), password: secret(password) }
        }
        (Some(token), None) => Login::Token(secret(token)),
        (None, _) => Login::None,
    }
}

/// Text in which `%40` stands for `@`, and so on. What is not valid stays as it is.
fn percent_decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8().map_or_else(|_| text.to_owned(), Cow::into_owned)
}

/// Who we are to the server.
#[derive(Clone, Debug, Default)]
pub enum Login {
    /// What the URL says, else nobody.
    #[default]
    None,
    /// A user with a password.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: Password,
    },
    /// A token.
    Token(Password),
    /// A credentials file, as `nsc` makes it: a JWT with its seed.
    Credentials(PathBuf),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Options::new(text).url
    }

    #[test]
    fn credentials_are_taken_from_the_url_and_never_shown() {
        let options = Options::new("nats://anna:s%40fe@one:4333, tls://two");
        let (servers, login) = options.url.servers().unwrap();
        assert!(
            matches!(login, Login::Password { user, password } if user == "anna" && password == Password::new("s@fe"))
        );
        assert_eq!(servers.iter().map(bare).collect::<Vec<_>>(), ["nats://one:4333", "tls://two:4222"]);
        assert!(servers.iter().all(|server| !server.has_user_pass()));
        let shown = format!("{options:?} {}", options.url);
        assert!(!shown.contains("anna") && !shown.contains("fe@"), "{shown}");
        let (_, login) = url("nats://t0ken@one").servers().unwrap();
        assert!(matches!(login, Login::Token(token) if token == Password::new("t0ken")));
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said_without_repeating_it() {
        for bad in ["http://anna:secret@one", "nats://anna:secret@", "nats://one,nats://anna:secret@:x"] {
            let error = url(bad).servers().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{bad}");
            assert!(!error.to_string().contains("secret"), "{error}");
            assert!(!url(bad).to_string().contains("secret"), "{}", url(bad));
        }
    }

    #[test]
    fn an_ipv6_address_keeps_its_brackets() {
        let (servers, _) = url("nats://[::1]:4222").servers().unwrap();
        assert_eq!(bare(&servers[0]), "nats://[::1]:4222");
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        let good = || Options::new("nats://one");
        assert!(good().check().is_ok());
        let bad = [
            Options { stream: "a.b".to_owned(), ..good() },
            Options { stream: String::new(), ..good() },
            Options { prefix: "a..b".to_owned(), ..good() },
            Options { prefix: "a.>".to_owned(), ..good() },
            Options { replicas: 2, ..good() },
            Options { heartbeat: Duration::ZERO, ..good() },
            Options { unconfirmed_bytes_max: 0, ..good() },
            Options { stream_bytes_max: u64::MAX, ..good() },
        ];
        for options in bad {
            assert_eq!(options.check().unwrap_err().kind(), ErrorKind::Unsupported, "{options:?}");
        }
    }
}
