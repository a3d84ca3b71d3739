//! What a consumer of ours takes: said in its description at the server, because filters
//! cannot say it, and because it has to outlive whoever declared it.

use std::ops::RangeInclusive;

use orderwire_types::{EventType, Pattern};
use serde::{Deserialize, Serialize};

/// How the description of a consumer that we made begins.
const IS_OURS: &str = "A queue. Made by Orderwire. It takes: ";

/// The longest description that servers take, in bytes.
const DESCRIPTION_MAX: usize = 4 << 10;

/// The types that a queue takes, each for a stretch of the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Bindings(Vec<Binding>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Binding {
    types: Pattern,
    /// It takes what is behind this place.
    after: u64,
    /// It takes nothing behind this place any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<u64>,
}

impl Bindings {
    /// What a consumer takes that we made, and that says so.
    pub(crate) fn said_by(description: &str) -> Option<Self> {
        serde_json::from_str(description.strip_prefix(IS_OURS)?).ok()
    }

    /// The description that says it; none when there is no room for it.
    pub(crate) fn description(&self) -> Option<String> {
        let said = serde_json::to_string(self).expect("patterns and numbers");
        Some(format!("{IS_OURS}{said}")).filter(|description| description.len() <= DESCRIPTION_MAX)
    }

    /// Whether it takes what came to this place by this type.
    pub(crate) fn take(&self, event_type: &EventType, place: u64) -> bool {
        let holds =
            |binding: &&Binding| binding.after < place && binding.until.is_none_or(|until| place <= until);
        self.0.iter().filter(holds).any(|binding| binding.types.matches(event_type))
    }

    /// All types, those of bindings that have ended as well.
    pub(crate) fn types(&self) -> impl Iterator<Item = &Pattern> {
        self.0.iter().map(|binding| &binding.types)
    }

    /// Binds it to these types too, from behind this place on.
    pub(crate) fn bind(&mut self, types: &[Pattern], after: u64) {
        for types in types {
            if !self.0.iter().any(|binding| binding.until.is_none() && binding.types == *types) {
                self.0.push(Binding { types: types.clone(), after, until: None });
            }
        }
    }

    /// Takes types away, but for what came up to this place.
    pub(crate) fn unbind(&mut self, types: &[Pattern], until: u64) {
        let gone = |binding: &&mut Binding| binding.until.is_none() && types.contains(&binding.types);
        for binding in self.0.iter_mut().filter(gone) {
            binding.until = Some(until);
        }
    }

    /// Forgets bindings that have ended, and of which nothing is left, since everything up to
    /// this place is done.
    pub(crate) fn forget(&mut self, done: u64) {
        self.0.retain(|binding| binding.until.is_none_or(|until| until > done && until > binding.after));
    }

    /// The types of bindings that have ended, each with the places that it takes.
    pub(crate) fn ended(&self) -> impl Iterator<Item = (&Pattern, RangeInclusive<u64>)> {
        self.0.iter().filter_map(|binding| Some((&binding.types, binding.after + 1..=binding.until?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(text: &str) -> Vec<Pattern> {
        text.split(' ').map(|pattern| pattern.parse().unwrap()).collect()
    }

    fn take(bindings: &Bindings, event_type: &str, place: u64) -> bool {
        bindings.take(&event_type.parse().unwrap(), place)
    }

    #[test]
    fn a_binding_takes_what_came_while_it_was() {
        let mut bindings = Bindings::default();
        bindings.bind(&types("a.* b"), 10);
        assert!(take(&bindings, "a.x", 11) && take(&bindings, "b", 99));
        assert!(!take(&bindings, "a.x", 10) && !take(&bindings, "c", 11));
        // Again changes nothing.
        let before = bindings.clone();
        bindings.bind(&types("b"), 20);
        assert_eq!(bindings, before);
        bindings.unbind(&types("b never"), 30);
        assert!(take(&bindings, "b", 30) && !take(&bindings, "b", 31) && take(&bindings, "a.x", 31));
        // Once more, after a gap.
        bindings.bind(&types("b"), 40);
        assert!(!take(&bindings, "b", 40) && take(&bindings, "b", 41));
        assert_eq!(bindings.ended().count(), 1);
        bindings.forget(29);
        assert!(take(&bindings, "b", 30));
        bindings.forget(30);
        assert!(!take(&bindings, "b", 30) && take(&bindings, "b", 41));
    }

    #[test]
    fn a_binding_that_took_nothing_leaves_nothing() {
        let mut bindings = Bindings::default();
        bindings.bind(&types("a"), 10);
        bindings.unbind(&types("a"), 10);
        bindings.forget(0);
        assert_eq!(bindings, Bindings::default());
    }

    #[test]
    fn a_description_says_it_all() {
        let mut bindings = Bindings::default();
        bindings.bind(&types("a.* b.#"), 3);
        bindings.unbind(&types("b.#"), 7);
        let description = bindings.description().unwrap();
        assert_eq!(Bindings::said_by(&description), Some(bindings));
        let none = Bindings::default();
        assert_eq!(Bindings::said_by(&none.description().unwrap()), Some(none));
        for others in ["", "of others", "A queue. Made by Orderwire. It takes: what comes"] {
            assert_eq!(Bindings::said_by(others), None, "{others}");
        }
    }

    #[test]
    fn there_is_not_room_for_everything() {
        let mut bindings = Bindings::default();
        let long = |n: usize| format!("{}.{n}", ["word"; 15].join("."));
        for n in 0..30 {
            bindings.bind(&types(&long(n)), u64::MAX);
            assert!(bindings.description().is_some(), "{n}");
        }
        for n in 30..60 {
            bindings.bind(&types(&long(n)), u64::MAX);
        }
        assert_eq!(bindings.description(), None);
    }
}
