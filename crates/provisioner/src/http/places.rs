//! How many calls may go on for long, and how many of them for one caller.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Places, counted by principal.
#[derive(Debug)]
pub(super) struct Places {
    max: usize,
    max_each: usize,
    taken: Mutex<HashMap<Arc<str>, usize>>,
}

/// A place; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    principal: Arc<str>,
}

impl Places {
    /// So many in all, and so many for each principal.
    pub(super) fn new(max: usize, max_each: usize) -> Arc<Self> {
        Arc::new(Self { max, max_each, taken: Mutex::default() })
    }

    /// A place for this principal; `None` when there is none left.
    pub(super) fn take(self: &Arc<Self>, principal: &Arc<str>) -> Option<Place> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.get(principal).copied().unwrap_or_default();
        if own >= self.max_each || taken.values().sum::<usize>() >= self.max {
            return None;
        }
        taken.insert(principal.clone(), own + 1);
        Some(Place { places: self.clone(), principal: principal.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.principal) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(taken.remove(&self.principal)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_the_places_of_others() {
        let places = Places::new(3, 2);
        let [a, b, c]: [Arc<str>; 3] = ["a", "b", "c"].map(Into::into);
        let held = [places.take(&a).unwrap(), places.take(&a).unwrap()];
        assert!(places.take(&a).is_none(), "its own are taken");
        let other = places.take(&b).expect("there is one for others");
        assert!(places.take(&c).is_none(), "all are taken");
        drop(held);
        drop(other);
        assert!(places.take(&c).is_some());
        assert!(places.taken.lock().unwrap().is_empty(), "who has gone is forgotten");
    }
}
