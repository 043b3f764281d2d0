//! Seeds of a run's random draws.

/// The seed of one step's random draws.
pub(super) fn seed_of(seed: u64, step: u64) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.update(&step.to_le_bytes());
    let hash = hasher.finalize();
    let (first, _) = hash.as_bytes().as_chunks::<8>();
    u64::from_le_bytes(first[0])
}
