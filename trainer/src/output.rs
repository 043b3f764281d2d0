//! The output folder of a run that can't be resumed: new or empty, with the configuration and the report in it.

use std::fs;
use std::path::Path;

use med2e3_feed::shard::commit::write_whole;
use serde::Serialize;

use crate::TrainerError;

/// Makes the folder this run's and writes its configuration into it.
pub(crate) fn claim(out: &Path, name: &str, config: &impl Serialize) -> Result<(), TrainerError> {
    refuse_existing(out)?;
    fs::create_dir_all(out).map_err(TrainerError::io(out, "create"))?;
    let text = toml::to_string(config).expect("a parsed configuration can be written");
    Ok(write_whole(&out.join(name), text.as_bytes())?)
}

/// Fails where the folder has something in it.
pub(crate) fn refuse_existing(out: &Path) -> Result<(), TrainerError> {
    if !fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some()) {
        return Ok(());
    }
    Err(TrainerError::Output {
        path: out.to_owned(),
        problem: "is not empty".into(),
        hint: "give another --out, or remove the folder".into(),
    })
}

/// Writes `report.json`.
pub(crate) fn write_report(out: &Path, report: &impl Serialize) -> Result<(), TrainerError> {
    let text = serde_json::to_vec_pretty(report).expect("a report is plain data");
    Ok(write_whole(&out.join("report.json"), &text)?)
}
