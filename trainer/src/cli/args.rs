//! The arguments of the command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgGroup, Args as ClapArgs, Parser, Subcommand};
use med2e3_program::{CompletionsArgs, ConfigArgs, ManArgs, RunArgs, WorkPart};

use med2e3_schemas::sample::{Split, Task};

use super::explain::ExplainArgs;
use super::words::{Devices, words};
use crate::config::{NltkRelease, OtherInputs};
use crate::device::DeviceChoice;
use crate::files::checkpoint::Tokenizers;
use crate::generate::Decoding;
use crate::machine::bytes_of;
use crate::model::weights::TextProjection;
use crate::model::{Part, Preset};
use crate::precision::Precision;
use crate::predictions::{Format, Written};
use crate::verb::bench::sizes::{Policy, Sizes, Stage, Tune};
use crate::verb::compare::System;
use crate::verb::score::imported::Imported;
use crate::verb::verify::DEFAULT_TOLERANCE;

/// Trains, evaluates and explains the Med-2E3 model on prepared datasets.
#[derive(Debug, Parser)]
#[command(
    name = "med2e3",
    version,
    arg_required_else_help = true,
    after_help = "\
Exit codes: 0 fine, 1 verify or bench check found a difference or a run of ablate is open, 2 failed.

A first run:
  cargo xtask demo                                   prepares, trains, evaluates and explains on a CPU
  med2e3 train configs/demo/pretrain.toml --set data.dataset=dataset --out run
  med2e3 generate --checkpoint run --volume ct.nii.gz --question \"Which plane is shown?\""
)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) verb: Verb,
}

impl Verb {
    /// What helps where there is no memory for a tensor.
    pub(super) fn memory_hint(&self) -> &'static str {
        match self {
            Verb::Train { .. } => {
                "step.recompute = \"auto\" and step.micro_batch = \"auto\", or adapters in place of all weights"
            }
            Verb::TrainClip { .. } => "a smaller step.micro_batch",
            Verb::Evaluate(_) => "a smaller batch_size, a smaller max_new_tokens, or a smaller model",
            Verb::Retrieve(_) => "a smaller batch_size, or a smaller model",
            Verb::Explain(_) | Verb::Generate { .. } | Verb::Serve(_) => "a smaller max_new_tokens, or a smaller model",
            _ => "a smaller model, or a device with more memory",
        }
    }
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
        /// Record this step with libtorch's profiler into trace-step-N.json of --out, for chrome://tracing and Perfetto
        #[arg(long, value_name = "N")]
        trace: Option<u64>,
        /// Rates of the device, as `bench parts --json` writes them, by which utilization is stated
        #[arg(long, value_name = "FILE")]
        profile: Option<PathBuf>,
        /// Give the run's numbers to Prometheus at http://ADDRESS/metrics while it goes on, such as 127.0.0.1:9464; port 0 takes a free one. An
        /// address that other machines reach needs --metrics-token-file
        #[arg(long, value_name = "ADDRESS")]
        metrics: Option<SocketAddr>,
        /// A file with a token of 16 characters or more, which Prometheus must send as bearer
        #[arg(long, value_name = "FILE", requires = "metrics")]
        metrics_token_file: Option<PathBuf>,
    },
    /// Train M3D-CLIP on a prepared dataset's volumes and captions
    TrainClip {
        #[command(flatten)]
        run: RunArgs,
        /// Go on from the last checkpoint of the run in --out
        #[arg(long)]
        resume: bool,
    },
    /// Say what a run will cost: weights, texts, memory, time, checkpoints
    Plan {
        /// The run's TOML file, as train takes it
        config: PathBuf,
        /// Override one value of the file, such as --set step.batch=64; may be given again
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
        /// Rates of the device, as `bench parts --json` writes them; estimates without it
        #[arg(long)]
        profile: Option<PathBuf>,
        /// Plan for a GPU on which tensors may take so much, such as 80GB (10^9 bytes) or 75GiB (2^30 bytes)
        #[arg(long, value_name = "SIZE", value_parser = bytes_of)]
        gpu_memory: Option<u64>,
        /// The folder that the run would write to, whose disk is looked at; the current one without it
        #[arg(long)]
        out: Option<PathBuf>,
        /// Print the numbers as JSON
        #[arg(long)]
        json: bool,
    },
    /// List the trainings below a folder: how far each is, and whether it runs
    Runs {
        /// The folder; runs are looked for down to three folders below it
        folder: PathBuf,
        /// Print the runs as JSON
        #[arg(long)]
        json: bool,
    },
    /// Answer a split's samples and score the answers
    Evaluate(RunArgs),
    /// Compare evaluations of the same samples: differences with intervals and tests over cases, and the paper's tables
    ///
    /// Writes compare.json, compare.md, and table1 (captions) and table2 (questions) as .md and .tex into --out. Each system is compared with
    /// the baseline. A run is a system of its own; several seeds are one system by --system NAME=RUN,RUN.
    Compare {
        /// Folders of evaluate, or of any other program that writes a report.json of its kind
        #[arg(value_name = "RUN")]
        runs: Vec<PathBuf>,
        /// A system by name with the runs of its seeds, such as --system ours=seed1,seed2; may be given again
        #[arg(long, value_name = "NAME=RUN,RUN")]
        system: Vec<System>,
        /// The system that the others are compared with: a name of --system, or a RUN as it is given; the first one without it
        #[arg(long, value_name = "SYSTEM")]
        baseline: Option<String>,
        /// Take one system too, for its tables alone
        #[arg(long)]
        tables: bool,
        /// Decides which cases are drawn for intervals
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// Folder for the results, new or empty
        #[arg(long)]
        out: PathBuf,
        /// Print the comparison as JSON
        #[arg(long)]
        json: bool,
    },
    /// Train, evaluate and compare the rows of the paper's ablations, tables 3 to 5
    ///
    /// Each of 11 presets goes through both stages and the evaluation with each seed, in OUT/ROW/seed-S. After each run ablate.json, ablate.md
    /// and table3 to table5 as .md and .tex are written; rows that are not run have a dash. The same command goes on where it was
    /// stopped.
    Ablate {
        #[command(flatten)]
        run: RunArgs,
        /// Work at the I-th of N parts of the runs, while other processes work at theirs
        #[arg(long, value_name = "I/N", default_value = "1/1")]
        part: WorkPart,
        /// Say what all of it will cost, hours of training and bytes of checkpoints, and write nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Score predictions that other programs wrote, or any pairs of texts
    Score(ScoreArgs),
    /// Answer one question about one volume: a NIfTI file or a folder of slices
    #[command(allow_negative_numbers = true)]
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
        /// Maximum new tokens of the answer
        #[arg(long, default_value_t = 256)]
        max_new_tokens: usize,
        #[command(flatten)]
        decoding: DecodingArgs,
        /// Where to run
        #[arg(long, value_parser = Devices, default_value = "auto")]
        device: DeviceChoice,
        /// Print the answer, one score a slice, and where each slice is in the source, as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show which slices each question about a volume looks at
    ///
    /// With a configuration: questions of a dataset. With --question: one question about one volume on disk, drawn into --picture.
    Explain(ExplainArgs),
    /// Serve a page on this machine on which one asks about volumes of a dataset, or about a NIfTI file dropped onto it
    Serve(ServeArgs),
    /// Find captions by volume and volumes by caption with M3D-CLIP
    Retrieve(RunArgs),
    /// Turn published weights into a checkpoint: the released Med-2E3, or Phi-3, SigLIP and M3D-CLIP apart
    #[command(allow_negative_numbers = true)]
    Import(ImportArgs),
    /// Write a checkpoint's model for transformers: adapters merged, no training state
    Export {
        /// A run's folder (its last checkpoint) or one checkpoint's folder
        #[arg(long)]
        checkpoint: PathBuf,
        /// What the weights are stored in
        #[arg(long, value_parser = words::<Precision>(), default_value = "f32")]
        precision: Precision,
        /// The folder to write, new or empty
        #[arg(long)]
        out: PathBuf,
    },
    /// Compare a checkpoint with tensors that a reference implementation wrote
    #[command(allow_negative_numbers = true)]
    Verify {
        /// A checkpoint's folder, or one in the released layout
        #[arg(long)]
        checkpoint: PathBuf,
        /// A safetensors file with input.* and expect.* tensors
        #[arg(long)]
        reference: PathBuf,
        /// What joins the parts, where the folder does not say
        #[arg(long, value_parser = words::<Preset>())]
        variant: Option<Preset>,
        /// What the model computes in
        #[arg(long, value_parser = words::<Precision>(), default_value = "f32")]
        precision: Precision,
        /// Largest difference, of a tensor's largest value or of 1 where that is less
        #[arg(long, default_value_t = DEFAULT_TOLERANCE)]
        tolerance: f64,
        /// Where to run
        #[arg(long, value_parser = Devices, default_value = "auto")]
        device: DeviceChoice,
        /// Print the comparisons as JSON
        #[arg(long)]
        json: bool,
    },
    /// Measure a training step on made-up texts and volumes, check a device against the CPU, measure its parts
    #[command(subcommand)]
    Bench(Bench),
    /// Show runs on one HTML page: datasets, trainings that go on or have ended, evaluations, explanations, retrieval
    ///
    /// Next to the page, with .json, are its numbers, and with .svg a figure of one explained volume, where a run explained an open
    /// question. A training that goes on may be followed: with --every 30 the page is written again and reloads itself.
    Report {
        /// Folders of demo-set, prepare, train, train-clip, evaluate, score, explain and retrieve
        #[arg(required = true, value_name = "RUN")]
        runs: Vec<PathBuf>,
        /// The page to write
        #[arg(long)]
        out: PathBuf,
        /// Write it again after so many seconds, as long as a training goes on
        #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
        every: Option<u64>,
    },
    /// Print a script by which a shell completes verbs, options and words
    ///
    /// For bash: med2e3 completions bash > ~/.local/share/bash-completion/completions/med2e3
    Completions(CompletionsArgs),
    /// Print the manual page of the program or of a verb, or write all pages into a folder
    ///
    /// med2e3 man | man -l -   shows it.
    Man(ManArgs),
    /// Say what the TOML files of the verbs may hold: as a JSON schema, or as a page
    Config(ConfigArgs),
}

/// What is measured.
#[derive(Debug, Subcommand)]
pub(super) enum Bench {
    /// Texts of a second, memory and utilization of a whole step
    Step(BenchStepArgs),
    /// Compare a device with the CPU: losses, gradients, steps, each recomputation, an interrupted run
    Check {
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Attention, products and copies of the model's shapes alone: the rates that plan takes
    Parts {
        /// Whose shapes
        #[arg(long, value_parser = words::<Sizes>(), default_value = "published")]
        sizes: Sizes,
        /// What is computed in
        #[arg(long, value_parser = words::<Precision>(), default_value = "bf16")]
        precision: Precision,
        #[command(flatten)]
        place: PlaceArgs,
    },
}

/// Where it runs, and where the numbers go.
#[derive(Debug, ClapArgs)]
pub(super) struct PlaceArgs {
    /// Where to run
    #[arg(long, value_parser = Devices, default_value = "auto")]
    pub(super) device: DeviceChoice,
    /// CPU threads of one operation; 0 leaves libtorch's choice
    #[arg(long, default_value_t = 0)]
    pub(super) threads: usize,
    /// Write the numbers to this file as JSON
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
}

/// A step that is measured.
#[derive(Debug, ClapArgs)]
pub(super) struct BenchStepArgs {
    /// The model
    #[arg(long, value_parser = words::<Sizes>(), default_value = "tiny")]
    pub(super) sizes: Sizes,
    /// Which parts learn
    #[arg(long, value_parser = words::<Stage>(), default_value = "2")]
    pub(super) stage: Stage,
    /// How the language model learns in stage 2
    #[arg(long, value_parser = words::<Tune>(), default_value = "full")]
    pub(super) tune: Tune,
    /// Texts of one optimizer step
    #[arg(long, default_value_t = 16)]
    pub(super) texts: usize,
    /// Texts that share a volume
    #[arg(long, default_value_t = 1)]
    pub(super) texts_per_volume: usize,
    /// What is computed again in the backward pass
    #[arg(long, value_parser = words::<Policy>(), default_value = "auto")]
    pub(super) policy: Policy,
    /// Steps that are measured
    #[arg(long, default_value_t = 4)]
    pub(super) steps: usize,
    /// Steps before them
    #[arg(long, default_value_t = 2)]
    pub(super) warmup: usize,
    /// What the model computes in
    #[arg(long, value_parser = words::<Precision>(), default_value = "bf16")]
    pub(super) precision: Precision,
    /// Rates of the device, as `bench parts --json` writes them; estimates without it
    #[arg(long, value_name = "FILE")]
    pub(super) profile: Option<PathBuf>,
    /// Record one more step and write its trace to this file
    #[arg(long, value_name = "FILE")]
    pub(super) trace: Option<PathBuf>,
    #[command(flatten)]
    pub(super) place: PlaceArgs,
}

/// What is served, and to whom.
#[derive(Debug, ClapArgs)]
pub(super) struct ServeArgs {
    /// A run's folder (its last checkpoint) or one checkpoint's folder
    #[arg(long)]
    pub(super) checkpoint: PathBuf,
    /// The dataset whose volumes can be asked about; dropped files alone without it
    #[arg(long)]
    pub(super) dataset: Option<PathBuf>,
    /// Where the server listens; port 0 takes a free one. An address that other machines reach needs --token-file
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub(super) address: SocketAddr,
    /// A file with a token of 16 characters or more, which the page's address must have (?token=..)
    #[arg(long, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
    /// MiB of a dropped file at most
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u64).range(1..=16384))]
    pub(super) most_mib: u64,
    /// Tokens of an answer at most
    #[arg(long, default_value_t = 256)]
    pub(super) max_new_tokens: usize,
    /// What becomes of a dataset whose inputs were made in another way than the checkpoint's
    #[arg(long, value_parser = words::<OtherInputs>(), default_value = "refuse")]
    pub(super) other_inputs: OtherInputs,
    /// Where to run
    #[arg(long, value_parser = Devices, default_value = "auto")]
    pub(super) device: DeviceChoice,
    /// CPU threads of one operation; 0 leaves libtorch's choice
    #[arg(long, default_value_t = 0)]
    pub(super) threads: usize,
}

/// What is scored: pairs of texts, or predictions beside a dataset.
#[derive(Debug, ClapArgs)]
#[command(group = ArgGroup::new("what").required(true).args(["pairs", "predictions"]))]
pub(super) struct ScoreArgs {
    /// JSON lines of any pairs: id, prediction, reference
    #[arg(long, value_name = "FILE")]
    pub(super) pairs: Option<PathBuf>,
    /// Files of one program, such as M3D's one a task
    #[arg(long, value_name = "FILE", num_args = 1.., requires_all = ["format", "dataset"])]
    pub(super) predictions: Vec<PathBuf>,
    /// Whose program wrote the predictions
    #[arg(long, value_parser = words::<Format>(), requires = "predictions")]
    pub(super) format: Option<Format>,
    /// The dataset that has what is expected of each sample
    #[arg(long, requires = "predictions")]
    pub(super) dataset: Option<PathBuf>,
    /// Part of the study
    #[arg(long, value_parser = listed(Split::ALL, Split::as_str), default_value = "test")]
    pub(super) split: Split,
    /// Kinds of pair; those that the files are about without it
    #[arg(long, value_delimiter = ',', value_parser = listed(Task::ALL, Task::as_str), requires = "predictions")]
    pub(super) tasks: Vec<Task>,
    /// Score what is there although samples have no prediction
    #[arg(long, requires = "predictions")]
    pub(super) partial: bool,
    /// Scores of these predictions that another program computed, such as --scores green=green.csv: CSV, JSON or JSON lines with id
    /// (of a sample) and value; may be given again
    #[arg(long, value_name = "NAME=FILE", requires = "predictions")]
    pub(super) scores: Vec<Imported>,
    /// Write answers and scores as another program's scripts do, too
    #[arg(long, value_parser = words::<Written>(), requires = "predictions")]
    pub(super) write: Option<Written>,
    /// Seed of the cases that are drawn for intervals
    #[arg(long, default_value_t = 0)]
    pub(super) seed: u64,
    /// Compare stems in ROUGE, as rouge_score with use_stemmer; published evaluations of reports do not
    #[arg(long, requires = "pairs")]
    pub(super) stemmed: bool,
    /// The folder of WordNet 3.0, such as /usr/share/wordnet; METEOR is not computed without it
    #[arg(long, value_name = "FOLDER")]
    pub(super) wordnet: Option<PathBuf>,
    /// The release of NLTK whose METEOR is computed
    #[arg(long, value_name = "RELEASE", value_parser = words::<NltkRelease>(), default_value = "3.8.1")]
    pub(super) nltk: NltkRelease,
    /// Of pairs the file for their scores, a JSON line each; of predictions the folder for the results
    #[arg(long)]
    pub(super) out: PathBuf,
    /// Print the report as JSON; of pairs the means
    #[arg(long)]
    pub(super) json: bool,
}

/// The parser of values with a name each.
fn listed<T: Copy + Send + Sync + 'static>(
    all: &'static [T],
    name: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(all.iter().map(|value| name(*value)))
        .map(move |word| all.iter().copied().find(|value| name(*value) == word).expect("one of the listed words"))
}

/// What is imported, and from where.
#[derive(Debug, ClapArgs)]
pub(super) struct ImportArgs {
    /// A folder in the released layout: llm/, vision2d_model/, vision2d_connector/, vision3d_model/, vision3d_connector/
    #[arg(long)]
    pub(super) released: Option<PathBuf>,
    /// Phi-3, Llama, Mistral or Qwen2: a folder with weights and config.json
    #[arg(long)]
    llm: Option<PathBuf>,
    /// SigLIP: the same
    #[arg(long)]
    vision2d: Option<PathBuf>,
    /// M3D-CLIP: the same
    #[arg(long)]
    vision3d: Option<PathBuf>,
    /// The 2D connector's weights; drawn from the seed where no file brings them
    #[arg(long)]
    connector2d: Option<PathBuf>,
    /// The 3D connector's weights; drawn from the seed where no file brings them
    #[arg(long)]
    connector3d: Option<PathBuf>,
    /// Adapters of the language model: a folder as PEFT writes it
    #[arg(long)]
    pub(super) adapters: Option<PathBuf>,
    /// What joins the parts; read off the 3D connector's weights without it
    #[arg(long, value_parser = words::<Preset>())]
    pub(super) variant: Option<Preset>,
    /// Whether the trained map behind the text feature is kept, or drawn anew as the released evaluation has it
    #[arg(long, value_parser = words::<TextProjection>(), default_value = "restored")]
    pub(super) text_projection: TextProjection,
    /// Seed of what is drawn
    #[arg(long, default_value_t = 42)]
    pub(super) seed: u64,
    /// What the weights are stored in
    #[arg(long, value_parser = words::<Precision>(), default_value = "f32")]
    pub(super) precision: Precision,
    /// The language model's tokenizer.json; looked for next to its weights without it
    #[arg(long)]
    tokenizer: Option<PathBuf>,
    /// BERT's tokenizer.json, for variants whose questions go through it
    #[arg(long)]
    text_tokenizer: Option<PathBuf>,
    /// A dataset or checkpoint whose inputs are made as those that the model learned from: recipe, window, template
    #[arg(long)]
    pub(super) inputs: Option<PathBuf>,
    /// The folder to write, new or empty
    #[arg(long)]
    pub(super) out: PathBuf,
}

impl ImportArgs {
    /// Parts that were given a path of their own.
    pub(super) fn parts(&self) -> Vec<(Part, PathBuf)> {
        let paths = [
            (Part::Llm, &self.llm),
            (Part::Vision2dModel, &self.vision2d),
            (Part::Vision3dModel, &self.vision3d),
            (Part::Vision2dConnector, &self.connector2d),
            (Part::Vision3dConnector, &self.connector3d),
        ];
        paths.into_iter().filter_map(|(part, path)| Some((part, path.clone()?))).collect()
    }

    pub(super) fn tokenizers(&self) -> Tokenizers {
        Tokenizers { llm: self.tokenizer.clone(), text: self.text_tokenizer.clone(), ..Tokenizers::default() }
    }
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
