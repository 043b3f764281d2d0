//! The output folder: whose run it is, who may work in it, and what belongs in it.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use med2e3_schemas::config::parse;
use med2e3_schemas::index::DatasetIndex;
use med2e3_schemas::quarantine::Table;
use med2e3_shards::index;
use med2e3_store::temporary::{is_temporary, is_temporary_of};
use med2e3_store::{FileError, LocalFolder, Store, put_whole};

use super::part::RangePart;
use crate::PrepareError;
use crate::config::{CheckInputs, EngineConfig, LimitsConfig, PrepareConfig};
use crate::provenance::{Paths, Provenance};
use crate::work::WorkSpec;

/// The run's configuration in its folder.
const CONFIG: &str = "prepare.toml";

/// Where a run reads, works and writes.
#[derive(Debug)]
pub struct RunFolder {
    /// The data root, with links resolved.
    pub root: PathBuf,
    /// The dataset.
    pub dataset: PathBuf,
    /// The manifest's tables and the receipts of finished ranges: in the dataset, or next to it where names are withheld.
    pub work: PathBuf,
    /// What the dataset may say about paths.
    pub provenance: Provenance,
    // Held as long as the run goes on.
    lock: Option<Lock>,
}

/// The lock on the folder.
#[derive(Debug)]
struct Lock {
    file: File,
    sharing: Sharing,
}

/// Who else may work in the folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sharing {
    /// Nobody: the tables may be made.
    Alone,
    /// Other processes with parts of their own; the tables are on the disk.
    Shared,
}

impl RunFolder {
    /// Makes the folder this run's: new, or the same configuration's from before, which is then resumed. Limits, threads
    /// and the check of inputs may differ: they change no row. With a part, blocks while another process reads the manifest.
    ///
    /// # Errors
    /// A folder that holds another run or something else, or that another process writes to; a data root that does not exist.
    pub fn claim(out: &Path, config: &PrepareConfig, part: RangePart) -> Result<RunFolder, PrepareError> {
        let root = fs::canonicalize(&config.root).map_err(PrepareError::file(&config.root, "open"))?;
        let paths = config.provenance.paths;
        let work = Provenance::folder(paths, out);
        // The whole configuration, which names files, is next to the dataset where names are withheld.
        let path = if paths == Paths::Keep { out.join(CONFIG) } else { work.join(CONFIG) };
        refuse_other_runs(out, &path, &work, config)?;
        for folder in [out, &work] {
            fs::create_dir_all(folder).map_err(PrepareError::file(folder, "create"))?;
        }
        let lock = Some(Lock::take(&work.join("lock"), out, part)?);
        let provenance = Provenance::open(paths, &work)?;
        // How the work is shared is no part of what the dataset is.
        let text = text_of(&PrepareConfig { engine: sharing_aside(config), ..config.clone() });
        put_whole(&path, text.as_bytes())?;
        put_whole(&out.join(CONFIG), provenance.configuration(&text).as_bytes())?;
        let folder = RunFolder { root, dataset: out.to_owned(), work, provenance, lock };
        folder.create_folders()?;
        Ok(folder)
    }

    /// A folder that belongs to no run, for measurements.
    ///
    /// # Errors
    /// The system refuses; a data root that does not exist.
    pub fn temporary(folder: &Path, config: &PrepareConfig) -> Result<RunFolder, PrepareError> {
        let root = fs::canonicalize(&config.root).map_err(PrepareError::file(&config.root, "open"))?;
        let (dataset, work) = (folder.to_owned(), folder.join("manifest"));
        fs::create_dir_all(&work).map_err(PrepareError::file(&work, "create"))?;
        let provenance = Provenance::open(config.provenance.paths, &work)?;
        let folder = RunFolder { root, dataset, work, provenance, lock: None };
        folder.create_folders()?;
        Ok(folder)
    }

    /// Lets other processes work at parts of the same run from now on: the tables are on the disk.
    ///
    /// # Errors
    /// The system refuses.
    pub fn share(&mut self) -> Result<(), PrepareError> {
        if let Some(lock) = self.lock.as_mut().filter(|lock| lock.sharing == Sharing::Alone) {
            let shared = lock.file.unlock().and_then(|()| lock.file.lock_shared());
            shared.map_err(PrepareError::file(&self.work, "lock"))?;
            lock.sharing = Sharing::Shared;
        }
        Ok(())
    }

    /// Whether other processes may be working in the folder.
    pub fn is_shared(&self) -> bool {
        self.lock.as_ref().is_some_and(|lock| lock.sharing == Sharing::Shared)
    }

    /// The folder of a table's receipts.
    pub fn receipts(&self, table: Table) -> LocalFolder {
        LocalFolder::new(&self.work.join("receipts").join(table.shard_folder()))
    }

    /// The work on one of the run's tables, as a value that can travel to another process or machine.
    pub fn work_spec(&self, table: Table, config: &PrepareConfig, recipe_hash: &str) -> WorkSpec {
        WorkSpec {
            table,
            configuration: text_of(config),
            recipe_hash: recipe_hash.to_owned(),
            root: self.root.clone(),
            dataset: self.dataset.clone(),
            work: self.work.clone(),
        }
    }

    /// Removes an index: until the run ends there is no dataset, and an old index over new shards would be wrong.
    ///
    /// # Errors
    /// The system refuses.
    pub fn remove_index(&self) -> Result<(), PrepareError> {
        Ok(LocalFolder::new(&self.dataset).remove(index::FILE)?)
    }

    /// Removes shards and receipts that the index does not name, left by a larger manifest, and unfinished files of runs that
    /// were killed.
    ///
    /// # Errors
    /// The system refuses to list or remove.
    pub fn remove_all_but(&self, index: &DatasetIndex) -> Result<(), PrepareError> {
        for (table, shards) in [(Table::Volumes, &index.volumes), (Table::Texts, &index.samples)] {
            let named: HashSet<&str> = shards.iter().map(|shard| shard.path.as_str()).collect();
            let dataset = LocalFolder::new(&self.dataset);
            for entry in dataset.list(table.shard_folder())?.iter().filter(|entry| !named.contains(&*entry.path)) {
                dataset.remove(&entry.path)?;
            }
            let ranges: HashSet<_> = shards.iter().filter_map(|shard| Path::new(&shard.path).file_stem()).collect();
            let receipts = self.receipts(table);
            let of_range = |path: &str| path.split('-').next().is_some_and(|range| ranges.contains(OsStr::new(range)));
            for entry in receipts.list("")?.iter().filter(|entry| !of_range(&entry.path)) {
                receipts.remove(&entry.path)?;
            }
        }
        // Not those of subsets: another process may be drawing one.
        let own = ["", "volumes", "samples"].map(|name| self.dataset.join(name));
        let working = ["", "volumes", "texts", "receipts/volumes", "receipts/samples"].map(|name| self.work.join(name));
        own.iter().chain(&working).try_for_each(|folder| remove_unfinished(folder))
    }

    fn create_folders(&self) -> Result<(), PrepareError> {
        let dataset = ["volumes", "samples", "subsets"].map(|name| self.dataset.join(name));
        let receipts = Table::ALL.map(|table| self.receipts(table).root().to_owned());
        for folder in dataset.iter().chain(&receipts) {
            fs::create_dir_all(folder).map_err(PrepareError::file(folder, "create"))?;
        }
        Ok(())
    }
}

/// The file with the reasons of a run in full.
pub fn full_quarantine(paths: Paths, out: &Path) -> PathBuf {
    let folder = if paths == Paths::Keep { out.to_owned() } else { Provenance::folder(paths, out) };
    folder.join("quarantine.parquet")
}

/// Fails where the folder holds another configuration's dataset, or something that is no dataset.
fn refuse_other_runs(out: &Path, config_path: &Path, work: &Path, config: &PrepareConfig) -> Result<(), PrepareError> {
    // A run that was killed at its very start leaves an unfinished configuration, no more.
    let own = |path: &Path| {
        [config_path, work, &work.join("lock")].contains(&path) || is_temporary_of(path, &out.join(CONFIG))
    };
    let entries = fs::read_dir(out).into_iter().flatten().flatten().map(|entry| entry.path());
    if !config_path.exists() && entries.into_iter().all(|entry| own(&entry)) {
        return Ok(());
    }
    let found = fs::read_to_string(config_path).ok().map(|text| parse::<PrepareConfig>(CONFIG, &text, &[]));
    let problem = match found {
        Some(Ok(found)) if text_that_matters(&found) == text_that_matters(config) => return Ok(()),
        Some(_) => "holds a dataset of another configuration",
        None => "is not empty and holds no dataset",
    };
    Err(PrepareError::Output {
        path: out.to_owned(),
        problem: problem.into(),
        hint: "give another --out, or remove the folder".into(),
    })
}

impl Lock {
    /// One process at a time reads the manifest; then several may work at their parts.
    fn take(path: &Path, out: &Path, part: RangePart) -> Result<Lock, PrepareError> {
        let file = File::options().create(true).truncate(false).write(true).open(path);
        let file = file.map_err(PrepareError::file(path, "open"))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { file, sharing: Sharing::Alone }),
            Err(TryLockError::Error(error)) => Err(PrepareError::file(path, "lock")(error)),
            Err(TryLockError::WouldBlock) if part != RangePart::WHOLE => {
                file.lock_shared().map_err(PrepareError::file(path, "lock"))?;
                Ok(Lock { file, sharing: Sharing::Shared })
            }
            Err(TryLockError::WouldBlock) => Err(PrepareError::Output {
                path: out.to_owned(),
                problem: "another process prepares this dataset".into(),
                hint: "wait for it; to share the work give each process its own --part I/N".into(),
            }),
        }
    }
}

fn remove_unfinished(folder: &Path) -> Result<(), PrepareError> {
    let entries = fs::read_dir(folder).map_err(PrepareError::file(folder, "list"))?;
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| is_temporary(path)) {
        match fs::remove_file(&path).map_err(FileError::of(&path, "remove")) {
            Err(FileError::NotFound { .. }) => {}
            removed => removed?,
        }
    }
    Ok(())
}

fn text_of(config: &PrepareConfig) -> String {
    toml::to_string(config).expect("a parsed configuration can be written")
}

fn text_that_matters(config: &PrepareConfig) -> String {
    text_of(&PrepareConfig { engine: sharing_aside(config), limits: LimitsConfig::default(), ..config.clone() })
}

fn sharing_aside(config: &PrepareConfig) -> EngineConfig {
    EngineConfig { threads: 0, check_inputs: CheckInputs::Quick, ..config.engine.clone() }
}
