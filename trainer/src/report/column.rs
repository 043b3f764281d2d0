//! Columns of a batch by name and type.

use std::path::Path;

use arrow::array::{Array, AsArray, FixedSizeBinaryArray, RecordBatch, StringArray};

use crate::TrainerError;

/// A column of strings; `path` is the batch's file.
///
/// # Errors
/// The file lacks the column, or has one of another type.
pub(super) fn texts<'a>(batch: &'a RecordBatch, name: &str, path: &Path) -> Result<&'a StringArray, TrainerError> {
    typed(batch, name, path, "strings", |column| column.as_string_opt::<i32>())
}

/// A column of byte strings of one length.
///
/// # Errors
/// As [`texts`].
pub(super) fn fixed_bytes<'a>(
    batch: &'a RecordBatch,
    name: &str,
    path: &Path,
) -> Result<&'a FixedSizeBinaryArray, TrainerError> {
    typed(batch, name, path, "byte strings of one length", |column| column.as_fixed_size_binary_opt())
}

fn typed<'a, T>(
    batch: &'a RecordBatch,
    name: &str,
    path: &Path,
    kind: &str,
    read: impl Fn(&'a dyn Array) -> Option<&'a T>,
) -> Result<&'a T, TrainerError> {
    let column = batch.column_by_name(name);
    column.and_then(|column| read(column.as_ref())).ok_or_else(|| TrainerError::File {
        path: path.to_owned(),
        expected: format!("a column `{name}` of {kind}"),
        found: column.map_or("none".into(), |column| column.data_type().to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_missing_column_and_a_wrong_type_are_errors_that_name_file_and_column() {
        let names: Arc<dyn Array> = Arc::new(StringArray::from(vec!["a", "b"]));
        let batch = RecordBatch::try_from_iter([("reason", names)]).unwrap();
        let path = Path::new("set/quarantine.parquet");
        assert_eq!(texts(&batch, "reason", path).unwrap().value(1), "b");
        let missing = texts(&batch, "detail", path).unwrap_err().to_string();
        assert_eq!(missing, "set/quarantine.parquet: expected a column `detail` of strings, found none");
        let wrong = fixed_bytes(&batch, "reason", path).unwrap_err().to_string();
        assert!(wrong.contains("`reason`") && wrong.contains("Utf8"), "{wrong}");
    }
}
