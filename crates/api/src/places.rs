//! How many calls may go on for long, and how many of them for one caller.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// Places, counted by principal.
#[derive(Debug)]
pub struct Places {
    max: usize,
    max_each: usize,
    taken: Mutex<HashMap<Arc<str>, usize>>,
    /// How many are taken.
    count: watch::Sender<usize>,
}

/// A place; free again when it is dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    principal: Arc<str>,
}

/// There is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// All are taken.
    All,
    /// The principal has as many as one may have.
    Own,
}

impl Places {
    /// So many in all, and so many for each principal.
    pub fn new(max: usize, max_each: usize) -> Arc<Self> {
        Arc::new(Self { max, max_each, taken: Mutex::default(), count: watch::Sender::new(0) })
    }

    /// A place for this principal.
    ///
    /// # Errors
    /// When there is none left.
    pub fn take(self: &Arc<Self>, principal: &Arc<str>) -> Result<Place, Full> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.get(principal).copied().unwrap_or_default();
        if own >= self.max_each {
            return Err(Full::Own);
        }
        if *self.count.borrow() >= self.max {
            return Err(Full::All);
        }
        taken.insert(principal.clone(), own + 1);
        self.count.send_modify(|count| *count += 1);
        Ok(Place { places: self.clone(), principal: principal.clone() })
    }

    /// Returns when all are free.
    pub async fn vacant(&self) {
        // An error means that the sender is gone, which `self` holds.
        let _ = self.count.subscribe().wait_for(|count| *count == 0).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.principal) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(taken.remove(&self.principal)),
        }
        self.places.count.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn nobody_takes_the_places_of_others() {
        let places = Places::new(3, 2);
        let [a, b, c]: [Arc<str>; 3] = ["a", "b", "c"].map(Into::into);
        let held = [places.take(&a).unwrap(), places.take(&a).unwrap()];
        assert_eq!(places.take(&a).unwrap_err(), Full::Own);
        let other = places.take(&b).expect("there is one for others");
        assert_eq!(places.take(&c).unwrap_err(), Full::All);
        drop(held);
        assert!(places.vacant().now_or_never().is_none(), "one is taken");
        drop(other);
        assert!(places.vacant().now_or_never().is_some());
        assert!(places.take(&c).is_ok());
        assert!(places.taken.lock().unwrap().is_empty(), "who has gone is forgotten");
    }
}
