//! What the ring synchronizes by, as a scheduler's: every step of it is a point at which another thread may go on.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use shuttle::sync::{Condvar, Mutex};

pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

pub(crate) struct AtomicCell<T>(Mutex<T>);

impl<T: Default> AtomicCell<T> {
    pub(crate) fn new(value: T) -> AtomicCell<T> {
        AtomicCell(Mutex::new(value))
    }

    pub(crate) fn store(&self, value: T) {
        *self.0.lock().unwrap() = value;
    }

    pub(crate) fn take(&self) -> T {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

pub(crate) struct ArrayQueue<T> {
    items: Mutex<VecDeque<T>>,
    room: usize,
}

impl<T> ArrayQueue<T> {
    pub(crate) fn new(room: usize) -> ArrayQueue<T> {
        ArrayQueue { items: Mutex::new(VecDeque::new()), room }
    }

    pub(crate) fn push(&self, item: T) -> Result<(), T> {
        let mut items = self.items.lock().unwrap();
        if items.len() == self.room {
            return Err(item);
        }
        items.push_back(item);
        Ok(())
    }

    pub(crate) fn pop(&self) -> Option<T> {
        self.items.lock().unwrap().pop_front()
    }
}

/// Whether a wake-up waits for its thread.
#[derive(Clone)]
pub(crate) struct Unparker(Arc<(Mutex<bool>, Condvar)>);

impl Unparker {
    pub(crate) fn unpark(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_one();
    }
}

pub(crate) struct Parker(Unparker);

impl Parker {
    pub(crate) fn new() -> Parker {
        Parker(Unparker(Arc::new((Mutex::new(false), Condvar::new()))))
    }

    pub(crate) fn unparker(&self) -> &Unparker {
        &self.0
    }

    pub(crate) fn park(&self) {
        let (is_woken, woken) = &*self.0.0;
        let mut is_woken = is_woken.lock().unwrap();
        while !*is_woken {
            is_woken = woken.wait(is_woken).unwrap();
        }
        *is_woken = false;
    }

    /// Time does not pass in a model.
    pub(crate) fn park_timeout(&self, _: Duration) {
        self.park();
    }
}

/// Nobody spins in a model.
pub(crate) struct Backoff;

impl Backoff {
    pub(crate) fn new() -> Backoff {
        Backoff
    }

    pub(crate) fn is_completed(&self) -> bool {
        true
    }

    pub(crate) fn snooze(&self) {}
}

pub(crate) struct Watch;

impl Watch {
    pub(crate) fn start() -> Watch {
        Watch
    }

    pub(crate) fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}
