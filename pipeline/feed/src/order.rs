//! Which sample comes when: a pure function of the samples themselves, the seed and the epoch.
//!
//! Neither shard layout nor codec, thread count or queue depth enters, so two machines with the same dataset see the
//! same order, and a cursor of two numbers resumes it.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// How an epoch is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Another exact permutation each epoch.
    Shuffled {
        /// The run's seed.
        seed: u64,
    },
    /// By sample id, each epoch the same.
    ById,
}

/// The epoch's order as positions in the sorted selection; every position once.
pub fn permutation(selection: &[u8; 32], count: usize, order: Order, epoch: u64) -> Vec<u32> {
    let mut positions: Vec<u32> = (0..u32::try_from(count).expect("fewer than 2^32 samples")).collect();
    if let Order::Shuffled { seed } = order {
        let mut hasher = blake3::Hasher::new_keyed(selection);
        hasher.update(&seed.to_le_bytes());
        hasher.update(&epoch.to_le_bytes());
        positions.shuffle(&mut ChaCha8Rng::from_seed(*hasher.finalize().as_bytes()));
    }
    positions
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_position_comes_once(count in 0usize..2000, seed: u64, epoch in 0u64..5) {
            let mut positions = permutation(&[1; 32], count, Order::Shuffled { seed }, epoch);
            positions.sort_unstable();
            prop_assert!(positions.into_iter().eq(0..count as u32));
        }
    }

    #[test]
    fn seed_epoch_and_selection_each_matter() {
        let base = permutation(&[1; 32], 100, Order::Shuffled { seed: 1 }, 0);
        assert_eq!(base, permutation(&[1; 32], 100, Order::Shuffled { seed: 1 }, 0));
        assert_ne!(base, permutation(&[1; 32], 100, Order::Shuffled { seed: 2 }, 0));
        assert_ne!(base, permutation(&[1; 32], 100, Order::Shuffled { seed: 1 }, 1));
        assert_ne!(base, permutation(&[2; 32], 100, Order::Shuffled { seed: 1 }, 0));
    }
}
