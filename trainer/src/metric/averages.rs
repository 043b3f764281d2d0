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
        Some(Self {
            macro_mean: mean(&type_means)?,
            micro_mean,
            standard_error: (variance / all.len() as f64).sqrt(),
            rows: all.len(),
            per_type,
        })
    }
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

    #[test]
    fn one_row_has_no_error_and_no_row_no_mean() {
        assert_eq!(Averages::of([("organ", 0.25)]).unwrap().standard_error, 0.0);
        assert_eq!(Averages::of(Vec::<(String, f64)>::new()), None);
    }
}
