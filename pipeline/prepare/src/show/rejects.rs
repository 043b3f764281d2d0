//! `rejects`: the inputs that a run set aside, with their reasons.

use std::path::{Path, PathBuf};

use med2e3_program::visible;
use med2e3_schemas::config::nearest;
use med2e3_schemas::quarantine::{QuarantineRecord, Reason, from_batch};
use med2e3_shards::{Members, ShardError, ShardReader};

use crate::PrepareError;
use crate::provenance::Paths;
use crate::run::full_quarantine;

/// The dataset's own file.
const QUARANTINE: &str = "quarantine.parquet";

/// Columns of the table and of the CSV file.
const COLUMNS: [&str; 7] = ["table", "ordinal", "path", "row", "reason", "detail", "byte_offset"];

/// The file that says what was set aside: the dataset's own, or with `names` the one in full, which is in the folder next to
/// the dataset where names are withheld.
fn file(dataset: &Path, names: bool) -> PathBuf {
    let full = full_quarantine(Paths::Hash, dataset);
    if names && full.exists() { full } else { full_quarantine(Paths::Keep, dataset) }
}

/// What a dataset's run set aside, in the order of the manifest; of one reason's word, where one is given.
///
/// With `names` paths and details are given in full where the dataset itself withholds them.
///
/// # Errors
/// A word that is no reason, a folder without `quarantine.parquet`, a file that can't be read.
pub fn rejects(dataset: &Path, names: bool, reason: Option<&str>) -> Result<Vec<QuarantineRecord>, PrepareError> {
    let reason = reason.map(reason_of).transpose()?;
    let path = file(dataset, names);
    // The file in full is not the dataset's own, but the run's.
    let path = if path.starts_with(dataset) { Members::of(dataset)?.path(QUARANTINE)? } else { path };
    let reader = ShardReader::open(&path)?;
    let mut records = Vec::new();
    for batch in reader.read(&[])? {
        records.extend(from_batch(&batch).map_err(ShardError::schema(&path))?);
    }
    records.retain(|record| reason.is_none_or(|reason| record.reason == reason));
    Ok(records)
}

fn reason_of(word: &str) -> Result<Reason, PrepareError> {
    Reason::from_word(word).ok_or_else(|| {
        let known = Reason::ALL.map(Reason::as_str);
        let near = nearest(word, known.iter().copied()).map(|near| format!("; did you mean `{near}`?"));
        PrepareError::Request {
            what: format!("reason `{word}`"),
            problem: format!("expected one of {}{}", known.join(", "), near.unwrap_or_default()),
        }
    })
}

/// The records as a table for people, one line each; nothing where there are none.
pub fn to_table(records: &[QuarantineRecord]) -> String {
    let mut text = String::new();
    let width = |get: fn(&QuarantineRecord) -> &str| records.iter().map(|r| get(r).chars().count()).max().unwrap_or(0);
    let (reason, path) = (width(|r| r.reason.as_str()), width(|r| &r.path).min(80));
    for QuarantineRecord { table, path: image, row, reason: word, detail, byte_offset, .. } in records {
        let offset = byte_offset.map(|at| format!(" (byte {at})")).unwrap_or_default();
        let line =
            format!("{:<7}  {:<reason$}  {image:<path$}  {row}: {detail}{offset}", table.as_str(), word.as_str());
        text.push_str(&visible::value(&line));
        text.push('\n');
    }
    text
}

/// The records as CSV of RFC 4180, with a header; what a terminal obeys is shown, and no text is taken for a formula.
pub fn to_csv(records: &[QuarantineRecord]) -> String {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    let mut write = |fields: [&str; 7]| writer.write_record(fields).expect("memory takes any row");
    write(COLUMNS);
    for record in records {
        let (ordinal, offset) = (record.ordinal.to_string(), record.byte_offset.map(|at| at.to_string()));
        let QuarantineRecord { table, path, row, reason, detail, .. } = record;
        let offset = offset.unwrap_or_default();
        let [path, row, detail] = [path, row, detail].map(|text| visible::cell(text));
        write([table.as_str(), &ordinal, &path, &row, reason.as_str(), &detail, &offset]);
    }
    String::from_utf8(writer.into_inner().expect("memory is flushed")).expect("every field is UTF-8")
}

/// The records as one JSON object a line.
pub fn to_json_lines(records: &[QuarantineRecord]) -> String {
    let line = |record| serde_json::to_string(record).expect("a record is plain data") + "\n";
    records.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use med2e3_schemas::quarantine::Table;

    fn record() -> QuarantineRecord {
        QuarantineRecord {
            table: Table::Volumes,
            ordinal: 3,
            path: "a, \"b\".nii".into(),
            row: "x.csv:2".into(),
            reason: Reason::Unreadable,
            detail: "two\nlines".into(),
            byte_offset: Some(7),
        }
    }

    #[test]
    fn every_form_keeps_every_field() {
        // Python 3.11: csv.writer(f).writerow(["volumes", 3, 'a, "b".nii', "x.csv:2", "unreadable", "two\nlines", 7]).
        let row = "volumes,3,\"a, \"\"b\"\".nii\",x.csv:2,unreadable,\"two\nlines\",7\r\n";
        assert_eq!(to_csv(&[record()]), format!("table,ordinal,path,row,reason,detail,byte_offset\r\n{row}"));
        let formula = QuarantineRecord { path: "=1+1\x1b".into(), ..record() };
        assert!(to_csv(&[formula]).contains("3,'=1+1\\u{1b},x.csv"));
        let read: QuarantineRecord = serde_json::from_str(&to_json_lines(&[record()])).unwrap();
        assert_eq!(read, record());
        let table = to_table(&[record(), QuarantineRecord { byte_offset: None, ..record() }]);
        assert_eq!(table.lines().count(), 2);
        assert!(table.contains(r"two\nlines (byte 7)"), "{table}");
    }

    #[test]
    fn an_unknown_reason_is_an_error_with_the_nearest() {
        let error = rejects(Path::new("nowhere"), false, Some("unreadible")).unwrap_err().to_string();
        assert!(error.contains("did you mean `unreadable`?"), "{error}");
    }
}
