//! An entry as the bytes of one value.

use bytes::{Buf, BufMut, Bytes};

use crate::Entry;

/// The form; raised with it, since values outlive processes.
const FORM: u8 = 1;
/// What stands before meta and body: the form, the generation, when it was computed, the
/// lengths of both.
const HEAD_BYTES: usize = 1 + 8 + 8 + 4 + 4;

pub(super) fn encode(entry: &Entry) -> Vec<u8> {
    let length = |part: &Bytes| u32::try_from(part.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(HEAD_BYTES + entry.meta.len() + entry.body.len());
    bytes.put_u8(FORM);
    bytes.put_u64(entry.generation);
    bytes.put_i64(entry.computed_at_us);
    bytes.put_u32(length(&entry.meta));
    bytes.put_u32(length(&entry.body));
    bytes.extend_from_slice(&entry.meta);
    bytes.extend_from_slice(&entry.body);
    bytes
}

/// The entry, which shares the bytes; none where they are cut, of another form, or of
/// somebody else.
pub(super) fn decode(mut bytes: Bytes) -> Option<Entry> {
    if bytes.len() < HEAD_BYTES || bytes.get_u8() != FORM {
        return None;
    }
    let (generation, computed_at_us) = (bytes.get_u64(), bytes.get_i64());
    let (meta, body) = (bytes.get_u32() as usize, bytes.get_u32() as usize);
    if meta.checked_add(body) != Some(bytes.len()) {
        return None;
    }
    let meta = bytes.split_to(meta);
    Some(Entry { generation, computed_at_us, body: bytes, meta })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_entry_comes_back_and_a_part_of_it_is_none(
            generation: u64,
            computed_at_us: i64,
            body: Vec<u8>,
            meta: Vec<u8>,
            cut: prop::sample::Index,
        ) {
            let entry = Entry { generation, computed_at_us, body: body.into(), meta: meta.into() };
            let bytes = Bytes::from(encode(&entry));
            prop_assert_eq!(decode(bytes.clone()), Some(entry));
            prop_assert_eq!(decode(bytes.slice(..cut.index(bytes.len()))), None);
        }

        #[test]
        fn whatever_else_is_there_is_no_entry_or_one_of_its_size(bytes: Vec<u8>) {
            let length = bytes.len();
            if let Some(entry) = decode(bytes.into()) {
                prop_assert_eq!(entry.meta.len() + entry.body.len() + HEAD_BYTES, length);
            }
        }
    }
}
