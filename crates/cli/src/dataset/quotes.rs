//! Whether every quote of a CSV file is closed. The parser takes the end of
//! the file for the end of the value, so that a file that was cut inside quotes
//! would pass for a whole one.

use std::io::Read;

/// Passes bytes on to the parser and follows its quotes.
pub(super) struct Quotes<R> {
    inner: R,
    delimiter: u8,
    /// What opens and closes a value; nothing when values are not quoted.
    quote: Option<u8>,
    at: At,
    /// The line of the next byte, from 1.
    line: u64,
    /// The line of the quote that opened last.
    opened: u64,
    ended: bool,
    /// Bytes that were passed on.
    total: u64,
    /// The last of them.
    last: u8,
}

/// Where the next byte stands. As in the parser, a quote opens a value only at
/// its start.
#[derive(Clone, Copy)]
enum At {
    Start,
    Plain,
    Quoted,
    /// Behind a quote inside quotes: the end of the value, unless another one follows.
    Quote,
}

impl<R: Read> Quotes<R> {
    pub(super) fn new(inner: R, delimiter: u8, quote: Option<u8>) -> Self {
        Self { inner, delimiter, quote, at: At::Start, line: 1, opened: 1, ended: false, total: 0, last: 0 }
    }

    /// Whether the bytes so far end here, and without the end of a line.
    pub(super) fn ends_at(&self, byte: u64) -> bool {
        byte >= self.total && self.last != b'\n'
    }

    /// The line of the quote that nothing closed, known at the end of the file.
    pub(super) fn open(&self) -> Option<u64> {
        (self.ended && matches!(self.at, At::Quoted)).then_some(self.opened)
    }

    fn follow(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            let quote = self.quote == Some(byte);
            self.at = match (self.at, byte) {
                (At::Start, _) if quote => {
                    self.opened = self.line;
                    At::Quoted
                }
                (At::Quoted, _) if quote => At::Quote,
                (At::Quoted, _) => At::Quoted,
                (At::Quote, _) if quote => At::Quoted,
                (_, b'\r' | b'\n') => At::Start,
                (_, byte) if byte == self.delimiter => At::Start,
                _ => At::Plain,
            };
            self.line += u64::from(byte == b'\n');
        }
    }
}

impl<R: Read> Read for Quotes<R> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(out)?;
        self.ended = read == 0 && !out.is_empty();
        self.follow(&out[..read]);
        self.total += read as u64;
        self.last = out[..read].last().copied().unwrap_or(self.last);
        Ok(read)
    }
}
