//! What a metric of an answer is.

use med2e3_schemas::sample::Task;

/// An answer and what it is compared with.
#[derive(Clone, Copy, Debug)]
pub struct Judged<'a> {
    /// What the model answered.
    pub answer: &'a str,
    /// What the sample states as the answer.
    pub expected: &'a str,
    /// The letter of the right choice, for questions with choices.
    pub choice: Option<&'a str>,
    /// What was asked for.
    pub task: Task,
}

/// A metric of one answer.
pub trait AnswerMetric: Sync {
    /// Its name in reports.
    fn name(&self) -> &'static str;

    /// Its value, between 0 and 1, higher is better; `None` for a task that it does not apply to.
    fn value(&self, answer: &Judged<'_>) -> Option<f64>;
}
