//! What a connection to Redis needs to know.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use redis::{Client, ClientTlsConfig, ConnectionAddr, IntoConnectionInfo, TlsCertificates};

use crate::{Entry, Error};

/// The settings of a [`crate::RedisCache`].
#[derive(Clone)]
pub struct Options {
    /// `redis://USER:PASSWORD@HOST:PORT/DATABASE`, or `rediss://…` for TLS, of which every
    /// part but the host may be left out.
    pub url: String,
    /// The password, instead of one in the URL.
    pub password: Option<String>,
    /// Certificates (PEM) of whoever may have signed the server's; none: those that the
    /// system trusts.
    pub ca_file: Option<PathBuf>,
    /// The certificate that we show.
    pub identity: Option<Identity>,
    /// What all keys begin with: whoever shares it shares entries.
    pub prefix: String,
    /// How long an answer may take. More is as good as none.
    pub timeout: Duration,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// The pause after the first failed attempt to connect; doubled after each.
    pub pause_first: Duration,
    /// The longest pause between two attempts, and how often a server that keeps nothing is
    /// given something again.
    pub pause_last: Duration,
    /// The largest entry that is kept, in bytes.
    pub entry_bytes_max: usize,
    /// Whether what is found there can be used. Others may write there, and values outlive
    /// the version that wrote them: what cannot be used is no entry.
    pub is_usable: fn(&Entry) -> bool,
}

/// A certificate of our own.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate and those that it is signed by (PEM).
    pub certificate_file: PathBuf,
    /// Its private key (PEM).
    pub key_file: PathBuf,
}

impl Options {
    /// The usual settings for this server.
    pub fn new(url: impl Into<String>, prefix: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            password: None,
            ca_file: None,
            identity: None,
            prefix: prefix.into(),
            timeout: Duration::from_millis(250),
            connect_timeout: Duration::from_secs(2),
            pause_first: Duration::from_millis(100),
            pause_last: Duration::from_secs(2),
            // All share one connection: what cannot be sent within the time-out would end it.
            entry_bytes_max: 1 << 20,
            is_usable: |_| true,
        }
    }

    /// What makes connections, and where the server is, for people.
    pub(super) fn client(&self) -> Result<(Client, String), Error> {
        if !self.url.starts_with("redis://") && !self.url.starts_with("rediss://") {
            return Err(malformed("begins with neither redis:// nor rediss://"));
        }
        // It would switch checks off.
        if self.url.contains('#') {
            return Err(malformed("has a # that means nothing here"));
        }
        // What the parser says may repeat the URL, and the password with it.
        let mut info = self.url.as_str().into_connection_info().map_err(|_| malformed("cannot be read"))?;
        if let Some(password) = &self.password {
            let settings = info.redis_settings().clone().set_password(password);
            info = info.set_redis_settings(settings);
        }
        let place = match info.addr() {
            ConnectionAddr::TcpTls { host, port, .. } => format!("rediss://{host}:{port}"),
            ConnectionAddr::Tcp(host, port) => format!("redis://{host}:{port}"),
            _ => return Err(malformed("names no host")),
        };
        let client = if matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
            // The library takes whatever the process has.
            rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
            Client::build_with_tls(info, self.certificates()?)
        } else {
            Client::open(info)
        };
        let client = client.map_err(|error| Error(format!("the settings of {place}: {error}")))?;
        Ok((client, place))
    }

    fn certificates(&self) -> Result<TlsCertificates, Error> {
        let root_cert = self.ca_file.as_deref().map(read).transpose()?;
        let client_tls = match &self.identity {
            Some(Identity { certificate_file, key_file }) => {
                Some(ClientTlsConfig { client_cert: read(certificate_file)?, client_key: read(key_file)? })
            }
            None => None,
        };
        Ok(TlsCertificates { client_tls, root_cert })
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.client().map_or_else(|_| "…".to_owned(), |(_, place)| place);
        f.debug_struct("Options").field("place", &place).field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(file).map_err(|error| Error(format!("read {}: {error}", file.display())))
}

fn malformed(why: &str) -> Error {
    let form = "redis://USER:PASSWORD@HOST:PORT/DATABASE, or rediss:// for TLS";
    Error(format!("the cache's url {why}: its form is {form}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_and_its_password_never_shown() {
        for (url, place) in [
            ("redis://cache.example", "redis://cache.example:6379"),
            ("redis://ada:s3cret@cache.example:7000/2", "redis://cache.example:7000"),
            ("rediss://:s3cret@cache.example", "rediss://cache.example:6379"),
        ] {
            let options = Options::new(url, "p");
            assert_eq!(options.client().unwrap().1, place);
            assert!(!format!("{options:?}").contains("s3cret"));
        }
    }

    #[test]
    fn what_is_no_url_is_refused_without_repeating_it() {
        for bad in [
            "http://ada:s3cret@host",
            "redis://ada:s3cret@host:port",
            "redis://ada:s3cret@",
            "redis://ada:s3cret@host/x",
            "rediss://ada:s3cret@host/#insecure",
            "unix:///s3cret",
        ] {
            let error = Options::new(bad, "p").client().unwrap_err();
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
        let missing = Options { ca_file: Some("/nowhere.pem".into()), ..Options::new("rediss://host", "p") };
        assert!(missing.client().unwrap_err().to_string().contains("/nowhere.pem"));
    }
}
