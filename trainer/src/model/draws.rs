//! Keys of draws: what is drawn for a text depends on its key and on the purpose alone, never on the batch or on other draws.

/// A key made of others.
pub(crate) fn draw_key(parts: &[u64]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&part.to_le_bytes());
    }
    let hash = hasher.finalize();
    let (first, _) = hash.as_bytes().as_chunks::<8>();
    u64::from_le_bytes(first[0])
}

/// The mask of a dropout for one key: 0 with probability `p`, else 1 / (1 - p).
pub(crate) fn dropout_mask(key: u64, purpose: &str, count: usize, p: f64) -> Vec<f32> {
    let mut bytes = vec![0; 8 * count];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&key.to_le_bytes()).update(purpose.as_bytes()).finalize_xof().fill(&mut bytes);
    let (words, _) = bytes.as_chunks::<8>();
    // 53 bits each, in [0, 1).
    let is_kept = |word: &[u8; 8]| (u64::from_le_bytes(*word) >> 11) as f64 / (1u64 << 53) as f64 >= p;
    words.iter().map(|word| if is_kept(word) { (1.0 / (1.0 - p)) as f32 } else { 0.0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_dropped_as_stated_and_the_mean_stays() {
        let masks: Vec<f32> = (0..2000).flat_map(|key| dropout_mask(key, "scores", 32, 0.1)).collect();
        let count = masks.len() as f64;
        let dropped = masks.iter().filter(|mask| **mask == 0.0).count() as f64 / count;
        // Five standard deviations.
        assert!((dropped - 0.1).abs() < 5.0 * (0.09 / count).sqrt(), "{dropped}");
        assert!(masks.iter().all(|mask| *mask == 0.0 || (mask - 1.0 / 0.9).abs() < 1e-6));
        assert_ne!(dropout_mask(1, "scores", 32, 0.5), dropout_mask(2, "scores", 32, 0.5));
        assert_ne!(dropout_mask(1, "scores", 32, 0.5), dropout_mask(1, "other", 32, 0.5));
        assert_eq!(dropout_mask(1, "scores", 32, 0.5)[..8], dropout_mask(1, "scores", 8, 0.5));
    }
}
