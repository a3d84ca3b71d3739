//! Parameters of a product, from flags and files.

use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value};

use crate::args::Settings;
use crate::error::{Error, ErrorKind};

/// The largest document that is read. The server's own limit is lower.
const DOCUMENT_MAX: u64 = 16 << 20;

/// The parameters that the flags say: those of the file, under `--set` and
/// `--set-string`; `None` when there is none at all.
///
/// # Errors
/// What is no parameter, or is said twice.
pub(crate) fn read(settings: &Settings) -> Result<Option<Value>, Error> {
    if settings.parameters.is_none() && settings.set.is_empty() && settings.set_string.is_empty() {
        return Ok(None);
    }
    let mut all = match &settings.parameters {
        Some(path) => match document(path)? {
            Value::Object(all) => all,
            _ => return Err(Error::invalid(format!("{} is no JSON object of parameters", path.display()))),
        },
        None => Map::new(),
    };
    let mut flags = Map::new();
    for text in &settings.set {
        let (key, value) = split("--set", text)?;
        set_once(&mut flags, key, guess(value))?;
    }
    for text in &settings.set_string {
        let (key, value) = split("--set-string", text)?;
        set_once(&mut flags, key, Value::String(value.to_owned()))?;
    }
    all.extend(flags);
    Ok(Some(Value::Object(all)))
}

/// A JSON document of a file; `-` is standard input.
pub(crate) fn document(path: &Path) -> Result<Value, Error> {
    let shown = if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
    let unreadable = |error: std::io::Error| {
        let missing = error.kind() == std::io::ErrorKind::NotFound;
        let kind = if missing { ErrorKind::NotFound } else { ErrorKind::Failed };
        Error::new(kind, format!("cannot read {shown}: {error}"))
    };
    let source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(path).map_err(unreadable)?)
    };
    let mut bytes = Vec::new();
    source.take(DOCUMENT_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > DOCUMENT_MAX {
        return Err(Error::invalid(format!("{shown} is larger than 16 MiB; an order is smaller")));
    }
    serde_json::from_slice(&bytes).map_err(|error| Error::invalid(format!("{shown} is not JSON: {error}")))
}

fn split<'a>(flag: &str, text: &'a str) -> Result<(&'a str, &'a str), Error> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key, value)),
        _ => Err(Error::usage(format!("{flag} {text:?} is not of the form KEY=VALUE"))),
    }
}

fn set_once(all: &mut Map<String, Value>, key: &str, value: Value) -> Result<(), Error> {
    match all.insert(key.to_owned(), value) {
        None => Ok(()),
        Some(_) => Err(Error::usage(format!("the parameter {key} is set twice; set it once"))),
    }
}

/// JSON where it reads as such and is kept digit for digit, else text.
fn guess(text: &str) -> Value {
    match serde_json::from_str(text) {
        // A number that would lose digits is text.
        Ok(Value::Number(number)) if number.to_string() != text => Value::String(text.to_owned()),
        // Quotes are the caller's own.
        Ok(Value::String(_)) | Err(_) => Value::String(text.to_owned()),
        Ok(value) => value,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings(set: &[&str], set_string: &[&str]) -> Settings {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        Settings { set: owned(set), set_string: owned(set_string), parameters: None }
    }

    #[test]
    fn values_are_json_where_they_read_as_such_else_text() {
        let set =
            ["n=5", "f=0.5", "b=true", "z=null", "o={\"a\":[1]}", "t=hello world", "e=", "q=\"x\"", "eq=a=b"];
        let read = read(&settings(&set, &["s=5"])).unwrap().unwrap();
        let wanted = json!({"n": 5, "f": 0.5, "b": true, "z": null, "o": {"a": [1]}, "t": "hello world",
            "e": "", "q": "\"x\"", "eq": "a=b", "s": "5"});
        assert_eq!(read, wanted);
    }

    #[test]
    fn no_digit_is_lost() {
        for text in
            ["1.50", "007", "12345678901234567890123", "1e400", "0.1000000000000000055511151231257827"]
        {
            assert_eq!(guess(text), Value::String(text.to_owned()));
        }
    }

    #[test]
    fn without_flags_there_are_no_parameters() {
        assert_eq!(read(&settings(&[], &[])).unwrap(), None);
    }

    #[test]
    fn what_is_no_setting_or_set_twice_is_refused() {
        for (set, set_string) in [(vec!["a"], vec![]), (vec!["=1"], vec![]), (vec!["a=1"], vec!["a=2"])] {
            let error = read(&settings(&set, &set_string)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
        }
    }

    #[test]
    fn flags_stand_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("parameters.json");
        std::fs::write(&path, r#"{"a":1,"b":2}"#).unwrap();
        let mut flags = settings(&["b=3"], &[]);
        flags.parameters = Some(path.clone());
        assert_eq!(read(&flags).unwrap().unwrap(), json!({"a": 1, "b": 3}));
        std::fs::write(&path, "[1]").unwrap();
        assert_eq!(read(&flags).unwrap_err().kind(), ErrorKind::Invalid);
        flags.parameters = Some(folder.path().join("none"));
        assert_eq!(read(&flags).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
