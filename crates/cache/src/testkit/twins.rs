//! Broken twins: caches that each break one promise. They keep the suite honest: a case
//! that a twin passes checks nothing.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::Factory;
use crate::{Cache, Entry, Error, Key, MemoryCache};

orderwire_types::faults! {
    /// What describes a body is lost.
    LosesMeta => an_entry_comes_back_as_it_was,
    /// The generation is cut to 32 bits.
    CutsGenerations => an_entry_comes_back_as_it_was,
    /// The time is that of the read.
    LosesTimes => an_entry_comes_back_as_it_was,
    /// What was read is gone.
    GivesAway => an_entry_comes_back_as_it_was,
    /// There is no entry without a body.
    RefusesEmptyBodies => an_entry_of_nothing_comes_back,
    /// Bodies are cut.
    CutsBodies => a_large_entry_comes_back,
    /// All keys are one.
    IgnoresKeys => a_key_that_nobody_used_has_no_entry keys_are_told_apart_by_every_byte,
    /// Long keys are cut.
    CutsKeys => keys_are_told_apart_by_every_byte,
    /// Keys are trimmed.
    TrimsKeys => keys_are_told_apart_by_every_byte,
    /// The first entry stays.
    KeepsTheFirst => a_later_entry_takes_the_place_of_an_earlier_one near_is_what_was_put_or_nothing,
    /// What is forgotten stays.
    ForgetsNothing => a_forgotten_entry_is_gone_and_no_other,
    /// Everything is forgotten.
    ForgetsEverything => a_forgotten_entry_is_gone_and_no_other,
    /// What is not there cannot be forgotten.
    ForgetsOnlyWhatIsThere => forgetting_what_is_not_there_is_no_error,
    /// Entries do not end.
    NeverEnds => an_entry_ends_after_its_time_to_live,
    /// No time to live is taken for the longest.
    KeepsWithoutTime => an_entry_without_time_to_live_is_not_kept,
    /// What is near goes before what others put in.
    StaysNear => what_another_node_put_goes_before_what_is_near,
    /// What is forgotten is forgotten here alone.
    ForgetsAlone => what_another_node_forgot_is_gone_where_it_is_shared,
    /// A check fails.
    ChecksBadly => a_check_passes,
}

/// Opens twins with a fault on one place.
pub struct TwinFactory {
    fault: Fault,
    place: MemoryCache,
}

impl TwinFactory {
    /// A factory with an empty place.
    pub fn new(fault: Fault) -> Self {
        Self { fault, place: MemoryCache::new(64 << 20) }
    }
}

#[async_trait]
impl Factory for TwinFactory {
    async fn open(&self) -> Result<Arc<dyn Cache>, String> {
        let near = MemoryCache::new(64 << 20);
        Ok(Arc::new(Twin { fault: self.fault, place: self.place.clone(), near }))
    }

    fn shares(&self) -> bool {
        true
    }
}

struct Twin {
    fault: Fault,
    /// What all know.
    place: MemoryCache,
    /// What this one put in.
    near: MemoryCache,
}

impl Twin {
    fn key(&self, key: &Key) -> Key {
        match self.fault {
            Fault::IgnoresKeys => "key".into(),
            Fault::CutsKeys => key.chars().take(1_000).collect::<String>().into(),
            Fault::TrimsKeys => key.trim().into(),
            _ => key.clone(),
        }
    }

    fn changed(&self, mut entry: Entry) -> Entry {
        match self.fault {
            Fault::LosesMeta => entry.meta = Bytes::new(),
            Fault::CutsGenerations => entry.generation &= u64::from(u32::MAX),
            Fault::LosesTimes => entry.computed_at_us = 0,
            Fault::CutsBodies => entry.body.truncate(1 << 20),
            _ => {}
        }
        entry
    }
}

#[async_trait]
impl Cache for Twin {
    async fn near(&self, key: &Key) -> Option<Entry> {
        self.near.near(&self.key(key)).await
    }

    async fn get(&self, key: &Key) -> Result<Option<Entry>, Error> {
        let near = self.near(key).await.filter(|_| self.fault == Fault::StaysNear);
        let key = self.key(key);
        let found = match near {
            Some(near) => Some(near),
            None => self.place.get(&key).await?,
        };
        if self.fault == Fault::GivesAway {
            self.place.forget(&key).await?;
        }
        Ok(found.map(|entry| self.changed(entry)))
    }

    async fn put(&self, key: Key, entry: Entry, ttl: Duration) -> Result<(), Error> {
        let key = self.key(&key);
        let ttl = match self.fault {
            Fault::NeverEnds if !ttl.is_zero() => super::LONG,
            Fault::KeepsWithoutTime if ttl.is_zero() => super::LONG,
            _ => ttl,
        };
        let is_there = self.place.get(&key).await?.is_some();
        if (self.fault == Fault::KeepsTheFirst && is_there)
            || (self.fault == Fault::RefusesEmptyBodies && entry.body.is_empty())
        {
            return Ok(());
        }
        self.near.put(key.clone(), entry.clone(), ttl).await?;
        self.place.put(key, entry, ttl).await
    }

    async fn forget(&self, key: &Key) -> Result<(), Error> {
        let key = self.key(key);
        match self.fault {
            Fault::ForgetsNothing => return Ok(()),
            Fault::ForgetsEverything => self.place.clear(),
            Fault::ForgetsOnlyWhatIsThere if self.place.get(&key).await?.is_none() => {
                return Err(Error("there is no such entry".to_owned()));
            }
            Fault::ForgetsAlone => return self.near.forget(&key).await,
            _ => {}
        }
        self.near.forget(&key).await?;
        self.place.forget(&key).await
    }

    async fn check(&self) -> Result<(), Error> {
        if self.fault == Fault::ChecksBadly { Err(Error("on purpose".to_owned())) } else { Ok(()) }
    }
}
