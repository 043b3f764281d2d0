//! The whole model and its parts: encoders, splice, loss, gradients, answers, strict loading.

use std::collections::HashMap;

use med2e3_schemas::sample::IGNORED;
use med2e3_trainer::generate::{Decoding, Generated, Until, generate};
use med2e3_trainer::model::splice::VOLUME_ID;
use med2e3_trainer::model::{
    M3dClipVisionConfig, Med2e3, Med2e3Config, ModelError, ModelInput, Part, Preset, Scorer, SiglipVisionConfig,
    SliceNorm, TargetWeights, TextInput, Variant, VisualTokens,
};
use med2e3_trainer::train::optimizer::{AdamW, AdamWConfig, Rates, Trained};
use tch::{Device, Kind, Tensor, no_grad};

use crate::golden_file::{Golden, again, assert_close, batch, small};

const V: i64 = VOLUME_ID;
const X: i64 = IGNORED;

/// The golden whole model, its weights loaded, dropout off, every part trainable, and its batch.
fn whole() -> (Golden, Med2e3, ModelInput) {
    let golden = Golden::open("med2e3");
    let mut config: Med2e3Config = golden.config("config");
    config.variant.score_dropout = 0.0;
    let model = with_golden_weights(&golden, &config);
    model.set_trainable(&Part::ALL);
    let input = batch(&golden, "question");
    (golden, model, input)
}

fn with_golden_weights(golden: &Golden, config: &Med2e3Config) -> Med2e3 {
    let mut model = Med2e3::new(config, Device::Cpu, 0).unwrap();
    for part in Part::ALL {
        if !model.parameters(part).is_empty() {
            model.load_tensors(part, &golden.below(&format!("weights/{part}/"))).unwrap();
        }
    }
    model
}

/// Greedy answers.
fn greedy(model: &Med2e3, input: &ModelInput, max_new_tokens: usize, stop_ids: &[i64]) -> Generated {
    let until = Until { max_new_tokens, stop_ids: stop_ids.to_vec() };
    generate(model, input, Decoding::Greedy, &until).unwrap()
}

/// One text of a batch as a batch of its own.
fn row(input: &ModelInput, b: usize) -> ModelInput {
    let mut text = TextInput { labels: Vec::new(), ..input.texts[b].clone() };
    let voxels_vcdhw = input.voxels_vcdhw.narrow(0, text.volumes[0] as i64, 1);
    text.volumes = vec![0];
    ModelInput { voxels_vcdhw, texts: vec![text], weights: TargetWeights::Mean }
}

#[test]
fn siglip_equals_transformers() {
    let golden = Golden::open("siglip");
    let vision2d: SiglipVisionConfig = golden.config("config");
    let mut model = Med2e3::new(&Med2e3Config { vision2d, ..small() }, Device::Cpu, 0).unwrap();
    model.load_tensors(Part::Vision2dModel, &golden.below("weights/")).unwrap();
    let features = no_grad(|| model.encoder2d().unwrap().forward(&golden.get("slices"), SliceNorm::None).unwrap());
    assert_close("2D features", &features, &golden.get("features"), 1e-5);

    // Slices that the norm folded into the kernel brings to the golden ones.
    let raw = (golden.get("slices") + 1.0) / 2.0;
    let features = no_grad(|| model.encoder2d().unwrap().forward(&raw, SliceNorm::Siglip).unwrap());
    assert_close("2D features of raw slices", &features, &golden.get("features"), 1e-5);
}

#[test]
fn m3d_clip_equals_its_reference() {
    let golden = Golden::open("m3d_clip");
    let vision3d: M3dClipVisionConfig = golden.config("config");
    for (expected, final_norm) in [("features", false), ("normed", true)] {
        let variant = Variant { final_norm, visual_tokens: VisualTokens::Vision3d, ..small().variant };
        let config = Med2e3Config { vision3d: vision3d.clone(), variant, ..small() };
        let mut model = Med2e3::new(&config, Device::Cpu, 0).unwrap();
        model.load_tensors(Part::Vision3dModel, &golden.below("weights/")).unwrap();
        let features = no_grad(|| model.encoder3d().unwrap().forward(&golden.get("voxels")).unwrap());
        assert_close(expected, &features, &golden.get(expected), 1e-5);
    }
}

#[test]
fn whole_model_equals_torch_in_loss_scores_and_gradients() {
    let (golden, model, input) = whole();
    let visual = model.visual(&input).unwrap();
    assert_close("visual tokens", &visual.tokens_mse, &golden.get("visual"), 1e-5);

    let output = model.forward(&input, Some(0)).unwrap();
    assert_close("scores", &output.scores_mn, &golden.get("scores"), 1e-5);
    assert_close("loss", &output.loss, &golden.get("loss"), 1e-5);
    assert_eq!(output.target_count, golden.get("target_count").int64_value(&[]));
    assert_eq!(output.correct_count.int64_value(&[]), golden.get("correct_count").int64_value(&[]));

    output.loss.backward();
    let norms: HashMap<String, Tensor> = golden.below("norms/").into_iter().collect();
    let mut compared = 0;
    for (name, param) in model.trainable() {
        let grad = param.grad();
        assert_eq!(grad.defined(), norms.contains_key(&name), "{name}");
        if grad.defined() {
            assert_close(&name, &grad.norm(), &norms[&name], 2e-5);
            compared += 1;
        }
    }
    assert_eq!(compared, norms.len());
}

#[test]
fn without_training_there_is_no_graph_and_no_dropout() {
    let (golden, model, input) = whole();
    let mut config = model.config().clone();
    config.variant.score_dropout = 0.9;
    let model = with_golden_weights(&golden, &config);
    model.set_trainable(&Part::ALL);
    let output = model.forward(&input, None).unwrap();
    assert!(!output.loss.requires_grad());
    assert_close("loss", &output.loss, &golden.get("loss"), 1e-5);
    let dropped = model.forward(&input, Some(0)).unwrap().scores_mn;
    assert!(dropped.eq(0.0).any().int64_value(&[]) == 1);
}

#[test]
fn frozen_parts_get_no_gradient() {
    let (_, model, input) = whole();
    model.set_trainable(&[Part::Vision2dConnector, Part::Vision3dConnector]);
    model.forward(&input, Some(0)).unwrap().loss.backward();
    let trained = model.trainable();
    assert_eq!(trained.len(), 8);
    assert!(trained.iter().all(|(_, param)| param.grad().defined()));
    assert!(model.parameters(Part::Llm).iter().all(|(_, param)| !param.grad().defined()));
}

#[test]
fn an_answer_depends_neither_on_the_batch_nor_on_the_cache() {
    let (_, model, input) = whole();
    let together = greedy(&model, &input, 16, &[]);
    for b in 0..3 {
        let mut alone = row(&input, b);
        let cached = greedy(&model, &alone, 16, &[]);
        assert_eq!(cached.ids[0], together.ids[b]);
        assert_close("scores", &cached.scores_mn.squeeze(), &together.scores_mn.get(b as i64), 1e-5);

        let mut uncached = Vec::new();
        for _ in 0..16 {
            let id = greedy(&model, &alone, 1, &[]).ids[0][0];
            uncached.push(id);
            alone.texts[0].ids.push(id);
        }
        assert_eq!(uncached, together.ids[b]);
    }
}

#[test]
fn a_stop_id_ends_its_row_only() {
    let (_, model, input) = whole();
    let free = greedy(&model, &input, 16, &[]).ids;
    let stop = free[0][3];
    let stopped = greedy(&model, &input, 16, &[stop]).ids;
    for (free, stopped) in free.iter().zip(stopped) {
        let until = free.iter().position(|id| *id == stop).unwrap_or(free.len());
        assert_eq!(stopped, free[..until]);
    }
}

#[test]
fn several_volumes_in_a_row_and_rows_of_text_alone() {
    let (_, model, input) = whole();
    let text = |ids: &[i64], labels: &[i64], volumes: &[usize], question_ids: &[i64]| TextInput {
        ids: ids.to_vec(),
        labels: labels.to_vec(),
        volumes: volumes.to_vec(),
        question_ids: question_ids.to_vec(),
        key: 0,
        scores: Vec::new(),
    };
    let mut mixed = again(&input);
    mixed.texts = vec![
        text(&[V, 5, V, 6, V, 7], &[X, X, X, 6, X, 7], &[0, 1, 2], &[7, 8]),
        text(&[8, 9, 2], &[X, 9, 2], &[], &[9, 9]),
    ];
    let output = model.forward(&mixed, Some(0)).unwrap();
    // The first row is cut at 24: both of its targets are past the cut.
    assert_eq!((output.target_count, output.scores_mn.size()), (2, vec![3, 8]));
    output.loss.backward();

    mixed.texts = vec![text(&[1, 5, 6], &[X, 5, 6], &[], &[7, 8]), text(&[7, 8, 9], &[X, 8, 9], &[], &[9, 9])];
    mixed.voxels_vcdhw = input.voxels_vcdhw.narrow(0, 0, 0);
    let output = model.forward(&mixed, Some(0)).unwrap();
    assert_eq!((output.target_count, output.scores_mn.size()), (4, vec![0, 8]));
    output.loss.backward();

    mixed.texts.iter_mut().for_each(|text| text.labels.clear());
    let output = model.forward(&mixed, Some(0)).unwrap();
    assert_eq!((output.target_count, output.loss.double_value(&[])), (0, 0.0));
    output.loss.backward();
}

#[test]
fn scores_that_texts_state_take_the_place_of_the_scorers() {
    let (_, model, mut input) = whole();
    let own = model.visual(&input).unwrap();
    let scores: Vec<f32> = Vec::try_from(own.scores_mn.flatten(0, -1)).unwrap();
    let slices = own.scores_mn.size()[1] as usize;
    let with = |input: &mut ModelInput, given: &[f32]| {
        let mut given = given.chunks(slices);
        for text in &mut input.texts {
            text.scores = (0..text.volumes.len()).flat_map(|_| given.next().unwrap().to_vec()).collect();
        }
        model.visual(input)
    };
    let same = with(&mut input, &scores).unwrap();
    assert!(same.tokens_mse.equal(&own.tokens_mse) && same.scores_mn.equal(&own.scores_mn));
    // Each volume has the scores of the next one.
    let mut turned = scores.clone();
    turned.rotate_left(slices);
    let other = with(&mut input, &turned).unwrap();
    assert!(!other.tokens_mse.equal(&own.tokens_mse));
    assert_eq!(Vec::<f32>::try_from(other.scores_mn.flatten(0, -1)).unwrap(), turned);
    input.texts[0].scores.clear();
    let error = model.visual(&input).err().unwrap().to_string();
    assert!(error.contains("scores of a text"), "{error}");
}

/// The published sizes, by shape alone: no weight is made.
#[test]
fn published_sizes_have_the_published_parameter_counts() {
    let count = |preset: Preset, part| {
        let shapes = Med2e3Config::of_preset(preset).parameter_shapes(part).unwrap();
        shapes.iter().map(|(_, shape)| shape.iter().product::<i64>()).sum::<i64>()
    };
    let counts = |preset| Part::ALL.map(|part| count(preset, part));
    // SigLIP's 24 layers of 12,596,224, its embeddings of 1,049,600 and its last norm of 2,048, without its pooling head.
    let [llm, vision2d, connector2d, vision3d, connector3d] = counts(Preset::Paper);
    assert_eq!((llm, vision2d), (3_821_079_552, 303_361_024));
    assert_eq!((connector2d, vision3d, connector3d), (12_589_056, 87_389_184, 11_802_624));
    let released = counts(Preset::Released);
    assert_eq!(released[3] - vision3d, 109_482_240);
    assert_eq!(released[4] - connector3d, 2_362_368);
    assert_eq!(counts(Preset::M3dLamed), [llm, 0, 0, vision3d, connector3d]);
    assert_eq!(Med2e3Config::of_preset(Preset::Paper).visual_token_count(), 512);
}

#[test]
fn every_variant_trains() {
    use med2e3_trainer::model::{Aggregate, LocalFeature, SliceNorm};
    let (golden, model, input) = whole();
    let base = model.config().variant.clone();
    let mut variants = vec![Variant { slice_norm: SliceNorm::Siglip, ..base.clone() }];
    variants.extend(
        [LocalFeature::Vision3d, LocalFeature::Vision2d].map(|local_feature| Variant { local_feature, ..base.clone() }),
    );
    variants.extend(
        [Scorer::Linear, Scorer::Uniform, Scorer::Random, Scorer::Gauss]
            .map(|scorer| Variant { scorer, ..base.clone() }),
    );
    variants.extend(
        [Aggregate::Mean, Aggregate::Max, Aggregate::TopK(3)].map(|aggregate| Variant { aggregate, ..base.clone() }),
    );
    variants.extend(
        [VisualTokens::Vision3d, VisualTokens::Vision2d].map(|visual_tokens| Variant { visual_tokens, ..base.clone() }),
    );
    for variant in variants {
        let text = serde_json::to_string(&variant).unwrap();
        assert_eq!(serde_json::from_str::<Variant>(&text).unwrap(), variant);
        let config = Med2e3Config { variant: variant.clone(), ..model.config().clone() };
        let mut model = Med2e3::new(&config, Device::Cpu, 1).unwrap();
        model.load_tensors(Part::Llm, &golden.below("weights/llm/")).unwrap();
        model.set_trainable(&Part::ALL);
        let output = model.forward(&input, Some(0)).unwrap();
        output.loss.backward();
        assert!(output.loss.double_value(&[]).is_finite(), "{text}");
        if variant.visual_tokens != VisualTokens::Vision3d {
            let sums = output.scores_mn.sum_dim_intlist([1i64].as_slice(), false, Kind::Double);
            assert_close(&text, &sums, &sums.ones_like(), 1e-6);
        }
    }
}

#[test]
fn equal_seeds_give_equal_weights() {
    let config = small();
    let [a, b, c] = [1, 1, 2].map(|seed| Med2e3::new(&config, Device::Cpu, seed).unwrap());
    let head = |model: &Med2e3| model.parameters(Part::Vision3dConnector)[0].1.shallow_clone();
    assert!(head(&a) == head(&b));
    assert!(head(&a) != head(&c));
    assert!((head(&a).std(false).double_value(&[]) - 0.02).abs() < 0.002);
}

#[test]
fn loading_is_strict_and_names_the_nearest_key() {
    let golden = Golden::open("med2e3");
    let mut model = Med2e3::new(&small(), Device::Cpu, 0).unwrap();
    let good = || golden.below("weights/vision2d_connector/");
    let without = |name: &str| good().into_iter().filter(|(n, _)| n != name).collect::<Vec<_>>();

    let missing = model.load_tensors(Part::Vision2dConnector, &without("_connector.2.bias")).unwrap_err();
    assert_eq!(
        missing.to_string(),
        "vision2d_connector: weight _connector.2.bias is missing; nearest name given: _connector.0.bias"
    );
    let mut extra = good();
    extra.push(("_connector.3.bias".to_owned(), Tensor::zeros([1], (Kind::Float, Device::Cpu))));
    let unexpected = model.load_tensors(Part::Vision2dConnector, &extra).unwrap_err();
    assert!(matches!(unexpected, ModelError::UnexpectedWeight { name, .. } if name == "_connector.3.bias"));
    let mut misshapen = without("_connector.2.bias");
    misshapen.push(("_connector.2.bias".to_owned(), Tensor::zeros([7], (Kind::Float, Device::Cpu))));
    let shape = model.load_tensors(Part::Vision2dConnector, &misshapen).unwrap_err();
    assert!(matches!(shape, ModelError::WeightShape { expected, found, .. } if expected == [32] && found == [7]));
    model.load_tensors(Part::Vision2dConnector, &good()).unwrap();
}

#[test]
fn wrong_inputs_are_errors_not_panics() {
    let (_, model, input) = whole();
    let fewer = ModelInput { voxels_vcdhw: input.voxels_vcdhw.narrow(0, 0, 2), ..again(&input) };
    assert!(matches!(model.forward(&fewer, None), Err(ModelError::VolumeCount { expected: 3, found: 2 })));
    let flat = ModelInput { voxels_vcdhw: input.voxels_vcdhw.narrow(2, 0, 4), ..again(&input) };
    assert!(matches!(model.forward(&flat, None), Err(ModelError::Shape { what: "voxels", .. })));
    let mut unnamed = again(&input);
    unnamed.texts[1].volumes.clear();
    assert!(matches!(model.forward(&unnamed, None), Err(ModelError::VolumeCount { expected: 1, found: 0 })));
    let mut foreign = again(&input);
    foreign.texts.iter_mut().flat_map(|text| &mut text.ids).filter(|id| **id == 7).for_each(|id| *id = 1007);
    assert!(matches!(model.forward(&foreign, None), Err(ModelError::TokenId { expected: 61, found: 1007, .. })));
    let until = Until { max_new_tokens: 10_000, stop_ids: Vec::new() };
    let long = generate(&model, &input, Decoding::Greedy, &until).err().unwrap();
    assert!(matches!(long, ModelError::TooLong { expected: 256, .. }));
    let mut config = small();
    config.llm.num_attention_heads = 5;
    assert!(matches!(Med2e3::new(&config, Device::Cpu, 0), Err(ModelError::Config { .. })));
}

/// Loss and gradients in bf16, all parts trained or the connectors alone, which a frozen bf16 model surrounds.
#[test]
fn training_in_bf16_is_near_f32() {
    let run = |kind: Kind, parts: &[Part]| {
        let (_, mut model, input) = whole();
        model.set_trainable(parts);
        model.frozen_to_kind(kind);
        let trained = Trained::all(model.trainable(), kind, Rates::default());
        let mut optimizer = AdamW::new(trained, AdamWConfig::default()).unwrap();
        let weights: Vec<(String, Tensor)> = Part::ALL.into_iter().flat_map(|part| model.parameters(part)).collect();
        assert!(weights.iter().all(|(_, tensor)| tensor.kind() == kind));
        let loss = model.forward(&input, Some(0)).unwrap().loss;
        loss.backward();
        let grads: Vec<(String, Tensor)> =
            model.trainable().into_iter().map(|(name, tensor)| (name, tensor.grad().copy())).collect();
        let norm = optimizer.step(1e-3).unwrap().norm;
        let after = model.forward(&input, None).unwrap().loss;
        (loss.double_value(&[]), after.double_value(&[]), norm.double_value(&[]), grads)
    };
    for parts in [&Part::ALL[..], &[Part::Vision2dConnector, Part::Vision3dConnector]] {
        let (loss, after, norm, grads) = run(Kind::Float, parts);
        let (near_loss, near_after, _, near_grads) = run(Kind::BFloat16, parts);
        let mut squares = 0.0;
        for ((name, grad), (_, near)) in grads.iter().zip(&near_grads) {
            assert!(grad.kind() == Kind::Float && near.kind() == Kind::Float);
            // One vector added to every key changes no softmax: a key bias has the gradient 0 but for rounding, so
            // its rounding is measured against the query bias beside it.
            let beside = [("k_proj.bias", "q_proj.bias"), ("key.bias", "query.bias")]
                .into_iter()
                .find_map(|(key, query)| Some(format!("{}{query}", name.strip_suffix(key)?)));
            let scale = match beside {
                Some(query) => &grads.iter().find(|(name, _)| *name == query).unwrap().1,
                None => grad,
            };
            let [difference, length] = [&(grad - near), scale].map(|tensor| tensor.norm().double_value(&[]));
            assert!(difference <= 5e-2 * length, "{name}: {difference:e} of {length:e}");
            squares += difference * difference;
        }
        assert!((loss - near_loss).abs() < 2e-2 * loss);
        assert!((after - near_after).abs() < 2e-2 * after);
        assert!(squares.sqrt() < 2e-2 * norm, "{}", squares.sqrt() / norm);
    }
}
