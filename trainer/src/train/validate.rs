//! The loss over the first batches of the validation split.

use med2e3_feed::order::Order;
use med2e3_feed::{Feed, FeedCursor, FeedPlan};

use super::run::Run;
use crate::TrainerError;
use crate::augmentation::Augmentation;
use crate::config::ValidationConfig;
use crate::device_batch::to_device;

impl Run {
    /// Mean loss in nats per target, over all targets of the batches; NaN where the run has no validation samples.
    ///
    /// # Errors
    /// Data that can't be fed; a loss that is not finite.
    pub(super) fn validation_loss(&self, config: &ValidationConfig) -> Result<f64, TrainerError> {
        let Some(samples) = &self.data.validation else {
            return Ok(f64::NAN);
        };
        let plan = FeedPlan { order: Order::ById, epochs: 1, start: FeedCursor::default(), ..self.plan.clone() };
        let mut feed = Feed::start(self.data.dataset.clone(), samples.clone(), plan)?;
        let (mut sum, mut targets, mut steps) = (0.0, 0, 0);
        while steps < config.batches {
            let Some(batch) = feed.next_batch() else { break };
            let batch = batch?;
            let input = to_device(&batch, self.data.dataset.voxels(), self.device, self.seed, Augmentation::None);
            let output = self.model.forward(&input, None)?;
            sum += output.loss_sum.double_value(&[]);
            targets += output.target_count;
            steps += usize::from(batch.share.ends_step());
            feed.recycle(batch);
        }
        let loss = sum / targets.max(1) as f64;
        if loss.is_finite() { Ok(loss) } else { Err(self.diverged(self.state.step, loss)) }
    }
}
