//! Quarantine: one record for each manifest row that became no row, with a reason that programs can count.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use serde::{Deserialize, Serialize};

use crate::SchemaError;
use crate::columns::Columns;

/// Why an input was set aside. The words are stable: reports and queries count them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// No file or folder at the path that the manifest names.
    NotFound,
    /// The file is there but the system would not read it.
    Unreadable,
    /// A file or folder whose name is not UTF-8, so that no manifest can name it.
    NameNotUtf8,
    /// A gzip stream that ends early.
    TruncatedGzip,
    /// A gzip stream whose contents or checksum are wrong.
    CorruptGzip,
    /// A header that promises more bytes than the file has.
    LyingHeader,
    /// A header with impossible values.
    BadHeader,
    /// A format, data type or rank that the readers do not take.
    UnsupportedFormat,
    /// A sample that refers to an ordinary 2D image.
    #[serde(rename = "unsupported_image2d")]
    UnsupportedImage2d,
    /// Larger than the limit on one decoded input.
    TooLarge,
    /// A series folder without slices.
    EmptyFolder,
    /// Slices of so many sizes that no size has a majority.
    MixedSliceSizes,
    /// A folder with slices of several series, or several at one position.
    MixedSeries,
    /// Nothing but localizers (scouts), the pictures on which slices were planned.
    Localizer,
    /// A series of which no slice could be decoded.
    NoReadableSlice,
    /// A slice whose name is not a number.
    BadSliceName,
    /// Every voxel has the same value, or none is above the crop's threshold, so that nothing is left.
    AllZero,
    /// NaN or infinite voxels.
    NotFinite,
    /// A recipe for Hounsfield units, and values of another or unknown unit.
    HuUnknown,
    /// A recipe that asks for a spacing, and a source that does not say its own.
    SpacingUnknown,
    /// A path that leads out of the data root.
    PathOutsideRoot,
    /// A text row without an answer.
    MissingAnswer,
    /// A text row without an image.
    MissingImage,
    /// A text of a table whose volume is not there: the table is about more than the data.
    NoVolume,
    /// A text of which no target token is left within the length budget.
    NoTarget,
    /// A manifest row with a field missing or malformed.
    BadRow,
    /// A text file that is missing or not UTF-8.
    TextUnreadable,
}

impl Reason {
    /// Every reason, in the order of the declaration.
    pub const ALL: [Reason; 27] = [
        Reason::NotFound,
        Reason::Unreadable,
        Reason::NameNotUtf8,
        Reason::TruncatedGzip,
        Reason::CorruptGzip,
        Reason::LyingHeader,
        Reason::BadHeader,
        Reason::UnsupportedFormat,
        Reason::UnsupportedImage2d,
        Reason::TooLarge,
        Reason::EmptyFolder,
        Reason::MixedSliceSizes,
        Reason::MixedSeries,
        Reason::Localizer,
        Reason::NoReadableSlice,
        Reason::BadSliceName,
        Reason::AllZero,
        Reason::NotFinite,
        Reason::HuUnknown,
        Reason::SpacingUnknown,
        Reason::PathOutsideRoot,
        Reason::MissingAnswer,
        Reason::MissingImage,
        Reason::NoVolume,
        Reason::NoTarget,
        Reason::BadRow,
        Reason::TextUnreadable,
    ];

    /// The reason's word on disk.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::NotFound => "not_found",
            Reason::Unreadable => "unreadable",
            Reason::NameNotUtf8 => "name_not_utf8",
            Reason::TruncatedGzip => "truncated_gzip",
            Reason::CorruptGzip => "corrupt_gzip",
            Reason::LyingHeader => "lying_header",
            Reason::BadHeader => "bad_header",
            Reason::UnsupportedFormat => "unsupported_format",
            Reason::UnsupportedImage2d => "unsupported_image2d",
            Reason::TooLarge => "too_large",
            Reason::EmptyFolder => "empty_folder",
            Reason::MixedSliceSizes => "mixed_slice_sizes",
            Reason::MixedSeries => "mixed_series",
            Reason::Localizer => "localizer",
            Reason::NoReadableSlice => "no_readable_slice",
            Reason::BadSliceName => "bad_slice_name",
            Reason::AllZero => "all_zero",
            Reason::NotFinite => "not_finite",
            Reason::HuUnknown => "hu_unknown",
            Reason::SpacingUnknown => "spacing_unknown",
            Reason::PathOutsideRoot => "path_outside_root",
            Reason::MissingAnswer => "missing_answer",
            Reason::MissingImage => "missing_image",
            Reason::NoVolume => "no_volume",
            Reason::NoTarget => "no_target",
            Reason::BadRow => "bad_row",
            Reason::TextUnreadable => "text_unreadable",
        }
    }

    /// Whether it is no fault of an input: limits on rejects do not count it.
    pub fn is_no_fault(self) -> bool {
        self == Reason::NoVolume
    }

    /// The reason of a word; `None` for an unknown one.
    pub fn from_word(word: &str) -> Option<Reason> {
        Reason::ALL.into_iter().find(|reason| reason.as_str() == word)
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which of the manifest's two tables a row belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Table {
    /// Distinct volumes.
    Volumes,
    /// Text pairs.
    Texts,
}

impl Table {
    /// Both, in the order of the declaration.
    pub const ALL: [Table; 2] = [Table::Volumes, Table::Texts];

    /// The table's word on disk.
    pub fn as_str(self) -> &'static str {
        match self {
            Table::Volumes => "volumes",
            Table::Texts => "texts",
        }
    }

    /// The folder of the table's shards in a dataset.
    pub fn shard_folder(self) -> &'static str {
        match self {
            Table::Volumes => "volumes",
            Table::Texts => "samples",
        }
    }
}

/// One manifest row that became no row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineRecord {
    /// The table that the row belongs to.
    pub table: Table,
    /// Position of the row in its table of the manifest.
    pub ordinal: u64,
    /// The path that the manifest names, relative to the data root.
    pub path: String,
    /// Where the row itself is: file and line for a CSV, file and entry for JSON.
    pub row: String,
    /// The reason's word.
    pub reason: Reason,
    /// What was expected and what was found.
    pub detail: String,
    /// Byte in the file where it went wrong, where known.
    pub byte_offset: Option<u64>,
}

impl QuarantineRecord {
    /// The record as one line for a person: where, why, what. The place is said once, though most details begin with it.
    pub fn line(&self) -> String {
        let place = if self.path.is_empty() { &self.row } else { &self.path };
        let detail = self.detail.strip_prefix(place.as_str()).and_then(|rest| rest.strip_prefix(": "));
        format!("{place}: {}: {}", self.reason, detail.unwrap_or(&self.detail))
    }
}

/// The schema of `quarantine.parquet`.
pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("table", DataType::Utf8, false),
        Field::new("ordinal", DataType::UInt64, false),
        Field::new("path", DataType::Utf8, false),
        Field::new("row", DataType::Utf8, false),
        Field::new("reason", DataType::Utf8, false),
        Field::new("detail", DataType::Utf8, false),
        Field::new("byte_offset", DataType::UInt64, true),
    ]))
}

/// The records as one batch of [`schema`].
pub fn to_batch(records: &[QuarantineRecord]) -> RecordBatch {
    let text = |get: &dyn Fn(&QuarantineRecord) -> String| -> ArrayRef {
        Arc::new(records.iter().map(|record| Some(get(record))).collect::<StringArray>())
    };
    let columns: Vec<ArrayRef> = vec![
        text(&|r| r.table.as_str().into()),
        Arc::new(records.iter().map(|r| r.ordinal).collect::<UInt64Array>()),
        text(&|r| r.path.clone()),
        text(&|r| r.row.clone()),
        text(&|r| r.reason.as_str().into()),
        text(&|r| r.detail.clone()),
        Arc::new(records.iter().map(|r| r.byte_offset).collect::<UInt64Array>()),
    ];
    RecordBatch::try_new(schema(), columns).expect("the columns above are built from this schema")
}

/// The records of a batch of [`schema`].
///
/// # Errors
/// A missing column, a column of another type, an unknown word.
pub fn from_batch(batch: &RecordBatch) -> Result<Vec<QuarantineRecord>, SchemaError> {
    let columns = Columns { batch, expected: schema() };
    (0..batch.num_rows())
        .map(|row| {
            let offset = columns.get("byte_offset")?;
            let table = columns.text("table", row)?;
            Ok(QuarantineRecord {
                table: Table::ALL.into_iter().find(|known| known.as_str() == table).ok_or_else(|| {
                    SchemaError::Word {
                        what: "table",
                        expected: Table::ALL.map(Table::as_str).join(", "),
                        found: table,
                    }
                })?,
                ordinal: columns.get("ordinal")?.as_primitive::<UInt64Type>().value(row),
                path: columns.text("path", row)?,
                row: columns.text("row", row)?,
                reason: reason_of(&columns, "reason", row)?.ok_or_else(|| SchemaError::Word {
                    what: "reason",
                    expected: Reason::ALL.map(Reason::as_str).join(", "),
                    found: "null".into(),
                })?,
                detail: columns.text("detail", row)?,
                byte_offset: offset.is_valid(row).then(|| offset.as_primitive::<UInt64Type>().value(row)),
            })
        })
        .collect()
}

/// The reason in a column; `None` for a null.
pub(crate) fn reason_of(columns: &Columns<'_>, name: &str, row: usize) -> Result<Option<Reason>, SchemaError> {
    let Some(word) = columns.maybe_text(name, row)? else { return Ok(None) };
    let expected = || Reason::ALL.map(Reason::as_str).join(", ");
    let error = || SchemaError::Word { what: "reason", expected: expected(), found: word.clone() };
    Reason::from_word(&word).map(Some).ok_or_else(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_round_trip() {
        let record = QuarantineRecord {
            table: Table::Texts,
            ordinal: 4,
            path: "a/b".into(),
            row: "M3D_VQA_train.csv:2".into(),
            reason: Reason::MissingAnswer,
            detail: "expected an answer, found an empty cell".into(),
            byte_offset: None,
        };
        let records = vec![QuarantineRecord { table: Table::Volumes, byte_offset: Some(7), ..record.clone() }, record];
        assert_eq!(from_batch(&to_batch(&records)).unwrap(), records);
        let batch = to_batch(&records).project(&[0, 1, 2, 3, 4, 6]).unwrap();
        assert!(from_batch(&batch).unwrap_err().to_string().contains("column `detail`"));
    }

    #[test]
    fn a_line_says_the_place_once() {
        let mut record = QuarantineRecord {
            table: Table::Volumes,
            ordinal: 0,
            path: "a/b.nii".into(),
            row: "a/b.nii".into(),
            reason: Reason::BadHeader,
            detail: "a/b.nii: header field dim: found 0".into(),
            byte_offset: None,
        };
        assert_eq!(record.line(), "a/b.nii: bad_header: header field dim: found 0");
        (record.path, record.row) = (String::new(), "x.csv:2".into());
        assert_eq!(record.line(), "x.csv:2: bad_header: a/b.nii: header field dim: found 0");
    }

    #[test]
    fn words_are_the_serialized_form() {
        for reason in Reason::ALL {
            assert_eq!(serde_json::to_string(&reason).unwrap(), format!("\"{reason}\""));
            assert_eq!(Reason::from_word(reason.as_str()), Some(reason));
        }
    }
}
