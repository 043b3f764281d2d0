//! Steps planned from drawn samples: nothing is lost, budgets hold, and what a target counts depends on the order alone.

use std::collections::{BTreeSet, HashMap};

use med2e3_feed::step_plan::StepPlan;
use med2e3_feed::{Budget, LossGroup, Spliced, Splicing, StepRule, TextForm};
use med2e3_schemas::Id;
use med2e3_schemas::sample::{IMAGE3D, SampleRow};
use med2e3_shards::Samples;
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
    let samples = Samples::of_rows(std::slice::from_ref(row));
    SPLICING.of(&samples.text(0).unwrap(), TextForm::Conversation).unwrap()
}

proptest! {
    #[test]
    fn a_plan_holds_each_sample_once_within_its_budget(
        rows in samples(), tokens in 1usize..200, volumes in 1usize..8, width_multiple in 1usize..9, group in 1usize..9,
    ) {
        let positions: Vec<u32> = (0..rows.len() as u32).rev().collect();
        let budget = Budget { tokens, volumes };
        let rule = StepRule { splicing: SPLICING, loss_group: LossGroup::Of(group), budget, width_multiple };
        let samples = Samples::of_rows(&rows);
        let plan = rule.plan(&samples, &positions, TextForm::Conversation).unwrap();
        let whole = StepRule { budget: Budget::WHOLE, ..rule }.plan(&samples, &positions, TextForm::Conversation).unwrap();
        prop_assert_eq!(plan.targets, rows.iter().map(|row| spliced(row).targets).sum::<usize>());
        prop_assert!(plan.micro_batches().all(|texts| !texts.is_empty()));

        let sorted = |plan: &StepPlan| {
            let mut all: Vec<(u32, u32)> =
                plan.micro_batches().flatten().map(|text| (text.position, text.target_weight.to_bits())).collect();
            all.sort_unstable();
            all
        };
        // Weights do not depend on how the step is cut.
        prop_assert_eq!(sorted(&plan), sorted(&whole));
        for texts in plan.micro_batches() {
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
            plan.micro_batches().flatten().map(|text| (text.position, text.target_weight)).collect();
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
        let samples = Samples::of_rows(&rows);
        let plan = rule.plan(&samples, &positions, TextForm::Conversation).unwrap();
        prop_assert_eq!(plan.len(), 1);
        let firsts: Vec<Option<&Id>> =
            plan.micro_batch(0).iter().map(|text| rows[text.position as usize].volume_ids.first()).collect();
        let mut runs = firsts.clone();
        runs.dedup();
        prop_assert_eq!(runs.len(), firsts.iter().collect::<BTreeSet<_>>().len());
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
    let plan = rule.plan(&Samples::of_rows(&rows), &[0, 1, 2, 3], TextForm::Conversation).unwrap();
    assert_eq!((plan.targets, plan.targetless_groups.as_slice()), (6, &[1, 2][..]));
    let weights: Vec<f32> = plan.micro_batch(0).iter().map(|text| text.target_weight).collect();
    assert_eq!(weights, [0.125, 0.0, 0.0, 0.0625]);
}

#[test]
fn ranks_plan_their_shares_with_the_weights_of_the_whole_step() {
    let rows: Vec<SampleRow> = (0..7).map(|n| sample(n, &[n % 3], 3, n)).collect();
    let samples = Samples::of_rows(&rows);
    let positions = [3, 6, 0, 1, 5, 2, 4];
    for budget in [Budget::WHOLE, Budget { tokens: 20, volumes: 2 }] {
        let rule = StepRule { loss_group: LossGroup::Of(3), splicing: SPLICING, budget, width_multiple: 1 };
        let plan = |own| {
            let mut plan = StepPlan::default();
            rule.plan_share(&mut plan, &samples, &positions, own, TextForm::Conversation).unwrap();
            plan
        };
        let texts = |plan: &StepPlan| -> Vec<(u32, u32)> {
            let texts = plan.micro_batches().flatten();
            let mut texts: Vec<_> = texts.map(|text| (text.position, text.target_weight.to_bits())).collect();
            texts.sort_unstable();
            texts
        };
        let whole = plan(0..7);
        assert!(
            whole.micro_batches().eq(rule.plan(&samples, &positions, TextForm::Conversation).unwrap().micro_batches())
        );
        let shares = [plan(0..2), plan(2..2), plan(2..7)];
        assert!(shares.iter().all(|share| share.targets == whole.targets));
        assert!((shares[1].len(), shares[1].micro_batch(0)) == (1, &[]));
        let mut all: Vec<_> = shares.iter().flat_map(texts).collect();
        all.sort_unstable();
        assert_eq!(all, texts(&whole));
    }
}
