//! Retrieval: the rank of the right item when all items are sorted by their similarity to a query.
//!
//! An item is right when it is of the query's group. With one group an item, only the query's own partner counts, as in
//! M3D's evaluation (`Bench/eval/eval_itr.py`); there the series of one case, which share a caption, count as wrong for
//! each other. With one group a text, any item with the same text counts.

use std::collections::HashMap;

/// The rank, from 1, of the best right item for each query. `scores` is row-major: a row a query, the first of which is
/// item number `first_query`; a column an item, as many as there are groups.
///
/// A tie never helps: every wrong item whose score is not below that of the best right one is ranked before it, and so is a
/// score that is NaN. Where scores differ, R@k of these ranks is what `torch.topk` gives; on ties that is arbitrary.
///
/// # Panics
/// `scores` is not whole rows, or there are more rows than items left.
pub fn ranks(scores: &[f32], first_query: usize, groups: &[usize]) -> Vec<usize> {
    let items = groups.len().max(1);
    assert!(scores.len().is_multiple_of(items), "scores are whole rows");
    let rank = |(row, scores): (usize, &[f32])| {
        let own = groups[first_query + row];
        let right = || scores.iter().zip(groups).filter(|(_, group)| **group == own).map(|(score, _)| *score);
        // NaN is below every number, so that without another right item every wrong one is ranked before it.
        let best = right().fold(f32::NEG_INFINITY, f32::max);
        let not_below = |score: &f32| score.partial_cmp(&best).is_none_or(|order| order.is_ge());
        let wrong = scores.iter().zip(groups).filter(|(_, group)| **group != own);
        1 + wrong.filter(|(score, _)| not_below(score)).count()
    };
    scores.chunks_exact(items).enumerate().map(rank).collect()
}

/// R@k: the share of queries, 0 to 1, whose right item is among the first `k`. `None` without queries.
pub fn recall_at(k: usize, ranks: &[usize]) -> Option<f64> {
    let found = ranks.iter().filter(|rank| **rank <= k).count();
    (!ranks.is_empty()).then(|| found as f64 / ranks.len() as f64)
}

/// The column of each row's highest score; the first of equal ones, and of a row of NaN.
pub fn best(scores: &[f32], items: usize) -> Vec<usize> {
    let highest = |row: &[f32]| {
        let better = |best: usize, item: usize| if row[item] > row[best] || row[best].is_nan() { item } else { best };
        (1..row.len()).fold(0, better)
    };
    scores.chunks_exact(items.max(1)).map(highest).collect()
}

/// A group for each item, the same one for equal texts and for no others.
pub fn groups_by_text<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<usize> {
    let mut first_items = HashMap::new();
    let group = |(item, text)| *first_items.entry(text).or_insert(item);
    texts.into_iter().enumerate().map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    /// Made by `golden/retrieval.py` with torch.topk.
    const GOLDEN: &str = include_str!("golden/retrieval.json");

    #[derive(Deserialize)]
    struct Case {
        items: usize,
        scores: Vec<f32>,
        groups: Vec<usize>,
        /// R@1, R@5 and R@10 of the own partner, then of the group.
        recalls: [[f64; 3]; 2],
        best: Vec<usize>,
    }

    #[test]
    fn recalls_equal_those_of_topk() {
        let cases: Vec<Case> = serde_json::from_str(GOLDEN).unwrap();
        assert_eq!(cases.len(), 6);
        for case in cases {
            let own: Vec<usize> = (0..case.items).collect();
            for (groups, expected) in [&own, &case.groups].into_iter().zip(case.recalls) {
                let ranks = ranks(&case.scores, 0, groups);
                for (k, expected) in [1, 5, 10].into_iter().zip(expected) {
                    let found = recall_at(k, &ranks).unwrap();
                    // torch sums single precision.
                    assert!((found - expected).abs() < 1e-6, "R@{k}: {found}, {expected} expected");
                }
            }
            assert_eq!(best(&case.scores, case.items), case.best);
        }
    }

    const SCORES: [f32; 9] = [0.9, 0.1, 0.5, 0.8, 0.3, 0.6, 0.2, 0.7, 0.4];

    #[test]
    fn ranks_by_hand() {
        assert_eq!(ranks(&SCORES, 0, &[0, 1, 2]), [1, 3, 2]);
        // Items 1 and 2 share a text: for query 1 the better of both is second, for query 2 the first.
        assert_eq!(ranks(&SCORES, 0, &[0, 1, 1]), [1, 2, 1]);
        assert_eq!(ranks(&SCORES, 0, &[5, 5, 5]), [1, 1, 1]);
        // The last two rows alone.
        assert_eq!(ranks(&SCORES[3..], 1, &[0, 1, 2]), [3, 2]);
        assert_eq!(recall_at(1, &[1, 3, 2]), Some(1.0 / 3.0));
        assert_eq!(recall_at(2, &[1, 3, 2]), Some(2.0 / 3.0));
        assert_eq!(best(&SCORES, 3), [0, 0, 1]);
    }

    #[test]
    fn a_tie_never_helps() {
        assert_eq!(ranks(&[0.5; 9], 0, &[0, 1, 2]), [3, 3, 3]);
        assert_eq!(ranks(&[0.5; 9], 0, &[0, 0, 2]), [2, 2, 3]);
        assert_eq!(best(&[0.5; 9], 3), [0, 0, 0]);
    }

    #[test]
    fn nan_is_never_found() {
        let nan = f32::NAN;
        assert_eq!(ranks(&[nan; 4], 0, &[0, 1]), [2, 2]);
        assert_eq!(ranks(&[0.1, nan, 0.3, 0.4], 0, &[0, 1]), [2, 1]);
        assert_eq!(best(&[nan, 0.4, 0.3, nan], 2), [1, 0]);
    }

    #[test]
    fn nothing_has_no_recall() {
        assert_eq!(ranks(&[], 0, &[]), [0usize; 0]);
        assert_eq!(recall_at(1, &[]), None);
        assert_eq!(best(&[], 0), [0usize; 0]);
    }

    #[test]
    fn equal_texts_share_a_group() {
        assert_eq!(groups_by_text(["a", "b", "a", "c", "b"]), [0, 1, 0, 3, 1]);
    }
}
