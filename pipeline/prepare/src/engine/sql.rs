//! SQL over a dataset: volumes, samples, quarantine and subsets as tables.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::execution::context::{SQLOptions, SessionContext};
use datafusion::prelude::{ParquetReadOptions, SessionConfig};
use med2e3_schemas::{sample, volume};
use med2e3_shards::read_index;

use super::functions;
use crate::PrepareError;

/// Rows of a batch while a query runs.
#[derive(Clone, Copy, Debug)]
pub enum BatchSize {
    /// For any query: batches that carry voxels must stay small.
    Short = 64,
    /// For queries that touch no voxels.
    Long = 8192,
}

/// A dataset's tables, ready for queries.
pub struct Catalog {
    context: SessionContext,
}

impl Catalog {
    /// Registers `volumes`, `samples`, `quarantine`, `manifest_volumes`, `manifest_texts`, one `subset_NAME` for each
    /// subset, and the functions `hex(id)`, `foreground_fraction(voxels)` and `draw(id, seed)`.
    ///
    /// # Errors
    /// A folder that is no dataset, a table that can't be read.
    pub async fn open(root: &Path, batches: BatchSize) -> Result<Catalog, PrepareError> {
        let index = read_index(root)?;
        let mut config = SessionConfig::new().with_batch_size(batches as usize);
        // A filter on ids must not decode the voxels of other rows.
        let parquet = &mut config.options_mut().execution.parquet;
        parquet.schema_force_view_types = false;
        parquet.pushdown_filters = true;
        let context = SessionContext::new_with_config(config);
        for function in functions::all(&index.voxels) {
            context.register_udf(function);
        }
        let tables =
            [("volumes", volume::schema(&index.voxels), &index.volumes), ("samples", sample::schema(), &index.samples)];
        for (name, schema, shards) in tables {
            if shards.is_empty() {
                // A table without rows is a table too.
                context.register_batch(name, RecordBatch::new_empty(schema))?;
            } else {
                // The schema is known: no shard is opened to find it.
                let options = ParquetReadOptions::default().schema(&schema);
                context.register_parquet(name, root.join(name).display().to_string(), options).await?;
            }
        }
        let tables = ["quarantine.parquet", "manifest/volumes", "manifest/texts"];
        for (table, name) in tables.into_iter().zip(["quarantine", "manifest_volumes", "manifest_texts"]) {
            register(&context, name, &root.join(table)).await?;
        }
        for entry in fs::read_dir(root.join("subsets")).into_iter().flatten().flatten() {
            let path = entry.path();
            let stem = path
                .file_stem()
                .and_then(|stem| stem.to_str())
                .filter(|_| path.extension().is_some_and(|e| e == "parquet"));
            if let Some(stem) = stem {
                register(&context, &format!("subset_{}", stem.replace(['-', '.'], "_")), &path).await?;
            }
        }
        Ok(Catalog { context })
    }

    /// Runs a query.
    ///
    /// # Errors
    /// What DataFusion says of the query.
    pub async fn query(&self, query: &str) -> Result<Vec<RecordBatch>, PrepareError> {
        // Reading only: no table is made, no file is written.
        let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        let frame = self.context.sql_with_options(query, options).await?;
        let schema = Arc::new(frame.schema().as_arrow().clone());
        let mut batches = frame.collect().await?;
        if batches.is_empty() {
            // No row is an answer too, with its columns.
            batches.push(RecordBatch::new_empty(schema));
        }
        Ok(batches)
    }
}

async fn register(context: &SessionContext, name: &str, path: &Path) -> Result<(), PrepareError> {
    if path.exists() {
        context.register_parquet(name, path.display().to_string(), ParquetReadOptions::default()).await?;
    }
    Ok(())
}
