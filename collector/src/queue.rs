//! The one hand-over between threads: a queue bounded in bytes.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

#[derive(Debug)]
struct State<T> {
    items: VecDeque<(T, usize)>,
    bytes: usize,
    closed: bool,
}

/// A queue that makes its writer wait when it holds as many bytes as it may.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    limit: usize,
}

impl<T> Queue<T> {
    pub(crate) fn new(limit: usize) -> Self {
        let state = State {
            items: VecDeque::new(),
            bytes: 0,
            closed: false,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            limit,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // A push or pop has no half-done state to fear.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends an item of `bytes`. Waits while it does not fit, but takes one that would never fit
    /// when the queue is empty.
    pub(crate) fn push(&self, item: T, bytes: usize) {
        let full = |state: &mut State<T>| {
            state.bytes + bytes > self.limit && !state.items.is_empty() && !state.closed
        };
        let waited = self.changed.wait_while(self.lock(), full);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        state.items.push_back((item, bytes));
        state.bytes += bytes;
        self.changed.notify_all();
    }

    /// Takes the oldest item. Waits for one; `None` where the queue is closed and empty.
    pub(crate) fn pop(&self) -> Option<T> {
        let empty = |state: &mut State<T>| state.items.is_empty() && !state.closed;
        let waited = self.changed.wait_while(self.lock(), empty);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        let (item, bytes) = state.items.pop_front()?;
        state.bytes -= bytes;
        self.changed.notify_all();
        Some(item)
    }

    /// Ends the queue: nobody waits any more, and what it holds is still taken.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.lock().bytes
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;

    #[test]
    fn the_writer_waits_for_room_and_the_order_is_kept() {
        let queue = Arc::new(Queue::new(10));
        let writer = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                for item in 0..1_000 {
                    queue.push(item, 4);
                    assert!(queue.bytes() <= 10);
                }
                queue.close();
            })
        };
        let taken: Vec<i32> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(taken, (0..1_000).collect::<Vec<_>>());
        writer.join().expect("the writer held the bound");
    }

    #[test]
    fn an_item_over_the_bound_goes_through_alone() {
        let queue = Queue::new(1);
        queue.push('a', 100);
        assert_eq!(queue.pop(), Some('a'));
        queue.push('b', 100);
        queue.close();
        assert_eq!((queue.pop(), queue.pop()), (Some('b'), None));
    }
}
