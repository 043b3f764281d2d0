//! BERT and M3D-CLIP against transformers and torch.

use std::collections::HashMap;
use std::fs;

use med2e3_trainer::model::contrastive::PairBatch;
use med2e3_trainer::model::{BertConfig, M3dClip, M3dClipConfig, ModelError};
use med2e3_trainer::train::optimizer::{AdamW, AdamWConfig, Rates, Trained};
use tch::{Device, Kind, Tensor, no_grad};

use crate::golden_file::{Golden, assert_close, path};

/// The tiny M3D-CLIP's folder as it would be published: config.json and weights.
fn published() -> (serde_json::Value, Vec<(String, Tensor)>) {
    let text = fs::read_to_string(path("m3d_clip_tiny/config.json")).unwrap();
    let tensors = Tensor::read_safetensors(path("m3d_clip_tiny/model.safetensors")).unwrap();
    (serde_json::from_str(&text).unwrap(), tensors)
}

fn shapes(tensors: &[(String, Tensor)]) -> Vec<(String, Vec<i64>)> {
    tensors.iter().map(|(name, tensor)| (name.clone(), tensor.size())).collect()
}

/// The tiny M3D-CLIP with its weights, every one trainable.
fn tiny(exp_logit_scale: bool) -> M3dClip {
    let (config, tensors) = published();
    let config = M3dClipConfig { exp_logit_scale, ..M3dClipConfig::of_published(&config, &shapes(&tensors)).unwrap() };
    let mut clip = M3dClip::new(&config, Device::Cpu, 0).unwrap();
    clip.load_tensors(&tensors).unwrap();
    for (_, tensor) in clip.parameters() {
        let _ = tensor.set_requires_grad(true);
    }
    clip
}

fn count(tensors: &[(String, Tensor)], prefix: &str) -> usize {
    tensors.iter().filter(|(name, _)| name.starts_with(prefix)).map(|(_, tensor)| tensor.numel()).sum()
}

/// The tiny M3D-CLIP with the text encoder of a golden file, every weight trainable.
fn with_text(golden: &Golden) -> M3dClip {
    let config = M3dClipConfig { text: golden.config("config"), ..tiny(false).config().clone() };
    let mut clip = M3dClip::new(&config, Device::Cpu, 0).unwrap();
    let is_text = |name: &str| name.starts_with("language_encoder.");
    let others = clip.parameters().into_iter().filter(|(name, _)| !is_text(name));
    let weights: Vec<_> = golden.below("weights/").into_iter().chain(others).collect();
    clip.load_tensors(&weights).unwrap();
    clip.parameters().into_iter().for_each(|(_, tensor)| drop(tensor.set_requires_grad(true)));
    clip
}

#[test]
fn bert_equals_transformers() {
    let golden = Golden::open("bert");
    let clip = with_text(&golden);
    let bert = clip.text_encoder();
    let (ids, mask) = (golden.get("ids"), golden.get("mask"));

    let padded = no_grad(|| bert.forward(&ids, &mask, None).unwrap());
    // The golden hidden states are zero where there is padding.
    assert_close("hidden", &(padded.hidden_bte * mask.unsqueeze(2)), &golden.get("padded.hidden"), 1e-5);
    assert_close("pooled", &padded.pooled_be, &golden.get("padded.pooled"), 1e-5);

    let row = |tensor: &Tensor| tensor.narrow(0, 1, 1);
    let full = no_grad(|| bert.forward(&row(&ids), &row(&mask), None).unwrap());
    assert_close("hidden of a full row", &full.hidden_bte, &golden.get("full.hidden"), 1e-5);
    assert_close("pooled of a full row", &full.pooled_be, &golden.get("full.pooled"), 1e-5);
}

#[test]
fn bert_in_training_equals_transformers_with_the_same_masks() {
    let golden = Golden::open("bert_dropout");
    let mut clip = with_text(&golden);
    let keys: Vec<i64> = Vec::try_from(golden.get("keys")).unwrap();
    let keys: Vec<u64> = keys.into_iter().map(|key| key as u64).collect();
    let (ids, mask) = (golden.get("ids"), golden.get("mask"));
    let without = no_grad(|| clip.text_encoder().forward(&ids, &mask, Some(&keys)).unwrap());
    clip.set_text_encoder_dropout(golden.config("probability"));
    let bert = clip.text_encoder();

    let found = bert.forward(&ids, &mask, Some(&keys)).unwrap();
    assert_close("hidden", &(found.hidden_bte * mask.unsqueeze(2)), &golden.get("hidden"), 1e-5);
    assert_close("pooled", &found.pooled_be, &golden.get("pooled"), 1e-5);
    (&found.pooled_be * golden.get("direction")).sum(Kind::Float).backward();
    let grads: HashMap<String, Tensor> = golden.below("grads/").into_iter().collect();
    let mut compared = 0;
    for (name, parameter) in clip.parameters() {
        if let Some(expected) = grads.get(&name) {
            assert_close(&name, &parameter.grad(), expected, 1e-5);
            compared += 1;
        }
    }
    assert_eq!(compared, grads.len());

    // A text alone, without the padding that others need, drops the same; without keys, nothing is dropped.
    let alone = |tensor: &Tensor| tensor.narrow(0, 0, 1).narrow(1, 0, 6);
    let first = no_grad(|| bert.forward(&alone(&ids), &alone(&mask), Some(&keys[..1])).unwrap());
    assert_close("alone", &first.pooled_be, &golden.get("pooled").narrow(0, 0, 1), 1e-5);
    let answered = no_grad(|| bert.forward(&ids, &mask, None).unwrap());
    assert_close("without keys", &answered.pooled_be, &without.pooled_be, 1e-6);
    let moved = (&answered.pooled_be - &found.pooled_be).abs().max().double_value(&[]);
    assert!(moved > 0.1, "{moved}");
}

#[test]
fn ids_at_padding_do_not_matter() {
    let (golden, clip) = (Golden::open("bert"), tiny(false));
    let (ids, mask) = (golden.get("ids"), golden.get("mask"));
    let encode = |ids: &Tensor, mask: &Tensor| no_grad(|| clip.encode_text(ids, mask, None).unwrap());
    let other = &ids + mask.logical_not() * 9;
    assert_close("other padding", &encode(&other, &mask), &encode(&ids, &mask), 1e-6);
    let short = |tensor: &Tensor| tensor.narrow(0, 0, 1).narrow(1, 0, 6);
    assert_close("no padding", &encode(&short(&ids), &short(&mask)), &encode(&ids, &mask).narrow(0, 0, 1), 1e-5);
}

#[test]
fn m3d_clip_equals_torch_in_features_logits_loss_and_gradients() {
    let golden = Golden::open("m3d_clip_contrastive");
    for (name, exp_logit_scale) in [("released", false), ("exp", true)] {
        let clip = tiny(exp_logit_scale);
        let image_be = clip.encode_image(&golden.get("voxels")).unwrap();
        let text_be = clip.encode_text(&golden.get("ids"), &golden.get("mask"), None).unwrap();
        assert_close("image", &image_be, &golden.get("image"), 1e-5);
        assert_close("text", &text_be, &golden.get("text"), 1e-5);
        assert_close("logits", &clip.logits(&image_be, &text_be), &golden.get(&format!("{name}.logits")), 1e-5);
        let loss = clip.loss(&image_be, &text_be).unwrap();
        assert_close("loss", &loss, &golden.get(&format!("{name}.loss")), 1e-5);

        loss.backward();
        let norms: HashMap<String, Tensor> = golden.below(&format!("{name}.norms/")).into_iter().collect();
        let (mut compared, mut worst) = (0, 0f64);
        for (key, param) in clip.parameters() {
            let grad = param.grad();
            assert_eq!(grad.defined(), norms.contains_key(&key), "{key}");
            if grad.defined() {
                let (found, expected) = (grad.norm().double_value(&[]), norms[&key].double_value(&[]));
                let off = (found - expected).abs();
                // The gradient of a key's bias is zero except for rounding, which differs between CPUs.
                let is_zero = expected < 1e-6;
                let allowed = if is_zero { 1e-7 } else { 1e-4 * expected };
                assert!(off <= allowed, "{key}: {found}, {expected} expected");
                if !is_zero {
                    worst = worst.max(off / expected);
                }
                compared += 1;
            }
        }
        println!("{name}: {compared} gradient norms, greatest relative difference {worst:.2e}");
        assert_eq!(compared, norms.len());
    }
}

/// Expected numbers: `golden/m3d_clip_step.py`.
#[test]
fn a_contrastive_step_equals_torchs_however_it_is_cut() {
    let golden = Golden::open("m3d_clip_step");
    let [voxels, ids, mask] = ["voxels", "ids", "mask"].map(|name| golden.get(name));
    let gradients: HashMap<String, Tensor> = golden.below("gradients/").into_iter().collect();
    for size in [8, 4, 3, 2, 1] {
        let clip = tiny(false);
        let learning: Vec<(String, Tensor)> = clip.parameters();
        let trained = Trained::all(learning, Kind::Float, Rates { weight_decay: 0.1, ..Rates::default() });
        let mut optimizer = AdamW::new(trained, AdamWConfig::default()).unwrap();
        let mut asked = 0;
        let contrast = clip
            .add_gradients(8usize.div_ceil(size), |part| {
                asked += 1;
                let (first, rows) = ((part * size) as i64, size.min(8 - part * size) as i64);
                let of = |tensor: &Tensor| tensor.narrow(0, first, rows);
                Ok::<_, ModelError>(PairBatch {
                    voxels_bcdhw: of(&voxels),
                    ids_bt: of(&ids),
                    mask_bt: of(&mask),
                    keys_b: None,
                })
            })
            .unwrap();
        assert_eq!(asked, if size == 8 { 1 } else { 2 * 8usize.div_ceil(size) });
        assert_close(&format!("loss in parts of {size}"), &contrast.loss, &golden.get("loss"), 1e-5);
        let mut compared = 0;
        for (name, param) in clip.parameters() {
            // The pooler is not reached: no gradient there, zeros here.
            let expected = gradients.get(&name).map_or_else(|| param.zeros_like(), Tensor::shallow_clone);
            assert_close(&format!("{name} in parts of {size}"), &param.grad(), &expected, 1e-5);
            compared += usize::from(gradients.contains_key(&name));
        }
        assert_eq!(compared, gradients.len());
        optimizer.step(1e-3).unwrap();
        let weights: HashMap<String, Tensor> = clip.parameters().into_iter().collect();
        for (name, expected) in golden.below("after/") {
            assert_close(&format!("{name} after a step"), &weights[&name].detach(), &expected, 1e-5);
        }
        let correct = contrast.correct_count.int64_value(&[]);
        assert!((0..=8).contains(&correct), "{correct}");
    }
}

#[test]
fn a_published_bert_is_the_text_encoder_with_and_without_heads() {
    let mut clip = tiny(false);
    let text = |clip: &M3dClip| -> Vec<(String, Tensor)> {
        let all = clip.parameters().into_iter().filter(|(name, _)| name.starts_with("language_encoder."));
        all.map(|(name, tensor)| (name, tensor.detach().copy())).collect()
    };
    let before = text(&clip);
    let with_heads: Vec<(String, Tensor)> = before
        .iter()
        .map(|(name, tensor)| (name.replace("language_encoder.", "bert."), tensor + 1.0))
        .map(|(name, tensor)| (name.replace("LayerNorm.weight", "LayerNorm.gamma"), tensor))
        .map(|(name, tensor)| (name.replace("LayerNorm.bias", "LayerNorm.beta"), tensor))
        .chain([("cls.predictions.bias".to_owned(), Tensor::from(0.0))])
        .collect();
    let load = |clip: &mut M3dClip, tensors: &[(String, Tensor)]| {
        let read = |name: &str| Ok::<_, ModelError>(tensors.iter().find(|(other, _)| other == name).unwrap().1.copy());
        clip.load_text_encoder(&shapes(tensors), read)
    };
    assert_eq!(load(&mut clip, &with_heads).unwrap(), ["cls.predictions.bias"]);
    assert!(text(&clip).iter().zip(&before).all(|((_, now), (_, then))| now.equal(&(then + 1.0))));
    let alone: Vec<_> =
        before.iter().map(|(name, tensor)| (name.replace("language_encoder.", ""), tensor.shallow_clone())).collect();
    load(&mut clip, &alone).unwrap();
    assert!(text(&clip).iter().zip(&before).all(|((_, now), (_, then))| now.equal(then)));
    let error = load(&mut clip, &alone[1..]).unwrap_err().to_string();
    assert!(error.contains("text_encoder") && error.contains("word_embeddings.weight is missing"), "{error}");
}

#[test]
fn published_sizes_have_the_published_parameter_counts() {
    let parameters = M3dClip::unloaded(&M3dClipConfig::m3d_clip(), Device::Cpu, Kind::Float).unwrap().parameters();
    let counts = ["vision_encoder.", "language_encoder.", "mm_vision_proj.", "mm_language_proj.", "logit_scale", ""]
        .map(|prefix| count(&parameters, prefix));
    assert_eq!(counts, [87_389_184, 109_482_240, 590_592, 590_592, 1, 198_052_609]);
}

#[test]
fn sizes_come_from_config_json_and_from_shapes() {
    let (config, tensors) = published();
    let found = M3dClipConfig::of_published(&config, &shapes(&tensors)).unwrap();
    assert_eq!(found.text, Golden::open("bert").config::<BertConfig>("config"));
    assert_eq!(serde_json::to_value(&found.vision).unwrap()["img_size"], serde_json::json!([4, 16, 16]));

    // Where config.json does not state them, heads are 64 wide, and there is none in a width of 24.
    let mut text: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(path("m3d_clip_tiny/config.json")).unwrap()).unwrap();
    let of =
        |text: &serde_json::Value, tensors: &[(String, Tensor)]| M3dClipConfig::of_published(text, &shapes(tensors));
    let heads = text.as_object_mut().unwrap().remove("text_config").unwrap();
    let wide: Vec<_> = tensors
        .iter()
        .map(|(name, tensor)| {
            let is_wide = name.ends_with("word_embeddings.weight");
            let wide = || Tensor::zeros([61, 128], (Kind::Float, Device::Cpu));
            (name.clone(), if is_wide { wide() } else { tensor.shallow_clone() })
        })
        .collect();
    assert_eq!(of(&text, &wide).unwrap().text.num_attention_heads, 2);
    let error = of(&text, &tensors).unwrap_err().to_string();
    assert!(error.contains("text_config.num_attention_heads"), "{error}");
    text["text_config"] = heads;

    // What both state must agree, or a false size would be allocated.
    for (key, value) in [
        ("hidden_size", serde_json::json!(1i64 << 40)),
        ("mlp_dim", serde_json::json!(1i64 << 40)),
        ("num_layers", serde_json::json!(1i64 << 40)),
        ("img_size", serde_json::json!([i64::MAX, 16, 16])),
        ("img_size", serde_json::json!([8, 16, 16])),
        ("patch_size", serde_json::json!([0, 4, 8])),
        ("in_channels", serde_json::json!(3)),
    ] {
        let mut wrong = text.clone();
        wrong[key] = value;
        let error = of(&wrong, &tensors).unwrap_err();
        assert!(matches!(error, ModelError::Config { .. }) && error.to_string().contains(key), "{key}: {error}");
    }
    let lacking: Vec<_> =
        tensors.into_iter().filter(|(name, _)| !name.ends_with("token_type_embeddings.weight")).collect();
    assert!(matches!(of(&text, &lacking), Err(ModelError::MissingWeight { .. })));
}

#[test]
fn loading_is_strict_and_passes_over_counters_alone() {
    let mut clip = tiny(false);
    let (_, tensors) = published();
    let with = |name: &str| {
        let mut more: Vec<_> = tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect();
        more.push((name.to_owned(), Tensor::arange(16, (Kind::Int64, Device::Cpu))));
        more
    };
    let passed_over = clip.load_tensors(&with("language_encoder.embeddings.position_ids")).unwrap();
    assert_eq!(passed_over, ["language_encoder.embeddings.position_ids"]);
    let unexpected = clip.load_tensors(&with("language_encoder.cls.bias")).unwrap_err();
    assert!(matches!(unexpected, ModelError::UnexpectedWeight { part: "m3d_clip", .. }), "{unexpected}");
    let without: Vec<_> = tensors.into_iter().filter(|(name, _)| name != "logit_scale").collect();
    let missing = clip.load_tensors(&without).unwrap_err();
    assert!(matches!(missing, ModelError::MissingWeight { name, .. } if name == "logit_scale"));
}

#[test]
fn wrong_texts_and_pairs_are_errors_not_panics() {
    let clip = tiny(false);
    let ids = |rows: &[i64], tokens: i64| Tensor::from_slice(rows).view([-1, tokens]);
    let encode = |ids_bt: &Tensor, mask_bt: &Tensor| no_grad(|| clip.encode_text(ids_bt, mask_bt, None));
    for foreign in [61, -1, i64::MAX] {
        let texts = ids(&[2, foreign, 3], 3);
        let error = encode(&texts, &texts.ones_like()).unwrap_err();
        assert!(matches!(error, ModelError::TokenId { expected: 61, found, .. } if found == foreign));
    }
    let long = ids(&[2; 17], 17);
    assert!(matches!(encode(&long, &long), Err(ModelError::TooLong { expected: 16, found: 17, .. })));
    let texts = ids(&[2, 3, 2, 3], 2);
    assert!(matches!(encode(&texts, &ids(&[1, 1, 0, 0], 2)), Err(ModelError::NoToken { row: 1, .. })));
    assert!(matches!(encode(&texts, &ids(&[1, 1], 2)), Err(ModelError::Shape { what: "text mask", .. })));
    assert!(matches!(encode(&texts.view([4]), &texts.view([4])), Err(ModelError::Shape { what: "text ids", .. })));
    let none = texts.narrow(1, 0, 0);
    assert!(matches!(encode(&none, &none), Err(ModelError::NoToken { row: 0, .. })));
    assert_eq!(encode(&texts.narrow(0, 0, 0), &texts.narrow(0, 0, 0)).unwrap().size(), [0, 24]);

    let voxels = Tensor::zeros([1, 1, 4, 16, 8], (Kind::Float, Device::Cpu));
    assert!(matches!(clip.encode_image(&voxels), Err(ModelError::Shape { what: "voxels", .. })));
    let features = |rows: i64| Tensor::zeros([rows, 24], (Kind::Float, Device::Cpu));
    assert!(matches!(clip.loss(&features(3), &features(2)), Err(ModelError::Shape { .. })));
    let config = BertConfig { num_attention_heads: 5, ..clip.config().text.clone() };
    let config = M3dClipConfig { text: config, ..clip.config().clone() };
    assert!(matches!(M3dClip::new(&config, Device::Cpu, 0), Err(ModelError::Config { .. })));
    let config = M3dClipConfig { text: BertConfig::base_uncased(), ..clip.config().clone() };
    assert!(
        matches!(M3dClip::new(&config, Device::Cpu, 0), Err(ModelError::Config { field, .. }) if field == "text.hidden_size")
    );
}
