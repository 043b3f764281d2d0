//! What the TOML file of a run may hold. One file is one complete run; an unknown key is an error.

mod ablate;
mod bert_score;
mod checkpoint;
mod clip;
mod compute;
mod explain;
mod order;
mod recompute;
mod step;

use std::path::PathBuf;

use med2e3_feed::{OnBadSample, Tail, TextForm};
use med2e3_metric::meteor::{Meteor, Release, WordNet};
use med2e3_program::machine::most_threads;
use med2e3_schemas::config::Moved;
use med2e3_schemas::sample::{Split, Task};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::TrainerError;
use crate::device::DeviceChoice;
use crate::fit::expect;
use crate::generate::Decoding;
use crate::model::{LoraConfig, Med2e3Config};
use crate::trained_parts::TrainedParts;
use crate::words::{Word, words};

pub(crate) use ablate::RowsOwn;
pub use ablate::{AblateConfig, AblateEvaluateConfig, Base, StageConfig, StageModel};
pub use bert_score::{Baseline, BertScoreConfig, KnownBaseline, StatedBaseline};
pub use checkpoint::CheckpointConfig;
pub use clip::{
    ClipDataConfig, ClipModelConfig, ClipStart, ClipStepConfig, ClipValidationConfig, FreshClip, TrainClipConfig,
};
pub use compute::{Algorithms, Attention, ComputeConfig, Matmul};
pub use explain::{AttentionLayer, Chosen, EXPLAIN_MOVED, ExplainConfig, Place};
pub use order::{BucketsConfig, DataOrder, MixChange, MixConfig};
pub(crate) use recompute::by_part;
pub use recompute::{PartPolicies, PartPolicy, RecomputeConfig};
pub use step::{MicroBatch, StepConfig, Within};

/// Slices of one picture at most.
pub(crate) const MOST_SLICES: usize = 1024;

/// Samples that are answered after a measurement at most: they are answered at once.
const MOST_ANSWERS: usize = 64;

/// `med2e3 train`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// The run's name in reports.
    pub name: String,
    /// Seed of fresh weights, order and dropout.
    pub seed: u64,
    /// Where to run.
    pub device: DeviceChoice,
    /// CPU threads of one operation; 0 leaves libtorch's choice.
    pub threads: usize,
    /// What is fed.
    pub data: DataConfig,
    /// What is trained.
    pub model: ModelConfig,
    /// What one step is.
    pub step: StepConfig,
    /// In which numbers, and how, it is computed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub compute: ComputeConfig,
    /// How it is trained.
    pub optimizer: OptimizerConfig,
    /// When the validation loss is measured.
    pub validation: Option<ValidationConfig>,
    /// When checkpoints are written, and which stay.
    #[serde(default, skip_serializing_if = "is_default")]
    pub checkpoint: CheckpointConfig,
}

/// Keys of `med2e3 train` and `med2e3 train-clip` that had other places in earlier versions.
pub const MOVED: [Moved; 2] = [("data.batch_size", "step.batch"), ("checkpoint_every", "checkpoint.every_steps")];

impl TrainConfig {
    /// Checks the numbers.
    ///
    /// # Errors
    /// The first key whose value is out of range.
    pub(crate) fn check(&self) -> Result<(), TrainerError> {
        let DataConfig { readers, depth, .. } = self.data;
        self.step.check()?;
        self.compute.check()?;
        self.checkpoint.check()?;
        let positive = [("data.readers", readers), ("data.depth", depth)];
        let counts = [("data.epochs", Some(self.data.epochs)), ("data.max_steps", self.data.max_steps)];
        let counts = counts.into_iter().filter_map(|(key, count)| Some((key, count? as usize)));
        let validation = self.validation.map(|v| {
            let batches = ("validation.batches", v.batches);
            [("validation.every", v.every as usize), batches, ("validation.answer_tokens", v.answer_tokens)]
        });
        check_positive(positive.into_iter().chain(counts).chain(validation.into_iter().flatten()))?;
        self.data.check_order(self.step.batch)?;
        if let Some(ValidationConfig { answers, .. }) = self.validation {
            expect(
                "validation.answers",
                answers <= MOST_ANSWERS,
                format!("at most {MOST_ANSWERS}"),
                answers.to_string(),
            )?;
        }
        check_tasks("data.tasks", &self.data.tasks)?;
        check_threads([("threads", self.threads), ("data.readers", readers)])?;
        self.optimizer.check()?;
        self.model.train.check(self.optimizer.learning_rate)?;
        if let Start::Fresh(sizes) = &self.model.start {
            sizes.completed().for_vocabulary(1).check()?;
        }
        Ok(())
    }
}

/// Every value above zero, or an error that names its key.
pub(crate) fn check_positive<'a>(values: impl IntoIterator<Item = (&'a str, usize)>) -> Result<(), TrainerError> {
    values.into_iter().try_for_each(|(key, value)| expect(key, value > 0, "1 or more".into(), "0".into()))
}

/// One task or more.
pub(crate) fn check_tasks(key: &str, tasks: &[Task]) -> Result<(), TrainerError> {
    let known = Task::ALL.iter().map(|task| task.as_str()).collect::<Vec<_>>().join(", ");
    expect(key, !tasks.is_empty(), format!("one or more of {known}"), "none".into())
}

/// Numbers of threads that the machine can serve.
pub(crate) fn check_threads<'a>(values: impl IntoIterator<Item = (&'a str, usize)>) -> Result<(), TrainerError> {
    let most = most_threads();
    let mut values = values.into_iter();
    values.try_for_each(|(key, value)| {
        expect(key, value <= most, format!("at most {most} on this machine"), value.to_string())
    })
}

/// What is fed.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// A prepared dataset.
    pub dataset: PathBuf,
    /// Part of the study.
    pub split: Split,
    /// Kinds of pair.
    pub tasks: Vec<Task>,
    /// A subset that `med2e3-data sample` stored; all samples without it.
    pub subset: Option<String>,
    /// Form of the text.
    #[schemars(schema_with = "schema_of_form")]
    pub form: TextForm,
    /// In which order samples come.
    #[serde(default, skip_serializing_if = "is_default")]
    pub order: DataOrder,
    /// What becomes of an epoch's last samples, which are too few for a step.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(schema_with = "order::schema_of_tail")]
    pub tail: Tail,
    /// Passes over the selection; of a mix, as many samples as such passes have.
    #[schemars(range(min = 1))]
    pub epochs: u64,
    /// Stop after this many steps although epochs are left.
    #[schemars(range(min = 1))]
    pub max_steps: Option<u64>,
    /// Reader threads.
    #[schemars(range(min = 1))]
    pub readers: usize,
    /// Micro-batches that are made ahead, by all readers together. Two more are in memory: the one that is computed and the next.
    #[schemars(range(min = 1))]
    pub depth: usize,
    /// What becomes of a sample of which a volume does not read as it was written.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(schema_with = "schema_of_bad")]
    pub on_bad_sample: OnBadSample,
    /// With `on_bad_sample = "skip"`: samples that the whole run may go without. At the next one it saves its last step and fails.
    #[serde(default, skip_serializing_if = "is_default")]
    pub max_bad: u64,
    /// What becomes of a dataset whose inputs are made in another way than those that the start's checkpoint learned from.
    #[serde(default, skip_serializing_if = "is_default")]
    pub other_inputs: OtherInputs,
}

/// By hand: the feed's crate knows nothing of configurations. A test reads each word back.
fn schema_of_bad(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "default": "fail", "oneOf": [
        { "const": "fail", "description": "The run saves its last step and fails." },
        { "const": "skip", "description": "Its step goes without it; feed-rejects.jsonl in the run's folder has a line for it." },
    ] })
}

fn schema_of_form(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "oneOf": [
        { "const": "conversation", "description": "Instruction and answer in the dataset's template; the answer is the target." },
        { "const": "pretrain", "description": "The volume and its caption alone, as in the first stage; every token is a target." },
        { "const": "prompt", "description": "The instruction alone; there is no target." },
    ] })
}

words! {
    /// What becomes of a dataset whose inputs are made in another way (recipe, window, template, tokenizer) than those that a
    /// checkpoint learned from.
    #[derive(Default)]
    pub enum OtherInputs {
        /// It is refused, and both ways are named.
        #[default]
        Refuse = "refuse",
        /// It is used, and both ways are named on standard error.
        Accept = "accept",
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What is trained.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Where the weights come from.
    pub start: Start,
    /// What is trained: a list of parts, or a table that states how each part and each piece of the language model is. What is
    /// not named stays as it is.
    pub train: TrainedParts,
    /// Adapters to add to the language model, which are then trained instead of it; none, or those of the start's
    /// checkpoint, where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraConfig>,
    /// The text encoder's `tokenizer.json`, for checkpoints that answer without a dataset; that of the start's checkpoint
    /// where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_tokenizer: Option<PathBuf>,
}

/// Where the weights come from.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// Drawn from the run's seed, for a model of these sizes.
    Fresh(Box<Med2e3Config>),
    /// The last checkpoint of another run, or one checkpoint's folder.
    Checkpoint(PathBuf),
}

/// AdamW under a cosine schedule with linear warm-up.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Peak learning rate.
    #[schemars(range(min = 0))]
    pub learning_rate: f64,
    /// Share of the steps that warm up.
    #[schemars(range(min = 0, max = 1))]
    pub warmup_ratio: f64,
    /// Decay of the first moment.
    #[schemars(range(min = 0, max = 1))]
    pub beta1: f64,
    /// Decay of the second moment.
    #[schemars(range(min = 0, max = 1))]
    pub beta2: f64,
    /// Added to the root of the second moment.
    #[schemars(range(min = 0))]
    pub eps: f64,
    /// Decoupled weight decay.
    #[schemars(range(min = 0))]
    pub weight_decay: f64,
    /// Inputs up to which a matrix learns at the full rate; one with more learns slower in proportion. Plain AdamW where absent.
    #[schemars(range(min = 1))]
    pub full_rate_inputs: Option<u32>,
    /// Largest norm of all gradients; none clips nothing, as the released configurations act.
    #[schemars(range(min = 0))]
    pub clip: Option<f64>,
}

impl OptimizerConfig {
    /// The ranges that torch's own optimizer and clipping take, without infinity.
    fn check(&self) -> Result<(), TrainerError> {
        let OptimizerConfig { learning_rate, warmup_ratio, beta1, beta2, eps, weight_decay, clip, .. } = *self;
        let from_zero = "a number, 0 or more";
        let numbers = [
            ("learning_rate", learning_rate, (0.0..f64::INFINITY).contains(&learning_rate), from_zero),
            ("warmup_ratio", warmup_ratio, (0.0..=1.0).contains(&warmup_ratio), "a share of the steps, 0 to 1"),
            ("beta1", beta1, (0.0..1.0).contains(&beta1), "0 to below 1"),
            ("beta2", beta2, (0.0..1.0).contains(&beta2), "0 to below 1"),
            ("eps", eps, (0.0..f64::INFINITY).contains(&eps), from_zero),
            ("weight_decay", weight_decay, (0.0..f64::INFINITY).contains(&weight_decay), from_zero),
        ];
        for (key, value, fits, expected) in numbers {
            expect(&format!("optimizer.{key}"), fits, expected.into(), value.to_string())?;
        }
        if let Some(clip) = clip {
            let expected = "a number above 0; without the key nothing is clipped".into();
            expect("optimizer.clip", clip > 0.0 && clip.is_finite(), expected, clip.to_string())?;
        }
        check_positive(self.full_rate_inputs.map(|inputs| ("optimizer.full_rate_inputs", inputs as usize)))
    }
}

/// When the validation loss is measured.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ValidationConfig {
    /// Steps between measurements.
    #[schemars(range(min = 1))]
    pub every: u64,
    /// Batches of one measurement, the same ones each time.
    #[schemars(range(min = 1))]
    pub batches: usize,
    /// Samples of the validation split that are answered after each measurement, the same ones each time, of each task in turn.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(range(max = MOST_ANSWERS))]
    pub answers: usize,
    /// Most tokens of such an answer.
    #[serde(default = "answer_tokens")]
    #[schemars(range(min = 1))]
    pub answer_tokens: usize,
}

fn answer_tokens() -> usize {
    64
}

/// `med2e3 evaluate`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EvaluateConfig {
    /// Where to run.
    pub device: DeviceChoice,
    /// CPU threads of one operation; 0 leaves libtorch's choice.
    pub threads: usize,
    /// A run's folder (its last checkpoint) or one checkpoint's folder.
    pub checkpoint: PathBuf,
    /// A prepared dataset.
    pub dataset: PathBuf,
    /// Part of the study.
    pub split: Split,
    /// Kinds of pair.
    pub tasks: Vec<Task>,
    /// A stored subset; all samples without it.
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
    /// Seed of what a scorer draws, for each sample by itself, and of the cases that are drawn for intervals.
    #[serde(default)]
    pub seed: u64,
    /// On how many samples of each task the answers are controlled: asked again about another volume, about none, with other letters.
    /// 2048 where absent.
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
    /// What becomes of a dataset whose inputs are made in another way than those that the checkpoint learned from.
    #[serde(default)]
    pub other_inputs: OtherInputs,
}

impl EvaluateConfig {
    /// Checks the numbers.
    ///
    /// # Errors
    /// The first key whose value is out of range.
    pub(crate) fn check(&self) -> Result<(), TrainerError> {
        check_positive([("batch_size", self.batch_size), ("max_new_tokens", self.max_new_tokens)])?;
        check_threads([("threads", self.threads)])?;
        check_tasks("tasks", &self.tasks)?;
        Ok(self.decoding.check()?)
    }
}

/// On how many samples an evaluation is controlled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged, expecting = "expected \"all\" or a number of samples of each task")]
pub enum Controls {
    /// At most so many of each task, drawn by the seed; 0 for none.
    Samples(usize),
    /// On all of them.
    Word(All),
}

words! {
    /// No bound.
    pub enum All {
        /// All of them.
        All = "all",
    }
}

impl Default for Controls {
    fn default() -> Controls {
        Controls::Samples(2048)
    }
}

impl Controls {
    /// Samples of each task at most.
    pub(crate) fn most(self) -> usize {
        match self {
            Controls::Samples(most) => most,
            Controls::Word(All::All) => usize::MAX,
        }
    }
}

/// METEOR.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MeteorConfig {
    /// A folder with the dictionary files of WordNet 3.0; `cargo xtask setup --wordnet` makes `.wordnet`.
    pub wordnet: PathBuf,
    /// The release of nltk that it equals.
    #[serde(default)]
    pub nltk: NltkRelease,
}

impl MeteorConfig {
    /// # Errors
    /// No WordNet 3.0 there.
    pub(crate) fn open(&self) -> Result<Meteor, TrainerError> {
        Ok(Meteor::new(WordNet::open(&self.wordnet)?, self.nltk.release()))
    }

    /// What it equals, for reports.
    pub(crate) fn in_words(&self) -> String {
        format!("nltk {}, WordNet 3.0", self.nltk.as_str())
    }
}

words! {
    /// A release of nltk.
    #[derive(Default)]
    pub enum NltkRelease {
        /// That of published tables.
        #[default]
        V3_8_1 = "3.8.1",
        /// Where dashes and curly quotes part words.
        V3_10 = "3.10",
    }
}

impl NltkRelease {
    fn release(self) -> Release {
        match self {
            NltkRelease::V3_8_1 => Release::V3_8_1,
            NltkRelease::V3_10 => Release::V3_10,
        }
    }
}

words! {
    /// Which turns of a conversation are asked.
    #[derive(Default)]
    pub enum Turns {
        /// The first one.
        #[default]
        First = "first",
        /// Each, after the turns before it with their stated answers.
        Every = "every",
    }
}

/// `med2e3 retrieve`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetrieveConfig {
    /// Where to run.
    pub device: DeviceChoice,
    /// CPU threads of one operation; 0 leaves libtorch's choice.
    pub threads: usize,
    /// M3D-CLIP: a folder with `model.safetensors` and `config.json`, or the weights' file with a `config.json` next to it.
    pub clip: PathBuf,
    /// BERT's `tokenizer.json`, or a folder with it.
    pub text_tokenizer: PathBuf,
    /// A prepared dataset.
    pub dataset: PathBuf,
    /// Part of the study.
    pub split: Split,
    /// A stored subset; all captions without it.
    pub subset: Option<String>,
    /// Pairs encoded together.
    #[schemars(range(min = 1))]
    pub batch_size: usize,
    /// Tokens, the start and the end one included, that a caption is cut to; 512 in M3D's evaluation, which instead fills them
    /// with whole sentences of a longer caption drawn at random.
    pub max_text_tokens: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    use med2e3_schemas::config::parse;

    fn text(name: &str) -> String {
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs").join(name)).unwrap()
    }

    #[test]
    fn every_configuration_of_the_project_parses() {
        for name in ["demo/pretrain.toml", "demo/finetune.toml"] {
            let config: TrainConfig = parse(name, &text(name), &[]).unwrap();
            let written = toml::to_string(&config).unwrap();
            parse::<TrainConfig>("written", &written, &[]).unwrap();
        }
        parse::<EvaluateConfig>("evaluate", &text("demo/evaluate.toml"), &[]).unwrap();
        parse::<ExplainConfig>("explain", &text("demo/explain.toml"), &[]).unwrap();
        parse::<RetrieveConfig>("retrieve", &text("retrieve/m3d.toml"), &[]).unwrap();
    }

    #[test]
    fn an_unknown_key_deep_in_the_model_names_the_nearest() {
        let wrong = text("demo/pretrain.toml").replace("score_dropout", "scores_dropout");
        let message = parse::<TrainConfig>("pretrain.toml", &wrong, &[]).unwrap_err().to_string();
        assert!(message.contains("did you mean `score_dropout`?"), "{message}");
    }
}
