//! The project's own commands, `cargo xtask VERB`: they set up, build and run; the products do the work.
//!
//! # Layout
//!
//! - `setup`: libtorch into `.libtorch/`
//! - `wordnet`: WordNet into `.wordnet/`; `browser`: the driver of a browser into `.browser/`, and the tests of pages
//! - `demo`: the whole flow on one CT, from volume to report
//! - `test`: the whole test suite
//! - `bench_prepare`: preparation next to its peers
//! - `bench_feed`: feeding volumes next to its peers
//! - `bench_step`: a training step next to PyTorch eager
//! - `bench_metrics`: metrics of texts next to the Python packages
//! - `bench_train`: a training through the feed next to PyTorch, and the optimizer's update
//! - `python`: the Python of the tests, with torch; `feed_wheel`: the package of `python/feed/` in it
//! - `peers`: a Python with the peers that a benchmark runs
//! - `reference`: `docs/configuration.md`
//! - `command`: running a program, with an error that says what was run

mod bench_feed;
mod bench_metrics;
mod bench_prepare;
mod bench_step;
mod bench_train;
mod browser;
mod command;
mod demo;
mod feed_wheel;
mod peers;
mod python;
mod reference;
mod setup;
mod test;
mod wheel;
mod wordnet;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::setup::Libtorch;

const HELP: &str = "\
Set up, run and test med2e3.

Usage: cargo xtask VERB [OPTIONS]

Verbs:
  setup    Install libtorch into .libtorch/; does nothing when it is there already
  demo     Prepare, train, evaluate and explain a small model on one CT; ends with an HTML report
  test     Run the whole test suite, and the format, lints and documentation of python/feed
  test-pages
           Run the tests of pages in a Chromium alone
  bench-prepare
           Measure preparation next to isal and MONAI; makes its data and a virtual environment in .bench/
  bench-feed
           Measure feeding volumes next to DALI and M3D's loader; makes its data (4.4 GB) and a virtual environment in .bench/
  bench-step
           Measure a training step next to PyTorch eager; makes its weights and a virtual environment in .bench/
  bench-train
           Measure a training of the demo's model through the feed, and the optimizer, next to PyTorch; after `demo`
  bench-metrics
           Measure BLEU, ROUGE and METEOR next to the Python packages
  reference
           Write docs/configuration.md from what the programs say of their configurations
  help     Print this text

Options of setup:
  --cuda       Install the CUDA libraries too (3 GB more on disk)
  --python     Make the Python of the tests too, in .python/ (0.7 GB on disk); `test` does so by itself
  --wordnet    Install WordNet 3.0 into .wordnet/ instead (30 MB on disk), which METEOR needs; `test` does so by itself
  --browser    Install what tests of pages drive a Chromium with into .browser/ instead (18 MB on disk); Node, npm and a Chromium must
               be there; `test` does so by itself

Options of demo:
  --seed N     Train with seed N instead of the one in configs/demo/

Options of bench-prepare:
  --python PATH   Use this Python, which has isal, monai, nibabel, pillow and torch, instead of an environment of its own

Options of bench-feed:
  --python PATH   Use this Python, which has monai, numpy, nvidia-dali-cuda120, pyarrow, tokenizers and torch, instead

Options of bench-step:
  --python PATH   Use this Python, which has einops, monai, safetensors, torch and transformers, instead
  --threads N     Threads of either side, 2 where not given

Options of bench-train:
  --python PATH   Use this Python, which has torch and pyarrow, instead
  --threads N     Threads of either side, 1 where not given

Options of bench-metrics:
  --python PATH   Use this Python, which has nltk 3.8.1, rouge-score and sacrebleu, instead

Options of test:
  --thorough   Raise the number of generated cases and run the slow tests
";

/// What the user asked for.
#[derive(Debug, PartialEq)]
enum Verb {
    Help,
    Setup { libtorch: Libtorch },
    Python,
    WordNet,
    Browser,
    Demo { seed: Option<u64> },
    Test { thorough: bool },
    TestPages,
    Reference,
    BenchFeed { python: Option<PathBuf> },
    BenchMetrics { python: Option<PathBuf> },
    BenchPrepare { python: Option<PathBuf> },
    BenchStep { python: Option<PathBuf>, threads: usize },
    BenchTrain { python: Option<PathBuf>, threads: usize },
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match parse(&args).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(verb: Verb) -> Result<()> {
    match verb {
        Verb::Help => {
            print!("{HELP}");
            Ok(())
        }
        Verb::Setup { libtorch } => setup::setup(&repository(), libtorch),
        Verb::Python => python::python(&repository()),
        Verb::WordNet => wordnet::setup_wordnet(&repository()),
        Verb::Browser => browser::setup_browser(&repository()),
        Verb::Demo { seed } => demo::demo(&repository(), seed),
        Verb::Test { thorough } => test::test(&repository(), thorough),
        Verb::TestPages => browser::test_pages(&repository()),
        Verb::Reference => reference::reference(&repository()),
        Verb::BenchFeed { python } => bench_feed::bench_feed(&repository(), python),
        Verb::BenchMetrics { python } => bench_metrics::bench_metrics(&repository(), python),
        Verb::BenchPrepare { python } => bench_prepare::bench_prepare(&repository(), python),
        Verb::BenchStep { python, threads } => bench_step::bench_step(&repository(), python, threads),
        Verb::BenchTrain { python, threads } => bench_train::bench_train(&repository(), python, threads),
    }
}

fn parse(args: &[String]) -> Result<Verb> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    if args.is_empty() || args.iter().any(|arg| ["help", "--help", "-h"].contains(arg)) {
        return Ok(Verb::Help);
    }
    match args.as_slice() {
        ["setup"] => Ok(Verb::Setup { libtorch: Libtorch::Cpu }),
        ["setup", "--cuda"] => Ok(Verb::Setup { libtorch: Libtorch::Cuda }),
        ["setup", "--python"] => Ok(Verb::Python),
        ["setup", "--wordnet"] => Ok(Verb::WordNet),
        ["setup", "--browser"] => Ok(Verb::Browser),
        ["demo"] => Ok(Verb::Demo { seed: None }),
        ["demo", "--seed", seed] => match seed.parse() {
            Ok(seed) => Ok(Verb::Demo { seed: Some(seed) }),
            Err(_) => bail!("`--seed` takes a whole number from 0, not `{seed}`"),
        },
        ["test"] => Ok(Verb::Test { thorough: false }),
        ["test", "--thorough"] => Ok(Verb::Test { thorough: true }),
        ["test-pages"] => Ok(Verb::TestPages),
        ["reference"] => Ok(Verb::Reference),
        ["bench-feed"] => Ok(Verb::BenchFeed { python: None }),
        ["bench-feed", "--python", path] => Ok(Verb::BenchFeed { python: Some(path.into()) }),
        ["bench-metrics"] => Ok(Verb::BenchMetrics { python: None }),
        ["bench-metrics", "--python", path] => Ok(Verb::BenchMetrics { python: Some(path.into()) }),
        ["bench-prepare"] => Ok(Verb::BenchPrepare { python: None }),
        ["bench-prepare", "--python", path] => Ok(Verb::BenchPrepare { python: Some(path.into()) }),
        ["bench-step", options @ ..] => {
            let (python, threads) = peer_options("bench-step", options)?;
            Ok(Verb::BenchStep { python, threads: threads.unwrap_or(2) })
        }
        ["bench-train", options @ ..] => {
            let (python, threads) = peer_options("bench-train", options)?;
            Ok(Verb::BenchTrain { python, threads: threads.unwrap_or(1) })
        }
        [
            verb @ ("setup" | "demo" | "test" | "test-pages" | "reference" | "bench-feed" | "bench-metrics"
            | "bench-prepare"),
            rest @ ..,
        ] => {
            bail!("`{verb}` does not take `{}`; `cargo xtask help` lists the options", rest.join(" "))
        }
        [verb, ..] => bail!("there is no verb `{verb}`; `cargo xtask help` lists them"),
        [] => Ok(Verb::Help),
    }
}

/// A Python with the peers, and the threads of either side.
fn peer_options(verb: &str, mut options: &[&str]) -> Result<(Option<PathBuf>, Option<usize>)> {
    let (mut python, mut threads) = (None, None);
    while let [option, value, rest @ ..] = options {
        match *option {
            "--python" => python = Some(value.into()),
            "--threads" => match value.parse() {
                Ok(count) if count > 0 => threads = Some(count),
                _ => bail!("`--threads` takes a whole number from 1, not `{value}`"),
            },
            _ => break,
        }
        options = rest;
    }
    match options {
        [] => Ok((python, threads)),
        rest => bail!("`{verb}` does not take `{}`; `cargo xtask help` lists the options", rest.join(" ")),
    }
}

/// The folder that holds the workspace.
fn repository() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().expect("xtask is a folder of the workspace").to_path_buf()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Verb> {
        parse(&line.split_whitespace().map(String::from).collect::<Vec<_>>())
    }

    #[test]
    fn every_verb_in_the_help_is_understood() {
        let verbs = HELP.lines().skip_while(|line| *line != "Verbs:").skip(1).take_while(|line| !line.is_empty());
        let verbs = verbs.filter(|line| !line.starts_with("   "));
        for line in verbs {
            let verb = line.split_whitespace().next().unwrap();
            assert!(parsed(verb).is_ok(), "`{verb}` is in the help only");
        }
    }

    #[test]
    fn options_belong_to_their_verbs() {
        assert_eq!(parsed("setup --cuda").unwrap(), Verb::Setup { libtorch: Libtorch::Cuda });
        assert_eq!(parsed("setup --python").unwrap(), Verb::Python);
        assert_eq!(parsed("setup --wordnet").unwrap(), Verb::WordNet);
        assert_eq!(parsed("setup --browser").unwrap(), Verb::Browser);
        assert_eq!(parsed("demo --seed 7").unwrap(), Verb::Demo { seed: Some(7) });
        assert_eq!(parsed("test --thorough").unwrap(), Verb::Test { thorough: true });
        let python = Some("/usr/bin/python3".into());
        assert_eq!(parsed("bench-prepare --python /usr/bin/python3").unwrap(), Verb::BenchPrepare { python });
        let python = Some("python3".into());
        assert_eq!(parsed("bench-feed --python python3").unwrap(), Verb::BenchFeed { python: python.clone() });
        assert!(parsed("bench-feed --threads 2").unwrap_err().to_string().contains("`bench-feed` does not take"));
        assert_eq!(parsed("bench-step --threads 4 --python python3").unwrap(), Verb::BenchStep { python, threads: 4 });
        assert_eq!(parsed("bench-metrics").unwrap(), Verb::BenchMetrics { python: None });
        assert!(parsed("bench-metrics --threads 2").unwrap_err().to_string().contains("`bench-metrics` does not take"));
        assert_eq!(parsed("bench-step").unwrap(), Verb::BenchStep { python: None, threads: 2 });
        assert_eq!(parsed("bench-train").unwrap(), Verb::BenchTrain { python: None, threads: 1 });
        assert!(parsed("bench-train --seed 1").unwrap_err().to_string().contains("`bench-train` does not take"));
        assert!(parsed("bench-step --threads 0").unwrap_err().to_string().contains("from 1"));
        assert!(parsed("bench-step --seed 1").unwrap_err().to_string().contains("`--seed 1`"));
        assert_eq!(parsed("demo --help").unwrap(), Verb::Help);
        assert!(parsed("demo --cuda").unwrap_err().to_string().contains("`demo` does not take `--cuda`"));
        assert!(parsed("demo --seed x").unwrap_err().to_string().contains("whole number"));
        assert!(parsed("bench").unwrap_err().to_string().contains("no verb `bench`"));
    }
}
