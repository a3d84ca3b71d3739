//! LIKE over code points. SQLite's own ignores the case of ASCII alone and
//! depends on a setting of the connection.

use std::sync::Arc;

use orderwire_store::like::{Token, fold, tokens};
use rusqlite::Connection;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;

/// Makes `ow_like(text, pattern)` and `ow_ilike` known to a connection; both
/// are null for a null text.
pub(super) fn register(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("ow_like", 2, flags, |context| matches(context, false))?;
    connection.create_scalar_function("ow_ilike", 2, flags, |context| matches(context, true))
}

fn matches(context: &Context<'_>, ignore_case: bool) -> rusqlite::Result<Option<bool>> {
    let pattern: Arc<Pattern> =
        context.get_or_create_aux(1, |value| value.as_str().map(|text| Pattern::new(text, ignore_case)))?;
    match context.get_raw(0) {
        ValueRef::Null => Ok(None),
        text => Ok(Some(pattern.matches(text.as_str()?))),
    }
}

/// What a text must begin with to match, as a range of texts: from the first
/// one up to, but without, the second. `None` when the pattern begins with a
/// wild card.
pub(super) fn range(pattern: &str) -> Option<(String, String)> {
    let literal = |token: &Token| match token {
        Token::One(c) => Some(*c),
        Token::Any | Token::Run => None,
    };
    let prefix: Vec<char> = tokens(pattern).iter().map_while(literal).collect();
    let mut until = prefix.clone();
    while let Some(last) = until.pop() {
        // The next code point; a step over the surrogates, which no text has.
        let next = if last == '\u{d7ff}' { Some('\u{e000}') } else { char::from_u32(u32::from(last) + 1) };
        if let Some(next) = next {
            until.push(next);
            return Some((prefix.into_iter().collect(), until.into_iter().collect()));
        }
    }
    None
}

/// A pattern, ready to match.
#[derive(Debug)]
struct Pattern {
    tokens: Vec<Token>,
    ignore_case: bool,
}

impl Pattern {
    fn new(pattern: &str, ignore_case: bool) -> Self {
        let mut tokens = tokens(pattern);
        if ignore_case {
            for token in &mut tokens {
                if let Token::One(c) = token {
                    *c = fold(*c);
                }
            }
        }
        Self { tokens, ignore_case }
    }

    /// Goes back to the last run only: at most length of the text times length
    /// of the pattern steps.
    fn matches(&self, text: &str) -> bool {
        let mut rest = text.chars();
        let mut at = 0;
        // Behind the last run: the token after it, and the text that it has not taken.
        let mut run: Option<(usize, std::str::Chars<'_>)> = None;
        loop {
            match self.tokens.get(at) {
                Some(Token::Run) => {
                    at += 1;
                    if at == self.tokens.len() {
                        return true;
                    }
                    run = Some((at, rest.clone()));
                    continue;
                }
                Some(token) => {
                    let Some(c) = rest.next() else { return false };
                    if self.takes(*token, c) {
                        at += 1;
                        continue;
                    }
                }
                None if rest.as_str().is_empty() => return true,
                None => {}
            }
            // The run takes one character more.
            let Some((after, untaken)) = &mut run else { return false };
            if untaken.next().is_none() {
                return false;
            }
            at = *after;
            rest = untaken.clone();
        }
    }

    fn takes(&self, token: Token, c: char) -> bool {
        match token {
            Token::Any | Token::Run => true,
            Token::One(wanted) if self.ignore_case => wanted == c || wanted == fold(c),
            Token::One(wanted) => wanted == c,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn like(text: &str, pattern: &str) -> bool {
        Pattern::new(pattern, false).matches(text)
    }

    fn ilike(text: &str, pattern: &str) -> bool {
        Pattern::new(pattern, true).matches(text)
    }

    #[test]
    fn wild_cards_stand_for_characters() {
        for (text, pattern) in [
            ("", ""),
            ("", "%"),
            ("abc", "abc"),
            ("abc", "a%"),
            ("abc", "%c"),
            ("abc", "a_c"),
            ("abc", "%%b%"),
            ("a%c", "a\\%c"),
            ("a_c", "a\\_c"),
            ("a\\c", "a\\\\c"),
            ("a\\", "a\\"),
            ("größe", "gr__e"),
            ("aab", "%ab"),
            ("mississippi", "%iss%ip%"),
        ] {
            assert!(like(text, pattern), "{text:?} {pattern:?}");
        }
        for (text, pattern) in [
            ("abc", "ab"),
            ("abc", "bc"),
            ("abc", "A%"),
            ("abc", "a\\%"),
            ("abc", "____"),
            ("", "_"),
            ("axc", "a\\_c"),
            ("abc", "%d%"),
        ] {
            assert!(!like(text, pattern), "{text:?} {pattern:?}");
        }
    }

    #[test]
    fn case_is_folded_beyond_ascii() {
        for (text, pattern) in [
            ("ÄRGER", "ärg%"),
            ("straße", "STRAẞE"),
            ("ΟΔΟΣ", "οδος"),
            ("οδοσ", "οδος"),
            ("\u{212a}elvin", "k%"),
            ("ſ", "S"),
            ("МОСКВА", "%оскв%"),
        ] {
            assert!(ilike(text, pattern), "{text:?} {pattern:?}");
        }
        for (text, pattern) in [("ı", "i"), ("ä", "a"), ("strasse", "straße")] {
            assert!(!ilike(text, pattern), "{text:?} {pattern:?}");
        }
    }

    #[test]
    fn a_hostile_pattern_costs_no_more_than_its_length() {
        // Backtracking over every run would take longer than anyone waits.
        let pattern = format!("{}b", "%a_".repeat(300));
        assert!(!like(&"a".repeat(20_000), &pattern));
    }

    proptest! {
        #[test]
        fn a_range_holds_every_match(pattern in "[ab%_\\\\\u{d7ff}\u{10ffff}]{0,6}", text in "[ab\u{d7ff}\u{10ffff}]{0,6}") {
            if let Some((from, until)) = range(&pattern) {
                prop_assert!(!like(&text, &pattern) || (from <= text && text < until));
            }
        }

        #[test]
        fn matching_agrees_with_its_definition(pattern in "[ab%_]{0,6}", text in "[ab]{0,8}") {
            prop_assert_eq!(like(&text, &pattern), defined(text.as_bytes(), pattern.as_bytes()));
        }
    }

    /// The definition, with exponential cost.
    fn defined(text: &[u8], pattern: &[u8]) -> bool {
        match (text, pattern) {
            ([], []) => true,
            (_, [b'%', rest @ ..]) => {
                defined(text, rest) || (!text.is_empty() && defined(&text[1..], pattern))
            }
            ([_, text @ ..], [b'_', rest @ ..]) => defined(text, rest),
            ([c, text @ ..], [d, rest @ ..]) => c == d && defined(text, rest),
            _ => false,
        }
    }
}
