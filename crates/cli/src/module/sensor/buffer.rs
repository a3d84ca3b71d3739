//! What is measured and not posted yet: bounded, the oldest goes first.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use tokio::sync::Notify;

/// One side pushes, one other side takes.
#[derive(Debug)]
pub(super) struct Buffer<T> {
    inner: Mutex<Inner<T>>,
    changed: Notify,
    max: usize,
}

#[derive(Debug)]
struct Inner<T> {
    waiting: VecDeque<T>,
    /// How many are with whoever took them.
    taken: usize,
    dropped: u64,
    closed: bool,
}

impl<T> Buffer<T> {
    pub(super) fn new(max: usize) -> Self {
        let inner = Inner { waiting: VecDeque::new(), taken: 0, dropped: 0, closed: false };
        Self { inner: Mutex::new(inner), changed: Notify::new(), max }
    }

    /// Adds one; when it is full, the oldest is dropped.
    pub(super) fn push(&self, item: T) {
        let mut inner = self.lock();
        if inner.waiting.len() >= self.max {
            inner.waiting.pop_front();
            inner.dropped += 1;
        }
        inner.waiting.push_back(item);
        drop(inner);
        self.changed.notify_one();
    }

    /// Nothing more comes.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    /// The oldest, at most `max`, once there are some; none at the end.
    pub(super) async fn take(&self, max: usize) -> Vec<T> {
        loop {
            {
                let mut inner = self.lock();
                let count = inner.waiting.len().min(max);
                if count > 0 || inner.closed {
                    inner.taken = count;
                    return inner.waiting.drain(..count).collect();
                }
            }
            self.changed.notified().await;
        }
    }

    /// What was taken is done with.
    pub(super) fn settle(&self) {
        self.lock().taken = 0;
    }

    /// How many were dropped since it was asked last.
    pub(super) fn dropped(&self) -> u64 {
        std::mem::take(&mut self.lock().dropped)
    }

    /// How many wait or are taken and not settled.
    pub(super) fn unsettled(&self) -> usize {
        let inner = self.lock();
        inner.waiting.len() + inner.taken
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().expect("nothing panics while it is held")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_is_dropped_and_counted_once() {
        let buffer = Buffer::new(2);
        [1, 2, 3].into_iter().for_each(|item| buffer.push(item));
        assert_eq!((buffer.dropped(), buffer.dropped()), (1, 0));
        assert_eq!(buffer.take(1).await, [2]);
        assert_eq!(buffer.unsettled(), 2);
        buffer.settle();
        assert_eq!(buffer.unsettled(), 1);
    }

    #[tokio::test]
    async fn a_closed_buffer_gives_what_it_has_and_then_nothing() {
        let buffer = Buffer::new(2);
        buffer.push(1);
        buffer.close();
        assert_eq!(buffer.take(9).await, [1]);
        assert!(buffer.take(9).await.is_empty());
    }

    #[tokio::test]
    async fn whoever_waits_is_woken() {
        let buffer = Buffer::new(2);
        let (taken, ()) = tokio::join!(buffer.take(9), async { buffer.push(1) });
        assert_eq!(taken, [1]);
    }
}
