//! Says of most ids that a part does not hold them, without reading it: a Bloom
//! filter (Bloom, 1970), with the positions of Kirsch and Mitzenmacher, 2006.

/// At least eight bits, a byte, for each id: of those that a full part does not hold, one
/// in fifty is looked for in vain.
const BYTES_MIN: usize = 8;
const HASHES: u64 = 5;

/// A set of ids that may hold more than were added. Its bytes are a power of two.
#[derive(Debug)]
pub(super) struct Filter(Vec<u8>);

impl Filter {
    /// For so many ids.
    pub(super) fn new(ids: usize) -> Self {
        Self(vec![0; ids.next_power_of_two().max(BYTES_MIN)])
    }

    /// As it was stored; `None` if it is of no such size.
    pub(super) fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() >= BYTES_MIN && bytes.len().is_power_of_two()).then_some(Self(bytes))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn add(&mut self, id: &[u8; 16]) {
        for (byte, bit) in places(id, self.0.len()) {
            self.0[byte] |= bit;
        }
    }

    /// False only of an id that was not added.
    pub(super) fn may_hold(&self, id: &[u8; 16]) -> bool {
        places(id, self.0.len()).all(|(byte, bit)| self.0[byte] & bit != 0)
    }
}

/// The bits of an id among so many bytes. It is a hash already, but a producer may have
/// made it, so its halves are mixed.
fn places(id: &[u8; 16], bytes: usize) -> impl Iterator<Item = (usize, u8)> + use<> {
    let beyond = 64 - (8 * bytes as u64).trailing_zeros();
    let [first, second] = [0, 8].map(|at| {
        let half = u64::from_le_bytes(*id[at..].first_chunk().expect("sixteen bytes"));
        (half ^ (half >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    });
    (0..HASHES).map(move |i| {
        let bit = first.wrapping_add(i.wrapping_mul(second | 1)) >> beyond;
        (usize::try_from(bit / 8).expect("within the bytes"), 1 << (bit % 8))
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
        let mut filter = Filter::new(1 << 20);
        (0..1 << 20).for_each(|n| filter.add(&id(n)));
        assert!((0..1 << 20).all(|n| filter.may_hold(&id(n))));
        let wrong = (1 << 20..(1 << 20) + 100_000).filter(|n| filter.may_hold(&id(*n))).count();
        assert!(wrong < 3_000, "{wrong} of 100,000");
        let again = Filter::from_bytes(filter.as_bytes().to_vec()).unwrap();
        assert!(again.may_hold(&id(7)));
        assert!([7, 4, 12].iter().all(|size| Filter::from_bytes(vec![0; *size]).is_none()));
    }

    #[test]
    fn a_filter_is_as_large_as_its_ids_are_many() {
        for ids in [0, 1, 60, 5_000_u32] {
            let mut filter = Filter::new(ids as usize);
            assert_eq!(filter.as_bytes().len(), (ids as usize).next_power_of_two().max(8));
            (0..u64::from(ids)).for_each(|n| filter.add(&id(n)));
            assert!((0..u64::from(ids)).all(|n| filter.may_hold(&id(n))));
            let wrong = (1 << 20..(1 << 20) + 10_000).filter(|n| filter.may_hold(&id(*n))).count();
            assert!(wrong < 500, "{wrong} of 10,000 with {ids}");
        }
    }

    /// Ids that count up, as some producers' do.
    #[test]
    fn ids_that_are_no_hash_are_told_apart_too() {
        let id = |n: u64| (u128::from(n) << 32 | 7).to_be_bytes();
        let mut filter = Filter::new(1 << 20);
        (0..100_000).for_each(|n| filter.add(&id(n)));
        let wrong = (100_000..200_000).filter(|n| filter.may_hold(&id(*n))).count();
        assert!(wrong < 3_000, "{wrong} of 100,000");
    }
}
