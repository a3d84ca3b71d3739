//! Keys in memory, so that a call with a known key never waits for the store.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use orderwire_api::{Authenticator, Problem};
use orderwire_queue::Clock;
use orderwire_store::{ErrorKind, KeyRecord, Store};
use orderwire_types::Scope;
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use super::text::{self, KeyText};

/// How many keys are held; beyond it all are forgotten and looked up anew.
const HELD_MAX: usize = 10_000;
/// After how long a held key is looked up again, because another node may
/// have revoked it.
const HELD_FOR: Duration = Duration::from_secs(30);
/// Lookups at once. Texts that only look like keys cost no more than this.
const LOOKUPS: usize = 8;

/// Knows keys: the [`Authenticator`] of a server. What this node revokes is
/// refused from the moment that the call returns; what another node revokes,
/// half a minute later at most.
pub struct KeyRing {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Clock,
    held: RwLock<Held>,
    lookups: Semaphore,
}

#[derive(Default)]
struct Held {
    keys: HashMap<String, Arc<HeldKey>>,
    /// Grows with every revocation, so that a record which was read before one
    /// is not held after it.
    revocations: u64,
}

struct HeldKey {
    record: KeyRecord,
    scope: Arc<Scope>,
    read_at: Timestamp,
}

impl KeyRing {
    /// The keys of this store.
    pub fn new(store: Arc<dyn Store>, clock: Clock) -> Self {
        Self { store, clock, held: RwLock::default(), lookups: Semaphore::new(LOOKUPS) }
    }

    /// Revokes a key, at once and for good. Again is no error, and neither is one that
    /// does not exist.
    ///
    /// # Errors
    /// The store's.
    pub async fn revoke(&self, id: &str) -> Result<(), orderwire_store::Error> {
        match self.store.revoke_key(id, self.clock.now()).await {
            Err(err) if err.kind() != ErrorKind::NotFound => return Err(err),
            _ => {}
        }
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        held.revocations += 1;
        held.keys.remove(id);
        Ok(())
    }

    /// Whether the stored record exists, belongs to this secret and is valid.
    fn check(&self, key: &HeldKey, secret: &str) -> Result<Arc<Scope>, Problem> {
        let same: bool = text::hash(secret).ct_eq(&key.record.hash).into();
        if !same {
            return Err(refused("wrong", "this key is unknown"));
        }
        if key.record.revoked_at.is_some() {
            return Err(refused("revoked", "this key was revoked; ask for another"));
        }
        if key.record.expires_at.is_some_and(|end| end <= self.clock.now()) {
            return Err(refused("expired", "this key has expired; ask for another"));
        }
        Ok(Arc::clone(&key.scope))
    }

    fn held(&self, id: &str) -> Option<Arc<HeldKey>> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).keys.get(id).cloned()
    }

    async fn look_up(&self, id: &str) -> Result<Option<Arc<HeldKey>>, Problem> {
        let _permit = self.lookups.acquire().await.expect("the semaphore is never closed");
        let before = self.held.read().unwrap_or_else(PoisonError::into_inner).revocations;
        let known = self.held(id);
        if known.as_ref().is_some_and(|known| self.is_fresh(known)) {
            // Someone else looked it up while this call waited.
            return Ok(known);
        }
        let record = match self.store.key(id).await {
            Ok(record) => record,
            // With the store away, what was known goes on being true.
            Err(err) if err.kind() == ErrorKind::Unavailable && known.is_some() => return Ok(known),
            Err(err) => return Err(Problem::of_store(err)),
        };
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        let Some(record) = record else {
            held.keys.remove(id);
            return Ok(None);
        };
        let key = Arc::new(HeldKey { scope: Arc::new(scope(&record)), record, read_at: self.clock.now() });
        if held.revocations == before {
            if held.keys.len() >= HELD_MAX {
                held.keys.clear();
            }
            held.keys.insert(id.to_owned(), Arc::clone(&key));
        }
        Ok(Some(key))
    }

    fn is_fresh(&self, key: &HeldKey) -> bool {
        self.clock.now().duration_since(key.read_at).unsigned_abs() < HELD_FOR
    }
}

#[async_trait]
impl Authenticator for KeyRing {
    async fn authenticate(&self, key: &str) -> Result<Arc<Scope>, Problem> {
        let Some(KeyText { id, secret }) = KeyText::parse(key) else {
            return Err(refused("malformed", "this key is unknown"));
        };
        if let Some(known) = self.held(id)
            && self.is_fresh(&known)
        {
            return self.check(&known, secret);
        }
        match self.look_up(id).await? {
            Some(known) => self.check(&known, secret),
            None => Err(refused("unknown", "this key is unknown")),
        }
    }
}

fn refused(reason: &'static str, detail: &str) -> Problem {
    metrics::counter!("orderwire_auth_refused_total", "reason" => reason).increment(1);
    Problem::unauthorized(detail)
}

/// What the owner of a key may touch.
fn scope(record: &KeyRecord) -> Scope {
    Scope {
        principal: format!("key:{}", record.id).into(),
        clients: record.clients.clone(),
        rights: record.rights.iter().copied().collect(),
        objects: record.objects.as_ref().map(|objects| objects.iter().cloned().collect()),
    }
}
