//! The rows of a query, as a table for people or as JSON for programs.

use arrow::array::RecordBatch;
use arrow::json::LineDelimitedWriter;
use arrow::util::pretty::pretty_format_batches;

use crate::PrepareError;

/// Rows as a table.
///
/// # Errors
/// A type that has no text form.
pub fn to_table(batches: &[RecordBatch]) -> Result<String, PrepareError> {
    Ok(format!("{}\n", pretty_format_batches(batches)?))
}

/// A batch as one JSON object a row and line.
///
/// # Errors
/// A type that has no JSON form.
pub fn to_json_lines(batch: &RecordBatch) -> Result<String, PrepareError> {
    let mut writer = LineDelimitedWriter::new(Vec::new());
    writer.write(batch)?;
    writer.finish()?;
    Ok(String::from_utf8(writer.into_inner()).expect("JSON is UTF-8"))
}
