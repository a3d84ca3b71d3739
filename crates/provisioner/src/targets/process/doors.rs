//! Who changes a release: one at a time, also on threads that outlive their call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use crate::target::Error;

/// A door for each release that is being changed.
#[derive(Default)]
pub(super) struct Doors(Mutex<HashMap<Uuid, Arc<tokio::sync::Mutex<()>>>>);

/// Held by whoever changes a release.
pub(super) struct Door(Arc<tokio::sync::OwnedMutexGuard<()>>);

impl Doors {
    /// Waits until nobody changes the release.
    pub(super) async fn enter(&self, release: Uuid) -> Door {
        let door = self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(release).or_default().clone();
        Door(Arc::new(door.lock_owned().await))
    }

    /// Takes the door out, unless somebody else waits for it: who came next would have
    /// another.
    pub(super) fn leave(&self, release: Uuid, door: &Door) {
        let mut doors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = Arc::strong_count(tokio::sync::OwnedMutexGuard::mutex(&door.0)) > 2;
        if !waits {
            doors.remove(&release);
        }
    }
}

impl Door {
    /// Work on a thread of its own goes on when its call is dropped; it keeps the door,
    /// so that the next call waits for it.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let held = self.0.clone();
        blocking(move || {
            let _door = held;
            work()
        })
        .await
    }
}

/// Work on a thread of its own, for which no door is needed.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::Unavailable(format!("it was given up: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use futures::poll;

    use super::*;

    #[tokio::test]
    async fn a_door_stays_the_same_while_somebody_waits_for_it() {
        let doors = Doors::default();
        let release = Uuid::new_v4();
        let first = doors.enter(release).await;
        let mut second = std::pin::pin!(doors.enter(release));
        assert!(poll!(&mut second).is_pending());
        doors.leave(release, &first);
        drop(first);
        let second = second.await;
        assert!(poll!(std::pin::pin!(doors.enter(release))).is_pending(), "two are inside");
        doors.leave(release, &second);
        assert!(doors.0.lock().unwrap().is_empty());
    }
}
