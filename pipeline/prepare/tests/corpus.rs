//! Every kept input of the fuzz targets `manifest` and `tree`, read again; and trees that are drawn here.

use std::fs;
use std::path::Path;

use med2e3_prepare as prepare;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

#[path = "../../../fuzz/src/manifest_rows.rs"]
pub mod manifest_rows;
#[path = "../../../fuzz/src/tree.rs"]
pub mod tree;

/// Runs a target's body on every file of its corpus.
fn replay(target: &str, body: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!files.is_empty(), "the corpus of {target} is empty");
    for file in files {
        // Shown where the test fails.
        eprintln!("{}", file.display());
        body(&fs::read(file).unwrap());
    }
}

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
