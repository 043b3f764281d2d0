//! The loss over the first batches of the validation split.

use med2e3_feed::order::Order;
use med2e3_feed::{Feed, FeedCursor, FeedPlan};
use med2e3_program::note;

use super::run::Run;
use crate::TrainerError;
use crate::config::ValidationConfig;

impl Run {
    /// Measures the loss and keeps it in the run's state. One that is not finite is said and not kept: the steps go on, as they do
    /// after a step whose gradients are not finite.
    ///
    /// # Errors
    /// Data that can't be fed, once the steps so far are saved; a batch that does not fit the model.
    pub(super) fn validate(&mut self, config: &ValidationConfig) -> Result<(), TrainerError> {
        let step = self.state.step;
        match self.validation_loss(config) {
            Ok(loss) if loss.is_finite() => self.state.validation.push((step, loss)),
            Ok(loss) => note(format_args!("WARNING: step {step}: the validation loss is {loss}")),
            Err(TrainerError::Feed(problem)) => return Err(self.saved_before(problem)),
            Err(other) => return Err(other),
        }
        Ok(())
    }

    /// Mean loss in nats per target, over all targets of the batches; NaN where the run has no validation samples.
    fn validation_loss(&mut self, config: &ValidationConfig) -> Result<f64, TrainerError> {
        let Some(samples) = self.data.validation.clone() else {
            return Ok(f64::NAN);
        };
        let plan = FeedPlan { order: Order::ById, epochs: 1, start: FeedCursor::default(), ..self.plan.clone() };
        let mut feed = Feed::start(self.data.dataset.clone(), samples, plan)?;
        let (mut sum, mut targets, mut steps) = (0.0, 0, 0);
        while steps < config.batches {
            let Some(batch) = feed.next_batch() else { break };
            let batch = batch?;
            let output = self.measure(&batch)?;
            sum += output.loss_sum.double_value(&[]);
            targets += output.target_count;
            steps += usize::from(batch.share.ends_step());
            feed.recycle(batch);
        }
        Ok(sum / targets.max(1) as f64)
    }
}
