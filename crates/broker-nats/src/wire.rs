//! A message as the server carries it.

use async_nats::header::{HeaderMap, HeaderName, HeaderValue};
use orderwire_broker::{Error, ErrorKind, HEADER_BYTES_MAX, Message};

use crate::subject::message_id;

/// The name by which the server drops repetitions.
const ID: &str = "Nats-Msg-Id";
const CONTENT_TYPE: &str = "Content-Type";
/// What the server and its clients tell each other about a message.
const OF_THE_SERVER: &str = "Nats-";

/// What stands around each header, and around all of them.
const AROUND_ONE: usize = ": \r\n".len();
const AROUND_ALL: usize = "NATS/1.0\r\n\r\n".len();
/// The most that a stream takes of headers, with what stands around them.
const HEADER_BLOCK_MAX: usize = (64 << 10) - 1;

/// The largest body that goes through with the largest headers, for a server that takes so
/// many bytes in all.
pub(crate) fn body_bytes_max(max_payload: usize) -> usize {
    // A server that takes next to nothing takes at least half of it as body.
    max_payload.saturating_sub(HEADER_BLOCK_MAX).max(max_payload / 2)
}

/// The headers of a message.
///
/// # Errors
/// `TooLarge`: the server cannot take it. `Unsupported`: a header is none.
pub(crate) fn headers(message: &Message, max_payload: usize) -> Result<HeaderMap, Error> {
    let too_large = |what: String| Err(Error::new(ErrorKind::TooLarge, what));
    let body_max = body_bytes_max(max_payload);
    if message.body.len() > body_max {
        let bytes = message.body.len();
        return too_large(format!("publish: the body has {bytes} bytes, NATS takes {body_max} at most"));
    }
    if message.header_bytes() > HEADER_BYTES_MAX {
        return too_large(format!("publish: the headers have over {HEADER_BYTES_MAX} bytes"));
    }
    let mut headers = HeaderMap::new();
    let mut block = AROUND_ALL;
    let mut add = |name: &str, value: &str| {
        let (Ok(header), Ok(said)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) else {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "publish: a header has a name or value that is none",
            ));
        };
        headers.append(header, said);
        block += name.len() + value.len() + AROUND_ONE;
        Ok(())
    };
    add(ID, &message_id(&message.to, &message.id))?;
    add(CONTENT_TYPE, message.content_type)?;
    for (name, value) in &message.headers {
        add(name, value)?;
    }
    if block > HEADER_BLOCK_MAX || block + message.body.len() > max_payload {
        return too_large(format!(
            "publish: headers of {block} bytes with a body of {} bytes, NATS takes {HEADER_BLOCK_MAX} and \
             {max_payload} together",
            message.body.len()
        ));
    }
    Ok(headers)
}

/// What the headers of a message say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// The name of the message for the server.
    pub(crate) id: Option<String>,
    pub(crate) content_type: Option<String>,
    /// The others, with their names in lower case, in the order of these.
    pub(crate) others: Vec<(String, String)>,
}

/// Reads the headers of a message.
pub(crate) fn said(headers: Option<&HeaderMap>) -> Said {
    let mut said = Said::default();
    let all = headers.into_iter().flat_map(HeaderMap::iter);
    for (name, values) in all {
        let name = name.to_string();
        for value in values {
            let value = value.as_str().to_owned();
            if name == ID {
                said.id = Some(value).filter(|id| !id.is_empty());
            } else if name.eq_ignore_ascii_case(CONTENT_TYPE) {
                said.content_type = Some(value);
            } else if !name.starts_with(OF_THE_SERVER) {
                said.others.push((name.to_ascii_lowercase(), value));
            }
        }
    }
    said.others.sort();
    said
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use orderwire_broker::To;

    use super::*;

    const MIB: usize = 1 << 20;

    fn message(body: usize, headers: &[(&str, &str)]) -> Message {
        Message {
            to: To::Type("a.b".parse().unwrap()),
            id: "id-1".to_owned(),
            key: None,
            content_type: "application/json",
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            body: Bytes::from(vec![0; body]),
        }
    }

    #[test]
    fn headers_come_back_as_they_were() {
        let given = [("b", "1 2"), ("a", "3"), ("a", ""), ("nats-like", "x")];
        let sent = headers(&message(0, &given), MIB).unwrap();
        let mut others: Vec<_> =
            given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        others.sort();
        let (id, content_type) = (Some("id-1".to_owned()), Some("application/json".to_owned()));
        assert_eq!(said(Some(&sent)), Said { id, content_type, others });
        assert_eq!(said(None), Said::default());
    }

    #[test]
    fn what_the_server_adds_is_no_header_of_the_message() {
        let mut sent = HeaderMap::new();
        sent.insert("Nats-Expected-Stream", "ORDERWIRE");
        sent.insert("Trace", "1");
        assert_eq!(said(Some(&sent)).others, [("trace".to_owned(), "1".to_owned())]);
    }

    #[test]
    fn what_the_server_cannot_take_is_too_large() {
        let kind = |message: &Message, max| headers(message, max).map_err(|error| error.kind()).err();
        let largest = body_bytes_max(MIB);
        assert_eq!(kind(&message(largest, &[]), MIB), None);
        assert_eq!(kind(&message(largest + 1, &[]), MIB), Some(ErrorKind::TooLarge));
        let long = "v".repeat(HEADER_BYTES_MAX - 1);
        assert_eq!(kind(&message(largest, &[("h", &long)]), MIB), None);
        assert_eq!(kind(&message(0, &[("hh", &long)]), MIB), Some(ErrorKind::TooLarge));
        // Many small ones take more than their letters.
        let many = vec![("h", ""); 60_000];
        assert_eq!(kind(&message(largest, &many), MIB), Some(ErrorKind::TooLarge));
        assert_eq!(kind(&message(0, &[("h", "a\r\nb: c")]), MIB), Some(ErrorKind::Unsupported));
        // A server that takes very little.
        assert_eq!(kind(&message(body_bytes_max(16 << 10) + 1, &[]), 16 << 10), Some(ErrorKind::TooLarge));
        let some = "v".repeat(9 << 10);
        assert_eq!(kind(&message(8 << 10, &[("h", &some)]), 16 << 10), Some(ErrorKind::TooLarge));
    }
}
