//! What a contrastive run needs, opened and checked before the first step.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use med2e3_feed::feed::HELD;
use med2e3_feed::{Feed, FeedCursor, FeedPlan, HostBatch, Order, QuestionForm, TextForm};
use med2e3_program::output::write_report;
use med2e3_schemas::Id;
use med2e3_schemas::report::{ClipStep, RunLength, TrainClipReport};
use med2e3_schemas::sample::{Split, Task};
use med2e3_shards::{Dataset, Samples};
use med2e3_store::{FileError, put_whole};
use tch::{Device, Kind, Tensor};

use super::captions::ids_of;
use super::pairs::{Draws, Pairs, first_volume};
use crate::TrainerError;
use crate::config::{ClipDataConfig, ClipStart, ClipStepConfig, OptimizerConfig, TrainClipConfig};
use crate::device_batch::row_key;
use crate::files::checkpoint::{Checkpoint, Snapshot, TrainState, clip_snapshot};
use crate::files::json::write_json;
use crate::files::m3d_clip;
use crate::fit::{self, ClipKeys, expect};
use crate::lock::RunLock;
use crate::machine::check_memory;
use crate::model::draws::purpose_key;
use crate::model::{M3dClip, M3dClipConfig};
use crate::staging::ScalarRing;
use crate::text_tokenizer::TextTokenizer;
use crate::train::checkpoints::Checkpoints;
use crate::train::data::{of_keys, selection, selection_hash, total_steps};
use crate::train::left_out::LeftOut;
use crate::train::log::{self, StepLog};
use crate::train::optimizer::{AdamW, AdamWConfig, Rates, Trained};
use crate::train::resume::resumable;
use crate::train::schedule::CosineSchedule;
use crate::train::start::Existing;

/// What a checkpoint states of what learned.
const TRAINED: &str = "m3d_clip";

/// Everything that the loop needs.
pub(super) struct ClipRun {
    device: Device,
    dataset: Arc<Dataset>,
    samples: Arc<Samples>,
    /// Their texts; token ids are made anew each step, since long captions are cut at a drawn place.
    captions: Vec<String>,
    validation: Option<(Arc<Samples>, Vec<String>)>,
    tokenizer: TextTokenizer,
    tokenizer_path: PathBuf,
    pub(super) clip: M3dClip,
    pub(super) optimizer: AdamW,
    pub(super) schedule: CosineSchedule,
    pub(super) total_steps: u64,
    pub(super) state: TrainState,
    pub(super) log: StepLog<ClipStep>,
    /// The feed from the state that the run was opened with.
    plan: FeedPlan,
    /// Numbers of the last step, on their way from the device.
    numbers: ScalarRing,
    /// The last step, which the log lacks, and its samples.
    open_step: Option<(ClipStep, Vec<Id>)>,
    left_out_in_a_row: LeftOut,
    seed: u64,
    pub(super) checkpoints: Checkpoints,
    _lock: RunLock,
    out: PathBuf,
}

impl ClipRun {
    /// # Errors
    /// A configuration, dataset or checkpoint that does not fit; a folder that holds something else.
    pub(super) fn open(config: &TrainClipConfig, out: &Path, existing: Existing) -> Result<ClipRun, TrainerError> {
        config.check()?;
        let lock = RunLock::take(out)?;
        let device = config.device.open(config.threads)?;
        let dataset = Arc::new(Dataset::open(&config.data.dataset)?);
        let samples = select(&dataset, config, config.data.split)?;
        let expected = "two captions or more, since pairs are compared with each other".into();
        expect("data.split", samples.len() >= 2, expected, samples.len().to_string())?;
        let captions = dataset.answers(&samples)?;
        let validation = config.validation.map(|validation| {
            let samples = select(&dataset, config, Split::Validation)?;
            let captions = dataset.answers(&samples.picked(0..validation.pairs.min(samples.len())))?;
            Ok::<_, TrainerError>((samples, captions))
        });
        let validation = validation.transpose()?;
        check_host_memory(config, &dataset)?;

        let resumed = resumable(config, out, existing)?;
        let tokenizer = TextTokenizer::load(&config.data.text_tokenizer, config.data.max_text_tokens)?;
        let mut clip = match (&resumed, &config.model.start) {
            (Some(checkpoint), _) => m3d_clip::open(checkpoint.folder(), device)?,
            (None, ClipStart::Checkpoint(path)) => m3d_clip::open(path, device)?,
            (None, ClipStart::Fresh(fresh)) => {
                check_weights("model.start.fresh", &fresh.sizes)?;
                M3dClip::drawn(&fresh.sizes, device, fresh.initializer, config.seed)?
            }
        };
        if let (None, Some(path)) = (&resumed, &config.model.text_encoder) {
            m3d_clip::load_text_encoder(&mut clip, path)?;
        }
        let keys = ClipKeys {
            dataset: "data.dataset",
            sizes: "model.start",
            tokenizer: "data.text_tokenizer",
            tokens: "data.max_text_tokens",
        };
        fit::check_clip(&keys, clip.config(), &tokenizer, &dataset)?;

        config.step.augmentation.check(dataset.voxels().shape_dhw)?;
        clip.set_text_encoder_dropout(config.step.text_encoder_dropout);

        let mut optimizer = optimizer(&clip, &config.optimizer)?;
        let mut plan = FeedPlan {
            order: Order::Shuffled { seed: config.seed },
            epochs: config.data.epochs,
            readers: config.data.readers,
            depth: config.data.depth,
            ..FeedPlan::one_pass(TextForm::Conversation, QuestionForm::Llm, config.step.batch)
        };
        let state = state(resumed.as_ref(), &samples, plan.cursor(samples.hash, 0), &mut optimizer)?;
        plan.start = state.cursor.position;
        let total_steps = total_steps(plan.steps(samples.len()), state.step, config.data.max_steps)?;
        let log = open_folder(config, out, resumed.is_some(), &state)?;
        write_json(&out.join(log::LENGTH), &RunLength { steps: total_steps, micro_batch: None })?;
        let given = &config.data.text_tokenizer;
        Ok(ClipRun {
            tokenizer_path: if given.is_dir() { given.join("tokenizer.json") } else { given.clone() },
            schedule: CosineSchedule::with_warmup_ratio(total_steps, config.optimizer.warmup_ratio),
            checkpoints: Checkpoints::new(&config.checkpoint, out, (state.step > 0).then_some(state.step)),
            numbers: ScalarRing::default(),
            open_step: None,
            left_out_in_a_row: LeftOut::new(config.step.max_skipped),
            seed: config.seed,
            out: out.to_owned(),
            _lock: lock,
            device,
            dataset,
            samples,
            captions,
            validation,
            tokenizer,
            clip,
            optimizer,
            total_steps,
            state,
            log,
            plan,
        })
    }

    /// Pairs of an epoch.
    pub(super) fn sample_count(&self) -> usize {
        self.samples.len()
    }

    /// Starts the readers of the training pairs.
    ///
    /// # Errors
    /// The system gives no threads.
    pub(super) fn feed(&self) -> Result<Feed, TrainerError> {
        Ok(Feed::start(self.dataset.clone(), self.samples.clone(), self.plan.clone())?)
    }

    /// The pairs of a batch in parts; captions are cut, volumes changed and numbers dropped by draws from `seed`.
    ///
    /// # Errors
    /// The tokenizer fails.
    pub(super) fn pairs<'a>(
        &'a self,
        batch: &'a HostBatch,
        seed: u64,
        step: &ClipStepConfig,
    ) -> Result<Pairs<'a>, TrainerError> {
        let of_volume = |volume: usize| step.augmentation.draw(row_key(seed, batch.volume_ids[volume]));
        let of_text = |id: &Id| purpose_key(row_key(seed, *id), "text encoder dropout");
        let draws = Draws {
            volumes: batch.texts().flat_map(first_volume).map(of_volume).collect(),
            texts: batch.sample_ids.iter().map(of_text).collect(),
        };
        let pairs = self.pairs_of(&self.captions, batch, batch.len(), seed, step.micro_batch)?;
        Ok(Pairs { draws: Some(draws), ..pairs })
    }

    fn pairs_of<'a>(
        &'a self,
        captions: &[String],
        batch: &'a HostBatch,
        count: usize,
        seed: u64,
        size: Option<usize>,
    ) -> Result<Pairs<'a>, TrainerError> {
        let ids = batch
            .texts()
            .take(count)
            .map(|text| ids_of(&self.tokenizer, &captions[text.sample as usize], row_key(seed, text.sample_id)));
        let captions = ids.collect::<Result<Vec<_>, _>>()?;
        let size = size.unwrap_or(batch.len()).max(1);
        Ok(Pairs { batch, captions, format: self.dataset.voxels(), device: self.device, draws: None, size })
    }

    /// The loss of the first pairs of the validation split, all in one; captions are cut in the same way each time.
    ///
    /// # Errors
    /// Data that can't be fed; a loss that is not finite.
    pub(super) fn validation_loss(&mut self, config: &TrainClipConfig, pairs: usize) -> Result<f64, TrainerError> {
        let Some((samples, captions)) = &self.validation else {
            return Ok(f64::NAN);
        };
        let pairs = pairs.min(samples.len());
        let size = config.step.micro_batch.unwrap_or(config.step.batch).min(pairs);
        let plan = FeedPlan::one_pass(TextForm::Conversation, QuestionForm::Llm, size);
        let mut feed = Feed::start(self.dataset.clone(), samples.clone(), plan)?;
        let mut left = pairs;
        let parts = std::iter::from_fn(|| {
            if left == 0 {
                return None;
            }
            let batch = feed.next_batch()?;
            let part = batch.map_err(TrainerError::from).and_then(|batch| {
                let count = left.min(batch.len());
                left -= count;
                self.pairs_of(captions, &batch, count, self.seed, Some(count))?.part(0)
            });
            Some(part)
        });
        let loss = self.clip.measure(parts)?.loss.double_value(&[]);
        if loss.is_finite() { Ok(loss) } else { Err(self.diverged(self.state.step, loss)) }
    }

    /// Takes note of a step that was computed: `line` lacks what the device will state, which `numbers` bring one step later. The
    /// step before goes to the log now.
    ///
    /// # Errors
    /// As [`ClipRun::finish_step`].
    pub(super) fn note_step(
        &mut self,
        line: ClipStep,
        samples: Vec<Id>,
        numbers: &[&Tensor],
    ) -> Result<(), TrainerError> {
        let arrived = self.numbers.push(numbers)?;
        match (self.open_step.replace((line, samples)), arrived) {
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

    fn log_step(&mut self, (mut line, samples): (ClipStep, Vec<Id>), numbers: &[f64]) -> Result<(), TrainerError> {
        let &[loss, correct, logit_scale, norm, skipped] = numbers else { unreachable!("five numbers a step") };
        (line.loss, line.logit_scale, line.gradient_norm) = (loss, logit_scale, norm);
        line.accuracy = correct / line.pairs.max(1) as f64;
        line.skipped = skipped != 0.0;
        let (step, is_skipped) = (line.step, line.skipped);
        self.log.append(line);
        if !is_skipped {
            self.left_out_in_a_row.reset();
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
        self.finish_step()?;
        let snapshot = self.snapshot()?;
        self.checkpoints.begin(self.state.step, &snapshot, || self.log.flush())
    }

    /// Writes `step-N/` of the last finished step, where it is not there yet, and waits until it is whole.
    ///
    /// # Errors
    /// As [`ClipRun::save_checkpoint`].
    pub(super) fn save_last_checkpoint(&mut self) -> Result<(), TrainerError> {
        self.finish_step()?;
        if self.state.step == 0 || self.checkpoints.has(self.state.step)? {
            return Ok(());
        }
        let snapshot = self.snapshot()?;
        self.checkpoints.write(self.state.step, &snapshot, || self.log.flush())
    }

    fn snapshot(&mut self) -> Result<Snapshot, TrainerError> {
        let is_finite = |tensor: &Tensor| tensor.isfinite().all().int64_value(&[]) == 1;
        if !self.clip.parameters().iter().all(|(_, tensor)| is_finite(tensor)) {
            return Err(self.diverged(self.state.step, self.log.steps.last().map_or(f64::NAN, |step| step.loss)));
        }
        let training = (&self.state, self.optimizer.state().tensors);
        clip_snapshot(&self.clip, &self.tokenizer_path, self.dataset.index().inputs.as_ref(), training)
    }

    /// The error of a step whose numbers are not finite.
    pub(super) fn diverged(&mut self, step: u64, loss: f64) -> TrainerError {
        // One that can't be written is not there to go on from; what failed here is told.
        let _ = self.checkpoints.settle();
        TrainerError::diverged(step, loss, self.checkpoints.last())
    }

    /// The last steps in a few words, for the progress bar.
    pub(super) fn summary(&self) -> String {
        let steps = &self.log.steps;
        let recent = &steps[steps.len().saturating_sub(20)..];
        let mean = |get: fn(&ClipStep) -> f64| recent.iter().map(get).sum::<f64>() / recent.len().max(1) as f64;
        let validation =
            self.state.validation.last().map_or(String::new(), |(_, loss)| format!(", validation {loss:.3}"));
        let (loss, accuracy) = (mean(|s| s.loss), 100.0 * mean(|s| s.accuracy));
        format!("loss {loss:.3}, own caption first {accuracy:.1} %{validation}, {:.2} s/step", mean(|s| s.seconds))
    }

    /// Writes `report.json` and returns it.
    ///
    /// # Errors
    /// The system refuses to write.
    pub(super) fn report(self, config: &TrainClipConfig, seconds: f64) -> Result<TrainClipReport, TrainerError> {
        let report = TrainClipReport {
            name: config.name.clone(),
            seed: config.seed,
            device: format!("{:?}", self.device).to_lowercase(),
            parameters: self.clip.parameters().iter().map(|(_, tensor)| tensor.numel() as u64).sum(),
            pairs: self.samples.len() as u64,
            samples_without_volume: self.samples.without_volume,
            steps: self.log.steps,
            validation: self.state.validation,
            seconds,
            checkpoint: format!("step-{}", self.state.step),
        };
        write_report(&self.out, &report)?;
        Ok(report)
    }
}

/// The captions of a split, each of one volume.
fn select(dataset: &Dataset, config: &TrainClipConfig, split: Split) -> Result<Arc<Samples>, TrainerError> {
    let ClipDataConfig { split: own, subset, .. } = &config.data;
    let samples = dataset.select(&selection(dataset, *own, subset.as_deref(), &[Task::Caption], split))?;
    if let Some(at) = (0..samples.len()).find(|at| samples.volume_count(*at) != 1) {
        let found = format!("{} in {}", samples.volume_count(at), samples.id(at));
        expect("data.dataset", false, "captions of one volume each".into(), found)?;
    }
    Ok(Arc::new(samples))
}

/// Whether the steps that wait on the host fit the machine's memory.
fn check_host_memory(config: &TrainClipConfig, dataset: &Dataset) -> Result<(), TrainerError> {
    let step = config.step.batch as u128 * dataset.voxels().cell_bytes() as u128;
    let steps = config.data.depth as u128 + HELD as u128;
    let what = format!("{steps} steps that are made ahead");
    check_memory("data.depth", steps.saturating_mul(step), &what)
}

/// Whether fresh weights, with their gradients and moments, fit the memory.
fn check_weights(key: &str, sizes: &M3dClipConfig) -> Result<(), TrainerError> {
    let shapes = M3dClip::unloaded(sizes, Device::Cpu, Kind::Float)?;
    let count: u128 = shapes.parameters().iter().map(|(_, tensor)| tensor.numel() as u128).sum();
    check_memory(key, 4 * count, &format!("{count} weights"))
}

/// All weights learn.
fn optimizer(clip: &M3dClip, config: &OptimizerConfig) -> Result<AdamW, TrainerError> {
    let OptimizerConfig { beta1, beta2, eps, weight_decay, full_rate_inputs, clip: most, .. } = *config;
    let weights = clip.parameters();
    let count: u128 = weights.iter().map(|(_, tensor)| tensor.numel() as u128).sum();
    if clip.device() == Device::Cpu {
        check_memory("model.start", 16 * count, &format!("{count} weights, their gradients and moments"))?;
    }
    for (_, tensor) in &weights {
        let _ = tensor.set_requires_grad(true);
    }
    let trained = Trained::all(weights, Kind::Float, Rates { weight_decay, full_rate_inputs });
    Ok(AdamW::new(trained, AdamWConfig { beta1, beta2, eps, clip: most, ..AdamWConfig::default() })?)
}

/// The first state; that of a resumed run, whose moments the optimizer then has.
fn state(
    resumed: Option<&Checkpoint>,
    samples: &Samples,
    beginning: FeedCursor,
    optimizer: &mut AdamW,
) -> Result<TrainState, TrainerError> {
    let selection = selection_hash(samples);
    let Some(checkpoint) = resumed else {
        return Ok(TrainState {
            step: 0,
            cursor: beginning,
            selection,
            trained: vec![TRAINED.into()],
            validation: Vec::new(),
            skipped: Vec::new(),
        });
    };
    let (state, moments) = checkpoint.state()?;
    let expected = "the captions that the run began with".into();
    let found = "others; the dataset or its subset has changed".into();
    expect("data", state.selection == selection, expected, found)?;
    state.cursor.check(&beginning).map_err(of_keys)?;
    optimizer.load_state(&moments).map_err(|problem| moments.named(problem))?;
    Ok(state)
}

/// Makes the folder this run's: its configuration, and a log of the steps before `state`.
fn open_folder(
    config: &TrainClipConfig,
    out: &Path,
    is_resumed: bool,
    state: &TrainState,
) -> Result<StepLog<ClipStep>, TrainerError> {
    let path = out.join("train.jsonl");
    let mut steps: Vec<ClipStep> = if is_resumed { log::read(&path)? } else { Vec::new() };
    steps.retain(|line| line.step <= state.step);
    fs::create_dir_all(out).map_err(FileError::of(out, "create"))?;
    let text = toml::to_string(config).expect("a parsed configuration can be written");
    put_whole(&out.join("train.toml"), text.as_bytes())?;
    StepLog::create(&path, steps)
}
