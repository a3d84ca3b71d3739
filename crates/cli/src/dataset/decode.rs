//! Text of other encodings as UTF-8, a piece at a time.

use std::io::{BufRead, Error, ErrorKind, Read, Result};

use encoding_rs::{Decoder, DecoderResult, Encoding};

/// Reads text of an encoding as UTF-8.
pub(super) struct Decoding<R> {
    inner: R,
    decoder: Decoder,
    /// The line of the next character, from 1.
    line: u64,
    ended: bool,
    /// What was decoded beside a buffer that is smaller than a character may be.
    held: Vec<u8>,
}

/// In fewer bytes than this a character may have no room.
const LEAST: usize = 16;

impl<R: BufRead> Decoding<R> {
    pub(super) fn new(inner: R, encoding: &'static Encoding) -> Self {
        // Its mark was taken off before.
        Self {
            inner,
            decoder: encoding.new_decoder_without_bom_handling(),
            line: 1,
            ended: false,
            held: Vec::new(),
        }
    }
}

impl<R: BufRead> Read for Decoding<R> {
    fn read(&mut self, out: &mut [u8]) -> Result<usize> {
        if self.held.is_empty() && out.len() >= LEAST {
            return self.decode(out);
        }
        if self.held.is_empty() {
            let mut beside = [0; LEAST];
            let decoded = self.decode(&mut beside)?;
            self.held.extend_from_slice(&beside[..decoded]);
        }
        let taken = self.held.len().min(out.len());
        out[..taken].copy_from_slice(&self.held[..taken]);
        self.held.drain(..taken);
        Ok(taken)
    }
}

impl<R: BufRead> Decoding<R> {
    fn decode(&mut self, out: &mut [u8]) -> Result<usize> {
        while !self.ended {
            let input = self.inner.fill_buf()?;
            let last = input.is_empty();
            let (result, read, written) = self.decoder.decode_to_utf8_without_replacement(input, out, last);
            self.inner.consume(read);
            self.line += out[..written].iter().filter(|byte| **byte == b'\n').count() as u64;
            match result {
                DecoderResult::InputEmpty => self.ended = last,
                DecoderResult::OutputFull if written == 0 => {
                    return Err(Error::other("the buffer is too small for a character"));
                }
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(..) => {
                    let (line, name) = (self.line, self.decoder.encoding().name());
                    let message =
                        format!("line {line}: bytes that are not {name}; say its encoding with --encoding");
                    return Err(Error::new(ErrorKind::InvalidData, message));
                }
            }
            if written > 0 {
                return Ok(written);
            }
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn decoded(encoding: &'static Encoding, bytes: &[u8], piece: usize) -> Result<String> {
        let mut text = String::new();
        BufReader::with_capacity(64, Decoding::new(BufReader::with_capacity(piece, bytes), encoding))
            .read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn text_comes_out_as_utf8_however_it_is_cut() {
        let text = "ä;ß\nπ 𝄞".repeat(40);
        let units: Vec<u16> = text.encode_utf16().collect();
        let little: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
        for piece in [1, 3, 64, 4_096] {
            assert_eq!(decoded(encoding_rs::UTF_16LE, &little, piece).unwrap(), text);
            assert_eq!(decoded(encoding_rs::UTF_16BE, &big, piece).unwrap(), text);
            assert_eq!(decoded(encoding_rs::WINDOWS_1252, b"\xe4\x80", piece).unwrap(), "ä€");
        }
    }

    #[test]
    fn what_is_not_of_the_encoding_is_told_by_its_line() {
        let half: Vec<u8> = "a\nb".encode_utf16().flat_map(u16::to_le_bytes).chain([0x3d]).collect();
        let error = decoded(encoding_rs::UTF_16LE, &half, 64).unwrap_err();
        assert!(error.to_string().starts_with("line 2: bytes that are not UTF-16LE"), "{error}");
    }
}
