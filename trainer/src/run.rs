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
use med2e3_input::text::Tokenizer;
use med2e3_schemas::report::{TrainReport, TrainStep};
use med2e3_schemas::sample::Split;
use tch::{Device, Tensor};

use crate::TrainerError;
use crate::checkpoint::{self, Checkpoint, TrainState};
use crate::config::{DataConfig, OptimizerConfig, Start, TrainConfig, ValidationConfig};
use crate::device::set_threads;
use crate::device_batch::to_device;
use crate::model::{Med2e3, Part};
use crate::optimizer::{AdamW, AdamWConfig};
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
    pub(crate) validation: Vec<(u64, f64)>,
    validation_samples: Option<Arc<Samples>>,
    steps: Vec<TrainStep>,
    log: File,
    out: PathBuf,
}

impl Run {
    pub(crate) fn open(config: &TrainConfig, out: &Path, existing: Existing) -> Result<Run, TrainerError> {
        if config.threads > 0 {
            set_threads(config.threads);
        }
        let device = config.device.open()?;
        let dataset = Arc::new(Dataset::open(&config.data.dataset)?);
        let samples = Arc::new(dataset.select(&selection(&config.data, config.data.split))?);
        let validation_samples = config.validation.map(|_| dataset.select(&selection(&config.data, Split::Validation)));
        let validation_samples = validation_samples.transpose()?.map(Arc::new);

        let resumed = claim(config, out, existing)?;
        let model = match (&resumed, &config.model.start) {
            (Some(checkpoint), _) => checkpoint.model(device)?,
            (None, Start::Checkpoint(path)) => Checkpoint::open(path)?.model(device)?,
            (None, Start::Fresh(sizes)) => Med2e3::new(sizes, device, config.seed)?,
        };
        check_fit(&model, &dataset)?;
        model.set_trainable(&config.model.train);
        let trainable = model.trainable();
        let OptimizerConfig { learning_rate: _, warmup_ratio, beta1, beta2, eps, weight_decay, clip: _ } =
            config.optimizer;
        let parameters = trainable.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect();
        let mut optimizer = AdamW::new(parameters, AdamWConfig { beta1, beta2, eps, weight_decay });

        let per_epoch = batches_per_epoch(samples.rows.len(), config.data.batch_size);
        let all = config.data.epochs * per_epoch;
        let total_steps = config.data.max_steps.map_or(all, |most| all.min(most));
        let mut state = TrainState { step: 0, cursor: FeedCursor::default() };
        let mut steps = Vec::new();
        if let Some(checkpoint) = &resumed {
            let (saved, moments) = checkpoint.state()?;
            optimizer.load_state(moments)?;
            state = saved;
            steps = read_log(&out.join("train.jsonl"), state.step)?;
        }
        let log = open_log(&out.join("train.jsonl"), &steps)?;
        let plan = FeedPlan {
            order: Order::Shuffled { seed: config.seed },
            form: config.data.form,
            batch_size: config.data.batch_size,
            epochs: config.data.epochs,
            start: state.cursor,
            readers: config.data.readers,
            depth: config.data.depth,
            pad: i64::from(dataset.index().end_token),
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
            validation: Vec::new(),
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
        Ok(sum / targets.max(1) as f64)
    }

    /// The last step in a few words, for the progress bar.
    pub(crate) fn in_words(&self) -> String {
        let recent = &self.steps[self.steps.len().saturating_sub(20)..];
        let mean = |get: fn(&TrainStep) -> f64| recent.iter().map(get).sum::<f64>() / recent.len().max(1) as f64;
        let (seconds, wait) = (mean(|s| s.seconds), mean(|s| s.wait_seconds));
        let share = 100.0 * wait / seconds.max(1e-9);
        let validation = self.validation.last().map_or(String::new(), |(_, loss)| format!(", validation {loss:.3}"));
        format!("loss {:.3}{validation}, {seconds:.2} s/step, waiting for data {share:.1} %", mean(|s| s.loss))
    }

    /// Writes `report.json` and gives it.
    pub(crate) fn report(
        self,
        config: &TrainConfig,
        checkpoint: String,
        seconds: f64,
    ) -> Result<TrainReport, TrainerError> {
        let count = |part: Part| {
            let elements = self.model.parameters(part).iter().map(|(_, tensor)| tensor.numel() as u64).sum();
            (part.name().to_owned(), elements)
        };
        let report = TrainReport {
            name: config.name.clone(),
            seed: config.seed,
            device: format!("{:?}", self.device).to_lowercase(),
            parameters: Part::ALL.into_iter().map(count).collect::<BTreeMap<_, _>>(),
            trained: config.model.train.iter().map(|part| part.name().to_owned()).collect(),
            samples: self.samples.rows.len() as u64,
            samples_without_volume: self.samples.without_volume,
            steps: self.steps,
            validation: self.validation,
            seconds,
            checkpoint,
        };
        let text = serde_json::to_vec_pretty(&report).expect("a report is plain data");
        write_whole(&self.out.join("report.json"), &text)?;
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

fn selection(data: &DataConfig, split: Split) -> Selection {
    // A subset is drawn from the training split; the validation split is used as it is.
    let subset = if split == data.split { data.subset.clone() } else { None };
    Selection { split, tasks: data.tasks.clone(), subset }
}

/// Makes the folder this run's; gives the checkpoint to go on from.
fn claim(config: &TrainConfig, out: &Path, existing: Existing) -> Result<Option<Checkpoint>, TrainerError> {
    let text = toml::to_string(config).expect("a parsed configuration can be written");
    let path = out.join("train.toml");
    let occupied = fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some());
    if occupied {
        let same = fs::read_to_string(&path).is_ok_and(|found| found == text);
        let refuse = |problem: &str, hint: &str| {
            Err(TrainerError::Output { path: out.to_owned(), problem: problem.into(), hint: hint.into() })
        };
        match (same, existing) {
            (false, _) => {
                return refuse("holds something else than this run", "give another --out, or remove the folder");
            }
            (true, Existing::Refuse) => {
                return refuse("holds this run already", "--resume goes on from its last checkpoint");
            }
            (true, Existing::Resume) => {}
        }
        return checkpoint::last(out).map(|folder| Checkpoint::open(&folder)).transpose();
    }
    fs::create_dir_all(out).map_err(TrainerError::io(out, "create"))?;
    write_whole(&path, text.as_bytes())?;
    Ok(None)
}

/// Whether the model was made for this dataset.
fn check_fit(model: &Med2e3, dataset: &Dataset) -> Result<(), TrainerError> {
    let index = dataset.index();
    let tokenizer = Tokenizer::load(&dataset.root().join(&index.tokenizer))?;
    let (config, shape) = (model.config(), index.voxels.shape_dhw.map(|n| n as i64));
    let check = |key: &str, fits: bool, expected: String, found: String| match fits {
        true => Ok(()),
        false => Err(TrainerError::Config { key: key.into(), expected, found }),
    };
    let (entries, vocabulary) = (tokenizer.vocab_size() as i64, config.llm.vocab_size);
    check(
        "model.llm.vocab_size",
        vocabulary >= entries,
        format!("{entries} or more, as the dataset's tokenizer has"),
        vocabulary.to_string(),
    )?;
    let sizes = config.vision3d.img_size;
    check(
        "model.vision3d.img_size",
        sizes == shape,
        format!("{shape:?}, the dataset's volumes"),
        format!("{sizes:?}"),
    )?;
    let (visual, stated) = (config.visual_token_count(), i64::from(index.visual_tokens));
    check(
        "model",
        visual <= stated,
        format!("at most {stated} visual tokens, as the dataset's length budget counted"),
        visual.to_string(),
    )
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
