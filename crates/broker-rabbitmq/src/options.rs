//! What a connection to RabbitMQ needs to know.

use std::time::Duration;

use lapin::uri::{AMQPScheme, AMQPUri};
use orderwire_broker::{Error, ErrorKind, Password, Tls};

/// The longest name that AMQP knows.
const NAME_BYTES_MAX: usize = 255;

/// The settings of a [`crate::RabbitBroker`].
#[derive(Clone, Debug)]
pub struct Options {
    /// The name or address of the server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The virtual host that everything is in.
    pub vhost: String,
    /// Who we are to the server.
    pub user: String,
    /// How we prove it.
    pub password: Password,
    /// How the connection is encrypted; none: it is not.
    pub tls: Option<Tls>,
    /// The topic exchange that events are published to by type.
    pub exchange: String,
    /// What the server's own tools call our connections.
    pub name: String,
    /// How long a call may take at most, and the making of a connection.
    pub timeout: Duration,
    /// How often the two sides show each other that they live, in whole seconds, at
    /// least one. After two of them without a sign the connection has ended.
    pub heartbeat: Duration,
    /// The pause after the first failed attempt to connect; doubled after each.
    pub pause_first: Duration,
    /// The longest pause between two attempts.
    pub pause_last: Duration,
    /// The largest body that is published, in bytes; not more than the server's own
    /// limit (`max_message_size`, 16 MiB or more by default).
    pub body_bytes_max: usize,
    /// How many bytes may be published and not confirmed; whoever publishes more waits.
    pub unconfirmed_bytes_max: usize,
}

impl Options {
    /// From `amqp://USER:PASSWORD@HOST:PORT/VHOST` or `amqps://…`, of which every part but
    /// the host may be left out. Special characters are percent-encoded, the default
    /// virtual host, `/`, is written as `%2f` or not at all. `?heartbeat=SECONDS` is
    /// understood. Everything else is as in [`Options::default`].
    ///
    /// # Errors
    /// `Unsupported`: it is no such URL. The message does not repeat it.
    pub fn from_url(url: &str) -> Result<Self, Error> {
        let malformed = |why: &str| {
            let form = "amqp://USER:PASSWORD@HOST:PORT/VHOST, or amqps:// for TLS";
            Error::new(ErrorKind::Unsupported, format!("the broker's url {why}: its form is {form}"))
        };
        if !url.starts_with("amqp://") && !url.starts_with("amqps://") {
            return Err(malformed("begins with neither amqp:// nor amqps://"));
        }
        // What the parser says may repeat the URL, and the password with it.
        let uri: AMQPUri = url.parse().map_err(|_| malformed("cannot be read"))?;
        let defaults = Self::default();
        let options = Self {
            host: uri.authority.host,
            port: uri.authority.port,
            // RabbitMQ knows no virtual host without a name.
            vhost: if uri.vhost.is_empty() { defaults.vhost } else { uri.vhost },
            user: uri.authority.userinfo.username,
            password: Password::new(uri.authority.userinfo.password),
            tls: (uri.scheme == AMQPScheme::AMQPS).then(Tls::default),
            heartbeat: uri
                .query
                .heartbeat
                .map_or(defaults.heartbeat, |seconds| Duration::from_secs(u64::from(seconds).max(1))),
            ..defaults
        };
        options.check()?;
        Ok(options)
    }

    /// Sees that names fit into the protocol.
    ///
    /// # Errors
    /// `Unsupported`, which one does not.
    pub(crate) fn check(&self) -> Result<(), Error> {
        for (what, name) in [("exchange", &self.exchange), ("virtual host", &self.vhost)] {
            if name.len() > NAME_BYTES_MAX {
                let why = format!("the name of the {what} has more than {NAME_BYTES_MAX} bytes");
                return Err(Error::new(ErrorKind::Unsupported, why));
            }
        }
        Ok(())
    }

    /// Where the server is, for people.
    pub(crate) fn place(&self) -> String {
        let scheme = if self.tls.is_some() { "amqps" } else { "amqp" };
        format!("{scheme}://{}:{}", self.host, self.port)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 5672,
            vhost: "/".to_owned(),
            user: "guest".to_owned(),
            password: Password::new("guest"),
            tls: None,
            exchange: "orderwire.events".to_owned(),
            name: "orderwire".to_owned(),
            timeout: Duration::from_secs(10),
            heartbeat: Duration::from_secs(10),
            pause_first: Duration::from_millis(100),
            pause_last: Duration::from_secs(10),
            body_bytes_max: 16 << 20,
            unconfirmed_bytes_max: 64 << 20,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_with_its_defaults() {
        let options = Options::from_url("amqp://broker.example").unwrap();
        assert_eq!(
            (options.host.as_str(), options.port, options.vhost.as_str()),
            ("broker.example", 5672, "/")
        );
        assert_eq!((options.user.as_str(), options.password.expose()), ("guest", "guest"));
        assert!(options.tls.is_none());
        assert_eq!(Options::from_url("amqp://broker.example/").unwrap().vhost, "/");
    }

    #[test]
    fn every_part_of_a_url_is_read() {
        let options = Options::from_url("amqps://ada:s%40fe@10.0.0.7:5999/a%2fb?heartbeat=3").unwrap();
        assert_eq!((options.host.as_str(), options.port, options.vhost.as_str()), ("10.0.0.7", 5999, "a/b"));
        assert_eq!((options.user.as_str(), options.password.expose()), ("ada", "s@fe"));
        assert!(options.tls.is_some());
        assert_eq!(options.heartbeat, Duration::from_secs(3));
        assert_eq!(Options::from_url("amqps://host").unwrap().port, 5671);
    }

    #[test]
    fn a_password_is_in_no_output() {
        let options = Options::from_url("amqp://ada:s3cret@host/v").unwrap();
        assert!(!format!("{options:?}").contains("s3cret"));
        for bad in ["http://ada:s3cret@host", "amqp://ada:s3cret@host:port", "ada:s3cret@host"] {
            let error = Options::from_url(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
        }
    }
}
