//! A training run's things, opened and checked before the first step: device, data, model, optimizer, schedule, log.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use med2e3_feed::feed::batches_per_epoch;
use med2e3_feed::order::Order;
use med2e3_feed::shard::commit::write_whole;
use med2e3_feed::{Dataset, Feed, FeedCursor, FeedPlan, Samples, Selection};
use med2e3_schemas::report::{TrainReport, TrainStep};
use med2e3_schemas::sample::Split;
use tch::{Device, Tensor};

use crate::TrainerError;
use crate::checkpoint::{self, Checkpoint, Tokenizers, TrainState};
use crate::config::{DataConfig, OptimizerConfig, Start, TrainConfig, ValidationConfig};
use crate::device::set_threads;
use crate::device_batch::to_device;
use crate::fit;
use crate::model::{Med2e3, Part};
use crate::optimizer::{AdamW, AdamWConfig};
use crate::output::write_report;
use crate::schedule::CosineSchedule;
use crate::train::Existing;

/// Everything that the loop needs.
pub(crate) struct Run {
    pub(crate) device: Device,
    pub(crate) dataset: Arc<Dataset>,
    pub(crate) samples: Arc<Samples>,
    pub(crate) model: Med2e3,
    pub(crate) trainable: Vec<(String, Tensor)>,
    pub(crate) optimizer: AdamW,
    pub(crate) schedule: CosineSchedule,
    pub(crate) total_steps: u64,
    pub(crate) state: TrainState,
    pub(crate) plan: FeedPlan,
    pub(crate) tokenizers: Tokenizers,
    validation_samples: Option<Arc<Samples>>,
    steps: Vec<TrainStep>,
    log: File,
    out: PathBuf,
}

impl Run {
    pub(crate) fn open(config: &TrainConfig, out: &Path, existing: Existing) -> Result<Run, TrainerError> {
        config.check()?;
        if config.threads > 0 {
            set_threads(config.threads);
        }
        let device = config.device.open()?;
        let dataset = Arc::new(Dataset::open(&config.data.dataset)?);
        let samples = Arc::new(dataset.select(&selection(&dataset, &config.data, config.data.split))?);
        let validation_samples =
            config.validation.map(|_| dataset.select(&selection(&dataset, &config.data, Split::Validation)));
        let validation_samples = validation_samples.transpose()?.map(Arc::new);

        let text = toml::to_string(config).expect("a parsed configuration can be written");
        let resumed = resumable(&text, out, existing)?;
        let start = match (resumed, &config.model.start) {
            (Some(checkpoint), _) => Some((checkpoint, true)),
            (None, Start::Checkpoint(path)) => Some((Checkpoint::open(path)?, false)),
            (None, Start::Fresh(_)) => None,
        };
        let mut model = match (&start, &config.model.start) {
            (None, Start::Fresh(sizes)) => Med2e3::new(sizes, device, config.seed)?,
            (Some((checkpoint, _)), _) => checkpoint.model(device)?,
            (None, Start::Checkpoint(_)) => unreachable!("a start from a checkpoint was opened just above"),
        };
        match (&config.model.lora, &model.config().lora) {
            (Some(wanted), None) => model.add_adapters(wanted, config.seed)?,
            (Some(wanted), Some(found)) if wanted != found => {
                return Err(TrainerError::Config {
                    key: "model.lora".into(),
                    expected: format!("{found:?}, as the checkpoint has"),
                    found: format!("{wanted:?}"),
                });
            }
            _ => {}
        }
        let stored = start.as_ref().map(|(checkpoint, _)| checkpoint.tokenizers()).unwrap_or_default();
        fit::check(&model, stored.llm.as_deref(), &dataset)?;
        let tokenizers =
            Tokenizers { llm: Some(dataset.tokenizer()), text: config.model.text_tokenizer.clone().or(stored.text) };
        model.set_trainable(&config.model.train);
        let trainable = model.trainable();
        let OptimizerConfig { warmup_ratio, beta1, beta2, eps, weight_decay, full_rate_inputs, .. } = config.optimizer;
        let parameters = trainable.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect();
        let mut optimizer = AdamW::new(parameters, AdamWConfig { beta1, beta2, eps, weight_decay, full_rate_inputs });

        let per_epoch = batches_per_epoch(samples.rows.len(), config.data.batch_size);
        let all = config.data.epochs * per_epoch;
        let total_steps = config.data.max_steps.map_or(all, |most| all.min(most));
        if total_steps == 0 {
            return Err(TrainerError::Config {
                key: "data.epochs".into(),
                expected: "one step or more".into(),
                found: "none".into(),
            });
        }
        let selection: String = samples.hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut state = TrainState { step: 0, cursor: FeedCursor::default(), selection, validation: Vec::new() };
        let mut steps = Vec::new();
        if let Some((checkpoint, true)) = &start {
            let (saved, moments) = checkpoint.state()?;
            if saved.selection != state.selection {
                return Err(TrainerError::Config {
                    key: "data".into(),
                    expected: "the samples that the run began with".into(),
                    found: "others; the dataset or its subset has changed".into(),
                });
            }
            optimizer.load_state(moments)?;
            state = saved;
            steps = read_log(&out.join("train.jsonl"), state.step)?;
        }
        fs::create_dir_all(out).map_err(TrainerError::io(out, "create"))?;
        write_whole(&out.join("train.toml"), text.as_bytes())?;
        let log = open_log(&out.join("train.jsonl"), &steps)?;
        let plan = FeedPlan {
            order: Order::Shuffled { seed: config.seed },
            form: config.data.form,
            question: fit::question_form(&model),
            batch_size: config.data.batch_size,
            epochs: config.data.epochs,
            start: state.cursor,
            readers: config.data.readers,
            depth: config.data.depth,
            pad: dataset.index().end_token.map_or(0, i64::from),
        };
        Ok(Run {
            device,
            dataset,
            samples,
            model,
            trainable,
            optimizer,
            schedule: CosineSchedule::with_warmup_ratio(total_steps, warmup_ratio),
            total_steps,
            state,
            plan,
            tokenizers,
            validation_samples,
            steps,
            log,
            out: out.to_owned(),
        })
    }

    /// Writes one line of `train.jsonl`.
    pub(crate) fn log(&mut self, step: TrainStep) -> Result<(), TrainerError> {
        let line = serde_json::to_string(&step).expect("a step is plain data");
        writeln!(self.log, "{line}").map_err(TrainerError::io(&self.out.join("train.jsonl"), "write"))?;
        self.steps.push(step);
        Ok(())
    }

    /// Mean loss over the first batches of the validation split, weighed by their targets.
    pub(crate) fn validation_loss(&self, config: &ValidationConfig) -> Result<f64, TrainerError> {
        let Some(samples) = &self.validation_samples else {
            return Ok(f64::NAN);
        };
        let plan = FeedPlan { order: Order::ById, epochs: 1, start: FeedCursor::default(), ..self.plan.clone() };
        let mut feed = Feed::start(self.dataset.clone(), samples.clone(), plan);
        let (mut sum, mut targets) = (0.0, 0);
        for _ in 0..config.batches {
            let Some(batch) = feed.next_batch() else { break };
            let batch = batch?;
            let output = self.model.forward(&to_device(&batch, self.dataset.voxels(), self.device), false)?;
            sum += output.loss.double_value(&[]) * output.target_count as f64;
            targets += output.target_count;
            feed.recycle(batch);
        }
        let loss = sum / targets.max(1) as f64;
        match loss.is_finite() {
            true => Ok(loss),
            false => Err(TrainerError::Diverged { step: self.state.step, loss }),
        }
    }

    /// The last step in a few words, for the progress bar.
    pub(crate) fn in_words(&self) -> String {
        let recent = &self.steps[self.steps.len().saturating_sub(20)..];
        let mean = |get: fn(&TrainStep) -> f64| recent.iter().map(get).sum::<f64>() / recent.len().max(1) as f64;
        let (seconds, wait) = (mean(|s| s.seconds), mean(|s| s.wait_seconds));
        let share = 100.0 * wait / seconds.max(1e-9);
        let validation =
            self.state.validation.last().map_or(String::new(), |(_, loss)| format!(", validation {loss:.3}"));
        format!("loss {:.3}{validation}, {seconds:.2} s/step, waiting for data {share:.1} %", mean(|s| s.loss))
    }

    /// Writes `report.json` and gives it.
    pub(crate) fn report(self, config: &TrainConfig, seconds: f64) -> Result<TrainReport, TrainerError> {
        let count = |part: Part| (part.name().to_owned(), self.model.parameter_count(part));
        let adapters: u64 = self.model.adapters().iter().map(|(_, tensor)| tensor.numel() as u64).sum();
        let adapters = (adapters > 0).then_some(("adapters".to_owned(), adapters));
        let report = TrainReport {
            name: config.name.clone(),
            seed: config.seed,
            device: format!("{:?}", self.device).to_lowercase(),
            parameters: Part::ALL.into_iter().map(count).chain(adapters).collect::<BTreeMap<_, _>>(),
            trained: config.model.train.iter().map(|part| part.name().to_owned()).collect(),
            samples: self.samples.rows.len() as u64,
            samples_without_volume: self.samples.without_volume,
            steps: self.steps,
            validation: self.state.validation,
            seconds,
            checkpoint: format!("step-{}", self.state.step),
        };
        write_report(&self.out, &report)?;
        Ok(report)
    }
}

/// The seed of one step's random draws.
pub(crate) fn seed_of(seed: u64, step: u64) -> i64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.update(&step.to_le_bytes());
    let hash = hasher.finalize();
    let (first, _) = hash.as_bytes().as_chunks::<8>();
    i64::from_le_bytes(first[0])
}

fn selection(dataset: &Dataset, data: &DataConfig, split: Split) -> Selection {
    // A subset is drawn from the training split, and the validation split is used as it is; a new split has both.
    let subset = data.subset.clone().filter(|name| split == data.split || dataset.is_resplit(name));
    Selection { split, tasks: data.tasks.clone(), subset }
}

/// The checkpoint to go on from, where the folder holds this run already.
fn resumable(text: &str, out: &Path, existing: Existing) -> Result<Option<Checkpoint>, TrainerError> {
    if !fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some()) {
        return Ok(None);
    }
    let same = fs::read_to_string(out.join("train.toml")).is_ok_and(|found| found == text);
    let (problem, hint) = match (same, existing) {
        (true, Existing::Resume) => return checkpoint::last(out).map(|folder| Checkpoint::open(&folder)).transpose(),
        (true, Existing::Refuse) => ("holds this run already", "--resume goes on from its last checkpoint"),
        (false, _) => ("holds something else than this run", "give another --out, or remove the folder"),
    };
    Err(TrainerError::Output { path: out.to_owned(), problem: problem.into(), hint: hint.into() })
}

fn read_log(path: &Path, until: u64) -> Result<Vec<TrainStep>, TrainerError> {
    let text = fs::read_to_string(path).map_err(TrainerError::io(path, "read"))?;
    // A killed run may have logged steps after its last checkpoint, the last of them in part.
    let steps = text.lines().filter_map(|line| serde_json::from_str::<TrainStep>(line).ok());
    Ok(steps.filter(|step| step.step <= until).collect())
}

fn open_log(path: &Path, steps: &[TrainStep]) -> Result<File, TrainerError> {
    let lines: Vec<String> =
        steps.iter().map(|s| serde_json::to_string(s).expect("a step is plain data") + "\n").collect();
    write_whole(path, lines.concat().as_bytes())?;
    OpenOptions::new().append(true).open(path).map_err(TrainerError::io(path, "open"))
}
