//! The default of a column as the value that rows get.

use std::borrow::Cow;

use serde_json::Value as Json;

use super::{Value, parse};
use crate::dataset::{Field, FieldType};
use crate::decimal::Decimal;
use crate::envelope::parse_rfc3339;

/// The most digits of a number that a definition brings through 64-bit floats unchanged.
const DIGITS: usize = 15;

/// The longest text of a default, in bytes: it stands in the table's definition.
const BYTES: usize = 4_096;

impl Field {
    /// The default as a value of the column, if it has one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn default_value(&self) -> Result<Option<Value<'static>>, String> {
        let Some(default) = &self.default else { return Ok(None) };
        let text = |text: &str| match text {
            text if text.len() > BYTES => Err(format!("a default has at most {BYTES} bytes")),
            text if text.contains('\0') => Err("must not hold NUL".to_owned()),
            text => Ok(text.to_owned()),
        };
        let wrong = |what: &str| Err(format!("the default of column {} {what}", self.name));
        let value = match (self.field_type, default) {
            // What is not said is null as well.
            (_, Json::Null) => return wrong("cannot be null: leave it out"),
            (FieldType::Text, Json::String(given)) => Value::Text(text(given)?.into()),
            (FieldType::Text, _) => return wrong("must be a string"),
            (FieldType::Integer, Json::Number(number)) => match number.as_i64() {
                Some(integer) => Value::Integer(integer),
                None => return wrong("must be an integer of 64 bits"),
            },
            (FieldType::Integer, _) => return wrong("must be an integer of 64 bits"),
            (FieldType::Float, Json::Number(number)) => {
                match number.as_f64().filter(|float| float.is_finite()) {
                    Some(float) => Value::Float(float + 0.0),
                    None => return wrong("must be a finite number"),
                }
            }
            (FieldType::Float, _) => return wrong("must be a finite number"),
            (FieldType::Decimal, Json::Number(number)) => {
                let written = number.to_string();
                let digits = written.split(['e', 'E']).next().unwrap_or_default();
                let count =
                    digits.bytes().filter(u8::is_ascii_digit).skip_while(|digit| *digit == b'0').count();
                match written.parse::<Decimal>() {
                    Ok(decimal) if count <= DIGITS => Value::Decimal(decimal),
                    _ => return wrong("must be a number of at most 15 digits"),
                }
            }
            (FieldType::Decimal, _) => return wrong(parse::NUMBER),
            (FieldType::Boolean, Json::Bool(boolean)) => Value::Boolean(*boolean),
            (FieldType::Boolean, _) => return wrong("must be true or false"),
            (FieldType::Timestamp, given) => match given.as_str().and_then(parse_rfc3339) {
                Some(moment) => Value::Timestamp(parse::to_micros(moment)),
                None => return wrong(parse::TIME),
            },
            (FieldType::Date, given) => match given.as_str().and_then(parse::date) {
                Some(date) => Value::Date(date),
                None => return wrong(parse::DATE),
            },
            (FieldType::Uuid, given) => match given.as_str().and_then(parse::uuid) {
                Some(id) => Value::Uuid(id),
                None => return wrong(parse::UUID),
            },
            (FieldType::Json, given) => Value::Json(text(&given.to_string())?.into()),
            (FieldType::Texts, Json::Array(elements)) => {
                text(&default.to_string())?;
                let elements = elements.iter().map(|element| Some(Cow::Owned(text(element.as_str()?).ok()?)));
                match elements.collect() {
                    Some(texts) => Value::Texts(texts),
                    None => return wrong(parse::TEXTS),
                }
            }
            (FieldType::Texts, _) => return wrong(parse::TEXTS),
        };
        Ok(Some(value))
    }
}
