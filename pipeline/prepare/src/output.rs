//! The output folder: whose run it is, what belongs in it, and what its recipe is.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use med2e3_feed::shard::commit::{sibling, write_whole};
use med2e3_schemas::Id;
use med2e3_schemas::config::parse;
use med2e3_schemas::index::DatasetIndex;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::PrepareError;
use crate::config::{EngineConfig, LimitsConfig, PrepareConfig};

/// Rises when the bytes of a shard change for the same recipe and inputs, so that old shards are made again.
const RECIPE_REVISION: u64 = 1;

/// Makes the folder this run's: new, or the same configuration's from before, which is then resumed. Limits and threads
/// may differ: they change no row.
///
/// # Errors
/// A folder that holds another run or something else.
pub fn claim(out: &Path, config: &PrepareConfig) -> Result<(), PrepareError> {
    let path = out.join("prepare.toml");
    // A run that was killed at its very start leaves the temporary file of its configuration, no more.
    let entries = fs::read_dir(out).into_iter().flatten().flatten().map(|entry| entry.path());
    let occupied = entries.into_iter().any(|entry| entry != sibling(&path));
    if occupied {
        let found = fs::read_to_string(&path).ok().map(|text| parse::<PrepareConfig>("prepare.toml", &text, &[]));
        let problem = match found {
            Some(Ok(found)) if what_matters(&found) == what_matters(config) => None,
            Some(_) => Some("holds a dataset of another configuration"),
            None => Some("is not empty and holds no dataset"),
        };
        if let Some(problem) = problem {
            return Err(PrepareError::Output {
                path: out.to_owned(),
                problem: problem.into(),
                hint: "give another --out, or remove the folder".into(),
            });
        }
    }
    fs::create_dir_all(out).map_err(PrepareError::io(out, "create"))?;
    // Until this run ends there is no dataset: an old index over new shards would be wrong.
    let index = out.join("dataset.json");
    if index.exists() {
        fs::remove_file(&index).map_err(PrepareError::io(&index, "remove"))?;
    }
    write_whole(&path, text_of(config).as_bytes())?;
    for folder in ["volumes", "samples", "subsets", "manifest/inputs"] {
        let folder = out.join(folder);
        fs::create_dir_all(&folder).map_err(PrepareError::io(&folder, "create"))?;
    }
    Ok(())
}

fn text_of(config: &PrepareConfig) -> String {
    toml::to_string(config).expect("a parsed configuration can be written")
}

fn what_matters(config: &PrepareConfig) -> String {
    let engine = EngineConfig { threads: 0, ..config.engine.clone() };
    let limits = LimitsConfig { reject_rows: 0, reject_percent: 0.0 };
    text_of(&PrepareConfig { engine, limits, ..config.clone() })
}

/// Everything in the configuration that changes the bytes of a table's shards, as a hash for each table.
#[derive(Clone, Debug)]
pub struct RecipeHashes {
    /// Of volume shards.
    pub volumes: String,
    /// Of sample shards.
    pub samples: String,
}

/// Contents of files that the configuration names and that change the bytes of sample shards.
#[derive(Clone, Debug)]
pub struct TextFiles<'a> {
    /// The run's tokenizer.json.
    pub tokenizer: &'a [u8],
    /// The question tokenizer's identity, if the run has one.
    pub question_tokenizer: Option<String>,
    /// The caption instructions.
    pub prompts: &'a [String],
}

impl RecipeHashes {
    /// The hashes of a configuration and of what its files hold.
    pub fn of(config: &PrepareConfig, files: &TextFiles<'_>) -> RecipeHashes {
        let hash = |parts: &[String], more: &[&[u8]]| {
            Id::of_parts(parts.iter().map(String::as_bytes).chain(more.iter().copied())).to_string()
        };
        let revision = RECIPE_REVISION.to_string();
        let (volume, text, engine) = (&config.volume, &config.text, &config.engine);
        let volume = format!("{:?} {:?} {:?}", volume.recipe, volume.shape, volume.voxels);
        let text = format!("{:?} {} {} {}", text.template, text.length, text.visual_tokens, text.keep_end);
        let prompts = hash(files.prompts, &[]);
        let questions = format!("{:?}", files.question_tokenizer);
        RecipeHashes {
            volumes: hash(&[revision.clone(), volume, engine.volumes_per_range.to_string()], &[b"".as_slice()]),
            samples: hash(
                &[revision, text, prompts, questions, engine.texts_per_range.to_string()],
                &[files.tokenizer],
            ),
        }
    }

    /// Both as one.
    pub fn joined(&self) -> String {
        Id::of_parts([self.volumes.as_bytes(), self.samples.as_bytes()]).to_string()
    }
}

/// A pool of its own, so that the work's threads are counted and named; 0 is one for each core.
///
/// # Errors
/// The system gives no threads.
pub fn threads(count: usize) -> Result<ThreadPool, PrepareError> {
    let builder = ThreadPoolBuilder::new().num_threads(count).thread_name(|i| format!("prepare-{i}"));
    builder.build().map_err(|e| PrepareError::Engine(Box::new(e)))
}

/// Removes shards and temporary files that the index does not name: left by a killed run, or by a larger manifest.
///
/// # Errors
/// The system refuses to list or remove.
pub fn remove_other_shards(out: &Path, index: &DatasetIndex) -> Result<(), PrepareError> {
    let named: HashSet<_> = index.volumes.iter().chain(&index.samples).map(|shard| out.join(&shard.path)).collect();
    for folder in ["volumes", "samples"] {
        let folder = out.join(folder);
        let entries = fs::read_dir(&folder).map_err(PrepareError::io(&folder, "list"))?;
        for path in entries.flatten().map(|entry| entry.path()).filter(|path| !named.contains(path)) {
            fs::remove_file(&path).map_err(PrepareError::io(&path, "remove"))?;
        }
    }
    Ok(())
}
