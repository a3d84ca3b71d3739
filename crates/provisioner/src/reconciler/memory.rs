//! What the reconciler remembers of releases between two claims. Nothing depends
//! on it: after a restart it is empty.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use uuid::Uuid;

use super::gates::{Asking, Said};

/// Of one release.
#[derive(Default)]
struct Remembered {
    /// Attempts in a row that did not get through.
    failures: u32,
    /// The key that was made last, by its number, until it was handed over: another
    /// attempt need not make another one.
    key: Option<(u64, String)>,
    /// Set when it was brought back: when that may be tried again.
    brought_back: Option<Timestamp>,
    /// Its gates, while they are asked and until what they said is used.
    gates: Option<Asking>,
}

/// Only holds releases in trouble or in the middle of a hand-over.
#[derive(Default)]
pub(super) struct Memory(Mutex<HashMap<Uuid, Remembered>>);

impl Memory {
    /// Counts an attempt that did not get through; how many there are in a row now.
    pub(super) fn failed(&self, release: Uuid) -> u32 {
        let mut memory = self.lock();
        let entry = memory.entry(release).or_default();
        entry.failures = entry.failures.saturating_add(1);
        entry.failures
    }

    /// An attempt got through; whether others before it did not.
    pub(super) fn got_through(&self, release: Uuid) -> bool {
        self.lock().get_mut(&release).is_some_and(|entry| std::mem::take(&mut entry.failures) > 0)
    }

    /// The text of the key with this number.
    pub(super) fn key(&self, release: Uuid, number: u64) -> Option<String> {
        let memory = self.lock();
        let (made, text) = memory.get(&release)?.key.as_ref()?;
        (*made == number).then(|| text.clone())
    }

    /// Keeps the text of a key until [`Memory::drop_key`].
    pub(super) fn keep_key(&self, release: Uuid, number: u64, text: String) {
        self.lock().entry(release).or_default().key = Some((number, text));
    }

    /// The key was handed over.
    pub(super) fn drop_key(&self, release: Uuid) {
        if let Some(entry) = self.lock().get_mut(&release) {
            entry.key = None;
        }
    }

    /// The release is being brought back; not again before `again`.
    pub(super) fn bring_back(&self, release: Uuid, again: Timestamp) {
        self.lock().entry(release).or_default().brought_back = Some(again);
    }

    /// Since it was brought back the release was not healthy yet: when it may be
    /// tried again.
    pub(super) fn brought_back(&self, release: Uuid) -> Option<Timestamp> {
        self.lock().get(&release)?.brought_back
    }

    /// What the gates say that `ask` goes on to ask, or asks instead of those that were
    /// asked before.
    pub(super) fn gates(&self, release: Uuid, ask: impl FnOnce(Option<Asking>) -> Asking) -> Said {
        let mut memory = self.lock();
        let gates = &mut memory.entry(release).or_default().gates;
        let former = gates.take();
        gates.insert(ask(former)).said()
    }

    /// Its gates are not asked any more: it is not healthy, or will be another one.
    pub(super) fn drop_gates(&self, release: Uuid) {
        if let Some(entry) = self.lock().get_mut(&release) {
            entry.gates = None;
        }
    }

    /// All is well.
    pub(super) fn forget(&self, release: Uuid) {
        self.lock().remove(&release);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Remembered>> {
        // No code that can panic runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
