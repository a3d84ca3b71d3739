//! Topics of MQTT: patterns over them whose levels have names, and texts made of what
//! stands at these names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest pattern and the longest text, in bytes.
const BYTES_MAX: usize = 1024;
/// The most levels of a pattern.
const LEVELS_MAX: usize = 64;

/// A text that is no pattern, or no text with names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidTopic(String);

/// A pattern over topics: levels joined by `/`. `{name}` is one level that has a name, `+`
/// one without, and a `#` at the end any number of levels, none included.
///
/// As MQTT says, wild cards at the beginning do not stand for topics that begin with `$`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TopicPattern {
    text: String,
    levels: Vec<Level>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Level {
    /// This text.
    Literal(String),
    /// One level, with its name.
    One(Option<String>),
    /// All the others.
    Rest,
}

impl TopicPattern {
    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The pattern as brokers know it: a topic filter of MQTT.
    pub fn filter(&self) -> String {
        let levels = self.levels.iter().map(|level| match level {
            Level::Literal(text) => text.as_str(),
            Level::One(_) => "+",
            Level::Rest => "#",
        });
        levels.collect::<Vec<_>>().join("/")
    }

    /// The names of its levels, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.levels.iter().filter_map(|level| match level {
            Level::One(name) => name.as_deref(),
            Level::Literal(_) | Level::Rest => None,
        })
    }

    /// What stands at its names in a topic; `None`: it is not of this pattern.
    pub fn read<'t>(&'t self, topic: &'t str) -> Option<Names<'t>> {
        let mut names = Vec::new();
        let mut given = topic.split('/');
        for (index, level) in self.levels.iter().enumerate() {
            if *level == Level::Rest {
                return (index > 0 || !topic.starts_with('$')).then_some(Names(names));
            }
            let text = given.next()?;
            match level {
                Level::Literal(literal) if literal != text => return None,
                Level::One(_) if index == 0 && text.starts_with('$') => return None,
                Level::One(Some(name)) => names.push((name.as_str(), text)),
                Level::Literal(_) | Level::One(None) | Level::Rest => {}
            }
        }
        given.next().is_none().then_some(Names(names))
    }

    /// Whether every topic of the other pattern is one of this pattern, too.
    pub fn covers(&self, other: &Self) -> bool {
        let mut others = other.levels.iter();
        for (index, level) in self.levels.iter().enumerate() {
            let other = others.next();
            let is_own = matches!(other, Some(Level::Literal(text)) if index == 0 && text.starts_with('$'));
            match (level, other) {
                (Level::Rest, _) => return !is_own,
                (Level::One(_), Some(Level::One(_))) => {}
                (Level::One(_), Some(Level::Literal(_))) if !is_own => {}
                (Level::Literal(one), Some(Level::Literal(other))) if one == other => {}
                _ => return false,
            }
        }
        others.next().is_none()
    }
}

impl FromStr for TopicPattern {
    type Err = InvalidTopic;

    fn from_str(text: &str) -> Result<Self, InvalidTopic> {
        let wrong =
            |detail: &str| Err(InvalidTopic(format!("topic {:?} is not valid: {detail}", shown(text))));
        if text.is_empty() || text.len() > BYTES_MAX || text.chars().any(char::is_control) {
            return wrong("1 to 1024 bytes without control characters");
        }
        if text.starts_with("$share/") {
            return wrong("shared subscriptions are not available; write the topic alone");
        }
        let mut levels = Vec::new();
        let mut given = text.split('/').peekable();
        while let Some(level) = given.next() {
            levels.push(match level {
                "#" if given.peek().is_some() => return wrong("# stands at the end alone"),
                "#" => Level::Rest,
                "+" => Level::One(None),
                _ => match level.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
                    Some(name) if is_name(name) => Level::One(Some(name.to_owned())),
                    Some(_) => return wrong(NAME_RULE),
                    None if level.contains(['#', '+', '{', '}']) => {
                        return wrong("#, + and {name} are a level of their own");
                    }
                    None => Level::Literal(level.to_owned()),
                },
            });
        }
        if levels.len() > LEVELS_MAX {
            return wrong("at most 64 levels");
        }
        let pattern = Self { text: text.to_owned(), levels };
        let mut names: Vec<&str> = pattern.names().collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return wrong("each name once");
        }
        Ok(pattern)
    }
}

/// What stands at the names of a pattern in one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names<'t>(Vec<(&'t str, &'t str)>);

impl Names<'_> {
    /// What stands at this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| *other == name).map(|(_, text)| *text)
    }
}

/// A text in which `{name}` stands for what a topic has at that name.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TopicText {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Name(String),
}

impl TopicText {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The names that it needs.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Name(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// The text for one topic. A name that its pattern has not stands for nothing.
    pub fn fill(&self, names: &Names<'_>) -> String {
        self.fill_with(|name| names.get(name).unwrap_or_default())
    }

    /// The text with something at every name.
    pub fn fill_with<'n>(&self, value: impl Fn(&str) -> &'n str) -> String {
        let parts = self.parts.iter().map(|part| match part {
            Part::Text(text) => text.as_str(),
            Part::Name(name) => value(name),
        });
        parts.collect()
    }
}

impl FromStr for TopicText {
    type Err = InvalidTopic;

    fn from_str(text: &str) -> Result<Self, InvalidTopic> {
        let wrong = |detail: &str| InvalidTopic(format!("{:?} is not valid: {detail}", shown(text)));
        if text.is_empty() || text.len() > BYTES_MAX {
            return Err(wrong("1 to 1024 bytes"));
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('{') {
            let (name, behind) = behind.split_once('}').ok_or_else(|| wrong("a { without its }"))?;
            if !is_name(name) {
                return Err(wrong(NAME_RULE));
            }
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(Part::Name(name.to_owned()));
            rest = behind;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        if parts.iter().any(|part| matches!(part, Part::Text(text) if text.contains('}'))) {
            return Err(wrong("a } without its {"));
        }
        Ok(Self { text: text.to_owned(), parts })
    }
}

const NAME_RULE: &str = "a name in braces is 1 to 64 of a-z 0-9 _ and a letter first";

fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    text.len() <= 64 && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(allowed)
}

fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

macro_rules! as_text {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = InvalidTopic;

            fn try_from(text: String) -> Result<Self, InvalidTopic> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.text
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.text)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.text)
            }
        }
    };
}

as_text!(TopicPattern);
as_text!(TopicText);

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> TopicPattern {
        text.parse().unwrap()
    }

    #[test]
    fn levels_have_names() {
        let plants = pattern("plants/{client}/+/{station}/air/#");
        assert_eq!(plants.filter(), "plants/+/+/+/air/#");
        assert_eq!(plants.names().collect::<Vec<_>>(), ["client", "station"]);
        let names = plants.read("plants/acme/x/s1/air").unwrap();
        assert_eq!(
            (names.get("client"), names.get("station"), names.get("x")),
            (Some("acme"), Some("s1"), None)
        );
        assert!(plants.read("plants/acme/x/s1/air/a/b").is_some());
        for other in ["plants/acme/x/s1", "plants/acme/s1/air", "plant/acme/x/s1/air", "", "plants//x"] {
            assert!(plants.read(other).is_none(), "{other}");
        }
        assert_eq!(pattern("a/{b}").read("a/").unwrap().get("b"), Some(""));
        assert!(pattern("a/{b}").read("a/b/c").is_none());
        assert!(pattern("#").read("a/b").is_some());
        let text: TopicText = "air-{station}.{client}".parse().unwrap();
        assert_eq!(text.fill(&names), "air-s1.acme");
    }

    #[test]
    fn topics_of_the_broker_itself_are_asked_for_by_name_alone() {
        for wild in ["#", "+/x", "{a}/x"] {
            assert!(pattern(wild).read("$SYS/x").is_none(), "{wild}");
            assert!(!pattern(wild).covers(&pattern("$SYS/x")), "{wild}");
        }
        assert!(pattern("$SYS/#").read("$SYS/x").is_some());
        assert!(pattern("$SYS/#").covers(&pattern("$SYS/x")));
    }

    #[test]
    fn a_pattern_covers_what_it_would_read_anyway() {
        for (one, other, covers) in [
            ("a/#", "a/{b}", true),
            ("a/#", "a", true),
            ("#", "a/#", true),
            ("a/{x}", "a/{y}", true),
            ("a/{x}", "a/b", true),
            ("a/b", "a/{x}", false),
            ("a/{x}", "a/#", false),
            ("a/{x}", "a", false),
            ("a/b", "a/b", true),
            ("a/b", "a/b/c", false),
            ("a/{x}/c", "a/b/{x}", false),
        ] {
            assert_eq!(pattern(one).covers(&pattern(other)), covers, "{one} over {other}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for bad in [
            "",
            "a/#/b",
            "a#",
            "a/b+",
            "{",
            "{}",
            "{A}",
            "a{b}",
            "{a}{b}",
            "{a}/{a}",
            "a\u{0}",
            "$share/g/a",
            &"a".repeat(1025),
            &"/".repeat(64),
        ] {
            assert!(bad.parse::<TopicPattern>().is_err(), "{bad:?}");
        }
        for bad in ["", "{a", "a}", "{}", "{a b}", "{a}}"] {
            assert!(bad.parse::<TopicText>().is_err(), "{bad:?}");
        }
    }
}
