//! What is drawn at random: a pure function of a key, so that it is the same on every machine, in every micro-batch and in
//! any order.
//!
//! A key is made of a seed and of the id of a sample or a volume. What is drawn from it is made on the host by a hash
//! ([`Draws`]) where it is little, or where it is used by integer mixing ([`mix`]) where there is a number an element.

use med2e3_schemas::Id;

/// What a number is drawn for. The numbers of different purposes have nothing to do with each other, whatever the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// How a volume is changed before the model sees it.
    Augmentation,
    /// Which slice scores are dropped.
    ScoreDropout,
    /// What is dropped inside the text encoder.
    TextEncoderDropout,
}

impl Purpose {
    fn word(self) -> &'static [u8] {
        match self {
            Purpose::Augmentation => b"augmentation",
            Purpose::ScoreDropout => b"score dropout",
            Purpose::TextEncoderDropout => b"text encoder dropout",
        }
    }
}

/// The key of what is drawn for a sample or a volume under a seed.
pub(crate) fn key_of(seed: u64, id: Id) -> u64 {
    first_word(blake3::Hasher::new().update(&seed.to_le_bytes()).update(&id.0).finalize())
}

/// The key for one purpose.
pub(crate) fn purpose_key(key: u64, purpose: Purpose) -> u64 {
    first_word(blake3::Hasher::new().update(&key.to_le_bytes()).update(purpose.word()).finalize())
}

fn first_word(hash: blake3::Hash) -> u64 {
    let (words, _) = hash.as_bytes().as_chunks::<8>();
    u64::from_le_bytes(words[0])
}

/// Numbers from the extended output of a hash, one after the other.
pub(crate) struct Draws {
    output: blake3::OutputReader,
}

impl Draws {
    pub(crate) fn new(key: u64, purpose: Purpose) -> Draws {
        Draws { output: blake3::Hasher::new().update(&key.to_le_bytes()).update(purpose.word()).finalize_xof() }
    }

    /// In 0..1, 1 excluded, of 53 bits.
    pub(crate) fn uniform(&mut self) -> f64 {
        let mut word = [0; 8];
        self.output.fill(&mut word);
        (u64::from_le_bytes(word) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// The distance between two counters of [`mix`]: 2^64 over the golden ratio, odd.
pub(crate) const MIX_STEP: u64 = 0x9e37_79b9_7f4a_7c15;
/// Its two factors.
pub(crate) const MIX_FACTORS: [u64; 2] = [0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb];
/// Its three shifts to the right.
pub(crate) const MIX_SHIFTS: [u32; 3] = [30, 27, 31];

/// Word `counter` of the generator splitmix64 that starts at `key` (Steele, Lea and Flood 2014): any one of them at once.
pub(crate) fn mix(key: u64, counter: u64) -> u64 {
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
            assert_eq!(mix(1234567, counter as u64), expected);
        }
    }

    #[test]
    fn keys_and_draws_differ_by_seed_id_and_purpose() {
        let ids = [Id([1; 16]), Id([2; 16])];
        let mut keys: Vec<u64> = [1, 2].into_iter().flat_map(|seed| ids.map(|id| key_of(seed, id))).collect();
        let purposes = [Purpose::Augmentation, Purpose::ScoreDropout, Purpose::TextEncoderDropout];
        keys.extend(purposes.map(|purpose| purpose_key(keys[0], purpose)));
        let firsts = purposes.map(|purpose| Draws::new(keys[0], purpose).uniform().to_bits());
        let different = |words: &[u64]| words.iter().enumerate().all(|(i, word)| !words[..i].contains(word));
        assert!(different(&keys) && different(&firsts));
        assert_eq!(Draws::new(3, Purpose::Augmentation).uniform(), Draws::new(3, Purpose::Augmentation).uniform());
    }
}
