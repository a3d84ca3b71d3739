//! Patterns in PostgreSQL's words.
//!
//! LIKE is its own, over code points as the columns compare by them. ILIKE is not: what
//! differs by case alone depends on the server's locale there. It is a regular expression
//! with, for each character, all that [fold](orderwire_store::like::fold) to the same.

use std::collections::HashMap;
use std::sync::LazyLock;

use orderwire_store::like::{Token, fold, tokens};

use super::table::push;

/// A pattern for LIKE. Ours may end in a backslash.
pub(super) fn like(pattern: &str) -> String {
    let mut like = String::with_capacity(pattern.len() + 1);
    for token in tokens(pattern) {
        match token {
            Token::Run => like.push('%'),
            Token::Any => like.push('_'),
            Token::One(c) => {
                if matches!(c, '%' | '_' | '\\') {
                    like.push('\\');
                }
                like.push(c);
            }
        }
    }
    like
}

/// A regular expression for the same without regard to case. Every character stands in it
/// by its number, so that none means anything else.
pub(super) fn regular(pattern: &str) -> String {
    let mut regular = "^".to_owned();
    for token in tokens(pattern) {
        match token {
            Token::Run => regular.push_str(".*"),
            Token::Any => regular.push('.'),
            Token::One(c) => match FOLDED.get(&fold(c)) {
                Some(same) => {
                    regular.push('[');
                    same.iter().for_each(|c| character(&mut regular, *c));
                    regular.push(']');
                }
                None => character(&mut regular, c),
            },
        }
    }
    regular.push('$');
    regular
}

fn character(regular: &mut String, c: char) {
    push(regular, format_args!("\\U{:08X}", u32::from(c)));
}

/// Characters that fold to the same, by what they fold to, where they are several.
static FOLDED: LazyLock<HashMap<char, Vec<char>>> = LazyLock::new(|| {
    let mut folded: HashMap<char, Vec<char>> = HashMap::new();
    for c in '\u{1}'..=char::MAX {
        let representative = fold(c);
        if representative != c {
            folded.entry(representative).or_default().push(c);
        }
    }
    folded.iter_mut().for_each(|(representative, same)| same.push(*representative));
    folded
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_the_same_in_other_words() {
        for (given, written) in [("a%_b", "a%_b"), (r"a\%\_\\", r"a\%\_\\"), (r"a\", r"a\\"), (r"\b%%", "b%")]
        {
            assert_eq!(like(given), written, "{given}");
        }
        assert_eq!(regular(r"%1_\%"), r"^.*\U00000031.\U00000025$");
        assert_eq!(regular("ı]"), r"^\U00000131\U0000005D$");
        // The Kelvin sign is a K.
        assert_eq!(regular("k"), regular("\u{212a}"));
        assert!(regular("k").contains("\\U0000212A") && regular("k").contains("\\U0000006B"));
    }
}
