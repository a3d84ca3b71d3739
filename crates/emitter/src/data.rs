//! The data of an emitted event: the tree of the configuration with its templates filled in.

use serde_json::Value;

use crate::expression::{Engine, Wrong, is_template, write_text};

/// The data as JSON.
///
/// # Errors
/// With the place in the tree.
pub(crate) fn data(tree: &Value, engine: &Engine) -> Result<String, String> {
    let mut out = String::new();
    let mut path = String::from("data");
    write(tree, engine, &mut path, &mut out).map_err(|wrong| format!("{path}: {}", wrong.detail))?;
    Ok(out)
}

/// Recursion is as deep as a configuration may be, which is 32 levels. The path is left where
/// something is wrong.
fn write(tree: &Value, engine: &Engine, path: &mut String, out: &mut String) -> Result<(), Wrong> {
    match tree {
        Value::String(text) if is_template(text) => engine.write(text, out)?,
        Value::String(text) => write_text(text, out),
        Value::Null | Value::Bool(_) | Value::Number(_) => out.push_str(&tree.to_string()),
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                within(path, &format!("[{i}]"), |path| write(item, engine, path, out))?;
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (i, (name, member)) in members.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_text(name, out);
                out.push(':');
                within(path, &format!(".{name}"), |path| write(member, engine, path, out))?;
            }
            out.push('}');
        }
    }
    Ok(())
}

fn within(
    path: &mut String,
    step: &str,
    then: impl FnOnce(&mut String) -> Result<(), Wrong>,
) -> Result<(), Wrong> {
    let before = path.len();
    path.push_str(step);
    then(path)?;
    path.truncate(before);
    Ok(())
}
