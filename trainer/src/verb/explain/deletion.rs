//! Whether slices with high scores matter: how likely the expected answer is while their scores are 0, against drawn ones (deletion as in
//! Petsiuk et al. 2018, arXiv 1806.07421, of slices in place of pixels). Only the 2D tokens are weighed by scores: the 3D tokens see
//! all slices, whatever is deleted.

use med2e3_metric::cases::{Bootstrap, Cases};
use med2e3_metric::interval::mean_of_numbers;
use med2e3_schemas::explanation::{DeletionScore, DeletionStep, QuestionDeletion};
use med2e3_schemas::sample::{IGNORED, SampleRow};

use crate::TrainerError;
use crate::generate::answerer::Answerer;
use crate::model::TextInput;
use crate::model::med2e3::Encoded;

/// Scores that are set to 0.
const COUNTS: [usize; 4] = [1, 2, 4, 8];

/// Texts computed together.
const BATCH: usize = 8;

/// How likely the expected answer to a question is without slices. `None` of a question about no volume or several, of a model whose
/// scores weigh no slices, and of volumes with too few of them.
///
/// # Errors
/// As [`Med2e3::forward`](crate::model::Med2e3::forward).
pub(super) fn deletion(
    answerer: &Answerer,
    encoded: &Encoded<'_>,
    row: &SampleRow,
    scores: &[f32],
    draws: Draws,
) -> Result<Option<QuestionDeletion>, TrainerError> {
    let counts: Vec<usize> = COUNTS.into_iter().filter(|count| *count < scores.len()).collect();
    let text = expected(answerer, row);
    let tokens = text.labels.iter().filter(|label| **label != IGNORED).count();
    if draws.count == 0 || row.volume_ids.len() != 1 || !answerer.weighs_slices() || counts.is_empty() || tokens == 0 {
        return Ok(None);
    }
    // The question's own scores, then of each count the best ones' and each draw's.
    let mut variants = vec![scores.to_vec()];
    for &count in &counts {
        variants.push(without(scores, &best(scores, count)));
        variants.extend((0..draws.count).map(|draw| without(scores, &draws.of(row, scores.len(), count, draw))));
    }
    let texts: Vec<TextInput> = variants.into_iter().map(|scores| TextInput { scores, ..text.clone() }).collect();
    let mut found = Vec::with_capacity(texts.len());
    for texts in texts.chunks(BATCH) {
        found.extend(answerer.model().log_probabilities(encoded, texts)?);
    }
    found.iter_mut().for_each(|sum| *sum /= tokens as f64);
    let (own, rest) = found.split_first().expect("one variant or more");
    let steps = counts.iter().zip(rest.chunks(1 + draws.count)).map(|(count, found)| DeletionStep {
        slices: *count as u32,
        best: found[0],
        random: found[1..].iter().sum::<f64>() / draws.count as f64,
    });
    Ok(Some(QuestionDeletion { tokens: tokens as u64, own: *own, steps: steps.collect() }))
}

/// What deletion says over questions, each with its case.
pub(super) fn over_all<'a>(
    found: impl Iterator<Item = (&'a str, &'a QuestionDeletion)>,
    bootstrap: Bootstrap,
) -> Vec<DeletionScore> {
    let found: Vec<(&str, &QuestionDeletion)> = found.collect();
    let score = |count: usize| {
        let step = |(case, of): &(&'a str, &'a QuestionDeletion)| {
            let step = of.steps.iter().find(|step| step.slices == count as u32)?;
            Some((*case, of.own - step.best, of.own - step.random))
        };
        let falls: Vec<(&str, f64, f64)> = found.iter().filter_map(step).collect();
        let cases = Cases::of(falls.iter().map(|(case, ..)| (*case, "")))?;
        let column = |of: fn(&(&str, f64, f64)) -> f64| falls.iter().map(of).collect::<Vec<f64>>();
        let mean = |column: &[f64]| mean_of_numbers(&cases, column, bootstrap);
        let (difference, interval) = mean(&column(|(_, best, random)| best - random));
        Some(DeletionScore {
            slices: count as u32,
            count: cases.rows() as u64,
            cases: cases.cases() as u64,
            best: mean(&column(|(_, best, _)| *best)).0,
            random: mean(&column(|(_, _, random)| *random)).0,
            difference,
            interval,
        })
    };
    COUNTS.into_iter().filter_map(score).collect()
}

/// A sample's first turn with its expected answer as the target.
fn expected(answerer: &Answerer, row: &SampleRow) -> TextInput {
    let (start, end) = row.target_spans.first().map_or((0, 0), |(start, end)| (*start as usize, *end as usize));
    answerer.text_of(row, &row.ids[..start], &row.ids[start..end].iter().map(|id| i64::from(*id)).collect::<Vec<_>>())
}

/// Which slices are drawn.
#[derive(Clone, Copy)]
pub(super) struct Draws {
    /// Draws of each number of slices.
    pub(super) count: usize,
    pub(super) seed: u64,
}

impl Draws {
    /// Distinct slices; they depend on the seed, the sample, their number and the draw alone.
    fn of(self, row: &SampleRow, slices: usize, count: usize, draw: usize) -> Vec<usize> {
        let key = |slice: usize| {
            let mut hasher = blake3::Hasher::new();
            hasher.update(b"deletion");
            hasher.update(&row.sample_id.0);
            [self.seed, count as u64, draw as u64, slice as u64].iter().for_each(|n| {
                hasher.update(&n.to_le_bytes());
            });
            *hasher.finalize().as_bytes()
        };
        let mut order: Vec<usize> = (0..slices).collect();
        order.sort_by_cached_key(|slice| key(*slice));
        order.truncate(count);
        order
    }
}

/// The slices with the highest scores, earlier ones first where they are equal.
fn best(scores: &[f32], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    order.truncate(count);
    order
}

/// Scores with those of some slices at 0 and the same sum; where nothing is left, the other slices share it evenly.
fn without(scores: &[f32], deleted: &[usize]) -> Vec<f32> {
    let sum: f32 = scores.iter().sum();
    let is_left = |slice: usize| !deleted.contains(&slice);
    let left: f32 = (0..scores.len()).filter(|slice| is_left(*slice)).map(|slice| scores[slice]).sum();
    let even = sum / (scores.len() - deleted.len()).max(1) as f32;
    let raised = |slice: usize| if left > 0.0 { scores[slice] * (sum / left) } else { even };
    (0..scores.len()).map(|slice| if is_left(slice) { raised(slice) } else { 0.0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use med2e3_schemas::Id;

    #[test]
    fn deleted_scores_are_0_and_the_sum_stays() {
        let scores = [0.5f32, 0.25, 0.125, 0.125];
        assert_eq!(best(&scores, 2), [0, 1]);
        assert_eq!(without(&scores, &[0]), [0.0, 0.5, 0.25, 0.25]);
        assert_eq!(without(&scores, &[]), scores);
        // All that counted is deleted.
        assert_eq!(without(&[1.0, 0.0, 0.0], &[0]), [0.0, 0.5, 0.5]);
    }

    #[test]
    fn draws_are_distinct_slices_and_seeded() {
        let row = SampleRow::of_ids(Id::of_volume("row"), Vec::new(), vec![1, 2], vec![(1, 2)]);
        let draws = Draws { count: 5, seed: 3 };
        for draw in 0..5 {
            let mut found = draws.of(&row, 32, 8, draw);
            assert_eq!(found, draws.of(&row, 32, 8, draw));
            found.sort_unstable();
            found.dedup();
            assert!(found.len() == 8 && found.iter().all(|slice| *slice < 32));
        }
        assert_ne!(draws.of(&row, 32, 8, 0), draws.of(&row, 32, 8, 1));
        assert_ne!(draws.of(&row, 32, 8, 0), Draws { seed: 4, ..draws }.of(&row, 32, 8, 0));
    }

    #[test]
    fn slices_that_matter_make_a_difference() {
        let question = |own: f64, best: f64, random: f64| QuestionDeletion {
            tokens: 2,
            own,
            steps: vec![DeletionStep { slices: 1, best, random }],
        };
        let questions = [question(-1.0, -3.0, -1.5), question(-2.0, -3.0, -2.5)];
        let found = over_all(["one", "two"].into_iter().zip(&questions), Bootstrap { seed: 1, threads: 1 });
        // Falls of 2 and 1 without the best, of 0.5 each without drawn ones.
        assert_eq!(found.len(), 1);
        let DeletionScore { slices, count, cases, best, random, difference, interval } = &found[0];
        assert_eq!((*slices, *count, *cases, *best, *random, *difference), (1, 2, 2, 1.5, 0.5, 1.0));
        assert_eq!(*interval, Some([0.5, 1.5]));
        assert!(over_all(std::iter::empty(), Bootstrap { seed: 1, threads: 1 }).is_empty());
    }
}
