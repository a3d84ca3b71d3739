//! Secrets: a configuration says where one is, never what it is.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use schemars::JsonSchema;
use secrecy::{ExposeSecret as _, SecretSlice};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The largest secret, in bytes.
const SECRET_BYTES_MAX: usize = 64 << 10;

/// What an age-encrypted block begins with.
const AGE: &str = "-----BEGIN AGE ENCRYPTED FILE-----";

/// What to write in the place of a secret itself.
const WRITE: &str = "write ${NAME} for an environment variable, or file:/path for a file";

/// Where a secret is: `${NAME}`, an environment variable, or `file:/path`. It is no
/// secret itself, so that it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret(Place);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Variable(String),
    File(PathBuf),
}

impl Secret {
    /// Whether a text says where a secret is, or tries to.
    pub(crate) fn is_meant_by(text: &str) -> bool {
        text.starts_with("${") || text.starts_with("file:") || text.trim_start().starts_with(AGE)
    }

    /// Reads the secret. Of a file the line end at its end is no part of it.
    ///
    /// # Errors
    /// Why it cannot be read and what to do, in plain words. The secret is never in
    /// them.
    pub fn resolve(&self) -> Result<SecretValue, String> {
        let bytes = match &self.0 {
            Place::Variable(name) => variable(name)?,
            Place::File(path) => file(path).map_err(|why| format!("the file {} {why}", path.display()))?,
        };
        if bytes.is_empty() {
            return Err(format!("{self} is empty; put the secret there"));
        }
        Ok(SecretValue(Arc::new(bytes.into())))
    }
}

fn variable(name: &str) -> Result<Vec<u8>, String> {
    match std::env::var(name) {
        Ok(value) if value.len() > SECRET_BYTES_MAX => {
            Err(format!("the environment variable {name} is longer than 64 KiB"))
        }
        Ok(value) => Ok(value.into_bytes()),
        Err(std::env::VarError::NotPresent) => {
            Err(format!("the environment variable {name} is not set; set it where Orderwire is started"))
        }
        Err(std::env::VarError::NotUnicode(_)) => {
            Err(format!("the environment variable {name} is not UTF-8; put such a secret into a file"))
        }
    }
}

fn file(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(SECRET_BYTES_MAX as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() > SECRET_BYTES_MAX {
        return Err("is longer than 64 KiB".to_owned());
    }
    // Editors and `echo` end a file with one.
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    Ok(bytes)
}

impl FromStr for Secret {
    type Err = String;

    /// Reads where a secret is. What is refused may be a secret, and is not repeated.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim_start().starts_with(AGE) {
            return Err(format!("an age-encrypted block is not available in this version; {WRITE}"));
        }
        if let Some(rest) = text.strip_prefix("${") {
            let name = rest.strip_suffix('}').filter(|name| is_variable(name));
            return name.map(|name| Self(Place::Variable(name.to_owned()))).ok_or_else(|| {
                "this names no environment variable: write ${NAME}, of A-Z a-z 0-9 _ and no digit first, and \
                 nothing around it"
                    .to_owned()
            });
        }
        match text.strip_prefix("file:") {
            Some("") => Err("file: needs a path, for example file:/run/secrets/orderwire".to_owned()),
            Some(path) if path.contains('\0') => Err("the path has a NUL character".to_owned()),
            Some(path) => Ok(Self(Place::File(PathBuf::from(path)))),
            None => Err(format!("a secret is never a plain value of the configuration; {WRITE}")),
        }
    }
}

fn is_variable(name: &str) -> bool {
    name.len() <= 255
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Variable(name) => write!(f, "${{{name}}}"),
            Place::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": r"^(\$\{[A-Za-z_][A-Za-z0-9_]*\}|file:.+)$",
            "description": "where a secret is: ${NAME} (an environment variable) or file:/path"
        })
    }
}

/// A secret itself. It is never printed, and its memory is overwritten when the last
/// clone is dropped.
#[derive(Clone)]
pub struct SecretValue(Arc<SecretSlice<u8>>);

impl SecretValue {
    /// The secret as bytes. Whoever calls this answers for where they go.
    pub fn bytes(&self) -> &[u8] {
        self.0.expose_secret()
    }

    /// The secret as text.
    ///
    /// # Errors
    /// When it is not UTF-8, in plain words.
    pub fn text(&self) -> Result<&str, String> {
        std::str::from_utf8(self.bytes()).map_err(|_| "the secret is not UTF-8".to_owned())
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &Path) -> Secret {
        format!("file:{}", path.display()).parse().unwrap()
    }

    #[test]
    fn a_secret_comes_from_a_variable_or_a_file() {
        // Every run of the tests has it.
        let variable: Secret = "${CARGO_MANIFEST_DIR}".parse().unwrap();
        assert_eq!(variable.resolve().unwrap().text(), Ok(env!("CARGO_MANIFEST_DIR")));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        for (content, secret) in [
            (&b"hunter2"[..], &b"hunter2"[..]),
            (b"hunter2\n", b"hunter2"),
            (b"hunter2\r\n", b"hunter2"),
            (b" hunter2 \n\n", b" hunter2 \n"),
            (b"\xff\x00\n", b"\xff\x00"),
        ] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(at(&path).resolve().unwrap().bytes(), secret);
        }
    }

    #[test]
    fn what_cannot_be_read_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let said = |secret: &Secret| secret.resolve().unwrap_err();
        assert!(said(&at(&path)).contains("cannot be read"), "{}", said(&at(&path)));
        std::fs::write(&path, "\n").unwrap();
        assert!(said(&at(&path)).contains("is empty"), "{}", said(&at(&path)));
        std::fs::write(&path, vec![b'x'; SECRET_BYTES_MAX + 1]).unwrap();
        assert!(said(&at(&path)).contains("longer than 64 KiB"), "{}", said(&at(&path)));
        let variable: Secret = "${ORDERWIRE_NOT_SET_ANYWHERE}".parse().unwrap();
        assert!(said(&variable).contains("ORDERWIRE_NOT_SET_ANYWHERE is not set"), "{}", said(&variable));
    }

    #[test]
    fn a_plain_value_is_refused_and_not_repeated() {
        for wrong in [
            "hunter2",
            "",
            "$hunter2",
            "${hunter2!}",
            "${hunter2} ",
            "x${HUNTER2}",
            "FILE:hunter2",
            "${2hunter2}",
        ] {
            let said = wrong.parse::<Secret>().unwrap_err();
            assert!(said.contains("${NAME}"), "{said}");
            assert!(!said.to_lowercase().contains("hunter2"), "{said}");
        }
        let age = format!("{AGE}\nhunter2\n").parse::<Secret>().unwrap_err();
        assert!(age.contains("not available in this version") && !age.contains("hunter2"), "{age}");
        assert!("file:".parse::<Secret>().is_err());
    }

    #[test]
    fn a_secret_is_shown_by_its_place_and_its_value_never() {
        for text in ["${TOKEN}", "file:/run/secrets/token"] {
            let secret: Secret = text.parse().unwrap();
            assert_eq!(secret.to_string(), text);
            assert_eq!(serde_json::to_value(&secret).unwrap(), text);
            assert_eq!(serde_json::from_value::<Secret>(text.into()).unwrap(), secret);
        }
        let value = "${CARGO_MANIFEST_DIR}".parse::<Secret>().unwrap().resolve().unwrap();
        let shown = format!("{value:?} {:?}", Some([&value]));
        assert!(!shown.contains(env!("CARGO_MANIFEST_DIR")), "{shown}");
    }
}
