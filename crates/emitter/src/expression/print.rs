//! From values to what is emitted.

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind};

use super::json::Json;
use super::numbers::{Digits, is_number, number_text, wrong};
use super::operations::kind;
use super::work::MADE_BYTES_MAX;

/// How deep a value may be that an expression makes.
const DEPTH_MAX: usize = 64;

/// Appends a value as JSON; parts of the event as they were written.
///
/// # Errors
/// When it is nothing that JSON has, or `out` would grow beyond 1 MiB.
pub(super) fn write(value: &Value, out: &mut String) -> Result<(), Error> {
    write_at(value, out, 0)
}

fn write_at(value: &Value, out: &mut String, depth: usize) -> Result<(), Error> {
    if depth > DEPTH_MAX {
        return Err(wrong(format!("a value has more than {DEPTH_MAX} levels")));
    }
    if let Some(json) = value.downcast_object_ref::<Json>() {
        out.push_str(json.text());
        return bounded(out);
    }
    if let Some(digits) = value.downcast_object_ref::<Digits>() {
        out.push_str(&digits.0);
        return bounded(out);
    }
    match value.kind() {
        ValueKind::None => out.push_str("null"),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => out.push_str(&number_text(value)?),
        ValueKind::String => write_text(value.as_str().unwrap_or_default(), out),
        ValueKind::Seq | ValueKind::Iterable => {
            out.push('[');
            for (i, item) in value.try_iter()?.enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_at(&item, out, depth + 1)?;
            }
            out.push(']');
        }
        ValueKind::Map => {
            out.push('{');
            for (i, key) in value.try_iter()?.enumerate() {
                if i > 0 {
                    out.push(',');
                }
                let Some(name) = key.as_str() else {
                    return Err(wrong(format!(
                        "the name of a member is text, and this one is {}",
                        kind(&key)
                    )));
                };
                write_text(name, out);
                out.push(':');
                write_at(&value.get_item(&key)?, out, depth + 1)?;
            }
            out.push('}');
        }
        ValueKind::Undefined => return Err(Error::from(ErrorKind::UndefinedError)),
        _ => return Err(wrong(format!("{} cannot be emitted", kind(value)))),
    }
    bounded(out)
}

fn bounded(out: &str) -> Result<(), Error> {
    if out.len() > MADE_BYTES_MAX {
        return Err(wrong("the data would be larger than 1 MiB".to_owned()));
    }
    Ok(())
}

/// Appends a text as JSON.
pub(crate) fn write_text(text: &str, out: &mut String) {
    out.push_str(&serde_json::to_string(text).expect("text is always JSON"));
}

/// A value as a part of a text.
///
/// # Errors
/// When it does not exist, is null, a list or an object.
pub(super) fn text_of(value: &Value) -> Result<String, Error> {
    match value.kind() {
        ValueKind::String => Ok(value.as_str().unwrap_or_default().to_owned()),
        _ if is_number(value) => number_text(value),
        ValueKind::Bool => Ok(value.is_true().to_string()),
        ValueKind::Undefined => Err(Error::from(ErrorKind::UndefinedError)),
        ValueKind::None => Err(wrong(
            "null cannot be part of a text; ask first, as in {{ x if x is not none else '-' }}".to_owned(),
        )),
        _ => Err(wrong(format!(
            "{} cannot be part of a text; let the expression stand alone, or use the filter tojson or join",
            kind(value)
        ))),
    }
}
