//! Serde's view of a tree: the type of the target decides what a scalar means,
//! and an error knows the entry that caused it.

use std::fmt;

use serde::Deserializer;
use serde::de::{
    self, DeserializeSeed, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;

use super::{Entry, Id, Scalar, Slot, Tree, Value, resolve};

/// Why a node could not be read.
#[derive(Debug)]
pub(crate) enum Cause {
    /// A key that the structure does not have.
    UnknownKey {
        /// The keys that it has.
        expected: &'static [&'static str],
    },
    /// A word that is not one of a fixed set.
    UnknownWord { given: String, expected: &'static [&'static str] },
    /// A key that must be there is not.
    Missing(&'static str),
    /// Anything else.
    Other(String),
}

/// The first fault that serde met, with its place.
#[derive(Debug)]
pub(crate) struct ReadError {
    pub(crate) cause: Cause,
    /// The innermost entry that was being read; none for the root.
    pub(crate) slot: Option<Slot>,
    /// Whether the key of that entry is at fault, not its value.
    pub(crate) in_key: bool,
    /// The names of the entries, innermost first.
    pub(crate) path: Vec<String>,
}

impl ReadError {
    fn new(cause: Cause) -> Self {
        Self { cause, slot: None, in_key: false, path: Vec::new() }
    }

    fn within(mut self, slot: Slot, name: String, in_key: bool) -> Self {
        if self.slot.is_none() {
            self.slot = Some(slot);
            self.in_key = in_key;
        }
        self.path.push(name);
        self
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.cause)
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(Cause::Other(message.to_string()))
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Unit => "nothing".to_owned(),
            Unexpected::Str(text) => format!("{text:?}"),
            Unexpected::Seq => "a list".to_owned(),
            Unexpected::Map => "a map".to_owned(),
            other => other.to_string(),
        };
        Self::custom(format!("expected {expected}, found {found}"))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_variant(given: &str, expected: &'static [&'static str]) -> Self {
        Self::new(Cause::UnknownWord { given: given.to_owned(), expected })
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Self::new(Cause::UnknownKey { expected })
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(Cause::Missing(field))
    }
}

/// Reads one node.
#[derive(Clone, Copy)]
pub(crate) struct NodeDeserializer<'t> {
    pub(crate) tree: &'t Tree,
    pub(crate) id: Id,
}

impl<'t> NodeDeserializer<'t> {
    fn value(self) -> &'t Value {
        &self.tree.node(self.id).value
    }

    fn found(self) -> String {
        match self.value() {
            value if value.is_null() => "nothing".to_owned(),
            Value::Scalar { text, .. } => format!("{:?}", text.chars().take(64).collect::<String>()),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map".to_owned(),
        }
    }

    fn expected(self, what: &str) -> ReadError {
        de::Error::custom(format!("expected {what}, found {}", self.found()))
    }

    fn text(self, what: &str) -> Result<&'t str, ReadError> {
        match self.value() {
            value @ Value::Scalar { text, .. } if !value.is_null() => Ok(text),
            _ => Err(self.expected(what)),
        }
    }

    /// A whole number in plain decimal digits: what other spellings mean
    /// (`0644`, `1e3`, `1_000`, `0x10`) differs between readers of YAML.
    fn integer(self, min: i128, max: i128) -> Result<i128, ReadError> {
        let Value::Scalar { text, plain: true } = self.value() else {
            return Err(self.expected("a whole number without quotes"));
        };
        let Some(number) = decimal(text) else {
            let hint = if text.starts_with(|c: char| c.is_ascii_digit()) {
                "a whole number in plain decimal digits, without leading zero, exponent or separator"
            } else {
                "a whole number"
            };
            return Err(self.expected(hint));
        };
        if number < min && min == 0 {
            return Err(de::Error::custom(format!("{text} is less than 0")));
        }
        if number < min || number > max {
            return Err(de::Error::custom(format!("{text} is out of range: {min} to {max}")));
        }
        Ok(number)
    }
}

/// The value of a plain decimal number, as YAML 1.1, YAML 1.2 and JSON agree on it.
fn decimal(text: &str) -> Option<i128> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let canonical = digits == "0" || !digits.starts_with('0');
    if canonical && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        text.parse().ok()
    } else {
        None
    }
}

macro_rules! integers {
    ($($method:ident $visit:ident $type:ty;)*) => {$(
        fn $method<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, ReadError> {
            let number = self.integer(<$type>::MIN.into(), <$type>::MAX.into())?;
            visitor.$visit(<$type>::try_from(number).expect("the range was checked"))
        }
    )*};
}

impl<'t> Deserializer<'t> for NodeDeserializer<'t> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.value() {
            Value::Scalar { text, plain } => match resolve(text, *plain).map_err(de::Error::custom)? {
                Scalar::Null => visitor.visit_unit(),
                Scalar::Bool(value) => visitor.visit_bool(value),
                Scalar::Unsigned(number) => visitor.visit_u64(number),
                Scalar::Signed(number) => visitor.visit_i64(number),
                Scalar::Float(number) => visitor.visit_f64(number),
                Scalar::Text(text) => visitor.visit_borrowed_str(text),
            },
            Value::List(_) => self.deserialize_seq(visitor),
            Value::Map(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.value() {
            Value::Scalar { text, plain: true } if text == "true" => visitor.visit_bool(true),
            Value::Scalar { text, plain: true } if text == "false" => visitor.visit_bool(false),
            _ => Err(self.expected("true or false")),
        }
    }

    fn deserialize_f64<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let Value::Scalar { text, plain: true } = self.value() else {
            return Err(self.expected("a number without quotes"));
        };
        match resolve(text, true).map_err(de::Error::custom)? {
            Scalar::Unsigned(number) => visitor.visit_u64(number),
            Scalar::Signed(number) => visitor.visit_i64(number),
            Scalar::Float(number) => visitor.visit_f64(number),
            _ => Err(self.expected("a number")),
        }
    }

    fn deserialize_f32<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_f64(visitor)
    }

    integers! {
        deserialize_i8 visit_i8 i8;
        deserialize_i16 visit_i16 i16;
        deserialize_i32 visit_i32 i32;
        deserialize_i64 visit_i64 i64;
        deserialize_u8 visit_u8 u8;
        deserialize_u16 visit_u16 u16;
        deserialize_u32 visit_u32 u32;
        deserialize_u64 visit_u64 u64;
    }

    fn deserialize_str<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_borrowed_str(self.text("text")?)
    }

    fn deserialize_string<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, ReadError> {
        if self.value().is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'t>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.value() {
            Value::List(items) => visitor.visit_seq(Items { tree: self.tree, id: self.id, items, next: 0 }),
            value if value.is_null() => {
                visitor.visit_seq(Items { tree: self.tree, id: self.id, items: &[], next: 0 })
            }
            _ => Err(self.expected("a list such as [a, b]")),
        }
    }

    fn deserialize_map<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.value() {
            Value::Map(entries) => {
                visitor.visit_map(Entries { tree: self.tree, id: self.id, entries, next: 0 })
            }
            // A section whose keys are all commented out.
            value if value.is_null() => {
                visitor.visit_map(Entries { tree: self.tree, id: self.id, entries: &[], next: 0 })
            }
            _ => Err(self.expected("a map of keys and values")),
        }
    }

    fn deserialize_struct<V: Visitor<'t>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'t>>(
        self,
        _: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let text = self.text(&format!("one of {}", words.join(", ")))?;
        visitor.visit_enum(text.into_deserializer())
    }

    fn deserialize_ignored_any<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        <V: Visitor<'t>>
        i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct
    }
}

struct Items<'t> {
    tree: &'t Tree,
    id: Id,
    items: &'t [Id],
    next: usize,
}

impl<'t> SeqAccess<'t> for Items<'t> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'t>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadError> {
        while self.tree.is_dead((self.id, self.next)) {
            self.next += 1;
        }
        let Some(id) = self.items.get(self.next) else { return Ok(None) };
        let slot = (self.id, self.next);
        self.next += 1;
        let node = NodeDeserializer { tree: self.tree, id: *id };
        seed.deserialize(node).map(Some).map_err(|error| error.within(slot, format!("[{}]", slot.1), false))
    }
}

struct Entries<'t> {
    tree: &'t Tree,
    id: Id,
    entries: &'t [Entry],
    next: usize,
}

impl<'t> MapAccess<'t> for Entries<'t> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'t>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        while self.tree.is_dead((self.id, self.next)) {
            self.next += 1;
        }
        let Some(entry) = self.entries.get(self.next) else { return Ok(None) };
        let slot = (self.id, self.next);
        self.next += 1;
        let key: de::value::StrDeserializer<'_, ReadError> = entry.key.as_str().into_deserializer();
        seed.deserialize(key).map(Some).map_err(|error| error.within(slot, entry.key.clone(), true))
    }

    fn next_value_seed<T: DeserializeSeed<'t>>(&mut self, seed: T) -> Result<T::Value, ReadError> {
        let slot = (self.id, self.next - 1);
        let entry = &self.entries[slot.1];
        let node = NodeDeserializer { tree: self.tree, id: entry.id };
        seed.deserialize(node).map_err(|error| error.within(slot, entry.key.clone(), false))
    }
}
