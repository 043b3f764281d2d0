//! Orders and steps planned from drawn samples: nothing is lost, budgets hold, and what a target counts depends on the order alone.

use std::collections::{BTreeSet, HashMap};

use med2e3_feed::order::{Order, permutation};
use med2e3_feed::{Budget, LossGroup, Spliced, Splicing, StepRule, TextForm};
use med2e3_schemas::Id;
use med2e3_schemas::sample::{IMAGE3D, SampleRow};
use proptest::prelude::*;

const SPLICING: Splicing = Splicing { visual_tokens: 5, max_length: 30 };

/// A text of `before` ids, `volumes` of which are volumes, and `targets` targets.
fn sample(number: usize, volumes: &[usize], before: usize, targets: usize) -> SampleRow {
    let mut ids = vec![IMAGE3D; volumes.len()];
    ids.extend(vec![7; before + targets]);
    let end = ids.len() as u32;
    let sample_id = Id::of_volume(&format!("sample {number}"));
    let volume_ids = volumes.iter().map(|volume| Id::of_volume(&format!("volume {volume}"))).collect();
    SampleRow::of_ids(sample_id, volume_ids, ids, vec![(end - targets as u32, end)])
}

fn rows(count: usize) -> Vec<SampleRow> {
    (0..count).map(|number| sample(number, &[], 1, 1)).collect()
}

fn samples() -> impl Strategy<Value = Vec<SampleRow>> {
    let one = (proptest::collection::vec(0usize..6, 0..3), 1usize..30, 0usize..12);
    proptest::collection::vec(one, 1..60).prop_map(|drawn| {
        drawn
            .into_iter()
            .enumerate()
            .map(|(n, (volumes, before, targets))| sample(n, &volumes, before, targets))
            .collect()
    })
}

fn spliced(row: &SampleRow) -> Spliced {
    SPLICING.of(row, TextForm::Conversation).unwrap()
}

proptest! {
    #[test]
    fn a_plan_holds_each_sample_once_within_its_budget(
        rows in samples(), tokens in 1usize..200, volumes in 1usize..8, width_multiple in 1usize..9, group in 1usize..9,
    ) {
        let positions: Vec<u32> = (0..rows.len() as u32).rev().collect();
        let budget = Budget { tokens, volumes };
        let rule = StepRule { splicing: SPLICING, loss_group: LossGroup::Of(group), budget, width_multiple };
        let plan = rule.plan(&rows, &positions, TextForm::Conversation).unwrap();
        let whole = StepRule { budget: Budget::WHOLE, ..rule }.plan(&rows, &positions, TextForm::Conversation).unwrap();
        prop_assert_eq!(plan.targets, rows.iter().map(|row| spliced(row).targets).sum::<usize>());
        prop_assert!(plan.micro_batches.iter().all(|texts| !texts.is_empty()));

        let sorted = |texts: Vec<&Vec<med2e3_feed::step_plan::PlannedText>>| {
            let mut all: Vec<(u32, u32)> =
                texts.into_iter().flatten().map(|text| (text.position, text.target_weight.to_bits())).collect();
            all.sort_unstable();
            all
        };
        // Weights do not depend on how the step is cut.
        prop_assert_eq!(sorted(plan.micro_batches.iter().collect()), sorted(whole.micro_batches.iter().collect()));
        for texts in &plan.micro_batches {
            let row = |position: u32| &rows[position as usize];
            let longest = texts.iter().map(|text| spliced(row(text.position)).length).max().unwrap();
            let shown: BTreeSet<Id> = texts.iter().flat_map(|text| row(text.position).volume_ids.clone()).collect();
            let fits = texts.len() * rule.width(longest) <= tokens && shown.len() <= volumes;
            prop_assert!(fits || texts.len() == 1);
        }
        // The mean of the groups' means, group by group.
        let groups = positions.chunks(group);
        let count = groups.len() as f64;
        let weight: HashMap<u32, f32> =
            plan.micro_batches.iter().flatten().map(|text| (text.position, text.target_weight)).collect();
        for (number, group) in groups.enumerate() {
            let sum: f64 =
                group.iter().map(|p| spliced(&rows[*p as usize]).targets as f64 * f64::from(weight[p])).sum();
            let is_empty = plan.targetless_groups.contains(&number);
            let expected = if is_empty { 0.0 } else { 1.0 / count };
            prop_assert!((sum - expected).abs() < 1e-5);
        }
    }

    #[test]
    fn texts_of_one_volume_stay_together_where_the_budget_allows(rows in samples()) {
        let positions: Vec<u32> = (0..rows.len() as u32).collect();
        let budget = Budget { tokens: usize::MAX - 1, volumes: usize::MAX };
        let rule = StepRule { splicing: SPLICING, loss_group: LossGroup::All, budget, width_multiple: 64 };
        let plan = rule.plan(&rows, &positions, TextForm::Conversation).unwrap();
        prop_assert_eq!(plan.micro_batches.len(), 1);
        let firsts: Vec<Option<&Id>> =
            plan.micro_batches[0].iter().map(|text| rows[text.position as usize].volume_ids.first()).collect();
        let mut runs = firsts.clone();
        runs.dedup();
        prop_assert_eq!(runs.len(), firsts.iter().collect::<BTreeSet<_>>().len());
    }

    #[test]
    fn every_position_comes_once(count in 0usize..2000, seed: u64, epoch in 0u64..5) {
        let mut positions = permutation(&[1; 32], &rows(count), Order::Shuffled { seed }, epoch);
        positions.sort_unstable();
        prop_assert!(positions.into_iter().eq(0..count as u32));
    }

    #[test]
    fn grouping_by_one_changes_nothing_and_by_more_brings_texts_together(rows in samples(), seed: u64, texts in 2usize..5) {
        let order = |order| permutation(&[1; 32], &rows, order, 3);
        let shuffled = order(Order::Shuffled { seed });
        prop_assert_eq!(&order(Order::GroupedByVolume { seed, texts: 1 }), &shuffled);
        let grouped = order(Order::GroupedByVolume { seed, texts });
        let mut all = grouped.clone();
        all.sort_unstable();
        prop_assert!(all.into_iter().eq(0..rows.len() as u32));
        // Of each volume all runs but the last are full.
        let first = |position: &u32| rows[*position as usize].volume_ids.first();
        for volume in grouped.iter().filter_map(first).collect::<BTreeSet<_>>() {
            let places: Vec<usize> = (0..grouped.len()).filter(|&at| first(&grouped[at]) == Some(volume)).collect();
            let together = places.chunks(texts).all(|run| run.windows(2).all(|pair| pair[1] == pair[0] + 1));
            prop_assert!(together, "{places:?}");
        }
    }
}

#[test]
fn a_text_is_counted_at_its_cut() {
    let row = sample(0, &[1, 2], 15, 9);
    // Two volumes of 5, 15 ids, then targets at 25 to 33, of which those below 30 stay.
    assert_eq!(spliced(&row), Spliced { length: 30, targets: 5, before_target: 25 });
    let first = sample(0, &[], 0, 3);
    assert_eq!(spliced(&first), Spliced { length: 3, targets: 2, before_target: 1 });
}

#[test]
fn a_group_without_targets_counts_nothing_and_is_named() {
    let rows: Vec<SampleRow> =
        [2, 0, 0, 4].into_iter().enumerate().map(|(n, targets)| sample(n, &[], 3, targets)).collect();
    let rule = StepRule { loss_group: LossGroup::Of(1), splicing: SPLICING, ..StepRule::WHOLE };
    let plan = rule.plan(&rows, &[0, 1, 2, 3], TextForm::Conversation).unwrap();
    assert_eq!((plan.targets, plan.targetless_groups), (6, vec![1, 2]));
    let weights: Vec<f32> = plan.micro_batches[0].iter().map(|text| text.target_weight).collect();
    assert_eq!(weights, [0.125, 0.0, 0.0, 0.0625]);
}

#[test]
fn seed_epoch_and_selection_each_matter() {
    let rows = rows(100);
    let order = |selection: u8, seed, epoch| permutation(&[selection; 32], &rows, Order::Shuffled { seed }, epoch);
    assert_eq!(order(1, 1, 0), order(1, 1, 0));
    for other in [order(1, 2, 0), order(1, 1, 1), order(2, 1, 0)] {
        assert_ne!(order(1, 1, 0), other);
    }
}
