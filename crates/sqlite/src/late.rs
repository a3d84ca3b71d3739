//! Entries on their way to a large index.
//!
//! Ids and traces are random. Each by itself would change another page of its index,
//! and a page is four kibibytes that are logged, synchronised and copied. So an entry
//! is first added to the end of a list, which is stored, and its order is kept in
//! memory. Once there are many, those that are neighbours in the index are written
//! together: a hand goes round through their order and takes, with each commit, as
//! many as came in.
//!
//! After a start the list may hold several times as many as stay, because what was taken
//! in the last rounds is still on it. These are no debt of the first commit: each takes
//! at most twice as many as came with it and a few more, so that the list gets shorter
//! whatever comes, and no commit waits for what others left.
//!
//! What was there when a round began is in the index once the last of it was taken, so the list
//! up to there is dropped, as slowly. The hand may not have come round by then: keys that grow,
//! as traces with the time in front do, are always before it. Nor need it ever come to one that is
//! behind all of these, a trace without; so after a while it passes over what came since. After a
//! start some of the list may be in the index already; writing it again changes nothing.

use std::collections::BTreeMap;
use std::ops::Bound;

/// How ids and traces reach their indexes late. No setting for users: constants of the
/// engine that tests make small, so that they reach them. A file may be opened with
/// others than before.
#[derive(Clone, Copy, Debug)]
pub struct LateOptions {
    /// Ids that stay on their way.
    pub ids: usize,
    /// Entries of the index of traces that stay on their way.
    pub traces: usize,
    /// Of what is beyond these a commit writes twice as many as it brings, and so many more.
    pub slice: usize,
    /// A part of the remembered ids is full with so many.
    pub part: u32,
}

impl Default for LateOptions {
    fn default() -> Self {
        Self { ids: 1 << 14, traces: 1 << 12, slice: 1 << 8, part: 1 << 20 }
    }
}

/// Per entry that is taken, so many rows of the list may be dropped.
const DROP: i64 = 4;

/// The entries of one index that are on their way.
#[derive(Debug)]
pub(crate) struct Late<K, V> {
    entries: BTreeMap<K, (i64, V)>,
    /// So many stay.
    stay: usize,
    /// So many may be taken by a commit that brings none.
    slice: usize,
    /// How many came since something was taken last.
    came: usize,
    /// The last that was taken in this round.
    hand: Option<K>,
    /// Numbers of the list from here on came after the round began.
    round: i64,
    /// How many entries are left of those that were there then.
    left: usize,
    /// So many more are taken in this round, whenever they came; then only of those.
    any_left: usize,
    /// What the list holds before this number is in the index.
    done: i64,
    /// The next number of the list.
    next: i64,
}

/// What a commit has to write.
#[derive(Debug)]
pub(crate) struct Due<K, V> {
    /// For the index, in its order but for one turn to its beginning.
    pub(crate) entries: Vec<(K, V)>,
    /// The list can do without what it holds before this number,
    pub(crate) done: i64,
    /// of which so many rows, the first, are to be dropped.
    pub(crate) drop: i64,
}

impl<K: Ord + Copy, V> Late<K, V> {
    pub(crate) fn new(stay: usize, slice: usize) -> Self {
        // None at all would never get the list shorter.
        let slice = slice.max(1);
        Self {
            entries: BTreeMap::new(),
            stay,
            slice,
            came: 0,
            hand: None,
            round: 0,
            left: 0,
            any_left: 0,
            done: 0,
            next: 0,
        }
    }

    /// The next number, for lists that have no other.
    pub(crate) fn next(&self) -> i64 {
        self.next
    }

    /// Adds what came under a number, which is above all before.
    pub(crate) fn add(&mut self, n: i64, key: K, value: V) {
        self.came += 1;
        self.restore(n, key, value);
    }

    /// The same of what the list held already.
    pub(crate) fn restore(&mut self, n: i64, key: K, value: V) {
        if self.next == 0 {
            (self.done, self.round) = (n, n);
        }
        self.next = n + 1;
        if let Some((replaced, _)) = self.entries.insert(key, (n, value)) {
            self.is_gone(replaced);
        }
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(_, value)| value)
    }

    /// Removes an entry, if the list holds it under this number.
    pub(crate) fn remove(&mut self, n: i64, key: &K) -> bool {
        let there = self.entries.get(key).is_some_and(|(listed, _)| *listed == n);
        if there {
            self.entries.remove(key);
            self.is_gone(n);
        }
        there
    }

    /// An entry of this number is among the entries no more.
    fn is_gone(&mut self, n: i64) {
        if n < self.round {
            self.left -= 1;
        }
    }

    /// What is to be written now, if anything. It counts as written.
    pub(crate) fn due(&mut self) -> Option<Due<K, V>> {
        let most = 2 * std::mem::take(&mut self.came) + self.slice;
        let count = self.entries.len().saturating_sub(self.stay).min(most);
        if count == 0 {
            return None;
        }
        let entries: Vec<_> = (0..count).map_while(|_| self.take()).collect();
        let drop = i64::try_from(count).unwrap_or(i64::MAX).saturating_mul(DROP);
        Some(Due { entries, done: self.done, drop })
    }

    fn take(&mut self) -> Option<(K, V)> {
        if self.left == 0 {
            // A round ends and the next begins.
            (self.done, self.round) = (self.round, self.next);
            self.left = self.entries.len();
            // Of keys that come everywhere: once round, with what comes before the hand.
            self.any_left = 2 * self.left;
        }
        let only_old = self.any_left == 0;
        self.any_left = self.any_left.saturating_sub(1);
        let due = |(_, (n, _)): &(&K, &(i64, V))| !only_old || *n < self.round;
        let behind = self.hand.map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.entries.range((behind, Bound::Unbounded)).find(due);
        let key = *next.or_else(|| self.entries.iter().find(due))?.0;
        self.hand = Some(key);
        let (n, value) = self.entries.remove(&key)?;
        self.is_gone(n);
        Some((key, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers from 0 on, scattered over all keys.
    fn scattered(n: i64) -> u64 {
        (n.unsigned_abs() + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    #[test]
    fn nothing_is_due_until_there_are_many() {
        let mut late = Late::new(3, 5);
        for n in 0..3 {
            late.add(n, scattered(n), n);
            assert!(late.due().is_none());
        }
        late.add(3, scattered(3), 3);
        assert_eq!(late.due().unwrap().entries.len(), 1);
        assert!(late.due().is_none());
    }

    #[test]
    fn what_the_list_drops_is_in_the_index() {
        drops_what_is_in_the_index(scattered);
    }

    /// As are those of one trace with ever more steps.
    #[test]
    fn keys_that_grow_are_dropped_as_well() {
        drops_what_is_in_the_index(i64::unsigned_abs);
    }

    /// Beside traces with the time in front, now and then one without that is behind them all.
    #[test]
    fn a_key_that_the_others_never_reach_is_dropped_as_well() {
        drops_what_is_in_the_index(|n| {
            if n % 50_000 == 0 { u64::MAX - n.unsigned_abs() } else { n.unsigned_abs() }
        });
    }

    /// The list without what is dropped, and the index, hold everything at any moment,
    /// and neither the list nor the memory grows.
    fn drops_what_is_in_the_index(key: fn(i64) -> u64) {
        const STAY: usize = 100;
        let mut late = Late::new(STAY, 5);
        let (mut listed, mut index) = (BTreeMap::new(), BTreeMap::new());
        for i in 0..5_000 {
            // Most numbers are not listed, as positions of events in streams are not.
            let n = 50 * i;
            late.add(n, key(n), n);
            listed.insert(n, key(n));
            if i % 7 != 0 {
                continue;
            }
            if let Some(due) = late.due() {
                index.extend(due.entries);
                for _ in 0..due.drop {
                    match listed.first_entry() {
                        Some(first) if *first.key() < due.done => drop(first.remove()),
                        _ => break,
                    }
                }
            }
            assert!(late.entries.len() <= STAY && listed.len() < 5 * STAY, "{}", listed.len());
            let kept = |at: &u64| index.contains_key(at) || late.get(at).is_some();
            let stored = |n: &i64| listed.contains_key(n) || index.contains_key(&key(*n));
            assert!((0..=i).map(|i| 50 * i).all(|n| kept(&key(n)) && stored(&n)), "after {n}");
        }
        assert!(index.len() > 4_800);
    }

    /// Which is what it is for.
    #[test]
    fn neighbours_are_taken_together() {
        let mut late = Late::new(1_000, 5);
        let mut pages = 0;
        for n in 0..20_000 {
            late.add(n, scattered(n), ());
            if n % 50 == 49
                && let Some(due) = late.due()
            {
                // As if the index had 256 pages.
                let mut touched: Vec<_> = due.entries.iter().map(|(key, ())| key >> 56).collect();
                touched.dedup();
                pages += touched.len();
            }
        }
        assert!(pages < 20_000 / 5, "{pages}");
    }

    #[test]
    fn a_long_list_is_written_by_many_commits() {
        const LONG: i64 = 5_000;
        let mut late = Late::new(100, 10);
        (0..LONG).for_each(|n| late.restore(n, scattered(n), ()));
        let (mut written, mut n) = (0, LONG);
        for commit in 0.. {
            let came = commit % 50;
            for _ in 0..came {
                late.add(n, scattered(n), ());
                n += 1;
            }
            let Some(due) = late.due() else { break };
            assert!(due.entries.len() <= 2 * usize::try_from(came).unwrap() + 10, "{due:?}");
            assert!(due.drop <= DROP * (2 * came + 10));
            written += i64::try_from(due.entries.len()).unwrap();
        }
        assert_eq!(written + 100, n, "all but those that stay");
        assert!(n < 2 * LONG + 100, "it gets shorter although more come: {n}");
    }

    #[test]
    fn an_entry_is_removed_under_the_number_it_has_now() {
        let mut late = Late::new(10, 5);
        late.add(1, 7, "old");
        late.add(2, 7, "new");
        assert!(!late.remove(1, &7));
        assert_eq!(late.get(&7), Some(&"new"));
        assert!(late.remove(2, &7) && late.get(&7).is_none());
    }
}
