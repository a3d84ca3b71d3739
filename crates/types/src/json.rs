//! JSON that keeps its digits, and the guards against hostile documents.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// One JSON value kept as the producer wrote it, digit for digit.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RawJson(pub Box<RawValue>);

impl RawJson {
    /// Checks that `text` is one JSON value and keeps it.
    pub fn parse(text: String) -> Result<Self, serde_json::Error> {
        RawValue::from_string(text).map(Self)
    }

    /// The text as written, without surrounding white space.
    pub fn get(&self) -> &str {
        self.0.get()
    }

    /// A value serialised anew.
    ///
    /// # Errors
    /// When the value cannot be JSON, such as a map with keys that are no strings.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        serde_json::value::to_raw_value(value).map(Self)
    }
}

impl PartialEq for RawJson {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for RawJson {}

impl fmt::Debug for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.get())
    }
}

/// Whether no bracket nests deeper than `max` levels.
///
/// A scan of bytes without recursion, to be called before any parser that
/// recurses. It need not understand the document: brackets in strings do not
/// count, and an invalid document is refused by the parser afterwards.
pub fn nests_at_most(bytes: &[u8], max: usize) -> bool {
    let mut depth = 0usize;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'"' => at = end_of_string(bytes, at),
            b'[' | b'{' => {
                depth += 1;
                if depth > max {
                    return false;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    true
}

/// Behind the quotation mark that ends the string whose text begins at `from`; the end
/// when none does.
fn end_of_string(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        at += found;
        if bytes[at] == b'"' {
            return at + 1;
        }
        // Whatever is escaped ends nothing.
        at += 2;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_json_keeps_every_digit() {
        for text in
            ["9007199254740993", "5.122996", "1588114545387", "1.10", "\"-23.831520\"", "null", "1e400"]
        {
            assert_eq!(RawJson::parse(text.to_owned()).unwrap().get(), text);
        }
    }

    #[test]
    fn depth_is_counted_outside_strings_only() {
        assert!(nests_at_most(br#"{"a":"[[[[\"[[["}"#, 1));
        assert!(!nests_at_most(br#"{"a":"\\","b":[[1]]}"#, 2), "the string ends behind an escaped backslash");
        assert!(nests_at_most(br#"["[[["#, 1), "a string that never ends");
        assert!(nests_at_most(b"[\"[[[\\", 1), "nor an escape");
        assert!(!nests_at_most(b"[[1]]", 1));
        assert!(nests_at_most(b"[[1],[2]]", 2));
        assert!(!nests_at_most("[".repeat(10_000).as_bytes(), 64));
    }
}
