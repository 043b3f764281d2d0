//! A bounded queue from one thread to another over crossbeam's lock-free `ArrayQueue`.
//!
//! Passing an item takes no lock: one compare-and-swap on each side. A side that finds the queue full or empty parks
//! its thread, and the other side's next step wakes it; the parker keeps that wake-up, so none is lost between the look
//! and the sleep. Dropping either end closes the queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam::queue::ArrayQueue;
use crossbeam::sync::{Parker, Unparker};

struct Shared<T> {
    items: ArrayQueue<T>,
    closed: AtomicBool,
}

/// The writing end; one owner. Its drop lets the reader drain what is left and then see the end.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
    parker: Parker,
    receiver: Unparker,
}

/// The reading end; one owner. Its drop makes the writer's next [`Sender::push`] fail.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    parker: Parker,
    sender: Unparker,
}

/// A queue that holds at most `depth` items.
///
/// # Panics
/// A depth of zero.
pub fn bounded<T>(depth: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared { items: ArrayQueue::new(depth), closed: AtomicBool::new(false) });
    let (of_sender, of_receiver) = (Parker::new(), Parker::new());
    let (wake_sender, wake_receiver) = (of_sender.unparker().clone(), of_receiver.unparker().clone());
    (
        Sender { shared: shared.clone(), parker: of_sender, receiver: wake_receiver },
        Receiver { shared, parker: of_receiver, sender: wake_sender },
    )
}

impl<T> Sender<T> {
    /// Puts an item in; blocks while the queue is full. Gives the item back when the reader is gone.
    ///
    /// # Errors
    /// The item, when the receiver was dropped.
    pub fn push(&self, mut item: T) -> Result<(), T> {
        loop {
            if self.shared.closed.load(Ordering::Acquire) {
                return Err(item);
            }
            match self.shared.items.push(item) {
                Ok(()) => {
                    self.receiver.unpark();
                    return Ok(());
                }
                Err(back) => item = back,
            }
            self.parker.park();
        }
    }

    /// Puts an item in if there is room now.
    ///
    /// # Errors
    /// The item, when the queue is full or the receiver was dropped.
    pub fn try_push(&self, item: T) -> Result<(), T> {
        if self.shared.closed.load(Ordering::Acquire) {
            return Err(item);
        }
        self.shared.items.push(item)?;
        self.receiver.unpark();
        Ok(())
    }
}

impl<T> Receiver<T> {
    /// Takes the next item; blocks while the queue is empty. `None` when it is empty and the writer is gone.
    pub fn pop(&self) -> Option<T> {
        loop {
            // The flag is read before the queue: a writer that closes has pushed its last item before.
            let closed = self.shared.closed.load(Ordering::Acquire);
            if let Some(item) = self.shared.items.pop() {
                self.sender.unpark();
                return Some(item);
            }
            if closed {
                return None;
            }
            self.parker.park();
        }
    }

    /// Items that wait now.
    pub fn len(&self) -> usize {
        self.shared.items.len()
    }

    /// Whether none waits now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the next item if one waits now.
    pub fn try_pop(&self) -> Option<T> {
        let item = self.shared.items.pop()?;
        self.sender.unpark();
        Some(item)
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        self.receiver.unpark();
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        self.sender.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn everything_arrives_once_and_in_order() {
        for depth in [1, 2, 7] {
            let (sender, receiver) = bounded(depth);
            let writer = thread::spawn(move || (0..10_000).try_for_each(|i| sender.push(i)));
            let got: Vec<i32> = std::iter::from_fn(|| receiver.pop()).collect();
            assert_eq!(got, (0..10_000).collect::<Vec<_>>(), "depth {depth}");
            writer.join().unwrap().unwrap();
        }
    }

    #[test]
    fn a_waiting_writer_fails_when_the_reader_is_dropped() {
        let (sender, receiver) = bounded(1);
        sender.push(1).unwrap();
        let writer = thread::spawn(move || sender.push(2));
        drop(receiver);
        assert_eq!(writer.join().unwrap(), Err(2));
    }

    #[test]
    fn a_reader_drains_what_a_dropped_writer_left() {
        let (sender, receiver) = bounded(4);
        sender.push(1).unwrap();
        sender.push(2).unwrap();
        drop(sender);
        assert_eq!((receiver.pop(), receiver.pop(), receiver.pop()), (Some(1), Some(2), None));
    }

    #[test]
    fn a_waiting_reader_sees_the_end() {
        let (sender, receiver) = bounded::<i32>(1);
        let reader = thread::spawn(move || receiver.pop());
        drop(sender);
        assert_eq!(reader.join().unwrap(), None);
    }
}
