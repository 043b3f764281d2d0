//! Shards as a table of the engine: every byte comes by way of the shards' own reader, whose bounds hold here too, and the engine
//! opens no file.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryBuilder, RecordBatch, RecordBatchOptions, new_null_array,
};
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, Result, exec_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::stream;
use med2e3_shards::{ShardError, ShardReader};

use crate::PrepareError;

/// The column of cells, which are unfolded for the rows that a query wants alone.
const VOXELS: &str = "voxels";

/// Rows of a batch without voxels.
const BATCH_ROWS: usize = 4096;

/// The rows of some shards.
pub(super) struct ShardTable {
    schema: SchemaRef,
    shards: Vec<Arc<ShardReader>>,
    // Rows of a batch with voxels.
    batch_rows: usize,
}

impl ShardTable {
    /// A table of this schema; columns that may be null and that an older shard lacks are null.
    pub(super) fn new(schema: SchemaRef, shards: Vec<ShardReader>, batch_rows: usize) -> ShardTable {
        ShardTable { schema, shards: shards.into_iter().map(Arc::new).collect(), batch_rows }
    }

    fn has_voxels(&self) -> bool {
        self.schema.column_with_name(VOXELS).is_some()
    }
}

impl fmt::Debug for ShardTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardTable").field("shards", &self.shards.len()).finish()
    }
}

#[async_trait]
impl TableProvider for ShardTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// What is asked of other columns than the voxels decides whose voxels are unfolded.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| {
            let is_light = self.has_voxels() && !filter.column_refs().iter().any(|column| column.name == VOXELS);
            match is_light && !filter.is_volatile() {
                true => TableProviderFilterPushDown::Exact,
                false => TableProviderFilterPushDown::Unsupported,
            }
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let wanted = match projection {
            Some(columns) => Arc::new(self.schema.project(columns)?),
            None => self.schema.clone(),
        };
        let filter = match conjunction(filters.to_vec()) {
            None => None,
            Some(filter) => {
                let asked = filter.column_refs();
                let is_needed = |field: &&Arc<Field>| {
                    let name = field.name();
                    let is_asked = asked.iter().any(|column| column.name == *name);
                    name != VOXELS && (is_asked || wanted.column_with_name(name).is_some())
                };
                let light = Schema::new(self.schema.fields().iter().filter(is_needed).cloned().collect::<Vec<_>>());
                let expression = state.create_physical_expr(filter, &DFSchema::try_from(light.clone())?)?;
                Some((expression, Arc::new(light)))
            }
        };
        let each = self.shards.len().div_ceil(state.config().target_partitions().max(1)).max(1);
        let partition = |shards: &[Arc<ShardReader>]| -> Arc<dyn PartitionStream> {
            let (shards, wanted, filter) = (shards.to_vec(), wanted.clone(), filter.clone());
            Arc::new(Part { shards, wanted, filter, batch_rows: self.batch_rows })
        };
        let parts = self.shards.chunks(each).map(partition).collect();
        Ok(Arc::new(StreamingTableExec::try_new(wanted, parts, None, [], false, limit)?))
    }
}

/// An expression, and the columns that it and the rows are made of but for the voxels.
type Filter = (Arc<dyn PhysicalExpr>, SchemaRef);

/// The shards of one partition, one after the other.
#[derive(Clone)]
struct Part {
    shards: Vec<Arc<ShardReader>>,
    wanted: SchemaRef,
    filter: Option<Filter>,
    batch_rows: usize,
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("shards", &self.shards.len()).finish()
    }
}

impl PartitionStream for Part {
    fn schema(&self) -> &SchemaRef {
        &self.wanted
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let part = self.clone();
        let groups =
            self.shards.clone().into_iter().flat_map(|shard| (0..shard.groups()).map(move |n| (shard.clone(), n)));
        let batches = groups.flat_map(move |(shard, group)| part.batches(&shard, group));
        Box::pin(RecordBatchStreamAdapter::new(self.wanted.clone(), stream::iter(batches)))
    }
}

/// Batches, made as they are asked for.
type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

impl Part {
    fn batches(&self, shard: &Arc<ShardReader>, group: usize) -> Batches {
        let batches = match &self.filter {
            None => self.all(shard, group),
            Some(filter) => self.filtered(shard, group, filter),
        };
        batches.unwrap_or_else(|error| Box::new(std::iter::once(Err(error))))
    }

    fn all(&self, shard: &ShardReader, group: usize) -> Result<Batches> {
        let rows = if self.wanted.column_with_name(VOXELS).is_some() { self.batch_rows } else { BATCH_ROWS };
        let wanted = self.wanted.clone();
        Ok(Box::new(read(shard, group, &wanted, rows)?.map(move |batch| as_wanted(&batch?, &wanted))))
    }

    /// The rows of a group that pass, found by their other columns before any voxels are unfolded.
    fn filtered(&self, shard: &Arc<ShardReader>, group: usize, (filter, light): &Filter) -> Result<Batches> {
        let first = shard.rows_of_group(group).start;
        let mut passed = Vec::new();
        let mut before = first;
        for batch in read(shard, group, light, BATCH_ROWS)? {
            let batch = as_wanted(&batch?, light)?;
            let mask = filter.evaluate(&batch)?.into_array(batch.num_rows())?;
            let mask = mask.as_boolean();
            let rows: Vec<usize> = (0..batch.num_rows()).filter(|&row| mask.is_valid(row) && mask.value(row)).collect();
            let rows = rows.into_iter().map(|row| before + row).collect::<Vec<_>>();
            before += batch.num_rows();
            passed.push((filter_record_batch(&batch, mask)?, rows));
        }
        let (part, shard) = (self.clone(), shard.clone());
        let size = if self.wanted.column_with_name(VOXELS).is_some() { self.batch_rows } else { BATCH_ROWS };
        let pieces = passed.into_iter().flat_map(move |(batch, rows)| {
            let starts = (0..rows.len()).step_by(size);
            let pieces = starts.map(|start| {
                let end = rows.len().min(start + size);
                (batch.slice(start, end - start), rows[start..end].to_vec())
            });
            pieces.collect::<Vec<_>>()
        });
        Ok(Box::new(pieces.map(move |(batch, rows)| part.with_voxels(&shard, &batch, &rows))))
    }

    /// The wanted columns of some rows, their voxels added.
    fn with_voxels(&self, shard: &ShardReader, light: &RecordBatch, rows: &[usize]) -> Result<RecordBatch> {
        let Some((_, field)) = self.wanted.column_with_name(VOXELS) else { return as_wanted(light, &self.wanted) };
        let DataType::FixedSizeBinary(width) = field.data_type() else {
            return exec_err!("{VOXELS}: expected a fixed-size binary column, found {}", field.data_type());
        };
        let mut cells = FixedSizeBinaryBuilder::with_capacity(rows.len(), *width);
        let mut cell = vec![0; usize::try_from(*width).unwrap_or(0)];
        for row in rows {
            shard.read_voxels(*row, &mut cell).map_err(PrepareError::from)?;
            cells.append_value(&cell)?;
        }
        let cells: ArrayRef = Arc::new(cells.finish());
        let mut columns = Vec::new();
        for field in self.wanted.fields() {
            columns.push(if field.name() == VOXELS { cells.clone() } else { column(light, field)? });
        }
        made(&self.wanted, columns, rows.len())
    }
}

/// The batches of a group with those of the columns that the shard has.
fn read(
    shard: &ShardReader,
    group: usize,
    wanted: &SchemaRef,
    rows: usize,
) -> Result<Box<dyn Iterator<Item = Result<RecordBatch>> + Send>> {
    let names: Vec<&str> = wanted.fields().iter().map(|field| field.name().as_str()).collect();
    let names: Vec<&str> = names.into_iter().filter(|name| shard.schema().column_with_name(name).is_some()).collect();
    if names.is_empty() {
        // Rows are counted, no more.
        let rows = RecordBatchOptions::new().with_row_count(Some(shard.rows_of_group(group).len()));
        let batch = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &rows)?;
        return Ok(Box::new(std::iter::once(Ok(batch))));
    }
    let own = |error: ShardError| PrepareError::from(error).into();
    Ok(Box::new(shard.read_group(group, &names, rows).map_err(own)?.map(move |batch| batch.map_err(own))))
}

fn as_wanted(batch: &RecordBatch, wanted: &SchemaRef) -> Result<RecordBatch> {
    let columns = wanted.fields().iter().map(|field| column(batch, field)).collect::<Result<_>>()?;
    made(wanted, columns, batch.num_rows())
}

fn column(batch: &RecordBatch, field: &Field) -> Result<ArrayRef> {
    match batch.column_by_name(field.name()) {
        Some(column) if column.data_type().equals_datatype(field.data_type()) => Ok(column.clone()),
        Some(column) => exec_err!("{}: expected {}, found {}", field.name(), field.data_type(), column.data_type()),
        None if field.is_nullable() => Ok(new_null_array(field.data_type(), batch.num_rows())),
        None => exec_err!("{}: expected {}, found no such column", field.name(), field.data_type()),
    }
}

fn made(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let rows = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &rows)?)
}
