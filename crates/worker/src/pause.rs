//! Pauses between attempts.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// A pause that doubles up to a bound, and differs between those who wait, so
/// that they do not come back together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// After the first failure.
    pub first: Duration,
    /// At most.
    pub last: Duration,
}

impl Pause {
    /// The pause after this many failures in a row (1 is the first): between
    /// half and all of the doubled one.
    pub fn after(&self, failures: u32) -> Duration {
        let doubled = self.first.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1)));
        let whole = doubled.min(self.last);
        // Hashers are keyed at random: a die without a dependency.
        let die = RandomState::new().build_hasher().finish() % 1_000;
        whole / 2 + (whole / 2_000).saturating_mul(u32::try_from(die).unwrap_or_default())
    }
}

impl Default for Pause {
    fn default() -> Self {
        Self { first: Duration::from_millis(100), last: Duration::from_secs(15) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_within_their_bounds() {
        let pause = Pause { first: Duration::from_millis(100), last: Duration::from_secs(1) };
        for (failures, whole) in [(1, 100), (2, 200), (4, 800), (5, 1_000), (u32::MAX, 1_000)] {
            for _ in 0..50 {
                let found = pause.after(failures);
                let whole = Duration::from_millis(whole);
                assert!(found >= whole / 2 && found <= whole, "{found:?} after {failures} failures");
            }
        }
    }
}
