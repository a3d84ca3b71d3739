//! Patterns over event types, as topic exchanges have them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::names::{EventType, InvalidName};

/// A pattern of dotted words in which `*` stands for one word and `#` for any
/// number of words, none included.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(String);

impl Pattern {
    /// Whether an event of this type is taken.
    pub fn matches(&self, event_type: &EventType) -> bool {
        let pattern: Vec<&str> = self.0.split('.').collect();
        let words: Vec<&str> = event_type.as_str().split('.').collect();
        // One row of the usual wildcard table: reached[i] says whether the
        // pattern so far can have consumed the first i words. Quadratic at
        // worst, whatever the pattern.
        let mut reached = vec![false; words.len() + 1];
        reached[0] = true;
        for part in pattern {
            let mut next = vec![false; words.len() + 1];
            for i in 0..=words.len() {
                next[i] = match part {
                    "#" => reached[i] || (i > 0 && next[i - 1]),
                    "*" => i > 0 && reached[i - 1],
                    word => i > 0 && reached[i - 1] && words[i - 1] == word,
                };
            }
            reached = next;
        }
        reached[words.len()]
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Pattern {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let words = text.split('.');
        let valid = text.len() <= 255
            && words.clone().count() <= 16
            && words.clone().all(|word| {
                matches!(word, "*" | "#")
                    || (!word.is_empty()
                        && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')))
            });
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName {
                what: "pattern",
                given: text.chars().take(64).collect(),
                rule: "up to 16 words joined by dots, each * or # or of A-Z a-z 0-9 _ -",
            })
        }
    }
}

impl TryFrom<String> for Pattern {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> String {
        pattern.0
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, event_type: &str) -> bool {
        pattern.parse::<Pattern>().unwrap().matches(&event_type.parse().unwrap())
    }

    #[test]
    fn star_is_one_word_and_hash_any_number() {
        assert!(matches("*.*.event.*.published", "mycompany.producer.event.client.published"));
        assert!(!matches("*.*.event.*.published", "producer.event.client.published"));
        assert!(matches("orderwire.rows.#", "orderwire.rows.air"));
        assert!(matches("orderwire.rows.#", "orderwire.rows"));
        assert!(matches("#", "a"));
        assert!(matches("#.b", "b"));
        assert!(matches("a.#.b.#", "a.x.b.y.b"));
        assert!(!matches("a.*", "a"));
        assert!(!matches("a", "a.b"));
    }

    #[test]
    fn hostile_pattern_stays_cheap() {
        let pattern = ["#"; 16].join(".");
        let words = ["a"; 16].join(".");
        assert!(matches(&pattern, &words));
    }

    #[test]
    fn malformed_patterns_are_refused() {
        for bad in ["", "a..b", "a.b*", "a b", "#a"] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad:?}");
        }
    }
}
