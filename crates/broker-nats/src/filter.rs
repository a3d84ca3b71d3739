//! Patterns of types as filters of NATS, in which `*` is one word and `>`, at the end
//! only, one word or more.

use orderwire_types::Pattern;

/// Filters that together let through whatever one of the patterns takes. No two of them
/// let through the same, which a server refuses. Only where NATS cannot say it do they let
/// through more.
pub(crate) fn filters<'a>(patterns: impl IntoIterator<Item = &'a Pattern>) -> Vec<String> {
    apart(patterns.into_iter().flat_map(of_pattern).collect())
}

/// Filters that let through what these do, and of which no two let through the same.
pub(crate) fn apart(filters: Vec<String>) -> Vec<String> {
    let mut apart: Vec<String> = Vec::new();
    for mut filter in filters {
        // What overlaps with it is joined with it, which may then overlap with others.
        while let Some(index) = apart.iter().position(|other| overlap(other, &filter)) {
            filter = cover(&apart.swap_remove(index), &filter);
        }
        apart.push(filter);
    }
    apart.sort();
    apart
}

/// The narrowest filter that lets through what each of these does. None for none.
pub(crate) fn single(filters: Vec<String>) -> Option<String> {
    filters.into_iter().reduce(|one, other| cover(&one, &other))
}

/// Whether all that `narrow` lets through is let through by one of `wide`.
pub(crate) fn covered(narrow: &str, wide: &[String]) -> bool {
    wide.iter().any(|wide| cover(wide, narrow) == *wide)
}

fn of_pattern(pattern: &Pattern) -> Vec<String> {
    let words: Vec<&str> = pattern.as_str().split('.').collect();
    let Some(hash) = words.iter().position(|word| *word == "#") else {
        return vec![pattern.as_str().to_owned()];
    };
    let (head, tail) = (&words[..hash], &words[hash..]);
    let open = [head, &[">"]].concat().join(".");
    if head.is_empty() || tail.iter().any(|word| *word != "#") {
        // At least one word follows, of which a filter cannot say more.
        return vec![open];
    }
    // None, or some.
    vec![head.join("."), open]
}

/// A filter in parts: its words, and whether more words have to follow.
fn parts(filter: &str) -> (Vec<&str>, bool) {
    let mut words: Vec<&str> = filter.split('.').collect();
    let open = words.last() == Some(&">");
    if open {
        words.pop();
    }
    (words, open)
}

/// The narrowest filter that lets through what either does.
fn cover(one: &str, other: &str) -> String {
    let ((one, one_open), (other, other_open)) = (parts(one), parts(other));
    let same_length = one.len() == other.len();
    let open = one_open || other_open || !same_length;
    // What `>` stands for has at least one word in both.
    let fixed = if open {
        let fewest = (one.len() + usize::from(one_open)).min(other.len() + usize::from(other_open));
        fewest - 1
    } else {
        one.len()
    };
    let mut words: Vec<&str> = one
        .iter()
        .zip(&other)
        .take(fixed)
        .map(|(one, other)| if one == other { *one } else { "*" })
        .collect();
    if open {
        words.push(">");
    }
    words.join(".")
}

/// Whether there is something that both let through.
pub(crate) fn overlap(one: &str, other: &str) -> bool {
    let ((one, one_open), (other, other_open)) = (parts(one), parts(other));
    let alike = one.iter().zip(&other).all(|(one, other)| one == other || *one == "*" || *other == "*");
    alike
        && match one.len().cmp(&other.len()) {
            std::cmp::Ordering::Less => one_open,
            std::cmp::Ordering::Greater => other_open,
            std::cmp::Ordering::Equal => one_open == other_open,
        }
}

#[cfg(test)]
mod tests {
    use orderwire_types::EventType;
    use proptest::prelude::*;

    use super::*;

    fn of(patterns: &[&str]) -> Vec<String> {
        let patterns: Vec<Pattern> = patterns.iter().map(|text| text.parse().unwrap()).collect();
        filters(&patterns)
    }

    #[test]
    fn patterns_that_nats_can_say_are_said_exactly() {
        assert_eq!(of(&["a.b"]), ["a.b"]);
        assert_eq!(
            of(&["*.*.event.*.published", "orderwire.order.requested"]),
            ["*.*.event.*.published", "orderwire.order.requested"]
        );
        assert_eq!(of(&["orderwire.rows.#"]), ["orderwire.rows", "orderwire.rows.>"]);
        assert_eq!(of(&["a.#.#"]), ["a", "a.>"]);
        assert_eq!(of(&["#"]), [">"]);
    }

    #[test]
    fn patterns_that_nats_cannot_say_are_widened() {
        assert_eq!(of(&["a.#.b"]), ["a.>"]);
        assert_eq!(of(&["#.b"]), [">"]);
        assert_eq!(of(&["a.*.c", "a.b.*"]), ["a.*.*"]);
        assert_eq!(of(&["a.*", "a.#", "*.b"]), ["*.>", "a"]);
    }

    #[test]
    fn one_filter_covers_as_little_as_it_can() {
        let one = |patterns: &[&str]| single(of(patterns)).unwrap();
        assert_eq!(one(&["a.b.c", "a.x.c"]), "a.*.c");
        assert_eq!(one(&["*.*.event.*.published", "orderwire.order.requested"]), "*.*.>");
        assert_eq!(one(&["a.b", "a.b.c"]), "a.>");
        assert_eq!(one(&["a.#"]), ">");
        assert_eq!(single(Vec::new()), None);
    }

    #[test]
    fn a_filter_is_covered_by_a_wider_one() {
        let within = |narrow: &str, wide: &str| covered(narrow, &[wide.to_owned()]);
        assert!(within("a.b", "a.*") && within("a.b.c", "a.>") && within("a.>", ">") && within("a", "a"));
        assert!(!within("a", "a.>") && !within("a.*", "a.b") && !within(">", "*") && !within("a.>", "a.*"));
    }

    /// What NATS lets through.
    fn lets_through(filter: &str, subject: &str) -> bool {
        let (words, open) = parts(filter);
        let subject: Vec<&str> = subject.split('.').collect();
        let enough = if open { subject.len() > words.len() } else { subject.len() == words.len() };
        enough && words.iter().zip(&subject).all(|(word, given)| *word == "*" || word == given)
    }

    fn pattern() -> impl Strategy<Value = Pattern> {
        let word = prop_oneof![3 => "[ab]", 1 => Just("*".to_owned()), 1 => Just("#".to_owned())];
        proptest::collection::vec(word, 1..5).prop_map(|words| words.join(".").parse().unwrap())
    }

    fn event_type() -> impl Strategy<Value = EventType> {
        proptest::collection::vec("[abc]", 1..6).prop_map(|words| words.join(".").parse().unwrap())
    }

    proptest! {
        #[test]
        fn nothing_that_a_pattern_takes_is_held_back(
            patterns in proptest::collection::vec(pattern(), 1..5),
            event_type in event_type(),
        ) {
            let filters = filters(&patterns);
            let passed = filters.iter().filter(|filter| lets_through(filter, event_type.as_str())).count();
            // Once: a server refuses filters that overlap.
            prop_assert!(passed <= 1, "{filters:?}");
            if patterns.iter().any(|pattern| pattern.matches(&event_type)) {
                prop_assert_eq!(passed, 1, "{:?}", filters);
                let single = single(filters).expect("of some filters");
                prop_assert!(lets_through(&single, event_type.as_str()), "{}", single);
            }
        }

        #[test]
        fn what_is_covered_is_let_through(one in pattern(), other in pattern(), event_type in event_type()) {
            for narrow in of_pattern(&one) {
                for wide in of_pattern(&other) {
                    let (narrow_passes, wide_passes) =
                        (lets_through(&narrow, event_type.as_str()), lets_through(&wide, event_type.as_str()));
                    if covered(&narrow, std::slice::from_ref(&wide)) {
                        prop_assert!(!narrow_passes || wide_passes, "{narrow} {wide}");
                    }
                    if narrow_passes && wide_passes {
                        prop_assert!(overlap(&narrow, &wide), "{narrow} {wide}");
                    }
                }
            }
        }
    }
}
