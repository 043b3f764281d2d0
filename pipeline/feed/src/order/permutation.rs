//! A keyed permutation of `0..count` that is computed place by place: no list, whatever the count.
//!
//! A Feistel network of 12 rounds over the next power of two, whose halves may differ by a bit; what falls outside the count goes
//! through it again until it falls inside (cycle walking, fewer than two passes on average). At a count of 4 all 24 orders occur
//! equally often; with 8 rounds they do not.

use std::io::Write;

/// Rounds of the network.
const ROUNDS: usize = 12;

/// Keys of the rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys([u64; ROUNDS]);

impl Keys {
    /// The first 96 bytes, as little-endian numbers, that BLAKE3 keyed by `selection` gives for the order's revision, the seed, a
    /// number and a word, which tell apart what is permuted.
    pub fn new(selection: &[u8; 32], seed: u64, number: u64, word: &str) -> Keys {
        let mut hasher = blake3::Hasher::new_keyed(selection);
        write!(hasher, "order {}", super::REVISION).expect("a hash takes all bytes");
        hasher.update(&seed.to_le_bytes());
        hasher.update(&number.to_le_bytes());
        hasher.update(word.as_bytes());
        let mut bytes = [0; 8 * ROUNDS];
        hasher.finalize_xof().fill(&mut bytes);
        let mut keys = [0; ROUNDS];
        for (key, bytes) in keys.iter_mut().zip(bytes.chunks_exact(8)) {
            *key = u64::from_le_bytes(bytes.try_into().expect("chunks of 8"));
        }
        Keys(keys)
    }

    /// Keys for one of many permutations that are alike, such as that of one volume's texts.
    pub fn of(self, number: u64) -> Keys {
        let own = mixed(number + 1);
        Keys(self.0.map(|key| key ^ own))
    }
}

/// A permutation of `0..count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permutation {
    count: u64,
    left_mask: u64,
    right_mask: u64,
    right_bits: u32,
    keys: Keys,
}

impl Permutation {
    /// # Panics
    /// A count of zero.
    pub fn new(count: u64, keys: Keys) -> Permutation {
        assert!(count > 0, "nothing to permute");
        let bits = (u64::BITS - (count - 1).leading_zeros()).max(1);
        let left_bits = bits / 2;
        let right_bits = bits - left_bits;
        Permutation { count, left_mask: (1 << left_bits) - 1, right_mask: (1 << right_bits) - 1, right_bits, keys }
    }

    /// What comes at a place.
    ///
    /// # Panics
    /// A place at the count or behind it.
    pub fn at(&self, place: u64) -> u64 {
        assert!(place < self.count, "place {place} of {}", self.count);
        let mut found = self.once(place);
        while found >= self.count {
            found = self.once(found);
        }
        found
    }

    fn once(&self, value: u64) -> u64 {
        let (mut left, mut right) = (value >> self.right_bits, value & self.right_mask);
        for keys in self.keys.0.chunks_exact(2) {
            left ^= mixed(right.wrapping_add(keys[0])) & self.left_mask;
            right ^= mixed(left.wrapping_add(keys[1])) & self.right_mask;
        }
        left << self.right_bits | right
    }
}

/// The finalizer of splitmix64 (Steele, Lea and Flood 2014, variant 13 of Stafford's).
fn mixed(mut value: u64) -> u64 {
    value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}
