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

/// Rows as one JSON object a line.
///
/// # Errors
/// A type that has no JSON form.
pub fn to_json_lines(batches: &[RecordBatch]) -> Result<String, PrepareError> {
    let mut writer = LineDelimitedWriter::new(Vec::new());
    writer.write_batches(&batches.iter().collect::<Vec<_>>())?;
    writer.finish()?;
    Ok(String::from_utf8(writer.into_inner()).expect("JSON is UTF-8"))
}
