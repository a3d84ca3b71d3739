//! Parts of json values, for engines that have no such thing of their own. PostgreSQL's
//! operators on `json` are what this agrees with.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::expr::Arrow;

/// The part of a document at the end of a path, as it is written; `None` where there is none.
pub fn part<'d>(document: &'d str, path: &[Arrow]) -> Option<&'d str> {
    if !is_text(document) {
        return None;
    }
    path.iter().try_fold(document.trim_ascii(), |value, arrow| step(value, arrow))
}

/// The same as text: a string without its quotes, `null` as nothing.
pub fn part_as_text<'d>(document: &'d str, path: &[Arrow]) -> Option<Cow<'d, str>> {
    match part(document, path)? {
        "null" => None,
        quoted if quoted.starts_with('"') => {
            let mut deserializer = serde_json::Deserializer::from_str(quoted);
            Text.deserialize(&mut deserializer).ok()
        }
        value => Some(Cow::Borrowed(value)),
    }
}

/// Whether every escape is of what a text can hold.
fn is_text(document: &str) -> bool {
    let mut rest = document;
    let mut high = false;
    while let Some(at) = rest.find('\\') {
        let escape = &rest[at..];
        let code = escape.strip_prefix("\\u").and_then(|digits| digits.get(..4));
        let code = code.and_then(|digits| u16::from_str_radix(digits, 16).ok());
        let low = matches!(code, Some(0xdc00..=0xdfff));
        // The second half of a pair follows the first at once.
        let pair = high && low && at == 0;
        if (high || low) && !pair || code == Some(0) {
            return false;
        }
        high = matches!(code, Some(0xd800..=0xdbff));
        let length = if code.is_some() { 6 } else { 2 };
        rest = escape.get(length..).unwrap_or_default();
    }
    !high
}

fn step<'d>(value: &'d str, arrow: &Arrow) -> Option<&'d str> {
    let mut deserializer = serde_json::Deserializer::from_str(value);
    match (arrow, value.as_bytes().first()?) {
        (Arrow::Member(name), b'{') => Member(name).deserialize(&mut deserializer).ok()?,
        (Arrow::Element(place), b'[') => {
            let place = match usize::try_from(*place) {
                Ok(place) => place,
                Err(_) => {
                    let mut counted = serde_json::Deserializer::from_str(value);
                    let count = Length.deserialize(&mut counted).ok()?;
                    count.checked_sub(usize::try_from(place.unsigned_abs()).ok()?)?
                }
            };
            Element(place).deserialize(&mut deserializer).ok()?
        }
        _ => None,
    }
}

/// A string without a copy, where it has no escapes.
struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// The last member of this name.
struct Member<'n>(&'n str);

impl<'de> DeserializeSeed<'de> for Member<'_> {
    type Value = Option<&'de str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Option<&'de str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = members.next_key_seed(Text)? {
            if name == self.0 {
                found = Some(members.next_value::<&'de RawValue>()?.get());
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// The element at this place.
struct Element(usize);

impl<'de> DeserializeSeed<'de> for Element {
    type Value = Option<&'de str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Element {
    type Value = Option<&'de str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        let mut place = 0;
        while let Some(element) = elements.next_element::<&'de RawValue>()? {
            if place == self.0 {
                found = Some(element.get());
            }
            place += 1;
        }
        Ok(found)
    }
}

/// How many elements there are.
struct Length;

impl<'de> DeserializeSeed<'de> for Length {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Length {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut count: usize = 0;
        while elements.next_element::<IgnoredAny>()?.is_some() {
            count = count.checked_add(1).ok_or_else(|| A::Error::custom("too many elements"))?;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &[Arrow], document: &str) -> (Option<String>, Option<String>) {
        (part(document, path).map(str::to_owned), part_as_text(document, path).map(Cow::into_owned))
    }

    fn member(name: &str) -> Arrow {
        Arrow::Member(name.to_owned())
    }

    #[test]
    fn a_part_is_as_it_was_written() {
        let both = |json: &str, text: &str| (Some(json.to_owned()), Some(text.to_owned()));
        let document = r#" {"a": 1.10 ,"b":["x\u00e4",9007199254740993,null,{"c" : 1e400}],"a":2.50} "#;
        assert_eq!(at(&[member("a")], document), both("2.50", "2.50"));
        assert_eq!(at(&[member("b"), Arrow::Element(0)], document), both(r#""x\u00e4""#, "xä"));
        assert_eq!(
            at(&[member("b"), Arrow::Element(1)], document),
            both("9007199254740993", "9007199254740993")
        );
        assert_eq!(at(&[member("b"), Arrow::Element(-1), member("c")], document), both("1e400", "1e400"));
        assert_eq!(at(&[member("b"), Arrow::Element(2)], document), (Some("null".to_owned()), None));
        assert_eq!(
            at(&[member("b"), Arrow::Element(-1)], document),
            both(r#"{"c" : 1e400}"#, r#"{"c" : 1e400}"#)
        );
        assert_eq!(at(&[], "5"), both("5", "5"));
        for nothing in [vec![member("c")], vec![Arrow::Element(0)], vec![member("a"), member("b")]] {
            assert_eq!(at(&nothing, document), (None, None), "{nothing:?}");
        }
        for place in [-5, 4, i32::MIN] {
            assert_eq!(at(&[member("b"), Arrow::Element(place)], document), (None, None), "{place}");
        }
    }

    #[test]
    fn what_no_text_can_hold_has_no_parts() {
        for (document, there) in [
            (r#"{"a":"\ud83d\ude00"}"#, true),
            (r#"{"a":"\\ud83d"}"#, true),
            (r#"{"a":"x","b":"\u0000"}"#, false),
            (r#"{"a":"x","b":"\ud83d"}"#, false),
            (r#"{"a":"x","b":"\ud83dx\ude00"}"#, false),
            (r#"{"a":"x","b":"\ude00"}"#, false),
            (r#"{"a":"x","b":"\ud83d\\\ude00"}"#, false),
            (r#"{"a":"x","b":"\\ud83d\ude00"}"#, false),
        ] {
            assert_eq!(part(document, &[member("a")]).is_some(), there, "{document}");
        }
    }
}
