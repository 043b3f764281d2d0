//! What is at a path, and the configuration that prepares it: so that a run needs no file to start from.

use std::fs;
use std::path::{Path, PathBuf};

use med2e3_input::volume::{PathKind, path_kind};
use med2e3_schemas::sample::Split;
use med2e3_schemas::volume::VoxelCode;

use crate::PrepareError;
use crate::config::{
    ConversationFile, EngineConfig, LimitsConfig, ManifestConfig, PrepareConfig, ProvenanceConfig, QuestionFile,
    Recipe, TextConfig, TokenizerConfig, VolumeConfig,
};
use crate::manifest::holds_conversations;
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
/// A path at which none of these is.
pub fn recognize(path: &Path) -> Result<Recognized, PrepareError> {
    let metadata = fs::metadata(path).map_err(PrepareError::file(path, "open"))?;
    if metadata.is_dir() {
        return match m3d_root(path)? {
            Some(manifest) => Ok(with_texts(path, manifest, "an M3D root")),
            None => folder(path),
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
        _ if matches!(path_kind(path), Ok(PathKind::Volume(_))) => return folder(path),
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
        if manifest.captions.is_empty() && root.join(&file).is_file() {
            manifest.captions.push(file);
        }
    }
    for folder in ["", "M3D-VQA", "M3D_VQA"] {
        let Ok(entries) = fs::read_dir(root.join(folder)) else { continue };
        let mut names: Vec<_> = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        // The yes/no file is no part of Med-2E3's data, and test5k's rows are test's.
        let wanted = |name: &String| name.starts_with("M3D_VQA_") && name.ends_with(".csv") && !name.contains("_yn_");
        for name in names.into_iter().filter(wanted).filter(|name| !name.contains("test5k")) {
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
    if next_to_it.is_file() {
        text.tokenizer = TokenizerConfig::Path(next_to_it);
    }
    let config = config(root, manifest, VolumeConfig::default(), text, Paths::Keep);
    Recognized { what: format!("{kind} with {}", files.join(", ")), config }
}

fn folder(path: &Path) -> Result<Recognized, PrepareError> {
    let (root, entry) = if path.is_dir() && !matches!(path_kind(path), Ok(PathKind::Volume(_))) {
        (path, PathBuf::new())
    } else {
        // The volume itself: what is next to it is not asked for.
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        (parent, path.file_name().map(PathBuf::from).unwrap_or_default())
    };
    let manifest = ManifestConfig { folders: vec![entry], ..ManifestConfig::default() };
    // Pictures and prepared arrays have no Hounsfield units; anything else should have.
    let without_units = first_volume(&root.join(&manifest.folders[0]))?.is_some_and(|path| has_no_units(&path));
    let volume = if without_units {
        VolumeConfig::default()
    } else {
        VolumeConfig { recipe: Recipe::ct(), voxels: VoxelCode::I16, ..VolumeConfig::default() }
    };
    let config = config(root, manifest, volume, TextConfig::default(), Paths::Hash);
    let what = "volumes without texts; names are withheld from the dataset".to_owned();
    Ok(Recognized { what, config })
}

/// The first volume at or below a path, in the order of the names.
fn first_volume(path: &Path) -> Result<Option<PathBuf>, PrepareError> {
    match path_kind(path).map_err(PrepareError::file(path, "list"))? {
        PathKind::Volume(_) => Ok(Some(path.to_owned())),
        PathKind::Other => Ok(None),
        PathKind::Folder(mut names) => {
            names.sort();
            let paths = names.into_iter().map(|name| path.join(name)).filter(|path| !path.is_symlink());
            paths.map(|path| first_volume(&path)).find(|found| !matches!(found, Ok(None))).unwrap_or(Ok(None))
        }
    }
}

fn has_no_units(volume: &Path) -> bool {
    let named = |path: &Path, ending: &str| path.extension().is_some_and(|found| found == ending);
    let pictures = fs::read_dir(volume).into_iter().flatten().flatten().map(|entry| entry.path());
    named(volume, "npy") || pictures.into_iter().any(|path| named(&path, "png") || named(&path, "jpeg"))
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
