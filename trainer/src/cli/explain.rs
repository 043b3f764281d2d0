//! `explain`'s arguments: questions of a dataset, or one question about one volume on disk.

use std::path::PathBuf;

use clap::{ArgGroup, Args as ClapArgs};
use med2e3_program::run_args::print;
use med2e3_program::{RunArgs, Stdout};

use super::summary;
use super::words::Devices;
use crate::config::{EXPLAIN_MOVED, ExplainConfig};
use crate::device::DeviceChoice;
use crate::generate::Decoding;
use crate::verb::ask::Question;
use crate::verb::explain::{explain, explain_file};

/// What is explained.
#[derive(Debug, ClapArgs)]
#[command(
    group = ArgGroup::new("what").required(true).args(["config", "question"]),
    group = ArgGroup::new("which").args(["volume", "sample", "subset", "wrong"])
)]
pub(super) struct ExplainArgs {
    /// The run's TOML file; not with --question
    #[arg(requires = "out")]
    config: Option<PathBuf>,
    /// Override one value of the file, such as --set slices=4; may be given again
    #[arg(long, value_name = "KEY=VALUE", conflicts_with = "question")]
    set: Vec<String>,
    /// Folder for the results
    #[arg(long, conflicts_with = "question")]
    out: Option<PathBuf>,
    /// All questions about the volume with this id; may be given again. With --question a file or a folder of slices
    #[arg(long, value_name = "ID")]
    volume: Vec<String>,
    /// The sample with this id; may be given again. `med2e3-data sql` lists the ids for which a condition in SQL holds
    #[arg(long, value_name = "ID", conflicts_with = "question")]
    sample: Vec<String>,
    /// The samples of a stored subset
    #[arg(long, value_name = "NAME", conflicts_with = "question")]
    subset: Option<String>,
    /// The samples that an evaluation has answered wrongly
    #[arg(long, value_name = "FOLDER", conflicts_with = "question")]
    wrong: Option<PathBuf>,
    /// One question about one volume on disk, without a dataset
    #[arg(long, value_name = "TEXT", requires_all = ["checkpoint", "volume", "picture"])]
    question: Option<String>,
    /// A run's folder (its last checkpoint) or one checkpoint's folder
    #[arg(long, value_name = "FOLDER", requires = "question")]
    checkpoint: Option<PathBuf>,
    /// The SVG picture to write: the volume's slices, and how much each counts
    #[arg(long, value_name = "FILE", requires = "question")]
    picture: Option<PathBuf>,
    /// Maximum new tokens of the answer
    #[arg(long, default_value_t = 256, requires = "question")]
    max_new_tokens: usize,
    /// Where to run
    #[arg(long, value_parser = Devices, default_value = "auto", requires = "question")]
    device: DeviceChoice,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

impl ExplainArgs {
    /// The override that chooses what is named here.
    fn chosen(&self) -> Option<String> {
        let words = |name: &str, values: &[String]| {
            (!values.is_empty()).then(|| (name.to_owned(), toml::Value::from(values.to_vec())))
        };
        let word = |name: &str, value: String| (name.to_owned(), toml::Value::from(value));
        let found: Option<(String, toml::Value)> = words("volumes", &self.volume)
            .or_else(|| words("samples", &self.sample))
            .or_else(|| self.subset.clone().map(|name| word("subset", name)))
            .or_else(|| self.wrong.as_ref().map(|folder| word("wrong", folder.display().to_string())));
        found.map(|(name, value)| format!("chosen={{{name}={value}}}"))
    }
}

/// Explains, and prints what was found.
pub(super) fn run(args: &ExplainArgs, out: &mut Stdout) -> anyhow::Result<()> {
    if let (Some(question), Some(checkpoint), Some(picture)) = (&args.question, &args.checkpoint, &args.picture) {
        anyhow::ensure!(
            args.volume.len() == 1,
            "--volume: expected one volume with --question, found {}",
            args.volume.len()
        );
        let asked = Question {
            checkpoint,
            volume: args.volume[0].as_ref(),
            text: question,
            decoding: Decoding::Greedy,
            max_new_tokens: args.max_new_tokens,
            device: args.device,
        };
        let found = explain_file(&asked, picture)?;
        return print(out, args.json, &found, |found| summary::explained_file(found, picture));
    }
    let (Some(config), Some(folder)) = (args.config.clone(), args.out.clone()) else {
        anyhow::bail!("expected a configuration and --out, or --question with --checkpoint, --volume and --picture");
    };
    let set = args.set.iter().cloned().chain(args.chosen()).collect();
    let run = RunArgs { config, set, out: folder, json: args.json };
    let config: ExplainConfig = run.read_moved_config(&EXPLAIN_MOVED)?;
    super::print_run(out, &run, &explain(&config, &run.out)?, summary::explained)
}
