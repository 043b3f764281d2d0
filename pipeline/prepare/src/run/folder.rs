//! The output folder: whose run it is, who may work in it, and what belongs in it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use med2e3_program::{WorkPart, with_causes};
use med2e3_schemas::config::parse;
use med2e3_schemas::index::DatasetIndex;
use med2e3_schemas::quarantine::Table;
use med2e3_shards::index;
use med2e3_store::temporary::{is_temporary, is_temporary_of};
use med2e3_store::{FileError, LocalFolder, Store, put_whole, read_regular};
use serde::Serialize;

use super::lock::Lock;
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
    /// What this run made, to be removed where it fails before anything is finished.
    made: Vec<PathBuf>,
}

impl RunFolder {
    /// Makes the folder this run's: new, or the same configuration's from before, which is then resumed. Limits, threads
    /// and the check of inputs may differ: they change no row. With a part, blocks while another process reads the manifest.
    ///
    /// # Errors
    /// A folder that holds another run or something else, or that another process writes to; a data root that does not exist.
    pub fn claim(out: &Path, config: &PrepareConfig, part: WorkPart) -> Result<RunFolder, PrepareError> {
        let root = fs::canonicalize(&config.root).map_err(PrepareError::file(&config.root, "open"))?;
        let paths = config.provenance.paths;
        let work = Provenance::folder(paths, out);
        // The whole configuration, which names files, is next to the dataset where names are withheld.
        let path = if paths == Paths::Keep { out.join(CONFIG) } else { work.join(CONFIG) };
        refuse_other_runs(out, &path, &work, config)?;
        let fresh = !path.exists();
        let made = [out, &work].into_iter().filter(|folder| fresh && !folder.exists()).map(Path::to_owned).collect();
        fs::create_dir_all(out).map_err(PrepareError::file(out, "create"))?;
        let made_work = Provenance::make_folder(paths, &work);
        made_work.map_err(FileError::of(&work, "create")).map_err(|error| match error {
            error if paths == Paths::Keep => PrepareError::from(error),
            error => PrepareError::Output {
                path: work.clone(),
                problem: format!(
                    "names are withheld, and what they were is kept beside the dataset: {}",
                    with_causes(&error)
                ),
                hint: "give an --out in a folder that you can write to".into(),
            },
        })?;
        let lock = Some(Lock::take(&work.join("lock"), out, part)?);
        let provenance = Provenance::open(paths, &work)?;
        // How the work is shared is no part of what the dataset is.
        let text = text_of(&PrepareConfig { engine: sharing_aside(config), ..config.clone() });
        put_whole(&path, text.as_bytes())?;
        put_whole(&out.join(CONFIG), provenance.configuration(&text).as_bytes())?;
        let folder = RunFolder { root, dataset: out.to_owned(), work, provenance, lock, made };
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
        let folder = RunFolder { root, dataset, work, provenance, lock: None, made: Vec::new() };
        folder.create_folders()?;
        Ok(folder)
    }

    /// The folder of a run that is there, to look at: nothing is made or written, and no lock is taken.
    ///
    /// # Errors
    /// A data root that does not exist; a key that can't be read.
    pub fn look(out: &Path, config: &PrepareConfig) -> Result<RunFolder, PrepareError> {
        let root = fs::canonicalize(&config.root).map_err(PrepareError::file(&config.root, "open"))?;
        let work = Provenance::folder(config.provenance.paths, out);
        let provenance = Provenance::look(config.provenance.paths, &work)?;
        Ok(RunFolder { root, dataset: out.to_owned(), work, provenance, lock: None, made: Vec::new() })
    }

    /// The same run with another folder as its dataset.
    pub fn with_dataset(&self, dataset: &Path) -> RunFolder {
        let RunFolder { root, work, provenance, .. } = self;
        let (root, work, provenance) = (root.clone(), work.clone(), provenance.clone());
        RunFolder { root, dataset: dataset.to_owned(), work, provenance, lock: None, made: Vec::new() }
    }

    /// Lets other processes work at parts of the same run from now on: the tables are on the disk.
    ///
    /// # Errors
    /// The system refuses.
    pub fn share(&mut self) -> Result<(), PrepareError> {
        self.lock.as_mut().map_or(Ok(()), |lock| lock.share(&self.work))
    }

    /// Whether other processes may be working in the folder.
    pub fn is_shared(&self) -> bool {
        self.lock.as_ref().is_some_and(Lock::is_shared)
    }

    /// Ends a run that failed: where nothing is finished, what it made is removed; else the error says that it can go on.
    pub fn after(&mut self, error: PrepareError) -> PrepareError {
        let has_files =
            |folder: &str| fs::read_dir(self.dataset.join(folder)).is_ok_and(|mut entries| entries.next().is_some());
        if has_files("volumes") || has_files("samples") {
            return match error {
                // The same command would end in the same way.
                PrepareError::Nothing { .. } | PrepareError::TooManyRejects { .. } | PrepareError::Output { .. } => {
                    error
                }
                cause => PrepareError::Stopped { path: self.dataset.clone(), cause: Box::new(cause) },
            };
        }
        if !self.is_shared() {
            self.made.drain(..).for_each(|folder| drop(fs::remove_dir_all(folder)));
        }
        error
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
        let own = ["", "volumes", "samples", "feed"].map(|name| self.dataset.join(name));
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

/// Bytes of a configuration that is read from a dataset, at most.
const MOST_CONFIGURATION_BYTES: u64 = 1 << 24;

/// The configuration of the run that made a dataset: in the dataset, or next to it where names are withheld.
///
/// # Errors
/// A folder that no run made, or whose working folder is not beside it; a configuration that does not parse.
pub fn configuration_of(out: &Path) -> Result<PrepareConfig, PrepareError> {
    let beside = Provenance::folder(Paths::Hash, out).join(CONFIG);
    let path = if beside.exists() { beside.clone() } else { out.join(CONFIG) };
    let name = path.display().to_string();
    let bytes = read_regular(&path, MOST_CONFIGURATION_BYTES)?;
    let no_text =
        |_| PrepareError::Manifest { path: path.clone(), expected: "UTF-8".into(), found: "other bytes".into() };
    let text = String::from_utf8(bytes).map_err(no_text)?;
    let output =
        |problem: String, hint: &str| PrepareError::Output { path: out.to_owned(), problem, hint: hint.into() };
    // What the dataset itself says of such a run is without the files that it named.
    if path != beside && text.contains("paths = \"hash\"") {
        let problem = format!("names are withheld, and the run's own configuration is not at {}", beside.display());
        return Err(output(problem, "put the folder DATASET.provenance back beside the dataset"));
    }
    parse::<PrepareConfig>(&name, &text, &[]).map_err(|error| {
        let problem = format!("the run's configuration does not parse: {}", with_causes(&error));
        output(problem, "name a configuration after DATASET")
    })
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
    let (problem, hint) = match found {
        Some(Ok(found)) => match difference(&found, config) {
            None => return Ok(()),
            Some(difference) => (
                format!("holds a dataset of another configuration: {difference}"),
                "give another --out, or remove the folder".to_owned(),
            ),
        },
        Some(Err(error)) => (
            format!("holds a dataset whose configuration does not parse: {}", with_causes(&error)),
            "give another --out, or remove the folder".to_owned(),
        ),
        None if out.join(index::FILE).exists() || out.join(CONFIG).exists() => (
            format!("holds a dataset whose working folder is not at {}", work.display()),
            "put the folder back, or give another --out".to_owned(),
        ),
        None => ("is not empty and holds no dataset".to_owned(), "give another --out, or remove the folder".to_owned()),
    };
    Err(PrepareError::Output { path: out.to_owned(), problem, hint })
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

/// A value that differs between two configurations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Its whole key.
    pub key: String,
    /// The value of the one that is there, as TOML writes it; `nothing` where it has none.
    pub there: String,
    /// The value of the other one.
    pub here: String,
}

/// Every value that differs between two configurations, besides those that change no row: threads, limits, and how changed
/// inputs are looked for.
pub fn differences(there: &PrepareConfig, here: &PrepareConfig) -> Vec<Difference> {
    let values = |config: &PrepareConfig| {
        let config = PrepareConfig { engine: sharing_aside(config), limits: LimitsConfig::default(), ..config.clone() };
        let mut values = BTreeMap::new();
        let table = toml::Table::try_from(config).expect("a parsed configuration can be written");
        add_values("", &toml::Value::Table(table), &mut values);
        values
    };
    let (there, here) = (values(there), values(here));
    let keys: BTreeSet<&String> = there.keys().chain(here.keys()).collect();
    let differing = keys.into_iter().filter(|key| there.get(*key) != here.get(*key));
    let difference = |key: &String| {
        let value = |values: &BTreeMap<String, String>| values.get(key).cloned().unwrap_or("nothing".to_owned());
        Difference { key: key.clone(), there: value(&there), here: value(&here) }
    };
    differing.map(difference).collect()
}

/// The first of these values for a message; `None` where there are none.
fn difference(there: &PrepareConfig, here: &PrepareConfig) -> Option<String> {
    let all = differences(there, here);
    let shown = all.iter().take(DIFFERENCES_SHOWN);
    let shown: Vec<String> =
        shown.map(|Difference { key, there, here }| format!("{key} is {there} there and {here} here")).collect();
    (!shown.is_empty()).then(|| shown.join(", "))
}

/// Values that are named where two configurations differ.
const DIFFERENCES_SHOWN: usize = 3;

/// Every value of a table by its whole key.
fn add_values(key: &str, value: &toml::Value, to: &mut BTreeMap<String, String>) {
    match value {
        toml::Value::Table(table) => table.iter().for_each(|(name, value)| {
            let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
            add_values(&key, value, to);
        }),
        value => drop(to.insert(key.to_owned(), value.to_string())),
    }
}

fn sharing_aside(config: &PrepareConfig) -> EngineConfig {
    EngineConfig { threads: 0, check_inputs: CheckInputs::Quick, ..config.engine.clone() }
}
