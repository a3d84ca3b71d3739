//! What a regular expression of [`Compare::Match`](crate::Compare::Match) may be and means, once
//! for every engine.
//!
//! | written | matches |
//! |---|---|
//! | `abc`, `\.` | these characters; `\` before punctuation takes its meaning away |
//! | `\n` `\t` `\r` `\f` `\v` | the control characters that are called so |
//! | `.` | any character, a line end too |
//! | `^` `$` | the begin and the end of the text |
//! | `[a-z_]` `[^a-z]` `[[:alpha:]]` | one of these characters, one of all others; classes of ASCII |
//! | `\d` `\w` `\s` `\D` `\W` `\S` | digits, word characters, white space of ASCII; all others |
//! | `*` `+` `?` `{2}` `{2,}` `{2,5}` | repeated, up to 255 times; a `?` behind changes nothing |
//! | `(a\|b)` `(?:a\|b)` | one of these |
//!
//! All of it reads the same as an advanced regular expression of PostgreSQL. What else there is
//! means something else in one engine or the other, and is refused. What is taken is written
//! anew, with every character by its number and case in it, so that engines have nothing left
//! to decide; matching with it takes time that grows with the text, not with tricks.

use std::fmt::Write as _;

use regex_syntax::ast::{self, Ast, ClassPerlKind, ClassSetItem, LiteralKind, SpecialLiteralKind};
use regex_syntax::hir::{Class, Hir, HirKind, Look};

use crate::error::{Error, ErrorKind};
use crate::like::PATTERN;

/// The deepest nesting of an expression.
const NESTED: u32 = 50;

/// The most repetitions of a part: no more are PostgreSQL's.
const REPEATED: u32 = 255;

/// The most characters and classes of an expression whose repetitions are written out: what
/// grows beyond it costs too much, wherever it is matched.
const COST: u64 = 1_000;

/// The expression in the form that every engine reads alike.
///
/// # Errors
/// `Invalid`, with what is not taken.
pub fn common(pattern: &str, ignore_case: bool) -> Result<String, Error> {
    read(pattern, ignore_case).map_err(|what| {
        let shown: String = pattern.chars().take(80).collect();
        Error::new(
            ErrorKind::Invalid,
            format!("filter: the regular expression {shown:?} is not taken: {what}"),
        )
    })
}

fn read(pattern: &str, ignore_case: bool) -> Result<String, String> {
    if pattern.chars().count() > PATTERN {
        return Err(format!("it is longer than {PATTERN} characters"));
    }
    if pattern.contains('\0') {
        return Err("it holds NUL, which no text has".to_owned());
    }
    let tree = ast::parse::ParserBuilder::new()
        .nest_limit(NESTED)
        .build()
        .parse(pattern)
        .map_err(|error| error.kind().to_string())?;
    let shorthands = ast::visit(&tree, Subset::default())?;
    let mut plain = String::with_capacity(pattern.len());
    let mut at = 0;
    for (start, end, class) in shorthands {
        plain.push_str(&pattern[at..start]);
        plain.push_str(class);
        at = end;
    }
    plain.push_str(&pattern[at..]);
    let meaning = regex_syntax::ParserBuilder::new()
        .nest_limit(NESTED + 3)
        .case_insensitive(ignore_case)
        .dot_matches_new_line(true)
        .build()
        .parse(&plain)
        .map_err(|error| match error {
            regex_syntax::Error::Parse(error) => error.kind().to_string(),
            regex_syntax::Error::Translate(error) => error.kind().to_string(),
            other => other.to_string(),
        })?;
    if cost(&meaning) > COST {
        return Err(format!("with its repetitions it is more than {COST} characters long"));
    }
    let mut common = String::with_capacity(12 * pattern.len());
    write(&meaning, &mut common)?;
    Ok(common)
}

/// Refuses what is not of the subset; where the shorthands of classes stand, and what for.
#[derive(Default)]
struct Subset(Vec<(usize, usize, &'static str)>);

impl Subset {
    fn shorthand(&mut self, class: &ast::ClassPerl) {
        let written = match (&class.kind, class.negated) {
            (ClassPerlKind::Digit, false) => "[0-9]",
            (ClassPerlKind::Digit, true) => "[^0-9]",
            (ClassPerlKind::Word, false) => "[0-9A-Za-z_]",
            (ClassPerlKind::Word, true) => "[^0-9A-Za-z_]",
            (ClassPerlKind::Space, false) => r"[\t\n\v\f\r ]",
            (ClassPerlKind::Space, true) => r"[^\t\n\v\f\r ]",
        };
        self.0.push((class.span.start.offset, class.span.end.offset, written));
    }
}

fn literal(literal: &ast::Literal) -> Result<(), String> {
    match &literal.kind {
        LiteralKind::Verbatim | LiteralKind::Meta => Ok(()),
        // A letter would mean something in another engine.
        LiteralKind::Superfluous if literal.c.is_ascii_punctuation() => Ok(()),
        LiteralKind::Special(
            SpecialLiteralKind::Tab
            | SpecialLiteralKind::LineFeed
            | SpecialLiteralKind::CarriageReturn
            | SpecialLiteralKind::FormFeed
            | SpecialLiteralKind::VerticalTab,
        ) => Ok(()),
        _ => Err(format!("the character {:?} has to be written as it is", literal.c)),
    }
}

impl ast::Visitor for Subset {
    type Output = Vec<(usize, usize, &'static str)>;
    type Err = String;

    fn finish(self) -> Result<Self::Output, String> {
        Ok(self.0)
    }

    fn visit_pre(&mut self, tree: &Ast) -> Result<(), String> {
        match tree {
            Ast::Flags(_) => Err("flags such as (?i) are not supported; imatch ignores case".to_owned()),
            Ast::Group(group) => match &group.kind {
                ast::GroupKind::CaptureIndex(_) => Ok(()),
                ast::GroupKind::NonCapturing(flags) if flags.items.is_empty() => Ok(()),
                _ => Err("groups are (…) or (?:…), without names and flags".to_owned()),
            },
            Ast::Literal(one) => literal(one),
            Ast::Assertion(assertion) => match assertion.kind {
                ast::AssertionKind::StartLine | ast::AssertionKind::EndLine => Ok(()),
                _ => Err("of assertions there are ^ and $".to_owned()),
            },
            Ast::ClassUnicode(_) => Err("classes of Unicode such as \\p{L} are not supported".to_owned()),
            Ast::ClassPerl(class) => {
                self.shorthand(class);
                Ok(())
            }
            Ast::Repetition(repetition) => {
                if let Ast::Assertion(_) = *repetition.ast {
                    return Err("^ and $ cannot be repeated".to_owned());
                }
                if let Ast::Repetition(_) = *repetition.ast {
                    return Err("a repetition of a repetition needs a group between them".to_owned());
                }
                let most = match &repetition.op.kind {
                    ast::RepetitionKind::Range(
                        ast::RepetitionRange::Exactly(most)
                        | ast::RepetitionRange::AtLeast(most)
                        | ast::RepetitionRange::Bounded(_, most),
                    ) => *most,
                    _ => 0,
                };
                if most > REPEATED {
                    return Err(format!("a part is repeated up to {REPEATED} times"));
                }
                Ok(())
            }
            Ast::Empty(_) | Ast::Dot(_) | Ast::ClassBracketed(_) | Ast::Alternation(_) | Ast::Concat(_) => {
                Ok(())
            }
        }
    }

    fn visit_class_set_item_pre(&mut self, item: &ClassSetItem) -> Result<(), String> {
        match item {
            ClassSetItem::Literal(one) => literal(one),
            ClassSetItem::Range(range) => literal(&range.start).and_then(|()| literal(&range.end)),
            ClassSetItem::Ascii(class) if !class.negated => Ok(()),
            ClassSetItem::Ascii(_) => Err("classes such as [:^alpha:] are not supported".to_owned()),
            ClassSetItem::Unicode(_) => Err("classes of Unicode such as \\p{L} are not supported".to_owned()),
            ClassSetItem::Perl(class) => {
                self.shorthand(class);
                Ok(())
            }
            ClassSetItem::Bracketed(_) => Err("brackets within brackets are not supported".to_owned()),
            ClassSetItem::Empty(_) | ClassSetItem::Union(_) => Ok(()),
        }
    }

    fn visit_class_set_binary_op_pre(&mut self, _: &ast::ClassSetBinaryOp) -> Result<(), String> {
        Err("&&, -- and ~~ between classes are not supported".to_owned())
    }
}

/// How many characters and classes it is with its repetitions written out.
fn cost(hir: &Hir) -> u64 {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 1,
        HirKind::Literal(literal) => literal.0.len() as u64,
        HirKind::Class(Class::Unicode(class)) => 1 + class.ranges().len() as u64 / 4,
        HirKind::Class(Class::Bytes(_)) => 1,
        HirKind::Capture(capture) => cost(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().map(cost).fold(0, u64::saturating_add)
        }
        HirKind::Repetition(repetition) => {
            let times = repetition.max.unwrap_or(repetition.min + 1).max(1);
            cost(&repetition.sub).saturating_mul(times.into())
        }
    }
}

fn write(hir: &Hir, out: &mut String) -> Result<(), String> {
    match hir.kind() {
        HirKind::Empty => out.push_str("(?:)"),
        HirKind::Look(Look::Start) => out.push('^'),
        HirKind::Look(Look::End) => out.push('$'),
        HirKind::Look(_) => return Err("of assertions there are ^ and $".to_owned()),
        HirKind::Literal(literal) => {
            let text =
                std::str::from_utf8(&literal.0).map_err(|_| "it is not made of characters".to_owned())?;
            text.chars().for_each(|c| character(c, out));
        }
        HirKind::Class(class) => {
            let class = class_of(class)?;
            if matches!(class.as_slice(), [('\0', char::MAX)]) {
                out.push('.');
                return Ok(());
            }
            out.push('[');
            for (first, last) in class {
                // No text has NUL.
                character(first.max('\u{1}'), out);
                if last > first.max('\u{1}') {
                    out.push('-');
                    character(last, out);
                }
            }
            out.push(']');
        }
        HirKind::Repetition(repetition) => {
            out.push_str("(?:");
            write(&repetition.sub, out)?;
            out.push(')');
            match (repetition.min, repetition.max) {
                (0, None) => out.push('*'),
                (1, None) => out.push('+'),
                (0, Some(1)) => out.push('?'),
                (least, None) => number(format_args!("{{{least},}}"), out),
                (least, Some(most)) => number(format_args!("{{{least},{most}}}"), out),
            }
        }
        HirKind::Capture(capture) => {
            out.push_str("(?:");
            write(&capture.sub, out)?;
            out.push(')');
        }
        HirKind::Concat(parts) => parts.iter().try_for_each(|part| write(part, out))?,
        HirKind::Alternation(parts) => {
            out.push_str("(?:");
            for (i, part) in parts.iter().enumerate() {
                if i > 0 {
                    out.push('|');
                }
                write(part, out)?;
            }
            out.push(')');
        }
    }
    Ok(())
}

fn class_of(class: &Class) -> Result<Vec<(char, char)>, String> {
    let ranges: Vec<(char, char)> = match class {
        Class::Unicode(class) => class.ranges().iter().map(|range| (range.start(), range.end())).collect(),
        Class::Bytes(class) => {
            class.ranges().iter().map(|range| (char::from(range.start()), char::from(range.end()))).collect()
        }
    };
    if ranges.iter().all(|(_, last)| *last == '\0') {
        return Err("a class of it has no character".to_owned());
    }
    Ok(ranges.into_iter().filter(|(_, last)| *last > '\0').collect())
}

fn character(c: char, out: &mut String) {
    number(format_args!("\\U{:08X}", u32::from(c)), out);
}

fn number(arguments: std::fmt::Arguments<'_>, out: &mut String) {
    out.write_fmt(arguments).expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_written_by_numbers() {
        for (pattern, ignore_case, written) in [
            ("", false, "(?:)"),
            ("^a.$", false, r"^\U00000061.$"),
            ("ab", true, r"[\U00000041\U00000061][\U00000042\U00000062]"),
            ("k", true, r"[\U0000004B\U0000006B\U0000212A]"),
            ("ä", true, r"[\U000000C4\U000000E4]"),
            (r"\.\d", false, r"\U0000002E[\U00000030-\U00000039]"),
            (r"[^\d]", false, r"[\U00000001-\U0000002F\U0000003A-\U0010FFFF]"),
            ("(a|bc)*?", false, r"(?:(?:(?:\U00000061|\U00000062\U00000063)))*"),
            ("a{2,5}b{3}", false, r"(?:\U00000061){2,5}(?:\U00000062){3,3}"),
            ("(?:a|)+", false, r"(?:(?:\U00000061|(?:)))+"),
        ] {
            assert_eq!(common(pattern, ignore_case).unwrap(), written, "{pattern}");
        }
    }

    #[test]
    fn what_engines_read_differently_is_refused() {
        for (pattern, part) in [
            ("(?i)a", "flags"),
            ("(?P<n>a)", "groups"),
            ("(?i:a)", "groups"),
            (r"\bword\b", "assertions"),
            (r"\Aa\z", "assertions"),
            (r"\p{L}", "Unicode"),
            (r"[\p{L}]", "Unicode"),
            (r"\x41", "written as it is"),
            (r"[[:^alpha:]]", "[:^alpha:]"),
            ("[a-z&&[b]]", "&&"),
            ("[a[b]]", "brackets"),
            ("a**", "group between"),
            ("^*", "cannot be repeated"),
            ("a{256}", "255 times"),
            ("(a{100}){100}", "1000 characters long"),
            ("((((a{9}){9}){9}){9}){9}", "1000 characters long"),
            (r"(a)\1", "not supported"),
            ("(?=a)", "not supported"),
            ("a(", "unclosed"),
            ("a)", "unopened"),
            ("[z-a]", "invalid"),
            ("a\0", "NUL"),
            (r"[^\w\W]", "no character"),
            (&"a".repeat(1_001), "longer"),
            (&"(".repeat(100), "unclosed"),
            (&format!("{}a{}", "(".repeat(100), ")".repeat(100)), "nest"),
        ] {
            let message = common(pattern, false).expect_err(pattern).to_string();
            assert!(message.contains(part), "{pattern}: {message}");
        }
    }
}
