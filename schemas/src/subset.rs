//! Subsets: the ids of some of a dataset's samples, in the order in which they were drawn; or, in a dataset without texts, of
//! some of its volumes.

use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeBinaryBuilder, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde::Serialize;

use crate::columns::ids_of;
use crate::{Id, SchemaError};

/// Key of the footer of a subset's file: its [`Subset`] as JSON.
pub const FOOTER_KEY: &str = "med2e3.subset";

/// Key of the footer of a subset that is one part of a new split: the split's word.
pub const SPLIT_FOOTER_KEY: &str = "med2e3.split";

/// What was drawn, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Subset {
    /// The subset's name: `subsets/NAME.parquet`.
    pub name: String,
    /// Seed of the draw.
    pub seed: u64,
    /// Samples by task.
    pub counts: Vec<(String, u64)>,
    /// The queries, one a task; run again they give the same ids.
    pub queries: Vec<String>,
}

/// The column of a subset of samples.
const SAMPLES: &str = "sample_id";

/// The column of a subset of volumes.
pub const VOLUMES: &str = "volume_id";

/// The schema of `subsets/*.parquet`.
pub fn schema() -> SchemaRef {
    of_column(SAMPLES)
}

/// The schema of `subsets/*.parquet` where they are of volumes.
pub fn volumes_schema() -> SchemaRef {
    of_column(VOLUMES)
}

fn of_column(name: &str) -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new(name, DataType::FixedSizeBinary(16), false)]))
}

/// The ids as one batch of [`schema`].
pub fn to_batch(ids: &[Id]) -> RecordBatch {
    batch(schema(), ids)
}

/// The ids as one batch of [`volumes_schema`].
pub fn volumes_to_batch(ids: &[Id]) -> RecordBatch {
    batch(volumes_schema(), ids)
}

fn batch(schema: SchemaRef, ids: &[Id]) -> RecordBatch {
    let mut cells = FixedSizeBinaryBuilder::with_capacity(ids.len(), 16);
    ids.iter().for_each(|id| cells.append_value(id.0).expect("an id has 16 bytes"));
    let column: ArrayRef = Arc::new(cells.finish());
    RecordBatch::try_new(schema, vec![column]).expect("the column is built from this schema")
}

/// The ids of a batch with at least the column of [`schema`], such as one of samples.
///
/// # Errors
/// The column is missing or of another type.
pub fn ids_from_batch(batch: &RecordBatch) -> Result<Vec<Id>, SchemaError> {
    ids_of(batch, SAMPLES, schema())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip() {
        for ids in [vec![], vec![Id::of_volume("b"), Id::of_volume("a")]] {
            assert_eq!(ids_from_batch(&to_batch(&ids)).unwrap(), ids);
            assert_eq!(crate::volume::ids_from_batch(&volumes_to_batch(&ids)).unwrap(), ids);
        }
        let volumes = volumes_to_batch(&[Id::of_volume("a")]);
        assert!(ids_from_batch(&volumes).unwrap_err().to_string().contains("sample_id"));
    }
}
