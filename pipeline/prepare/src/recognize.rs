//! What is at a path, and the configuration that prepares it: so that a run needs no file to start from.

use std::path::{Path, PathBuf};

use med2e3_input::reading;
use med2e3_input::volume::{Entry, Folder, entry_at};
use med2e3_schemas::sample::Split;
use med2e3_schemas::volume::VoxelCode;

use crate::PrepareError;
use crate::config::{
    ConversationFile, EngineConfig, LimitsConfig, ManifestConfig, PrepareConfig, ProvenanceConfig, QuestionFile,
    Recipe, TextConfig, TokenizerConfig, VolumeConfig,
};
use crate::manifest::{expects_units, holds_conversations};
use crate::provenance::Paths;

/// What a path was taken for.
#[derive(Clone, Debug)]
pub struct Recognized {
    /// A sentence for the person who named the path.
    pub what: String,
    /// The whole run, as a configuration file would state it.
    pub config: PrepareConfig,
}

/// Recognizes an M3D root, a manifest file, a single volume, or a folder of volumes.
///
/// # Errors
/// A path at which none of these is, or that the machine fails to read.
pub fn recognize(path: &Path) -> Result<Recognized, PrepareError> {
    reading::patiently(|| recognize_once(path))?
}

fn recognize_once(path: &Path) -> Result<Recognized, PrepareError> {
    let metadata = reading::metadata(path).map_err(PrepareError::file(path, "open"))?;
    if metadata.is_dir() {
        return match m3d_root(path)? {
            Some(manifest) => Ok(with_texts(path, manifest, "an M3D root")),
            None => Ok(folder(path)),
        };
    }
    let name = path.file_name().map(PathBuf::from).unwrap_or_default();
    let root = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut manifest = ManifestConfig::default();
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("csv") => manifest.questions.push(QuestionFile { split: split_of(&name), path: name }),
        Some(ending @ ("json" | "jsonl" | "ndjson")) if ending != "json" || has_conversations(path)? => {
            let (split, folder, task) = (split_of(&name), None, None);
            manifest.conversations.push(ConversationFile { path: name, split, folder, task });
        }
        Some("json") => manifest.captions.push(name),
        _ if matches!(entry_at(path), Ok(Entry::Volume(_))) => return Ok(folder(path)),
        _ => {
            return Err(PrepareError::Request {
                what: path.display().to_string(),
                problem: "expected a configuration (.toml), a manifest (.json or .csv), a volume, or a folder of these"
                    .into(),
            });
        }
    }
    Ok(with_texts(root, manifest, "a manifest"))
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

fn has_conversations(path: &Path) -> Result<bool, PrepareError> {
    holds_conversations(path).map_err(PrepareError::file(path, "read"))
}

fn split_of(path: &Path) -> Split {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    if name.contains("test") {
        Split::Test
    } else if name.contains("val") {
        Split::Validation
    } else {
        Split::Train
    }
}

fn with_texts(root: &Path, manifest: ManifestConfig, kind: &str) -> Recognized {
    let others =
        manifest.questions.iter().map(|file| &file.path).chain(manifest.conversations.iter().map(|file| &file.path));
    let files = manifest.captions.iter().chain(others);
    let files: Vec<_> = files.map(|file| file.display().to_string()).collect();
    let mut text = TextConfig::default();
    let next_to_it = root.join("tokenizer.json");
    if reading::is_file(&next_to_it) {
        text.tokenizer = TokenizerConfig::Path(next_to_it);
    }
    let config = config(root, manifest, VolumeConfig::default(), text, Paths::Keep);
    Recognized { what: format!("{kind} with {}", files.join(", ")), config }
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
    // Links are judged by where the root really is.
    let real = reading::canonicalize(root).unwrap_or_else(|_| root.to_owned());
    let volume = if expects_units(&real, &entry) {
        VolumeConfig { recipe: Recipe::ct(), voxels: VoxelCode::I16, ..VolumeConfig::default() }
    } else {
        VolumeConfig::default()
    };
    let manifest = ManifestConfig { folders: vec![entry], ..ManifestConfig::default() };
    let config = config(root, manifest, volume, TextConfig::default(), Paths::Hash);
    Recognized { what: "volumes without texts".to_owned(), config }
}

fn config(
    root: &Path,
    manifest: ManifestConfig,
    volume: VolumeConfig,
    text: TextConfig,
    paths: Paths,
) -> PrepareConfig {
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
