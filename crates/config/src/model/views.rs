use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use orderwire_types::dataset::{FieldType, Span};
use orderwire_types::{Client, DatasetName};
use schemars::JsonSchema;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A cached, shaped read of a dataset under a path of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct View {
    /// The path under which it is served, for example `/api/v1/measures/air`.
    pub path: String,
    /// The dataset that it reads.
    #[schemars(with = "String")]
    pub dataset: DatasetName,
    /// The columns that it shows; without it all but the hidden ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
    /// The rows that it shows, as a PostgREST query string: `no2=gt.0&co=lt.9`. `{name}` stands for the
    /// value of a parameter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// What callers may say, by name: values that the filter uses as `{name}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Param>,
    /// Their order, as in PostgREST: `TimeInstant.asc,id_entity`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// A list of rows, rows grouped by the value of a column, the newest row of each value, or
    /// an array for each column.
    #[serde(default)]
    pub shape: Shape,
    /// The column whose value groups the rows; for `shape: grouped` and `latest`, and if wanted
    /// for `series`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_by: Option<String>,
    /// The most rows that it shows; at most `limits.rows`, the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// How old an answer may be.
    #[serde(default)]
    pub freshness: Freshness,
    /// The longest that an answer is kept, 1s to 1h.
    #[serde(default = "ttl_default")]
    pub ttl: Span,
    /// Who may read it.
    #[serde(default)]
    pub read: Read,
    /// The clients whose rows a public view shows; by default `[default]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<Clients>,
}

fn ttl_default() -> Span {
    Span(Duration::from_secs(3_600))
}

impl View {
    /// Whose rows anyone may read here; none when the view needs a key, whose
    /// scope decides then.
    pub fn public_clients(&self) -> Option<Clients> {
        match self.read {
            Read::Key => None,
            Read::Public => {
                Some(self.clients.clone().unwrap_or_else(|| Clients::Named(vec![Client::default_client()])))
            }
        }
    }
}

/// The form of a view's answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// A list of rows.
    #[default]
    Rows,
    /// An object with a member for each value of `group_by`.
    Grouped,
    /// A list with the newest row of each value of `group_by`.
    Latest,
    /// An object with an array for each column, in the order of time; with `group_by` one such
    /// object for each value.
    Series,
}

/// A parameter of a view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Param {
    /// The type of its values.
    #[serde(rename = "type")]
    pub param_type: FieldType,
    /// Whether it must be given. The conditions with one that is not given are left out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// What it is when it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Scalar>,
    /// What it means, for the API's description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A value that needs no quotes where it is a number or a boolean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Scalar {
    /// true or false.
    Boolean(bool),
    /// A number.
    Number(serde_json::Number),
    /// Anything else.
    Text(String),
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(yes) => yes.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// Who may read a view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Read {
    /// Whoever has a key; its scope decides which rows.
    #[default]
    Key,
    /// Anyone; `clients` decides which rows.
    Public,
}

/// How old an answer may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Freshness {
    /// Never older than what was recorded when the read began.
    #[default]
    Strict,
    /// At most this old, 5s to 1h: for data that changes all the time.
    Within(Span),
}

impl Serialize for Freshness {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Strict => serializer.serialize_str("strict"),
            Self::Within(span) => span.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Freshness {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "strict" {
            return Ok(Self::Strict);
        }
        let wrong =
            |_| de::Error::custom(format!("{text:?} is neither strict nor a length of time from 5s to 1h"));
        text.parse().map(Self::Within).map_err(wrong)
    }
}

impl JsonSchema for Freshness {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Freshness".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^(strict|[0-9]+(ms|s|m|h|d))$",
            "description": "strict, or how old an answer may be: 5s to 1h"
        })
    }
}

/// Whose rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clients {
    /// Everybody's.
    All,
    /// Those of these clients.
    Named(Vec<Client>),
}

impl Serialize for Clients {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => serializer.serialize_str("all"),
            Self::Named(clients) => clients.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Clients {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AllOrList;
        impl<'de> Visitor<'de> for AllOrList {
            type Value = Clients;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("all or a list of clients such as [default]")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Clients, E> {
                if text == "all" {
                    Ok(Clients::All)
                } else {
                    Err(E::invalid_value(de::Unexpected::Str(text), &self))
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Clients, A::Error> {
                let mut clients = Vec::new();
                while let Some(client) = items.next_element()? {
                    clients.push(client);
                }
                Ok(Clients::Named(clients))
            }
        }
        deserializer.deserialize_any(AllOrList)
    }
}

impl JsonSchema for Clients {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Clients".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "anyOf": [
                { "const": "all" },
                { "type": "array", "items": { "type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$" } }
            ],
            "description": "all, or the names of clients"
        })
    }
}
