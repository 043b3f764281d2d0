//! Reading a batch's columns by name, each checked against the schema that the reader expects.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Int32Type, SchemaRef};

use crate::{Id, SchemaError};

/// A list type whose items are named `item`, as Arrow's builders make them.
pub(crate) fn list_of(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", item, true)))
}

/// A batch and the schema that it should have.
pub(crate) struct Columns<'a> {
    pub(crate) batch: &'a RecordBatch,
    pub(crate) expected: SchemaRef,
}

impl<'a> Columns<'a> {
    pub(crate) fn get(&self, name: &str) -> Result<&'a ArrayRef, SchemaError> {
        let field = self.expected.field_with_name(name).expect("the name is of this schema");
        let error =
            |found: String| SchemaError::Column { column: name.into(), expected: field.data_type().to_string(), found };
        let array = self.batch.column_by_name(name).ok_or_else(|| error("none".into()))?;
        if !array.data_type().equals_datatype(field.data_type()) {
            return Err(error(array.data_type().to_string()));
        }
        if !field.is_nullable() && array.null_count() > 0 {
            return Err(error(format!("{} nulls", array.null_count())));
        }
        Ok(array)
    }

    pub(crate) fn text(&self, name: &str, row: usize) -> Result<String, SchemaError> {
        Ok(self.get(name)?.as_string::<i32>().value(row).to_owned())
    }

    pub(crate) fn maybe_text(&self, name: &str, row: usize) -> Result<Option<String>, SchemaError> {
        let array = self.get(name)?;
        Ok(array.is_valid(row).then(|| array.as_string::<i32>().value(row).to_owned()))
    }

    pub(crate) fn maybe_texts(&self, name: &str, row: usize) -> Result<Option<Vec<String>>, SchemaError> {
        let array = self.get(name)?;
        Ok(array.is_valid(row).then(|| {
            let list = array.as_list::<i32>().value(row);
            list.as_string::<i32>().iter().flatten().map(str::to_owned).collect()
        }))
    }

    pub(crate) fn id(&self, name: &str, row: usize) -> Result<Id, SchemaError> {
        Ok(Id::from_bytes(self.get(name)?.as_fixed_size_binary().value(row)).expect("the column has 16 bytes"))
    }

    pub(crate) fn ids(&self, name: &str, row: usize) -> Result<Vec<Id>, SchemaError> {
        let list = self.get(name)?.as_list::<i32>().value(row);
        Ok(list.as_fixed_size_binary().iter().flatten().filter_map(Id::from_bytes).collect())
    }

    /// A hash of N bytes, which is what the schema says of the column.
    pub(crate) fn hash<const N: usize>(&self, name: &str, row: usize) -> Result<[u8; N], SchemaError> {
        let column = self.get(name)?.as_fixed_size_binary();
        Ok(column.value(row).try_into().expect("the column has N bytes"))
    }

    /// Three numbers in a list: another count is an error.
    pub(crate) fn triple<T: Copy>(&self, name: &str, values: &[T]) -> Result<[T; 3], SchemaError> {
        values.try_into().map_err(|_| SchemaError::Column {
            column: name.into(),
            expected: "3 values in each row".into(),
            found: values.len().to_string(),
        })
    }

    pub(crate) fn flag(&self, name: &str, row: usize) -> Result<bool, SchemaError> {
        Ok(self.get(name)?.as_boolean().value(row))
    }

    pub(crate) fn maybe_ints(&self, name: &str, row: usize) -> Result<Option<Vec<i32>>, SchemaError> {
        let array = self.get(name)?;
        let values = || array.as_list::<i32>().value(row).as_primitive::<Int32Type>().values().to_vec();
        Ok(array.is_valid(row).then(values))
    }

    pub(crate) fn ints(&self, name: &str, row: usize) -> Result<Vec<i32>, SchemaError> {
        Ok(self.maybe_ints(name, row)?.unwrap_or_default())
    }
}

/// The ids in the column `name`, which is all that is read of the batch.
pub(crate) fn ids_of(batch: &RecordBatch, name: &str, expected: SchemaRef) -> Result<Vec<Id>, SchemaError> {
    let columns = Columns { batch, expected };
    (0..batch.num_rows()).map(|row| columns.id(name, row)).collect()
}
