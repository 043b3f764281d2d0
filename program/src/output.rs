//! The output folder of a run that can't be resumed: new or empty, with the configuration and the report in it.

use std::fs;
use std::path::{Path, PathBuf};

use med2e3_store::temporary::is_temporary;
use med2e3_store::{FileError, put_whole};
use serde::Serialize;

/// Why a folder can't be a run's.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// It holds something else.
    #[error("{path}: {problem}\nhint: {hint}")]
    Occupied {
        /// The folder.
        path: PathBuf,
        /// What is in the way.
        problem: String,
        /// What to do.
        hint: String,
    },
    /// The system refuses.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Makes the folder this run's and writes its configuration into it as `name`.
///
/// # Errors
/// A folder that is not empty; the system refuses to write.
pub fn claim(out: &Path, name: &str, config: &impl Serialize) -> Result<(), OutputError> {
    refuse_occupied(out)?;
    fs::create_dir_all(out).map_err(FileError::of(out, "create"))?;
    let text = toml::to_string(config).expect("a parsed configuration can be written");
    Ok(put_whole(&out.join(name), text.as_bytes())?)
}

/// Whether something is in the folder, besides unfinished files of a run that was killed; a folder that is not there is empty.
pub fn is_occupied(out: &Path) -> bool {
    fs::read_dir(out).is_ok_and(|entries| entries.flatten().any(|entry| !is_temporary(&entry.path())))
}

/// Fails where something is in the folder.
///
/// # Errors
/// A folder that is not empty.
pub fn refuse_occupied(out: &Path) -> Result<(), OutputError> {
    if !is_occupied(out) {
        return Ok(());
    }
    Err(OutputError::Occupied {
        path: out.to_owned(),
        problem: "is not empty".into(),
        hint: "give another --out, or remove the folder".into(),
    })
}

/// Writes `report.json`.
///
/// # Errors
/// The system refuses to write.
pub fn write_report(out: &Path, report: &impl Serialize) -> Result<(), FileError> {
    let text = serde_json::to_vec_pretty(report).expect("a report is plain data");
    put_whole(&out.join("report.json"), &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_empty_folder_is_claimed() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("run");
        let config = std::collections::BTreeMap::from([("seed", 1)]);
        // What a run leaves that was killed while it wrote its first file.
        fs::create_dir(&out).unwrap();
        fs::write(out.join("run.toml.host-1-0.part"), b"se").unwrap();
        claim(&out, "run.toml", &config).unwrap();
        assert_eq!(fs::read_to_string(out.join("run.toml")).unwrap(), "seed = 1\n");
        let error = claim(&out, "run.toml", &config).unwrap_err().to_string();
        assert!(error.contains("is not empty\nhint:"), "{error}");
    }
}
