//! Blocks that make their values again in the backward pass, against blocks that keep them, which libtorch's own kernels and
//! the other tests here vouch for.

use med2e3_trainer::libtorch::{MemoryCounter, backward, put_gradient};
use med2e3_trainer::model::language_model::Family;
use med2e3_trainer::model::{
    LanguageModelConfig, LoraConfig, M3dClipVisionConfig, Med2e3, Med2e3Config, ModelError, Part, Preset, Recompute,
    SiglipVisionConfig, SliceNorm,
};
use tch::{Device, Kind, Tensor};

const BLOCKS: usize = 8;
const POLICIES: [(Recompute, Option<usize>); 5] = [
    (Recompute::None, None),
    (Recompute::Selective, None),
    (Recompute::Full, None),
    (Recompute::Selective, Some(3)),
    (Recompute::Full, Some(1)),
];

/// A model of eight blocks a part, none of its sizes like another.
fn twin() -> Med2e3Config {
    let published = Med2e3Config::of_preset(Preset::Paper);
    Med2e3Config {
        llm: LanguageModelConfig {
            hidden_size: 48,
            intermediate_size: 128,
            num_hidden_layers: BLOCKS as i64,
            num_attention_heads: 6,
            num_key_value_heads: 6,
            vocab_size: 40,
            max_position_embeddings: 128,
            sliding_window: None,
            full_attention_layers: Vec::new(),
            ..published.llm
        },
        vision2d: SiglipVisionConfig {
            image_size: 32,
            patch_size: 4,
            hidden_size: 48,
            intermediate_size: 192,
            num_hidden_layers: BLOCKS as i64,
            num_attention_heads: 3,
            ..published.vision2d
        },
        vision3d: M3dClipVisionConfig {
            img_size: [4, 32, 32],
            patch_size: [2, 4, 4],
            hidden_size: 48,
            mlp_dim: 192,
            num_layers: BLOCKS as i64,
            num_heads: 3,
            ..published.vision3d
        },
        ..published
    }
}

/// Which decoder, with which adapters.
fn language_models() -> Vec<(&'static str, Med2e3Config)> {
    let phi3 = twin();
    let with = |change: &dyn Fn(&mut Med2e3Config)| {
        let mut config = twin();
        change(&mut config);
        config
    };
    let lora = |dropout: f64, targets: &[&str]| {
        Some(LoraConfig::plain(3, 6.0, dropout, targets.iter().map(|name| (*name).to_owned()).collect()))
    };
    vec![
        ("phi3", phi3),
        (
            "window",
            with(&|config| {
                config.llm.sliding_window = Some(9);
            }),
        ),
        (
            "grouped and tied",
            with(&|config| {
                config.llm.model_type = Family::Llama;
                config.llm.num_key_value_heads = 2;
                config.llm.tie_word_embeddings = true;
            }),
        ),
        (
            "grouped with biases and windows in some layers",
            with(&|config| {
                config.llm.model_type = Family::Qwen2;
                config.llm.num_key_value_heads = 3;
                config.llm.sliding_window = Some(9);
                config.llm.full_attention_layers = vec![1, 4];
            }),
        ),
        ("adapters", with(&|config| config.lora = lora(0.0, &["all-linear"]))),
        ("adapters of some maps with dropout", with(&|config| config.lora = lora(0.3, &["qkv_proj", "down_proj"]))),
    ]
}

fn draw(shape: &[i64], seed: i64) -> Tensor {
    tch::manual_seed(seed);
    Tensor::randn(shape, (Kind::Float, Device::Cpu))
}

/// What a part maps its input to.
fn features(model: &Med2e3, part: Part, input: &Tensor) -> Tensor {
    match part {
        Part::Llm => {
            let ids = Tensor::arange(2 * 40, (Kind::Int64, Device::Cpu)).remainder(40).view([2, 40]);
            let hidden = model.llm().forward(&(model.llm().embed(&ids) + input), &[40, 31], Some(5)).unwrap();
            model.llm().logits(&hidden)
        }
        Part::Vision2dModel => model.encoder2d().unwrap().forward(input, SliceNorm::None).unwrap(),
        Part::Vision3dModel => model.encoder3d().unwrap().forward(input).unwrap(),
        _ => unreachable!("no part of blocks"),
    }
}

fn input(part: Part, seed: i64) -> Tensor {
    match part {
        Part::Llm => draw(&[2, 40, 48], seed),
        Part::Vision2dModel => draw(&[2, 32, 32], seed),
        _ => draw(&[2, 1, 4, 32, 32], seed),
    }
}

/// The gradients of two passes in a row, of the trained weights and of the input.
fn gradients(model: &Med2e3, part: Part, trains_input: bool) -> Vec<(String, Tensor)> {
    let trainable = model.trainable();
    let inputs = [1, 2].map(|seed| input(part, seed).to_kind(model.kind()).set_requires_grad(trains_input));
    for input in &inputs {
        let features = features(model, part, input).to_kind(Kind::Float);
        backward(&(features.sin() * &features).mean(Kind::Float)).unwrap();
    }
    let mut grads: Vec<(String, Tensor)> = trainable
        .iter()
        .filter(|(_, weight)| weight.grad().defined())
        .map(|(name, weight)| (name.clone(), weight.grad().copy()))
        .collect();
    if trains_input {
        grads.extend(inputs.map(|input| ("input".to_owned(), input.grad())));
    }
    grads
}

fn assert_equal_gradients(name: &str, part: Part, fresh: impl Fn() -> Med2e3) {
    for (trained, trains_input) in [(&[part][..], true), (&[part], false), (&[], true)] {
        let mut expected = Vec::new();
        for (policy, blocks) in POLICIES {
            let mut model = fresh();
            model.set_trainable(trained);
            model.set_recompute(part, policy, blocks).unwrap();
            let found = gradients(&model, part, trains_input);
            if policy == Recompute::None {
                assert!(found.iter().any(|(_, grad)| grad.abs().max().double_value(&[]) > 1e-6), "{name}");
                assert!(found.len() > if trained.is_empty() { 1 } else { 2 * BLOCKS }, "{name}");
                expected = found;
                continue;
            }
            assert_eq!(found.len(), expected.len(), "{name} {policy:?}");
            for ((weight, found), (_, expected)) in found.iter().zip(&expected) {
                assert!(found.equal(expected), "{name} {policy:?} {blocks:?}: {weight}");
            }
        }
    }
}

#[test]
fn gradients_are_the_same_bit_for_bit_whatever_is_made_again() {
    for (name, config) in language_models() {
        for kind in [Kind::Float, Kind::BFloat16] {
            assert_equal_gradients(&format!("{name} {kind:?}"), Part::Llm, || {
                let mut model = Med2e3::new(&config, Device::Cpu, 1).unwrap();
                // Fresh adapters add zero.
                for (index, (name, adapter)) in model.adapters().into_iter().enumerate() {
                    if name.contains("lora_B") {
                        let values = draw(&adapter.size(), index as i64) * 0.1;
                        tch::no_grad(|| adapter.shallow_clone().copy_(&values));
                    }
                }
                model.to_kind(kind);
                model
            });
        }
    }
    for part in [Part::Vision2dModel, Part::Vision3dModel] {
        assert_equal_gradients(part.name(), part, || Med2e3::new(&twin(), Device::Cpu, 1).unwrap());
    }
}

/// With sums of gradients that an optimizer lends, in f32 beside weights in bf16.
#[test]
fn sums_in_f32_are_the_same_bit_for_bit_too() {
    let mut model = Med2e3::new(&twin(), Device::Cpu, 1).unwrap();
    model.to_kind(Kind::BFloat16);
    model.set_trainable(&[Part::Llm]);
    let weights: Vec<Tensor> = model.trainable().into_iter().map(|(_, weight)| weight).collect();
    let mut expected = Vec::new();
    for (policy, blocks) in POLICIES {
        model.set_recompute(Part::Llm, policy, blocks).unwrap();
        for weight in &weights {
            put_gradient(weight, &Tensor::zeros(weight.size(), (Kind::Float, Device::Cpu))).unwrap();
        }
        let found = gradients(&model, Part::Llm, false);
        assert!(found.iter().all(|(_, grad)| grad.kind() == Kind::Float));
        if policy == Recompute::None {
            // Not one of them is a sum of rounded products.
            let product = &found.iter().find(|(name, _)| name.contains("qkv_proj")).unwrap().1;
            assert!(!product.equal(&product.to_kind(Kind::BFloat16).to_kind(Kind::Float)));
            expected = found;
            continue;
        }
        assert!(found.iter().zip(&expected).all(|(found, expected)| found.1.equal(&expected.1)), "{policy:?}");
    }
}

/// Bytes that a forward pass leaves alive, its result included.
fn held(model: &Med2e3, part: Part, input: &Tensor) -> f64 {
    let counter = MemoryCounter::start().unwrap();
    let features = features(model, part, input);
    let held = counter.read().current as f64;
    drop(features);
    assert_eq!(counter.read().current, 0, "a graph holds itself");
    held
}

#[test]
fn recomputation_keeps_the_stated_share() {
    for (name, config) in language_models() {
        let mut model = Med2e3::new(&config, Device::Cpu, 1).unwrap();
        let parts =
            if name == "phi3" { &[Part::Llm, Part::Vision2dModel, Part::Vision3dModel][..] } else { &[Part::Llm] };
        for &part in parts {
            let input = input(part, 1);
            model.set_trainable(&[part]);
            let [none, selective, full] = [Recompute::None, Recompute::Selective, Recompute::Full].map(|policy| {
                model.set_recompute(part, policy, None).unwrap();
                held(&model, part, &input)
            });
            model.set_recompute(part, Recompute::Full, Some(BLOCKS / 2)).unwrap();
            let half = held(&model, part, &input);
            println!(
                "{name} {part}: {none} B, selective {:.3}, full {:.3}, half full {:.3}",
                selective / none,
                full / none,
                half / none
            );
            assert!(selective <= 0.7 * none && full <= 0.35 * none, "{name} {part}");
            assert!((half - (none + full) / 2.0).abs() < 0.05 * none, "{name} {part}");
        }
    }
}

#[test]
fn a_frozen_tower_keeps_nothing() {
    let mut model = Med2e3::new(&twin(), Device::Cpu, 1).unwrap();
    model.set_trainable(&[]);
    for part in [Part::Llm, Part::Vision2dModel, Part::Vision3dModel] {
        let input = input(part, 1);
        for policy in [Recompute::None, Recompute::Selective, Recompute::Full] {
            model.set_recompute(part, policy, None).unwrap();
            let counter = MemoryCounter::start().unwrap();
            let features = features(&model, part, &input);
            assert!(!features.requires_grad());
            // A part of a tensor holds all of it: the class token's row lies beside the patches.
            assert!(counter.read().current as usize <= 2 * features.numel() * 4, "{part}");
        }
    }
}

#[test]
fn parts_without_blocks_and_too_many_blocks_are_errors() {
    let mut model = Med2e3::new(&twin(), Device::Cpu, 1).unwrap();
    let mut error = |part, blocks| match model.set_recompute(part, Recompute::Full, blocks).unwrap_err() {
        ModelError::Config { field, expected, found } => format!("{field}: {expected}, {found}"),
        other => panic!("{other}"),
    };
    let found = error(Part::Vision2dConnector, None);
    assert_eq!(found, "recompute: a part with blocks (llm, vision2d_model, vision3d_model), vision2d_connector");
    assert_eq!(error(Part::Llm, Some(9)), "recompute.llm: at most the part's 8 blocks, 9");
    model.set_recompute(Part::Llm, Recompute::Full, Some(8)).unwrap();
}
