//! The TOML file of `med2e3 ablate`.

use std::path::{Path, PathBuf};

use med2e3_schemas::sample::{Split, Task};
use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use super::{
    BertScoreConfig, CheckpointConfig, ComputeConfig, Controls, DataConfig, EvaluateConfig, MeteorConfig, ModelConfig,
    OptimizerConfig, OtherInputs, Start, StepConfig, TrainConfig, Turns, ValidationConfig, is_default,
};
use crate::TrainerError;
use crate::device::DeviceChoice;
use crate::fit::expect;
use crate::generate::Decoding;
use crate::model::LoraConfig;
use crate::trained_parts::TrainedParts;
use crate::words::words;

/// `med2e3 ablate`: both stages and the evaluation, as every row of the paper's Tables 3 to 5 has them.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AblateConfig {
    /// The row that the others are compared with.
    #[serde(default)]
    pub base: Base,
    /// Seeds of weights, order and dropout; every row is run with each of them.
    #[schemars(length(min = 1))]
    pub seeds: Vec<u64>,
    /// Whether stage 1 is trained once for all rows: each row its own where absent; with `true` the base row's is that of all, which the
    /// tables then say, and what a row has beyond the base row is drawn from the seed.
    #[serde(default)]
    pub share_pretrain: bool,
    /// Where to run.
    pub device: DeviceChoice,
    /// CPU threads of one operation; 0 leaves libtorch's choice.
    pub threads: usize,
    /// What stage 1 begins with: sizes of fresh weights, or a checkpoint whose encoders and language model each row takes, with connectors
    /// drawn from the seed. Its variant is the base row's; a row changes how slices count and which tokens there are, and keeps
    /// connectors, norms and length.
    pub start: Start,
    /// Stage 1.
    pub pretrain: StageConfig,
    /// Stage 2, which begins with what stage 1 ended with.
    pub finetune: StageConfig,
    /// The evaluation of what stage 2 ended with.
    pub evaluate: AblateEvaluateConfig,
}

words! {
    /// The row that the others are compared with: slices scored by the question, as one of two sources has it.
    #[derive(Default)]
    pub enum Base {
        /// As the paper's first version.
        #[default]
        Paper = "paper",
        /// As the released code; `text_3d` and `text_2d` are `released_3d` and `released_2d` then.
        Released = "released",
    }
}

/// One stage of training, as `med2e3 train` takes it; name, seed, device, threads and the start are the ablation's.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StageConfig {
    #[serde(default, skip_serializing)]
    #[schemars(skip)]
    name: SetByAblate,
    #[serde(default, skip_serializing)]
    #[schemars(skip)]
    seed: SetByAblate,
    #[serde(default, skip_serializing)]
    #[schemars(skip)]
    device: SetByAblate,
    #[serde(default, skip_serializing)]
    #[schemars(skip)]
    threads: SetByAblate,
    /// What is fed.
    pub data: DataConfig,
    /// What is trained.
    pub model: StageModel,
    /// What one step is. `text_encoder_dropout` is that of rows that have a text encoder.
    pub step: StepConfig,
    /// In which numbers, and how, it is computed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub compute: ComputeConfig,
    /// How it is trained.
    pub optimizer: OptimizerConfig,
    /// When the validation loss is measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<ValidationConfig>,
    /// When checkpoints are written, and which stay.
    #[serde(default, skip_serializing_if = "is_default")]
    pub checkpoint: CheckpointConfig,
}

/// What of a model a stage trains.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StageModel {
    #[serde(default, skip_serializing)]
    #[schemars(skip)]
    start: SetByAblate,
    /// What is trained, as `med2e3 train` takes it. A part that a row does not build is passed over.
    pub train: TrainedParts,
    /// Adapters to add to the language model, which are then trained instead of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraConfig>,
    /// The text encoder's `tokenizer.json`, for checkpoints that answer without a dataset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_tokenizer: Option<PathBuf>,
}

/// The evaluation, as `med2e3 evaluate` takes it; checkpoint, seed, device and threads are the ablation's.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AblateEvaluateConfig {
    #[serde(default, skip_serializing)]
    #[schemars(skip)]
    checkpoint: SetByAblate,
    #[serde(default, skip_serializing)]
    #[schemars(skip)]
    seed: SetByAblate,
    #[serde(default, skip_serializing)]
    #[schemars(skip)]
    device: SetByAblate,
    #[serde(default, skip_serializing)]
    #[schemars(skip)]
    threads: SetByAblate,
    /// A prepared dataset.
    pub dataset: PathBuf,
    /// Part of the study.
    pub split: Split,
    /// Kinds of pair.
    pub tasks: Vec<Task>,
    /// A stored subset; all samples without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subset: Option<String>,
    /// Prompts answered together.
    #[schemars(range(min = 1))]
    pub batch_size: usize,
    /// How an answer's tokens are chosen; greedy, as the paper, where absent.
    #[serde(default)]
    pub decoding: Decoding,
    /// Most tokens of an answer.
    #[schemars(range(min = 1))]
    pub max_new_tokens: usize,
    /// On how many samples of each task the answers are controlled; 2048 where absent.
    #[serde(default)]
    pub controls: Controls,
    /// With it METEOR is computed too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meteor: Option<MeteorConfig>,
    /// With it BERTScore is computed too, of captions and open answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bert_score: Option<BertScoreConfig>,
    /// Which turns of a conversation are asked.
    #[serde(default)]
    pub turns: Turns,
    /// What becomes of a dataset whose inputs are made in another way than those that the checkpoints learned from.
    #[serde(default)]
    pub other_inputs: OtherInputs,
}

/// A key of a stage's own configuration that no file of an ablation may state.
#[derive(Clone, Copy, Debug, Default)]
struct SetByAblate;

impl<'de> Deserialize<'de> for SetByAblate {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<SetByAblate, D::Error> {
        Err(D::Error::custom(
            "expected no such key here: ablate sets it for each row; `seeds`, `device`, `threads` and `start` are stated once, at the top",
        ))
    }
}

/// What a row's run sets in the configurations of its stages.
pub(crate) struct RowsOwn {
    /// The row and the seed, for reports.
    pub(crate) name: String,
    pub(crate) seed: u64,
    /// Whether the row has a text encoder, whose dropout is 0 where there is none.
    pub(crate) has_text_encoder: bool,
}

impl AblateConfig {
    /// Checks the numbers that are the same in each row.
    ///
    /// # Errors
    /// The first key whose value is out of range.
    pub(crate) fn check(&self) -> Result<(), TrainerError> {
        let distinct = self.seeds.iter().enumerate().all(|(at, seed)| !self.seeds[..at].contains(seed));
        let found = || self.seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        let found = || Some(found()).filter(|seeds| !seeds.is_empty()).unwrap_or_else(|| "none".into());
        expect("seeds", distinct && !self.seeds.is_empty(), "one or more, each once".into(), found())?;
        let own = RowsOwn { name: String::new(), seed: 0, has_text_encoder: true };
        for (key, stage) in [("pretrain", &self.pretrain), ("finetune", &self.finetune)] {
            let config = stage.of_row(self, &own, self.start.clone());
            config.check().map_err(|error| within(key, error))?;
        }
        self.evaluate.of_row(self, &own, Path::new("")).check().map_err(|error| within("evaluate", error))
    }
}

/// An error with the table that its key stands in; the start's stands at the top.
fn within(table: &str, error: TrainerError) -> TrainerError {
    match error {
        TrainerError::Config { key, expected, found } => {
            TrainerError::Config { key: format!("{table}.{key}"), expected, found }
        }
        other => other,
    }
}

impl StageConfig {
    /// The stage of a row's run.
    pub(crate) fn of_row(&self, all: &AblateConfig, own: &RowsOwn, start: Start) -> TrainConfig {
        // What a file can't state is named here to be known as read.
        let StageConfig {
            name: SetByAblate,
            seed: SetByAblate,
            device: SetByAblate,
            threads: SetByAblate,
            data,
            model,
            step,
            compute,
            ..
        } = self.clone();
        let text_encoder_dropout = if own.has_text_encoder { step.text_encoder_dropout } else { 0.0 };
        let step = StepConfig { text_encoder_dropout, ..step };
        let StageModel { start: SetByAblate, train, lora, text_tokenizer } = model;
        TrainConfig {
            name: own.name.clone(),
            seed: own.seed,
            device: all.device,
            threads: all.threads,
            data,
            model: ModelConfig { start, train, lora, text_tokenizer },
            step,
            compute,
            optimizer: self.optimizer,
            validation: self.validation,
            checkpoint: self.checkpoint.clone(),
        }
    }
}

impl AblateEvaluateConfig {
    /// The evaluation of a row's run.
    pub(crate) fn of_row(&self, all: &AblateConfig, own: &RowsOwn, checkpoint: &Path) -> EvaluateConfig {
        let AblateEvaluateConfig {
            checkpoint: SetByAblate,
            seed: SetByAblate,
            device: SetByAblate,
            threads: SetByAblate,
            ..
        } = self;
        EvaluateConfig {
            device: all.device,
            threads: all.threads,
            checkpoint: checkpoint.to_owned(),
            dataset: self.dataset.clone(),
            split: self.split,
            tasks: self.tasks.clone(),
            subset: self.subset.clone(),
            batch_size: self.batch_size,
            decoding: self.decoding,
            max_new_tokens: self.max_new_tokens,
            seed: own.seed,
            controls: self.controls,
            meteor: self.meteor.clone(),
            bert_score: self.bert_score.clone(),
            turns: self.turns,
            other_inputs: self.other_inputs,
        }
    }
}
