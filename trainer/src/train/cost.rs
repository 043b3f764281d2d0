//! What a plan says of a run, against what the run takes: memory while it trains, its checkpoint, its disk.

use std::path::Path;

use med2e3_schemas::config::parse;

use super::run::Run;
use super::wild::{BASE, write_sized};
use super::{Existing, Observed, train};
use crate::config::TrainConfig;
use crate::libtorch::backward;
use crate::plan::checkpoint::NAMES;
use crate::plan::estimate::Estimate;
use crate::verb::plan::{PlanFor, plan};
use crate::verb::runs::bytes_below;

/// Sizes at which what is planned outweighs a list of ids: a million weights, texts of some hundred tokens.
const SIZES: [&str; 12] = [
    "model.start.fresh.llm.hidden_size=128",
    "model.start.fresh.llm.intermediate_size=256",
    "model.start.fresh.llm.num_hidden_layers=4",
    "model.start.fresh.llm.num_attention_heads=4",
    "model.start.fresh.llm.num_key_value_heads=4",
    "model.start.fresh.llm.head_dim=32",
    "model.start.fresh.llm.max_position_embeddings=512",
    "model.start.fresh.llm.sliding_window=512",
    "model.start.fresh.vision2d={hidden_size=64,intermediate_size=128,num_hidden_layers=4,num_attention_heads=4,image_size=32,patch_size=8,num_channels=3,layer_norm_eps=1e-6}",
    "model.start.fresh.vision3d={img_size=[8,32,32],patch_size=[2,8,8],hidden_size=64,mlp_dim=128,num_layers=2,num_heads=4,in_channels=1}",
    "model.start.fresh.variant.max_length=512",
    "step.batch=6",
];

/// What the recipes train: of Med-2E3 in two stages, by adapters, and of M3D in two stages.
const TWINS: [(&str, &[&str]); 5] = [
    ("connectors", &["model.train=[\"vision2d_connector\",\"vision3d_connector\"]"]),
    (
        "all but the 3D encoder",
        &["model.train=[\"llm\",\"vision2d_model\",\"vision2d_connector\",\"vision3d_connector\"]"],
    ),
    (
        "adapters",
        &[
            "model.train={llm={blocks=\"lora\"},vision2d_connector=\"full\",vision3d_connector=\"full\"}",
            "model.lora={rank=16,alpha=32.0,dropout=0.05,targets=[\"all-linear\"]}",
        ],
    ),
    (
        "embeddings",
        &[
            "model.train={llm={embeddings=\"full\"},vision3d_connector=\"full\"}",
            "model.start.fresh.variant=\"m3d_lamed\"",
        ],
    ),
    (
        "adapters and tables",
        &[
            "model.train={llm={blocks=\"lora\",embeddings=\"full\",head=\"full\"},vision3d_model=\"full\",vision3d_connector=\"full\"}",
            "model.lora={rank=16,alpha=32.0,dropout=0.05,targets=[\"all-linear\"]}",
            "model.start.fresh.variant=\"m3d_lamed\"",
        ],
    ),
];

fn config(dataset: &Path, more: &[&str]) -> TrainConfig {
    let has_lora = more.iter().any(|set| set.starts_with("model.lora"));
    let lora = BASE.lines().find(|line| line.starts_with("lora = ")).unwrap();
    let text = BASE.replace("DATASET", dataset.to_str().unwrap());
    let text = if has_lora { text } else { text.replace(lora, "") };
    // A variant by name has none of the table's keys.
    let is_preset = more.iter().any(|set| set.starts_with("model.start.fresh.variant="));
    let sizes = SIZES.iter().filter(|set| !(is_preset && set.contains("variant.max_length")));
    let set: Vec<String> = sizes.chain(more).map(ToString::to_string).collect();
    parse("run.toml", &text, &set).unwrap()
}

/// The most that tensors hold while an open run trains, its states included.
fn measured(config: &TrainConfig, out: &Path) -> f64 {
    let mut run = Run::open(config, out, Existing::Refuse, &Observed::default()).unwrap();
    run.memory.take().unwrap();
    let mut feed = run.feed().unwrap();
    for step in 0..2 {
        loop {
            let batch = feed.next_batch().unwrap().unwrap();
            backward(&run.forward(&batch, step).unwrap().output.loss).unwrap();
            let is_whole = batch.share.ends_step();
            drop(batch);
            if is_whole {
                break;
            }
        }
        run.optimizer.step(1e-3).unwrap();
        run.optimizer.zero_grad().unwrap();
    }
    run.memory.take().unwrap().unwrap() as f64
}

fn planned(config: &TrainConfig) -> Estimate {
    plan(config, PlanFor::default()).unwrap()
}

#[test]
fn the_peak_of_every_twin_is_the_planned_one() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = folder.path().join("dataset");
    write_sized(&dataset, [8, 32, 32], 150);
    let mut failed = Vec::new();
    for (name, twin) in TWINS {
        for precision in ["f32", "bf16"] {
            for (cut, recompute) in [
                ("\"whole\"", "none"),
                ("\"whole\"", "selective"),
                ("\"whole\"", "full"),
                ("{tokens=900,volumes=2}", "none"),
                ("\"auto\"", "auto"),
            ] {
                let place = format!("{name} {precision} {recompute} {}", cut.replace(['"', '{', '}'], ""));
                let more = [
                    format!("compute.precision={precision}"),
                    format!("step.micro_batch={cut}"),
                    format!("step.recompute={recompute}"),
                    "data.max_steps=2".into(),
                    "data.epochs=2".into(),
                ];
                let more: Vec<&str> = twin.iter().copied().chain(more.iter().map(String::as_str)).collect();
                let config = config(&dataset, &more);
                let (planned, measured) = (planned(&config).peak, measured(&config, &folder.path().join(&place)));
                // Of a frozen language model in bf16 somewhat more is planned than these few numbers take.
                if !(0.89..=1.1).contains(&(measured / planned)) {
                    failed.push(format!("{place}: {measured:.0} instead of {planned:.0}, {:.3}", measured / planned));
                }
            }
        }
    }
    assert!(failed.is_empty(), "\n{}", failed.join("\n"));
}

#[test]
fn a_checkpoint_takes_what_was_planned() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = folder.path().join("dataset");
    write_sized(&dataset, [8, 32, 32], 4);
    for (name, twin) in TWINS {
        for precision in ["compute.precision=f32", "compute.precision=bf16"] {
            let more: Vec<&str> = twin.iter().copied().chain([precision]).collect();
            let config = config(&dataset, &more);
            let out = folder.path().join(format!("{name} {precision}"));
            let planned = planned(&config).checkpoint.one();
            train(&config, &out, Existing::Refuse, &Observed::default()).unwrap();
            let found = bytes_below(&out.join("step-1")) as f64;
            // Room for names is planned, and they are short here.
            assert!(found <= planned && found >= planned - NAMES, "{name} {precision}: {found} instead of {planned}");
        }
    }
}

#[test]
fn steps_and_checkpoints_are_counted_and_said_in_ten_lines() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = folder.path().join("dataset");
    write_sized(&dataset, [8, 32, 32], 4);
    let of = |more: &[&str]| planned(&config(&dataset, &[TWINS[1].1, more].concat()));
    let once = of(&["data.epochs=5", "data.max_steps=100"]);
    // Six samples of the training split, two a step.
    let estimate = of(&["step.batch=2", "data.epochs=5", "data.max_steps=100"]);
    assert_eq!((once.steps, once.batch, estimate.steps, estimate.batch), (5, 6, 15, 2));
    assert_eq!((estimate.work.texts, estimate.work.laid_out_steps), (6, 15));
    assert!((estimate.run_flops / once.run_flops - 1.0).abs() < 0.5, "{} {}", estimate.run_flops, once.run_flops);
    // Three are kept beside the one that is written, unless there are fewer steps.
    assert_eq!(estimate.checkpoint.at_once, 4);
    assert_eq!(of(&["checkpoint.keep=1", "step.batch=2", "data.epochs=5", "data.max_steps=100"]).checkpoint.at_once, 2);
    assert_eq!(of(&["data.max_steps=1"]).checkpoint.at_once, 1);
    let lines = estimate.lines();
    assert!(lines.len() <= 10 && lines.iter().all(|line| !line.contains('\n')), "{lines:?}");
    for words in
        ["llm.blocks full", "vision3d_model frozen", "15 of 2 texts", "padding", "at 40 and 50 %", "4 at a time"]
    {
        assert!(lines.iter().any(|line| line.contains(words)), "{words}: {lines:?}");
    }
    for words in ["tokens of a text", "an epoch              6 texts", "at 40 % of the peak", "snapshot"] {
        assert!(estimate.table().contains(words), "{words}: {}", estimate.table());
    }

    // A GPU's memory that nothing fits is refused with what would.
    let small = config(&dataset, TWINS[1].1);
    let refused = |bytes: u64| plan(&small, PlanFor { gpu_memory: Some(bytes), ..PlanFor::default() });
    let error = refused(12 << 20).unwrap_err().to_string();
    assert!(error.starts_with("model.train: expected what takes at most"), "{error}");
    assert!(error.contains("what would fit: llm by adapters"), "{error}");
    assert_eq!(refused(1 << 34).unwrap().memory, f64::from(1 << 30) * 16.0);
}
