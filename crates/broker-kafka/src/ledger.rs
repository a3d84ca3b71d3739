//! Which messages of one partition are done, and how the next consumer learns it.
//!
//! Kafka knows one number for a group and a partition: where to go on. Messages are acked
//! in any order, so that number is the first that is not done, and beside it, in the text
//! that Kafka keeps with it (the memo), stand the others that are not done, where the
//! unknown begins, and up to where messages may have been handed out. There, too, stands the mark
//! of the last message before that number: a log that has another one in its place is not the one
//! that was read.
//!
//! Nothing here waits or speaks to anybody.

use std::collections::BTreeMap;

/// The longest memo. Servers take 4096 bytes (`offset.metadata.max.bytes`); what does
/// not fit comes again.
const MEMO_BYTES_MAX: usize = 3_500;

/// How far ahead messages are noted as handed out, so that not every one of them waits
/// for that. After a crash so many may be marked as redelivered that never were.
const AHEAD: i64 = 1_000;

/// The first word of a memo: its version.
const VERSION: &str = "2";
/// Stands for a mark where there is none.
const UNMARKED: &str = "-";

/// What a message is known again by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) offset: i64,
    /// Follows from the whole message.
    pub(crate) face: u64,
}

/// One partition as one consumer knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ledger {
    /// What is not done, of what is before `next`; with what came before each of them, where it came.
    open: BTreeMap<i64, Option<Mark>>,
    /// From here on nothing is known. None: nothing is known at all.
    next: Option<i64>,
    /// From here on nothing came to this consumer yet.
    seen: i64,
    /// What came last; at first the one whose mark was kept, which comes once more.
    last: Option<Mark>,
    /// What is before it may have been handed out by a consumer before this one.
    before: i64,
    /// What is before it was handed out, or may have been.
    handed: i64,
    /// What is before it is noted as handed out, where others see it.
    noted: i64,
    /// Whether others know less than stands here.
    is_news: bool,
}

/// What a message that arrived is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It is done already.
    Done,
    /// It is to be handed out.
    New {
        /// Whether it may have been handed out before.
        redelivered: bool,
    },
}

/// What is kept for whoever comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    /// Where to go on.
    pub(crate) offset: i64,
    /// The text beside it.
    pub(crate) memo: String,
    /// Up to where it says that messages were handed out.
    noted: i64,
}

impl Ledger {
    /// From what was kept; nothing was, where the group is new to the partition.
    pub(crate) fn restore(kept: Option<(i64, &str)>) -> Self {
        let Some((offset, memo)) = kept else { return Self::default() };
        let Memo { next, before, last, open } = read(offset, memo).unwrap_or(Memo {
            next: offset,
            before: offset,
            last: None,
            open: BTreeMap::new(),
        });
        let seen = last.map_or(offset, |mark| mark.offset);
        Self { open, next: Some(next), seen, last, before, handed: before, noted: before, is_news: false }
    }

    /// Where to begin to read; none: where the log begins.
    pub(crate) fn begin(&self) -> Option<i64> {
        self.next.map(|_| self.seen)
    }

    /// Whether a message is of another log than the one that was read: its topic was deleted and made
    /// again, or it lost its end and was filled anew. What is known of the former one says nothing of it.
    pub(crate) fn is_other(&self, mark: Mark) -> bool {
        mark.offset < self.seen || self.last.is_some_and(|last| last.offset == mark.offset && last != mark)
    }

    /// Whether it has to be read from its beginning, because what is before this message of another
    /// log did not come yet.
    pub(crate) fn is_amid(&self, mark: Mark) -> bool {
        self.is_other(mark) && mark.offset >= self.seen
    }

    /// A message arrived; they do so in the order of their offsets.
    pub(crate) fn arrive(&mut self, mark: Mark) -> Arrival {
        if self.is_other(mark) {
            *self = Self { is_news: true, ..Self::default() };
        }
        let offset = mark.offset;
        // What was to come between is not in the log any more.
        let gone: Vec<i64> = self.open.range(self.seen..offset).map(|(gone, _)| *gone).collect();
        for offset in gone {
            self.is_news |= self.open.remove(&offset).is_some();
        }
        self.seen = offset + 1;
        let before = self.last.replace(mark);
        match self.next {
            Some(next) if offset < next => match self.open.get_mut(&offset) {
                Some(known) => *known = before,
                None => return Arrival::Done,
            },
            _ => {
                self.next = Some(offset + 1);
                self.open.insert(offset, before);
            }
        }
        Arrival::New { redelivered: offset < self.before }
    }

    /// Whether a message may be handed out: others know that it may have been.
    pub(crate) fn is_noted(&self, offset: i64) -> bool {
        offset < self.noted
    }

    /// A message is handed out.
    pub(crate) fn hand_out(&mut self, offset: i64) {
        self.handed = self.handed.max(offset + 1);
    }

    /// A message is done.
    pub(crate) fn settle(&mut self, offset: i64) {
        self.is_news |= self.open.remove(&offset).is_some();
    }

    /// What others have to know while this consumer goes on and hands out messages up to
    /// `soon`; none, where they know it.
    pub(crate) fn note(&self, soon: Option<i64>) -> Option<Note> {
        let soon = soon.map_or(self.handed, |soon| soon + 1);
        if soon <= self.noted && !self.is_news {
            return None;
        }
        // Told along, so that it seldom has to be told alone.
        self.write(if soon + AHEAD / 2 > self.noted { soon + AHEAD } else { self.noted })
    }

    /// What others have to know when this consumer hands out nothing more.
    pub(crate) fn last_note(&self) -> Option<Note> {
        if self.handed == self.noted && !self.is_news { None } else { self.write(self.handed) }
    }

    /// Others know this now, and nothing else has happened since it was written.
    pub(crate) fn know(&mut self, note: &Note) {
        self.noted = note.noted;
        self.is_news = self.write(note.noted).is_some_and(|now| now != *note);
    }

    fn write(&self, noted: i64) -> Option<Note> {
        let next = self.next?;
        let (offset, mark) = match self.open.first_key_value() {
            Some((offset, before)) if *offset < self.seen => (*offset, *before),
            // Of what is behind the one that came last nothing came yet.
            Some((offset, _)) => (*offset, self.last),
            None => (next, self.last),
        };
        let mark = mark.map_or(UNMARKED.to_owned(), |Mark { offset: marked, face }| {
            format!("{}:{face:x}", offset - marked)
        });
        let mut open = String::new();
        let mut unknown_from = next;
        let mut last = offset;
        // The first is where to go on, and needs no mention.
        for &other in self.open.keys().skip(1) {
            let step = format!(" {}", other - last);
            if open.len() + step.len() > MEMO_BYTES_MAX {
                unknown_from = other;
                break;
            }
            open.push_str(&step);
            last = other;
        }
        let memo = format!("{VERSION} {} {} {mark}{open}", unknown_from - offset, noted - offset);
        Some(Note { offset, memo, noted })
    }
}

/// What a memo says.
struct Memo {
    /// From where on nothing is known.
    next: i64,
    /// Up to where messages were handed out.
    before: i64,
    /// The last message before the offset.
    last: Option<Mark>,
    /// What is not done.
    open: BTreeMap<i64, Option<Mark>>,
}

/// None: it is not one of ours, as after somebody else set the offset.
fn read(offset: i64, memo: &str) -> Option<Memo> {
    let mut words = memo.split(' ');
    if words.next() != Some(VERSION) {
        return None;
    }
    let next = offset.checked_add(words.next()?.parse().ok()?)?;
    let before = offset.checked_add(words.next()?.parse().ok()?)?;
    let last = match words.next()? {
        UNMARKED => None,
        mark => {
            let (back, face) = mark.split_once(':')?;
            let back = back.parse().ok().filter(|back| (1..=offset).contains(back))?;
            Some(Mark { offset: offset - back, face: u64::from_str_radix(face, 16).ok()? })
        }
    };
    let mut open = BTreeMap::new();
    let mut at = offset;
    if offset < next {
        open.insert(offset, None);
    }
    for step in words {
        at = at.checked_add(step.parse().ok().filter(|step: &i64| *step > 0)?)?;
        open.insert(at, None);
    }
    let is_sound = open.last_key_value().is_none_or(|(last, _)| *last < next) && next >= offset;
    is_sound.then_some(Memo { next, before, last, open })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const NEW: Arrival = Arrival::New { redelivered: false };
    const AGAIN: Arrival = Arrival::New { redelivered: true };

    /// The message of this offset, in a log that was always the same.
    fn at(offset: i64) -> Mark {
        Mark { offset, face: offset.unsigned_abs().wrapping_mul(0x9e37_79b9_7f4a_7c15) }
    }

    /// Another one in its place.
    fn other(offset: i64) -> Mark {
        Mark { face: 1, ..at(offset) }
    }

    /// A ledger to which these came, all of them handed out.
    fn with(offsets: impl IntoIterator<Item = i64>) -> Ledger {
        let mut ledger = Ledger::default();
        for offset in offsets {
            assert_eq!(ledger.arrive(at(offset)), NEW);
            ledger.hand_out(offset);
        }
        ledger
    }

    fn restored(note: &Note) -> Ledger {
        Ledger::restore(Some((note.offset, &note.memo)))
    }

    /// Its topic was deleted and made again.
    #[test]
    fn a_log_that_begins_anew_is_not_taken_for_the_one_before() {
        let mut ledger = Ledger::restore(Some((100, "")));
        assert!(ledger.is_other(at(0)) && !ledger.is_other(at(100)));
        assert!(!ledger.is_amid(at(0)), "it is read from its beginning");
        assert_eq!(ledger.arrive(at(0)), NEW);
        assert_eq!(ledger.arrive(at(1)), NEW);
        ledger.settle(0);
        assert_eq!(ledger.note(Some(1)).unwrap().offset, 1, "where the new log goes on");
    }

    /// It lost its end, and was filled beyond what was done.
    #[test]
    fn a_log_that_was_filled_anew_is_known_by_the_last_message_that_was_done() {
        let mut ledger = with(0..10);
        for offset in 0..8 {
            ledger.settle(offset);
        }
        let next = restored(&ledger.last_note().unwrap());
        assert_eq!(next.begin(), Some(7), "the last one that was done comes once more");
        let mut same = next.clone();
        assert!(!same.is_other(at(7)));
        assert_eq!([same.arrive(at(7)), same.arrive(at(8))], [Arrival::Done, AGAIN]);
        assert!(next.is_other(other(7)) && next.is_amid(other(7)));
        let mut anew = next.clone();
        assert_eq!(anew.arrive(other(7)), NEW);
        assert_eq!(anew.arrive(other(0)), NEW, "all of it, from its beginning");
        // The one that was done is not in the log any more, which says nothing.
        let mut without = next;
        assert_eq!(without.arrive(at(8)), AGAIN);
    }

    #[test]
    fn the_mark_is_of_what_came_before_what_is_open_whatever_came_since() {
        let mut ledger = with(0..5);
        for offset in [0, 1, 3, 4] {
            ledger.settle(offset);
        }
        let mut next = restored(&ledger.last_note().unwrap());
        assert_eq!(next.begin(), Some(1));
        assert_eq!(next.last_note(), None, "nothing is new yet");
        let came: Vec<_> = (1..6).map(|offset| next.arrive(at(offset))).collect();
        assert_eq!(came, [Arrival::Done, AGAIN, Arrival::Done, Arrival::Done, NEW]);
        next.settle(5);
        let note = next.last_note().unwrap();
        assert_eq!((note.offset, restored(&note).begin()), (2, Some(1)));
        next.settle(2);
        let note = next.last_note().unwrap();
        assert_eq!((note.offset, restored(&note).begin()), (6, Some(5)));
        // Before the first one there is none.
        assert_eq!(restored(&with([3]).last_note().unwrap()).begin(), Some(3));
    }

    #[test]
    fn the_offset_passes_only_what_is_done_and_the_rest_is_remembered() {
        let mut ledger = with(10..15);
        ledger.settle(13);
        ledger.settle(11);
        let note = ledger.last_note().unwrap();
        assert_eq!(note.offset, 10);
        let mut next = restored(&note);
        let came: Vec<_> = (10..16).map(|offset| next.arrive(at(offset))).collect();
        assert_eq!(came, [AGAIN, Arrival::Done, AGAIN, Arrival::Done, AGAIN, NEW]);

        ledger.settle(10);
        assert_eq!(ledger.last_note().unwrap().offset, 12);
        for offset in [12, 14] {
            ledger.settle(offset);
        }
        assert_eq!(ledger.last_note().unwrap().offset, 15);
    }

    #[test]
    fn what_was_not_handed_out_is_not_marked_after_an_end_in_good_order() {
        let mut ledger = with(0..2);
        assert_eq!(ledger.arrive(at(2)), NEW);
        let mut next = restored(&ledger.last_note().unwrap());
        assert_eq!([next.arrive(at(0)), next.arrive(at(1)), next.arrive(at(2))], [AGAIN, AGAIN, NEW]);
    }

    #[test]
    fn what_may_have_been_handed_out_is_noted_before_and_ahead() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.arrive(at(5)), NEW);
        assert!(!ledger.is_noted(5));
        let note = ledger.note(Some(5)).unwrap();
        ledger.know(&note);
        assert!(ledger.is_noted(5) && ledger.is_noted(5 + AHEAD) && !ledger.is_noted(6 + AHEAD));
        ledger.hand_out(5);
        assert_eq!(ledger.note(Some(6)), None, "nobody needs to be told more");
        // A crash: whoever comes next knows only the note.
        assert_eq!(restored(&note).arrive(at(5)), AGAIN);
    }

    #[test]
    fn what_is_known_is_not_told_again_and_what_happens_meanwhile_is() {
        let mut ledger = with(0..3);
        ledger.settle(0);
        let note = ledger.note(None).unwrap();
        ledger.settle(1);
        ledger.know(&note);
        let later = ledger.note(None).unwrap();
        assert_eq!((note.offset, later.offset), (1, 2));
        ledger.know(&later);
        assert_eq!(ledger.note(None), None);
    }

    #[test]
    fn what_the_log_lost_is_not_waited_for() {
        // 3 to 6 were compacted, or their time was over.
        let mut ledger = with([1, 2, 7]);
        for offset in [1, 2, 7] {
            ledger.settle(offset);
        }
        assert_eq!(ledger.last_note().unwrap().offset, 8);
        let mut ledger = with(0..4);
        ledger.settle(1);
        let mut next = restored(&ledger.last_note().unwrap());
        assert_eq!(next.arrive(at(3)), AGAIN);
        next.settle(3);
        assert_eq!(next.last_note().unwrap().offset, 4);
    }

    #[test]
    fn a_memo_of_somebody_else_means_that_nothing_is_known() {
        for memo in [
            "",
            "metadata",
            "1 1 1",
            "2",
            "2 x 0 -",
            "2 5 5",
            "2 5 5 - 0",
            "2 5 5 - 9",
            "2 5 5 - 1 ",
            "2 5 5 1",
            "2 5 5 0:1",
            "2 5 5 8:1",
            "2 5 5 1:x",
            "2 -1 0 -",
            "2 9223372036854775807 0 - 1",
        ] {
            let mut ledger = Ledger::restore(Some((7, memo)));
            assert_eq!(ledger.arrive(at(7)), NEW, "{memo:?}");
            assert_eq!(ledger.arrive(at(8)), NEW, "{memo:?}");
        }
    }

    #[test]
    fn a_memo_has_a_limit_and_what_does_not_fit_comes_again() {
        let mut ledger = with(0..100_000);
        for offset in (0..100_000).filter(|offset| offset % 7 != 0) {
            ledger.settle(offset);
        }
        let note = ledger.last_note().unwrap();
        assert!(note.memo.len() < 4_000, "{}", note.memo.len());
        let mut next = restored(&note);
        let came: Vec<bool> = (0..100_000).map(|offset| next.arrive(at(offset)) != Arrival::Done).collect();
        assert!((0..100_000).step_by(7).all(|offset| came[offset]), "nothing is lost");
        assert!(!came[1] && !came[701], "what fits is known");
    }

    proptest! {
        /// Whatever is done in whatever order, with ends in between: what is done does not
        /// come again, what is not done does, and the offset grows.
        #[test]
        fn nothing_is_lost_and_nothing_that_is_done_comes_again(
            steps in proptest::collection::vec((0_u8..10, 0_usize..64), 1..200),
        ) {
            let mut log: i64 = 0;
            let mut done = BTreeSet::new();
            let mut ledger = Ledger::default();
            let mut here: BTreeSet<i64> = BTreeSet::new();
            let mut offset = 0;
            for (step, which) in steps {
                match step {
                    // One more message is published, and comes.
                    0..=3 => {
                        prop_assert_ne!(ledger.arrive(at(log)), Arrival::Done);
                        ledger.hand_out(log);
                        here.insert(log);
                        log += 1;
                    }
                    4..=8 => {
                        let Some(&settled) = here.iter().nth(which % here.len().max(1)) else { continue };
                        here.remove(&settled);
                        ledger.settle(settled);
                        done.insert(settled);
                    }
                    _ => {
                        let Some(note) = ledger.last_note() else { continue };
                        prop_assert!(note.offset >= offset);
                        offset = note.offset;
                        prop_assert!((0..offset).all(|passed| done.contains(&passed)));
                        ledger = restored(&note);
                        here.clear();
                        prop_assert_eq!(ledger.begin(), Some(if note.offset == 0 { 0 } else { note.offset - 1 }));
                        for offset in ledger.begin().unwrap()..log {
                            let came = ledger.arrive(at(offset));
                            prop_assert_eq!(came == Arrival::Done, done.contains(&offset));
                            if came != Arrival::Done {
                                prop_assert_eq!(came, AGAIN);
                                here.insert(offset);
                            }
                        }
                    }
                }
            }
        }
    }
}
