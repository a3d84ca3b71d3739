//! Lists of texts in the forms that they have outside: a JSON array, and the literal of
//! PostgreSQL (`{a,"b,c"}`), which PostgREST uses in filters and CSV.

use std::borrow::Cow;

use crate::envelope::{Name, write_text};

/// The texts of a compact or spaced JSON array; `None` when it is none, or an element is no text.
pub fn from_json(json: &str) -> Option<Vec<Cow<'_, str>>> {
    let elements: Vec<Name<'_>> = serde_json::from_str(json).ok()?;
    Some(elements.into_iter().map(|Name(text)| text).collect())
}

/// A JSON array without white space.
pub fn to_json<T: AsRef<str>>(texts: &[T]) -> String {
    let mut json = String::with_capacity(2 + texts.iter().map(|text| text.as_ref().len() + 3).sum::<usize>());
    json.push('[');
    for (i, text) in texts.iter().enumerate() {
        if i > 0 {
            json.push(',');
        }
        write_text(&mut json, text.as_ref());
    }
    json.push(']');
    json
}

/// The texts of a literal: one level, no null.
///
/// # Errors
/// Says what is wrong with it.
pub fn from_literal(literal: &str) -> Result<Vec<String>, &'static str> {
    let inner = literal.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let inner = inner.ok_or("a list in braces, such as {a,\"b,c\"}")?;
    let mut texts = Vec::new();
    if inner.trim().is_empty() {
        return Ok(texts);
    }
    let mut chars = inner.chars().peekable();
    loop {
        while chars.next_if(char::is_ascii_whitespace).is_some() {}
        let mut text = String::new();
        if chars.next_if_eq(&'"').is_some() {
            loop {
                match chars.next() {
                    Some('"') => break,
                    Some('\\') => text.push(chars.next().ok_or("a quote that ends")?),
                    Some(c) => text.push(c),
                    None => return Err("a quote that ends"),
                }
            }
            while chars.next_if(char::is_ascii_whitespace).is_some() {}
        } else {
            // Where the text ends that is no white space at the end.
            let mut end = 0;
            while let Some(c) = chars.next_if(|c| !matches!(c, ',')) {
                match c {
                    '{' | '}' => return Err("a list of one level; braces of a text stand in double quotes"),
                    '"' => return Err("double quotes around a whole text"),
                    '\\' => {
                        text.push(chars.next().ok_or("a character behind the backslash")?);
                        end = text.len();
                    }
                    c => {
                        text.push(c);
                        if !c.is_ascii_whitespace() {
                            end = text.len();
                        }
                    }
                }
            }
            text.truncate(end);
            if text.is_empty() {
                return Err("no empty element; an empty text is \"\"");
            }
            if text.eq_ignore_ascii_case("null") {
                return Err("no null; the text is \"null\" in double quotes");
            }
        }
        texts.push(text);
        match chars.next() {
            None => return Ok(texts),
            Some(',') => {}
            Some(_) => return Err("a comma between elements"),
        }
    }
}

/// The literal, as PostgreSQL writes it.
pub fn to_literal<T: AsRef<str>>(texts: &[T]) -> String {
    let mut literal = "{".to_owned();
    for (i, text) in texts.iter().map(AsRef::as_ref).enumerate() {
        if i > 0 {
            literal.push(',');
        }
        let quoted = text.is_empty()
            || text.eq_ignore_ascii_case("null")
            || text.contains(|c: char| {
                matches!(c, '{' | '}' | '"' | '\\' | ',' | '\u{b}') || c.is_ascii_whitespace()
            });
        if !quoted {
            literal.push_str(text);
            continue;
        }
        literal.push('"');
        for c in text.chars() {
            if matches!(c, '"' | '\\') {
                literal.push('\\');
            }
            literal.push(c);
        }
        literal.push('"');
    }
    literal.push('}');
    literal
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn literals_are_read_as_postgresql_reads_them() {
        for (literal, texts) in [
            ("{}", vec![]),
            (" { } ", vec![]),
            ("{a}", vec!["a"]),
            ("{a, b c ,\"d,\\\"e\"}", vec!["a", "b c", "d,\"e"]),
            ("{\"\",\"null\",x\\,y}", vec!["", "null", "x,y"]),
            ("{ä,世界}", vec!["ä", "世界"]),
        ] {
            assert_eq!(from_literal(literal).unwrap(), texts, "{literal}");
        }
        for wrong in [
            "", "a", "{a", "{,}", "{a,}", "{null}", "{NULL}", "{{a}}", "{\"a}", "{\"a\"b}", "{a\"b\"}",
            "{a}b}",
        ] {
            assert!(from_literal(wrong).is_err(), "{wrong}");
        }
        assert_eq!(to_literal(&["a", "b c", "", "Null", "{", "\\"]), r#"{a,"b c","","Null","{","\\"}"#);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(texts in prop::collection::vec("[a ,{}\"\\\\\u{b}\nä]{0,4}|null", 0..4)) {
            prop_assert_eq!(from_literal(&to_literal(&texts)).unwrap(), texts.clone());
            let json = to_json(&texts);
            prop_assert_eq!(from_json(&json).unwrap(), texts);
        }
    }
}
