//! Memory for the fields of a batch: page-aligned, at an address that stays, and filled in parts by several threads at once. The
//! crate's one place with `unsafe`.
#![allow(unsafe_code)]

use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::slice::{from_raw_parts, from_raw_parts_mut};
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use bytemuck::Pod;
use memmap2::MmapMut;

/// An array of `T` in whole pages. It keeps its memory, and so its address, for as long as what is put into it fits; pages that
/// were never touched take none.
#[derive(Debug)]
pub struct Block<T> {
    /// `None` where it has no room.
    memory: Option<Arc<Memory<T>>>,
    len: usize,
}

#[derive(Debug)]
struct Memory<T> {
    base: NonNull<T>,
    room: usize,
    // Owns what `base` points to.
    _map: MmapMut,
}

// SAFETY: the memory belongs to the value like that of a `Vec<T>`; who reads or writes it when is what `Block` and `Cell` see to.
unsafe impl<T: Send> Send for Memory<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Memory<T> {}

impl<T> Default for Block<T> {
    fn default() -> Block<T> {
        Block { memory: None, len: 0 }
    }
}

impl<T: Pod> Block<T> {
    /// Room for so many values; none of them is in it yet.
    ///
    /// # Panics
    /// The system gives no address range of that size.
    pub fn with_room(room: usize) -> Block<T> {
        if room == 0 {
            return Block::default();
        }
        let bytes = room.checked_mul(size_of::<T>()).expect("a batch fits the address space");
        let mut map = MmapMut::map_anon(bytes).expect("the system gives addresses for a batch");
        // Fewer page faults and misses where the system has huge pages; no matter where it has none.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        let base = NonNull::new(map.as_mut_ptr().cast::<T>()).expect("a map is not at 0");
        Block { memory: Some(Arc::new(Memory { base, room, _map: map })), len: 0 }
    }

    /// Values that fit without another address.
    pub fn room(&self) -> usize {
        self.memory.as_ref().map_or(0, |memory| memory.room)
    }

    /// Where its memory begins and how many bytes there are, whatever is in it; `None` where it has no room.
    pub fn memory(&self) -> Option<(usize, usize)> {
        self.memory.as_ref().map(|memory| (memory.base.as_ptr() as usize, memory.room * size_of::<T>()))
    }

    /// Makes it `len` values long; which ones is undefined. What does not fit gets room of its own.
    ///
    /// # Panics
    /// As [`Block::with_room`]; a part of it is being filled.
    pub fn fit(&mut self, len: usize) -> &mut [T] {
        self.check_whole();
        if len > self.room() {
            *self = Block::with_room(len);
        }
        self.len = len;
        self
    }

    /// Its cells of `size` values, each of which one thread may fill. Until all of them are dropped the block can't be looked at.
    ///
    /// # Panics
    /// The size does not divide the length; a part of it is being filled.
    pub fn cells(&mut self, size: usize) -> impl Iterator<Item = Cell<T>> {
        self.check_whole();
        assert!(size > 0 && self.len.is_multiple_of(size), "{} values in cells of {size}", self.len);
        let memory = self.memory.clone();
        (0..self.len / size).filter_map(move |number| {
            let memory = memory.clone()?;
            // SAFETY: within the room, since `len` is no more than it.
            let start = unsafe { memory.base.add(number * size) };
            Some(Cell { start, size, _memory: memory })
        })
    }

    fn check_whole(&self) {
        let is_whole = self.memory.as_ref().is_none_or(|memory| Arc::strong_count(memory) == 1);
        assert!(is_whole, "a part of the block is being filled");
        // What others wrote to cells is seen once their counts are: dropping a cell releases it.
        fence(Ordering::Acquire);
    }
}

impl<T: Pod> Deref for Block<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.check_whole();
        match &self.memory {
            // SAFETY: `len` values are within the map, which is zeroed or written, and any bits are a `T`. No cell is there, and
            // none can be made while `self` is borrowed.
            Some(memory) => unsafe { from_raw_parts(memory.base.as_ptr(), self.len) },
            None => &[],
        }
    }
}

impl<T: Pod> DerefMut for Block<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        self.check_whole();
        match &self.memory {
            // SAFETY: as above, and nobody else has the block.
            Some(memory) => unsafe { from_raw_parts_mut(memory.base.as_ptr(), self.len) },
            None => &mut [],
        }
    }
}

/// A part of a block that its owner alone reads and writes.
#[derive(Debug)]
pub struct Cell<T> {
    start: NonNull<T>,
    size: usize,
    _memory: Arc<Memory<T>>,
}

// SAFETY: a cell is the only way to its part of the memory while it is there.
unsafe impl<T: Send> Send for Cell<T> {}

impl<T: Pod> Deref for Cell<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: cells of a block do not overlap, and it is not looked at while one is there.
        unsafe { from_raw_parts(self.start.as_ptr(), self.size) }
    }
}

impl<T: Pod> DerefMut for Cell<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above.
        unsafe { from_raw_parts_mut(self.start.as_ptr(), self.size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn cells_are_filled_by_threads_and_seen_whole() {
        let mut block = Block::<i64>::with_room(4000);
        let address = block.fit(4000).as_ptr();
        assert_eq!((address as usize % 4096, block.memory()), (0, Some((address as usize, 32000))));
        for round in 0..50 {
            thread::scope(|scope| {
                for (mut cell, number) in block.cells(1000).zip(0..) {
                    scope.spawn(move || cell.fill(round * 10 + number));
                }
            });
            let expected = (0..4000).map(|at| round * 10 + at / 1000);
            assert!(block.iter().copied().eq(expected));
        }
        assert_eq!((block.fit(3).as_ptr(), block.len(), block.room()), (address, 3, 4000));
        // Without the old one at its side the system might give the same address again.
        let old = std::mem::replace(&mut block, Block::with_room(1));
        assert_eq!(block.fit(2).len(), 2);
        assert!(block.as_ptr() != address && old.room() == 4000);
    }

    #[test]
    fn a_block_of_nothing_is_empty() {
        let mut block = Block::<u8>::default();
        assert_eq!((block.len(), block.fit(0).len(), block.cells(3).count(), block.memory()), (0, 0, 0, None));
    }

    #[test]
    #[should_panic(expected = "is being filled")]
    fn a_block_is_not_looked_at_while_a_cell_is_there() {
        let mut block = Block::<u8>::with_room(8);
        block.fit(8);
        let cells: Vec<Cell<u8>> = block.cells(4).collect();
        assert_eq!(cells.len(), 2);
        let _ = block.first();
    }
}
