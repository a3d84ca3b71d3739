//! The form in which an event of the gateway's goes through a broker: a CloudEvent that
//! everybody can read, with a header of context that only a server of the same key can
//! have made. So the principal of an event, and whether it may order, come from
//! whoever accepted it, and never from whoever can write to the broker.

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use orderwire_types::envelope::{Carried, from_carried, to_carried};
use orderwire_types::{Event, Fault};
use sha2::Sha256;

use crate::message::{Message, Received, To};

/// The header of what only Orderwire needs to know of an event.
pub const CONTEXT: &str = "orderwire-context";
/// The header of the signature of context and body: lower-case hex of HMAC-SHA256.
pub const SIGNATURE: &str = "orderwire-signature";

/// The key that the servers of one installation share.
#[derive(Clone)]
pub struct SigningKey([u8; 32]);

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

impl SigningKey {
    /// A key for this purpose alone, derived from a secret of the installation.
    pub fn derived_from(secret: &[u8]) -> Self {
        let mut mac = hmac(secret);
        mac.update(b"orderwire broker");
        Self(mac.finalize().into_bytes().into())
    }

    /// The message of an event that was accepted.
    pub fn message(&self, event: Event) -> Message {
        let (to, id, key) =
            (To::Type(event.event_type.clone()), event.id.to_string(), event.order_key().to_owned());
        let Carried { context, body } = to_carried(event);
        let signature = hex(&self.sign(&context, body.as_bytes()).finalize().into_bytes());
        Message {
            to,
            id,
            key: Some(key),
            content_type: "application/cloudevents+json",
            headers: vec![(CONTEXT.to_owned(), context), (SIGNATURE.to_owned(), signature)],
            body: Bytes::from(body),
        }
    }

    /// The event of a message that a server of this key made; `None`: it says of itself
    /// that it is another producer's.
    ///
    /// # Errors
    /// When it pretends to be of a server of this key, or is of a later version.
    pub fn event(&self, message: &Received) -> Option<Result<Event, Fault>> {
        let context = message.header(CONTEXT)?;
        let signature = message.header(SIGNATURE).and_then(unhex).unwrap_or_default();
        if self.sign(context, &message.body).verify_slice(&signature).is_err() {
            let detail = "the signature of its header is not one of this installation, and other producers send \
                 no header of Orderwire's";
            return Some(Err(Fault::invalid("", detail)));
        }
        Some(from_carried(context, &message.body))
    }

    fn sign(&self, context: &str, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = hmac(&self.0);
        mac.update(&(context.len() as u64).to_be_bytes());
        mac.update(context.as_bytes());
        mac.update(body);
        mac
    }
}

fn hmac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().as_chunks::<2>();
    if !digits.1.is_empty() || digits.0.len() > 32 {
        return None;
    }
    digits.0.iter().map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use orderwire_types::{Data, EventId, Origin, RawJson, TraceId};

    use super::*;
    use crate::message::Tag;

    fn event() -> Event {
        let id = "6f72d1c6-8c0f-5f3d-9a55-6576656e742e".parse().unwrap();
        Event {
            id: EventId(id),
            event_type: "a.b".parse().unwrap(),
            source: "/s".to_owned(),
            client: "acme".parse().unwrap(),
            key: None,
            time: None,
            trace: TraceId::from_uuid(id),
            attempt: None,
            cause: None,
            accepted_at: "2026-01-01T00:00:00Z".parse().unwrap(),
            principal: "key:1".to_owned(),
            may_order: true,
            depth: 7,
            import: None,
            origin: Origin::Plain,
            data: Data::Json(RawJson::parse(r#"{"client":"acme","n":9007199254740993}"#.to_owned()).unwrap()),
        }
    }

    fn received(message: &Message) -> Received {
        Received {
            tag: Tag(1),
            id: Some(message.id.clone()),
            event_type: None,
            content_type: Some(message.content_type.to_owned()),
            headers: message.headers.clone(),
            body: message.body.clone(),
            redelivered: false,
        }
    }

    #[test]
    fn only_a_server_of_the_same_key_speaks_for_a_principal() {
        let key = SigningKey::derived_from(b"one");
        let event = event();
        let message = key.message(event.clone());
        assert_eq!(key.event(&received(&message)).unwrap().unwrap(), event);
        assert_eq!(SigningKey::derived_from(b"one").event(&received(&message)).unwrap().unwrap(), event);
        assert!(SigningKey::derived_from(b"two").event(&received(&message)).unwrap().is_err());

        let mut other_body = received(&message);
        other_body.body =
            Bytes::from(String::from_utf8(message.body.to_vec()).unwrap().replace("acme", "evil"));
        assert_ne!(other_body.body, message.body);
        let mut other_context = received(&message);
        let other = key.message(Event { principal: "key:2".to_owned(), ..event.clone() });
        other_context.headers[0].1 = other.headers[0].1.clone();
        let mut unsigned = received(&message);
        unsigned.headers.remove(1);
        for forged in [other_body, other_context, unsigned] {
            assert!(key.event(&forged).unwrap().is_err());
        }
        let mut foreign = received(&message);
        foreign.headers.clear();
        assert!(key.event(&foreign).is_none());
    }
}
