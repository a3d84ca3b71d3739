//! The key of a dataset as it is written.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};

use crate::names::{ColumnName, InvalidName};

/// The hidden column that every key begins with, said or not.
const CLIENT: &str = "_client";

/// Reads a key. A leading `_client` says what is true of every key and is left
/// out; elsewhere, or alone, it is a fault.
pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ColumnName>, D::Error> {
    deserializer.deserialize_seq(Key)
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
enum Part {
    Client,
    Column(ColumnName),
}

impl TryFrom<String> for Part {
    type Error = InvalidName;

    fn try_from(name: String) -> Result<Self, InvalidName> {
        if name == CLIENT { Ok(Self::Client) } else { name.parse().map(Self::Column) }
    }
}

struct Key;

impl<'de> Visitor<'de> for Key {
    type Value = Vec<ColumnName>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of columns")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut key = Vec::new();
        let mut client = false;
        while let Some(part) = seq.next_element()? {
            match part {
                Part::Column(name) => key.push(name),
                Part::Client if client || !key.is_empty() => {
                    return Err(A::Error::custom(
                        "_client is part of every key and may only be named once, as its first column",
                    ));
                }
                Part::Client => client = true,
            }
        }
        if client && key.is_empty() {
            return Err(A::Error::custom("a key needs at least one column beside _client"));
        }
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use crate::dataset::DatasetDef;

    fn read(key: &str) -> Result<DatasetDef, serde_json::Error> {
        let fields =
            r#"[{"name":"a","type":"text","required":true},{"name":"b","type":"text","required":true}]"#;
        serde_json::from_str(&format!(r#"{{"fields":{fields},"key":{key}}}"#))
    }

    #[test]
    fn a_leading_client_says_what_every_key_is() {
        let def = read(r#"["_client","a","b"]"#).unwrap();
        assert_eq!(def, read(r#"["a","b"]"#).unwrap());
        assert!(def.faults().is_empty());
        assert!(serde_json::to_string(&def).unwrap().contains(r#""key":["a","b"]"#));
        for bad in [r#"["a","_client"]"#, r#"["_client","_client","a"]"#, r#"["_client"]"#] {
            let err = read(bad).unwrap_err().to_string();
            assert!(err.contains("_client"), "{bad}: {err}");
        }
        assert!(read(r#"["_seq","a"]"#).is_err());
        assert!(read("[]").unwrap().key.is_empty());
    }
}
