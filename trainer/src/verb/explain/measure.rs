//! How the scores of one question are spread.

use med2e3_metric::focus::{effective, peak, share_of_highest};
use med2e3_schemas::explanation::QuestionFocus;

use crate::verb::focus::HIGHEST;

/// `None` of a question without scores, as one without a volume.
pub(super) fn measured(scores: &[f32]) -> Option<QuestionFocus> {
    Some(QuestionFocus {
        peak: peak(scores)? as u32,
        times_even: scores.iter().map(|score| score * scores.len() as f32).collect(),
        effective_slices: effective(scores),
        highest_5: share_of_highest(scores, HIGHEST),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_counted_in_even_shares() {
        let found = measured(&[0.25, 0.5, 0.125, 0.125]).unwrap();
        assert_eq!((found.times_even, found.peak, found.highest_5), (vec![1.0, 2.0, 0.5, 0.5], 1, 1.0));
        // exp of 1.75 bits.
        assert!((found.effective_slices - 2f64.powf(1.75)).abs() < 1e-9);
        assert!(measured(&[]).is_none());
    }
}
