//! What a training run needs, opened and checked before the first step.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use med2e3_feed::{Feed, FeedPlan, HostBatch, StepRule};
use med2e3_program::output::write_report;
use med2e3_program::{Stopwatch, note, with_causes};
use med2e3_schemas::Id;
use med2e3_schemas::report::{RunLength, TrainReport, TrainStep};
use med2e3_schemas::sample::Task;
use med2e3_shards::Samples;
use med2e3_store::{FileError, put_whole};
use tch::{Device, Kind, Tensor};

use super::checkpoints::Checkpoints;
use super::data::TrainData;
use super::left_out::LeftOut;
use super::log::{self, StepLog};
use super::metrics::Metrics;
use super::observed::{self, Observed};
use super::optimizer::{AdamW, AdamWConfig, Master, Rates, StepScalars, Trained, clipped_norm};
use super::outlook::{Outlook, Planned, check_disk, outlook};
use super::questions::Questions;
use super::recent;
use super::rejects::Rejects;
use super::schedule::CosineSchedule;
use super::settle::{kept, profile_of, settled};
use super::start::{Existing, Origin};
use super::step_sums::{Computed, StepSums};
use super::tasks::{TaskSums, TaskTargets};
use super::validate::forget_after;
use super::work::{Costs, PeakMemory, Work};
use crate::TrainerError;
use crate::augmentation::{Augmentation, Draw};
use crate::config::{Matmul, OptimizerConfig, TrainConfig, by_part};
use crate::device_batch::{self, row_key, texts, weights};
use crate::files::checkpoint::{Contents, Snapshot, Tokenizers, TrainState, snapshot};
use crate::files::json::write_json;
use crate::fit::{self, expect};
use crate::libtorch::{Trace, device_name};
use crate::lock::RunLock;
use crate::machine::check_memory;
use crate::model::batch_plan::{Purpose, width_multiple};
use crate::model::draws::draw_key;
use crate::model::piece::Tuning;
use crate::model::{Med2e3, Part};
use crate::plan::BlockPolicy;
use crate::plan::peak::peak;
use crate::staging::{ScalarRing, Staging};

/// Said of a model whose questions are read by a text encoder: the released training left it in training mode.
const NOTHING_DROPPED: &str =
    "note: the text encoder drops nothing; the released training had step.text_encoder_dropout = 0.1";

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
    /// The last step, which the log lacks.
    open_step: Option<OpenStep>,
    /// What work is counted by.
    costs: Costs,
    pub(super) memory: PeakMemory,
    /// What is answered after each measurement.
    pub(super) questions: Option<Questions>,
    /// The largest norm of gradients.
    clip: Option<f64>,
    /// The step that is recorded.
    trace: Option<u64>,
    /// Steps behind the state that were left out before the run was resumed.
    left_out: BTreeSet<u64>,
    left_out_in_a_row: LeftOut,
    rejects: Rejects,
    /// The run's seed.
    pub(super) seed: u64,
    pub(super) checkpoints: Checkpoints,
    _lock: RunLock,
    /// Who serves the run's numbers.
    pub(super) metrics: Option<Metrics>,
    /// What is trained, in words.
    trained: Vec<String>,
    pub(super) out: PathBuf,
}

/// A step that was computed and whose numbers are on their way.
struct OpenStep {
    line: TrainStep,
    samples: Vec<Id>,
    tasks: TaskSums,
    work: Work,
    peak_bytes: Option<u64>,
}

impl Run {
    /// # Errors
    /// A configuration, dataset or checkpoint that does not fit; a folder that holds something else; a step to record that the run
    /// does not take; an address for its numbers that is taken.
    pub(super) fn open(
        config: &TrainConfig,
        out: &Path,
        existing: Existing,
        observed: &Observed,
    ) -> Result<Run, TrainerError> {
        config.check()?;
        let metrics = observed.metrics.as_ref().map(Metrics::listen).transpose()?;
        let lock = RunLock::take(out)?;
        let device = config.device.open(config.threads)?;
        config.compute.apply(device)?;
        let memory = PeakMemory::start(device, observed.trace.is_some())?;
        let data = TrainData::open(&config.data, config.validation.is_some())?;
        config.step.augmentation.check(data.dataset.voxels().shape_dhw)?;

        let text = toml::to_string(config).expect("a parsed configuration can be written");
        let origin = Origin::find(config, &data.dataset, out, existing)?;
        let sizes = origin.sizes()?;
        fit::check(&sizes, &data.dataset)?;
        let tokenizers = origin.tokenizers(config, &data.dataset)?;
        let planned = Planned { profile: profile_of(device), width_multiple: width_multiple(device) };
        let of = |config: &TrainConfig| outlook(config, &sizes, &data, &tokenizers, &planned, out);
        let Outlook { rule, estimate, sizes, learning } = match kept(config, &origin, out) {
            Some(kept) => of(&kept).or_else(|problem| {
                note(format_args!(
                    "note: what \"auto\" came to before does not fit here ({}): found anew",
                    with_causes(&problem)
                ));
                of(config)
            })?,
            None => of(config)?,
        };
        check_disk(&estimate, out)?;
        estimate.lines().iter().for_each(note);
        data.check_memory(&config.data, config.step.batch, rule.budget.volumes)?;
        let kind = config.compute.precision.kind();
        let (mut model, tunings) = origin.model(&config.model, config.seed, device, kind)?;
        let dropout = config.step.text_encoder_dropout;
        let drops = model.set_text_encoder_dropout(dropout);
        let expected = "0 for a model that reads no question by a text encoder".into();
        expect("step.text_encoder_dropout", drops || dropout == 0.0, expected, dropout.to_string())?;
        if drops && dropout == 0.0 {
            note(format_args!("{NOTHING_DROPPED}"));
        }
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

        let trained = tunings.names();
        let state = origin.state(config, &data, &trained, &mut optimizer)?;
        let total_steps = data.total_steps(&config.data, config.step.batch, state.step, state.cursor.position)?;
        if let Some(tail) = data.tail_in_words(&config.data, config.step.batch, state.cursor.position) {
            note(format_args!("note: {tail}"));
        }
        let schedule = CosineSchedule::with_warmup_ratio(total_steps, config.optimizer.warmup_ratio);
        observed.check(state.step + 1, total_steps)?;
        let questions = match (config.validation, &data.validation) {
            (Some(validation), Some(samples)) => Questions::open(
                &validation,
                samples,
                config.data.form,
                fit::question_form(model.config()),
                model.config(),
                &data.dataset,
            )?,
            _ => None,
        };
        let (log, left_out) = open_folder(out, &text, &origin, &state)?;
        write_json(
            &out.join(log::LENGTH),
            &RunLength { steps: total_steps, micro_batch: settled(config, rule.budget) },
        )?;
        forget_after(out, state.step)?;
        if let Origin::Resumed(checkpoint) = &origin {
            note(format_args!(
                "goes on from {}, behind step {} of {total_steps}",
                checkpoint.folder().display(),
                state.step
            ));
        }
        let plan = feed_plan(config, &model, rule, &state)?;
        let (card, is_tf32) = (device_name(device).ok(), config.compute.matmul == Matmul::Tf32);
        let peak = peak(observed.profile.as_ref(), card.as_deref(), config.compute.precision, is_tf32);
        if let Some(metrics) = &metrics {
            metrics.begin(&config.name, &in_words(device), state.step, total_steps);
        }
        let saved = (state.step > 0).then_some(state.step);
        let checkpoints = Checkpoints::new(&config.checkpoint, out, saved);
        Ok(Run {
            staging: Staging::new(device)?,
            numbers: ScalarRing::default(),
            open_step: None,
            costs: Costs { sizes, learning, policy: estimate.choice.policy, peak },
            memory,
            questions,
            clip: config.optimizer.clip,
            trace: observed.trace,
            left_out,
            left_out_in_a_row: LeftOut::new(config.step.max_skipped),
            rejects: Rejects::open(out, state.step, config.data.max_bad)?,
            seed: config.seed,
            checkpoints,
            _lock: lock,
            metrics,
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
    pub(super) fn forward(&mut self, batch: &HostBatch, seed: u64) -> Result<Computed, TrainerError> {
        let draws: Vec<Draw> = batch.volume_ids.iter().map(|id| self.augmentation.draw(row_key(seed, *id))).collect();
        let of_micro_batch = draw_key(&[seed, batch.share.micro_batch as u64]);
        let samples = self.data.samples.clone();
        self.computed(batch, &samples, &draws, Purpose::Training, seed, Some(of_micro_batch))
    }

    /// The same without a graph, and with nothing dropped or changed, for the loss alone.
    ///
    /// # Errors
    /// As [`Run::forward`].
    pub(super) fn measure(&mut self, batch: &HostBatch, samples: &Samples) -> Result<Computed, TrainerError> {
        let unchanged = vec![Draw::default(); batch.volume_ids.len()];
        self.computed(batch, samples, &unchanged, Purpose::Loss, self.seed, None)
    }

    fn computed(
        &mut self,
        batch: &HostBatch,
        samples: &Samples,
        draws: &[Draw],
        purpose: Purpose,
        seed: u64,
        train: Option<u64>,
    ) -> Result<Computed, TrainerError> {
        let format = self.data.dataset.voxels();
        let volumes = batch.volume_ids.len();
        let plan = self.model.plan_texts(&texts(batch, seed), &weights(batch), volumes, purpose)?;

        let tasks: Vec<Task> = batch.texts().map(|text| samples.task(text.sample as usize)).collect();
        let tasks = TaskTargets::new(&tasks, &plan.splice.target_rows);
        let input = device_batch::Planned { cells: &batch.voxels, format, draws, plan: &plan };
        let arrived = input.upload(&mut self.staging, vec![tasks.part()])?;
        let output = self.model.forward_placed(&arrived.voxels_vcdhw, &arrived.plan, train)?;
        let tasks = tasks.sums(&output.target_losses_r, &arrived.beside[0]);
        Ok(Computed { output, tasks, work: self.costs.of(batch, &plan.splice) })
    }

    /// The trace of a step, where it is the one to record.
    ///
    /// # Errors
    /// As [`Run::finish_step`]; another trace is running.
    pub(super) fn trace_of(&mut self, step: u64) -> Result<Option<Trace>, TrainerError> {
        if self.trace != Some(step) {
            return Ok(None);
        }
        self.finish_step()?;
        observed::record(self.device).map(Some)
    }

    /// Writes the trace of the step that was just computed.
    ///
    /// # Errors
    /// The system refuses to write.
    pub(super) fn end_trace(&self, trace: Option<Trace>) -> Result<(), TrainerError> {
        trace.map_or(Ok(()), |trace| observed::write(trace, self.device, &self.out, self.state.step))
    }

    /// Takes note of a step that was computed: `line` lacks what the device will state, which comes one step later. The step before
    /// goes to the log now. `watch` started with the step.
    ///
    /// # Errors
    /// As [`Run::finish_step`].
    pub(super) fn note_step(
        &mut self,
        mut line: TrainStep,
        sums: StepSums,
        found: &StepScalars,
        watch: Stopwatch,
    ) -> Result<(), TrainerError> {
        let [loss, correct, tasks] = sums.numbers();
        let arrived = self.numbers.push(&[&loss, &correct, &found.norm, &found.skipped, &tasks])?;
        // Once the step before has arrived: a device that is behind holds the host up here.
        line.seconds = watch.seconds();
        let StepSums { samples, tasks, work, .. } = sums;
        let open = OpenStep { line, samples, tasks, work, peak_bytes: self.memory.take()? };
        match (self.open_step.replace(open), arrived) {
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
        let watch = Stopwatch::start();
        match (self.open_step.take(), self.numbers.take()?) {
            (Some(mut open), Some(arrived)) => {
                open.line.seconds += watch.seconds();
                self.log_step(open, &arrived)
            }
            _ => Ok(()),
        }
    }

    fn log_step(&mut self, open: OpenStep, numbers: &[f64]) -> Result<(), TrainerError> {
        let OpenStep { mut line, samples, tasks, work, peak_bytes } = open;
        let &[loss, correct, norm, skipped, ref losses @ ..] = numbers else { unreachable!("four numbers a step") };
        (line.loss, line.gradient_norm) = (loss, norm);
        line.clipped_norm = Some(clipped_norm(norm, self.clip));
        line.by_task = tasks.by_task(losses);
        line.token_accuracy = correct / line.targets.max(1) as f64;
        line.skipped = skipped != 0.0;
        line.work = Some(self.costs.logged(&work, line.seconds, line.wait_seconds, peak_bytes));
        let (step, is_skipped) = (line.step, line.skipped);
        if let Some(metrics) = &self.metrics {
            metrics.add(&line);
        }
        self.log.append(line);
        if !is_skipped {
            self.left_out_in_a_row.reset();
            return Ok(());
        }
        if samples.is_empty() {
            note(format_args!("step {step} is left out: none of its samples reads"));
            self.state.skipped.push(step);
            return Ok(());
        }
        if self.left_out_in_a_row.add(&mut self.state, step, loss, &samples) {
            return Ok(());
        }
        // The run goes on from behind these steps, where it would otherwise meet them again.
        self.save_last_checkpoint()?;
        Err(self.diverged(step, loss))
    }

    /// Begins to write `step-N/` of the last finished step.
    ///
    /// # Errors
    /// Weights that are not finite; the system refuses to write, too often.
    pub(super) fn save_checkpoint(&mut self) -> Result<(), TrainerError> {
        // A run that goes on from it finds the step in the log.
        self.finish_step()?;
        self.check_weights()?;
        let snapshot = self.snapshot()?;
        self.checkpoints.begin(self.state.step, &snapshot, || self.log.flush().and_then(|()| self.rejects.flush()))
    }

    /// Writes `step-N/` of the last finished step, where it is not there yet, and waits until it is whole.
    ///
    /// # Errors
    /// As [`Run::save_checkpoint`].
    pub(super) fn save_last_checkpoint(&mut self) -> Result<(), TrainerError> {
        self.finish_step()?;
        if self.state.step == 0 || self.checkpoints.has(self.state.step)? {
            return Ok(());
        }
        self.check_weights()?;
        let snapshot = self.snapshot()?;
        self.checkpoints.write(self.state.step, &snapshot, || self.log.flush().and_then(|()| self.rejects.flush()))
    }

    /// A problem of the data, after the steps before it were saved: who mends it goes on from there.
    pub(super) fn saved_before(&mut self, problem: impl Into<TrainerError>) -> TrainerError {
        if let Err(other) = self.save_last_checkpoint() {
            note(format_args!("WARNING: {}", with_causes(&other)));
        }
        problem.into()
    }

    /// Takes note of the samples that a batch of a step goes without.
    ///
    /// # Errors
    /// More than the configuration allows, after the steps before were saved.
    pub(super) fn note_bad(&mut self, step: u64, batch: &HostBatch) -> Result<(), TrainerError> {
        self.rejects.add(step, &batch.bad).map_err(|problem| self.saved_before(problem))
    }

    /// Whether this step was left out before the run was resumed from a checkpoint that precedes it. It is left out again,
    /// uncomputed: sums without a fixed order might come out finite.
    pub(super) fn is_left_out(&self, step: u64) -> bool {
        self.left_out.contains(&step)
    }

    /// # Errors
    /// Weights that are not finite.
    fn check_weights(&mut self) -> Result<(), TrainerError> {
        let is_finite = |(_, tensor): &(String, Tensor)| tensor.isfinite().all().int64_value(&[]) == 1;
        if self.trainable.iter().all(is_finite) {
            return Ok(());
        }
        Err(self.diverged(self.state.step, self.log.steps.last().map_or(f64::NAN, |step| step.loss)))
    }

    fn snapshot(&self) -> Result<Snapshot, TrainerError> {
        let training = Some((&self.state, self.optimizer.state().tensors));
        let inputs = self.data.dataset.index().inputs.clone();
        snapshot(&Contents { model: &self.model, tokenizers: self.tokenizers.clone(), inputs, training })
    }

    /// The error of a step whose numbers are not finite.
    pub(super) fn diverged(&mut self, step: u64, loss: f64) -> TrainerError {
        // One that can't be written is not there to go on from; what failed here is told.
        let _ = self.checkpoints.settle();
        TrainerError::diverged(step, loss, self.checkpoints.last())
    }

    /// The last steps in a few words, for the progress bar.
    pub(super) fn summary(&self) -> String {
        recent::summary(&self.log.steps, self.state.skipped.len(), self.state.validation.last().map(|(_, loss)| *loss))
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
            device: in_words(self.device),
            parameters: Part::ALL.into_iter().map(count).chain(adapters).collect::<BTreeMap<_, _>>(),
            trained: self.trained,
            samples: self.data.samples.len() as u64,
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

fn in_words(device: Device) -> String {
    format!("{device:?}").to_lowercase()
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

/// Makes the folder this run's: its configuration, and a log of the steps before `state`. Gives the later steps that the log
/// calls left out, too.
fn open_folder(
    out: &Path,
    text: &str,
    origin: &Origin,
    state: &TrainState,
) -> Result<(StepLog<TrainStep>, BTreeSet<u64>), TrainerError> {
    let path = out.join("train.jsonl");
    let logged: Vec<TrainStep> = if matches!(origin, Origin::Resumed(_)) { log::read(&path)? } else { Vec::new() };
    let (steps, later): (Vec<_>, Vec<_>) = logged.into_iter().partition(|line| line.step <= state.step);
    let left_out = later.into_iter().filter(|line| line.skipped).map(|line| line.step).collect();
    fs::create_dir_all(out).map_err(FileError::of(out, "create"))?;
    put_whole(&out.join("train.toml"), text.as_bytes())?;
    Ok((StepLog::create(&path, steps)?, left_out))
}

fn feed_plan(
    config: &TrainConfig,
    model: &Med2e3,
    rule: StepRule,
    state: &TrainState,
) -> Result<FeedPlan, TrainerError> {
    Ok(FeedPlan {
        order: config.data.order.order(config.seed)?,
        tail: config.data.tail,
        form: config.data.form,
        question: fit::question_form(model.config()),
        batch_size: config.step.batch,
        rule,
        epochs: config.data.epochs,
        start: state.cursor.position,
        rank: 0,
        world_size: 1,
        readers: config.data.readers,
        depth: config.data.depth,
        on_bad_sample: config.data.on_bad_sample,
    })
}
