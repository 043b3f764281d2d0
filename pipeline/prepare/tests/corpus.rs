//! Every kept input of the fuzz targets `manifest` and `tree`, read again; and trees that are drawn here.

use med2e3_prepare as prepare;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

#[path = "../../../fuzz/src/manifest_rows.rs"]
pub mod manifest_rows;
#[path = "../../../fuzz/src/replay.rs"]
pub mod replay;
#[path = "../../../fuzz/src/tree.rs"]
pub mod tree;

use replay::replay;

#[test]
fn every_kept_manifest_is_read_or_refused() {
    replay("manifest", manifest_rows::manifest);
}

#[test]
fn every_kept_tree_is_listed() {
    replay("tree", tree::tree);
}

#[test]
fn every_drawn_tree_is_accounted_for() {
    for seed in 0..300 {
        let mut bytes = [0; 144];
        ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut bytes);
        eprintln!("tree {seed}");
        tree::tree(&bytes[..3 * (seed as usize % 48 + 1)]);
    }
}
