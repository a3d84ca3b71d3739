//! A Rust file as the rules see it: its code without comments and strings, and
//! which of its lines are test code.

use super::is_test_path;

/// One file, read once for every rule.
pub(super) struct Source<'a> {
    pub(super) path: &'a str,
    pub(super) text: &'a str,
    /// `text` with comments, strings and characters blanked; same lines.
    pub(super) code: String,
    /// By line, from 0.
    test: Vec<bool>,
}

impl<'a> Source<'a> {
    pub(super) fn read(path: &'a str, text: &'a str) -> Self {
        let code = blank(text);
        let mut test = vec![is_test_path(path) || code.contains("#![cfg(test)]"); text.lines().count()];
        for (first, last) in test_items(&code) {
            test[first..=last].fill(true);
        }
        Self { path, text, code, test }
    }

    /// Whether line `index` (from 0) is test code.
    pub(super) fn is_test(&self, index: usize) -> bool {
        self.test.get(index).copied().unwrap_or(false)
    }

    /// How many lines are not test code.
    pub(super) fn own_lines(&self) -> usize {
        self.test.iter().filter(|test| !**test).count()
    }
}

/// The text with everything that is not code replaced by spaces.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = skip_non_code(bytes, at);
        if end == at {
            at += 1;
            continue;
        }
        for byte in &mut out[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    String::from_utf8(out).expect("whole characters are blanked, never parts of one")
}

/// Where the comment, string or character that begins at `at` ends; `at` itself
/// when none begins there.
fn skip_non_code(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let after_word = at > 0 && is_word(bytes[at - 1]);
    match rest {
        [b'/', b'/', ..] => at + rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => at + block_comment(rest),
        [b'"', ..] => at + quoted(rest, b'"'),
        [b'\'', ..] => at + character(rest).unwrap_or(0),
        [b'r', ..] if !after_word => at + raw_string(rest, 1).unwrap_or(0),
        [b'b' | b'c', b'r', ..] if !after_word => at + raw_string(rest, 2).unwrap_or(0),
        _ => at,
    }
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    rest.len()
}

/// The length of a quoted literal with escapes.
fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// The length of a character literal; none when it is a lifetime.
fn character(rest: &[u8]) -> Option<usize> {
    let next = *rest.get(1)?;
    if next == b'\\' {
        return Some(quoted(rest, b'\''));
    }
    let width = match next {
        0..0x80 => 1,
        0x80..0xe0 => 2,
        0xe0..0xf0 => 3,
        _ => 4,
    };
    (rest.get(1 + width) == Some(&b'\'')).then_some(width + 2)
}

/// The length of a raw string whose hashes begin at `prefix`; none when it is
/// something else, such as a raw identifier.
fn raw_string(rest: &[u8], prefix: usize) -> Option<usize> {
    let hashes = rest[prefix..].iter().take_while(|byte| **byte == b'#').count();
    let open = prefix + hashes;
    if rest.get(open) != Some(&b'"') {
        return None;
    }
    let closing: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let inside = &rest[open + 1..];
    let end = inside.windows(closing.len()).position(|window| window == closing);
    Some(end.map_or(rest.len(), |end| open + 1 + end + closing.len()))
}

/// First and last line of every item under `#[cfg(test)]` or `#[cfg(all(test, …))]`.
fn test_items(code: &str) -> Vec<(usize, usize)> {
    let line_of = |offset: usize| code[..offset].matches('\n').count();
    let mut items = Vec::new();
    for (start, _) in code.match_indices("#[cfg(") {
        let Some(end) = closing(code, start + 1) else { continue };
        let attribute: String = code[start..end].split_whitespace().collect();
        if attribute == "#[cfg(test)" || attribute.starts_with("#[cfg(all(test,") {
            let last = item_end(code, end + 1);
            items.push((line_of(start), line_of(last)));
        }
    }
    items
}

/// Where the item that follows `from` ends: after its attributes, at the first
/// `;` or at the brace that closes its body.
fn item_end(code: &str, from: usize) -> usize {
    let mut at = from;
    while at < code.len() {
        match code.as_bytes()[at] {
            b'{' => return closing(code, at).unwrap_or(code.len()),
            b';' => return at,
            b'(' | b'[' => at = closing(code, at).unwrap_or(code.len()) + 1,
            _ => at += 1,
        }
    }
    code.len()
}

/// The offset of the bracket that closes the one at `open`.
fn closing(code: &str, open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// Whether a byte may be part of a name.
pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_strings_and_characters_are_blanked() {
        let cases = [
            ("a // b", "a     "),
            ("a /* b /* c */ d */ e", "a                   e"),
            (r#"f("x\"y", 'z', '\'', b"q")"#, "f(      ,    ,     , b   )"),
            ("r#\"a\"b\"# c", "         c"),
            ("br\"\\\" c", "      c"),
            ("r#type", "r#type"),
            ("for<'a> &'a str", "for<'a> &'a str"),
            ("'\u{b5}' x", "     x"),
            ("\"open", "     "),
        ];
        for (text, code) in cases {
            assert_eq!(blank(text).trim_end(), code.trim_end(), "{text}");
        }
        assert_eq!(blank("/*\n*/\"\n\"").matches('\n').count(), 2);
    }

    #[test]
    fn test_items_are_found_with_their_bodies() {
        let text = "fn a() {}\n#[cfg(test)]\n#[allow(x)]\nmod tests {\n  const S: &str = \"}\";\n}\nfn b() {}\n\
                    #[cfg(test)]\nuse c;\nfn d(x: [u8; 2]) {}\n#[cfg(all(test, unix))]\nfn e(\n) {\n}\n";
        let source = Source::read("crates/a/src/lib.rs", text);
        let own: Vec<&str> =
            text.lines().enumerate().filter(|(i, _)| !source.is_test(*i)).map(|(_, l)| l).collect();
        assert_eq!(own, ["fn a() {}", "fn b() {}", "fn d(x: [u8; 2]) {}"]);
        assert_eq!(source.own_lines(), 3);
    }

    #[test]
    fn what_merely_mentions_test_is_own_code() {
        let text = "#[cfg(not(test))]\nfn a() {}\n#[cfg(feature = \"test\")]\nfn b() {}\n// #[cfg(test)]\nfn c() {}\n";
        assert_eq!(Source::read("src/lib.rs", text).own_lines(), 6);
        assert_eq!(Source::read("tests/it/main.rs", text).own_lines(), 0);
        assert_eq!(Source::read("src/x.rs", "#![cfg(test)]\nfn a() {}\n").own_lines(), 0);
    }
}
