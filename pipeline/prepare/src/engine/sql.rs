//! SQL over a dataset: volumes, samples, quarantine and subsets as tables.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::execution::context::{SQLOptions, SessionContext};
use datafusion::prelude::{DataFrame, ParquetReadOptions, SessionConfig};
use futures::StreamExt;
use med2e3_schemas::{sample, volume};
use med2e3_shards::read_index;

use super::functions;
use crate::PrepareError;

/// Rows of a batch while a query runs.
#[derive(Clone, Copy, Debug)]
pub enum BatchSize {
    /// For any query: as many cells as take 32 MiB, and 64 at most.
    Short,
    /// For queries that touch no voxels.
    Long,
}

impl BatchSize {
    fn rows(self, cell_bytes: usize) -> usize {
        match self {
            BatchSize::Short => (SHORT_BYTES / cell_bytes.max(1)).clamp(1, 64),
            BatchSize::Long => 8192,
        }
    }
}

/// Voxels of one batch, in bytes. Several batches are on their way at a time.
const SHORT_BYTES: usize = 32 << 20;

/// Bytes of the longest cell that is shown whole: ids and hashes are shorter, voxels longer.
const SHOWN_BYTES: i32 = 256;

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
        // Statistics would make an array of 1,024 cells for the voxels of each file, though voxels have none.
        let rows = batches.rows(index.voxels.cell_bytes());
        let mut config = SessionConfig::new().with_batch_size(rows).with_collect_statistics(false);
        // A filter on ids must not decode the voxels of other rows.
        let parquet = &mut config.options_mut().execution.parquet;
        parquet.schema_force_view_types = false;
        parquet.pushdown_filters = true;
        // Where a query compares voxels, choosing row groups and pages would make such arrays too.
        parquet.pruning = matches!(batches, BatchSize::Long);
        parquet.enable_page_index = parquet.pruning;
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
        let frame = self.frame(query).await?;
        let schema = Arc::new(frame.schema().as_arrow().clone());
        let mut batches = frame.collect().await?;
        if batches.is_empty() {
            // No row is an answer too, with its columns.
            batches.push(RecordBatch::new_empty(schema));
        }
        Ok(batches)
    }

    /// Runs a query for people: gives each batch to `show` when it is there, voxels and other cells of more than 256 bytes
    /// shortened to their first bytes and their length. The first batch may be without rows, so that its columns are known.
    ///
    /// # Errors
    /// What DataFusion says of the query; the first error of `show`, after which the query is not run on.
    pub async fn show<E: From<PrepareError>>(
        &self,
        query: &str,
        mut show: impl FnMut(RecordBatch) -> Result<(), E>,
    ) -> Result<(), E> {
        let stream = async { self.frame(query).await?.execute_stream().await.map_err(PrepareError::from) };
        let mut stream = stream.await?;
        show(shortened(&RecordBatch::new_empty(stream.schema()))?)?;
        while let Some(batch) = stream.next().await {
            show(shortened(&batch.map_err(PrepareError::from)?)?)?;
        }
        Ok(())
    }

    async fn frame(&self, query: &str) -> Result<DataFrame, PrepareError> {
        // Reading only: no table is made, no file is written.
        let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        Ok(self.context.sql_with_options(query, options).await?)
    }
}

/// The batch with its long cells as text: the first bytes as hex digits, and how many there are.
fn shortened(batch: &RecordBatch) -> Result<RecordBatch, PrepareError> {
    let mut fields = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        match column.data_type() {
            DataType::FixedSizeBinary(width) if *width > SHOWN_BYTES => {
                let text = |cell: &[u8]| format!("{}.. ({} bytes)", functions::hex(&cell[..8]), cell.len());
                let texts = column.as_fixed_size_binary().iter().map(|cell| cell.map(text));
                columns.push(Arc::new(texts.collect::<StringArray>()));
                fields.push(Arc::new(Field::new(field.name(), DataType::Utf8, true)));
            }
            _ => {
                columns.push(column.clone());
                fields.push(field.clone());
            }
        }
    }
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &rows)?)
}

async fn register(context: &SessionContext, name: &str, path: &Path) -> Result<(), PrepareError> {
    if path.exists() {
        context.register_parquet(name, path.display().to_string(), ParquetReadOptions::default()).await?;
    }
    Ok(())
}
