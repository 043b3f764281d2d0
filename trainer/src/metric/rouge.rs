//! ROUGE@1 of one answer (Lin, 2004): the F-measure of shared words, as the `rouge_score` package computes `rouge1`
//! without its stemmer.

use med2e3_schemas::sample::Task;

use super::answer_metric::{AnswerMetric, Judged};
use super::text::overlap;

/// [`rouge1`] of captions and open answers.
pub struct Rouge1;

impl AnswerMetric for Rouge1 {
    fn name(&self) -> &'static str {
        "rouge1"
    }

    fn value(&self, answer: &Judged<'_>) -> Option<f64> {
        matches!(answer.task, Task::Caption | Task::OpenVqa).then(|| rouge1(answer.answer, answer.expected))
    }
}

/// Between 0 and 1; 0 when either text has no word.
pub fn rouge1(prediction: &str, reference: &str) -> f64 {
    let (prediction, reference) = (prediction.to_lowercase(), reference.to_lowercase());
    let (prediction, reference) = (words(&prediction), words(&reference));
    let shared = overlap(&prediction, &reference) as f64;
    if shared == 0.0 {
        return 0.0;
    }
    let precision = shared / prediction.len() as f64;
    let recall = shared / reference.len() as f64;
    2.0 * precision * recall / (precision + recall)
}

/// Runs of `a-z` and `0-9` in a lower-case text. All else separates, letters with accents too.
fn words(text: &str) -> Vec<&str> {
    let separates = |c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit();
    text.split(separates).filter(|word| !word.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_punctuation_do_not_count() {
        assert_eq!(rouge1("The LIVER, enlarged.", "the liver enlarged"), 1.0);
    }

    #[test]
    fn precision_and_recall_are_balanced() {
        assert_eq!(rouge1("liver", "the liver is"), 0.5);
    }

    #[test]
    fn nothing_scores_nothing() {
        assert_eq!(rouge1("", "liver"), 0.0);
        assert_eq!(rouge1("...", "..."), 0.0);
    }
}
