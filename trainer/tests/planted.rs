//! A phantom whose answer lies in one slice, which slice depending on the case and the question: a tiny model that learns to answer must
//! find it, so its scores must point there. hit@1 is the share of questions whose highest score is at the planted slice.

use std::fs;
use std::path::Path;

use med2e3_metric::focus::peak;
use med2e3_schemas::sample::IGNORED;
use med2e3_trainer::model::splice::VOLUME_ID;
use med2e3_trainer::model::{
    Initializer, LocalFeature, Med2e3, Med2e3Config, ModelInput, Part, TargetWeights, TextInput, VisualTokens,
};
use med2e3_trainer::train::optimizer::{AdamW, AdamWConfig, Rates, Trained};
use safetensors::SafeTensors;
use tch::{Device, Kind, Tensor};

const SLICES: usize = 8;
const SIDE: usize = 16;
const BATCH: usize = 16;
const STEPS: u64 = 400;

/// Tokens: one a question, one an answer.
const QUESTIONS: [i64; 2] = [5, 6];
const SIDES: [i64; 2] = [10, 11];

/// Numbers from a seed (Steele et al. 2014, splitmix64).
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    fn share(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 24) as f32
    }
}

/// A case: every slice is bright on one side; one has rows over it, another one columns.
struct Case {
    voxels: Vec<f32>,
    /// Where the rows and where the columns are.
    planted: [usize; 2],
    /// The bright side of these slices.
    sides: [usize; 2],
}

fn case(draw: &mut Draw) -> Case {
    let sides: Vec<usize> = (0..SLICES).map(|_| draw.below(2)).collect();
    let rows = draw.below(SLICES);
    let columns = (rows + 1 + draw.below(SLICES - 1)) % SLICES;
    let mut voxels = Vec::with_capacity(SLICES * SIDE * SIDE);
    for (slice, side) in sides.iter().enumerate() {
        for y in 0..SIDE {
            for x in 0..SIDE {
                let bright = if (x >= SIDE / 2) == (*side == 1) { 0.3 } else { 0.0 };
                let lines = [(rows, y), (columns, x)].iter().any(|(at, line)| *at == slice && line % 2 == 0);
                voxels.push(0.2 + bright + if lines { 0.3 } else { 0.0 } + 0.1 * draw.share());
            }
        }
    }
    Case { voxels, planted: [rows, columns], sides: [sides[rows], sides[columns]] }
}

/// Cases, each asked one of the questions: on which side the slice with rows, or with columns, is bright.
fn batch(draw: &mut Draw, count: usize) -> (ModelInput, Vec<usize>, Vec<i64>) {
    let (mut voxels, mut texts, mut planted, mut answers) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for volume in 0..count {
        let (case, asked) = (case(draw), draw.below(2));
        voxels.extend(case.voxels);
        planted.push(case.planted[asked]);
        let (question, answer) = (QUESTIONS[asked], SIDES[case.sides[asked]]);
        answers.push(answer);
        texts.push(TextInput {
            ids: vec![1, VOLUME_ID, question, answer],
            labels: vec![IGNORED, IGNORED, IGNORED, answer],
            volumes: vec![volume],
            question_ids: vec![question],
            key: volume as u64,
            scores: Vec::new(),
        });
    }
    let shape = [count, 1, SLICES, SIDE, SIDE].map(|n| n as i64);
    let input =
        ModelInput { voxels_vcdhw: Tensor::from_slice(&voxels).view(shape), texts, weights: TargetWeights::Mean };
    (input, planted, answers)
}

/// The golden model's sizes; its language model gets the 2D tokens alone, so that only scores lead to the right slice.
fn config() -> Med2e3Config {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/med2e3.safetensors");
    let bytes = fs::read(golden).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let mut config: Med2e3Config = serde_json::from_str(&header.metadata().as_ref().unwrap()["config"]).unwrap();
    config.variant.local_feature = LocalFeature::Vision2d;
    config.variant.visual_tokens = VisualTokens::Vision2d;
    config.variant.score_dropout = 0.0;
    config.initializer = Initializer::FanIn;
    config
}

#[test]
fn scores_point_at_the_slice_that_holds_the_answer() {
    tch::set_num_threads(1);
    let model = Med2e3::new(&config(), Device::Cpu, 7).unwrap();
    model.set_trainable(&Part::ALL);
    let trained = Trained::all(model.trainable(), Kind::Float, Rates::default());
    let mut optimizer = AdamW::new(trained, AdamWConfig { clip: Some(1.0), ..AdamWConfig::default() }).unwrap();
    let mut draw = Draw(17);
    for step in 0..STEPS {
        let (input, ..) = batch(&mut draw, BATCH);
        model.forward(&input, Some(step)).unwrap().loss.backward();
        optimizer.step(3e-3).unwrap();
        optimizer.zero_grad().unwrap();
    }
    // Cases that training has not seen.
    let count = 256;
    let (input, planted, _) = batch(&mut Draw(1 << 40), count);
    let output = model.forward(&input, None).unwrap();
    let scores = |row: usize| Vec::<f32>::try_from(output.scores_mn.get(row as i64)).unwrap();
    let hits = planted.iter().enumerate().filter(|(row, slice)| peak(&scores(*row)) == Some(**slice)).count();
    let hit_at_1 = hits as f64 / count as f64;
    let right = output.correct_count.int64_value(&[]) as f64 / count as f64;
    println!("hit@1 {hit_at_1:.3} (guessing {:.3}), right answers {right:.3}", 1.0 / SLICES as f64);
    assert!(hit_at_1 > 0.9 && right > 0.9, "hit@1 {hit_at_1}, right {right}");

    // Without that slice the answer is a guess; without another one nothing changes.
    let right_without = |shift: usize| {
        let mut deleted = batch(&mut Draw(1 << 40), count).0;
        for (row, text) in deleted.texts.iter_mut().enumerate() {
            let at = (planted[row] + shift) % SLICES;
            let mut kept = scores(row);
            kept[at] = 0.0;
            let sum: f32 = kept.iter().sum();
            text.scores = kept.into_iter().map(|score| score / sum).collect();
        }
        model.forward(&deleted, None).unwrap().correct_count.int64_value(&[]) as f64 / count as f64
    };
    let (without, without_another) = (right_without(0), right_without(3));
    println!("right answers without the planted slice {without:.3}, without another {without_another:.3}");
    assert!(without < 0.7 && without_another > 0.9, "{without} and {without_another}");
}
