//! Which sample comes when: a pure function of the samples themselves, the seed and the epoch.
//!
//! Neither shard layout nor codec, thread count or queue depth enters, so two machines with the same dataset see the
//! same order, and a cursor of two numbers resumes it.

use std::collections::HashMap;

use med2e3_schemas::Id;
use med2e3_schemas::sample::SampleRow;
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
    /// As `Shuffled`, but up to so many texts of a volume come one after another, so that a step reads and encodes the volume
    /// once. With 1 the order is that of `Shuffled`.
    GroupedByVolume {
        /// The run's seed.
        seed: u64,
        /// Most texts of a volume in a row.
        texts: usize,
    },
    /// By sample id, each epoch the same.
    ById,
}

/// The epoch's order as positions in the sorted selection, whose hash is `selection`; every position once.
pub fn permutation(selection: &[u8; 32], rows: &[SampleRow], order: Order, epoch: u64) -> Vec<u32> {
    let positions: Vec<u32> = (0..u32::try_from(rows.len()).expect("fewer than 2^32 samples")).collect();
    match order {
        Order::ById => positions,
        Order::Shuffled { seed } => shuffled(positions, selection, seed, epoch),
        Order::GroupedByVolume { seed, texts } => grouped(&shuffled(positions, selection, seed, epoch), rows, texts),
    }
}

fn shuffled(mut positions: Vec<u32>, selection: &[u8; 32], seed: u64, epoch: u64) -> Vec<u32> {
    let mut hasher = blake3::Hasher::new_keyed(selection);
    hasher.update(&seed.to_le_bytes());
    hasher.update(&epoch.to_le_bytes());
    positions.shuffle(&mut ChaCha8Rng::from_seed(*hasher.finalize().as_bytes()));
    positions
}

/// Groups of up to `texts` samples of one volume, each at the place of its first sample. A sample of several volumes belongs
/// to the first of them; one of none is alone.
fn grouped(positions: &[u32], rows: &[SampleRow], texts: usize) -> Vec<u32> {
    let mut groups: Vec<Vec<u32>> = Vec::with_capacity(positions.len());
    let mut open: HashMap<&Id, usize> = HashMap::new();
    for &position in positions {
        let volume = rows[position as usize].volume_ids.first();
        let group = volume.and_then(|volume| open.get(volume).copied()).filter(|&group| groups[group].len() < texts);
        let group = group.unwrap_or_else(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[group].push(position);
        open.extend(volume.map(|volume| (volume, group)));
    }
    groups.concat()
}
