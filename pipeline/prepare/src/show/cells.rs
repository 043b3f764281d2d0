//! Cells of bytes, as text: ids and hashes in hex digits, anything longer as its size, wherever in a row they are.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, GenericListArray, OffsetSizeTrait, RecordBatch, RecordBatchOptions,
    StringArray, StructArray,
};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use arrow::error::ArrowError;

/// Which cells of bytes are shown in hex digits; of others their size is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InHex {
    /// Ids alone, which have 16 bytes: for a table, whose columns are as wide as their widest cell.
    Ids,
    /// Ids and hashes, which have 64 bytes at most: for programs.
    IdsAndHashes,
}

/// Bytes of an id.
const ID: usize = 16;

/// Bytes of the longest hash.
const LONGEST_HASH: usize = 64;

impl InHex {
    fn text(self, cell: &[u8]) -> String {
        let whole = match self {
            InHex::Ids => cell.len() == ID,
            InHex::IdsAndHashes => cell.len() <= LONGEST_HASH,
        };
        if whole { hex(cell) } else { format!("<{} bytes>", cell.len()) }
    }
}

/// The bytes as hex digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The batch with text in place of every cell of bytes, those within lists and structures too.
///
/// # Errors
/// Columns that do not fit each other, which no batch has.
pub fn in_words(batch: &RecordBatch, in_hex: InHex) -> Result<RecordBatch, ArrowError> {
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let column = words(column, in_hex)?;
        fields.push(renewed(field, &column));
        columns.push(column);
    }
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &rows)
}

/// The field of a column that may have become text.
fn renewed(field: &FieldRef, column: &ArrayRef) -> FieldRef {
    if field.data_type() == column.data_type() {
        return field.clone();
    }
    Arc::new(Field::new(field.name(), column.data_type().clone(), true))
}

fn words(column: &ArrayRef, in_hex: InHex) -> Result<ArrayRef, ArrowError> {
    fn texts<'a>(cells: impl Iterator<Item = Option<&'a [u8]>>, in_hex: InHex) -> ArrayRef {
        Arc::new(cells.map(|cell| cell.map(|cell| in_hex.text(cell))).collect::<StringArray>())
    }
    Ok(match column.data_type() {
        DataType::FixedSizeBinary(_) => texts(column.as_fixed_size_binary().iter(), in_hex),
        DataType::Binary => texts(column.as_binary::<i32>().iter(), in_hex),
        DataType::LargeBinary => texts(column.as_binary::<i64>().iter(), in_hex),
        DataType::BinaryView => texts(column.as_binary_view().iter(), in_hex),
        DataType::List(item) => list::<i32>(column, item, in_hex)?,
        DataType::LargeList(item) => list::<i64>(column, item, in_hex)?,
        DataType::FixedSizeList(item, size) => {
            let (size, column) = (*size, column.as_fixed_size_list());
            let values = words(column.values(), in_hex)?;
            let (item, nulls) = (renewed(item, &values), column.nulls().cloned());
            Arc::new(FixedSizeListArray::try_new_with_length(item, size, values, nulls, column.len())?)
        }
        DataType::Struct(fields) => {
            let column = column.as_struct();
            let parts = column.columns().iter().map(|part| words(part, in_hex)).collect::<Result<Vec<_>, _>>()?;
            let fields = fields.iter().zip(&parts).map(|(field, part)| renewed(field, part)).collect();
            Arc::new(StructArray::try_new_with_length(fields, parts, column.nulls().cloned(), column.len())?)
        }
        _ => column.clone(),
    })
}

fn list<Offset: OffsetSizeTrait>(column: &ArrayRef, item: &FieldRef, in_hex: InHex) -> Result<ArrayRef, ArrowError> {
    let column = column.as_list::<Offset>();
    let values = words(column.values(), in_hex)?;
    let (item, nulls) = (renewed(item, &values), column.nulls().cloned());
    Ok(Arc::new(GenericListArray::try_new(item, column.offsets().clone(), values, nulls)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{BinaryArray, FixedSizeBinaryArray, Int32Array, LargeBinaryArray};
    use arrow::buffer::OffsetBuffer;
    use arrow::util::display::{ArrayFormatter, FormatOptions};

    fn fixed(width: i32) -> ArrayRef {
        let cells = [Some(vec![7; width as usize]), None];
        Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(cells.into_iter(), width).unwrap())
    }

    fn shown(column: ArrayRef, in_hex: InHex) -> String {
        let batch = RecordBatch::try_from_iter_with_nullable([("a", column, true)]).unwrap();
        let batch = in_words(&batch, in_hex).unwrap();
        let options = FormatOptions::default().with_null("-");
        let cells = ArrayFormatter::try_new(batch.column(0), &options).unwrap();
        (0..batch.num_rows()).map(|row| cells.value(row).to_string()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn ids_are_hex_and_the_rest_its_size() {
        let id = "07".repeat(16);
        assert_eq!(shown(fixed(16), InHex::Ids), format!("{id} -"));
        assert_eq!(shown(fixed(32), InHex::Ids), "<32 bytes> -");
        assert_eq!(shown(fixed(32), InHex::IdsAndHashes), format!("{} -", "07".repeat(32)));
        assert_eq!(shown(fixed(2_097_152), InHex::IdsAndHashes), "<2097152 bytes> -");
        let long = vec![1; 65];
        assert_eq!(shown(Arc::new(BinaryArray::from(vec![long.as_slice()])), InHex::IdsAndHashes), "<65 bytes>");
        assert_eq!(shown(Arc::new(LargeBinaryArray::from(vec![&b""[..]])), InHex::Ids), "<0 bytes>");
        assert_eq!(shown(Arc::new(Int32Array::from(vec![3])), InHex::Ids), "3");
    }

    #[test]
    fn bytes_within_lists_and_structures_are_found() {
        let id = "07".repeat(16);
        let item = Arc::new(Field::new("item", DataType::FixedSizeBinary(16), true));
        let list = GenericListArray::<i32>::new(item, OffsetBuffer::from_lengths([1, 1]), fixed(16), None);
        assert_eq!(shown(Arc::new(list), InHex::Ids), format!("[{id}] [-]"));
        let item = Arc::new(Field::new("item", DataType::FixedSizeBinary(100), true));
        let pair = FixedSizeListArray::new(item, 2, fixed(100), None);
        assert_eq!(shown(Arc::new(pair), InHex::Ids), "[<100 bytes>, -]");
        let field = Arc::new(Field::new("voxels", DataType::FixedSizeBinary(100), true));
        let record = StructArray::from(vec![(field, fixed(100))]);
        assert!(shown(Arc::new(record), InHex::IdsAndHashes).contains("<100 bytes>"));
    }
}
