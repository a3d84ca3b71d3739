//! What RabbitMQ and the client library say, in the words of the contract.

use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use orderwire_broker::{Error, ErrorKind};

/// The error of a connection that could not be made, or ended.
pub(crate) fn of_connection(place: &str, error: &lapin::Error) -> Error {
    let kind = match error.kind() {
        lapin::ErrorKind::InvalidProtocolVersion(_) => ErrorKind::Unsupported,
        lapin::ErrorKind::AuthProviderError(_) => ErrorKind::Refused,
        _ => match said(error) {
            Some(AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED))
            | Some(AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED)) => ErrorKind::Refused,
            _ => ErrorKind::Unavailable,
        },
    };
    Error::new(kind, format!("connection to {place}: {error}"))
}

/// The error of a call that changed nothing.
pub(crate) fn of_call(what: &str, error: &lapin::Error) -> Error {
    let kind = match said(error) {
        Some(AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED))
        | Some(AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED)) => ErrorKind::Refused,
        Some(AMQPErrorKind::Soft(
            AMQPSoftError::NOTFOUND | AMQPSoftError::PRECONDITIONFAILED | AMQPSoftError::RESOURCELOCKED,
        )) => ErrorKind::Conflict,
        Some(AMQPErrorKind::Hard(AMQPHardError::NOTIMPLEMENTED)) => ErrorKind::Unsupported,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, format!("{what}: {error}"))
}

/// The error of a message that was sent, and whose confirm does not come any more.
pub(crate) fn of_unconfirmed(id: &str, error: &lapin::Error) -> Error {
    let kind = match said(error) {
        Some(AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED)) => ErrorKind::Refused,
        _ => ErrorKind::Unconfirmed,
    };
    Error::new(kind, format!("publish message {id}: {error}"))
}

/// Whether the server said that there is no such thing.
pub(crate) fn is_not_found(error: &lapin::Error) -> bool {
    said(error) == Some(&AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND))
}

/// Whether the server said that what is there has other arguments.
pub(crate) fn is_other(error: &lapin::Error) -> bool {
    said(error) == Some(&AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED))
}

/// The largest body, in bytes, that the server takes, where it said so because it got a larger one.
pub(crate) fn largest(error: &lapin::Error) -> Option<usize> {
    let lapin::ErrorKind::ProtocolError(error) = error.kind() else { return None };
    if *error.kind() != AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) {
        return None;
    }
    // `message size 2000000 is larger than configured max size 1000000`
    let text = error.get_message().as_str();
    let (_, most) = text.split_once("message size ")?.1.split_once(" max size ")?;
    most.split(|other: char| !other.is_ascii_digit()).next()?.parse().ok()
}

/// What the server itself said, if it was the server.
fn said(error: &lapin::Error) -> Option<&AMQPErrorKind> {
    match error.kind() {
        lapin::ErrorKind::ProtocolError(error) => Some(error.kind()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use lapin::protocol::AMQPError;

    use super::*;

    fn server(code: u16) -> lapin::Error {
        let said = AMQPError::from_id(code, "said so".into()).unwrap();
        lapin::ErrorKind::ProtocolError(said).into()
    }

    #[test]
    fn what_is_too_large_for_the_server_is_read_from_what_it_says() {
        let said = |code: u16, text: &str| {
            largest(&lapin::ErrorKind::ProtocolError(AMQPError::from_id(code, text.into()).unwrap()).into())
        };
        let text = "PRECONDITION_FAILED - message size 2000000 is larger than configured max size 1048576";
        assert_eq!(said(406, text), Some(1_048_576));
        assert_eq!(said(406, "message size 9 is larger than max size 8, as it is"), Some(8));
        for other in ["", "message size 9", "message size 9 larger than max size", "max size 7"] {
            assert_eq!(said(406, other), None, "{other}");
        }
        assert_eq!(said(404, text), None);
    }

    #[test]
    fn what_the_server_says_has_one_meaning_each() {
        for (code, kind) in [
            (403, ErrorKind::Refused),
            (404, ErrorKind::Conflict),
            (405, ErrorKind::Conflict),
            (406, ErrorKind::Conflict),
            (320, ErrorKind::Unavailable),
            (530, ErrorKind::Refused),
            (540, ErrorKind::Unsupported),
            (541, ErrorKind::Unavailable),
        ] {
            let error = of_call("declare queue q", &server(code));
            assert_eq!(error.kind(), kind, "{code}");
            assert!(
                error.to_string().starts_with("declare queue q: ") && error.to_string().ends_with("said so")
            );
        }
    }

    #[test]
    fn a_login_that_fails_is_refused_and_a_server_that_goes_is_away() {
        assert_eq!(of_connection("amqp://h:1", &server(403)).kind(), ErrorKind::Refused);
        assert_eq!(of_connection("amqp://h:1", &server(530)).kind(), ErrorKind::Refused);
        assert_eq!(of_connection("amqp://h:1", &server(320)).kind(), ErrorKind::Unavailable);
    }

    #[test]
    fn what_was_sent_and_is_not_confirmed_is_unknown() {
        assert_eq!(of_unconfirmed("m", &server(320)).kind(), ErrorKind::Unconfirmed);
        assert_eq!(of_unconfirmed("m", &server(404)).kind(), ErrorKind::Unconfirmed);
        assert_eq!(of_unconfirmed("m", &server(403)).kind(), ErrorKind::Refused);
    }
}
