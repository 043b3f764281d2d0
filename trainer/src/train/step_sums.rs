//! What the micro-batches of a step add up to.

use med2e3_feed::{HostBatch, StepShare};
use med2e3_schemas::Id;
use med2e3_schemas::report::TrainStep;
use tch::Tensor;

use super::tasks::TaskSums;
use super::work::Work;
use crate::model::ModelOutput;

/// A micro-batch after its forward pass.
pub(super) struct Computed {
    /// Loss and scores, with a graph.
    pub(super) output: ModelOutput,
    /// The losses by task.
    pub(super) tasks: TaskSums,
    /// What went through the model.
    pub(super) work: Work,
}

/// The sums of a step so far; tensors stay on the device.
#[derive(Default)]
pub(super) struct StepSums {
    loss: Option<Tensor>,
    correct_count: Option<Tensor>,
    /// The losses by task.
    pub(super) tasks: TaskSums,
    /// What went through the model.
    pub(super) work: Work,
    /// Whether the loss of any micro-batch depends on a trained weight.
    pub(super) has_graph: bool,
    /// The samples of the micro-batches so far.
    pub(super) samples: Vec<Id>,
    /// Samples that they go without.
    bad_samples: u64,
    /// The micro-batches so far.
    micro_batches: usize,
    /// The place of the last micro-batch in its step.
    share: StepShare,
}

impl StepSums {
    /// Adds a micro-batch, whose gradients were added to the weights' already.
    pub(super) fn add(&mut self, batch: &HostBatch, computed: &Computed) {
        let Computed { output, tasks, work } = computed;
        let added = |sum: Option<Tensor>, value: Tensor| Some(sum.map_or_else(|| value.copy(), |sum| sum + &value));
        self.loss = added(self.loss.take(), output.loss.detach());
        self.correct_count = added(self.correct_count.take(), output.correct_count.detach());
        self.tasks.add(tasks);
        self.work.add(work);
        self.leave_out(batch);
    }

    /// Counts a micro-batch of which nothing is computed: one of a step that is left out, or without a text.
    pub(super) fn leave_out(&mut self, batch: &HostBatch) {
        self.samples.extend(&batch.sample_ids);
        self.bad_samples += batch.bad.len() as u64;
        self.micro_batches += 1;
        self.share = batch.share.clone();
    }

    /// Whether the step's last micro-batch was added.
    pub(super) fn is_whole(&self) -> bool {
        self.micro_batches > 0 && self.share.ends_step()
    }

    /// The step's loss, its right targets, and the sums of its losses by task, on the device; NaN where nothing was computed.
    pub(super) fn numbers(&self) -> [Tensor; 3] {
        let unknown = || Tensor::from(f32::NAN);
        [self.loss.as_ref(), self.correct_count.as_ref(), self.tasks.losses()]
            .map(|sum| sum.map_or_else(unknown, Tensor::shallow_clone))
    }

    /// The step's line of the log, without what the device has yet to state.
    pub(super) fn line(&self, step: u64, epoch: u64, learning_rate: f64, wait_seconds: f64) -> TrainStep {
        TrainStep {
            step,
            epoch,
            loss: f64::NAN,
            by_task: Default::default(),
            token_accuracy: f64::NAN,
            learning_rate,
            gradient_norm: f64::NAN,
            clipped_norm: None,
            targets: self.share.targets as u64,
            targetless_groups: self.share.targetless_groups.clone(),
            skipped: false,
            bad_samples: self.bad_samples,
            seconds: 0.0,
            wait_seconds,
            feed: None,
            work: None,
        }
    }
}
