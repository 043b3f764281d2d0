//! What a person may type.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};

use crate::device::DeviceChoice;
use crate::generate::Decoding;
use crate::report::Places;

/// Trains, evaluates and explains the Med-2E3 model on prepared datasets.
#[derive(Debug, Parser)]
#[command(
    name = "med2e3",
    version,
    arg_required_else_help = true,
    after_help = "\
Exit codes: 0 fine, 2 failed.

A first run:
  cargo xtask demo                                   prepares, trains, evaluates and explains on a CPU
  med2e3 train configs/demo/pretrain.toml --set data.dataset=dataset --out run
  med2e3 generate --checkpoint run --volume ct.nii.gz --question \"Which plane is shown?\""
)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Train a model on a prepared dataset
    Train {
        #[command(flatten)]
        run: RunArgs,
        /// Go on from the last checkpoint of the run in --out
        #[arg(long)]
        resume: bool,
    },
    /// Answer a split's samples and score the answers
    Evaluate(RunArgs),
    /// Answer one question about one volume: a NIfTI file or a folder of slices
    Generate {
        /// A run's folder (its last checkpoint) or one checkpoint's folder
        #[arg(long)]
        checkpoint: PathBuf,
        /// A NIfTI file or a folder of PNG or JPEG slices
        #[arg(long)]
        volume: PathBuf,
        /// The question, without image tokens
        #[arg(long)]
        question: String,
        /// Longest answer
        #[arg(long, default_value_t = 256)]
        max_new_tokens: usize,
        #[command(flatten)]
        decoding: DecodingArgs,
        /// Where to run
        #[arg(long, value_enum, default_value = "auto")]
        device: DeviceChoice,
        /// Print the answer and one score a slice as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show which slices each question about a volume looks at
    Explain(RunArgs),
    /// Find captions by volume and volumes by caption with M3D-CLIP
    Retrieve(RunArgs),
    /// Join the reports of a demo's runs to one HTML page and one JSON file
    Report(Places),
}

/// A run: one configuration file, overrides, and where the results go.
#[derive(Debug, ClapArgs)]
pub(super) struct RunArgs {
    /// The run's TOML file
    pub(super) config: PathBuf,
    /// Override one value of the file, such as --set seed=2; may be given again
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
    /// Folder for the results
    #[arg(long)]
    pub(super) out: PathBuf,
    /// Print the report as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// How an answer's tokens are chosen: the most likely one without any of these.
#[derive(Debug, ClapArgs)]
pub(super) struct DecodingArgs {
    /// Draw tokens, the logits divided by this
    #[arg(long, conflicts_with = "beams")]
    temperature: Option<f64>,
    /// Draw only from the fewest tokens that hold this share of the probability
    #[arg(long, default_value_t = 1.0, requires = "temperature")]
    top_p: f64,
    /// Seed of the draws
    #[arg(long, default_value_t = 0, requires = "temperature")]
    seed: u64,
    /// Search with this many answers side by side
    #[arg(long)]
    beams: Option<usize>,
    /// Power of an answer's length that its log-probability is divided by
    #[arg(long, default_value_t = 1.0, requires = "beams")]
    length_penalty: f64,
}

impl DecodingArgs {
    pub(super) fn decoding(&self) -> Decoding {
        match (self.temperature, self.beams) {
            (Some(temperature), _) => Decoding::Sample { temperature, top_p: self.top_p, seed: self.seed },
            (None, Some(beams)) => Decoding::Beam { beams, length_penalty: self.length_penalty },
            (None, None) => Decoding::Greedy,
        }
    }
}
