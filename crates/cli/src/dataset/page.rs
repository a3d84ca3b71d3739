//! Rows as the server answers them, line by line, taken apart without touching a digit.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The hidden column that pages go by.
pub(super) const SEQ: &str = "_seq";
/// The longest line: more than any server answers for one row.
const LINE_MAX: usize = 256 << 20;

/// The members of a JSON object, in order, each value as it is written.
#[derive(Debug)]
pub(super) struct Members<'a>(pub(super) Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    members.push((name, map.next_value()?));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// A member's name, borrowed unless it is written with escapes.
#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// A row of an answer: its `_seq`, and its other members.
#[derive(Debug)]
pub(super) struct Row<'a> {
    pub(super) seq: i64,
    pub(super) members: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Row<'a> {
    pub(super) fn read(line: &'a str) -> Result<Self, String> {
        let Members(mut members) = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let at = members.iter().position(|(name, _)| name == SEQ).ok_or("it has no _seq")?;
        let (_, seq) = members.remove(at);
        let seq = seq.get().parse().map_err(|_| format!("{} is no {SEQ}", seq.get()))?;
        Ok(Self { seq, members })
    }

    /// The member of this name; `at` is where it should stand.
    pub(super) fn value(&self, at: usize, name: &str) -> Option<&'a RawValue> {
        let there = self.members.get(at).filter(|(known, _)| known == name);
        there.or_else(|| self.members.iter().find(|(known, _)| known == name)).map(|(_, value)| *value)
    }
}

/// The lines of bytes that come in pieces.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// The beginning of a line whose end has not come.
    rest: Vec<u8>,
}

impl Lines {
    /// Calls `each` with every line that this piece completes.
    pub(super) fn push(
        &mut self,
        mut piece: &[u8],
        mut each: impl FnMut(&str) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut line = |bytes: &[u8]| match std::str::from_utf8(bytes) {
            Ok(text) if text.trim().is_empty() => Ok(()),
            Ok(text) => each(text),
            Err(_) => Err("a line is not UTF-8".to_owned()),
        };
        while let Some(at) = piece.iter().position(|byte| *byte == b'\n') {
            if self.rest.is_empty() {
                line(&piece[..at])?;
            } else {
                self.rest.extend_from_slice(&piece[..at]);
                let whole = std::mem::take(&mut self.rest);
                line(&whole)?;
            }
            piece = &piece[at + 1..];
        }
        if self.rest.len() + piece.len() > LINE_MAX {
            return Err("a line is longer than any row".to_owned());
        }
        self.rest.extend_from_slice(piece);
        Ok(())
    }

    /// Bytes that are held.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.rest.capacity()
    }

    /// Forgets a line whose end will not come.
    pub(super) fn clear(&mut self) {
        self.rest = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_lose_the_hidden_column_and_keep_every_digit() {
        let row = Row::read(r#"{"a":9007199254740993,"b":1.10,"_seq":7,"\u00e9":{"x":[1.0e5]}}"#).unwrap();
        assert_eq!(row.seq, 7);
        let members: Vec<_> = row.members.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(members, ["a=9007199254740993", "b=1.10", r#"é={"x":[1.0e5]}"#]);
        assert_eq!(row.value(0, "b").unwrap().get(), "1.10");
        assert!(row.value(0, "c").is_none());
    }

    #[test]
    fn lines_come_whole_however_they_are_cut() {
        let text = "{\"a\":1}\n\n{\"b\":\"ä\"}\r\n{\"c\":3}\n{\"rest";
        for size in 1..text.len() {
            let (mut lines, mut found) = (Lines::default(), Vec::new());
            for piece in text.as_bytes().chunks(size) {
                lines
                    .push(piece, |line| {
                        found.push(line.trim().to_owned());
                        Ok(())
                    })
                    .unwrap();
            }
            assert_eq!(found, ["{\"a\":1}", "{\"b\":\"ä\"}", "{\"c\":3}"], "{size}");
            assert!(lines.held() >= 6);
            lines.clear();
            assert_eq!(lines.held(), 0);
        }
    }

    #[test]
    fn what_is_no_row_is_refused() {
        for wrong in ["[]", "{}", r#"{"_seq":"x"}"#, r#"{"_seq":1.5}"#, "{"] {
            assert!(Row::read(wrong).is_err(), "{wrong}");
        }
        assert!(Lines::default().push(b"\xff\n", |_| Ok(())).is_err());
    }
}
