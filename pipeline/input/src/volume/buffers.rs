//! Buffers: memory that one volume after the other uses, since the first write to a fresh page costs several times as
//! much as a later one.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytemuck::Pod;

use super::limits;

/// Larger buffers are freed at once and not kept in the pool.
const MOST_KEPT_BYTES: usize = 1 << 30;

/// A pool of buffers. A volume that was read with it returns its memory to the pool when it is dropped; clones share
/// one pool, between threads too.
///
/// A pool holds at most as many buffers as were in use at the same time: two for each reading thread, one for a file's
/// bytes and one for its samples, each of at most 1 GiB. Dropping the last clone frees them.
#[derive(Clone, Debug, Default)]
pub struct Buffers {
    /// Unused buffers, one list for each [`Purpose`].
    free: Arc<[Mutex<Vec<Vec<u64>>>; 2]>,
    /// Whether who reads with it reads headers alone.
    for_headers: bool,
}

/// What a buffer holds. Each purpose has its own list of unused buffers, since the sizes differ.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    File,
    Samples,
}

impl Buffers {
    /// A pool for headers: whoever reads with it looks at headers and sizes, and gives volumes without samples.
    pub(super) fn for_headers() -> Buffers {
        Buffers { for_headers: true, ..Buffers::default() }
    }

    /// Whether who reads with it reads headers alone.
    pub(super) fn are_for_headers(&self) -> bool {
        self.for_headers
    }

    /// A buffer of at least `bytes` bytes, which hold zeros or what an earlier use left.
    ///
    /// # Errors
    /// [`io::ErrorKind::OutOfMemory`].
    pub(super) fn take(&self, purpose: Purpose, bytes: usize) -> io::Result<Buffer> {
        let words = bytes.div_ceil(size_of::<u64>());
        let mut free_buffers = self.free_buffers(purpose);
        let closest = (0..free_buffers.len()).min_by_key(|index| match free_buffers[*index].len() {
            enough if enough >= words => (0, enough - words),
            small => (1, words - small),
        });
        let reused = closest.map(|index| free_buffers.swap_remove(index));
        drop(free_buffers);
        // A buffer that is too small is freed before the larger one is allocated.
        let words = match reused.filter(|reused| reused.len() >= words) {
            Some(reused) => reused,
            None => limits::zeros(words)?,
        };
        Ok(Buffer { words, purpose, pool: self.clone() })
    }

    fn free_buffers(&self, purpose: Purpose) -> std::sync::MutexGuard<'_, Vec<Vec<u64>>> {
        // The list is valid after each operation, so a panic of another thread does no harm.
        self.free[purpose as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes, aligned for every sample type, which return to their pool when dropped.
#[derive(Debug)]
pub(super) struct Buffer {
    words: Vec<u64>,
    purpose: Purpose,
    pool: Buffers,
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

    /// Grows to at least `bytes` bytes; the contents stay.
    ///
    /// # Errors
    /// [`io::ErrorKind::OutOfMemory`].
    pub(super) fn grow(&mut self, bytes: usize) -> io::Result<()> {
        let words = bytes.div_ceil(size_of::<u64>()).max(self.words.len());
        let more = words - self.words.len();
        limits::reserve(&mut self.words, more)?;
        self.words.resize(words, 0);
        Ok(())
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let words = std::mem::take(&mut self.words);
        if words.len() * size_of::<u64>() <= MOST_KEPT_BYTES {
            self.pool.free_buffers(self.purpose).push(words);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_is_used_again() {
        let buffers = Buffers::default();
        let mut first = buffers.take(Purpose::Samples, 100).unwrap();
        first.bytes_mut()[0] = 7;
        let other = buffers.take(Purpose::Samples, 50).unwrap();
        drop((first, other));
        // The smallest that is large enough, of the same purpose.
        assert_eq!(buffers.take(Purpose::File, 100).unwrap().bytes()[0], 0);
        let again = buffers.take(Purpose::Samples, 60).unwrap();
        assert_eq!((again.bytes()[0], again.bytes().len()), (7, 104));
        assert_eq!(buffers.take(Purpose::Samples, 60).unwrap().bytes().len(), 64);
    }
}
