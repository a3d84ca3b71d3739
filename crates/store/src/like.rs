//! What a pattern of [`Compare::Like`](crate::Compare::Like) means, once for every engine.

/// The longest pattern that an engine takes, in characters: bounds the cost of a match.
pub const PATTERN: usize = 1_000;

/// A piece of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// This character.
    One(char),
    /// One character.
    Any,
    /// Any number of characters.
    Run,
}

/// The pieces of a pattern; runs that follow each other are one.
pub fn tokens(pattern: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '%' if tokens.last() == Some(&Token::Run) => continue,
            '%' => Token::Run,
            '_' => Token::Any,
            // At the end it stands for itself.
            '\\' => Token::One(chars.next().unwrap_or('\\')),
            c => Token::One(c),
        });
    }
    tokens
}

/// One representative of the characters that differ by case alone.
pub fn fold(c: char) -> char {
    if c.is_ascii() {
        return c.to_ascii_lowercase();
    }
    // Dotless i is a letter of its own, though its capital is I.
    if c == 'ı' {
        return c;
    }
    single(single(c, char::to_uppercase), char::to_lowercase)
}

/// A mapping to one character; what maps to several stays.
fn single<I: Iterator<Item = char>>(c: char, map: impl Fn(char) -> I) -> char {
    let mut mapped = map(c);
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}
