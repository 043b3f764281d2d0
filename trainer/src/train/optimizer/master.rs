//! The f32 values behind the weights of a bucket.
//!
//! An update of a bf16 weight is mostly smaller than the step between two bf16 numbers: added to the weight itself it would be
//! lost. So AdamW moves an f32 value, the master, of which the weight is a rounding.

use tch::{Kind, Tensor};

/// How the f32 value of a bf16 weight is kept; an f32 weight is its own. Both give the same weights, bit for bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Master {
    /// As the weight and what its rounding left over, 16 bits: 4 bytes a weight together. A run trains so.
    #[default]
    Split,
    /// As an f32 copy next to the weight: 6 bytes a weight together, and nothing to put together or to take apart.
    Full,
}

impl Master {
    /// Bytes of a weight of this kind with its master, its f32 gradient and its two f32 moments: 16 for f32 (4 + 4 + 8) and for
    /// bf16 with a split master (2 + 2 + 4 + 8), 18 with a full one (2 + 4 + 4 + 8).
    pub fn bytes(self, kind: Kind) -> u64 {
        let master = match (kind, self) {
            (Kind::Float, _) => 0,
            (_, Master::Split) => 2,
            (_, Master::Full) => 4,
        };
        kind.elt_size_in_bytes() as u64 + master + 4 + 8
    }
}

/// The f32 values of one bucket's weights.
pub(super) enum Values {
    /// The weights are f32 themselves.
    Own,
    /// i16, one a weight.
    Split { remainder: Tensor },
    /// f32, one a weight.
    Full { copy: Tensor },
}

impl Values {
    /// Room for the values of the flat buffer `weight`.
    pub(super) fn of(weight: &Tensor, master: Master) -> Values {
        let like = |kind| weight.zeros_like().to_kind(kind);
        match (weight.kind(), master) {
            (Kind::Float, _) => Values::Own,
            (_, Master::Split) => Values::Split { remainder: like(Kind::Int16) },
            (_, Master::Full) => Values::Full { copy: like(Kind::Float) },
        }
    }

    /// The f32 values of `weight`, the range of a buffer that begins at `start`: a view of them, or new ones.
    pub(super) fn read(&self, weight: &Tensor, start: i64) -> Tensor {
        let range = |of: &Tensor| of.narrow(0, start, weight.numel() as i64);
        match self {
            Values::Own => weight.shallow_clone(),
            Values::Split { remainder } => combine(weight, &range(remainder)),
            Values::Full { copy } => range(copy),
        }
    }

    /// Gives a range of the weights these values. What [`Values::read`] returned is used up; other values should be a copy.
    pub(super) fn write(&self, weight: &Tensor, start: i64, values: Tensor) {
        let range = |of: &Tensor| of.narrow(0, start, weight.numel() as i64);
        let mut weight = weight.shallow_clone();
        match self {
            Values::Own => weight.copy_(&values),
            Values::Split { remainder } => split(values, &mut weight, &mut range(remainder)),
            Values::Full { copy } => {
                range(copy).copy_(&values);
                // As `split` rounds, without the rest: half a step up in size, then the upper 16 bits.
                let bits = values.view_dtype(Kind::Int) + (1 << 15);
                weight.copy_(&bits.bitwise_and(-(1 << 16)).view_dtype(Kind::Float));
            }
        }
    }

    /// What the rounding of the weights `weight` left over, i16; none where they are f32.
    pub(super) fn remainder(&self, weight: &Tensor, start: i64) -> Option<Tensor> {
        let range = |of: &Tensor| of.narrow(0, start, weight.numel() as i64);
        match self {
            Values::Own => None,
            Values::Split { remainder } => Some(range(remainder)),
            Values::Full { copy } => Some(range(copy).view_dtype(Kind::Int).to_kind(Kind::Int16)),
        }
    }
}

/// The f32 values of bf16 weights and of what their rounding left over, i16: `(bits of the weight << 16) + remainder`, as bits.
pub fn combine(weight: &Tensor, remainder: &Tensor) -> Tensor {
    let values = weight.to_kind(Kind::Float);
    let _ = values.view_dtype(Kind::Int).g_add_(remainder);
    values
}

/// The inverse of [`combine`]; `values` are used up.
///
/// The lower 16 bits of a value, read as a signed number, are the remainder; without them the upper 16 are the weight: the
/// value rounded to the nearest bf16, and half way up in size. Rounding half to even, as a conversion does, can't be undone
/// from 16 bits: the value half a step above an even weight and the one half a step below it both become that weight, and the
/// two remainders, +2^15 and -2^15, are one number in 16 bits.
fn split(values: Tensor, weight: &mut Tensor, remainder: &mut Tensor) {
    let mut bits = values.view_dtype(Kind::Int);
    // A conversion to fewer bits keeps the lower ones.
    remainder.copy_(&bits);
    let _ = bits.g_sub_(remainder);
    // The lower bits are zero now: nothing is left to round.
    weight.copy_(&values);
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    /// Every lower half of a value, under signs and exponents from the least to the greatest.
    #[test]
    fn a_value_is_its_weight_and_remainder() {
        let lower: Vec<u32> = (0..=0xffff).collect();
        for upper in [0u32, 1, 0x3f7f, 0x3f80, 0x3f81, 0x7f7f, 0x8000, 0x8001, 0xbf7f, 0xc2c8, 0xff7e, 0xff7f] {
            let values: Vec<f32> = lower.iter().map(|lower| f32::from_bits(upper << 16 | lower)).collect();
            let tensor = Tensor::from_slice(&values);
            let mut weight = tensor.to_kind(Kind::BFloat16);
            let nearest = weight.copy();
            let mut remainder = tensor.to_kind(Kind::Int16);
            split(tensor.copy(), &mut weight, &mut remainder);
            let found = Vec::<f32>::try_from(combine(&weight, &remainder)).unwrap();
            assert!(found.iter().zip(&values).all(|(found, value)| found.to_bits() == value.to_bits()), "{upper:x}");
            // Only half way, in one value of 65536, may it be another one than the conversion's.
            let others = weight.ne_tensor(&nearest).sum(Kind::Int64).int64_value(&[]);
            assert_eq!(others, i64::from(upper & 1 == 0), "{upper:x}");
        }
    }

    #[test]
    fn both_masters_keep_every_bit_and_round_alike() {
        let mut values = Tensor::empty([5000], (Kind::Float, Device::Cpu));
        crate::libtorch::fill_normal(&mut values, 0.02, 7).unwrap();
        let read = [Master::Split, Master::Full].map(|master| {
            let weight = Tensor::zeros([6000], (Kind::BFloat16, Device::Cpu));
            let range = weight.narrow(0, 500, 5000);
            let kept = Values::of(&weight, master);
            kept.write(&range, 500, values.copy());
            assert!(kept.read(&range, 500).equal(&values));
            assert!(combine(&range, &kept.remainder(&range, 500).unwrap()).equal(&values));
            weight
        });
        assert!(read[0].equal(&read[1]));
    }
}
