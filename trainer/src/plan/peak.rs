//! FLOPs a second that a card multiplies matrices with at most, as its maker states them: what utilization is measured against.

use super::profile::DeviceProfile;
use crate::precision::Precision;

/// Dense products of a card, in FLOPs a second.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Peaks {
    bf16: f64,
    tf32: f64,
    f32: f64,
}

/// What a card's name holds, and its peaks; the first that fits counts. From NVIDIA's data sheets of H100 (July 2023), H200 (2024)
/// and A100 (2021), without sparsity.
const CARDS: [(&str, Peaks); 4] = [
    ("H100 PCIe", Peaks { bf16: 756e12, tf32: 378e12, f32: 51e12 }),
    ("H100 80GB HBM3", Peaks { bf16: 989e12, tf32: 494e12, f32: 67e12 }),
    ("H200", Peaks { bf16: 989e12, tf32: 494e12, f32: 67e12 }),
    ("A100", Peaks { bf16: 312e12, tf32: 156e12, f32: 19.5e12 }),
];

/// The peak of a device by its measured profile, or of the card of this name. None where neither knows it: a processor's peak
/// follows from nothing that the system tells.
pub(crate) fn peak(
    profile: Option<&DeviceProfile>,
    card: Option<&str>,
    precision: Precision,
    is_tf32: bool,
) -> Option<f64> {
    let is_tf32 = is_tf32 && precision == Precision::F32;
    if let Some(profile) = profile {
        // A profile is of products with all bits.
        return (!is_tf32).then(|| profile.peak(precision));
    }
    let (_, peaks) = CARDS.iter().find(|(name, _)| card.is_some_and(|card| card.contains(name)))?;
    Some(match precision {
        Precision::Bf16 => peaks.bf16,
        Precision::F32 if is_tf32 => peaks.tf32,
        Precision::F32 => peaks.f32,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_has_a_peak() {
        let of = |card, precision, is_tf32| peak(None, card, precision, is_tf32);
        assert_eq!(of(Some("NVIDIA H100 80GB HBM3"), Precision::Bf16, true), Some(989e12));
        assert_eq!(of(Some("NVIDIA H100 PCIe"), Precision::F32, true), Some(378e12));
        assert_eq!(of(Some("NVIDIA A100-SXM4-80GB"), Precision::F32, false), Some(19.5e12));
        assert_eq!(of(Some("NVIDIA GeForce RTX 3060"), Precision::Bf16, false), None);
        assert_eq!(of(None, Precision::F32, false), None);
        let profile = DeviceProfile::h100();
        assert_eq!(peak(Some(&profile), None, Precision::Bf16, true), Some(profile.peak_bf16));
        assert_eq!(peak(Some(&profile), None, Precision::F32, true), None);
    }
}
