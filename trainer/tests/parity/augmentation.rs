//! Augmentation against MONAI's transforms.

use med2e3_schemas::volume::{VoxelCode, VoxelFormat};
use med2e3_trainer::augmentation::{Draw, values};
use tch::{Kind, Tensor};

use crate::golden_file::{Golden, assert_close};

#[test]
fn augmentation_equals_monais_transforms_with_the_same_draws() {
    let golden = Golden::open("augmentation");
    let (codes, drawn, expected) = (golden.get("codes"), golden.get("draws"), golden.get("values"));
    let rows: Vec<Vec<f32>> = Vec::try_from(&drawn).unwrap();
    let number = |value: f32| (!value.is_nan()).then_some(value);
    let draws: Vec<Draw> = rows
        .iter()
        .map(|row| Draw {
            turns: row[0] as u8,
            flips: [row[1], row[2], row[3]].map(|flip| flip == 1.0),
            factor: number(row[4]),
            offset: number(row[5]),
        })
        .collect();
    let size = codes.size();
    let shape_dhw = [2, 3, 4].map(|axis| size[axis] as usize);
    // The same values in each code: bytes, 16-bit numbers that are multiples of bytes, floats.
    for (code, codes) in [
        (VoxelCode::U8, codes.shallow_clone()),
        (VoxelCode::I16, codes.to_kind(Kind::Int16)),
        (VoxelCode::F32, codes.to_kind(Kind::Float)),
    ] {
        let format = VoxelFormat { scale: 1.0 / 255.0, ..VoxelFormat::unit_range(shape_dhw, code) };
        let intensity: Vec<f32> = draws.iter().flat_map(|draw| draw.intensity(&format)).collect();
        let found = values(&codes, &draws, &Tensor::from_slice(&intensity).view([-1, 2]));
        assert_eq!(found.kind(), Kind::Float);
        assert_close(code.as_str(), &found, &expected, 1e-6);
    }
}
