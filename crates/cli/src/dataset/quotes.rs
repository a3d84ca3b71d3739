//! Whether every quote of a CSV file is closed. The parser takes the end of
//! the file for the end of the value, so that a file that was cut inside quotes
//! would pass for a whole one.

use std::io::Read;

/// Passes bytes on to the parser and follows its quotes.
pub(super) struct Quotes<R> {
    inner: R,
    delimiter: u8,
    at: At,
    /// The line of the next byte, from 1.
    line: u64,
    /// The line of the quote that opened last.
    opened: u64,
    ended: bool,
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
    pub(super) fn new(inner: R, delimiter: u8) -> Self {
        Self { inner, delimiter, at: At::Start, line: 1, opened: 1, ended: false }
    }

    /// The line of the quote that nothing closed, known at the end of the file.
    pub(super) fn open(&self) -> Option<u64> {
        (self.ended && matches!(self.at, At::Quoted)).then_some(self.opened)
    }

    fn follow(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.at = match (self.at, byte) {
                (At::Start, b'"') => {
                    self.opened = self.line;
                    At::Quoted
                }
                (At::Quoted, b'"') => At::Quote,
                (At::Quoted, _) | (At::Quote, b'"') => At::Quoted,
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
        Ok(read)
    }
}
