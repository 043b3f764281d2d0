//! Voxel codes: values in 0..1 to the bytes of a cell and back.

use med2e3_schemas::volume::{VoxelCode, VoxelFormat};

/// Writes the codes of `values` (one volume in D, H, W order) to `cell`, little-endian, replacing its contents.
///
/// Values are clamped to what the code can hold; the error of a value in range is at most half a step.
///
/// # Panics
/// Another number of values than the format has voxels.
pub fn encode(values: &[f32], format: &VoxelFormat, cell: &mut Vec<u8>) {
    assert_eq!(values.len(), format.voxels(), "a volume has the format's voxels");
    cell.clear();
    let (inverse, offset) = (1.0 / format.scale, format.offset);
    let steps = |value: f32, most: f32| nearest(((value - offset) * inverse).max(0.0).min(most));
    match format.code {
        VoxelCode::U8 => cell.extend(values.iter().map(|&v| steps(v, 255.0) as u8)),
        VoxelCode::I16 => cell.extend(values.iter().flat_map(|&v| (steps(v, 32767.0) as u16).to_le_bytes())),
        VoxelCode::F32 => cell.extend(values.iter().flat_map(|&v| ((v - offset) * inverse).to_le_bytes())),
    }
}

/// The nearest whole number of a value from 0 to 2^22, ties to even: a float of about 1.5 * 2^23 has no bits for a fraction,
/// so the addition rounds, and the number is in the lowest bits. Unlike `round_ties_even` this becomes vector code on
/// every x86-64.
#[inline]
fn nearest(value: f32) -> u32 {
    (value + 12_582_912.0).to_bits() & 0x003f_ffff
}

/// The values of a cell.
///
/// # Panics
/// A cell of another size than the format's.
pub fn decode(cell: &[u8], format: &VoxelFormat) -> Vec<f32> {
    assert_eq!(cell.len(), format.cell_bytes(), "a cell has the format's size");
    let value = |code: f32| code * format.scale + format.offset;
    match format.code {
        VoxelCode::U8 => cell.iter().map(|&c| value(f32::from(c))).collect(),
        VoxelCode::I16 => {
            let (pairs, _) = cell.as_chunks::<2>();
            pairs.iter().map(|&c| value(f32::from(i16::from_le_bytes(c)))).collect()
        }
        VoxelCode::F32 => {
            let (quads, _) = cell.as_chunks::<4>();
            quads.iter().map(|&c| value(f32::from_le_bytes(c))).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_value_comes_back_within_half_a_step(values in proptest::collection::vec(0f32..=1.0, 24)) {
            for (code, bound) in [(VoxelCode::U8, 1.0 / 510.0), (VoxelCode::I16, 1.0 / 65534.0), (VoxelCode::F32, 0.0)] {
                let format = VoxelFormat::unit_range([2, 3, 4], code);
                let mut cell = Vec::new();
                encode(&values, &format, &mut cell);
                for (a, b) in values.iter().zip(decode(&cell, &format)) {
                    prop_assert!((a - b).abs() <= bound + 1e-7, "{a} {b} {code:?}");
                }
            }
        }
    }

    #[test]
    fn codes_are_rounded_as_the_standard_says() {
        for value in (0..=510).map(|n| n as f32 / 2.0).chain([0.49999997, 254.50002, 32766.5, 32767.0]) {
            assert_eq!(nearest(value), value.round_ties_even() as u32, "{value}");
        }
    }

    #[test]
    fn the_ends_are_exact() {
        for code in [VoxelCode::U8, VoxelCode::I16, VoxelCode::F32] {
            let format = VoxelFormat::unit_range([1, 1, 2], code);
            let mut cell = Vec::new();
            encode(&[0.0, 1.0], &format, &mut cell);
            let values = decode(&cell, &format);
            assert_eq!(values[0], 0.0);
            assert!((values[1] - 1.0).abs() < 1e-6);
        }
    }
}
