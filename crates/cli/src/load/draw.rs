//! Which client, key and size a request gets. It follows from the seed and the
//! request's number alone, whichever connection sends it.

use fastrand::Rng;

use super::sizes::Sizes;

/// What is drawn, so that one draw says nothing about another.
#[derive(Clone, Copy)]
enum What {
    Client,
    Key,
    Size,
}

/// Draws for every request.
#[derive(Clone, Debug)]
pub(super) struct Draw {
    seed: u32,
    clients: Choice,
    keys: Choice,
    sizes: Choice,
}

impl Draw {
    /// `skew` is the exponent of a Zipf distribution; 0 takes clients and keys in turn.
    pub(super) fn new(seed: u32, clients: usize, keys: usize, skew: f64, sizes: &Sizes) -> Self {
        let spread = |count| if skew > 0.0 { Choice::zipf(count, skew) } else { Choice::InTurn(count) };
        Self { seed, clients: spread(clients), keys: spread(keys), sizes: Choice::weighted(sizes.weights()) }
    }

    /// The client of a request.
    pub(super) fn client(&self, number: u64) -> usize {
        self.clients.of(number, || self.rng(number, What::Client))
    }

    /// The key of an entry of a request with so many. Taken in turn, all clients
    /// have had one key before any gets the next.
    pub(super) fn key(&self, request: u64, entry: u64, entries: u64) -> usize {
        let turn = match self.clients {
            Choice::InTurn(clients) => request / clients as u64,
            Choice::Drawn(_) => request,
        };
        self.keys.of(turn * entries + entry, || self.rng(request * entries + entry, What::Key))
    }

    /// Which of the sizes the event of a request has.
    pub(super) fn size(&self, number: u64) -> usize {
        self.sizes.of(number, || self.rng(number, What::Size))
    }

    fn rng(&self, number: u64, what: What) -> Rng {
        let seed = (u64::from(self.seed) << 2 | what as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Rng::with_seed(seed ^ number)
    }
}

/// One of so many.
#[derive(Clone, Debug)]
enum Choice {
    InTurn(usize),
    /// The sums of the shares up to each.
    Drawn(Vec<f64>),
}

impl Choice {
    fn weighted(weights: impl Iterator<Item = f64>) -> Self {
        let mut sum = 0.0;
        let mut sums: Vec<f64> = weights
            .map(|weight| {
                sum += weight;
                sum
            })
            .collect();
        if sums.len() == 1 {
            return Self::InTurn(1);
        }
        sums.iter_mut().for_each(|each| *each /= sum);
        Self::Drawn(sums)
    }

    #[expect(clippy::cast_precision_loss, reason = "exact below 2^53")]
    fn zipf(count: usize, exponent: f64) -> Self {
        Self::weighted((1..=count).map(|rank| (rank as f64).powf(-exponent)))
    }

    fn of(&self, turn: u64, rng: impl FnOnce() -> Rng) -> usize {
        match self {
            Self::InTurn(1) => 0,
            Self::InTurn(count) => usize::try_from(turn % *count as u64).expect("it is below a usize"),
            Self::Drawn(sums) => {
                let at = rng().f64();
                sums.partition_point(|sum| *sum <= at).min(sums.len() - 1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(text: &str) -> Sizes {
        text.parse().unwrap()
    }

    #[test]
    fn every_lane_comes_in_turn() {
        let draw = Draw::new(1, 3, 2, 0.0, &sizes("512"));
        let lanes: Vec<_> = (0..7).map(|number| (draw.client(number), draw.key(number, 0, 1))).collect();
        assert_eq!(lanes, [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1), (0, 0)]);
    }

    #[test]
    fn the_entries_of_a_batch_have_the_keys_in_turn() {
        let draw = Draw::new(1, 2, 5, 0.0, &sizes("512"));
        let keys = |request| (0..3).map(|entry| draw.key(request, entry, 3)).collect::<Vec<_>>();
        assert_eq!([0, 1, 2, 4].map(keys), [[0, 1, 2], [0, 1, 2], [3, 4, 0], [1, 2, 3]]);
    }

    #[test]
    fn a_seed_draws_the_same_again_and_another_one_something_else() {
        let draw = |seed| {
            let draw = Draw::new(seed, 100, 10, 1.0, &sizes("512:1,1024:1"));
            (0..50).map(|n| (draw.client(n), draw.key(n, 0, 1), draw.size(n))).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn shares_are_as_asked_for() {
        const COUNT: u64 = 100_000;
        let draw = Draw::new(42, 1_000, 1, 1.0, &sizes("512:80,4096:15,65536:5"));
        let count = |of: &dyn Fn(u64) -> bool| (0..COUNT).filter(|number| of(*number)).count();
        let sizes = [0, 1, 2].map(|size| count(&|number| draw.size(number) == size));
        for (seen, wanted) in sizes.into_iter().zip([80_000, 15_000, 5_000]) {
            assert!(seen.abs_diff(wanted) < 600, "{sizes:?}");
        }
        // 1 of the harmonic sum of 1,000, which is 7.485; and half of that.
        for (client, wanted) in [(0, 13_360), (1, 6_680)] {
            let seen = count(&|number| draw.client(number) == client);
            assert!(seen.abs_diff(wanted) < 600, "client {client}: {seen}");
        }
    }

    #[test]
    fn a_client_says_nothing_about_its_size() {
        let draw = Draw::new(42, 2, 1, 0.000_1, &sizes("512:1,1024:1"));
        let both = (0..10_000).filter(|n| draw.client(*n) == 0 && draw.size(*n) == 0).count();
        assert!(both.abs_diff(2_500) < 200, "{both}");
    }
}
