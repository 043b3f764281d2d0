//! The rows of a query and the tables that can be asked, as a table for people or as JSON for programs.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use arrow::json::LineDelimitedWriter;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow::util::pretty::pretty_format_batches;
use med2e3_program::visible;

use crate::PrepareError;

/// Rows as a table; what a terminal obeys is shown, line breaks of values too.
///
/// # Errors
/// A type that has no text form.
pub fn to_table(batches: &[RecordBatch]) -> Result<String, PrepareError> {
    let shown = batches.iter().map(shown).collect::<Result<Vec<_>, _>>()?;
    Ok(format!("{}\n", pretty_format_batches(&shown)?))
}

/// The batch as texts.
fn shown(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema();
    let fields = schema.fields().iter().map(|field| Field::new(visible::value(field.name()), DataType::Utf8, true));
    let texts = |column: &ArrayRef| -> Result<ArrayRef, ArrowError> {
        let options = FormatOptions::default();
        let cells = ArrayFormatter::try_new(column, &options)?;
        let cell = |row: usize| Ok(Some(visible::value(&cells.value(row).try_to_string()?).into_owned()));
        Ok(Arc::new((0..column.len()).map(cell).collect::<Result<StringArray, ArrowError>>()?))
    };
    let columns = batch.columns().iter().map(texts).collect::<Result<Vec<_>, _>>()?;
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns, &rows)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_obeys_nothing_of_its_cells() {
        let cells: ArrayRef = Arc::new(StringArray::from(vec![Some("a\x1b[2J\nb"), None]));
        let table = to_table(&[RecordBatch::try_from_iter([("q\x07", cells)]).unwrap()]).unwrap();
        assert!(table.contains(r"a\u{1b}[2J\nb") && table.contains(r"q\u{7}"), "{table}");
        assert_eq!(table.lines().count(), 6);
    }
}
