//! What is at a path, and the configuration that prepares it: so that a run needs no file to start from, and a file no more than
//! what is special about a run.

use std::path::{Path, PathBuf};

use med2e3_input::reading;
use med2e3_input::volume::{Entry, Folder, entry_at};
use med2e3_schemas::config;
use med2e3_schemas::sample::Split;
use med2e3_schemas::volume::VoxelCode;

use crate::PrepareError;
use crate::config::{
    ConversationFile, EngineConfig, LimitsConfig, ManifestConfig, PrepareConfig, ProvenanceConfig, QuestionFile,
    Recipe, TextConfig, TextTable, TokenizerConfig, VolumeConfig,
};
use crate::manifest::{TableHead, expects_units, holds_conversations};
use crate::provenance::Paths;

/// What a path was taken for.
#[derive(Clone, Debug)]
pub struct Recognized {
    /// A sentence for the person who named the path.
    pub what: String,
    /// The whole run, as a configuration file would state it.
    pub config: PrepareConfig,
}

/// Recognizes an M3D root, a manifest file, a table of texts, a single volume, or a folder of volumes, with a table of Hugging
/// Face's image folders or without.
///
/// # Errors
/// A path at which none of these is, or that the machine fails to read.
pub fn recognize(path: &Path) -> Result<Recognized, PrepareError> {
    reading::patiently(|| recognize_once(path))?
}

/// The configuration that a file's text and overrides state, with defaults for what they leave out: names are kept and volumes are
/// made as the official preparation makes them for M3D's own data alone. All other data is a hospital's own: names are withheld, and
/// CTs keep their Hounsfield units. `name` starts each message.
///
/// # Errors
/// As [`config::parse`]; a root that the machine fails to read.
pub fn configuration(name: &str, text: &str, overrides: &[String]) -> Result<PrepareConfig, PrepareError> {
    let mut config: PrepareConfig = config::parse(name, text, overrides)?;
    let stated = config::stated(name, text, overrides)?;
    let states = |section: &str, key: &str| stated.get(section).is_some_and(|section| section.get(key).is_some());
    if config.manifest.is_empty() {
        config.manifest.folders.push(PathBuf::new());
    }
    let (recipe, voxels, paths) =
        (states("volume", "recipe"), states("volume", "voxels"), states("provenance", "paths"));
    if recipe && voxels && paths {
        return Ok(config);
    }
    let defaults = reading::patiently(|| Defaults::of(&config.root, &config.manifest))?;
    if !recipe {
        config.volume.recipe = defaults.volume.recipe;
    }
    if !voxels {
        // Of the recipe that holds, whichever stated it: units need more than 8 bits.
        let is_m3d = matches!(config.volume.recipe, Recipe::M3d);
        config.volume.voxels = if is_m3d { VoxelCode::U8 } else { VoxelCode::I16 };
    }
    if !paths {
        config.provenance.paths = defaults.paths;
    }
    Ok(config)
}

/// What holds where a run does not state it.
struct Defaults {
    volume: VolumeConfig,
    paths: Paths,
}

impl Defaults {
    fn of(root: &Path, manifest: &ManifestConfig) -> Defaults {
        if is_m3d(root, manifest) {
            return Defaults { volume: VolumeConfig::default(), paths: Paths::Keep };
        }
        // Links are judged by where the root really is.
        let real = reading::canonicalize(root).unwrap_or_else(|_| root.to_owned());
        let folders = manifest.folders.iter().chain(manifest.table.iter().map(|table| &table.base));
        let mut folders: Vec<&Path> = folders.map(PathBuf::as_path).collect();
        if folders.is_empty() {
            folders.push(Path::new(""));
        }
        let volume = if folders.iter().any(|folder| expects_units(&real, folder)) {
            VolumeConfig { recipe: Recipe::ct(), voxels: VoxelCode::I16, ..VolumeConfig::default() }
        } else {
            VolumeConfig::default()
        };
        Defaults { volume, paths: Paths::Hash }
    }
}

/// Folders of M3D's volumes, as its manifests name them.
const M3D_FOLDERS: [&str; 2] = ["M3D_Cap", "M3D_Cap_npy"];

/// What the names of M3D's own manifests begin with.
const M3D_FILES: &str = "M3D_";

/// Whether a manifest is M3D's: of its kinds of files alone, beside the folder of its volumes or by M3D's own names.
fn is_m3d(root: &Path, manifest: &ManifestConfig) -> bool {
    if !manifest.table.is_empty() || !manifest.folders.is_empty() {
        return false;
    }
    let files: Vec<&PathBuf> = manifest.files().collect();
    let is_named = |path: &&PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(M3D_FILES));
    M3D_FOLDERS.iter().any(|folder| reading::is_dir(&root.join(folder)))
        || (!files.is_empty() && files.iter().all(is_named))
}

fn recognize_once(path: &Path) -> Result<Recognized, PrepareError> {
    let metadata = reading::metadata(path).map_err(PrepareError::file(path, "open"))?;
    if metadata.is_dir() {
        return match m3d_root(path)? {
            Some(manifest) if is_m3d(path, &manifest) => Ok(with_texts(path, manifest, "an M3D root")),
            Some(manifest) => Ok(with_texts(path, manifest, "a folder in M3D's form")),
            None => Ok(folder(path)),
        };
    }
    let name = path.file_name().map(PathBuf::from).unwrap_or_default();
    let root = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut manifest = ManifestConfig::default();
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
    match ending.as_str() {
        "csv" | "tsv" | "tab" | "parquet" | "pq" => {
            let head = TableHead::read(root, &TextTable { path: name.clone(), ..TextTable::default() })?;
            if head.is_of_m3d_vqa() {
                manifest.questions.push(QuestionFile { split: split_of(&name), path: name });
            } else {
                own_table(head.table()?, &mut manifest);
            }
        }
        "json" | "jsonl" | "ndjson" if holds_conversations(path).map_err(PrepareError::file(path, "read"))? => {
            let (split, folder, task) = (split_of(&name), None, None);
            manifest.conversations.push(ConversationFile { path: name, split, folder, task });
        }
        "json" | "jsonl" | "ndjson" => {
            // M3D's captions are an object of lists, any other table is rows.
            match TableHead::read(root, &TextTable { path: name.clone(), ..TextTable::default() }) {
                Ok(head) if ending != "json" || head.has_known_columns() => own_table(head.table()?, &mut manifest),
                Err(error) if ending != "json" => return Err(error),
                _ => manifest.captions.push(name),
            }
        }
        _ if matches!(entry_at(path), Ok(Entry::Volume(_))) => return Ok(folder(path)),
        _ => {
            return Err(PrepareError::Request {
                what: path.display().to_string(),
                problem:
                    "expected a configuration (.toml), a manifest or a table of texts (.csv, .tsv, .json, .jsonl, \
                    .parquet), a volume, or a folder of these"
                        .into(),
            });
        }
    }
    Ok(with_texts(root, manifest, "a manifest"))
}

/// Adds a table, and the folder in which volumes are looked for that it names by anything but a path.
fn own_table(table: TextTable, manifest: &mut ManifestConfig) {
    manifest.folders.push(PathBuf::new());
    manifest.table.push(table);
}

/// The manifest files of a folder laid out as M3D-Data is; `None` for another folder.
fn m3d_root(root: &Path) -> Result<Option<ManifestConfig>, PrepareError> {
    let mut manifest = ManifestConfig::default();
    for folder in ["", "M3D_Cap", "M3D_Cap_npy"] {
        let file = Path::new(folder).join("M3D_Cap.json");
        if manifest.captions.is_empty() && reading::is_file(&root.join(&file)) {
            manifest.captions.push(file);
        }
    }
    for folder in ["", "M3D-VQA", "M3D_VQA"] {
        let Ok(entries) = reading::entries(&root.join(folder)) else { continue };
        let names = entries.iter().filter_map(|entry| entry.file_name().into_string().ok());
        // The yes/no file is no part of Med-2E3's data, and test5k's rows are test's.
        let wanted = |name: &String| name.starts_with("M3D_VQA_") && name.ends_with(".csv") && !name.contains("_yn_");
        for name in names.filter(wanted).filter(|name| !name.contains("test5k")) {
            let path = Path::new(folder).join(name);
            manifest.questions.push(QuestionFile { split: split_of(&path), path });
        }
    }
    let found = !manifest.captions.is_empty() || !manifest.questions.is_empty();
    Ok(found.then_some(manifest))
}

/// The split that a file's name tells.
pub(crate) fn split_of(path: &Path) -> Split {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    if name.contains("test") {
        Split::Test
    } else if name.contains("val") || name.split(|c: char| !c.is_alphanumeric()).any(|word| word == "dev") {
        Split::Validation
    } else {
        Split::Train
    }
}

fn with_texts(root: &Path, manifest: ManifestConfig, kind: &str) -> Recognized {
    let files: Vec<_> = manifest.files().map(|file| file.display().to_string()).collect();
    let mut text = TextConfig::default();
    let next_to_it = root.join("tokenizer.json");
    if reading::is_file(&next_to_it) {
        text.tokenizer = TokenizerConfig::Path(next_to_it);
    }
    Recognized { what: format!("{kind} with {}", files.join(", ")), config: config(root, manifest, text) }
}

fn folder(path: &Path) -> Recognized {
    let is_series = || Folder::list(path, |_| None).is_ok_and(|folder| folder.series.is_some());
    let (root, entry) = if reading::is_dir(path) && !is_series() {
        (path, PathBuf::new())
    } else {
        // The volume itself: what is next to it is not asked for.
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        (parent, path.file_name().map(PathBuf::from).unwrap_or_default())
    };
    let mut manifest = ManifestConfig { folders: vec![entry.clone()], ..ManifestConfig::default() };
    if entry.as_os_str().is_empty() {
        manifest.table = image_folder_tables(root);
    }
    if !manifest.table.is_empty() {
        return with_texts(root, manifest, "an image folder");
    }
    Recognized { what: "volumes without texts".to_owned(), config: config(root, manifest, TextConfig::default()) }
}

/// The tables by which Hugging Face's image folders state texts, `metadata.csv` and others beside the files that they name; in the
/// folder itself, or in a folder a split.
fn image_folder_tables(root: &Path) -> Vec<TextTable> {
    let below = reading::entries(root).unwrap_or_default();
    let below = below.iter().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let folders = std::iter::once(PathBuf::new()).chain(below.map(|entry| PathBuf::from(entry.file_name())));
    let mut tables = Vec::new();
    for folder in folders {
        for name in ["metadata.csv", "metadata.jsonl", "metadata.parquet"] {
            let path = folder.join(name);
            if !reading::is_file(&root.join(&path)) {
                continue;
            }
            let table =
                TextTable { path, base: folder.clone(), split: Some(split_of(&folder)), ..TextTable::default() };
            tables.extend(TableHead::read(root, &table).ok().and_then(|head| head.table().ok()));
        }
    }
    tables
}

fn config(root: &Path, manifest: ManifestConfig, text: TextConfig) -> PrepareConfig {
    let Defaults { volume, paths } = Defaults::of(root, &manifest);
    PrepareConfig {
        root: root.to_owned(),
        manifest,
        volume,
        text,
        engine: EngineConfig::default(),
        limits: LimitsConfig::default(),
        provenance: ProvenanceConfig { paths },
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A NIfTI header alone, which is enough to be known as a volume.
    fn write(root: &Path, name: &str, bytes: &[u8]) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    #[test]
    fn a_file_of_two_lines_is_a_run() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "ct.nii", b"");
        write(folder.path(), "texts.csv", b"volume,report\nct.nii,Normal.\n");
        let text = format!("root = {:?}\nmanifest.table = [{{ path = \"texts.csv\" }}]\n", folder.path());
        let config = configuration("two.toml", &text, &[]).unwrap();
        assert_eq!((config.provenance.paths, config.volume.recipe), (Paths::Hash, Recipe::ct()));
        assert_eq!((config.volume.voxels, config.volume.shape), (VoxelCode::I16, VolumeConfig::default().shape));
        // One line: every volume below the root.
        let config = configuration("one.toml", &format!("root = {:?}", folder.path()), &[]).unwrap();
        assert_eq!(config.manifest.folders, [PathBuf::new()]);
        // What is stated holds, whatever else is left out.
        let set = ["volume.recipe=m3d".to_owned(), "provenance.paths=keep".to_owned()];
        let config = configuration("set.toml", &text, &set).unwrap();
        assert_eq!((config.provenance.paths, config.volume.recipe), (Paths::Keep, Recipe::M3d));
        assert_eq!(config.volume.voxels, VoxelCode::U8);
        let error = configuration("x.toml", "root = \".\"\n[manifest]\ntabel = []\n", &[]).unwrap_err().to_string();
        assert!(error.contains("line 3") && error.contains("did you mean `table`?"), "{error}");
    }

    #[test]
    fn own_data_is_withheld_whatever_its_manifest() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        write(root, "a/ct.nii", b"");
        write(
            root,
            "questions.csv",
            b"Image Path,Question Type,Question,Choice A,Choice B,Choice C,Choice D,Answer,Answer Choice\n",
        );
        write(root, "talk.json", b"[{\"conversations\": [], \"vision3d\": []}]");
        write(root, "reports.csv", b"image;report\na/ct.nii;Normal.\n");
        for name in ["", "questions.csv", "talk.json", "reports.csv", "a/ct.nii"] {
            let config = recognize(&root.join(name)).unwrap().config;
            assert_eq!((config.provenance.paths, config.volume.recipe), (Paths::Hash, Recipe::ct()), "{name}");
        }
        // The same files beside M3D's volumes are M3D's.
        write(root, "M3D_Cap/ct_case/000001/Axial/1.png", b"");
        for name in ["questions.csv", "talk.json"] {
            let config = recognize(&root.join(name)).unwrap().config;
            assert_eq!((config.provenance.paths, config.volume.recipe), (Paths::Keep, Recipe::M3d), "{name}");
        }
        let config = recognize(&root.join("reports.csv")).unwrap().config;
        assert_eq!(config.provenance.paths, Paths::Hash);
        // So are files of M3D's own names, wherever they are.
        let other = tempfile::tempdir().unwrap();
        fs::copy(root.join("questions.csv"), other.path().join("M3D_VQA_train.csv")).unwrap();
        assert_eq!(recognize(other.path()).unwrap().config.provenance.paths, Paths::Keep);
    }

    #[test]
    fn image_folders_have_their_tables() {
        let folder = tempfile::tempdir().unwrap();
        for split in ["train", "validation"] {
            write(folder.path(), &format!("{split}/ct.nii"), b"");
            write(
                folder.path(),
                &format!("{split}/metadata.jsonl"),
                b"{\"file_name\": \"ct.nii\", \"text\": \"Normal.\"}\n",
            );
        }
        let Recognized { what, config } = recognize(folder.path()).unwrap();
        assert!(what.contains("train/metadata.jsonl"), "{what}");
        let found: Vec<_> = config.manifest.table.iter().map(|table| (table.base.clone(), table.split)).collect();
        assert_eq!(found, [("train".into(), Some(Split::Train)), ("validation".into(), Some(Split::Validation))]);
        let columns = &config.manifest.table[0].columns;
        assert_eq!((columns.volume.as_deref(), columns.caption.as_deref()), (Some("file_name"), Some("text")));
    }
}
