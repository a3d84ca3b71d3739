//! Messages as records of Kafka, and back.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use orderwire_broker::{Message, Received, Tag, To};
use rdkafka::message::{BorrowedMessage, Header, Headers, Message as _, OwnedHeaders};
use sha2::{Digest, Sha256};

use crate::ledger::Mark;

/// The header of the message's name. With `_`, which no header of a message has.
const ID: &str = "orderwire_id";
/// The header of the type that it was published by.
const TYPE: &str = "orderwire_type";
/// The header of the media type, as the CloudEvents binding for Kafka has it.
const CONTENT_TYPE: &str = "content-type";

/// The headers of a message's record.
pub(crate) fn headers(message: &Message) -> OwnedHeaders {
    let mut headers = OwnedHeaders::new_with_capacity(message.headers.len() + 3);
    let mut insert = |key: &str, value: &str| {
        let made = std::mem::take(&mut headers);
        headers = made.insert(Header { key, value: Some(value) });
    };
    insert(ID, &message.id);
    insert(CONTENT_TYPE, message.content_type);
    if let To::Type(event_type) = &message.to {
        insert(TYPE, event_type.as_str());
    }
    for (name, value) in &message.headers {
        insert(name, value);
    }
    headers
}

/// A record in the words of the contract; its tag and whether it came before are its
/// consumer's to know.
pub(crate) fn received(record: &BorrowedMessage<'_>) -> Received {
    let mut received = Received {
        tag: Tag(0),
        id: None,
        event_type: None,
        content_type: None,
        headers: Vec::new(),
        body: Bytes::copy_from_slice(record.payload().unwrap_or_default()),
        redelivered: false,
    };
    let Some(headers) = record.headers() else { return received };
    for index in 0..headers.count() {
        // The library panics at a name that is no UTF-8, which anybody may write.
        let header = catch_unwind(AssertUnwindSafe(|| headers.try_get(index))).ok().flatten();
        let Some(Header { key, value: Some(value) }) = header else { continue };
        let Ok(value) = std::str::from_utf8(value) else { continue };
        let text = value.to_owned();
        match key {
            ID => received.id = Some(text),
            TYPE => received.event_type = Some(text),
            _ if key.eq_ignore_ascii_case(CONTENT_TYPE) => received.content_type = Some(text),
            _ => received.headers.push((key.to_ascii_lowercase(), text)),
        }
    }
    received
}

/// What a record is known again by: its offset, and what follows from its time, key and body.
pub(crate) fn mark(record: &BorrowedMessage<'_>) -> Mark {
    let mut hash = Sha256::new();
    hash.update(record.timestamp().to_millis().unwrap_or_default().to_be_bytes());
    for part in [record.key(), record.payload()] {
        let part = part.unwrap_or_default();
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let face = hash.finalize().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    Mark { offset: record.offset(), face }
}
