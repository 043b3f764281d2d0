//! Keys of draws: what is drawn for a text depends on its key and on the purpose alone, never on the batch or on other draws.

/// A key made of others.
pub(crate) fn draw_key(parts: &[u64]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&part.to_le_bytes());
    }
    first_word(&hasher)
}

/// The key of one purpose.
pub(crate) fn purpose_key(key: u64, purpose: &str) -> u64 {
    key_of(key, purpose.as_bytes())
}

/// The key of what these bytes name.
pub(crate) fn key_of(key: u64, name: &[u8]) -> u64 {
    first_word(blake3::Hasher::new().update(&key.to_le_bytes()).update(name))
}

fn first_word(hasher: &blake3::Hasher) -> u64 {
    let hash = hasher.finalize();
    let (words, _) = hash.as_bytes().as_chunks::<8>();
    u64::from_le_bytes(words[0])
}

/// The mask of a dropout for one key: 0 with probability `p`, else 1 / (1 - p).
pub(crate) fn dropout_mask(key: u64, purpose: &str, count: usize, p: f64) -> Vec<f32> {
    let mut uniforms = Uniforms::new(key, purpose);
    (0..count).map(|_| if uniforms.draw() >= p { (1.0 / (1.0 - p)) as f32 } else { 0.0 }).collect()
}

/// Numbers for one key and purpose, one after the other, from the extended output of a hash.
pub(crate) struct Uniforms {
    output: blake3::OutputReader,
}

impl Uniforms {
    pub(crate) fn new(key: u64, purpose: &str) -> Uniforms {
        let mut hasher = blake3::Hasher::new();
        Uniforms { output: hasher.update(&key.to_le_bytes()).update(purpose.as_bytes()).finalize_xof() }
    }

    /// The next one, in 0..1, 1 excluded, of 53 bits.
    pub(crate) fn draw(&mut self) -> f64 {
        let mut word = [0; 8];
        self.output.fill(&mut word);
        (u64::from_le_bytes(word) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// The distance between two counters of [`mixed`]: 2^64 over the golden ratio, odd.
pub(crate) const MIX_STEP: u64 = 0x9e37_79b9_7f4a_7c15;
/// Its two factors.
pub(crate) const MIX_FACTORS: [u64; 2] = [0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb];
/// Its three shifts to the right.
pub(crate) const MIX_SHIFTS: [u32; 3] = [30, 27, 31];

/// Word `counter` of the generator splitmix64 that starts at `key` (Steele, Lea and Flood 2014), any one of them at once: what a
/// hash is too slow for, a number an element.
pub(crate) fn mixed(key: u64, counter: u64) -> u64 {
    let mut word = key.wrapping_add(counter.wrapping_add(1).wrapping_mul(MIX_STEP));
    for (shift, factor) in MIX_SHIFTS.into_iter().zip(MIX_FACTORS) {
        word = (word ^ (word >> shift)).wrapping_mul(factor);
    }
    word ^ (word >> MIX_SHIFTS[2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixed_words_are_those_of_splitmix64() {
        // The first words of the reference implementation (Vigna, splitmix64.c) from the seed 1234567.
        let expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431];
        for (counter, expected) in expected.into_iter().enumerate() {
            assert_eq!(mixed(1234567, counter as u64), expected);
        }
    }

    /// Runs that are resumed draw what they drew before.
    #[test]
    fn a_key_is_the_first_word_of_the_hash_of_its_parts() {
        let first = |bytes: &[u8]| u64::from_le_bytes(blake3::hash(bytes).as_bytes()[..8].try_into().unwrap());
        let bytes = [7u64, 513].map(u64::to_le_bytes).concat();
        assert_eq!(draw_key(&[7, 513]), first(&bytes));
        assert_eq!(purpose_key(7, "score dropout"), first(&[&bytes[..8], b"score dropout"].concat()));
        assert_eq!(key_of(7, &513u64.to_le_bytes()), draw_key(&[7, 513]));
    }

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
