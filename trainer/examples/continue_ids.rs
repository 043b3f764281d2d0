//! Continues ids with the language model of a checkpoint alone, to be compared with another program's continuation
//! (`tests/peers/open_checkpoint.py --ids`).
//!
//! `continue_ids FOLDER COUNT ID ...`: prints COUNT greedy ids on one line, stop ids not heeded.

use std::path::PathBuf;

use anyhow::Context;
use med2e3_trainer::files::model_files::ModelFiles;
use med2e3_trainer::generate::{Decoding, Until, continue_rows};
use tch::{Device, Kind, Tensor};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().context("a checkpoint's folder")?);
    let max_new_tokens = arguments.next().context("how many ids to add")?.parse()?;
    let ids = arguments.map(|id| id.parse::<i64>()).collect::<Result<Vec<_>, _>>()?;
    anyhow::ensure!(!ids.is_empty(), "one id to begin with, or more");

    let model = ModelFiles::open(&folder, None)?.load(Device::Cpu, Kind::Float)?.model;
    let embeddings_1te = model.llm().embed(&Tensor::from_slice(&ids).unsqueeze(0));
    let until = Until { max_new_tokens, stop_ids: Vec::new() };
    let answers = continue_rows(model.llm(), &embeddings_1te, &[ids.len()], &[0], Decoding::Greedy, &until)?;
    println!("{}", answers[0].iter().map(i64::to_string).collect::<Vec<_>>().join(" "));
    Ok(())
}
