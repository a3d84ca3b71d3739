//! How all processes are, for Orderwire.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use super::super::manifest::ProcessSpec;
use super::super::protocol::{Phase, ProcessState};

/// Many changes may become one report: the last counts.
pub(super) struct Board {
    inner: Mutex<Inner>,
    notify: Notify,
}

struct Inner {
    states: Vec<ProcessState>,
    changed: bool,
    closed: bool,
}

impl Board {
    pub(super) fn new(processes: &[ProcessSpec]) -> Self {
        let starting = |process: &ProcessSpec| ProcessState {
            name: process.name.clone(),
            phase: Phase::Starting,
            reason: Some(format!("process {} is being started", process.name)),
            restarts: 0,
            endpoint: None,
            ports: BTreeMap::new(),
        };
        let states = processes.iter().map(starting).collect();
        let inner = Inner { states, changed: true, closed: false };
        Self { inner: Mutex::new(inner), notify: Notify::new() }
    }

    /// Changes the state of one.
    pub(super) fn update(&self, name: &str, change: impl FnOnce(&mut ProcessState)) {
        let mut inner = self.lock();
        let Some(state) = inner.states.iter_mut().find(|state| state.name == name) else { return };
        let before = state.clone();
        change(state);
        if *state != before {
            inner.changed = true;
            self.notify.notify_one();
        }
    }

    /// Nothing changes any more.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.notify.notify_one();
    }

    /// All states, once any of them has changed; `None` after the last change.
    pub(super) async fn changed(&self) -> Option<Vec<ProcessState>> {
        loop {
            {
                let mut inner = self.lock();
                if std::mem::take(&mut inner.changed) {
                    return Some(inner.states.clone());
                }
                if inner.closed {
                    return None;
                }
            }
            self.notify.notified().await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
