//! No configuration panics: thousands of runs with values that no one should state end in a run or in one message that names
//! a key.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use med2e3_input::text::Tokenizer;
use med2e3_schemas::Id;
use med2e3_schemas::codec::VoxelCodec;
use med2e3_schemas::config::parse;
use med2e3_schemas::index::DatasetIndex;
use med2e3_schemas::sample::{self, IMAGE3D, SampleRow, Split, Task};
use med2e3_schemas::volume::{self, VolumeRow, VoxelCode, VoxelFormat};
use med2e3_shards::{PageLayout, ShardWriter, write_index};
use toml::{Table, Value};

use super::run::Run;
use super::{Existing, Observed, train};
use crate::config::TrainConfig;

/// Configurations that are drawn.
const RUNS: u64 = 2000;

/// A run of one step of a model of a few hundred weights.
pub(super) const BASE: &str = r#"
name = "wild"
seed = 1
device = "cpu"
threads = 1
checkpoint = { every_steps = 1 }
validation = { every = 1, batches = 1 }
[data]
dataset = "DATASET"
split = "train"
tasks = ["caption", "open_vqa"]
form = "conversation"
epochs = 1
max_steps = 1
readers = 1
depth = 1
[model]
train = ["llm", "vision2d_model", "vision2d_connector", "vision3d_model", "vision3d_connector"]
lora = { rank = 2, alpha = 4.0, dropout = 0.1, targets = ["all-linear"] }
[model.start.fresh]
initializer = "fan_in"
[model.start.fresh.llm]
hidden_size = 8
intermediate_size = 8
num_hidden_layers = 1
num_attention_heads = 2
num_key_value_heads = 2
head_dim = 4
vocab_size = 300
rms_norm_eps = 1e-5
rope_theta = 10000.0
max_position_embeddings = 64
sliding_window = 16
[model.start.fresh.vision2d]
hidden_size = 8
intermediate_size = 8
num_hidden_layers = 1
num_attention_heads = 2
image_size = 8
patch_size = 4
num_channels = 3
layer_norm_eps = 1e-6
[model.start.fresh.vision3d]
img_size = [2, 8, 8]
patch_size = [1, 4, 4]
hidden_size = 8
mlp_dim = 8
num_layers = 1
num_heads = 2
in_channels = 1
[model.start.fresh.variant]
text_feature = "llm_embedding"
local_feature = "both"
scorer = "text_guided"
aggregate = "scores"
visual_tokens = "both"
temperature = 1.0
score_dropout = 0.1
final_norm = false
slice_norm = "none"
connector3d = { spatial_pooling = { pool = [2, 2, 2], layers = 2 } }
connector2d = { mlp = { layers = 2 } }
max_length = 64
[step]
batch = 2
loss_group = 2
micro_batch = { tokens = 64, volumes = 2 }
augmentation = "m3d"
text_encoder_dropout = 0.0
max_skipped = 1
recompute = "selective"
[compute]
precision = "f32"
[optimizer]
learning_rate = 1e-3
warmup_ratio = 0.1
beta1 = 0.9
beta2 = 0.999
eps = 1e-8
weight_decay = 0.1
full_rate_inputs = 8
clip = 1.0
"#;

/// Three volumes with a caption and a question each, in both splits.
pub(super) fn write_dataset(root: &Path) {
    write_of(root, VoxelFormat::unit_range([2, 8, 8], VoxelCode::U8), 0, counted);
}

/// The same with volumes of this shape, and texts that are so many words longer, each by some more.
pub(super) fn write_sized(root: &Path, shape: [usize; 3], words: usize) {
    write_of(root, VoxelFormat::unit_range(shape, VoxelCode::U8), words, counted);
}

/// The same of volumes in this format, each a number's cell.
pub(super) fn write_dataset_of(root: &Path, format: VoxelFormat, cell: impl Fn(usize) -> Vec<u8>) {
    write_of(root, format, 0, |n, _| cell(n));
}

/// A number's cell of so many bytes.
fn counted(n: usize, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * (n + 1)) as u8).collect()
}

fn write_of(root: &Path, format: VoxelFormat, words: usize, cell: impl Fn(usize, usize) -> Vec<u8>) {
    let shape = format.shape_dhw;
    for folder in ["volumes", "samples"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    let tokenizer = Tokenizer::train_bpe(std::iter::once("a b".to_owned()), 260, &["<|endoftext|>"]).unwrap();
    fs::write(root.join("tokenizer.json"), tokenizer.to_json().unwrap()).unwrap();
    let id = |n: usize| Id::of_volume(&format!("volume {n}"));
    let rows: Vec<VolumeRow> = (0..3)
        .map(|n| VolumeRow {
            content_hash: [n as u8; 32],
            source_shape: shape.map(|size| size as u32),
            crop_stop: shape.map(|size| size as u32),
            ..VolumeRow::of_cell(id(n), cell(n, format.cell_bytes()))
        })
        .collect();
    let longer = |n: usize| words + words * n / 24;
    let samples: Vec<SampleRow> = (0..12)
        .map(|n| SampleRow {
            sample_id: Id::of_volume(&format!("sample {n}")),
            volume_ids: vec![id(n % 3)],
            task: if n % 2 == 0 { Task::Caption } else { Task::OpenVqa },
            topic: None,
            split: if n < 6 { Split::Train } else { Split::Validation },
            case_id: "1".into(),
            question: "a".into(),
            answer: "b".into(),
            choices: None,
            answer_choice: None,
            ids: [vec![1, IMAGE3D, 2, 3 + n as i32], vec![7; longer(n)], vec![5, 0]].concat(),
            target_spans: vec![(4 + longer(n) as u32, 6 + longer(n) as u32)],
            pretrain_ids: (n % 2 == 0).then(|| vec![IMAGE3D, 5]),
            question_ids_llm: vec![2, 3],
            question_ids_bert: None,
            truncated: false,
        })
        .collect();
    let (volumes, texts) = ("volumes/00000.parquet", "samples/00000.parquet");
    let mut writer =
        ShardWriter::create(&root.join(volumes), volume::schema(&format), PageLayout::Volumes(VoxelCodec::Zstd1))
            .unwrap();
    writer.write(&volume::to_batch(&rows, &format)).unwrap();
    let volumes = vec![writer.commit(volumes, &[]).unwrap()];
    let mut writer = ShardWriter::create(&root.join(texts), sample::schema(), PageLayout::Samples).unwrap();
    writer.write(&sample::to_batch(&samples)).unwrap();
    let index = DatasetIndex {
        visual_tokens: (shape.iter().product::<usize>() / 8) as u32,
        tokenizer: Some("tokenizer.json".into()),
        end_token: Some(0),
        ..DatasetIndex::of_shards(format, volumes, vec![writer.commit(texts, &[]).unwrap()])
    };
    write_index(root, &index).unwrap();
}

/// splitmix64.
struct Draws(u64);

impl Draws {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % count as u64) as usize
    }

    fn of<T: Clone>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())].clone()
    }

    fn integer(&mut self) -> i64 {
        let large = 1 << (self.below(62) as i64);
        self.of(&[0, 1, 2, 3, 5, 7, 16, 100, -1, -2, large, large, -large, i64::MAX, i64::MIN, 1_000_000_000_000])
    }

    fn float(&mut self) -> f64 {
        let size = 10f64.powi(self.below(640) as i32 - 320);
        let wild = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, f64::MIN_POSITIVE];
        let plain = [0.0, -0.0, 0.5, 1.0, 1.0 - 1e-16, 1.5, 2.0, -1.0, size, -size];
        if self.below(2) == 0 { self.of(&wild) } else { self.of(&plain) }
    }

    fn word(&mut self) -> String {
        let words = [
            "",
            "nonsense",
            "cpu",
            "train",
            "validation",
            "test",
            "caption",
            "open_vqa",
            "closed_vqa",
            "conversation",
            "pretrain",
            "prompt",
            "llm",
            "vision2d_model",
            "vision2d_connector",
            "vision3d_model",
            "vision3d_connector",
            "fan_in",
            "m3d_clip",
            "llm_embedding",
            "both",
            "vision3d",
            "vision2d",
            "text_guided",
            "linear",
            "uniform",
            "random",
            "gauss",
            "scores",
            "mean",
            "max",
            "none",
            "siglip",
            "identity",
            "all-linear",
            "paper",
            "released",
            "vision2d_only",
            "m3d_lamed",
            "top3",
            "refuse",
        ];
        self.of(&words).to_owned()
    }

    /// Another value in a value's stead, of its kind for the most part.
    fn wild(&mut self, value: &Value) -> Value {
        if self.below(12) == 0 {
            return match self.below(5) {
                0 => Value::Integer(self.integer()),
                1 => Value::Float(self.float()),
                2 => Value::String(self.word()),
                3 => Value::Array(Vec::new()),
                _ => Value::Table(Table::new()),
            };
        }
        match value {
            Value::Integer(_) => Value::Integer(self.integer()),
            Value::Float(_) => Value::Float(self.float()),
            Value::Boolean(is) => Value::Boolean(!is),
            Value::Array(values) if values.is_empty() => Value::Array(vec![Value::String(self.word())]),
            Value::Array(values) => {
                let count = self.below(values.len() + 2);
                Value::Array((0..count).map(|at| self.wild(&values[at % values.len()])).collect())
            }
            Value::Table(_) if self.below(3) > 0 => Value::String(self.word()),
            Value::Table(_) => self.connector(),
            _ => Value::String(self.word()),
        }
    }

    fn connector(&mut self) -> Value {
        let layers = self.integer();
        let pool = [self.integer(), self.integer(), self.integer()].map(|block| block.clamp(-1, 4));
        let text = match self.below(4) {
            0 => format!("x = {{ mlp = {{ layers = {layers} }} }}"),
            1 => format!("x = {{ spatial_pooling = {{ pool = {pool:?}, layers = {layers} }} }}"),
            2 => format!("x = {{ plane_pooling = {{ pool = {:?}, layers = 1 }} }}", &pool[..2]),
            _ => "x = { top_k = 1 }".to_owned(),
        };
        text.parse::<Table>().unwrap().remove("x").unwrap()
    }
}

/// Every path of a table, those of tables included.
fn paths(prefix: &[String], table: &Table, found: &mut Vec<Vec<String>>) {
    for (key, value) in table {
        let path = [prefix, std::slice::from_ref(key)].concat();
        if let Value::Table(inner) = value {
            paths(&path, inner, found);
        }
        found.push(path);
    }
}

fn slot<'a>(table: &'a mut Table, path: &[String]) -> Option<&'a mut Value> {
    let (first, rest) = path.split_first()?;
    let value = table.get_mut(first)?;
    if rest.is_empty() { Some(value) } else { slot(value.as_table_mut()?, rest) }
}

fn remove(table: &mut Table, path: &[String]) {
    match path {
        [last] => drop(table.remove(last)),
        [first, rest @ ..] => {
            if let Some(inner) = table.get_mut(first).and_then(Value::as_table_mut) {
                remove(inner, rest);
            }
        }
        [] => {}
    }
}

#[test]
fn no_configuration_panics() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = folder.path().join("dataset");
    write_dataset(&dataset);
    let base: Table = BASE.replace("DATASET", dataset.to_str().unwrap()).parse().unwrap();
    let mut all = Vec::new();
    paths(&[], &base, &mut all);
    let segments: Vec<&String> = all.iter().map(|path| path.last().unwrap()).collect();
    let (mut ran, mut opened, mut refused) = (0, 0, 0);
    for number in 0..RUNS {
        let mut draws = Draws(number);
        let mut table = base.clone();
        let mut changed = Vec::new();
        // Adapters and presets change what most of the other keys mean, so a half of the runs is without adapters.
        if draws.below(2) == 0 {
            remove(&mut table, &["model".to_owned(), "lora".to_owned()]);
        }
        for _ in 0..1 + draws.below(3) {
            let path = draws.of(&all);
            if draws.below(10) == 0 {
                remove(&mut table, &path);
            } else if let Some(slot) = slot(&mut table, &path) {
                let wild = draws.wild(slot);
                *slot = wild;
            }
            changed.push(path.join("."));
        }
        let text = toml::to_string(&table).unwrap();
        let what = || format!("run {number}, changed {}:\n{text}", changed.join(", "));
        let out = folder.path().join(format!("run-{number}"));
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let config: TrainConfig = parse("wild.toml", &text, &[]).map_err(|error| error.to_string())?;
            let is_short = config.data.max_steps.is_some_and(|steps| steps <= 2);
            let validates = config.validation.is_none_or(|validation| validation.batches <= 4);
            if is_short && validates {
                train(&config, &out, Existing::Refuse, &Observed::default())
                    .map(|_| true)
                    .map_err(|error| error.to_string())
            } else {
                Run::open(&config, &out, Existing::Refuse, &Observed::default())
                    .map(|_| false)
                    .map_err(|error| error.to_string())
            }
        }));
        match outcome.unwrap_or_else(|_| panic!("a panic in {}", what())) {
            Ok(true) => ran += 1,
            Ok(false) => opened += 1,
            Err(message) => {
                refused += 1;
                let is_named = segments.iter().any(|key| message.contains(key.as_str()));
                assert!(is_named || message.contains("not finite"), "no key in `{message}` of {}", what());
            }
        }
        let _ = fs::remove_dir_all(&out);
    }
    // Neither all refused nor all accepted: else nothing was tried.
    assert!(ran > RUNS / 20 && opened > 0 && refused > RUNS / 4, "{ran} ran, {opened} opened, {refused} refused");
}
