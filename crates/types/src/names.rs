//! Names that callers choose: checked once at the edge, trusted afterwards.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A name that does not follow its rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {given:?} is not valid: {rule}")]
pub struct InvalidName {
    /// What kind of name it is, for example "client".
    pub what: &'static str,
    /// The name as given, cut to 64 characters.
    pub given: String,
    /// The rule, as a sentence fragment.
    pub rule: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(InvalidName { what: $what, given: text.chars().take(64).collect(), rule: $rule })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// The tenant that an event, row or release belongs to.
    Client, "client", "1 to 128 of A-Z a-z 0-9 . _ -",
    |text| bounded(text, 128, |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
);
name!(
    /// A queue.
    QueueName, "queue", "1 to 64 of a-z 0-9 - _ . and a letter or digit first",
    |text| bounded(text, 64, |c| lower(c) || matches!(c, '-' | '_' | '.')) && text.starts_with(lower)
);
name!(
    /// A dataset: also a table name, hence the narrow alphabet.
    DatasetName, "dataset", "1 to 48 of a-z 0-9 _ and a letter first",
    |text| bounded(text, 48, |c| lower(c) || c == '_') && text.starts_with(|c: char| c.is_ascii_lowercase())
);
name!(
    /// A column of a dataset. A name that begins with an underscore is hidden
    /// and belongs to Orderwire.
    ColumnName, "column", "1 to 63 of A-Z a-z 0-9 _ . and a letter first",
    |text| bounded(text, 63, |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'))
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
);
name!(
    /// A DNS label: what becomes part of a target, such as the name of a product,
    /// a release, an environment or a namespace (RFC 1123).
    Label, "name", "1 to 63 of a-z 0-9 - and a letter or digit first and last",
    |text| bounded(text, 63, |c| lower(c) || c == '-')
        && text.starts_with(lower) && text.ends_with(lower)
);
name!(
    /// The type of an event: dotted words, for example
    /// `mycompany.producer.event.client.published`.
    EventType, "event type", "1 to 16 words of A-Z a-z 0-9 _ - joined by dots, 255 characters at most",
    |text| bounded(text, 255, |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
        && text.split('.').all(|word| !word.is_empty()) && text.split('.').count() <= 16
);

impl ColumnName {
    /// The name of a column of Orderwire's own.
    pub(crate) fn own(name: &'static str) -> Self {
        Self(name.into())
    }
}

impl Client {
    /// The client of everything that names none.
    pub fn default_client() -> Self {
        Self("default".into())
    }
}

fn lower(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

fn bounded(text: &str, max: usize, allowed: fn(char) -> bool) -> bool {
    !text.is_empty() && text.len() <= max && text.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_their_rules() {
        assert!("acme-1.eu_West".parse::<Client>().is_ok());
        for bad in ["", "a b", "a/b", "ä", "a\u{0}", &"x".repeat(129)] {
            assert!(bad.parse::<Client>().is_err(), "{bad:?}");
        }
        assert!("event-status".parse::<QueueName>().is_ok());
        assert!("Queue".parse::<QueueName>().is_err());
        assert!("air_quality".parse::<DatasetName>().is_ok());
        assert!("1air".parse::<DatasetName>().is_err());
        assert!("pm2_5".parse::<ColumnName>().is_ok());
        assert!("_client".parse::<ColumnName>().is_err());
        assert!("small-module-2".parse::<Label>().is_ok());
        for bad in ["", "-a", "a-", "a.b", "A", "a_b", "a\nb", &"x".repeat(64)] {
            assert!(bad.parse::<Label>().is_err(), "{bad:?}");
        }
        assert!("a.b.c".parse::<EventType>().is_ok());
        for bad in ["a..b", ".a", "a.", "a b"] {
            assert!(bad.parse::<EventType>().is_err(), "{bad:?}");
        }
    }
}
