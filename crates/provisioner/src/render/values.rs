//! Values on their way into templates and out of them.

use minijinja::value::{Value as TemplateValue, ValueKind};
use minijinja::{Error, ErrorKind};
use serde_json::{Map, Value};

/// The most parts of a value that is printed.
const PARTS_MAX: usize = 50_000;
/// How deep a value may be.
const DEPTH_MAX: usize = 32;

/// A value as templates see it.
pub(super) fn to_template(value: &Value) -> TemplateValue {
    match value {
        Value::Null => TemplateValue::from(()),
        Value::Bool(value) => TemplateValue::from(*value),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => TemplateValue::from(number),
            (None, Some(number)) => TemplateValue::from(number),
            (None, None) => TemplateValue::from(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => TemplateValue::from(text.as_str()),
        Value::Array(items) => items.iter().map(to_template).collect(),
        Value::Object(entries) => {
            TemplateValue::from_pairs(entries.iter().map(|(key, value)| (key.as_str(), to_template(value))))
        }
    }
}

/// What a template prints, as a value.
///
/// # Errors
/// When it is nothing that a document can hold.
pub(super) fn from_template(value: &TemplateValue) -> Result<Value, Error> {
    let mut parts = 0;
    convert(value, &mut parts, 0)
}

fn convert(value: &TemplateValue, parts: &mut usize, depth: usize) -> Result<Value, Error> {
    *parts += 1;
    if *parts > PARTS_MAX || depth > DEPTH_MAX {
        return Err(wrong(format!(
            "the value has more than {PARTS_MAX} parts or more than {DEPTH_MAX} levels"
        )));
    }
    Ok(match value.kind() {
        ValueKind::None => Value::Null,
        ValueKind::Bool => Value::Bool(value.is_true()),
        ValueKind::Number => number(value)?,
        ValueKind::String => Value::String(value.as_str().unwrap_or_default().to_owned()),
        ValueKind::Seq | ValueKind::Iterable => {
            let mut items = Vec::new();
            for item in value.try_iter()? {
                items.push(convert(&item, parts, depth + 1)?);
            }
            Value::Array(items)
        }
        ValueKind::Map => {
            let mut entries = Map::new();
            for key in value.try_iter()? {
                let entry = convert(&value.get_item(&key)?, parts, depth + 1)?;
                let Some(key) = key.as_str() else {
                    return Err(wrong(format!("the key {key} of a map is no text")));
                };
                entries.insert(key.to_owned(), entry);
            }
            Value::Object(entries)
        }
        ValueKind::Undefined => return Err(Error::from(ErrorKind::UndefinedError)),
        kind => return Err(wrong(format!("this is {kind} and no value that can be printed"))),
    })
}

fn number(value: &TemplateValue) -> Result<Value, Error> {
    if value.is_integer() {
        if let Ok(number) = i64::try_from(value.clone()) {
            return Ok(number.into());
        }
        return u64::try_from(value.clone())
            .map(Value::from)
            .map_err(|_| wrong(format!("the number {value} does not fit into 64 bits")));
    }
    let number = f64::try_from(value.clone())?;
    serde_json::Number::from_f64(number)
        .map(Value::Number)
        .ok_or_else(|| wrong(format!("JSON has no number {value}")))
}

fn wrong(detail: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, detail)
}
