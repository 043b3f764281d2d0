//! `sql` without a query: the tables of a dataset, their columns, and how they are joined.

use std::path::Path;

use arrow::datatypes::DataType;
use med2e3_program::visible;
use serde::Serialize;

use crate::PrepareError;
use crate::engine::{BatchSize, Catalog};

/// A table that can be queried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Table {
    /// Its name in a query.
    pub table: String,
    /// How many rows it has.
    pub rows: u64,
    /// Its columns, in order.
    pub columns: Vec<Column>,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What its cells are, in words: text, id, list of whole numbers.
    #[serde(rename = "type")]
    pub kind: String,
}

/// The tables of a dataset.
///
/// # Errors
/// A folder that is no dataset, a table that can't be read.
pub fn tables(root: &Path) -> Result<Vec<Table>, PrepareError> {
    let catalog = Catalog::open(root, BatchSize::Short, None)?;
    let tables = catalog.tables().iter().map(|table| {
        let fields = table.schema.fields().iter();
        let columns = fields.map(|field| Column { name: field.name().clone(), kind: words(field.data_type()) });
        Table { table: table.name.clone(), rows: table.rows, columns: columns.collect() }
    });
    Ok(tables.collect())
}

/// A type in words.
fn words(kind: &DataType) -> String {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".to_owned(),
        DataType::Boolean => "true or false".to_owned(),
        DataType::FixedSizeBinary(16) => "id".to_owned(),
        DataType::FixedSizeBinary(width) => format!("{width} bytes"),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => "number".to_owned(),
        kind if kind.is_integer() => "whole number".to_owned(),
        DataType::List(item) | DataType::LargeList(item) => format!("list of: {}", words(item.data_type())),
        DataType::Struct(fields) => {
            let parts: Vec<String> =
                fields.iter().map(|field| format!("{} {}", field.name(), words(field.data_type()))).collect();
            format!("record of {}", parts.join(", "))
        }
        other => other.to_string(),
    }
}

/// How tables are joined, with what users stumble over.
pub const HOW_TABLES_JOIN: &str = "\
Samples and their volumes (volume_ids is a list, so it is unfolded first):
  SELECT s.question, s.answer, v.plane
  FROM (SELECT *, unnest(volume_ids) AS volume_id FROM samples) AS s JOIN volumes AS v USING (volume_id)
The samples of a subset:
  SELECT s.* FROM samples AS s JOIN subset_NAME USING (sample_id)
Ids are bytes: hex(volume_id) = '0123..', and hex(..) shows any cell of bytes in full.
The subset `my-split-train` is the table subset_my_split_train: an underscore for every `-` and `.`, small letters.
In LIKE patterns `_` is any one character: series LIKE 'Axial\\_%' means the underscore itself.
";

/// The tables for a person, each with its columns.
pub fn to_text(tables: &[Table]) -> String {
    let mut text = String::new();
    for Table { table, rows, columns } in tables {
        text.push_str(&format!("{} ({rows} rows)\n", visible::value(table)));
        let width = columns.iter().map(|column| column.name.chars().count()).max().unwrap_or(0);
        for Column { name, kind } in columns {
            text.push_str(&format!("  {:<width$}  {}\n", visible::value(name), visible::value(kind)));
        }
        text.push('\n');
    }
    text + HOW_TABLES_JOIN
}

#[cfg(test)]
mod tests {
    use super::*;
    use med2e3_schemas::{sample, subset};

    #[test]
    fn types_are_words() {
        let schema = sample::schema();
        let kind = |name: &str| words(schema.field_with_name(name).unwrap().data_type());
        assert_eq!(kind("sample_id"), "id");
        assert_eq!(kind("volume_ids"), "list of: id");
        assert_eq!(kind("target_spans"), "list of: record of start whole number, end whole number");
        assert_eq!((kind("truncated").as_str(), kind("topic").as_str()), ("true or false", "whole number"));
        assert_eq!(words(subset::schema().field(0).data_type()), "id");
    }
}
