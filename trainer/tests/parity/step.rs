//! What a step means: its loss and gradients do not depend on how it is cut into micro-batches, nor on whether texts share their
//! volumes, and are those of plain torch. Expected numbers: `golden/loss_groups.py`.

use med2e3_feed::{Budget, LossGroup, Splicing, StepRule, TextForm};
use med2e3_schemas::Id;
use med2e3_schemas::sample::SampleRow;
use med2e3_shards::Samples;
use med2e3_trainer::model::{Med2e3, ModelInput, Part, TargetWeights, TextInput};
use tch::{Device, Kind, Tensor};

use crate::golden_file::{Golden, batch, small};

/// The golden step's texts as rows of a dataset, whose volumes are named by their numbers.
fn rows(texts: &[TextInput], volumes: &[i64]) -> Vec<SampleRow> {
    let row = |(number, (text, volume)): (usize, (&TextInput, &i64))| {
        let targets = text.labels.iter().filter(|label| **label != -100).count() as u32;
        let end = text.ids.len() as u32;
        let volume_ids = vec![Id::of_volume(&volume.to_string())];
        let ids = text.ids.iter().map(|id| *id as i32).collect();
        SampleRow::of_ids(Id::of_volume(&format!("text {number}")), volume_ids, ids, vec![(end - targets, end)])
    };
    texts.iter().zip(volumes).enumerate().map(row).collect()
}

fn model() -> Med2e3 {
    let golden = Golden::open("med2e3");
    let mut config = small();
    config.variant.score_dropout = 0.0;
    let mut model = Med2e3::new(&config, Device::Cpu, 0).unwrap();
    for part in Part::ALL {
        model.load_tensors(part, &golden.below(&format!("weights/{part}/"))).unwrap();
    }
    model.set_trainable(&Part::ALL);
    model
}

#[test]
fn a_step_is_the_same_however_it_is_cut_and_whatever_is_shared() {
    let golden = Golden::open("loss_groups");
    // The texts, whose volumes are set below.
    let texts = batch(&golden, "question").texts;
    let shown: Vec<i64> = Vec::try_from(golden.get("volumes")).unwrap();
    let own: Vec<i64> = (0..texts.len() as i64).collect();
    let config = small();
    let splicing =
        Splicing { visual_tokens: config.visual_token_count() as usize, max_length: config.variant.max_length };
    let counts: Vec<i64> = Vec::try_from(golden.get("targets")).unwrap();
    let group = golden.config::<usize>("group");

    for (volumes, is_shared) in [(&shown, true), (&own, false)] {
        let samples = Samples::of_rows(&rows(&texts, volumes));
        assert!(samples.iter().zip(&counts).all(|(text, count)| {
            splicing.of(&text.unwrap(), TextForm::Conversation).unwrap().targets == *count as usize
        }));
        for micro in [1, 2, 4, 8, 32] {
            let budget = Budget { tokens: micro * splicing.max_length, volumes: micro };
            let rule = StepRule { splicing, loss_group: LossGroup::Of(group), budget, width_multiple: 1 };
            let positions: Vec<u32> = (0..samples.len() as u32).collect();
            let plan = rule.plan(&samples, &positions, TextForm::Conversation).unwrap();
            assert!(micro < 32 || plan.len() == 1);
            let model = model();
            let mut loss = 0.0;
            for planned in plan.micro_batches() {
                // The distinct volumes in order of appearance, as the feed brings them.
                let mut distinct: Vec<i64> = Vec::new();
                let mut place = |volume: i64| {
                    distinct.iter().position(|known| *known == volume).unwrap_or_else(|| {
                        distinct.push(volume);
                        distinct.len() - 1
                    })
                };
                let text = |position: u32| TextInput {
                    volumes: vec![place(volumes[position as usize])],
                    ..texts[position as usize].clone()
                };
                let texts: Vec<TextInput> = planned.iter().map(|text| text.position).map(text).collect();
                let of_voxels = |name: &i64| if is_shared { *name } else { shown[*name as usize] };
                let places: Vec<i64> = distinct.iter().map(of_voxels).collect();
                let input = ModelInput {
                    voxels_vcdhw: golden.get("voxels").index_select(0, &Tensor::from_slice(&places)),
                    texts,
                    weights: TargetWeights::PerText(planned.iter().map(|text| text.target_weight).collect()),
                };
                let output = model.forward(&input, Some(0)).unwrap();
                output.loss.backward();
                loss += output.loss.double_value(&[]);
            }
            let what = format!("{micro} texts at once, shared {is_shared}");
            assert!((loss - golden.get("loss").double_value(&[])).abs() < 1e-6, "{what}: {loss}");
            let grads = golden.below("grads/");
            let mut compared = 0;
            for part in Part::ALL {
                for (name, weight) in model.parameters(part) {
                    let expected = grads.iter().find(|(given, _)| *given == format!("{part}/{name}"));
                    assert_eq!(weight.grad().defined(), expected.is_some(), "{name}");
                    let Some((_, expected)) = expected else { continue };
                    let scale = expected.abs().max().double_value(&[]);
                    let difference = (weight.grad() - expected).abs().max().to_kind(Kind::Double).double_value(&[]);
                    assert!(difference <= 1e-5 * scale.max(0.1), "{what}: {name}: {difference:e} of {scale:e}");
                    compared += 1;
                }
            }
            assert_eq!(compared, grads.len());
        }
    }
}
