//! The output folder of a run that can't be resumed: new or empty, with the configuration and the report in it.

use std::fs;
use std::path::Path;

use med2e3_feed::shard::commit::write_whole;
use serde::Serialize;

use crate::TrainerError;
use crate::files::json::write_json;

/// Makes the folder and writes the run's configuration into it as `name`.
///
/// # Errors
/// The folder is not empty, or the system refuses to write.
pub(crate) fn claim(out: &Path, name: &str, config: &impl Serialize) -> Result<(), TrainerError> {
    refuse_existing(out)?;
    fs::create_dir_all(out).map_err(TrainerError::io(out, "create"))?;
    let text = toml::to_string(config).expect("a parsed configuration can be written");
    Ok(write_whole(&out.join(name), text.as_bytes())?)
}

/// Fails where the folder is not empty.
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
    write_json(&out.join("report.json"), report)
}

/// Rows as CSV, the header first, lines ended by `\n`. Rows may differ in length.
pub(crate) fn csv<T: AsRef<[u8]>>(rows: impl IntoIterator<Item = impl IntoIterator<Item = T>>) -> Vec<u8> {
    let mut writer =
        csv::WriterBuilder::new().flexible(true).terminator(csv::Terminator::Any(b'\n')).from_writer(Vec::new());
    for row in rows {
        writer.write_record(row).expect("memory takes any text");
    }
    writer.into_inner().expect("memory takes any text")
}
