//! Says of most ids that a part does not hold them, without reading it: a Bloom
//! filter (Bloom, 1970), with the positions of Kirsch and Mitzenmacher, 2006.

/// Eight bits for each id of a full part: of those that it does not hold, one in
/// fifty is looked for in vain.
const BITS: u64 = 1 << 23;
const HASHES: u64 = 5;

/// A set of ids that may hold more than were added.
#[derive(Debug)]
pub(super) struct Filter(Vec<u8>);

impl Filter {
    pub(super) fn new() -> Self {
        Self(vec![0; usize::try_from(BITS / 8).expect("a mebibyte")])
    }

    /// As it was stored; `None` if it is not of this size.
    pub(super) fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() as u64 == BITS / 8).then_some(Self(bytes))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn add(&mut self, id: &[u8; 16]) {
        for (byte, bit) in places(id) {
            self.0[byte] |= bit;
        }
    }

    /// False only of an id that was not added.
    pub(super) fn may_hold(&self, id: &[u8; 16]) -> bool {
        places(id).all(|(byte, bit)| self.0[byte] & bit != 0)
    }
}

/// The bits of an id. It is a hash already, but a producer may have made it, so its
/// halves are mixed.
fn places(id: &[u8; 16]) -> impl Iterator<Item = (usize, u8)> {
    let [first, second] = [0, 8].map(|at| {
        let half = u64::from_le_bytes(*id[at..].first_chunk().expect("sixteen bytes"));
        (half ^ (half >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    });
    (0..HASHES).map(move |i| {
        let bit = first.wrapping_add(i.wrapping_mul(second | 1)) >> (64 - BITS.trailing_zeros());
        (usize::try_from(bit / 8).expect("within a mebibyte"), 1 << (bit % 8))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> [u8; 16] {
        *uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, &n.to_le_bytes()).as_bytes()
    }

    #[test]
    fn what_was_added_is_always_found_and_little_else() {
        let mut filter = Filter::new();
        (0..1 << 20).for_each(|n| filter.add(&id(n)));
        assert!((0..1 << 20).all(|n| filter.may_hold(&id(n))));
        let wrong = (1 << 20..(1 << 20) + 100_000).filter(|n| filter.may_hold(&id(*n))).count();
        assert!(wrong < 3_000, "{wrong} of 100,000");
        let again = Filter::from_bytes(filter.as_bytes().to_vec()).unwrap();
        assert!(again.may_hold(&id(7)));
        assert!(Filter::from_bytes(vec![0; 7]).is_none());
    }

    /// Ids that count up, as some producers' do.
    #[test]
    fn ids_that_are_no_hash_are_told_apart_too() {
        let id = |n: u64| (u128::from(n) << 32 | 7).to_be_bytes();
        let mut filter = Filter::new();
        (0..100_000).for_each(|n| filter.add(&id(n)));
        let wrong = (100_000..200_000).filter(|n| filter.may_hold(&id(*n))).count();
        assert!(wrong < 3_000, "{wrong} of 100,000");
    }
}
