//! The text of a key.

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The length of the public part.
pub(crate) const ID_DIGITS: usize = 16;

/// A key's text, cut into its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyText<'k> {
    /// The public part.
    pub(crate) id: &'k str,
    /// The secret part.
    pub(crate) secret: &'k str,
}

impl<'k> KeyText<'k> {
    /// Cuts a text; `None` when it is no key of ours.
    pub(crate) fn parse(text: &'k str) -> Option<Self> {
        let (id, secret) = text.strip_prefix("ow_")?.split_once('_')?;
        let hex =
            |part: &str, len: usize| part.len() == len && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        (hex(id, ID_DIGITS) && hex(secret, 64)).then_some(Self { id, secret })
    }
}

/// A new id and secret, from the system's source of randomness.
pub(crate) fn generate() -> (String, String) {
    let mut id = Uuid::new_v4().simple().to_string();
    id.truncate(ID_DIGITS);
    let secret = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    (id, secret)
}

/// The text of a key.
pub(crate) fn join(id: &str, secret: &str) -> String {
    format!("ow_{id}_{secret}")
}

/// What is stored of a secret.
pub(crate) fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_back_and_nothing_else() {
        let (id, secret) = generate();
        let text = join(&id, &secret);
        assert_eq!(KeyText::parse(&text), Some(KeyText { id: &id, secret: &secret }));
        for bad in
            ["", "ow__", &text[1..], &text[..text.len() - 1], &format!("{text}0"), &text.replace('_', "-")]
        {
            assert_eq!(KeyText::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn keys_differ() {
        assert_ne!(generate(), generate());
    }
}
