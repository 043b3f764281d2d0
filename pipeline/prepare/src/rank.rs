//! Pseudo-random ranks: the same for the same bytes and seed on every machine.

/// The rank of some bytes: uniform over all 64-bit numbers.
pub fn rank(bytes: &[u8], seed: u64) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.update(bytes);
    let hash = hasher.finalize();
    let (first, _) = hash.as_bytes().as_chunks::<8>();
    u64::from_le_bytes(first[0])
}
