//! What a training run needs, opened and checked before the first step.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use med2e3_feed::{Feed, FeedPlan, HostBatch, StepRule};
use med2e3_program::note;
use med2e3_program::output::write_report;
use med2e3_schemas::Id;
use med2e3_schemas::report::{TrainReport, TrainStep};
use med2e3_store::{FileError, put_whole};
use tch::{Device, Kind, Tensor};

use super::data::TrainData;
use super::lock::RunLock;
use super::log::{self, StepLog, note_left_out};
use super::optimizer::{AdamW, AdamWConfig, Master, Rates, Trained};
use super::outlook::{Outlook, Planned, check_disk, outlook};
use super::schedule::CosineSchedule;
use super::settle::profile_of;
use super::start::{Existing, Origin};
use crate::TrainerError;
use crate::augmentation::{Augmentation, Draw};
use crate::config::{OptimizerConfig, TrainConfig, by_part};
use crate::device_batch::{Staged, row_key, texts, weights};
use crate::files::checkpoint::{Contents, HostTensors, Tokenizers, TrainState, folder_of, snapshot};
use crate::fit::{self, expect};
use crate::machine::check_memory;
use crate::model::batch_plan::width_multiple;
use crate::model::draws::draw_key;
use crate::model::piece::Tuning;
use crate::model::{Med2e3, ModelOutput, Part};
use crate::plan::BlockPolicy;
use crate::staging::{ScalarRing, Staging};

/// Everything that the loop needs.
pub(super) struct Run {
    pub(super) device: Device,
    augmentation: Augmentation,
    pub(super) data: TrainData,
    pub(super) model: Med2e3,
    /// The trained weights by name, sharing storage with the model.
    pub(super) trainable: Vec<(String, Tensor)>,
    pub(super) optimizer: AdamW,
    pub(super) schedule: CosineSchedule,
    pub(super) total_steps: u64,
    pub(super) state: TrainState,
    pub(super) log: StepLog<TrainStep>,
    /// The feed from the state that the run was opened with.
    pub(super) plan: FeedPlan,
    tokenizers: Tokenizers,
    staging: Staging,
    /// Numbers of the last step, on their way from the device.
    numbers: ScalarRing,
    /// The last step, which the log lacks, and its samples.
    open_step: Option<(TrainStep, Vec<Id>)>,
    skipped_in_a_row: usize,
    max_skipped: usize,
    /// The run's seed.
    pub(super) seed: u64,
    /// The step of the last checkpoint.
    saved: Option<u64>,
    _lock: RunLock,
    /// What is trained, in words.
    trained: Vec<String>,
    out: PathBuf,
}

impl Run {
    /// # Errors
    /// A configuration, dataset or checkpoint that does not fit; a folder that holds something else.
    pub(super) fn open(config: &TrainConfig, out: &Path, existing: Existing) -> Result<Run, TrainerError> {
        config.check()?;
        let lock = RunLock::take(out)?;
        let device = config.device.open(config.threads)?;
        config.compute.apply(device)?;
        let data = TrainData::open(&config.data, config.validation.is_some())?;
        config.step.augmentation.check(data.dataset.voxels().shape_dhw)?;
        let total_steps = data.total_steps(&config.data, config.step.batch)?;
        data.check_memory(&config.data, &config.step)?;

        let text = toml::to_string(config).expect("a parsed configuration can be written");
        let origin = Origin::find(config, &data.dataset, out, existing)?;
        let sizes = origin.sizes()?;
        fit::check(&sizes, &data.dataset)?;
        let tokenizers = origin.tokenizers(config, &data.dataset)?;
        let planned = Planned { profile: profile_of(device), width_multiple: width_multiple(device) };
        let Outlook { rule, estimate } = outlook(config, &sizes, &data, &tokenizers, &planned, out)?;
        check_disk(&estimate, out)?;
        estimate.lines().iter().for_each(note);
        let kind = config.compute.precision.kind();
        let (mut model, tunings) = origin.model(&config.model, config.seed, device, kind)?;
        let dropout = config.step.text_encoder_dropout;
        let drops = model.set_text_encoder_dropout(dropout);
        let expected = "0 for a model that reads no question by a text encoder".into();
        expect("step.text_encoder_dropout", drops || dropout == 0.0, expected, dropout.to_string())?;
        for (part, BlockPolicy { recompute, blocks }) in by_part(&estimate.choice.policy) {
            model.set_recompute(part, recompute, usize::try_from(blocks).ok().filter(|_| blocks < i64::MAX))?;
        }

        let trainable = model.trainable();
        if device == Device::Cpu {
            let all: u128 = Part::ALL.into_iter().map(|part| u128::from(model.parameter_count(part))).sum();
            check_weights(&trainable, all, kind)?;
        }
        let mut optimizer = optimizer(model.trained(&tunings), config)?;
        let trainable = model.trainable();
        let schedule = CosineSchedule::with_warmup_ratio(total_steps, config.optimizer.warmup_ratio);

        let trained = tunings.names();
        let state = origin.state(&data, &trained, &mut optimizer)?;
        let log = open_folder(out, &text, &origin, &state)?;
        let plan = feed_plan(config, &model, rule, &state);
        let saved = (state.step > 0).then_some(state.step);
        Ok(Run {
            staging: Staging::new(device)?,
            numbers: ScalarRing::default(),
            open_step: None,
            skipped_in_a_row: 0,
            max_skipped: config.step.max_skipped,
            seed: config.seed,
            saved,
            _lock: lock,
            device,
            augmentation: config.step.augmentation,
            data,
            model,
            trainable,
            optimizer,
            schedule,
            total_steps,
            state,
            log,
            plan,
            tokenizers,
            trained,
            out: out.to_owned(),
        })
    }

    /// Starts the readers of the training batches.
    ///
    /// # Errors
    /// The system gives no threads.
    pub(super) fn feed(&self) -> Result<Feed, TrainerError> {
        Ok(Feed::start(self.data.dataset.clone(), self.data.samples.clone(), self.plan.clone())?)
    }

    /// Loss and scores of a micro-batch, with a graph, of the step whose draws come from `seed`. Everything goes to the device in
    /// one copy, and nothing is read back.
    ///
    /// # Errors
    /// A batch that does not fit the model; the device reports a failed computation.
    pub(super) fn forward(&mut self, batch: &HostBatch, seed: u64) -> Result<ModelOutput, TrainerError> {
        let format = self.data.dataset.voxels();
        let draws: Vec<Draw> = batch.volume_ids.iter().map(|id| self.augmentation.draw(row_key(seed, *id))).collect();
        let of_micro_batch = draw_key(&[seed, batch.share.micro_batch as u64]);
        let (texts, weights) = (texts(batch, seed), weights(batch));
        let staged = Staged { cells: &batch.voxels, format, draws: &draws, texts: &texts, weights: &weights };
        staged.forward(&self.model, &mut self.staging, of_micro_batch, || {})
    }

    /// Takes note of a step that was computed: `line` lacks what the device will state, which `numbers` bring one step later. The
    /// step before goes to the log now.
    ///
    /// # Errors
    /// As [`Run::finish_step`].
    pub(super) fn note_step(
        &mut self,
        line: TrainStep,
        samples: Vec<Id>,
        numbers: &[&Tensor],
    ) -> Result<(), TrainerError> {
        let arrived = self.numbers.push(numbers)?;
        let before = self.open_step.replace((line, samples));
        match (before, arrived) {
            (Some(before), Some(arrived)) => self.log_step(before, &arrived),
            _ => Ok(()),
        }
    }

    /// Waits for the last step's numbers and logs it, where that was not done yet.
    ///
    /// # Errors
    /// More steps in a row than the configuration allows were left out, since their gradients were not finite: a checkpoint is
    /// then written first. The system refuses to write.
    pub(super) fn finish_step(&mut self) -> Result<(), TrainerError> {
        match (self.open_step.take(), self.numbers.take()?) {
            (Some(open), Some(arrived)) => self.log_step(open, &arrived),
            _ => Ok(()),
        }
    }

    fn log_step(&mut self, (mut line, samples): (TrainStep, Vec<Id>), numbers: &[f64]) -> Result<(), TrainerError> {
        let &[loss, correct, norm, skipped] = numbers else { unreachable!("four numbers a step") };
        (line.loss, line.gradient_norm) = (loss, norm);
        line.token_accuracy = correct / line.targets.max(1) as f64;
        line.skipped = skipped != 0.0;
        let step = line.step;
        let is_skipped = line.skipped;
        self.log.append(line)?;
        if !is_skipped {
            self.skipped_in_a_row = 0;
            return Ok(());
        }
        self.state.skipped.push(step);
        self.skipped_in_a_row += 1;
        note_left_out(step, loss, &samples);
        if self.skipped_in_a_row <= self.max_skipped {
            return Ok(());
        }
        // The run goes on from behind these steps, where it would otherwise meet them again.
        self.finish_step()?;
        self.save_checkpoint()?;
        Err(self.diverged(step, loss))
    }

    /// Writes `step-N/` of the last finished step.
    ///
    /// # Errors
    /// Weights that are not finite; the system refuses to write.
    pub(super) fn save_checkpoint(&mut self) -> Result<(), TrainerError> {
        let is_finite = |(_, tensor): &(String, Tensor)| tensor.isfinite().all().int64_value(&[]) == 1;
        if !self.trainable.iter().all(is_finite) {
            return Err(self.diverged(self.state.step, self.log.steps.last().map_or(f64::NAN, |step| step.loss)));
        }
        let training = Some((&self.state, self.optimizer.state().tensors));
        let inputs = self.data.dataset.index().inputs.clone();
        let contents = Contents { model: &self.model, tokenizers: self.tokenizers.clone(), inputs, training };
        snapshot(&contents, HostTensors::Copied)?.write(&folder_of(&self.out, self.state.step))?;
        self.saved = Some(self.state.step);
        Ok(())
    }

    /// The error of a step whose numbers are not finite.
    pub(super) fn diverged(&self, step: u64, loss: f64) -> TrainerError {
        TrainerError::diverged(step, loss, self.saved)
    }

    /// The last steps in a few words, for the progress bar.
    pub(super) fn summary(&self) -> String {
        let steps = &self.log.steps;
        let recent = &steps[steps.len().saturating_sub(20)..];
        let mean = |get: fn(&TrainStep) -> f64| recent.iter().map(get).sum::<f64>() / recent.len().max(1) as f64;
        let (seconds, wait) = (mean(|s| s.seconds), mean(|s| s.wait_seconds));
        let share = 100.0 * wait / seconds.max(1e-9);
        let validation =
            self.state.validation.last().map_or(String::new(), |(_, loss)| format!(", validation {loss:.3}"));
        format!("loss {:.3}{validation}, {seconds:.2} s/step, waiting for data {share:.1} %", mean(|s| s.loss))
    }

    /// Writes `report.json` and returns it.
    ///
    /// # Errors
    /// The system refuses to write.
    pub(super) fn report(self, config: &TrainConfig, seconds: f64) -> Result<TrainReport, TrainerError> {
        let count = |part: Part| (part.name().to_owned(), self.model.parameter_count(part));
        let adapters: u64 = self.model.adapters().iter().map(|(_, tensor)| tensor.numel() as u64).sum();
        let adapters = (adapters > 0).then_some(("adapters".to_owned(), adapters));
        let report = TrainReport {
            name: config.name.clone(),
            seed: config.seed,
            device: format!("{:?}", self.device).to_lowercase(),
            parameters: Part::ALL.into_iter().map(count).chain(adapters).collect::<BTreeMap<_, _>>(),
            trained: self.trained,
            samples: self.data.samples.rows.len() as u64,
            samples_without_volume: self.data.samples.without_volume,
            steps: self.log.steps,
            validation: self.state.validation,
            seconds,
            checkpoint: format!("step-{}", self.state.step),
        };
        write_report(&self.out, &report)?;
        Ok(report)
    }
}

/// Fails where the machine can't hold the weights with what training needs of each; `all` are those that rest too.
fn check_weights(trainable: &[(String, Tensor)], all: u128, kind: Kind) -> Result<(), TrainerError> {
    let learning: u128 = trainable.iter().map(|(_, tensor)| tensor.numel() as u128).sum();
    let resting = all.saturating_sub(learning);
    let bytes = u128::from(Master::default().bytes(kind)) * learning + kind.elt_size_in_bytes() as u128 * resting;
    let what = format!("{learning} weights, their gradients and moments, and {resting} that rest");
    check_memory("model.train", bytes, &what)
}

/// The optimizer of these weights, which become the configured kind.
fn optimizer(weights: Vec<(String, Tensor, Tuning)>, config: &TrainConfig) -> Result<AdamW, TrainerError> {
    let OptimizerConfig { beta1, beta2, eps, clip, .. } = config.optimizer;
    let kind = config.compute.precision.kind();
    let trained = weights.into_iter().map(|weight| trained(weight, kind, &config.optimizer)).collect();
    Ok(AdamW::new(trained, AdamWConfig { beta1, beta2, eps, clip, ..AdamWConfig::default() })?)
}

/// A weight with its share of a step's rate, which is a share of the run's peak, and its decay.
fn trained((name, tensor, own): (String, Tensor, Tuning), kind: Kind, config: &OptimizerConfig) -> Trained {
    let OptimizerConfig { learning_rate, weight_decay, full_rate_inputs, .. } = *config;
    let rates = Rates { weight_decay: own.weight_decay.unwrap_or(weight_decay), full_rate_inputs };
    let share = own.learning_rate.map_or(1.0, |own| own / learning_rate);
    Trained { rate: share * rates.rate_of(&tensor), decay: rates.decay_of(&tensor), name, tensor, kind }
}

/// Makes the folder this run's: its configuration, and a log of the steps before `state`.
fn open_folder(
    out: &Path,
    text: &str,
    origin: &Origin,
    state: &TrainState,
) -> Result<StepLog<TrainStep>, TrainerError> {
    let path = out.join("train.jsonl");
    let steps = if matches!(origin, Origin::Resumed(_)) { log::read(&path, state.step)? } else { Vec::new() };
    fs::create_dir_all(out).map_err(FileError::of(out, "create"))?;
    put_whole(&out.join("train.toml"), text.as_bytes())?;
    StepLog::create(&path, steps)
}

fn feed_plan(config: &TrainConfig, model: &Med2e3, rule: StepRule, state: &TrainState) -> FeedPlan {
    FeedPlan {
        order: config.data.order.order(config.seed),
        form: config.data.form,
        question: fit::question_form(model.config()),
        batch_size: config.step.batch,
        rule,
        epochs: config.data.epochs,
        start: state.cursor,
        readers: config.data.readers,
        depth: config.data.depth,
    }
}
