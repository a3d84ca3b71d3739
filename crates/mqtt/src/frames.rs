//! Cuts the stream of bytes into packets, whatever their size.
//!
//! A message that is too large is cut while it is read: it becomes a message with the
//! beginning of its body, or, where its properties are too large, with nothing but its topic. So
//! it is neither held in memory nor in the way of those behind it.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use crate::error::Error;

/// The kind of packet that holds a message.
const PUBLISH: u8 = 3;
/// The largest packet of another kind.
const OTHER_BYTES_MAX: usize = 64 << 10;
/// The most bytes of properties that a message has.
const PROPERTIES_BYTES_MAX: usize = 64 << 10;

/// A packet.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) bytes: Bytes,
    /// Why it is not whole, if it is not.
    pub(crate) cut: Option<String>,
}

/// Bytes that are no packet yet.
#[derive(Debug)]
pub(crate) struct Frames {
    buffer: BytesMut,
    /// How many of the next bytes are of a message that is too large.
    skip: usize,
    /// Whether packets have properties.
    has_properties: bool,
    body_max: usize,
    kept: usize,
}

impl Frames {
    /// Bodies of up to `body_max` bytes are whole; of larger ones there are `kept` bytes.
    pub(crate) fn new(has_properties: bool, body_max: usize, kept: usize) -> Self {
        Self { buffer: BytesMut::new(), skip: 0, has_properties, body_max, kept: kept.min(body_max) }
    }

    /// Where what is read goes, with room.
    pub(crate) fn room(&mut self) -> &mut BytesMut {
        self.buffer.reserve(64 << 10);
        &mut self.buffer
    }

    /// The next packet, if it is here.
    ///
    /// # Errors
    /// What is no packet, or one that nobody needs to be so large.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, Error> {
        let skipped = self.skip.min(self.buffer.len());
        self.buffer.advance(skipped);
        self.skip -= skipped;
        let Some((length, prefix)) = length(&self.buffer)? else { return Ok(None) };
        if self.buffer[0] >> 4 != PUBLISH {
            if length > OTHER_BYTES_MAX {
                return Err(Error::broken(format!(
                    "the broker sent a packet of {length} bytes that is no message"
                )));
            }
            return Ok(self.whole(prefix + length));
        }
        let content = &self.buffer[prefix..self.buffer.len().min(prefix + length)];
        let Some(head) = self.head(content)? else {
            // All of it is here, and it ends before its body begins.
            return if content.len() == length { Err(malformed()) } else { Ok(None) };
        };
        let body = length.checked_sub(head.topic + head.properties).ok_or_else(malformed)?;
        if head.properties > PROPERTIES_BYTES_MAX {
            let cut = format!(
                "the message has {} bytes of properties, at most {PROPERTIES_BYTES_MAX} are taken; of it only the \
                 topic is kept",
                head.properties
            );
            // No properties are their length, which is zero.
            return Ok(self.part(prefix, length, head.topic, &[0], cut));
        }
        if body > self.body_max {
            let cut = format!(
                "the message has {body} bytes, at most {} are taken; of it the first {} are kept",
                self.body_max, self.kept
            );
            return Ok(self.part(prefix, length, head.topic + head.properties + self.kept, &[], cut));
        }
        Ok(self.whole(prefix + length))
    }

    /// A packet of so many bytes as it is, if all of it is here.
    fn whole(&mut self, bytes: usize) -> Option<Frame> {
        (self.buffer.len() >= bytes).then(|| Frame { bytes: self.buffer.split_to(bytes).freeze(), cut: None })
    }

    /// A packet made of the first bytes of the content and what is put behind them, if these
    /// are here; the rest is skipped.
    fn part(
        &mut self,
        prefix: usize,
        length: usize,
        kept: usize,
        behind: &[u8],
        cut: String,
    ) -> Option<Frame> {
        if self.buffer.len() < prefix + kept {
            return None;
        }
        let first = self.buffer[0];
        self.buffer.advance(prefix);
        let content = self.buffer.split_to(kept);
        self.skip = length - kept;
        let mut bytes = BytesMut::with_capacity(kept + behind.len() + 5);
        bytes.put_u8(first);
        put_length(&mut bytes, kept + behind.len());
        bytes.put(content);
        bytes.put(behind);
        Some(Frame { bytes: bytes.freeze(), cut: Some(cut) })
    }

    /// How long what stands before the body of a message is, if that can be seen already.
    fn head(&self, content: &[u8]) -> Result<Option<Head>, Error> {
        let Some(topic) = content.first_chunk::<2>() else { return Ok(None) };
        let mut head = Head { topic: 2 + usize::from(u16::from_be_bytes(*topic)), properties: 0 };
        if self.buffer[0] & 0b110 != 0 {
            head.topic += 2;
        }
        if self.has_properties {
            let Some(rest) = content.get(head.topic..) else { return Ok(None) };
            let Some((properties, bytes)) = variable(rest)? else { return Ok(None) };
            head.properties = bytes + properties;
        }
        Ok(Some(head))
    }
}

/// How long what stands before the body of a message is.
struct Head {
    /// The topic and the packet id.
    topic: usize,
    /// The properties with their length.
    properties: usize,
}

/// How many bytes follow the prefix of a packet, and how long that is.
fn length(bytes: &[u8]) -> Result<Option<(usize, usize)>, Error> {
    let Some(rest) = bytes.get(1..) else { return Ok(None) };
    Ok(variable(rest)?.map(|(length, bytes)| (length, bytes + 1)))
}

/// A number of variable length, and its length.
fn variable(bytes: &[u8]) -> Result<Option<(usize, usize)>, Error> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((value, index + 1)));
        }
    }
    if bytes.len() >= 4 { Err(malformed()) } else { Ok(None) }
}

fn put_length(bytes: &mut BytesMut, mut length: usize) {
    loop {
        let seven = u8::try_from(length & 0x7f).expect("seven bits");
        length >>= 7;
        bytes.put_u8(if length > 0 { seven | 0x80 } else { seven });
        if length == 0 {
            return;
        }
    }
}

fn malformed() -> Error {
    Error::broken("the broker sent what is no packet")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(qos: u8, topic: &str, properties: Option<&[u8]>, body: &[u8]) -> Vec<u8> {
        let mut content = Vec::new();
        content.extend(u16::try_from(topic.len()).unwrap().to_be_bytes());
        content.extend(topic.as_bytes());
        if qos > 0 {
            content.extend([0, 7]);
        }
        if let Some(properties) = properties {
            let mut length = BytesMut::new();
            put_length(&mut length, properties.len());
            content.extend(length);
            content.extend(properties);
        }
        content.extend(body);
        let mut bytes = BytesMut::new();
        bytes.put_u8(0x30 | qos << 1);
        put_length(&mut bytes, content.len());
        bytes.extend(content);
        bytes.to_vec()
    }

    /// Every packet of these bytes, which come in pieces of this size, and why it is cut.
    fn cut(mut frames: Frames, bytes: &[u8], piece: usize) -> Vec<(Vec<u8>, Option<String>)> {
        let mut found = Vec::new();
        for piece in bytes.chunks(piece) {
            frames.room().extend_from_slice(piece);
            while let Some(frame) = frames.next().unwrap() {
                found.push((frame.bytes.to_vec(), frame.cut));
            }
        }
        assert!(frames.buffer.is_empty() && frames.skip == 0);
        found
    }

    const SHORT: &[u8] = b"\x26\x00\x01k\x00\x01v";

    #[test]
    fn packets_are_cut_wherever_the_pieces_end_and_large_ones_do_not_stop_the_others() {
        let small = publish(1, "a/b", Some(b""), b"small");
        let large = publish(1, "a/b", Some(SHORT), &[b'x'; 1000]);
        let exact = publish(0, "a", Some(b""), &[b'y'; 100]);
        let ping = vec![0xd0, 0];
        let all = [small.clone(), large, ping.clone(), exact.clone(), small.clone()].concat();
        let short = publish(1, "a/b", Some(SHORT), &[b'x'; 10]);
        let why = "the message has 1000 bytes, at most 100 are taken; of it the first 10 are kept".to_owned();
        let expected = vec![
            (small.clone(), None),
            (short, Some(why.clone())),
            (ping, None),
            (exact, None),
            (small, None),
        ];
        for piece in [1, 2, 3, 7, 64, 5000] {
            assert_eq!(cut(Frames::new(true, 100, 10), &all, piece), expected, "in pieces of {piece}");
        }
        let old = publish(1, "a/b", None, &[b'x'; 1000]);
        let found = cut(Frames::new(false, 100, 10), &old, 64);
        assert_eq!(found, vec![(publish(1, "a/b", None, &[b'x'; 10]), Some(why))]);
    }

    #[test]
    fn properties_that_are_too_large_are_left_out_whatever_the_size_of_the_body() {
        let properties = SHORT.repeat(PROPERTIES_BYTES_MAX / SHORT.len() + 1);
        let small = publish(1, "a/b", Some(b""), b"small");
        for body in [&b""[..], b"body", &[b'x'; 1000]] {
            let all = [publish(1, "a/b", Some(&properties), body), small.clone()].concat();
            for piece in [1000, 100_000] {
                let found = cut(Frames::new(true, 100, 10), &all, piece);
                assert_eq!(found.len(), 2);
                assert_eq!(found[0].0, publish(1, "a/b", Some(b""), b""));
                let why = found[0].1.as_deref().unwrap_or_default();
                assert!(why.contains("bytes of properties, at most 65536"), "{why}");
                assert_eq!(found[1], (small.clone(), None));
            }
        }
    }

    /// A long topic is no reason to leave the broker, however little a body may have.
    #[test]
    fn a_topic_may_be_longer_than_a_body() {
        for topic in ["t".repeat(200), "t".repeat(65_535)] {
            for has_properties in [true, false] {
                let message = publish(1, &topic, has_properties.then_some(b""), b"small");
                let found = cut(Frames::new(has_properties, 100, 10), &message, 1000);
                assert_eq!(found, vec![(message, None)]);
            }
        }
    }

    #[test]
    fn what_is_no_packet_is_refused_before_it_is_held() {
        for (has_properties, bad) in [
            (false, &[0x30, 0xff, 0xff, 0xff, 0xff, 0x01][..]),
            (false, &[0x20, 0xff, 0xff, 0x7f][..]),
            // A topic that is longer than its message.
            (false, &[0x30, 0xff, 0x01, 0xff, 0xff, 0, 0][..]),
            // A message that ends within its topic, and before the length of its properties.
            (false, &[0x30, 0x01, 0x00, 0xd0, 0x00][..]),
            (true, &[0x30, 0x03, 0x00, 0x01, b't', 0xd0, 0x00][..]),
        ] {
            let mut frames = Frames::new(has_properties, 100, 10);
            frames.room().extend_from_slice(bad);
            assert!(frames.next().is_err(), "{bad:?}");
        }
    }
}
