//! What a dataset states of how its inputs are made ([`Inputs`](med2e3_schemas::inputs::Inputs)), from and to the values that
//! make them: so a single volume or question is prepared as those of the dataset were.

use std::path::Path;

use med2e3_schemas::inputs::{CropNumbers, IntensityNumbers, VolumeInputs, VolumeRecipe};
use serde::de::IntoDeserializer;
use serde::de::value::{Error, StrDeserializer};
use serde::{Deserialize, Serialize};

use crate::error::InputError;
use crate::orientation::Plane;
use crate::percentile::PercentileRange;
use crate::recipe::{self, CtCrop, CtRecipe, Intensity};
use crate::text::Template;
use crate::volume::{self, Buffers, DeepPictures, ReadLimits, Volume};
use crate::window::{Window, WindowLevel};

impl From<&CtRecipe> for VolumeRecipe {
    /// A window is its numbers, whether they were stated or named.
    fn from(recipe: &CtRecipe) -> VolumeRecipe {
        VolumeRecipe::Ct {
            spacing_mm: recipe.spacing_mm,
            intensity: match recipe.intensity {
                Intensity::None => IntensityNumbers::None,
                Intensity::Window(window) => {
                    let WindowLevel { center, width } = window.level();
                    IntensityNumbers::Window { center, width }
                }
                Intensity::Percentile(PercentileRange { low, high }) => IntensityNumbers::Percentile { low, high },
            },
            crop: match recipe.crop {
                CtCrop::None => CropNumbers::None,
                CtCrop::Foreground => CropNumbers::Foreground,
                CtCrop::AboveHu(hu) => CropNumbers::AboveHu(hu),
            },
        }
    }
}

/// The recipe `ct` of these numbers.
fn ct_of(
    shape_dhw: [usize; 3],
    spacing_mm: Option<[f32; 3]>,
    intensity: IntensityNumbers,
    crop: CropNumbers,
) -> CtRecipe {
    CtRecipe {
        shape_dhw,
        spacing_mm,
        intensity: match intensity {
            IntensityNumbers::None => Intensity::None,
            IntensityNumbers::Window { center, width } => {
                Intensity::Window(Window::Level(WindowLevel { center, width }))
            }
            IntensityNumbers::Percentile { low, high } => Intensity::Percentile(PercentileRange { low, high }),
        },
        crop: match crop {
            CropNumbers::None => CtCrop::None,
            CropNumbers::Foreground => CtCrop::Foreground,
            CropNumbers::AboveHu(hu) => CtCrop::AboveHu(hu),
        },
    }
}

/// A volume as a model takes it, and where its slices are in the source.
#[derive(Clone, Debug, PartialEq)]
pub struct Prepared {
    /// In D H W order, in the unit of the format.
    pub values: Vec<f32>,
    /// One a slice.
    pub slices: Vec<SourceSlice>,
    /// The plane of the slices, where it is known.
    pub plane: Option<Plane>,
}

/// Where a prepared slice is in the source.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SourceSlice {
    /// The nearest slice's number, see [`Volume::source_slice`]; `None` for padding.
    pub source_slice: Option<i64>,
    /// Millimetres along the patient axis across the slices, see [`Volume::slices_mm`]; `None` where the
    /// source states no place, and for padding.
    pub mm: Option<f64>,
}

impl SourceSlice {
    fn at(volume: &Volume, depth: Option<f64>) -> SourceSlice {
        let last = volume.shape_dhw[0] - 1;
        let nearest = |depth: f64| volume.source_slice((depth.round().max(0.0) as usize).min(last));
        let between = |depth: f64| {
            let slices_mm = volume.slices_mm.as_ref()?;
            let low = (depth.floor().max(0.0) as usize).min(last);
            let (below, above) = (slices_mm[low], slices_mm[(low + 1).min(last)]);
            Some(below + (above - below) * (depth - low as f64))
        };
        SourceSlice { source_slice: depth.map(nearest), mm: depth.and_then(between) }
    }
}

/// Reads a volume and prepares it as `inputs` state.
///
/// # Errors
/// A volume that does not read or that the recipe refuses; an unknown word for 16-bit pictures.
pub fn read_volume(path: &Path, inputs: &VolumeInputs, limits: &ReadLimits) -> Result<Prepared, InputError> {
    let deep: DeepPictures = of_word("deep_pictures", &inputs.deep_pictures)?;
    check_numbers(inputs)?;
    let volume = volume::read_as(path, limits, &Buffers::default(), deep)?;
    let (shape_dhw, mut values) = (inputs.voxels.shape_dhw, Vec::new());
    let depths = match inputs.recipe {
        VolumeRecipe::M3d => recipe::m3d_depths(&recipe::m3d(&volume, shape_dhw, &mut values)?, shape_dhw[0]),
        VolumeRecipe::Ct { spacing_mm, intensity, crop } => {
            let recipe = ct_of(shape_dhw, spacing_mm, intensity, crop);
            let info = recipe::ct(&volume, &recipe, &mut values)?;
            recipe::ct_depths(&volume, &recipe, &info)?
        }
    };
    let slices = depths.into_iter().map(|depth| SourceSlice::at(&volume, depth)).collect();
    Ok(Prepared { values, slices, plane: volume.plane })
}

/// The ranges that a configuration's own numbers have; a file that states inputs may hold any.
fn check_numbers(inputs: &VolumeInputs) -> Result<(), InputError> {
    let VolumeRecipe::Ct { spacing_mm, intensity, .. } = inputs.recipe else { return Ok(()) };
    let above_zero = |value: f32| value > 0.0 && value.is_finite();
    let (fits, what, found) = match (spacing_mm, intensity) {
        (Some(mm), _) if !mm.iter().all(|mm| above_zero(*mm)) => {
            (false, "spacing_mm", format!("{}, {}, {}, not all above 0", mm[0], mm[1], mm[2]))
        }
        (_, IntensityNumbers::Window { width, .. }) => {
            (above_zero(width), "window width", format!("{width}, not above 0"))
        }
        (_, IntensityNumbers::Percentile { low, high }) => (
            0.0 <= low && low < high && high <= 100.0,
            "percentiles",
            format!("{low} and {high}, not 0 to 100 in order"),
        ),
        (_, IntensityNumbers::None) => (true, "", String::new()),
    };
    if fits { Ok(()) } else { Err(InputError::UnknownWord { what, found }) }
}

/// The word of pictures' treatment, as configurations have it.
pub fn deep_pictures_word(deep: DeepPictures) -> &'static str {
    match deep {
        DeepPictures::Clip => "clip",
        DeepPictures::Range => "range",
    }
}

impl Template {
    /// The template's word, as configurations have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Template::Phi => "phi",
            Template::PretrainVision3d => "pretrain_vision3d",
            Template::Phi3Chat => "phi3_chat",
            Template::M3d => "m3d",
        }
    }

    /// The template of a word.
    ///
    /// # Errors
    /// [`InputError::UnknownWord`] for any other.
    pub fn of_word(word: &str) -> Result<Template, InputError> {
        of_word("template", word)
    }
}

fn of_word<'de, T: Deserialize<'de>>(what: &'static str, word: &'de str) -> Result<T, InputError> {
    let deserializer: StrDeserializer<'de, Error> = word.into_deserializer();
    T::deserialize(deserializer).map_err(|error| InputError::UnknownWord { what, found: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::WindowPreset;

    #[test]
    fn a_recipe_and_its_numbers_mean_the_same() {
        let shape_dhw = [3, 4, 5];
        for intensity in [
            Intensity::None,
            Intensity::Window(Window::Preset(WindowPreset::Lung)),
            Intensity::Percentile(PercentileRange { low: 0.5, high: 99.5 }),
        ] {
            for crop in [CtCrop::None, CtCrop::Foreground, CtCrop::AboveHu(-300.5)] {
                for spacing_mm in [None, Some([5.0, 0.75, 1.0])] {
                    let recipe = CtRecipe { shape_dhw, spacing_mm, intensity, crop };
                    let numbers = VolumeRecipe::from(&recipe);
                    let VolumeRecipe::Ct { spacing_mm, intensity, crop } = numbers else { panic!("a ct recipe") };
                    let back = ct_of(shape_dhw, spacing_mm, intensity, crop);
                    assert_eq!(VolumeRecipe::from(&back), numbers);
                    assert_eq!(
                        (back.shape_dhw, back.crop, back.spacing_mm),
                        (shape_dhw, recipe.crop, recipe.spacing_mm)
                    );
                }
            }
        }
        let lung = CtRecipe { intensity: Intensity::Window(Window::Preset(WindowPreset::Lung)), ..CtRecipe::default() };
        assert!(VolumeRecipe::from(&lung).to_string().contains("-1350 to 150 HU"));
    }

    #[test]
    fn words_are_those_of_configurations() {
        for template in [Template::Phi, Template::PretrainVision3d, Template::Phi3Chat, Template::M3d] {
            assert_eq!(serde_json::to_value(template).unwrap(), template.as_str());
            assert_eq!(Template::of_word(template.as_str()).unwrap(), template);
        }
        for deep in [DeepPictures::Clip, DeepPictures::Range] {
            assert_eq!(serde_json::to_value(deep).unwrap(), deep_pictures_word(deep));
            assert_eq!(of_word::<DeepPictures>("deep_pictures", deep_pictures_word(deep)).unwrap(), deep);
        }
        let error = Template::of_word("llama9").unwrap_err().to_string();
        assert!(error.contains("template") && error.contains("llama9") && error.contains("phi3_chat"), "{error}");
    }
}
