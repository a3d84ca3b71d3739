//! A text and how far it is read.

use super::params::shorten;
use crate::error::Error;

pub(super) struct Scan<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Scan<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, rest: text }
    }

    pub(super) fn rest(&self) -> &'a str {
        self.rest
    }

    pub(super) fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    pub(super) fn spaces(&mut self) {
        self.rest = self.rest.trim_start_matches(' ');
    }

    /// Takes this text, if it comes next.
    pub(super) fn take(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Takes everything before one of these characters.
    pub(super) fn until(&mut self, ends: &[char]) -> &'a str {
        let (taken, rest) = self.rest.split_at(self.rest.find(ends).unwrap_or(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// Takes everything before one of these characters or texts.
    pub(super) fn until_text(&mut self, ends: &[char], texts: &[&str]) -> &'a str {
        let at = texts.iter().filter_map(|text| self.rest.find(text)).chain(self.rest.find(ends)).min();
        let (taken, rest) = self.rest.split_at(at.unwrap_or(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// Takes everything before this character, unless it stands in quotes.
    pub(super) fn until_outside_quotes(&mut self, end: char) -> &'a str {
        let mut quoted = false;
        let mut escaped = false;
        let found = self.rest.char_indices().find(|(_, c)| {
            let is_end = !quoted && *c == end;
            quoted ^= *c == '"' && !escaped;
            escaped = quoted && *c == '\\' && !escaped;
            is_end
        });
        let (taken, rest) = self.rest.split_at(found.map_or(self.rest.len(), |(at, _)| at));
        self.rest = rest;
        taken
    }

    pub(super) fn everything(&mut self) -> &'a str {
        std::mem::take(&mut self.rest)
    }

    /// Takes a quoted text: `"`, any characters with `\` before one that is
    /// meant literally, `"`. Without a closing quote nothing is taken.
    pub(super) fn quoted(&mut self) -> Option<String> {
        let mut chars = self.rest.strip_prefix('"')?.chars();
        let mut text = String::new();
        loop {
            match chars.next()? {
                '"' => break,
                '\\' => text.push(chars.next()?),
                other => text.push(other),
            }
        }
        self.rest = chars.as_str();
        Some(text)
    }

    /// A quoted text that ends where a value may end, as PostgREST has it:
    /// `"a"b` is a value with quotes in it.
    pub(super) fn quoted_before(&mut self, ends: &[char]) -> Option<String> {
        let before = self.rest;
        let text = self.quoted()?;
        if self.peek().is_none_or(|next| ends.contains(&next)) {
            return Some(text);
        }
        self.rest = before;
        None
    }

    /// A list or a json object in braces that ends where a value may end, with what is quoted in it.
    pub(super) fn braced_before(&mut self, ends: &[char]) -> Option<String> {
        let inner = self.rest.strip_prefix('{')?;
        let (mut quoted, mut escaped, mut open) = (false, false, 0_u32);
        let end = inner.find(|c| {
            let was_escaped = std::mem::replace(&mut escaped, false);
            match c {
                _ if was_escaped => {}
                '\\' => escaped = true,
                '"' => quoted = !quoted,
                '{' if !quoted => open += 1,
                '}' if !quoted && open > 0 => open -= 1,
                '}' => return !quoted,
                _ => {}
            }
            false
        })?;
        let (taken, rest) = self.rest.split_at(end + 2);
        if !rest.is_empty() && !rest.starts_with(ends) {
            return None;
        }
        self.rest = rest;
        Some(taken.to_owned())
    }

    /// An error that says where the reading stopped.
    pub(super) fn fault(&self, expected: &str) -> Error {
        let at = self.text.len() - self.rest.len();
        let found =
            if self.rest.is_empty() { "the end".to_owned() } else { format!("{:?}", shorten(self.rest)) };
        Error::syntax(format!("{:?}: expected {expected} at byte {at}, found {found}", shorten(self.text)))
    }
}
