//! What a person may type.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use med2e3_program::{CompletionsArgs, ConfigArgs, ManArgs, RunArgs, WorkPart};
use med2e3_schemas::config::override_values;
use med2e3_schemas::volume::VoxelCode;
use med2e3_schemas::{Id, SchemaError};

use crate::config::{CheckInputs, PrepareConfig, Recipe, Scrub, TokenizerConfig};
use crate::show::tables::HOW_TABLES_JOIN;
use crate::show::view::MOST_ROWS;

/// Turns CT volumes with captions and questions into verified parquet shards.
#[derive(Debug, Parser)]
#[command(
    name = "med2e3-data",
    version,
    arg_required_else_help = true,
    after_help = "\
Exit codes: 0 fine, 1 finished but inputs were set aside or a check found something, 2 failed.
MED2E3_LOG=info shows the query plan with its metrics.

A first run with one's own CTs, and one with M3D-Data:
  med2e3-data init /data/own-cts --out new           writes a configuration and a table to fill in
  med2e3-data prepare /data/own-cts --out cts
  med2e3-data prepare /data/m3d --out dataset --dry-run
  med2e3-data prepare /data/m3d --out dataset
  med2e3-data inspect dataset --row 0 --picture row.png
  med2e3-data sql dataset \"SELECT task, count(*) FROM samples GROUP BY task\"
  cargo xtask demo                                   makes .demo/m3d, .demo/dataset and the rest"
)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Read volumes and texts, write parquet shards, set bad inputs aside with a reason
    ///
    /// PATH is a run's TOML file, or the data itself: a folder laid out as M3D-Data is, a manifest or a table of texts (.csv,
    /// .tsv, .json, .jsonl, .parquet), a volume, or a folder of NIfTI files, DICOM series and slice folders. A run that was stopped is started again with the same
    /// command: finished shards are kept, rows of changed inputs are made again.
    Prepare(PrepareArgs),
    /// Look at own CTs and tables of texts, and write a first configuration with comments
    ///
    /// Writes prepare.toml, and texts.csv with a line a volume where there is no table with texts. Overwrites nothing.
    Init {
        /// The folder with the CTs
        path: PathBuf,
        /// Folder for prepare.toml and texts.csv
        #[arg(long, value_name = "FOLDER", default_value = ".")]
        out: PathBuf,
    },
    /// Draw a seeded subset of a prepared dataset's samples
    #[command(mut_arg("out", |out| out.value_name("DATASET").help("The dataset; its subsets/NAME.parquet is written")))]
    Sample(RunArgs),
    /// Count what is in a dataset: volumes by plane, spacing, size, notes; texts by task, split, length, language
    Stats {
        /// The dataset's folder
        dataset: PathBuf,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Show one row of a dataset, and its slices as a picture
    Inspect {
        /// The dataset's folder
        dataset: PathBuf,
        /// Show this volume (32 hex digits)
        #[arg(long, conflicts_with_all = ["sample", "row"])]
        volume: Option<Id>,
        /// Show this sample and its volume (32 hex digits)
        #[arg(long, conflicts_with = "row")]
        sample: Option<Id>,
        /// Show the n-th volume
        #[arg(long, default_value_t = 0)]
        row: u64,
        /// Write the volume's slices to this PNG file
        #[arg(long, value_name = "FILE.png")]
        picture: Option<PathBuf>,
    },
    /// Write one HTML page of a dataset's rows: slices, texts, where they come from, and what was set aside
    ///
    /// The page holds everything that it shows. Names that the dataset withholds are not in it unless --names asks for them;
    /// with --names inputs that were set aside and can be read are shown too, from the data root that the run's configuration
    /// states: ask for it of your own datasets alone.
    View {
        /// The dataset's folder
        dataset: PathBuf,
        /// The page
        #[arg(long, value_name = "FILE.html", default_value = "view.html")]
        out: PathBuf,
        /// Volumes on the page, 1 to 500
        #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=MOST_ROWS))]
        rows: u64,
        /// The first volume, counted from 0
        #[arg(long, default_value_t = 0)]
        start: u64,
        /// Give names in full, from the folder beside the dataset, and pictures of inputs that were set aside
        #[arg(long)]
        names: bool,
        /// Print what the page holds as JSON
        #[arg(long)]
        json: bool,
    },
    /// Query a dataset: tables volumes, samples, quarantine, manifest_volumes, manifest_texts, subset_NAME
    ///
    /// Without a query the tables are listed with their columns. Ids are shown as 32 hex digits and other bytes as their
    /// size; with --json hashes are hex digits too. Besides SQL's own functions: hex(bytes), foreground_fraction(voxels),
    /// draw(id, seed).
    #[command(after_long_help = HOW_TABLES_JOIN)]
    Sql {
        /// The dataset's folder
        dataset: PathBuf,
        /// The query; without one the tables are listed
        query: Option<String>,
        /// Memory that it may take, in MiB
        #[arg(long, value_name = "MIB", default_value_t = 1024)]
        memory: u64,
        /// Time that it may take, in seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 60)]
        timeout: u64,
        /// One JSON object a row instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Say what a rerun of `prepare` would do: inputs that are new, changed or gone, rows and shards that are kept or made
    ///
    /// Reads the manifest and stamps of inputs (size and time, or contents where the run asked for it), and writes nothing. Exit
    /// code 1 where a rerun would change the dataset or be refused.
    Diff {
        /// The dataset's folder
        dataset: PathBuf,
        /// The configuration or the data of the rerun; the run's own prepare.toml where it is absent
        config: Option<PathBuf>,
        /// Override any value of the configuration, such as --set engine.check_inputs=full; may be given again
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
        /// Give names where the dataset withholds them, from the folder beside it
        #[arg(long)]
        names: bool,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// List the inputs that were set aside, with their reasons
    ///
    /// Where names are withheld, paths and details are in DATASET.provenance, the folder beside the dataset: --names reads
    /// it.
    Rejects {
        /// The dataset's folder
        dataset: PathBuf,
        /// Give names and details in full, from the folder beside the dataset
        #[arg(long)]
        names: bool,
        /// Only those with this reason, such as truncated_gzip
        #[arg(long, value_name = "REASON")]
        reason: Option<String>,
        /// CSV with a header instead of a table
        #[arg(long, conflicts_with = "json")]
        csv: bool,
        /// One JSON object a row instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Read every byte of a dataset: hashes, schema, counts; name what is damaged
    Verify {
        /// The dataset's folder
        dataset: PathBuf,
        /// Print the findings as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what training shares with validation and test: cases, reports, voxels, images that look alike
    Leaks {
        /// The dataset's folder
        dataset: PathBuf,
        /// Examples of each kind in the table
        #[arg(long, default_value_t = 3)]
        examples: usize,
        /// Print everything as JSON
        #[arg(long)]
        json: bool,
    },
    /// Split a dataset anew, so that nothing is shared: cases that share anything stay together
    ///
    /// A group of cases that share a report, voxels or a look is in one part as a whole, so that a share is reached as far as
    /// the sizes of groups allow; the summary says which shares they do. A dataset without texts has its volumes split.
    Resplit {
        /// The dataset's folder
        dataset: PathBuf,
        /// Name of the split: subsets NAME-train, NAME-validation, NAME-test
        #[arg(long)]
        name: String,
        /// Share of the samples for validation, from 0 to less than 1
        #[arg(long, default_value_t = 0.02)]
        validation: f64,
        /// Share of the samples for test, from 0 to less than 1
        #[arg(long, default_value_t = 0.02)]
        test: f64,
        /// Seed of the draw
        #[arg(long, default_value_t = 42)]
        seed: u64,
        /// Print the counts as JSON
        #[arg(long)]
        json: bool,
    },
    /// Measure how fast a dataset is read as training reads it, beside what the machine gives
    Bench {
        #[command(subcommand)]
        what: BenchVerb,
    },
    /// Cut a small set in M3D's layout from a CT head atlas, with answers that are true by construction
    DemoSet {
        /// The atlas: a NIfTI file in Hounsfield units
        atlas: PathBuf,
        /// Folder to write; must not exist
        #[arg(long)]
        out: PathBuf,
        /// Seed of boxes, planes and wording
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Print a script by which a shell completes verbs, options and words
    ///
    /// For bash: med2e3-data completions bash > ~/.local/share/bash-completion/completions/med2e3-data
    Completions(CompletionsArgs),
    /// Print the manual page of the program or of a verb, or write all pages into a folder
    ///
    /// med2e3-data man | man -l -   shows it.
    Man(ManArgs),
    /// Say what the TOML files of the verbs may hold: as a JSON schema, or as a page
    Config(ConfigArgs),
}

#[derive(Debug, Subcommand)]
pub(super) enum BenchVerb {
    /// Feed volumes in any order as to a training, and compare with bare reads, copies and decoding of the same bytes
    ///
    /// Fed is a text of each volume of the training split, or, where there is none, a made-up one. Each measurement takes a second. What was read before is in the system's cache, where it fits.
    Feed {
        /// The dataset's folder
        dataset: PathBuf,
        /// Numbers of readers
        #[arg(long, value_name = "N,N..", value_delimiter = ',', default_values_t = [1, 2])]
        threads: Vec<usize>,
        /// Have the system forget the shards before each measurement, so that they come from the disk; each volume is read once
        #[arg(long)]
        cold: bool,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

/// One preparation.
#[derive(Debug, ClapArgs)]
pub(super) struct PrepareArgs {
    /// The run's TOML file, or the data
    pub(super) path: PathBuf,
    /// The dataset's folder
    #[arg(long)]
    pub(super) out: PathBuf,
    /// Preparation of the volumes: m3d (min-max) or ct (-1000 to 1000 HU; other windows by --set volume.recipe.ct.intensity)
    #[arg(long, value_enum)]
    pub(super) recipe: Option<NamedRecipe>,
    /// Stored type of the voxels
    #[arg(long, value_enum)]
    pub(super) voxels: Option<VoxelType>,
    /// Replace dates, names and numbers in texts that may tell who a patient is, by the rules of a file or by the built-in ones
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    pub(super) scrub: Option<Option<PathBuf>>,
    /// The language model's tokenizer.json
    #[arg(long, value_name = "FILE")]
    pub(super) tokenizer: Option<PathBuf>,
    /// Threads; 0 is one for each core
    #[arg(long)]
    pub(super) threads: Option<usize>,
    /// How a restart looks for changed inputs: quick (size and time) or full (contents)
    #[arg(long, value_name = "HOW", value_enum)]
    pub(super) check_inputs: Option<Check>,
    /// Override any value of the configuration, such as --set text.length=1024; may be given again
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
    /// Work at the I-th of N parts, while other processes work at theirs; a run without it ends the dataset
    #[arg(long, value_name = "I/N", default_value = "1/1")]
    pub(super) part: WorkPart,
    /// Say what will be set aside, by the headers of all inputs, and how many rows, bytes and how much time, measured on a few;
    /// write nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Print the report as JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl PrepareArgs {
    /// Sets what the named options state; `--set` wins over all of them.
    ///
    /// # Errors
    /// An override that does not fit the configuration.
    pub(super) fn apply(&self, name: &str, mut config: PrepareConfig) -> Result<PrepareConfig, SchemaError> {
        config.volume.recipe = self.recipe.map_or(config.volume.recipe, NamedRecipe::recipe);
        config.volume.voxels = self.voxels.map_or(config.volume.voxels, VoxelType::code);
        config.engine.check_inputs = self.check_inputs.map_or(config.engine.check_inputs, Check::check_inputs);
        config.engine.threads = self.threads.unwrap_or(config.engine.threads);
        if let Some(rules) = &self.scrub {
            config.text.scrub = Some(rules.clone().map_or(Scrub::BuiltIn, Scrub::File));
        }
        if let Some(path) = &self.tokenizer {
            config.text.tokenizer = TokenizerConfig::Path(path.clone());
        }
        override_values(name, &config, &self.set)
    }
}

/// The words of `--recipe`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum NamedRecipe {
    M3d,
    Ct,
}

impl NamedRecipe {
    fn recipe(self) -> Recipe {
        match self {
            NamedRecipe::M3d => Recipe::M3d,
            NamedRecipe::Ct => Recipe::ct(),
        }
    }
}

/// The words of `--voxels`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum VoxelType {
    U8,
    I16,
    F32,
}

impl VoxelType {
    fn code(self) -> VoxelCode {
        match self {
            VoxelType::U8 => VoxelCode::U8,
            VoxelType::I16 => VoxelCode::I16,
            VoxelType::F32 => VoxelCode::F32,
        }
    }
}

/// The words of `--check-inputs`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Check {
    Quick,
    Full,
}

impl Check {
    fn check_inputs(self) -> CheckInputs {
        match self {
            Check::Quick => CheckInputs::Quick,
            Check::Full => CheckInputs::Full,
        }
    }
}
