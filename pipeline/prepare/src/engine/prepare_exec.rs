//! The node above the manifest's scan: it gathers the rows of a range, has them made into a shard on a blocking thread,
//! and puts out one small row for it. Volumes never travel between operators.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray, UInt32Array, UInt64Array};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{
    Boundedness, ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions,
};
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use med2e3_schemas::manifest::keys_of;

use crate::PrepareError;
use crate::progress::Step;
use crate::work::{Committed, RangeWork};

/// Turns each range of its input into a shard.
pub(super) struct PrepareExec {
    input: Arc<dyn ExecutionPlan>,
    work: Arc<dyn RangeWork>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl PrepareExec {
    pub(super) fn new(input: Arc<dyn ExecutionPlan>, work: Arc<dyn RangeWork>) -> PrepareExec {
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(commit_schema()),
            input.output_partitioning().clone(),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        PrepareExec { input, work, properties, metrics: ExecutionPlanMetricsSet::new() }
    }
}

impl fmt::Debug for PrepareExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrepareExec").field("table", &self.work.table().as_str()).field("input", &self.input).finish()
    }
}

impl DisplayAs for PrepareExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrepareExec: table={}", self.work.table().as_str())
    }
}

impl ExecutionPlan for PrepareExec {
    fn name(&self) -> &str {
        "PrepareExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    // A round-robin repartition below would tear ranges apart.
    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(PrepareExec::new(children.swap_remove(0), self.work.clone())))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        let work = self.work.clone();
        let metrics = RangeMetrics::new(&self.metrics, partition);
        let rows = ranges(input).and_then(move |(range_id, rows)| {
            let (work, metrics) = (work.clone(), metrics.clone());
            async move {
                let wait = work.clock().lap(Step::Wait);
                let task = tokio::task::spawn_blocking(move || {
                    drop(wait);
                    let committed = work.commit(range_id, &rows)?;
                    metrics.record(&committed, work.as_ref());
                    Ok::<_, PrepareError>(committed)
                });
                let committed = task.await.map_err(|panic| PrepareError::Threads { source: panic.into() })??;
                commit_row(&committed)
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(commit_schema(), rows)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// What EXPLAIN ANALYZE shows of the node.
#[derive(Clone)]
struct RangeMetrics {
    rows: Count,
    rejected: Count,
    bytes_read: Count,
    bytes_written: Count,
    // Thread milliseconds by step: one total for all partitions, since they share the work's clock.
    steps: Vec<datafusion::physical_plan::metrics::Gauge>,
}

impl RangeMetrics {
    fn new(metrics: &ExecutionPlanMetricsSet, partition: usize) -> RangeMetrics {
        let counter = |name: &'static str| MetricBuilder::new(metrics).counter(name, partition);
        RangeMetrics {
            rows: counter("shard_rows"),
            rejected: counter("rejected_rows"),
            bytes_read: counter("bytes_read"),
            bytes_written: counter("bytes_written"),
            steps: Step::ALL
                .iter()
                .filter(|_| partition == 0)
                .map(|step| MetricBuilder::new(metrics).gauge(format!("{}_ms", step.as_str()), partition))
                .collect(),
        }
    }

    fn record(&self, committed: &Committed, work: &dyn RangeWork) {
        self.rows.add(committed.outcome.rows as usize);
        self.rejected.add(committed.outcome.rejects.len());
        self.bytes_read.add(committed.bytes_read as usize);
        self.bytes_written.add(committed.shard.bytes as usize);
        for (gauge, step) in self.steps.iter().zip(Step::ALL) {
            gauge.set_max(work.clock().total(step).as_millis() as usize);
        }
    }
}

/// Cuts a stream of manifest rows where the range changes, wherever batches or files end.
fn ranges(input: SendableRecordBatchStream) -> impl Stream<Item = Result<(u32, Vec<RecordBatch>)>> {
    struct Cutter {
        input: SendableRecordBatchStream,
        slices: VecDeque<(u32, RecordBatch)>,
        open: Option<(u32, Vec<RecordBatch>)>,
    }
    let start = Cutter { input, slices: VecDeque::new(), open: None };
    stream::try_unfold(start, |mut cutter| async move {
        loop {
            if let Some((range_id, slice)) = cutter.slices.pop_front() {
                match &mut cutter.open {
                    Some((open, rows)) if *open == range_id => rows.push(slice),
                    open => {
                        if let Some(done) = open.replace((range_id, vec![slice])) {
                            return Ok(Some((done, cutter)));
                        }
                    }
                }
                continue;
            }
            match cutter.input.next().await {
                Some(batch) => cutter.slices.extend(cut(&batch?)?),
                None => return Ok(cutter.open.take().map(|done| (done, cutter))),
            }
        }
    })
}

/// The batch's runs of one range each.
fn cut(batch: &RecordBatch) -> Result<Vec<(u32, RecordBatch)>, PrepareError> {
    let keys = keys_of(batch)?;
    let mut start = 0;
    Ok(keys
        .chunk_by(|a, b| a.0 == b.0)
        .map(|run| {
            let slice = batch.slice(start, run.len());
            start += run.len();
            (run[0].0, slice)
        })
        .collect())
}

fn commit_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("range_id", DataType::UInt32, false),
        Field::new("shard", DataType::Utf8, false),
        Field::new("rows", DataType::UInt64, false),
        Field::new("rejected", DataType::UInt64, false),
        // The whole of `Committed`, as JSON.
        Field::new("committed", DataType::Utf8, false),
    ]))
}

fn commit_row(committed: &Committed) -> Result<RecordBatch> {
    let json = serde_json::to_string(committed).expect("a commit is plain data");
    let columns: Vec<ArrayRef> = vec![
        Arc::new(UInt32Array::from(vec![committed.range_id])),
        Arc::new(StringArray::from(vec![committed.shard.path.as_str()])),
        Arc::new(UInt64Array::from(vec![committed.outcome.rows])),
        Arc::new(UInt64Array::from(vec![committed.outcome.rejects.len() as u64])),
        Arc::new(StringArray::from(vec![json])),
    ];
    Ok(RecordBatch::try_new(commit_schema(), columns)?)
}

/// The commits in batches of the node's output.
pub(super) fn committed_of(batches: &[RecordBatch]) -> Result<Vec<Committed>, PrepareError> {
    let texts = batches.iter().flat_map(|batch| batch.column(4).as_string::<i32>().iter().flatten());
    let commit = |text| {
        serde_json::from_str(text).map_err(|error| PrepareError::Query { problem: format!("a commit: {error}") })
    };
    texts.map(commit).collect()
}
