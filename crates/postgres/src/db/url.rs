//! What a URL says.

use std::path::PathBuf;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use url::Url;

use super::Options;
use super::tls::{Settings, Trust};
use crate::error::{Error, ErrorKind};

/// The settings in a URL. Those of certificates are ours: the library knows nothing of them.
///
/// # Errors
/// `Refused`: it is none, or says what is not known. The message holds nothing of the URL
/// that could be a password.
pub(super) fn parse(options: &Options) -> Result<(Config, Settings), Error> {
    let mut url = Url::parse(&options.url).map_err(|error| refused(&format!("{error}")))?;
    if !matches!(url.scheme(), "postgres" | "postgresql") {
        return Err(refused("it does not begin with postgres://"));
    }
    let mut settings = Settings {
        trust: Trust::Anything,
        roots: options.ca_file.clone(),
        identity: options.identity.clone(),
    };
    let mut mode = SslMode::Prefer;
    if settings.roots.is_some() {
        // Who names whom to trust wants nobody else.
        (mode, settings.trust) = (SslMode::Require, Trust::IssuerAndName);
    }
    let mut others = Vec::new();
    for (key, value) in url.query_pairs() {
        match (&*key, &*value) {
            ("sslmode", "disable") => (mode, settings.trust) = (SslMode::Disable, Trust::Anything),
            ("sslmode", "prefer") => (mode, settings.trust) = (SslMode::Prefer, Trust::Anything),
            ("sslmode", "require") => (mode, settings.trust) = (SslMode::Require, Trust::Anything),
            ("sslmode", "verify-ca") => (mode, settings.trust) = (SslMode::Require, Trust::Issuer),
            ("sslmode", "verify-full") => (mode, settings.trust) = (SslMode::Require, Trust::IssuerAndName),
            ("sslmode", _) => {
                return Err(refused("sslmode is disable, prefer, require, verify-ca or verify-full"));
            }
            ("sslrootcert", file) => settings.roots = Some(PathBuf::from(file)),
            (key @ ("sslcert" | "sslkey" | "sslcrl"), _) => {
                return Err(refused(&format!("{key} is not supported")));
            }
            _ => others.push((key.into_owned(), value.into_owned())),
        }
    }
    // As libpq does: who names whom to trust wants it looked at.
    if settings.roots.is_some() && settings.trust == Trust::Anything && mode == SslMode::Require {
        settings.trust = Trust::Issuer;
    }
    if mode == SslMode::Disable && (settings.roots.is_some() || settings.identity.is_some()) {
        return Err(refused("sslmode=disable encrypts nothing, so that certificates have no effect"));
    }
    url.set_query(None);
    let encode = |text: &str| {
        url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
    };
    let query: Vec<_> =
        others.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect();
    let plain = if query.is_empty() { url.to_string() } else { format!("{url}?{}", query.join("&")) };
    let mut config: Config = plain.parse().map_err(|error: tokio_postgres::Error| {
        // The library names the parameter, never a value.
        refused(&std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string))
    })?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err(refused("it names no host"));
    }
    config.ssl_mode(mode);
    Ok((config, settings))
}

/// Hosts, port and database, for people.
pub(super) fn place(config: &Config) -> String {
    let ports = config.get_ports();
    let port = |index: usize| ports.get(index).or(ports.first()).copied().unwrap_or(5432);
    let hosts: Vec<_> = config
        .get_hosts()
        .iter()
        .enumerate()
        .map(|(index, host)| match host {
            Host::Tcp(name) => format!("{name}:{}", port(index)),
            #[cfg(unix)]
            Host::Unix(folder) => format!("{}:{}", folder.display(), port(index)),
        })
        .collect();
    let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
    format!("postgres://{}/{database}", hosts.join(","))
}

fn refused(why: &str) -> Error {
    let form = "postgres://USER@HOST:PORT/DATABASE";
    Error::new(ErrorKind::Refused, format!("the URL of the database cannot be used ({why}): write {form}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<(Config, Settings), Error> {
        super::parse(&Options::new(url))
    }

    #[test]
    fn ssl_settings_are_read_and_the_rest_is_handed_on() {
        let url = "postgres://u:p%40ss@h:5433/d?sslmode=verify-full&sslrootcert=/ca.pem&connect_timeout=3&options=-c%20a%3Db";
        let (config, settings) = parse(url).unwrap();
        assert_eq!(
            settings,
            Settings { trust: Trust::IssuerAndName, roots: Some("/ca.pem".into()), identity: None }
        );
        assert_eq!(config.get_ssl_mode(), SslMode::Require);
        assert_eq!(config.get_password(), Some(b"p@ss".as_slice()));
        assert_eq!(config.get_options(), Some("-c a=b"));
        assert_eq!(place(&config), "postgres://h:5433/d");
    }

    #[test]
    fn a_root_makes_require_look_at_the_issuer() {
        let (_, settings) = parse("postgres://u@h/d?sslmode=require&sslrootcert=/ca.pem").unwrap();
        assert_eq!(settings.trust, Trust::Issuer);
        let (config, settings) = parse("postgres://u@h/d").unwrap();
        assert_eq!((config.get_ssl_mode(), settings.trust), (SslMode::Prefer, Trust::Anything));
    }

    #[test]
    fn whoever_names_whom_to_trust_wants_the_server_checked_unless_the_url_says_otherwise() {
        let options = |url: &str| Options { ca_file: Some("/ca.pem".into()), ..Options::new(url) };
        let trust = |url: &str| {
            super::parse(&options(url)).map(|(config, settings)| (config.get_ssl_mode(), settings.trust))
        };
        assert_eq!(trust("postgres://u@h/d").unwrap(), (SslMode::Require, Trust::IssuerAndName));
        assert_eq!(trust("postgres://u@h/d?sslmode=verify-ca").unwrap(), (SslMode::Require, Trust::Issuer));
        let disabled = trust("postgres://u@h/d?sslmode=disable").unwrap_err();
        assert!(disabled.to_string().contains("encrypts nothing"), "{disabled}");
    }

    #[test]
    fn what_is_no_url_of_a_database_is_refused_without_its_password() {
        for url in [
            "sqlite://x",
            "postgres://u:secret@h:notaport/d",
            "postgres://u:secret@h/d?sslmode=perhaps",
            "postgres://u:secret@h/d?unheard=of",
            "postgres:///d?user=u",
            "secret",
        ] {
            let error = parse(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Refused, "{url}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
