//! What of a run is known before its first step: sizes, what learns, samples, steps, and what all of it will cost.

use std::fs;
use std::path::{Path, PathBuf};

use med2e3_feed::{Splicing, StepRule};
use med2e3_store::disk::free_bytes;

use super::data::{TrainData, of_keys};
use super::rows;
use super::settle::{settle, texts_of};
use super::start::Origin;
use crate::TrainerError;
use crate::config::{DataConfig, ModelConfig, TrainConfig};
use crate::files::checkpoint::{Tokenizers, step_of};
use crate::fit::{self, expect};
use crate::machine::{gib, memory_bytes};
use crate::model::Med2e3Config;
use crate::plan::checkpoint::CheckpointBytes;
use crate::plan::choice::Search;
use crate::plan::estimate::{Asked, Estimate};
use crate::plan::learning::Learning;
use crate::plan::profile::DeviceProfile;
use crate::plan::work::{Fed, Work};
use crate::trained_parts::LlmKind;

/// The device that a run is planned for.
#[derive(Debug, Clone)]
pub(crate) struct Planned {
    /// Its rates, and the bytes that tensors may take.
    pub(crate) profile: DeviceProfile,
    /// What widths of rows are rounded up to.
    pub(crate) width_multiple: usize,
}

/// What is known of a run.
pub(super) struct Outlook {
    /// How its steps are cut.
    pub(super) rule: StepRule,
    /// The model's sizes, adapters included.
    pub(super) sizes: Med2e3Config,
    /// Which weights learn.
    pub(super) learning: Learning,
    /// What it will cost.
    pub(super) estimate: Estimate,
}

/// Plans a run that is not resumed: reads the dataset's index and rows, and the start's configuration; makes no weights and writes
/// nothing. `out` is where the run would write.
///
/// # Errors
/// A configuration, dataset or checkpoint that does not fit; a model that the memory does not hold.
pub(crate) fn planned(config: &TrainConfig, planned: &Planned, out: &Path) -> Result<Estimate, TrainerError> {
    config.check()?;
    let data = TrainData::open(&config.data, config.validation.is_some())?;
    config.step.augmentation.check(data.dataset.voxels().shape_dhw)?;
    let origin = Origin::of_start(config, &data.dataset)?;
    let sizes = origin.sizes()?;
    fit::check(&sizes, &data.dataset)?;
    let tokenizers = origin.tokenizers(config, &data.dataset)?;
    Ok(outlook(config, &sizes, &data, &tokenizers, planned, out)?.estimate)
}

/// As [`planned`], of a run that begins with a model of these sizes, whatever the configuration's start, which need not be there yet.
///
/// # Errors
/// As [`planned`].
pub(crate) fn planned_of(
    config: &TrainConfig,
    sizes: &Med2e3Config,
    planned: &Planned,
    out: &Path,
) -> Result<Estimate, TrainerError> {
    config.check()?;
    let data = TrainData::open(&config.data, config.validation.is_some())?;
    config.step.augmentation.check(data.dataset.voxels().shape_dhw)?;
    let sizes = sizes.completed().for_vocabulary(fit::vocabulary(&data.dataset)?);
    fit::check(&sizes, &data.dataset)?;
    let tokenizers = Tokenizers {
        llm: Some(data.dataset.tokenizer()),
        text: config.model.text_tokenizer.clone(),
        carried: Vec::new(),
    };
    Ok(outlook(config, &sizes, &data, &tokenizers, planned, out)?.estimate)
}

/// What is known of a run over this data: how its steps are cut, with every row checked against that, and what it will cost.
///
/// # Errors
/// Rows that no step can take; a step that the memory does not hold: with what would fit.
pub(super) fn outlook(
    config: &TrainConfig,
    sizes: &Med2e3Config,
    data: &TrainData,
    tokenizers: &Tokenizers,
    planned: &Planned,
    out: &Path,
) -> Result<Outlook, TrainerError> {
    let (question, form, batch) = (fit::question_form(sizes), config.data.form, config.step.batch);
    let (sizes, learning) = learning(&config.model, sizes)?;
    let (samples, precision, profile) = (&data.samples, config.compute.precision, &planned.profile);
    let splicing =
        Splicing { visual_tokens: sizes.visual_token_count() as usize, max_length: sizes.variant.max_length };
    let texts = texts_of(samples, form, splicing, batch, &config.data.order)?;
    let search = Search::new(&sizes, &learning, precision, texts, profile);
    let settled = settle(&config.step, &search, profile.memory)?;
    let rule = StepRule {
        splicing,
        loss_group: config.step.loss_group,
        budget: settled.budget,
        width_multiple: planned.width_multiple,
    };
    rows::check(samples, samples.len(), form, question, &sizes, &rule)?;
    if let (Some(samples), Some(validation)) = (&data.validation, config.validation) {
        let measured = validation.batches.saturating_mul(batch);
        rows::check(samples, measured, form, question, &sizes, &rule)?;
    }
    let steps = data.total_steps(&config.data, batch, 0, 0)?;
    let DataConfig { ref order, tail, .. } = config.data;
    let fed = Fed { order: order.order(config.seed)?, tail, form, batch, steps, rule };
    let work = Work::of(&data.samples, &fed).map_err(of_keys)?;
    // Those that stay, and the one that is written before the oldest of them goes.
    let at_once = steps.clamp(1, config.checkpoint.keep as u64 + 1);
    let checkpoint = CheckpointBytes::new(search.weights(), &learning, &search.states(), bytes_of(tokenizers), at_once);
    let asked = Asked {
        config: &sizes,
        learning: &learning,
        precision,
        profile,
        choice: settled.choice,
        batch: batch.min(samples.len()) as u64,
        steps,
        work,
        checkpoint,
        disk_free: free_bytes(out).ok(),
        host_memory: memory_bytes(),
    };
    let estimate = Estimate::new(asked, &search);
    Ok(Outlook { rule, estimate, sizes, learning })
}

/// The sizes with the adapters that are added, and which weights learn.
///
/// # Errors
/// Keys of `model.train` that contradict each other or the model.
fn learning(config: &ModelConfig, sizes: &Med2e3Config) -> Result<(Med2e3Config, Learning), TrainerError> {
    let mut sizes = sizes.clone();
    sizes.lora = config.lora.clone().or(sizes.lora);
    let llm = LlmKind { has_adapters: sizes.lora.is_some(), is_tied: sizes.llm.tie_word_embeddings };
    let learning = Learning::of_tunings(&config.train.tunings(llm)?);
    Ok((sizes, learning))
}

/// Bytes of the files that every checkpoint holds a copy of.
fn bytes_of(tokenizers: &Tokenizers) -> u64 {
    let of_file = |path: &PathBuf| fs::metadata(path).map_or(0, |file| file.len());
    let carried: usize = tokenizers.carried.iter().map(|file| file.bytes.len()).sum();
    [&tokenizers.llm, &tokenizers.text].into_iter().flatten().map(of_file).sum::<u64>() + carried as u64
}

/// Whether the disk of a run's folder has room for the checkpoints that are there at one time, less those that are there already.
///
/// # Errors
/// It has not: with the bytes that are needed and those that are free.
pub(super) fn check_disk(estimate: &Estimate, out: &Path) -> Result<(), TrainerError> {
    let Some(free) = estimate.disk_free else {
        return Ok(());
    };
    let needed = estimate.checkpoint.needed(checkpoints_in(out));
    let expected = format!(
        "a disk with {} ({needed:.0} bytes) free for the run's checkpoints, {} each",
        gib(needed as u128),
        gib(estimate.checkpoint.one() as u128)
    );
    let found = format!("{}, where {} ({free} bytes) are free", out.display(), gib(free.into()));
    expect("--out", needed <= free as f64, expected, found)
}

/// Checkpoints that a folder holds.
fn checkpoints_in(out: &Path) -> u64 {
    let entries = fs::read_dir(out).into_iter().flatten().flatten();
    entries.filter(|entry| step_of(&entry.path()).is_some()).count() as u64
}
