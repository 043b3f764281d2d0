//! What the threads of a feed did, counted while they do it: bytes and seconds of reading, hashing, decoding and collating.
//!
//! Readers add without waiting for each other; who asks takes the difference of two answers. Samples that a batch goes without are in
//! the batch, and how long its consumer waited the consumer knows.

use std::ops::{AddAssign, Sub};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use med2e3_shards::CellCost;

/// Sums over all readers of a feed since it began.
#[derive(Debug, Default)]
pub struct Totals {
    bytes: AtomicU64,
    read_ns: AtomicU64,
    hash_ns: AtomicU64,
    decode_ns: AtomicU64,
    collate_ns: AtomicU64,
}

/// The sums at one time, or their growth between two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Stored bytes that were read.
    pub bytes: u64,
    /// Of having them.
    pub read: Duration,
    /// Of hashing them.
    pub hash: Duration,
    /// Of decoding them.
    pub decode: Duration,
    /// Of planning steps and laying out their texts.
    pub collate: Duration,
}

impl Totals {
    /// Adds what something took.
    pub fn add(&self, spent: &Spent) {
        // Nothing but sums depends on them.
        self.bytes.fetch_add(spent.bytes, Ordering::Relaxed);
        for (sum, own) in [
            (&self.read_ns, spent.read),
            (&self.hash_ns, spent.hash),
            (&self.decode_ns, spent.decode),
            (&self.collate_ns, spent.collate),
        ] {
            // 584 years of them fit.
            sum.fetch_add(own.as_nanos() as u64, Ordering::Relaxed);
        }
    }

    /// The sums now. Where readers add at the same time a part of what they add may be in it.
    pub fn spent(&self) -> Spent {
        let duration = |sum: &AtomicU64| Duration::from_nanos(sum.load(Ordering::Relaxed));
        Spent {
            bytes: self.bytes.load(Ordering::Relaxed),
            read: duration(&self.read_ns),
            hash: duration(&self.hash_ns),
            decode: duration(&self.decode_ns),
            collate: duration(&self.collate_ns),
        }
    }
}

impl From<CellCost> for Spent {
    fn from(cost: CellCost) -> Spent {
        let CellCost { bytes, read, hash, decode } = cost;
        Spent { bytes, read, hash, decode, collate: Duration::ZERO }
    }
}

impl AddAssign for Spent {
    fn add_assign(&mut self, other: Spent) {
        self.bytes += other.bytes;
        self.read += other.read;
        self.hash += other.hash;
        self.decode += other.decode;
        self.collate += other.collate;
    }
}

impl Sub for Spent {
    type Output = Spent;

    /// The growth since `earlier`.
    fn sub(self, earlier: Spent) -> Spent {
        Spent {
            bytes: self.bytes.saturating_sub(earlier.bytes),
            read: self.read.saturating_sub(earlier.read),
            hash: self.hash.saturating_sub(earlier.hash),
            decode: self.decode.saturating_sub(earlier.decode),
            collate: self.collate.saturating_sub(earlier.collate),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_add_and_differences_are_of_a_step() {
        let (totals, ms) = (Totals::default(), Duration::from_millis);
        let cost = CellCost { bytes: 10, read: ms(1), hash: ms(2), decode: ms(3) };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| totals.add(&cost.into())));
            }
        });
        let before = totals.spent();
        let mut one = Spent::default();
        (0..4000).for_each(|_| one += cost.into());
        assert_eq!(before, one);
        let expected =
            Spent { bytes: 40_000, read: ms(4000), hash: ms(8000), decode: ms(12_000), collate: Duration::ZERO };
        assert_eq!(before, expected);
        totals.add(&Spent { collate: ms(7), ..Spent::default() });
        assert_eq!(totals.spent() - before, Spent { collate: ms(7), ..Spent::default() });
        assert_eq!(before - totals.spent(), Spent::default());
    }
}
