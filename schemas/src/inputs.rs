//! How a model's inputs are made from volumes and texts: what a dataset states of its rows, and what a checkpoint that
//! learned from them keeps, so that a single question is prepared as they were.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::volume::{HounsfieldScale, VoxelFormat};

/// How the inputs of a dataset, or of the model that learned from it, are made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inputs {
    /// From a CT to voxels.
    pub volume: VolumeInputs,
    /// From a conversation to ids; `None` where there are no texts.
    pub text: Option<TextInputs>,
}

/// From a CT to voxels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VolumeInputs {
    /// What is done to its values and its grid.
    pub recipe: VolumeRecipe,
    /// Shape and code of the voxels.
    pub voxels: VoxelFormat,
    /// What became of slices of 16-bit grey, as the word of the preparation's configuration.
    pub deep_pictures: String,
}

impl VolumeInputs {
    /// The one scale that gives the Hounsfield units of every volume, where there is one: not of percentiles, which are lost,
    /// nor of M3D's recipe, where `value_min` and `value_max` of a row are its scale.
    pub fn hounsfield(&self) -> Option<HounsfieldScale> {
        let VolumeRecipe::Ct { intensity, .. } = &self.recipe else { return None };
        match *intensity {
            IntensityNumbers::None => Some(HounsfieldScale::of_values(&self.voxels)),
            IntensityNumbers::Window { center, width } => {
                let (center, half) = (f64::from(center), f64::from(width) / 2.0);
                Some(HounsfieldScale::of_window(self.voxels.code, center - half, center + half))
            }
            IntensityNumbers::Percentile { .. } => None,
        }
    }
}

/// A preparation of volumes with every number that decides a voxel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VolumeRecipe {
    /// M3D's: the volume's smallest and largest value become 0 and 1, the box above the smallest is stretched to the shape.
    M3d,
    /// Of CTs in Hounsfield units.
    Ct {
        /// Spacing along D, H and W in mm; the box is stretched to the shape where there is none.
        spacing_mm: Option<[f32; 3]>,
        /// From values to voxels.
        intensity: IntensityNumbers,
        /// The box that is kept.
        crop: CropNumbers,
    },
}

/// From values to voxels.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntensityNumbers {
    /// Hounsfield units as they are.
    None,
    /// A window in HU becomes 0..1.
    Window {
        /// Its middle.
        center: f32,
        /// From its lower to its upper end.
        width: f32,
    },
    /// The values at two percentiles of the volume become 0 and 1.
    Percentile {
        /// The lower one.
        low: f64,
        /// The upper one.
        high: f64,
    },
}

/// The box that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CropNumbers {
    /// All voxels.
    None,
    /// The box of the body.
    Foreground,
    /// The box of all voxels above a threshold in HU.
    AboveHu(f32),
}

/// From a conversation to ids.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TextInputs {
    /// The template, as the word of the preparation's configuration.
    pub template: String,
    /// Identity of the language model's tokenizer: xxh3 (64 bit) of its JSON as the library writes it, as hex.
    pub tokenizer: String,
    /// Identity of the text encoder's tokenizer, in which questions are stored too; `None` where they are in the language
    /// model's alone.
    pub question_tokenizer: Option<String>,
    /// Id that begins a text; `None` where the tokenizer adds none.
    pub start_token: Option<i32>,
    /// Id that ends an answer.
    pub end_token: Option<i32>,
    /// Instructions that captions were asked for with. Some templates lay them out another way than questions.
    pub caption_prompts: Vec<String>,
}

/// One thing in which two ways of making inputs differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What differs: `recipe`, `deep_pictures`, `template`, `tokenizer` or `question_tokenizer`.
    pub key: &'static str,
    /// What the first states.
    pub expected: String,
    /// What the second states.
    pub found: String,
}

impl Inputs {
    /// In what inputs made as `other` states differ from these: the values of a voxel, the ids of a text. Shapes and codes
    /// are not compared: a model's sizes fix the shape, and a code rounds the same values.
    pub fn differences(&self, other: &Inputs) -> Vec<Difference> {
        let mut found = Vec::new();
        let mut compare = |key, expected: String, other: String| {
            if expected != other {
                found.push(Difference { key, expected, found: other });
            }
        };
        compare("recipe", self.volume.recipe.to_string(), other.volume.recipe.to_string());
        compare("deep_pictures", self.volume.deep_pictures.clone(), other.volume.deep_pictures.clone());
        if let (Some(text), Some(other)) = (&self.text, &other.text) {
            compare("template", text.template.clone(), other.template.clone());
            compare("tokenizer", text.tokenizer_words(), other.tokenizer_words());
            if let (Some(own), Some(other)) = (&text.question_tokenizer, &other.question_tokenizer) {
                compare("question_tokenizer", own.clone(), other.clone());
            }
        }
        found
    }
}

impl TextInputs {
    fn tokenizer_words(&self) -> String {
        let id = |id: Option<i32>| id.map_or("none".to_owned(), |id| id.to_string());
        format!("{} (start token {}, end token {})", self.tokenizer, id(self.start_token), id(self.end_token))
    }
}

/// Every number, for messages; equal texts mean equal recipes.
impl fmt::Display for VolumeRecipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let VolumeRecipe::Ct { spacing_mm, intensity, crop } = self else {
            return f.write_str("m3d");
        };
        match intensity {
            IntensityNumbers::None => f.write_str("ct with intensity none"),
            IntensityNumbers::Window { center, width } => {
                let (low, high) = (center - width / 2.0, center + width / 2.0);
                write!(f, "ct with window center {center}, width {width} ({low} to {high} HU)")
            }
            IntensityNumbers::Percentile { low, high } => write!(f, "ct with intensity percentiles {low} to {high}"),
        }?;
        match crop {
            CropNumbers::None => f.write_str(", crop none"),
            CropNumbers::Foreground => f.write_str(", crop foreground"),
            CropNumbers::AboveHu(hu) => write!(f, ", crop above {hu} HU"),
        }?;
        match spacing_mm {
            None => f.write_str(", no spacing"),
            Some([d, h, w]) => write!(f, ", spacing {d} x {h} x {w} mm"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::VoxelCode;

    fn inputs(recipe: VolumeRecipe) -> Inputs {
        Inputs {
            volume: VolumeInputs {
                recipe,
                voxels: VoxelFormat::unit_range([1, 2, 2], VoxelCode::U8),
                deep_pictures: "clip".into(),
            },
            text: Some(TextInputs {
                template: "phi".into(),
                tokenizer: "00".into(),
                question_tokenizer: None,
                start_token: None,
                end_token: Some(2),
                caption_prompts: vec!["Describe.".into()],
            }),
        }
    }

    fn ct(intensity: IntensityNumbers, crop: CropNumbers, spacing_mm: Option<[f32; 3]>) -> VolumeRecipe {
        VolumeRecipe::Ct { spacing_mm, intensity, crop }
    }

    #[test]
    fn every_number_of_a_recipe_counts() {
        let window = |center, width| IntensityNumbers::Window { center, width };
        let recipes = [
            VolumeRecipe::M3d,
            ct(IntensityNumbers::None, CropNumbers::None, None),
            ct(window(0.0, 2000.0), CropNumbers::None, None),
            ct(window(1e-6, 2000.0), CropNumbers::None, None),
            ct(window(0.0, 2000.5), CropNumbers::None, None),
            ct(window(0.0, 2000.0), CropNumbers::Foreground, None),
            ct(window(0.0, 2000.0), CropNumbers::AboveHu(-500.0), None),
            ct(window(0.0, 2000.0), CropNumbers::AboveHu(-500.5), None),
            ct(window(0.0, 2000.0), CropNumbers::None, Some([5.0, 1.0, 1.0])),
            ct(window(0.0, 2000.0), CropNumbers::None, Some([5.0, 1.0, 1.25])),
            ct(IntensityNumbers::Percentile { low: 0.5, high: 99.5 }, CropNumbers::None, None),
            ct(IntensityNumbers::Percentile { low: 0.5, high: 99.0 }, CropNumbers::None, None),
        ];
        for (i, a) in recipes.iter().enumerate() {
            for (j, b) in recipes.iter().enumerate() {
                let found = inputs(a.clone()).differences(&inputs(b.clone()));
                assert_eq!(found.is_empty(), i == j, "{a} and {b}");
                assert!(found.iter().all(|difference| difference.key == "recipe"));
            }
            let text = serde_json::to_string(&inputs(a.clone())).unwrap();
            assert_eq!(serde_json::from_str::<Inputs>(&text).unwrap(), inputs(a.clone()));
        }
    }

    #[test]
    fn only_hounsfield_units_and_windows_have_one_scale() {
        let of = |recipe| inputs(recipe).volume.hounsfield().map(|scale| (scale.scale, scale.offset));
        let window = IntensityNumbers::Window { center: 40.0, width: 510.0 };
        assert_eq!(of(ct(window, CropNumbers::None, None)), Some((2.0, -215.0)));
        let mut values = inputs(ct(IntensityNumbers::None, CropNumbers::None, None)).volume;
        values.voxels = VoxelFormat::hounsfield([1, 2, 2], VoxelCode::I16);
        assert_eq!(values.hounsfield().map(|scale| (scale.scale, scale.offset)), Some((0.5, -4096.0)));
        let percentiles = IntensityNumbers::Percentile { low: 1.0, high: 99.0 };
        assert_eq!((of(VolumeRecipe::M3d), of(ct(percentiles, CropNumbers::None, None))), (None, None));
    }

    #[test]
    fn template_and_tokenizer_count_and_codes_do_not() {
        let own = inputs(VolumeRecipe::M3d);
        let changed = |change: &dyn Fn(&mut Inputs)| {
            let mut other = own.clone();
            change(&mut other);
            own.differences(&other).into_iter().map(|difference| difference.key).collect::<Vec<_>>()
        };
        let text = |inputs: &mut Inputs, change: &dyn Fn(&mut TextInputs)| inputs.text.as_mut().map(change).unwrap();
        assert_eq!(changed(&|other| text(other, &|text| text.template = "m3d".into())), ["template"]);
        assert_eq!(changed(&|other| text(other, &|text| text.tokenizer = "01".into())), ["tokenizer"]);
        assert_eq!(changed(&|other| text(other, &|text| text.start_token = Some(1))), ["tokenizer"]);
        assert_eq!(changed(&|other| other.volume.deep_pictures = "range".into()), ["deep_pictures"]);
        assert!(changed(&|other| other.volume.voxels = VoxelFormat::unit_range([1, 2, 2], VoxelCode::I16)).is_empty());
        assert!(changed(&|other| text(other, &|text| text.caption_prompts.clear())).is_empty());
        assert!(changed(&|other| other.text = None).is_empty());
    }
}
