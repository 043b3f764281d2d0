//! Means of one metric over the rows of an evaluation.

use std::collections::BTreeMap;

/// The means of one score over the rows of an evaluation, as fractions (tables show them times 100).
#[derive(Debug, Clone, PartialEq)]
pub struct Averages {
    /// Question type to its rows and their mean.
    pub per_type: BTreeMap<String, (usize, f64)>,
    /// The mean of the types' means: each type counts the same, whatever its number of rows.
    pub macro_mean: f64,
    /// The mean over all rows.
    pub micro_mean: f64,
    /// Standard error of `micro_mean`; 0 for a single row. Differences below two of these are noise.
    pub standard_error: f64,
    /// The 95 % confidence interval of `micro_mean`, for scores between 0 and 1: 1.96 standard errors to both sides, cut at 0
    /// and 1. Where all scores are equal, and the standard error says nothing, Wilson's score interval, which holds for any
    /// scores in that range, since none vary more than those of 0 and 1 alone.
    pub interval: [f64; 2],
    /// Half the width of the interval before it is cut.
    pub half_interval: f64,
    /// All rows.
    pub rows: usize,
}

impl Averages {
    /// Averages pairs of question type and score; `None` without rows.
    pub fn of<Type: Into<String>>(scores: impl IntoIterator<Item = (Type, f64)>) -> Option<Self> {
        let mut by_type: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for (question_type, score) in scores {
            by_type.entry(question_type.into()).or_default().push(score);
        }
        let all: Vec<f64> = by_type.values().flatten().copied().collect();
        let micro_mean = mean(&all)?;
        let per_type: BTreeMap<String, (usize, f64)> = by_type
            .into_iter()
            .filter_map(|(question_type, scores)| Some((question_type, (scores.len(), mean(&scores)?))))
            .collect();
        let type_means: Vec<f64> = per_type.values().map(|(_, mean)| *mean).collect();
        let squares: f64 = all.iter().map(|score| (score - micro_mean).powi(2)).sum();
        let variance = if all.len() > 1 { squares / (all.len() - 1) as f64 } else { 0.0 };
        let standard_error = (variance / all.len() as f64).sqrt();
        let (interval, half_interval) = if standard_error > 0.0 {
            let half = 1.96 * standard_error;
            ([(micro_mean - half).max(0.0), (micro_mean + half).min(1.0)], half)
        } else {
            let [low, high] = wilson(micro_mean, all.len());
            ([low, high], (high - low) / 2.0)
        };
        Some(Self {
            macro_mean: mean(&type_means)?,
            micro_mean,
            standard_error,
            interval,
            half_interval,
            rows: all.len(),
            per_type,
        })
    }
}

/// Wilson's score interval (1927) of a share `mean` of `rows` trials, at 95 %.
fn wilson(mean: f64, rows: usize) -> [f64; 2] {
    const Z: f64 = 1.959_963_984_540_054;
    let (rows, square) = (rows as f64, Z * Z);
    let centre = (mean * rows + square / 2.0) / (rows + square);
    let half = Z / (rows + square) * (rows * mean * (1.0 - mean) + square / 4.0).max(0.0).sqrt();
    [(centre - half).max(0.0), (centre + half).min(1.0)]
}

fn mean(scores: &[f64]) -> Option<f64> {
    (!scores.is_empty()).then(|| scores.iter().sum::<f64>() / scores.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macro_weighs_types_and_micro_weighs_rows() {
        let averages = Averages::of([("organ", 1.0), ("organ", 1.0), ("organ", 0.0), ("plane", 0.0)]).unwrap();
        assert_eq!(averages.per_type["organ"], (3, 2.0 / 3.0));
        assert!((averages.macro_mean - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(averages.micro_mean, 0.5);
        assert!((averages.standard_error - (1.0_f64 / 3.0 / 4.0).sqrt()).abs() < 1e-12);
        assert_eq!(averages.rows, 4);
    }

    // statsmodels 0.14: proportion_confint(count, rows, method="wilson").
    #[test]
    fn at_the_border_the_interval_is_wilsons() {
        for (score, rows, low, high) in [
            (1.0, 6, 0.609_665_743_309_857_8, 1.0),
            (0.0, 6, 0.0, 0.390_334_256_690_142_1),
            (1.0, 1, 0.206_549_314_377_237_04, 1.0),
            (0.0, 100, 0.0, 0.036_993_498_125_567_76),
        ] {
            let averages = Averages::of((0..rows).map(|_| ("organ", score))).unwrap();
            let [found_low, found_high] = averages.interval;
            assert!((found_low - low).abs() < 1e-9 && (found_high - high).abs() < 1e-9, "{:?}", averages.interval);
            assert!((averages.half_interval - (high - low) / 2.0).abs() < 1e-9);
        }
        let mixed = Averages::of([("organ", 1.0), ("organ", 0.0), ("organ", 1.0), ("organ", 1.0)]).unwrap();
        assert_eq!(mixed.half_interval, 1.96 * mixed.standard_error);
        assert_eq!(mixed.interval[1], 1.0);
    }

    #[test]
    fn one_row_has_no_error_and_no_row_no_mean() {
        assert_eq!(Averages::of([("organ", 0.25)]).unwrap().standard_error, 0.0);
        assert_eq!(Averages::of(Vec::<(String, f64)>::new()), None);
    }
}
