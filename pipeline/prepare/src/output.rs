//! The output folder: whose run it is, what belongs in it, and what its recipe is.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use med2e3_feed::shard::commit::{file_entry, sibling, write_whole};
use med2e3_schemas::Id;
use med2e3_schemas::config::parse;
use med2e3_schemas::index::{DatasetIndex, FileEntry};
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::PrepareError;
use crate::config::{EngineConfig, LimitsConfig, PrepareConfig};
use crate::provenance::{Paths, Provenance};
use crate::tokenizer::{self, TextTools};
use crate::work::CheckInputs;

/// Rises when the bytes of a shard change for the same recipe and inputs, so that old shards are made again.
const RECIPE_REVISION: u64 = 2;

/// Where a run reads, works and writes.
#[derive(Debug)]
pub struct Workplace {
    /// The data root, with links resolved.
    pub root: PathBuf,
    /// The dataset.
    pub dataset: PathBuf,
    /// The manifest's tables and the receipts of finished ranges: in the dataset, or beside it where names are withheld.
    pub work: PathBuf,
    /// What the dataset may say about paths.
    pub provenance: Provenance,
    // Held as long as the run goes on.
    lock: Option<File>,
}

impl Workplace {
    /// Makes the folder this run's: new, or the same configuration's from before, which is then resumed. Limits, threads
    /// and the check of inputs may differ: they change no row.
    ///
    /// # Errors
    /// A folder that holds another run or something else, or that another process writes to; a data root that is not there.
    pub fn claim(out: &Path, config: &PrepareConfig) -> Result<Workplace, PrepareError> {
        let root = fs::canonicalize(&config.root).map_err(PrepareError::io(&config.root, "open"))?;
        let work = Provenance::folder(config.provenance.paths, out);
        let path = config_path(config, out, &work);
        // A run that was killed at its very start leaves the temporary file of its configuration, no more.
        let mine = [sibling(&path), path.clone(), work.clone(), work.join("lock")];
        let entries = fs::read_dir(out).into_iter().flatten().flatten().map(|entry| entry.path());
        let occupied = path.exists() || entries.into_iter().any(|entry| !mine.contains(&entry));
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
        for folder in [out, &work] {
            fs::create_dir_all(folder).map_err(PrepareError::io(folder, "create"))?;
        }
        let lock = Some(lock(&work.join("lock"), out)?);
        let provenance = Provenance::open(config.provenance.paths, &work)?;
        // How the work is shared is no part of what the dataset is.
        let text = text_of(&PrepareConfig { engine: sharing_aside(config), ..config.clone() });
        write_whole(&path, text.as_bytes())?;
        write_whole(&out.join("prepare.toml"), provenance.configuration(&text).as_bytes())?;
        let receipts = [work.join("receipts/volumes"), work.join("receipts/samples")];
        for folder in ["volumes", "samples", "subsets"].map(|name| out.join(name)).into_iter().chain(receipts) {
            fs::create_dir_all(&folder).map_err(PrepareError::io(&folder, "create"))?;
        }
        Ok(Workplace { root, dataset: out.to_owned(), work, provenance, lock })
    }

    /// A folder that belongs to no run, for measurements.
    ///
    /// # Errors
    /// The system refuses; a data root that is not there.
    pub fn temporary(folder: &Path, config: &PrepareConfig) -> Result<Workplace, PrepareError> {
        let root = fs::canonicalize(&config.root).map_err(PrepareError::io(&config.root, "open"))?;
        for table in ["volumes", "samples", "manifest/receipts/volumes", "manifest/receipts/samples"] {
            let table = folder.join(table);
            fs::create_dir_all(&table).map_err(PrepareError::io(&table, "create"))?;
        }
        let (dataset, work) = (folder.to_owned(), folder.join("manifest"));
        Ok(Workplace { root, dataset, work, provenance: Provenance::Keep, lock: None })
    }

    /// Lets other processes work at parts of the same run from here on: the tables are there.
    ///
    /// # Errors
    /// The system refuses.
    pub fn share(&self) -> Result<(), PrepareError> {
        let share = |lock: &File| lock.unlock().and_then(|()| lock.lock_shared());
        self.lock.as_ref().map_or(Ok(()), share).map_err(PrepareError::io(&self.work, "lock"))
    }

    /// Removes an index: until the run ends there is no dataset, and an old index over new shards would be wrong.
    ///
    /// # Errors
    /// The system refuses.
    pub fn remove_index(&self) -> Result<(), PrepareError> {
        let index = self.dataset.join("dataset.json");
        match index.exists() {
            true => fs::remove_file(&index).map_err(PrepareError::io(&index, "remove")),
            false => Ok(()),
        }
    }
}

/// Where the reasons of a run stand in full.
pub fn full_quarantine(paths: Paths, out: &Path) -> PathBuf {
    let folder = if paths == Paths::Keep { out.to_owned() } else { Provenance::folder(paths, out) };
    folder.join("quarantine.parquet")
}

/// Every file of a dataset but shards, reports and the index, for the index.
///
/// # Errors
/// A file that can't be read.
pub fn files(dataset: &Path) -> Result<BTreeMap<String, FileEntry>, PrepareError> {
    let own = ["prepare.toml", "quarantine.parquet", "tokenizer.json"].map(str::to_owned);
    let subsets = fs::read_dir(dataset.join("subsets")).into_iter().flatten().flatten();
    let subsets = subsets.map(|entry| format!("subsets/{}", entry.file_name().to_string_lossy()));
    let names = own.into_iter().chain(subsets.filter(|name| name.ends_with(".parquet")));
    let there = names.filter(|name| dataset.join(name).is_file());
    there.map(|name| Ok((name.clone(), file_entry(&dataset.join(&name))?))).collect()
}

/// The ranges that one of several processes works at: those whose number leaves `index` when divided by `count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    index: u32,
    count: u32,
}

impl Part {
    /// All ranges, and the index at the end.
    pub const WHOLE: Part = Part { index: 0, count: 1 };

    /// Whether a range belongs to the part.
    pub fn holds(self, range: u32) -> bool {
        range % self.count == self.index
    }
}

impl FromStr for Part {
    type Err = String;

    /// Reads `2/4`: the second of four.
    fn from_str(text: &str) -> Result<Part, String> {
        let numbers = text.split_once('/').and_then(|(i, n)| Some((i.parse::<u32>().ok()?, n.parse::<u32>().ok()?)));
        match numbers {
            Some((index, count)) if (1..=count).contains(&index) => Ok(Part { index: index - 1, count }),
            _ => Err(format!("expected I/N with I from 1 to N, found {text}")),
        }
    }
}

/// Where the whole configuration lies: in the dataset, or beside it where names are withheld.
fn config_path(config: &PrepareConfig, out: &Path, work: &Path) -> PathBuf {
    match config.provenance.paths {
        Paths::Keep => out.join("prepare.toml"),
        Paths::Hash => work.join("prepare.toml"),
    }
}

/// One process at a time reads the manifest; then several may work at their parts.
fn lock(path: &Path, out: &Path) -> Result<File, PrepareError> {
    let file = File::options().create(true).truncate(false).write(true).open(path);
    let file = file.map_err(PrepareError::io(path, "open"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::Error(error)) => Err(PrepareError::io(path, "lock")(error)),
        Err(TryLockError::WouldBlock) => Err(PrepareError::Output {
            path: out.to_owned(),
            problem: "another process prepares this dataset".into(),
            hint: "wait for it; to share the work give each process its own --part I/N".into(),
        }),
    }
}

fn text_of(config: &PrepareConfig) -> String {
    toml::to_string(config).expect("a parsed configuration can be written")
}

fn what_matters(config: &PrepareConfig) -> String {
    let limits = LimitsConfig { reject_rows: 0, reject_percent: 0.0 };
    text_of(&PrepareConfig { engine: sharing_aside(config), limits, ..config.clone() })
}

fn sharing_aside(config: &PrepareConfig) -> EngineConfig {
    EngineConfig { threads: 0, check_inputs: CheckInputs::Quick, ..config.engine.clone() }
}

/// Everything in the configuration that changes the bytes of a table's shards, as a hash for each table.
#[derive(Clone, Debug)]
pub struct RecipeHashes {
    /// Of volume shards.
    pub volumes: String,
    /// Of sample shards.
    pub samples: String,
}

impl RecipeHashes {
    /// The hashes of a configuration and of the files that it names; `tools` are those of its texts, where it has texts.
    ///
    /// # Errors
    /// A file that can't be read.
    pub fn of(
        config: &PrepareConfig,
        place: &Workplace,
        tools: Option<&TextTools>,
    ) -> Result<RecipeHashes, PrepareError> {
        let contents = |path: &Path| fs::read(path).map_err(PrepareError::io(path, "read"));
        let tokenizer = tools.map(|_| contents(&place.dataset.join(tokenizer::FILE))).transpose()?.unwrap_or_default();
        let prompts = config.text.caption_prompts.as_deref().map(contents).transpose()?.unwrap_or_default();
        let questions = tools.and_then(|tools| tools.question_tokenizer.as_ref());
        let questions = format!("{:?}", questions.map(|tokenizer| tokenizer.identity()).transpose()?);
        let hash = |parts: &[String], more: &[&[u8]]| {
            Id::of_parts(parts.iter().map(String::as_bytes).chain(more.iter().copied())).to_string()
        };
        // The key under which names are hashed is not to be found in the dataset, not even as a short text's hash.
        let names = hash(&[format!("{:?}", place.provenance)], &[]);
        let revision = RECIPE_REVISION.to_string();
        let (volume, text, engine) = (&config.volume, &config.text, &config.engine);
        let volume = format!("{:?} {:?} {:?}", volume.recipe, volume.shape, volume.voxels);
        let text = format!("{:?} {} {} {}", text.template, text.length, text.visual_tokens, text.keep_end);
        let (volumes, texts) = (engine.volumes_per_range.to_string(), engine.texts_per_range.to_string());
        Ok(RecipeHashes {
            volumes: hash(&[revision.clone(), volume, names.clone(), volumes], &[]),
            samples: hash(&[revision, text, names, questions, texts], &[&prompts, &tokenizer]),
        })
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

/// Removes shards, receipts and temporary files that the index does not name: left by a killed run, or by a larger
/// manifest.
///
/// # Errors
/// The system refuses to list or remove.
pub fn remove_others(place: &Workplace, index: &DatasetIndex) -> Result<(), PrepareError> {
    for (table, shards) in [("volumes", &index.volumes), ("samples", &index.samples)] {
        let stems: HashSet<_> = shards.iter().filter_map(|shard| Path::new(&shard.path).file_stem()).collect();
        let folder = place.dataset.join(table);
        let entries = fs::read_dir(&folder).map_err(PrepareError::io(&folder, "list"))?;
        for path in entries.flatten().map(|entry| entry.path()) {
            let named = path.extension().is_some_and(|ending| ending == "parquet")
                && path.file_stem().is_some_and(|stem| stems.contains(stem));
            if !named {
                fs::remove_file(&path).map_err(PrepareError::io(&path, "remove"))?;
            }
        }
        let folder = place.work.join("receipts").join(table);
        for path in fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let range = name.split('-').next().unwrap_or_default();
            if name.ends_with(".part") || !stems.contains(std::ffi::OsStr::new(range)) {
                fs::remove_file(&path).map_err(PrepareError::io(&path, "remove"))?;
            }
        }
    }
    Ok(())
}
