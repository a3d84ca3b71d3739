//! JSON objects read as names and raw values, and written from them.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

use crate::json::nests_at_most;
use crate::limits::Limits;
use crate::problem::Fault;

/// The longest text of an envelope member (id, source, key, trace …), in bytes.
pub(super) const TEXT_BYTES_MAX: usize = 1024;

/// Checks size, encoding and nesting of a document, before anything parses it.
pub(super) fn checked<'a>(body: &'a [u8], limits: &Limits) -> Result<&'a str, Fault> {
    if body.len() > limits.event_bytes {
        return Err(Fault::too_large(
            "",
            format!("the event has {} bytes, at most {} are taken", body.len(), limits.event_bytes),
        ));
    }
    let text = std::str::from_utf8(body).map_err(|err| Fault::malformed(format!("not UTF-8: {err}")))?;
    check_depth(text, limits)?;
    Ok(text)
}

/// Refuses nesting beyond the limit.
pub(super) fn check_depth(text: &str, limits: &Limits) -> Result<(), Fault> {
    if nests_at_most(text.as_bytes(), limits.json_depth) {
        Ok(())
    } else {
        Err(Fault::invalid("", format!("nested deeper than {} levels", limits.json_depth)))
    }
}

/// The members of an object in their order, duplicates included.
pub(crate) struct Members<'a>(pub(crate) Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    /// Reads an object; `pointer` says where it is.
    pub(crate) fn parse(text: &'a str, pointer: &str) -> Result<Self, Fault> {
        serde_json::from_str(text).map_err(|err| match err.classify() {
            Category::Data => Fault::invalid(pointer, "must be a JSON object"),
            _ => not_json(&err),
        })
    }

    /// The value of the first member of this name.
    pub(super) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| *value)
    }

    /// The text of a member; see [`text`].
    pub(super) fn text(&self, name: &str, parent: &str) -> Result<Option<Cow<'a, str>>, Fault> {
        match self.get(name) {
            Some(raw) => text(raw.get(), || format!("{parent}/{}", escape_pointer(name))),
            None => Ok(None),
        }
    }

    /// Refuses a name that is there twice.
    pub(super) fn unique(&self, parent: &str) -> Result<(), Fault> {
        let mut seen = HashSet::with_capacity(self.0.len());
        match self.0.iter().find(|(name, _)| !seen.insert(name.as_ref())) {
            None => Ok(()),
            Some((name, _)) => {
                Err(Fault::invalid(format!("{parent}/{}", escape_pointer(name)), "the member is there twice"))
            }
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    members.push((name, map.next_value()?));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// The text of the last string member of this name of an object.
pub(crate) fn member_text(object: &str, name: &str) -> Option<String> {
    let members = Members::parse(object, "").ok()?;
    let mut texts = members.0.iter().rev().filter(|(other, _)| other == name);
    texts.find_map(|(_, value)| unquote(value.get()).map(Cow::into_owned))
}

/// The name of a member, borrowed where it holds no escapes.
pub(crate) struct Name<'a>(pub(crate) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// The fault of a document that the JSON parser refuses.
pub(super) fn not_json(err: &serde_json::Error) -> Fault {
    Fault::malformed(format!("not JSON: {err}"))
}

/// The text of an envelope member: null is none, anything but a string is a
/// fault, and so are control characters (CloudEvents forbids them, databases
/// refuse NUL) and texts beyond [`TEXT_BYTES_MAX`].
pub(super) fn text<'a>(raw: &'a str, pointer: impl Fn() -> String) -> Result<Option<Cow<'a, str>>, Fault> {
    if raw == "null" {
        return Ok(None);
    }
    let text = unquote(raw).ok_or_else(|| Fault::invalid(pointer(), "must be a string of valid Unicode"))?;
    check_text(&text, pointer)?;
    Ok(Some(text))
}

/// Refuses control characters and overlong text of an envelope member.
pub(super) fn check_text(text: &str, pointer: impl Fn() -> String) -> Result<(), Fault> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(Fault::invalid(pointer(), format!("longer than {TEXT_BYTES_MAX} bytes")));
    }
    if text.chars().any(char::is_control) {
        return Err(Fault::invalid(pointer(), "must not hold control characters"));
    }
    Ok(())
}

/// The text of a JSON string; `None` for any other value or lone surrogates.
pub(crate) fn unquote(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(raw).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// A name as a token of an RFC 6901 pointer.
pub(crate) fn escape_pointer(name: &str) -> Cow<'_, str> {
    if name.contains(['~', '/']) {
        Cow::Owned(name.replace('~', "~0").replace('/', "~1"))
    } else {
        Cow::Borrowed(name)
    }
}

/// Valid JSON without the white space between its tokens.
pub fn minify(json: &str) -> Cow<'_, str> {
    let white = |byte: u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    if !json.bytes().any(white) {
        return Cow::Borrowed(json);
    }
    let (mut in_string, mut escaped) = (false, false);
    let dense = |c: &char| {
        if in_string {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => in_string = false,
                _ => {}
            }
            return true;
        }
        in_string = *c == '"';
        !matches!(c, ' ' | '\t' | '\n' | '\r')
    };
    Cow::Owned(json.chars().filter(dense).collect())
}

/// Appends `text` as a JSON string.
pub(crate) fn write_text(out: &mut String, text: &str) {
    let plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
    if text.bytes().all(plain) {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::to_string(text).expect("text is always JSON"));
    }
}

/// Writes one JSON object.
pub(super) struct Writer(String);

impl Writer {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        let mut out = String::with_capacity(bytes);
        out.push('{');
        Self(out)
    }

    /// A member whose value is JSON already.
    pub(super) fn raw(&mut self, name: &str, json: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        write_text(&mut self.0, name);
        self.0.push(':');
        self.0.push_str(json);
    }

    /// A member whose value is a string.
    pub(super) fn text(&mut self, name: &str, text: &str) {
        self.raw(name, "");
        write_text(&mut self.0, text);
    }

    pub(super) fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minify_leaves_strings_alone() {
        assert_eq!(minify("{ \"a b\" : [ 1.10 , \"x \\\" y\" ] }\n"), "{\"a b\":[1.10,\"x \\\" y\"]}");
    }

    #[test]
    fn members_keep_order_digits_and_duplicates() {
        let members = Members::parse(r#"{"b":1.10,"a\u0062":null,"b":"x"}"#, "").unwrap_or_else(|_| panic!());
        let names: Vec<_> = members.0.iter().map(|(name, raw)| format!("{name}={}", raw.get())).collect();
        assert_eq!(names, ["b=1.10", "ab=null", "b=\"x\""]);
        assert_eq!(members.unique("/x").unwrap_err().pointer, "/x/b");
    }
}
