//! What Kafka and the client library say, in the words of the contract.

use std::time::Duration;

use orderwire_broker::{Error, ErrorKind};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

/// The error of a call that changed nothing.
pub(crate) fn of_call(what: &str, error: &KafkaError) -> Error {
    let kind = code(error).map_or(ErrorKind::Unavailable, kind);
    Error::new(kind, format!("{what}: {}", said(error)))
}

/// The error of a message that was given to the client library.
pub(crate) fn of_message(id: &str, topic: &str, error: &KafkaError) -> Error {
    let kind = match code(error) {
        // Nothing left us, or a server said that it took nothing.
        Some(Code::QueueFull | Code::PurgeQueue | Code::NotEnoughReplicas) => ErrorKind::Unavailable,
        Some(code) if is_missing(code) => ErrorKind::Unroutable,
        Some(code) => match kind(code) {
            ErrorKind::Unavailable => ErrorKind::Unconfirmed,
            other => other,
        },
        None => ErrorKind::Unconfirmed,
    };
    Error::new(kind, format!("publish message {id} to {topic}: {}", said(error)))
}

/// The error of a call that the other side did not answer.
pub(crate) fn late(what: &str, within: Duration) -> Error {
    Error::late(what, within)
}

/// The end of everything, which somebody asked for.
pub(crate) fn closed() -> Error {
    Error::closed()
}

/// Whether there is no such topic, or partition of it.
pub(crate) fn is_missing(code: Code) -> bool {
    matches!(code, Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition)
}

/// What the cluster or the library said.
pub(crate) fn code(error: &KafkaError) -> Option<Code> {
    match error {
        // The library leaves these out.
        KafkaError::AdminOp(code) => Some(*code),
        other => other.rdkafka_error_code(),
    }
}

/// What a code means to a caller.
pub(crate) fn kind(code: Code) -> ErrorKind {
    match code {
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::SaslAuthenticationFailed
        | Code::Authentication
        | Code::PolicyViolation => ErrorKind::Refused,
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge => ErrorKind::TooLarge,
        Code::UnsupportedFeature
        | Code::UnsupportedVersion
        | Code::UnsupportedSASLMechanism
        | Code::InvalidConfig
        | Code::InvalidPartitions
        | Code::InvalidReplicationFactor
        | Code::InvalidTopic
        | Code::InvalidArgument => ErrorKind::Unsupported,
        _ => ErrorKind::Unavailable,
    }
}

/// The words for it, without the name of the call, which the library puts before.
fn said(error: &KafkaError) -> String {
    match (code(error), error) {
        (Some(code), _) => code.to_string(),
        // The value may be a password.
        (None, KafkaError::ClientConfig(_, why, key, _)) => format!("the setting {key}: {why}"),
        (None, other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_cluster_says_has_one_meaning_each() {
        for (code, kind) in [
            (Code::TopicAuthorizationFailed, ErrorKind::Refused),
            (Code::SaslAuthenticationFailed, ErrorKind::Refused),
            (Code::InvalidReplicationFactor, ErrorKind::Unsupported),
            (Code::AllBrokersDown, ErrorKind::Unavailable),
            (Code::CoordinatorNotAvailable, ErrorKind::Unavailable),
        ] {
            let error = of_call("declare queue q", &KafkaError::AdminOp(code));
            assert_eq!(error.kind(), kind, "{code:?}");
            assert!(error.to_string().starts_with("declare queue q: "), "{error}");
        }
    }

    #[test]
    fn what_was_sent_and_is_not_confirmed_is_unknown() {
        for (code, kind) in [
            (Code::MessageTimedOut, ErrorKind::Unconfirmed),
            (Code::PurgeInflight, ErrorKind::Unconfirmed),
            (Code::NotEnoughReplicasAfterAppend, ErrorKind::Unconfirmed),
            (Code::NotEnoughReplicas, ErrorKind::Unavailable),
            (Code::PurgeQueue, ErrorKind::Unavailable),
            (Code::MessageSizeTooLarge, ErrorKind::TooLarge),
            (Code::UnknownTopicOrPartition, ErrorKind::Unroutable),
            (Code::TopicAuthorizationFailed, ErrorKind::Refused),
        ] {
            assert_eq!(of_message("m", "t", &KafkaError::MessageProduction(code)).kind(), kind, "{code:?}");
        }
    }
}
