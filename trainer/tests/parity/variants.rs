//! Every named variant, every connector, training steps and answers of the whole model against plain torch and
//! transformers. Expected numbers: `golden/variants.py`.

use med2e3_trainer::device::DeviceChoice;
use med2e3_trainer::files::checkpoint::{Contents, Tokenizers, snapshot};
use med2e3_trainer::generate::{Decoding, Until, generate};
use med2e3_trainer::model::{
    ConnectorKind, Initializer, LanguageModelConfig, Med2e3, Med2e3Config, ModelInput, Part, Preset, TextFeature,
    Variant, VisualTokens,
};
use med2e3_trainer::precision::Precision;
use med2e3_trainer::train::optimizer::{AdamW, AdamWConfig, Rates, Trained};
use med2e3_trainer::verb::verify::{DEFAULT_TOLERANCE, Verification, verify};
use tch::{Device, Kind, Tensor};

use crate::golden_file::{Golden, assert_close, batch};

/// All but `Random`, whose scores are drawn.
const PRESETS: [(&str, Preset); 16] = [
    ("paper", Preset::Paper),
    ("released", Preset::Released),
    ("vision3d_only", Preset::Vision3dOnly),
    ("vision2d_only", Preset::Vision2dOnly),
    ("mean", Preset::Mean),
    ("max", Preset::Max),
    ("gauss", Preset::Gauss),
    ("top3", Preset::Top3),
    ("linear_both", Preset::LinearBoth),
    ("linear_3d", Preset::Linear3d),
    ("linear_2d", Preset::Linear2d),
    ("text_3d", Preset::Text3d),
    ("text_2d", Preset::Text2d),
    ("released_3d", Preset::Released3d),
    ("released_2d", Preset::Released2d),
    ("m3d_lamed", Preset::M3dLamed),
];

const SPATIAL: ConnectorKind = ConnectorKind::SPATIAL_POOLING_MLP2X;
const MLP: ConnectorKind = ConnectorKind::MLP2X;

/// Name, 3D connector, 2D connector.
const CONNECTORS: [(&str, ConnectorKind, ConnectorKind); 6] = [
    ("plane_pooling", SPATIAL, ConnectorKind::PlanePooling { pool: [2, 2], layers: 2 }),
    ("spatial_block", ConnectorKind::SpatialPooling { pool: [1, 2, 4], layers: 1 }, MLP),
    ("mlp_1", ConnectorKind::Mlp { layers: 1 }, ConnectorKind::Mlp { layers: 1 }),
    ("mlp_3", ConnectorKind::Mlp { layers: 3 }, ConnectorKind::Mlp { layers: 3 }),
    ("linear", ConnectorKind::Linear, ConnectorKind::Linear),
    ("identity", ConnectorKind::Identity, ConnectorKind::Identity),
];

/// A named variant without dropout, its rows cut as the golden batch is.
fn variant(golden: &Golden, preset: Preset) -> Variant {
    Variant { score_dropout: 0.0, max_length: golden.config("max_length"), ..preset.variant() }
}

/// The model of a variant with the golden weights, or where `case` has its own with those; every part trainable.
fn model(golden: &Golden, case: &str, variant: Variant) -> Med2e3 {
    let llm: LanguageModelConfig = golden.config(if case == "identity" { "narrow_llm" } else { "llm" });
    let config = Med2e3Config {
        llm,
        vision2d: golden.config("vision2d"),
        vision3d: golden.config("vision3d"),
        text_encoder: Some(golden.config("text")),
        variant,
        initializer: Initializer::Normal(0.02),
        lora: None,
    };
    let mut model = Med2e3::new(&config, Device::Cpu, 0).unwrap();
    for part in Part::ALL {
        let tensor = |name: &String| {
            let (own, usual) = (format!("{case}.weights/{part}/{name}"), format!("weights/{part}/{name}"));
            golden.get(if golden.has(&own) { &own } else { &usual })
        };
        let named = model.parameters(part).into_iter().map(|(name, _)| {
            let tensor = tensor(&name);
            (name, tensor)
        });
        let named: Vec<_> = named.collect();
        model.load_tensors(part, &named).unwrap();
    }
    model.set_trainable(&Part::ALL);
    model
}

/// The golden batch, questions as the variant reads them.
fn batch_of(golden: &Golden, variant: &Variant) -> ModelInput {
    batch(golden, question_of(variant))
}

fn question_of(variant: &Variant) -> &'static str {
    match variant.text_feature {
        TextFeature::LlmEmbedding => "question",
        TextFeature::M3dClip => "bert_question",
    }
}

/// One number a token, in which all of its width has a share.
fn digest(tokens_mse: &Tensor) -> Tensor {
    let width = tokens_mse.size()[2];
    tokens_mse.matmul(&Tensor::arange(width, (Kind::Float, Device::Cpu)).cos())
}

/// The norm over all gradients of a part; None where nothing has one.
fn grad_norm(model: &Med2e3, part: Part) -> Option<f64> {
    let grads = model.parameters(part).into_iter().map(|(_, param)| param.grad()).filter(Tensor::defined);
    let squares: Vec<f64> = grads.map(|grad| grad.to_kind(Kind::Double).norm().double_value(&[]).powi(2)).collect();
    (!squares.is_empty()).then(|| squares.iter().sum::<f64>().sqrt())
}

/// Scores, tokens, loss and gradients of one case against the golden ones.
fn compare(golden: &Golden, case: &str, model: &Med2e3) {
    let input = batch_of(golden, &model.config().variant);
    let expected = |what: &str| golden.get(&format!("{case}.{what}"));
    let visual = model.visual(&input).unwrap();
    assert_close(&format!("{case} visual"), &digest(&visual.tokens_mse), &expected("visual"), 1e-5);
    let output = model.forward(&input, Some(0)).unwrap();
    if expected("scores").size()[1] == 0 {
        assert_eq!(output.scores_mn.size(), expected("scores").size());
    } else {
        assert_close(&format!("{case} scores"), &output.scores_mn, &expected("scores"), 1e-5);
    }
    assert_close(&format!("{case} loss"), &output.loss, &expected("loss"), 1e-5);
    assert_eq!(output.target_count, expected("targets").int64_value(&[]), "{case}");

    output.loss.backward();
    for part in Part::ALL {
        let name = format!("{case}.norm.{part}");
        let norm = golden.has(&name).then(|| golden.get(&name).double_value(&[]));
        let found = grad_norm(model, part);
        println!("{name}: {found:?}, {norm:?} expected");
        let is_close = match (found, norm) {
            (Some(found), Some(norm)) => (found - norm).abs() <= 1e-4 * norm,
            (found, norm) => found.is_none() && norm.is_none(),
        };
        assert!(is_close, "{name}: {found:?}, {norm:?} expected");
    }
}

#[test]
fn every_preset_equals_torch_in_scores_tokens_loss_and_gradients() {
    let golden = Golden::open("variants");
    for (name, preset) in PRESETS {
        assert_eq!(serde_json::to_value(preset).unwrap(), name);
        compare(&golden, name, &model(&golden, name, variant(&golden, preset)));
    }
}

#[test]
fn every_connector_equals_torch() {
    let golden = Golden::open("variants");
    for (name, connector3d, connector2d) in CONNECTORS {
        let paper = variant(&golden, Preset::Paper);
        let variant = Variant { connector3d, connector2d, max_length: golden.config("long"), ..paper };
        compare(&golden, name, &model(&golden, name, variant));
    }
}

/// Weights and voxels are exact in bf16, so what differs is the rounding of what is computed.
#[test]
fn every_preset_in_bf16_is_close_to_f32() {
    let golden = Golden::open("variants");
    for (name, preset) in PRESETS {
        let mut model = model(&golden, name, variant(&golden, preset));
        model.to_kind(Kind::BFloat16);
        let output = model.forward(&batch_of(&golden, &model.config().variant), None).unwrap();
        assert_close(&format!("{name} bf16 loss"), &output.loss, &golden.get(&format!("{name}.loss")), 2e-2);
        if output.scores_mn.size()[1] > 0 {
            assert_close(
                &format!("{name} bf16 scores"),
                &output.scores_mn,
                &golden.get(&format!("{name}.scores")),
                2e-2,
            );
        }
    }
}

#[test]
fn random_scores_sum_to_one_and_weigh_the_slices() {
    let golden = Golden::open("variants");
    let model = model(&golden, "random", variant(&golden, Preset::Random));
    let mut input = batch_of(&golden, &model.config().variant);
    let visual = model.visual(&input).unwrap();
    let scores_mn = visual.scores_mn;
    assert_eq!((scores_mn.size(), visual.tokens_mse.size()), (vec![5, 8], vec![5, 12, 32]));
    assert!(scores_mn.min().double_value(&[]) > 0.0);
    let sums_b = scores_mn.sum_dim_intlist([1i64].as_slice(), false, Kind::Float);
    assert_close("sums", &sums_b, &sums_b.ones_like(), 1e-6);
    assert!(scores_mn.get(0) != scores_mn.get(1));
    assert!(scores_mn == model.visual(&input).unwrap().scores_mn);
    input.texts.iter_mut().for_each(|text| text.key = 9);
    assert!(scores_mn != model.visual(&input).unwrap().scores_mn);
}

/// The default tolerance tells every variant from every other one.
#[test]
fn each_preset_fails_against_every_others_reference() {
    let golden = Golden::open("variants");
    let folder = tempfile::tempdir().unwrap();
    let presets: Vec<(&str, Preset)> = PRESETS.into_iter().chain([("random", Preset::Random)]).collect();
    for (name, preset) in &presets {
        let model = model(&golden, name, variant(&golden, *preset));
        let contents = Contents { model: &model, tokenizers: Tokenizers::default(), inputs: None, training: None };
        snapshot(&contents).unwrap().write(&folder.path().join(name)).unwrap();
        // What it computes is what torch does: the tests above.
        let input = batch_of(&golden, &model.config().variant);
        let (visual, lengths) = (model.visual(&input).unwrap(), golden.get("lengths"));
        let ids_bt = golden.get("ids");
        let positions = Tensor::arange(ids_bt.size()[1], (Kind::Int64, Device::Cpu)).unsqueeze(0);
        let question = question_of(&model.config().variant);
        let tensors = [
            ("input.volume", input.voxels_vcdhw.shallow_clone()),
            ("input.ids", ids_bt),
            ("input.mask", positions.lt_tensor(&lengths.unsqueeze(1)).to_kind(Kind::Int64)),
            ("input.labels", golden.get("labels")),
            ("input.question_ids", golden.get(&format!("{question}_ids"))),
            ("input.question_mask", golden.get(&format!("{question}_mask")).to_kind(Kind::Int64)),
            ("expect.visual", visual.tokens_mse),
            ("expect.loss", model.forward(&input, None).unwrap().loss),
        ];
        Tensor::write_safetensors(&tensors, folder.path().join(format!("{name}.safetensors"))).unwrap();
    }
    for (name, _) in &presets {
        for (other, _) in &presets {
            let report = verify(&Verification {
                checkpoint: &folder.path().join(name),
                reference: &folder.path().join(format!("{other}.safetensors")),
                variant: None,
                precision: Precision::F32,
                tolerance: DEFAULT_TOLERANCE,
                device: DeviceChoice::Cpu,
            });
            // Other sizes, or ids of another tokenizer, are an error.
            let passes = report.is_ok_and(|report| report.passes());
            assert_eq!(passes, name == other, "{name} against the reference of {other}");
        }
    }
}

/// Everything is trained; what has one axis does not decay; the gradients' norm is clipped to 1.
#[test]
fn training_steps_equal_torch() {
    let golden = Golden::open("variants");
    let model = model(&golden, "train", variant(&golden, Preset::Paper));
    let input = batch_of(&golden, &model.config().variant);
    let rates = Rates { weight_decay: 0.1, ..Rates::default() };
    let trained = Trained::all(model.trainable(), Kind::Float, rates);
    let mut optimizer = AdamW::new(trained, AdamWConfig { clip: Some(1.0), ..AdamWConfig::default() }).unwrap();
    for step in 0..4 {
        optimizer.zero_grad().unwrap();
        let loss = model.forward(&input, Some(0)).unwrap().loss;
        assert_close(&format!("loss {step}"), &loss, &golden.get(&format!("train.loss.{step}")), 1e-5);
        loss.backward();
        let norm = optimizer.step(1e-3).unwrap().norm;
        assert_close(&format!("norm {step}"), &norm, &golden.get(&format!("train.norm.{step}")), 1e-4);
    }
}

#[test]
fn greedy_answers_to_volumes_equal_transformers() {
    let golden = Golden::open("variants");
    let model = model(&golden, "greedy", variant(&golden, Preset::Paper));
    let input = batch_of(&golden, &model.config().variant);
    let until = Until { max_new_tokens: 64, stop_ids: Vec::new() };
    let found = generate(&model, &input, Decoding::Greedy, &until).unwrap().ids;
    let expected = |row| Vec::<i64>::try_from(golden.get(&format!("greedy.{row}"))).unwrap();
    assert_eq!(found, (0..5).map(expected).collect::<Vec<_>>());
}

/// A variant's parts are those that a result depends on, so that nothing is loaded or trained in vain.
#[test]
fn parts_that_no_result_depends_on_are_not_built() {
    let golden = Golden::open("variants");
    for (name, preset) in PRESETS {
        let variant = variant(&golden, preset);
        let tokens = variant.visual_tokens;
        let model = model(&golden, name, variant);
        let is_built = |part| !model.parameters(part).is_empty();
        assert_eq!(is_built(Part::Vision2dModel), tokens != VisualTokens::Vision3d, "{name}");
        assert_eq!(is_built(Part::Vision3dModel), tokens != VisualTokens::Vision2d, "{name}");
    }
}
