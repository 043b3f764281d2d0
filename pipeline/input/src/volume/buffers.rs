//! Buffers: memory that volumes read one after the other take over from each other, so that each costs its fresh pages
//! once. The first write to a fresh page costs several times what a later one does.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytemuck::Pod;

/// Larger buffers go back to the system at once.
const MOST_KEPT_BYTES: usize = 1 << 30;

/// A pool of buffers. A volume that was read with it returns its memory when it is dropped; clones share one pool.
///
/// A pool holds at most as many buffers as were in use at one time: two a thread that reads, one for a file's bytes and
/// one for its samples. Dropping it frees them.
#[derive(Clone, Debug, Default)]
pub struct Buffers {
    shelves: Arc<[Mutex<Vec<Vec<u64>>>; 2]>,
}

/// What a buffer holds; the two sizes differ, so each kind has its own shelf.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    File,
    Samples,
}

impl Buffers {
    /// A buffer of at least `bytes` bytes: zeros, or whatever an earlier use left.
    pub(super) fn take(&self, purpose: Purpose, bytes: usize) -> Buffer {
        let words = bytes.div_ceil(size_of::<u64>());
        let mut shelf = self.shelf(purpose);
        let closest = (0..shelf.len()).min_by_key(|place| match shelf[*place].len() {
            enough if enough >= words => (0, enough - words),
            small => (1, words - small),
        });
        let spare = closest.map(|place| shelf.swap_remove(place));
        drop(shelf);
        // A spare that is too small is freed before its successor is taken.
        let words = spare.filter(|spare| spare.len() >= words).unwrap_or_else(|| vec![0; words]);
        Buffer { words, purpose, home: self.clone() }
    }

    fn shelf(&self, purpose: Purpose) -> std::sync::MutexGuard<'_, Vec<Vec<u64>>> {
        // A shelf is sound between any two steps, so a panic elsewhere does no harm.
        self.shelves[purpose as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes, aligned for every sample type; they go back to their pool when dropped.
#[derive(Debug)]
pub(super) struct Buffer {
    words: Vec<u64>,
    purpose: Purpose,
    home: Buffers,
}

impl Buffer {
    pub(super) fn bytes(&self) -> &[u8] {
        bytemuck::cast_slice(&self.words)
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        bytemuck::cast_slice_mut(&mut self.words)
    }

    /// Bytes `range` as numbers; it starts and ends at multiples of `T`'s size.
    pub(super) fn numbers<T: Pod>(&self, range: Range<usize>) -> &[T] {
        bytemuck::cast_slice(&self.bytes()[range])
    }

    pub(super) fn numbers_mut<T: Pod>(&mut self, range: Range<usize>) -> &mut [T] {
        bytemuck::cast_slice_mut(&mut self.bytes_mut()[range])
    }

    /// Makes room for `bytes` bytes at least; what was written stays.
    pub(super) fn grow(&mut self, bytes: usize) {
        self.words.resize(bytes.div_ceil(size_of::<u64>()).max(self.words.len()), 0);
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let words = std::mem::take(&mut self.words);
        if words.len() * size_of::<u64>() <= MOST_KEPT_BYTES {
            self.home.shelf(self.purpose).push(words);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_is_the_next_one() {
        let buffers = Buffers::default();
        let mut first = buffers.take(Purpose::Samples, 100);
        first.bytes_mut()[0] = 7;
        let other = buffers.take(Purpose::Samples, 50);
        drop((first, other));
        // The closest that is large enough, each kind for itself.
        assert_eq!(buffers.take(Purpose::File, 100).bytes()[0], 0);
        let again = buffers.take(Purpose::Samples, 60);
        assert_eq!((again.bytes()[0], again.bytes().len()), (7, 104));
        assert_eq!(buffers.take(Purpose::Samples, 60).bytes().len(), 64);
    }
}
