//! How volumes are changed in training, so that a model sees each in other poses and contrasts.
//!
//! What happens to a volume is drawn on the host from its key. Turns and flips then move codes, one to four bytes a voxel,
//! and contrast is part of the map from codes to values, so that values are written once.

use med2e3_schemas::volume::VoxelFormat;
use tch::{Kind, Tensor};

use crate::TrainerError;
use crate::fit::expect;
use crate::model::draws::Uniforms;
use crate::words::words;

words! {
    /// How volumes are changed in training, drawn anew for each step. Never in validation, evaluation or answers.
    #[derive(Default)]
    pub enum Augmentation {
        /// They stay as they are.
        #[default]
        None = "none",
        /// As M3D and the released Med-2E3 were trained: slices turned by 90, 180 or 270 degrees (half of the volumes), each axis flipped (a tenth), values times 0.9 to 1.1 (half), plus -0.1 to 0.1 (half), in this order and without clipping.
        M3d = "m3d",
    }
}

/// Share of the volumes that are turned.
const TURNED: f64 = 0.5;
/// Share of the volumes that are flipped, for each axis.
const FLIPPED: f64 = 0.1;
/// Share of the volumes whose values are scaled, and share of those whose values are shifted.
const OTHER_CONTRAST: f64 = 0.5;
/// Most that a value is scaled beyond 1, and most that it is shifted, each way.
const CONTRAST_RANGE: f64 = 0.1;

/// What happens to one volume, in the order of the fields.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Draw {
    /// Quarter turns of every slice, 0 to 3, from the axis H towards W: as numpy's and torch's `rot90` over (H, W).
    pub turns: u8,
    /// Which of the axes D, H, W are then flipped.
    pub flips: [bool; 3],
    /// f where values become v (1 + f), -0.1 to 0.1.
    pub factor: Option<f32>,
    /// o where values then become v + o, -0.1 to 0.1.
    pub offset: Option<f32>,
}

impl Augmentation {
    /// What happens to the volume with this key.
    pub fn draw(self, key: u64) -> Draw {
        if self == Augmentation::None {
            return Draw::default();
        }
        // Every number is drawn, used or not, so that none depends on what another decided.
        let mut draws = Uniforms::new(key, "augmentation");
        let mut happens = |share: f64| (draws.draw() < share, draws.draw());
        let (is_turned, turn) = happens(TURNED);
        let flips = [(); 3].map(|()| happens(FLIPPED).0);
        let mut contrast = || {
            let (is_changed, place) = happens(OTHER_CONTRAST);
            is_changed.then_some((CONTRAST_RANGE * (2.0 * place - 1.0)) as f32)
        };
        let (factor, offset) = (contrast(), contrast());
        Draw { turns: if is_turned { 1 + (3.0 * turn) as u8 } else { 0 }, flips, factor, offset }
    }

    /// Whether volumes of this shape can be changed so.
    ///
    /// # Errors
    /// Slices that are not square: a turned one would have another shape.
    pub(crate) fn check(self, shape_dhw: [usize; 3]) -> Result<(), TrainerError> {
        let [_, height, width] = shape_dhw;
        expect(
            "step.augmentation",
            self == Augmentation::None || height == width,
            "`none` for volumes whose slices are not square: the others turn slices by 90 degrees".into(),
            format!("`m3d` for slices of {height} x {width}"),
        )
    }
}

impl Draw {
    /// Factor and offset from a code to the volume's changed value.
    pub fn intensity(&self, format: &VoxelFormat) -> [f32; 2] {
        let scale = 1.0 + f64::from(self.factor.unwrap_or(0.0));
        let offset = f64::from(self.offset.unwrap_or(0.0));
        [(f64::from(format.scale) * scale) as f32, (f64::from(format.offset) * scale + offset) as f32]
    }

    /// Turns and flips of one volume (.., D, H, W) in one pass.
    fn moved(&self, codes_dhw: &Tensor) -> Tensor {
        // A quarter turn exchanges H and W and flips one of them; flips of one axis cancel each other.
        let [depth, height, width] = self.flips;
        let flips = [depth, height ^ (self.turns == 1 || self.turns == 2), width ^ (self.turns >= 2)];
        let axes: Vec<i64> = (-3..0).zip(flips).filter_map(|(axis, is_flipped)| is_flipped.then_some(axis)).collect();
        let turned = if self.turns % 2 == 1 { codes_dhw.transpose(-2, -1) } else { codes_dhw.shallow_clone() };
        if axes.is_empty() { turned } else { turned.flip(axes) }
    }

    fn moves(&self) -> bool {
        self.turns != 0 || self.flips != [false; 3]
    }
}

/// Values of volumes, f32 (V, 1, D, H, W), from their codes of any kind on the same device. `draws` has one entry a volume, and
/// row i of `intensity_v2`, f32, is [`Draw::intensity`] of entry i.
///
/// # Panics
/// There are not as many draws and rows as volumes.
pub fn values(codes_v1dhw: &Tensor, draws: &[Draw], intensity_v2: &Tensor) -> Tensor {
    let volumes = codes_v1dhw.size()[0];
    assert_eq!((draws.len() as i64, intensity_v2.size()), (volumes, vec![volumes, 2]));
    let volume = |(place, draw): (i64, &Draw)| draw.moved(&codes_v1dhw.select(0, place));
    let moved_v1dhw = draws.iter().any(Draw::moves).then(|| {
        let moved: Vec<Tensor> = (0..).zip(draws).map(volume).collect();
        Tensor::stack(&moved, 0)
    });
    let codes_v1dhw = moved_v1dhw.as_ref().unwrap_or(codes_v1dhw);
    let column = |at: i64| intensity_v2.select(1, at).view([volumes, 1, 1, 1, 1]);
    // One pass: libtorch turns codes to floats on the way.
    column(1).addcmul(codes_v1dhw, &column(0)).to_kind(Kind::Float)
}

#[cfg(test)]
mod tests {
    use super::*;
    use med2e3_schemas::volume::VoxelCode;
    use tch::Device;

    /// What the module does, voxel by voxel on f32 values.
    fn twin(values: &[f32], [depth, height, width]: [usize; 3], draw: &Draw) -> Vec<f32> {
        let mut volume = values.to_vec();
        let at = |d: usize, h: usize, w: usize| (d * height + h) * width + w;
        let each = |volume: &[f32], from: &dyn Fn(usize, usize, usize) -> usize| -> Vec<f32> {
            let cells = (0..depth).flat_map(|d| (0..height).flat_map(move |h| (0..width).map(move |w| (d, h, w))));
            cells.map(|(d, h, w)| volume[from(d, h, w)]).collect()
        };
        for _ in 0..draw.turns {
            volume = each(&volume, &|d, h, w| at(d, w, width - 1 - h));
        }
        if draw.flips[0] {
            volume = each(&volume, &|d, h, w| at(depth - 1 - d, h, w));
        }
        if draw.flips[1] {
            volume = each(&volume, &|d, h, w| at(d, height - 1 - h, w));
        }
        if draw.flips[2] {
            volume = each(&volume, &|d, h, w| at(d, h, width - 1 - w));
        }
        let changed = volume.into_iter().map(|v| v * (1.0 + draw.factor.unwrap_or(0.0)));
        changed.map(|v| v + draw.offset.unwrap_or(0.0)).collect()
    }

    #[test]
    fn tensors_change_as_the_plain_twin_on_the_host() {
        let shape_dhw = [3, 4, 4];
        let cells = 48;
        let every = (0..4).flat_map(|turns| (0..8).map(move |flips| (turns, flips)));
        let mut draws: Vec<Draw> = every
            .map(|(turns, flips)| Draw {
                turns,
                flips: [0, 1, 2].map(|axis| flips >> axis & 1 == 1),
                ..Draw::default()
            })
            .collect();
        draws.extend((0..100).map(|key| Augmentation::M3d.draw(key)));
        for code in [VoxelCode::U8, VoxelCode::I16, VoxelCode::F32] {
            let format = VoxelFormat { offset: -0.25, ..VoxelFormat::unit_range(shape_dhw, code) };
            let codes: Vec<f32> = (0..draws.len() * cells).map(|i| (i * 37 % 251) as f32).collect();
            let kind = [Kind::Uint8, Kind::Int16, Kind::Float][code as usize];
            let codes_v1dhw = Tensor::from_slice(&codes).view([-1, 1, 3, 4, 4]).to_kind(kind);
            let intensity: Vec<f32> = draws.iter().flat_map(|draw| draw.intensity(&format)).collect();
            let found = values(&codes_v1dhw, &draws, &Tensor::from_slice(&intensity).view([-1, 2]));
            let found: Vec<f32> = Vec::try_from(found.flatten(0, -1)).unwrap();
            for ((draw, codes), found) in draws.iter().zip(codes.chunks(cells)).zip(found.chunks(cells)) {
                let host: Vec<f32> = codes.iter().map(|code| code * format.scale + format.offset).collect();
                for (found, expected) in found.iter().zip(twin(&host, shape_dhw, draw)) {
                    assert!((found - expected).abs() <= 1e-6 * expected.abs().max(1.0), "{draw:?}: {found} {expected}");
                }
            }
        }
    }

    #[test]
    fn volumes_without_a_change_have_their_usual_values() {
        let format = VoxelFormat::unit_range([1, 2, 2], VoxelCode::U8);
        let codes = Tensor::from_slice(&[0u8, 1, 77, 255]).view([1, 1, 1, 2, 2]);
        let draw = Augmentation::None.draw(5);
        let found = values(&codes, &[draw], &Tensor::from_slice(&draw.intensity(&format)).view([1, 2]));
        assert_eq!(found, codes.to_kind(Kind::Float) * f64::from(format.scale));
        let none = codes.narrow(0, 0, 0);
        let intensity = Tensor::zeros([0, 2], (Kind::Float, Device::Cpu));
        assert_eq!(values(&none, &[], &intensity).size(), [0, 1, 1, 2, 2]);
    }

    #[test]
    fn each_operation_is_as_frequent_and_as_wide_as_in_m3d() {
        let count = 20_000;
        let draws: Vec<Draw> = (0..count).map(|key| Augmentation::M3d.draw(key)).collect();
        let share = |what: &str, expected: f64, is_so: &dyn Fn(&Draw) -> bool| {
            let found = draws.iter().filter(|draw| is_so(draw)).count() as f64 / f64::from(count as u32);
            // Within five standard deviations.
            let deviation = (expected * (1.0 - expected) / f64::from(count as u32)).sqrt();
            assert!((found - expected).abs() < 5.0 * deviation, "{what}: {found}, {expected} expected");
        };
        for (turns, expected) in [(0, 0.5), (1, 0.5 / 3.0), (2, 0.5 / 3.0), (3, 0.5 / 3.0)] {
            share("turns", expected, &|draw| draw.turns == turns);
        }
        for axis in 0..3 {
            share("flips", 0.1, &|draw| draw.flips[axis]);
        }
        share("two flips", 0.01, &|draw| draw.flips[0] && draw.flips[1]);
        type Number = fn(&Draw) -> Option<f32>;
        let numbers: [(&str, Number); 2] = [("factor", |draw| draw.factor), ("offset", |draw| draw.offset)];
        for (what, number) in numbers {
            share(what, 0.5, &|draw| number(draw).is_some());
            share(what, 0.25, &|draw| draw.turns > 0 && number(draw).is_some());
            // Uniform over the range: each quarter of it as often.
            for quarter in 0..4 {
                let from = -0.1 + 0.05 * quarter as f32;
                share(what, 0.125, &|draw| number(draw).is_some_and(|n| (from..from + 0.05).contains(&n)));
            }
            assert!(draws.iter().filter_map(number).all(|n| (-0.1..=0.1).contains(&n)), "{what}");
        }
    }

    #[test]
    fn slices_that_are_not_square_are_refused() {
        Augmentation::M3d.check([32, 256, 256]).unwrap();
        Augmentation::None.check([32, 256, 128]).unwrap();
        let error = Augmentation::M3d.check([32, 256, 128]).unwrap_err().to_string();
        assert!(error.starts_with("step.augmentation: expected") && error.contains("256 x 128"), "{error}");
    }
}
