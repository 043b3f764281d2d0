//! The TOML file of `med2e3 train-clip`.

use std::path::PathBuf;

use med2e3_schemas::sample::Split;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CheckpointConfig, OptimizerConfig, check_positive, check_threads, is_default};
use crate::TrainerError;
use crate::augmentation::Augmentation;
use crate::device::DeviceChoice;
use crate::fit::expect;
use crate::model::{Initializer, M3dClipConfig};

/// `med2e3 train-clip`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainClipConfig {
    /// The run's name in reports.
    pub name: String,
    /// Seed of fresh weights, order and the choice of sentences.
    pub seed: u64,
    /// Where to run.
    pub device: DeviceChoice,
    /// CPU threads of one operation; 0 leaves libtorch's choice.
    pub threads: usize,
    /// What is fed.
    pub data: ClipDataConfig,
    /// What is trained, all of it.
    pub model: ClipModelConfig,
    /// What one step is.
    pub step: ClipStepConfig,
    /// How it is trained.
    pub optimizer: OptimizerConfig,
    /// When the validation loss is measured.
    pub validation: Option<ClipValidationConfig>,
    /// When checkpoints are written, and which stay.
    #[serde(default, skip_serializing_if = "is_default")]
    pub checkpoint: CheckpointConfig,
}

/// The captions of a dataset, each with its volume.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClipDataConfig {
    /// A prepared dataset.
    pub dataset: PathBuf,
    /// Part of the study.
    pub split: Split,
    /// A subset that `med2e3-data sample` stored; all captions without it.
    pub subset: Option<String>,
    /// BERT's `tokenizer.json`, or a folder with it.
    pub text_tokenizer: PathBuf,
    /// Tokens of a caption at most, the start and the end one included. Of a longer caption its first sentence is kept, then whole
    /// sentences, drawn anew at every step, that together fit.
    #[schemars(range(min = 3))]
    pub max_text_tokens: usize,
    /// Passes over the captions.
    #[schemars(range(min = 1))]
    pub epochs: u64,
    /// Stop after this many steps although epochs are left.
    #[schemars(range(min = 1))]
    pub max_steps: Option<u64>,
    /// Reader threads.
    #[schemars(range(min = 1))]
    pub readers: usize,
    /// Steps that are made ahead, by all readers together. Two more are in memory.
    #[schemars(range(min = 1))]
    pub depth: usize,
}

/// What is trained.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClipModelConfig {
    /// Where the weights come from.
    pub start: ClipStart,
    /// Published weights of the text encoder, such as bert-base-uncased's, in place of the start's: a folder, or a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_encoder: Option<PathBuf>,
}

/// Where the weights come from.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClipStart {
    /// Drawn from the run's seed.
    Fresh(Box<FreshClip>),
    /// M3D-CLIP: a run's folder (its last checkpoint), or a folder with `model.safetensors` and `config.json`.
    Checkpoint(PathBuf),
}

/// A fresh model.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FreshClip {
    /// First values of its weights.
    pub initializer: Initializer,
    /// Its sizes, those of the published M3D-CLIP where none are stated.
    #[serde(default = "M3dClipConfig::m3d_clip")]
    pub sizes: M3dClipConfig,
}

/// What one step is made of.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClipStepConfig {
    /// Pairs of one step, each compared with all others.
    #[schemars(range(min = 2))]
    pub batch: usize,
    /// Pairs that are read with a graph at once; the whole step where absent. It changes no result but for rounding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub micro_batch: Option<usize>,
    /// How volumes are changed in training.
    #[serde(default, skip_serializing_if = "is_default")]
    pub augmentation: Augmentation,
    /// The text encoder's dropout: 0.1 in the training of the published M3D-CLIP. 0 where absent.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(range(min = 0, max = 1))]
    pub text_encoder_dropout: f64,
    /// Steps in a row that may be left out since their gradients are not finite; with one more the run ends, after a checkpoint from
    /// which it goes on behind them. None where absent.
    #[serde(default, skip_serializing_if = "is_default")]
    pub max_skipped: usize,
}

/// When the validation loss is measured.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClipValidationConfig {
    /// Steps between measurements.
    #[schemars(range(min = 1))]
    pub every: u64,
    /// Pairs of one measurement, the first by id, all in one loss; that of a single pair is 0.
    #[schemars(range(min = 1))]
    pub pairs: usize,
}

impl TrainClipConfig {
    /// Checks the numbers.
    ///
    /// # Errors
    /// The first key whose value is out of range.
    pub(crate) fn check(&self) -> Result<(), TrainerError> {
        let ClipDataConfig { readers, depth, epochs, max_steps, .. } = self.data;
        let counts = [("data.readers", Some(readers)), ("data.depth", Some(depth))];
        let large = [("data.epochs", Some(epochs)), ("data.max_steps", max_steps)];
        let more = [("validation.every", self.validation.map(|v| v.every))];
        let large = large.into_iter().chain(more).map(|(key, count)| (key, count.map(|count| count as usize)));
        let counts = counts.into_iter().chain(large).chain([
            ("step.micro_batch", self.step.micro_batch),
            ("validation.pairs", self.validation.map(|v| v.pairs)),
        ]);
        check_positive(counts.filter_map(|(key, count)| Some((key, count?))))?;
        self.checkpoint.check()?;
        let expected = "2 or more, since pairs are compared with each other".into();
        expect("step.batch", self.step.batch >= 2, expected, self.step.batch.to_string())?;
        let dropout = self.step.text_encoder_dropout;
        let range = "0 to below 1".into();
        expect("step.text_encoder_dropout", (0.0..1.0).contains(&dropout), range, dropout.to_string())?;
        check_threads([("threads", self.threads), ("data.readers", readers)])?;
        self.optimizer.check()
    }
}
