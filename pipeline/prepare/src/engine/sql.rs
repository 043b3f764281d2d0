//! SQL over a dataset: volumes, samples, quarantine and subsets as tables.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::TableReference;
use datafusion::execution::context::{SQLOptions, SessionContext};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{DataFrame, SessionConfig};
use futures::StreamExt;
use med2e3_schemas::{sample, volume};
use med2e3_shards::{Members, ShardReader, Shards, subset};

use super::shard_table::ShardTable;
use super::{bounded_functions, functions, query_error};
use crate::PrepareError;
use crate::show::cells::{InHex, in_words};

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

/// A dataset's tables, ready for queries.
pub struct Catalog {
    context: SessionContext,
    tables: Vec<TableColumns>,
}

/// A table that can be queried.
#[derive(Clone, Debug)]
pub struct TableColumns {
    /// Its name in a query.
    pub name: String,
    /// How many rows it has.
    pub rows: u64,
    /// Its columns, in order.
    pub schema: SchemaRef,
}

impl Catalog {
    /// Registers `volumes`, `samples`, `quarantine`, `manifest_volumes`, `manifest_texts`, one `subset_NAME` for each
    /// subset (with an underscore for every `-` and `.` of its name; in double quotes also under its own), and the functions `hex(id)`, `foreground_fraction(voxels)` and `draw(id, seed)`. What the index names is a table,
    /// other files of the folder are not; the engine itself opens none.
    ///
    /// `memory` bounds the bytes that sorts, joins and groups hold.
    ///
    /// # Errors
    /// A folder that is no dataset, a table that can't be read.
    pub fn open(root: &Path, batches: BatchSize, memory: Option<usize>) -> Result<Catalog, PrepareError> {
        let Shards { index, volumes, samples } = Shards::open(root)?;
        let members = Members::of(root)?;
        let rows = batches.rows(index.voxels.cell_bytes());
        // The information schema answers SHOW TABLES and SHOW COLUMNS.
        let config = SessionConfig::new().with_batch_size(rows).with_collect_statistics(false);
        let config = config.with_information_schema(true);
        let mut runtime = RuntimeEnvBuilder::new();
        if let Some(bytes) = memory {
            // Nothing of a dataset is left on other disks: what does not fit is refused.
            let no_files = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
            runtime = runtime.with_memory_limit(bytes, 1.0).with_disk_manager_builder(no_files);
        }
        let context = SessionContext::new_with_config_rt(config, runtime.build_arc()?);
        bounded_functions::register(&context);
        for function in functions::all(&index.voxels) {
            context.register_udf(function);
        }
        let mut tables = Vec::new();
        let mut register = |name: &str, schema: SchemaRef, shards: Vec<ShardReader>| -> Result<(), PrepareError> {
            let count = shards.iter().map(|shard| shard.rows() as u64).sum();
            let table = Arc::new(ShardTable::new(schema.clone(), shards, rows));
            context.register_table(TableReference::bare(name), table.clone())?;
            let mut shown = name.to_owned();
            let plain = plain_name(name);
            // Of two subsets whose plain names are the same, the first has it.
            if plain != name && !context.table_exist(TableReference::bare(plain.as_str()))? {
                context.register_table(TableReference::bare(plain.as_str()), table)?;
                shown = plain;
            }
            tables.push(TableColumns { name: shown, rows: count, schema });
            Ok(())
        };
        register("volumes", volume::schema(&index.voxels), volumes)?;
        register("samples", sample::schema(), samples)?;
        let open = |relative: &str| ShardReader::open(&members.path(relative)?);
        // Tables whose files say what their columns are.
        let mut others = vec![("quarantine".to_owned(), vec!["quarantine.parquet".to_owned()])];
        for (name, folder) in [("manifest_volumes", "manifest/volumes"), ("manifest_texts", "manifest/texts")] {
            others.push((name.into(), working_files(root, folder)));
        }
        for subset in subset::names(&index) {
            others.push((format!("subset_{subset}"), vec![subset::relative(subset)]));
        }
        for (name, files) in others {
            let files = files.iter().filter(|file| root.join(file).exists());
            let shards = files.map(|file| open(file)).collect::<Result<Vec<_>, _>>()?;
            if let Some(first) = shards.first() {
                register(&name, first.schema().clone(), shards)?;
            }
        }
        Ok(Catalog { context, tables })
    }

    /// The tables, each under the name by which a query asks for it.
    pub fn tables(&self) -> &[TableColumns] {
        &self.tables
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

    /// Runs a query for people: gives each batch to `show` when it is there, with cells of bytes in words. The
    /// first batch may be without rows, so that its columns are known.
    ///
    /// # Errors
    /// What DataFusion says of the query; the first error of `show`, after which the query is not run on.
    pub(super) async fn show(
        &self,
        query: &str,
        in_hex: InHex,
        mut show: impl FnMut(RecordBatch) -> Result<(), PrepareError>,
    ) -> Result<(), PrepareError> {
        // Types are compared here only.
        let stream = self.frame(query).await?.execute_stream().await;
        let mut stream = stream.map_err(|error| query_error::explained(error, query, &self.tables))?;
        show(in_words(&RecordBatch::new_empty(stream.schema()), in_hex)?)?;
        while let Some(batch) = stream.next().await {
            show(in_words(&batch.map_err(PrepareError::from)?, in_hex)?)?;
        }
        Ok(())
    }

    async fn frame(&self, query: &str) -> Result<DataFrame, PrepareError> {
        // Reading only: no table is made, no file is written.
        let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        let planned = self.context.sql_with_options(query, options).await;
        planned.map_err(|error| query_error::explained(error, query, &self.tables))
    }
}

/// A table's name as a query can have it without quotes.
pub(super) fn plain_name(name: &str) -> String {
    name.replace(['-', '.'], "_").to_ascii_lowercase()
}

/// The run's working tables in a folder, in the order of their names.
fn working_files(root: &Path, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(root.join(folder)).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> =
        names.filter(|name| name.ends_with(".parquet")).map(|name| format!("{folder}/{name}")).collect();
    names.sort();
    names
}
