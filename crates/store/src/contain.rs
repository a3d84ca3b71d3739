//! Whether a json document contains another one, for engines that have no such thing of their own.
//! PostgreSQL's operator `@>` on `jsonb` is what this agrees with: section 8.14.3 of its manual.

use std::borrow::Cow;
use std::collections::BTreeMap;

use orderwire_types::json::nests_at_most;
use serde_json::value::RawValue;

/// The deepest nesting: that of the deepest json that a row may have (`limits.json_depth`).
const DEPTH: usize = 127;

/// The exponents that PostgreSQL reads are smaller than this.
const EXPONENT: i64 = (1 << 30) - 1;

/// What a number has of digits at most before and behind its point, in PostgreSQL.
const DIGITS: (i64, i64) = (131_072, 16_383);

/// A document that is compared by value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document(Json);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Json {
    Null,
    Boolean(bool),
    Number(Number),
    Text(String),
    Array(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

/// A number by its value: the digits from the first to the last that is not 0, and how many places
/// the point stands behind them. Of 0 there are none.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Number {
    negative: bool,
    digits: String,
    places: i64,
}

impl Document {
    /// Reads a document; `None` for what is none, for one that nests deeper than any that is stored, and for
    /// one that PostgreSQL has no value for: with `\u0000`, half of a surrogate pair, or a number beyond 131,072
    /// digits before its point or 16,383 behind it.
    pub fn read(text: &str) -> Option<Self> {
        // Reading goes down level by level.
        let text = text.trim_matches([' ', '\t', '\r', '\n']);
        if nests_at_most(text.as_bytes(), DEPTH) { json(text).map(Self) } else { None }
    }

    /// How many values it has, within one another: each is looked for among all of another document.
    pub fn values(&self) -> usize {
        self.0.values()
    }

    /// Whether it contains another one. An object contains one whose members are all there, an array
    /// one whose elements are all there, in whatever order and number; what is within them in the same way. An array
    /// contains its elements that are neither, too. All else contains its equal.
    pub fn contains(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (own, other @ (Json::Array(_) | Json::Object(_))) => own.contains(other),
            (Json::Array(elements), scalar) => elements.contains(scalar),
            (own, scalar) => own == scalar,
        }
    }
}

impl Json {
    fn values(&self) -> usize {
        1 + match self {
            Self::Array(elements) => elements.iter().map(Self::values).sum(),
            Self::Object(members) => members.values().map(Self::values).sum(),
            Self::Null | Self::Boolean(_) | Self::Number(_) | Self::Text(_) => 0,
        }
    }

    fn contains(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Object(own), Self::Object(other)) => {
                other.iter().all(|(name, value)| own.get(name).is_some_and(|own| own.contains(value)))
            }
            (Self::Array(own), Self::Array(other)) => {
                other.iter().all(|value| own.iter().any(|own| own.contains(value)))
            }
            (own, other) => own == other,
        }
    }
}

fn json(text: &str) -> Option<Json> {
    Some(match text.as_bytes().first()? {
        b'{' => {
            let members: Members<'_> = serde_json::from_str(text).ok()?;
            let read = |(name, value): (Cow<'_, str>, &RawValue)| Some((storable(name)?, json(value.get())?));
            // Of several members of one name it is the last.
            Json::Object(members.0.into_iter().map(read).collect::<Option<_>>()?)
        }
        b'[' => {
            let elements: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            Json::Array(elements.into_iter().map(|element| json(element.get())).collect::<Option<_>>()?)
        }
        b'"' => Json::Text(storable(serde_json::from_str(text).ok()?)?),
        _ => match text {
            "null" => Json::Null,
            "true" => Json::Boolean(true),
            "false" => Json::Boolean(false),
            number => {
                // JSON's grammar, whatever the size of the number.
                serde_json::from_str::<&RawValue>(number).ok()?;
                Json::Number(Number::read(number)?)
            }
        },
    })
}

/// A text that a text of PostgreSQL can be.
fn storable(text: Cow<'_, str>) -> Option<String> {
    (!text.contains('\0')).then(|| text.into_owned())
}

impl Number {
    fn read(text: &str) -> Option<Self> {
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let exponent: i64 = exponent.parse().ok().filter(|exponent: &i64| exponent.abs() < EXPONENT)?;
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let behind = i64::try_from(fraction.len()).ok()? - exponent;
        let digits = format!("{whole}{fraction}");
        let significant = digits.trim_start_matches('0');
        let before = i64::try_from(significant.len()).ok()? - behind;
        if behind > DIGITS.1 || (!significant.is_empty() && before > DIGITS.0) {
            return None;
        }
        let digits = significant.trim_end_matches('0');
        let places = if digits.is_empty() { 0 } else { before };
        Some(Self { negative: negative && !digits.is_empty(), digits: digits.to_owned(), places })
    }
}

/// The members of an object, in order.
struct Members<'d>(Vec<(Cow<'d, str>, &'d RawValue)>);

impl<'de> serde::Deserialize<'de> for Members<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry::<Cow<'de, str>, &'de RawValue>()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(own: &str, other: &str) -> bool {
        Document::read(own).unwrap().contains(&Document::read(other).unwrap())
    }

    #[test]
    fn a_document_contains_what_postgresql_says() {
        // The manual's own examples among them.
        for (own, other, expected) in [
            (r#""foo""#, r#""foo""#, true),
            ("[1, 2, 3]", "[1, 3]", true),
            ("[1, 2, 3]", "[3, 1]", true),
            ("[1, 2, 3]", "[1, 2, 2]", true),
            (r#"{"product": "PostgreSQL", "version": 9.4}"#, r#"{"version": 9.40}"#, true),
            ("[1, 2, [1, 3]]", "[1, 3]", false),
            ("[1, 2, [1, 3]]", "[[1, 3]]", true),
            ("[1, 2, [1, 3]]", "[[3]]", true),
            (r#"{"foo": {"bar": "baz"}}"#, r#"{"bar": "baz"}"#, false),
            (r#"{"foo": {"bar": "baz"}}"#, r#"{"foo": {}}"#, true),
            (r#"["foo", "bar"]"#, r#""bar""#, true),
            (r#""bar""#, r#"["bar"]"#, false),
            (r#"{"a":["bar"]}"#, r#"{"a":"bar"}"#, false),
            (r#"{"a":1}"#, r#"{"a":1,"b":null}"#, false),
            (r#"{"a":1,"a":2}"#, r#"{"a":1}"#, false),
            (r#"{"a":1,"a":2}"#, r#"{"a":20e-1}"#, true),
            ("[]", "[]", true),
            ("[]", "{}", false),
            ("{}", "[]", false),
            ("[1]", "[]", true),
            ("[[]]", "[[]]", true),
            ("null", "null", true),
            ("[null]", "null", true),
            ("1", "true", false),
            ("-0", "0.0", true),
            ("100", "1e2", true),
            ("100", "1E+3", false),
            ("-1.50", "-15e-1", true),
            ("9007199254740993", "9007199254740992", false),
            (r#"{"ä":"\u00e4"}"#, r#"{"\u00e4":"ä"}"#, true),
        ] {
            assert_eq!(contains(own, other), expected, "{own} {other}");
        }
    }

    #[test]
    fn values_are_counted_within_one_another() {
        for (document, values) in [("1", 1), ("[]", 1), (r#"{"a":[1,{"b":null}],"c":"x"}"#, 6)] {
            assert_eq!(Document::read(document).unwrap().values(), values, "{document}");
        }
    }

    #[test]
    fn a_document_is_read_as_deep_as_rows_may_be_and_no_deeper() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let nested = |depth| format!("{}1{}", open.repeat(depth), close.repeat(depth));
            let deep = nested(127);
            assert!(contains(&deep, &deep));
            for depth in [128, 100_000] {
                assert_eq!(Document::read(&nested(depth)), None, "{depth}");
            }
            assert_eq!(Document::read(&open.repeat(100_000)), None);
        }
    }

    #[test]
    fn what_postgresql_has_no_value_for_is_none() {
        let nines = "9".repeat(131_072);
        for text in ["1e131071", "-1e-16383", "0e1073741822", nines.as_str(), r#""\ud83d\ude00""#] {
            assert!(Document::read(text).is_some(), "{text:.20}");
        }
        let ten = format!("{nines}9");
        let none = [
            "1e131072",
            "0.1e-16383",
            "0e-16384",
            "0e1073741823",
            "\u{c}1",
            "1e99999999999999999999",
            ten.as_str(),
            r#""\u0000""#,
            r#"{"\u0000":1}"#,
            r#"["\ud83d"]"#,
            "",
            "x",
            "[1",
            "1 2",
            "01",
            "nul",
            "{1:2}",
            "+1",
            "1.",
        ];
        for text in none {
            assert_eq!(Document::read(text), None, "{text:.20}");
        }
    }
}
