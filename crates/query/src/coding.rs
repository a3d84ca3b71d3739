//! Bodies compressed once, and kept that way.
//!
//! The answer of a view ends with a flag that differs between a miss and a hit. So the compressed
//! form of what stands before it is a whole number of blocks, and the end is a block of its own,
//! stored as it is: a miss sends the same blocks with another end, and nothing is compressed twice.

use std::io::Write as _;

use axum::http::HeaderMap;
use axum::http::header::ACCEPT_ENCODING;
use bytes::Bytes;
use flate2::{Compress, Compression, Crc, FlushCompress, Status};

use crate::error::{Error, ErrorKind};

/// A smaller body is sent as it is: the head of the answer is larger than what would be saved.
pub(crate) const LEAST_BYTES: usize = 1_024;
/// Fast, and most of what there is to save.
const GZIP_LEVEL: u32 = 4;
const ZSTD_LEVEL: i32 = 3;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// Not at all.
    Identity,
    /// `gzip`
    Gzip,
    /// `zstd`
    Zstd,
}

/// A compressed body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Coded {
    /// With the end that is kept.
    pub(crate) body: Bytes,
    /// Where that end begins.
    pub(crate) end_at: usize,
    /// The end that takes its place.
    pub(crate) other_end: Bytes,
}

impl Coding {
    /// The coding that the caller likes best, of those that are served; of equals `zstd`.
    pub(crate) fn accepted(headers: &HeaderMap) -> Self {
        let mut best = (Self::Identity, 0.0);
        for value in headers.get_all(ACCEPT_ENCODING) {
            for word in value.to_str().unwrap_or_default().split(',') {
                let (name, quality) = match word.split_once(';') {
                    Some((name, parameter)) => {
                        let number = parameter.trim().strip_prefix("q=");
                        (name, number.and_then(|number| number.trim().parse().ok()).unwrap_or(0.0))
                    }
                    None => (word, 1.0_f32),
                };
                let coding = match name.trim().to_ascii_lowercase().as_str() {
                    "gzip" | "x-gzip" => Self::Gzip,
                    "zstd" | "*" => Self::Zstd,
                    "identity" => Self::Identity,
                    _ => continue,
                };
                if quality > best.1 || quality > 0.0 && quality >= best.1 && coding == Self::Zstd {
                    best = (coding, quality);
                }
            }
        }
        best.0
    }

    /// The name in HTTP.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// The coding of this name.
    pub(crate) fn of(name: &str) -> Option<Self> {
        [Self::Identity, Self::Gzip, Self::Zstd].into_iter().find(|coding| coding.name() == name)
    }

    /// Compresses `start`; `end` is what follows it, `other_end` what may follow it instead.
    pub(crate) fn code(self, start: &[u8], end: &[u8], other_end: &[u8]) -> Result<Coded, Error> {
        let failed = |error: std::io::Error| {
            Error::new(ErrorKind::Internal, "PGRSTX00", format!("the answer cannot be compressed: {error}"))
        };
        let (mut body, ends) = match self {
            Self::Identity => (start.to_vec(), [end.to_vec(), other_end.to_vec()]),
            Self::Gzip => {
                let crc = |end: &[u8]| {
                    let mut crc = Crc::new();
                    crc.update(start);
                    crc.update(end);
                    crc.sum()
                };
                let ends = [end, other_end].map(|end| gzip_end(end, crc(end), start.len() + end.len()));
                (gzip_start(start).map_err(failed)?, ends)
            }
            Self::Zstd => (zstd_start(start).map_err(failed)?, [end, other_end].map(zstd_end)),
        };
        let end_at = body.len();
        let [end, other_end] = ends;
        body.extend_from_slice(&end);
        Ok(Coded { body: body.into(), end_at, other_end: other_end.into() })
    }
}

/// The header of gzip (RFC 1952) and whole blocks.
fn gzip_start(start: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(start.len() / 4 + 64);
    out.extend_from_slice(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);
    let mut compress = Compress::new(Compression::new(GZIP_LEVEL), false);
    loop {
        let taken = usize::try_from(compress.total_in()).map_err(std::io::Error::other)?;
        let status = compress
            .compress_vec(&start[taken..], &mut out, FlushCompress::Sync)
            .map_err(std::io::Error::other)?;
        let all = compress.total_in() == start.len() as u64;
        // With room to spare everything was flushed.
        if all && (out.len() < out.capacity() || status == Status::StreamEnd) {
            return Ok(out);
        }
        out.reserve(out.capacity().max(1_024));
    }
}

/// The last block, stored (RFC 1951), and the trailer of gzip.
fn gzip_end(end: &[u8], crc: u32, length: usize) -> Vec<u8> {
    let size = u16::try_from(end.len()).expect("an end is a few bytes");
    let mut out = vec![1];
    out.extend_from_slice(&size.to_le_bytes());
    out.extend_from_slice(&(!size).to_le_bytes());
    out.extend_from_slice(end);
    out.extend_from_slice(&crc.to_le_bytes());
    #[expect(clippy::cast_possible_truncation, reason = "gzip keeps the length modulo 2^32")]
    out.extend_from_slice(&(length as u32).to_le_bytes());
    out
}

/// The header of a frame (RFC 8878) without a checksum, and whole blocks.
fn zstd_start(start: &[u8]) -> std::io::Result<Vec<u8>> {
    let out = Vec::with_capacity(start.len() / 4 + 64);
    let mut encoder = zstd::stream::write::Encoder::new(out, ZSTD_LEVEL)?;
    encoder.write_all(start)?;
    encoder.flush()?;
    let out = encoder.get_ref().clone();
    // Of nothing it writes nothing, not even the header: magic number, no options, 1 KiB of window.
    Ok(if out.is_empty() { vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0] } else { out })
}

/// The last block, raw.
fn zstd_end(end: &[u8]) -> Vec<u8> {
    let head = u32::try_from(end.len()).expect("an end is a few bytes") << 3 | 1;
    let mut out = head.to_le_bytes()[..3].to_vec();
    out.extend_from_slice(end);
    out
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use proptest::prelude::*;

    use super::*;

    fn decoded(coding: Coding, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match coding {
            Coding::Identity => out.extend_from_slice(bytes),
            Coding::Gzip => {
                // One member: what follows the first is not read by everybody.
                let mut decoder = flate2::bufread::GzDecoder::new(bytes);
                decoder.read_to_end(&mut out).unwrap();
                assert!(decoder.into_inner().is_empty());
            }
            Coding::Zstd => out = zstd::stream::decode_all(bytes).unwrap(),
        }
        out
    }

    fn both_ends(coding: Coding, start: &[u8], end: &[u8], other: &[u8]) {
        let coded = coding.code(start, end, other).unwrap();
        assert_eq!(decoded(coding, &coded.body), [start, end].concat(), "{coding:?}");
        let instead = [&coded.body[..coded.end_at], &coded.other_end].concat();
        assert_eq!(decoded(coding, &instead), [start, other].concat(), "{coding:?}");
    }

    const CODINGS: [Coding; 3] = [Coding::Identity, Coding::Gzip, Coding::Zstd];

    #[test]
    fn a_body_comes_back_with_either_end() {
        let long = b"{\"a\":1,\"b\":\"x\"},\n".repeat(40_000);
        let noise: Vec<u8> = (0..300_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for coding in CODINGS {
            for start in [b"".as_slice(), b"{", &long, &noise] {
                both_ends(coding, start, b"true}", b"false}");
                both_ends(coding, start, b"", b"");
            }
        }
        assert!(Coding::Gzip.code(&long, b"", b"").unwrap().body.len() < long.len() / 20);
        assert!(Coding::Zstd.code(&long, b"", b"").unwrap().body.len() < long.len() / 20);
    }

    #[test]
    fn the_coding_is_the_one_that_is_liked_best() {
        for (accept, coding) in [
            ("gzip, deflate, br, zstd", Coding::Zstd),
            ("gzip, deflate, br", Coding::Gzip),
            ("gzip;q=1.0, zstd;q=0.5", Coding::Gzip),
            ("zstd;q=0, gzip;q=0.1", Coding::Gzip),
            ("identity, gzip;q=0.5", Coding::Identity),
            ("br", Coding::Identity),
            ("*", Coding::Zstd),
            ("gzip;q=x", Coding::Identity),
            ("", Coding::Identity),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, accept.parse().unwrap());
            assert_eq!(Coding::accepted(&headers), coding, "{accept}");
        }
        assert_eq!(Coding::accepted(&HeaderMap::new()), Coding::Identity);
    }

    proptest! {
        #[test]
        fn every_body_comes_back(
            start in prop::collection::vec(any::<u8>(), 0..5_000),
            end in prop::collection::vec(any::<u8>(), 0..9),
        ) {
            for coding in CODINGS {
                both_ends(coding, &start, &end, b"other");
            }
        }
    }
}
