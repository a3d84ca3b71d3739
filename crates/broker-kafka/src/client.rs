//! How clients of the library are made, and what they tell of themselves.

use std::sync::Arc;

use orderwire_broker::{Error, ErrorKind, HEADER_BYTES_MAX};
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use tokio::sync::Notify;

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
    if let Some(file) = options.tls.as_ref().and_then(|tls| tls.ca_file.as_ref()) {
        config.set("ssl.ca.location", file.to_string_lossy());
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
    /// What it was last told, for the words of an error.
    last: Arc<std::sync::Mutex<Option<Error>>>,
}

impl Watch {
    pub(crate) fn new(suspect: Arc<Notify>) -> Self {
        Self { suspect, last: Arc::default() }
    }

    /// Why it is not connected, as far as that was told.
    pub(crate) fn last(&self) -> Option<Error> {
        self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

impl ClientContext for Watch {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        tracing::debug!(%error, reason, "the client of the broker tells of an error");
        let told = Error::new(code.map_or(ErrorKind::Unavailable, error::kind), reason);
        *self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(told);
        if code.is_some_and(is_end) {
            self.suspect.notify_one();
        }
    }
}

/// Whether nothing goes on after it, unless somebody looks after it.
pub(crate) fn is_end(code: Code) -> bool {
    matches!(
        code,
        Code::AllBrokersDown
            | Code::Fatal
            | Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::SSL
    )
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
