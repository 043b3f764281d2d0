//! Everything that touches DataFusion: the manifest's scan, the node above it that makes shards, and SQL over a dataset.

mod bounded;
mod bounded_functions;
mod functions;
mod prepare_exec;
mod query_error;
mod shard_table;
mod sql;

use std::path::Path;
use std::sync::Arc;

use datafusion::error::DataFusionError;
use datafusion::execution::context::SessionContext;
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::{ParquetReadOptions, SessionConfig, col, lit};
use med2e3_program::with_causes;
use med2e3_schemas::manifest::RANGE;

pub use bounded::{QueryLimits, query};
pub use sql::{BatchSize, Catalog, TableColumns};

use crate::PrepareError;
use crate::work::{Committed, RangeWork};
use prepare_exec::PrepareExec;

/// Runs a table's work over those of its manifest's ranges that are to be done: a parquet scan with the ranges' numbers
/// pushed down to it, and `PrepareExec` above.
///
/// The partitions are the manifest's files; the scan neither splits nor mixes them, so a range stays whole. Gives one
/// [`Committed`] a range, in the order of the ranges, and logs the plan with its metrics.
///
/// # Errors
/// The first error of the work, or what DataFusion says of the plan.
pub async fn run(
    manifest: &Path,
    ranges: &[u32],
    work: Arc<dyn RangeWork>,
    partitions: usize,
) -> Result<Vec<Committed>, PrepareError> {
    let mut config = SessionConfig::new().with_target_partitions(partitions.max(1)).with_repartition_file_scans(false);
    let parquet = &mut config.options_mut().execution.parquet;
    parquet.schema_force_view_types = false;
    // A range is a row group: others are neither decoded nor, by their statistics, read.
    parquet.pushdown_filters = true;
    let context = SessionContext::new_with_config(config);
    let scan = context.read_parquet(manifest.display().to_string(), ParquetReadOptions::default()).await?;
    let wanted = ranges.iter().map(|range| lit(*range)).collect();
    let scan = scan.filter(col(RANGE).in_list(wanted, false))?.create_physical_plan().await?;
    let plan: Arc<dyn ExecutionPlan> = Arc::new(PrepareExec::new(scan, work));
    let batches = collect(plan.clone(), context.task_ctx()).await?;
    tracing::info!("\n{}", DisplayableExecutionPlan::with_metrics(plan.as_ref()).indent(false));
    let mut committed = prepare_exec::committed_of(&batches)?;
    committed.sort_by_key(|range| range.range_id);
    Ok(committed)
}

impl From<DataFusionError> for PrepareError {
    /// Our own errors travel through DataFusion as external ones and come out unchanged. Others become one text, since each
    /// cause repeats the text of the one below it.
    fn from(error: DataFusionError) -> PrepareError {
        match error {
            DataFusionError::External(inner) => match inner.downcast::<PrepareError>() {
                Ok(own) => *own,
                Err(inner) => PrepareError::Query { problem: inner.to_string() },
            },
            DataFusionError::Context(_, inner) => PrepareError::from(*inner),
            DataFusionError::Diagnostic(_, inner) => PrepareError::from(*inner),
            DataFusionError::Shared(shared) => match Arc::try_unwrap(shared) {
                Ok(inner) => PrepareError::from(inner),
                // Several parts of the plan hold it; one of our own has causes, which are said too.
                Err(shared) => PrepareError::Query {
                    problem: match shared.find_root() {
                        DataFusionError::External(inner) => with_causes(inner.as_ref()),
                        _ => shared.strip_backtrace(),
                    },
                },
            },
            other => PrepareError::Query { problem: other.strip_backtrace() },
        }
    }
}

impl From<PrepareError> for DataFusionError {
    fn from(error: PrepareError) -> DataFusionError {
        DataFusionError::External(Box::new(error))
    }
}
