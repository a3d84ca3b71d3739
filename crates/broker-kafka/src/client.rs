//! How clients of the library are made, and what they tell of themselves.

use std::sync::Arc;

use orderwire_broker::{Error, ErrorKind, HEADER_BYTES_MAX};
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use tokio::sync::{Notify, watch};

use crate::error;
use crate::options::Options;

/// What a record has beside body and headers, with room.
const RECORD_BYTES: usize = 16 << 10;

/// The largest record that is published, in bytes.
pub(crate) fn record_bytes_max(options: &Options) -> usize {
    options.body_bytes_max + HEADER_BYTES_MAX + RECORD_BYTES
}

/// What all clients have.
pub(crate) fn config(options: &Options) -> ClientConfig {
    let millis = |time: std::time::Duration| time.as_millis().to_string();
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", options.servers.join(","))
        .set("client.id", &options.name)
        .set("socket.timeout.ms", millis(options.timeout))
        .set("socket.connection.setup.timeout.ms", millis(options.timeout))
        .set("socket.keepalive.enable", "true")
        .set("reconnect.backoff.ms", millis(options.pause_first))
        .set("reconnect.backoff.max.ms", millis(options.pause_last))
        .set("message.max.bytes", record_bytes_max(options).to_string())
        .set("allow.auto.create.topics", "false")
        // A topic that a server does not know yet is not taken for missing at once.
        .set("topic.metadata.propagation.max.ms", "2000")
        // What is not found is looked for again soon.
        .set("topic.metadata.refresh.fast.interval.ms", "100")
        .set_log_level(RDKafkaLogLevel::Warning);
    let protocol = match (&options.tls, &options.login) {
        (None, None) => "plaintext",
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    };
    config.set("security.protocol", protocol);
    if let Some(tls) = &options.tls {
        let files = [
            ("ssl.ca.location", tls.ca_file.as_ref()),
            ("ssl.certificate.location", tls.identity.as_ref().map(|own| &own.certificate_file)),
            ("ssl.key.location", tls.identity.as_ref().map(|own| &own.key_file)),
        ];
        for (setting, file) in files {
            if let Some(file) = file {
                config.set(setting, file.to_string_lossy());
            }
        }
    }
    if let Some(login) = &options.login {
        config
            .set("sasl.mechanism", login.mechanism.as_str())
            .set("sasl.username", &login.user)
            .set("sasl.password", login.password.expose());
    }
    config
}

/// What a client tells of itself.
#[derive(Clone)]
pub(crate) struct Watch {
    /// Told when it may not be connected any more.
    pub(crate) suspect: Arc<Notify>,
    last: watch::Sender<Option<Told>>,
}

/// What it was last told.
struct Told {
    error: Error,
    /// Whether that does not pass by itself.
    is_refusal: bool,
}

impl Watch {
    pub(crate) fn new(suspect: Arc<Notify>) -> Self {
        Self { suspect, last: watch::Sender::default() }
    }

    /// Why it is not connected, as far as that was told.
    pub(crate) fn last(&self) -> Option<Error> {
        self.last.borrow().as_ref().map(|told| told.error.clone())
    }

    /// Waits until it is told that it cannot be connected.
    pub(crate) async fn refused(&self) {
        let is_refusal = |told: &Option<Told>| told.as_ref().is_some_and(|told| told.is_refusal);
        if self.last.subscribe().wait_for(is_refusal).await.is_err() {
            // Nobody can tell any more.
            std::future::pending::<()>().await;
        }
    }
}

impl ClientContext for Watch {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        tracing::debug!(%error, reason, "the client of the broker tells of an error");
        let is_refusal = code.is_some_and(is_refusal);
        let told = Error::new(code.map_or(ErrorKind::Unavailable, error::kind), reason);
        // Behind the reason for a refusal it is told again in fewer words, and that all servers are away.
        self.last.send_if_modified(|last| {
            let is_news = last.as_ref().is_none_or(|last| !last.is_refusal);
            if is_news {
                *last = Some(Told { error: told, is_refusal });
            }
            is_news
        });
        if code.is_some_and(is_end) {
            self.suspect.notify_one();
        }
    }
}

/// Whether somebody has to change something before it passes.
fn is_refusal(code: Code) -> bool {
    matches!(code, Code::Authentication | Code::SaslAuthenticationFailed | Code::SSL)
}

/// Whether nothing goes on after it, unless somebody looks after it.
pub(crate) fn is_end(code: Code) -> bool {
    matches!(code, Code::AllBrokersDown | Code::Fatal) || is_refusal(code)
}

/// What the library logs: each failed attempt to connect, therefore not for everybody.
pub(crate) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(facility, message, "the client library of the broker");
        }
        _ => tracing::debug!(facility, message, "the client library of the broker"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_of_a_connection_reaches_the_library() {
        use orderwire_broker::{Identity, Tls};
        let mut options = Options::from_url("kafkas://ada:s%40fe@k1:9093,k2/?sasl=SCRAM-SHA-256").unwrap();
        let identity =
            Identity { certificate_file: "own.pem".to_owned().into(), key_file: "own.key".to_owned().into() };
        options.tls = Some(Tls { ca_file: Some("ca.pem".to_owned().into()), identity: Some(identity) });
        let made = config(&options);
        for (setting, value) in [
            ("bootstrap.servers", "k1:9093,k2:9092"),
            ("security.protocol", "sasl_ssl"),
            ("ssl.ca.location", "ca.pem"),
            ("ssl.certificate.location", "own.pem"),
            ("ssl.key.location", "own.key"),
            ("sasl.mechanism", "SCRAM-SHA-256"),
            ("sasl.username", "ada"),
            ("sasl.password", "s@fe"),
        ] {
            assert_eq!(made.get(setting), Some(value), "{setting}");
        }
    }

    #[test]
    fn what_is_not_asked_for_is_left_to_the_library() {
        for (url, protocol) in
            [("kafka://k", "plaintext"), ("kafkas://k", "ssl"), ("kafka://ada:secret@k", "sasl_plaintext")]
        {
            let made = config(&Options::from_url(url).unwrap());
            assert_eq!(made.get("security.protocol"), Some(protocol), "{url}");
            for setting in ["ssl.ca.location", "ssl.certificate.location", "ssl.key.location"] {
                assert_eq!(made.get(setting), None, "{url}: {setting}");
            }
        }
    }
}
