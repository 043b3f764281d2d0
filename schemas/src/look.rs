//! How a volume looks, in 64 bytes: which of two neighbouring regions is brighter, at 256 places, so that copies that were
//! windowed, compressed or resampled are found though no byte is equal.

/// Places where two neighbours are compared.
pub const PLACES: usize = 256;

/// How many places two volumes must be expected to differ at if their looks had nothing to do with each other: fewer are
/// no evidence.
const LEAST_EXPECTED: u32 = 32;

/// Copies differ at no more than one in so many of the expected places.
const COPY: u32 = 9;

/// How a volume looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    // Bit n: the second region of place n is brighter than the first.
    brighter: [u64; PLACES / 64],
    // Bit n: the regions of place n differ.
    differs: [u64; PLACES / 64],
}

impl Look {
    /// Of each place: whether its second region is brighter than its first, and whether the two differ.
    pub fn new(brighter: &[bool; PLACES], differs: &[bool; PLACES]) -> Look {
        let bits = |places: &[bool; PLACES]| {
            let word = |word: usize| (0..64).fold(0, |bits, n| bits | u64::from(places[64 * word + n]) << n);
            std::array::from_fn(word)
        };
        Look { brighter: bits(brighter), differs: bits(differs) }
    }

    /// The bytes of `perceptual_hash`: what is brighter, then what differs, each 256 bits, lowest first.
    pub fn to_bytes(&self) -> [u8; 64] {
        let mut bytes = [0; 64];
        let words = self.brighter.iter().chain(&self.differs);
        bytes.chunks_exact_mut(8).zip(words).for_each(|(bytes, word)| bytes.copy_from_slice(&word.to_le_bytes()));
        bytes
    }

    /// The look that [`Look::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8; 64]) -> Look {
        let (words, _) = bytes.as_chunks::<8>();
        let word = |n: usize| u64::from_le_bytes(words[n]);
        Look { brighter: std::array::from_fn(word), differs: std::array::from_fn(|n| word(n + 4)) }
    }

    /// Whether the volume has enough structure to be like any other.
    pub fn tells(&self) -> bool {
        // Of the places compared at most half are expected to differ.
        self.differs.iter().map(|word| word.count_ones()).sum::<u32>() >= 2 * LEAST_EXPECTED
    }

    /// Whether two volumes look like copies of one image.
    ///
    /// Of the places where both have a difference, looks that have nothing to do with each other would disagree at an
    /// expected number, which follows from how often each has the brighter region second. Copies disagree at no more than
    /// a ninth of it; where it is below 32 nothing is claimed.
    pub fn is_like(&self, other: &Look) -> bool {
        let (mut both, mut unequal) = (0, 0);
        for word in 0..PLACES / 64 {
            let compared = self.differs[word] & other.differs[word];
            both += compared.count_ones();
            unequal += (compared & (self.brighter[word] ^ other.brighter[word])).count_ones();
        }
        // The expected number is at most half of the places compared: most pairs end here.
        if both < 2 * LEAST_EXPECTED || 2 * COPY * unequal > both {
            return false;
        }
        let ones = |a: &Look, b: &Look| -> u32 {
            (0..PLACES / 64).map(|word| (a.brighter[word] & a.differs[word] & b.differs[word]).count_ones()).sum()
        };
        let (mine, theirs) = (ones(self, other), ones(other, self));
        // Times `both`.
        let expected = mine * (both - theirs) + theirs * (both - mine);
        expected >= LEAST_EXPECTED * both && COPY * unequal * both <= expected
    }
}
