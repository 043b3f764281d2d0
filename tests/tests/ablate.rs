//! `med2e3 ablate` from the outside: the rows of the paper's Tables 3 to 5 in miniature, whole, in parts, killed and begun again.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use med2e3_tests::program::{program, root, run, run_to};
use med2e3_tests::tiny::{dataset, train};
use serde_json::Value;

const ROWS: [&str; 11] = [
    "paper",
    "vision3d_only",
    "vision2d_only",
    "random",
    "max",
    "mean",
    "linear_3d",
    "linear_2d",
    "linear_both",
    "text_3d",
    "text_2d",
];

/// What is written of the rows that are done.
const TABLES: [&str; 8] =
    ["ablate.json", "ablate.md", "table3.md", "table3.tex", "table4.md", "table4.tex", "table5.md", "table5.tex"];

/// `configs/ablate/tiny.toml` on the dataset of a folder.
fn ablate(folder: &Path, out: &str, more: &[&str]) -> Command {
    let data = format!("{:?}", folder.join("dataset").display().to_string());
    let mut command = program("med2e3");
    command.args(["ablate", "configs/ablate/tiny.toml", "--out"]).arg(folder.join(out));
    for key in ["pretrain.data.dataset", "finetune.data.dataset", "evaluate.dataset"] {
        command.arg("--set").arg(format!("{key}={data}"));
    }
    command.args(more);
    command
}

fn read(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Everything that is written of the rows, as bytes.
fn tables(out: &Path) -> Vec<Vec<u8>> {
    TABLES.iter().map(|name| fs::read(out.join(name)).unwrap()).collect()
}

/// Waits until a file or folder is there.
fn wait_for(path: &Path) {
    let start = Instant::now();
    while !path.exists() {
        assert!(start.elapsed() < Duration::from_secs(120), "{} does not come", path.display());
        thread::sleep(Duration::from_millis(5));
    }
}

/// The newest checkpoint of a run.
fn checkpoint(run: &Path) -> PathBuf {
    run.join(fs::read_to_string(run.join("latest")).unwrap().trim())
}

#[test]
fn eleven_rows_with_two_seeds_become_three_tables() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    let said = run_to(0, &mut ablate(folder, "dry", &["--dry-run"]));
    assert!(!folder.join("dry").exists() && said.out.contains("hours of training"), "{}", said.out);
    assert_eq!(said.out.lines().filter(|line| line.contains("finetune")).count(), ROWS.len());

    // What would fail is named.
    let said = run_to(1, &mut ablate(folder, "dry", &["--dry-run", "--set", "finetune.data.dataset=nowhere"]));
    assert!(said.out.contains("vision3d_only/finetune: failed: nowhere"), "{}", said.out);
    // A row whose variant lacks what is to learn; of the runs of its part none is done.
    let more = ["--set", "finetune.model.train=[\"vision2d_model\"]", "--set", "seeds=[1]", "--part", "2/11"];
    let said = run_to(2, &mut ablate(folder, "refused", &more));
    assert!(said.out.contains("vision3d_only/seed-1: failed: model.train: expected some of llm"), "{}", said.out);
    assert!(said.err.contains("none of the runs is done"), "{}", said.err);

    let out = folder.join("out");
    let said = run_to(0, &mut ablate(folder, "out", &[]));
    assert!(said.out.contains("22 of 22 runs are in the tables, base paper"), "{}", said.out);
    every_row_differs_by_its_preset_alone(&out);
    the_report_is_whole(&out);
    let first = tables(&out);
    let page = fs::read_to_string(out.join("ablate.md")).unwrap();
    for part in [
        "22 of 22 runs are done.",
        "| 3D + 2D (paper) | 49.67 | 52.12 | 48.92 | 90.25 | 39.83 |",
        "the order of its first five rows is inferred",
        "Each row has its own stage 1.",
        "| paper is first |",
        "| paper: closed\\_vqa correct |",
        "## Appendix: means of the topics' means",
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }

    // What is done stays, and another start says the same.
    let report = fs::read(out.join("mean/seed-2/report.json")).unwrap();
    run_to(0, &mut ablate(folder, "out", &["--set", "threads=2"]));
    assert!(tables(&out) == first && fs::read(out.join("mean/seed-2/report.json")).unwrap() == report);
    what_changes_the_rows_is_refused(folder);
    assert!(tables(&out) == first);

    // A row that fails is told, and the others stay; here its folder can't be made.
    fs::rename(out.join("max/seed-2"), folder.join("aside")).unwrap();
    fs::write(out.join("max/seed-2"), "").unwrap();
    let said = run_to(1, &mut ablate(folder, "out", &[]));
    assert!(
        said.err.contains("max/seed-2 failed, the others go on: ") && said.out.contains("21 of 22"),
        "{}",
        said.err
    );
    let page = fs::read_to_string(out.join("table4.md")).unwrap();
    assert!(page.contains("- max: 1 of 2 seeds so far."), "{page}");
    fs::remove_file(out.join("max/seed-2")).unwrap();
    fs::rename(folder.join("aside"), out.join("max/seed-2")).unwrap();
    run_to(0, &mut ablate(folder, "out", &[]));
    assert!(tables(&out) == first);

    // The first seed alone, for what two processes make of it, one of which is killed.
    let one = ["--set", "seeds=[1]"];
    run_to(0, &mut ablate(folder, "out", &one));
    two_parts_and_a_kill_end_with_the_same(folder, &one, &tables(&out));
}

fn every_row_differs_by_its_preset_alone(out: &Path) {
    let mut variants = BTreeSet::new();
    for row in ROWS {
        for seed in ["1", "2"] {
            let run = out.join(format!("{row}/seed-{seed}"));
            let report = read(&run.join("report.json"));
            assert_eq!((&report["row"], &report["seed"]), (&row.into(), &seed.parse::<u64>().unwrap().into()));
            assert_eq!((&report["pretrain_steps"], &report["finetune_steps"]), (&3.into(), &6.into()));
            let (config, variant) = without_variant(&run.join("pretrain/train.toml"));
            assert!(config.contains(&format!("\nseed = {seed}\n")), "{config}");
            let expected = without_variant(&out.join(format!("paper/seed-{seed}/pretrain/train.toml"))).0;
            assert_eq!(config, expected);
            variants.insert(variant);
        }
    }
    assert_eq!(variants.len(), ROWS.len());
    // The same samples in the same order.
    let lengths = |row: &str| {
        let report = read(&out.join(format!("{row}/seed-1/finetune/report.json")));
        let steps = report["steps"].as_array().unwrap().clone();
        steps
            .iter()
            .map(|step| (step["step"].clone(), step["texts"].clone(), step["targets"].clone()))
            .collect::<Vec<_>>()
    };
    assert!(ROWS.iter().all(|row| lengths(row) == lengths("paper")));
}

/// A stage's configuration without its name and its variant, and the variant.
fn without_variant(path: &Path) -> (String, String) {
    const START: &str = "[model.start.fresh.variant]\n";
    let text = fs::read_to_string(path).unwrap();
    let (before, after) = text.split_once(START).unwrap();
    let end = after.find("\n[step").unwrap();
    let (_, rest) = before.split_once('\n').unwrap();
    (format!("\n{rest}{}", &after[end..]), after[..end].to_owned())
}

fn the_report_is_whole(out: &Path) {
    let report = read(&out.join("ablate.json"));
    assert_eq!((&report["base"], report["rows"].as_array().unwrap().len()), (&"paper".into(), 11));
    for row in report["rows"].as_array().unwrap() {
        for (run, seed) in row["runs"].as_array().unwrap().iter().zip([1, 2]) {
            assert_eq!(run["seed"], seed);
            let controls: BTreeSet<&str> =
                run["controls"].as_array().unwrap().iter().map(|score| score["control"].as_str().unwrap()).collect();
            assert!(controls.contains("majority") && controls.contains("question_only"), "{controls:?}");
            let has_scores = !["vision3d_only", "max", "mean"].contains(&row["row"].as_str().unwrap());
            assert_eq!(controls.contains("scores_uniform"), has_scores, "{row}");
        }
    }
    for (table, rows) in report["tables"].as_array().unwrap().iter().zip([3, 4, 6]) {
        // Two metrics of captions and of open questions, one of closed ones.
        assert_eq!(table["scores"].as_array().unwrap().len(), 5 * rows);
        let comparisons = table["comparisons"].as_array().unwrap();
        assert_eq!(comparisons.len(), 5 * (rows - 1));
        // Holm's adjustment is over the comparisons of the table alone.
        for found in comparisons {
            let (p, adjusted) = (found["p"].as_f64().unwrap(), found["p_holm"].as_f64().unwrap());
            assert!(p <= adjusted && adjusted <= (p * comparisons.len() as f64).min(1.0) + 1e-12, "{found}");
        }
        let shares = table["first"].as_array().unwrap();
        let sum: f64 = shares.iter().map(|first| first["share"].as_f64().unwrap()).sum();
        assert!((sum - 5.0).abs() < 1e-9, "{sum}");
    }
}

fn what_changes_the_rows_is_refused(folder: &Path) {
    let refused = |set: &str, words: &str| {
        let said = run_to(2, &mut ablate(folder, "out", &["--set", set])).err;
        assert!(said.contains(words), "{words}: {said}");
    };
    refused("finetune.optimizer.learning_rate=0.5", "finetune.optimizer.learning_rate is 0.01 there, 0.5 here");
    refused("pretrain.data.max_steps=9", "pretrain.data.max_steps is 3 there, 9 here");
    refused("share_pretrain=true", "share_pretrain is false there, true here");
    refused("pretrain.seed=3", "ablate sets it for each row; `seeds`");
    refused("evaluate.checkpoint=\"run\"", "ablate sets it for each row");
    refused("finetune.model.start={checkpoint=\"run\"}", "`threads` and `start` are stated once, at the top");
    refused("finetune.step.bach=1", "did you mean `batch`?");
    refused("seeds=[1,1]", "seeds: expected one or more, each once, found 1, 1");
    refused("pretrain.step.batch=0", "pretrain.step.batch: expected 1 or more");
    refused(
        "start.fresh.variant.scorer=\"linear\"",
        "start.fresh.variant.scorer: expected \"text_guided\", as the base row",
    );
    refused("base=\"released\"", "as the base row released has it");
    let said = run_to(2, &mut ablate(folder, "dataset", &[])).err;
    assert!(said.contains("holds something else than an ablation"), "{said}");

    let report = folder.join("out/mean/seed-1/report.json");
    let text = fs::read_to_string(&report).unwrap();
    let mut other: Value = serde_json::from_str(&text).unwrap();
    other["configuration"] = "00".into();
    fs::write(&report, other.to_string()).unwrap();
    let said = run_to(2, &mut ablate(folder, "out", &[])).err;
    assert!(said.contains("mean/seed-1/report.json: expected a run of the configuration with the hash"), "{said}");
    fs::write(&report, text).unwrap();
}

fn two_parts_and_a_kill_end_with_the_same(folder: &Path, more: &[&str], whole: &[Vec<u8>]) {
    let out = folder.join("parts");
    let part = |part: &str| {
        let mut command = ablate(folder, "parts", more);
        command.args(["--part", part]).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let mut first = part("1/2").spawn().unwrap();
    let mut second = part("2/2").spawn().unwrap();
    // The third row of the first part: stage 2 has begun, and two rows are done.
    wait_for(&out.join("max/seed-1/finetune/train.toml"));
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(out.join("paper/seed-1/report.json").exists());
    // A row that another process is at is left to it.
    let said = run(&mut part("1/2"));
    assert_eq!(said.code, 0);
    assert!(second.wait().unwrap().success());
    for (name, (found, expected)) in TABLES.iter().zip(tables(&out).iter().zip(whole)) {
        assert!(found == expected, "{name}\n{}\n{}", String::from_utf8_lossy(found), String::from_utf8_lossy(expected));
    }
}

#[test]
fn rows_take_a_checkpoints_towers_and_may_share_stage_1() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    run_to(0, &mut train(folder, "start", &[]));
    let start = format!("start={{checkpoint={:?}}}", folder.join("start").display().to_string());
    let more = [
        "--set",
        start.as_str(),
        "--set",
        "seeds=[1]",
        "--set",
        "share_pretrain=true",
        // A first step at a rate of 0 leaves what a stage begins with.
        "--set",
        "pretrain.optimizer.warmup_ratio=1",
        "--set",
        "pretrain.data.max_steps=1",
        "--set",
        "finetune.optimizer.warmup_ratio=1",
        "--set",
        "finetune.data.max_steps=1",
        // linear_3d, whose scorer has a layer that the base row lacks.
        "--part",
        "7/11",
    ];
    run_to(0, &mut ablate(folder, "out", &more));
    let out = folder.join("out");
    let (base, row) = (out.join("paper/seed-1"), out.join("linear_3d/seed-1"));
    let bytes = |run: PathBuf, part: &str| fs::read(checkpoint(&run).join(part).join("model.safetensors")).unwrap();
    for part in ["llm", "vision2d_model", "vision3d_model"] {
        let given = bytes(folder.join("start"), part);
        assert!(bytes(base.join("pretrain"), part) == given && bytes(row.join("finetune"), part) == given, "{part}");
    }
    let connector = "vision2d_connector";
    assert!(bytes(base.join("pretrain"), connector) != bytes(folder.join("start"), connector));
    assert!(bytes(base.join("pretrain"), connector) == bytes(row.join("finetune"), connector));
    let scored = "vision3d_connector";
    assert!(bytes(base.join("pretrain"), scored).len() < bytes(row.join("finetune"), scored).len());
    // No stage 1 of its own, and weights to begin with only as long as they are needed.
    assert!(!row.join("pretrain").exists() && !row.join("start").exists() && !base.join("start").exists());
    assert_eq!(read(&row.join("report.json"))["pretrain_steps"], 0);
    let page = fs::read_to_string(out.join("table5.md")).unwrap();
    assert!(page.contains("begin stage 2 with the stage 1 of paper (share\\_pretrain)"), "{page}");
    assert!(page.contains("- paper: not run.") && page.contains("| paper | - | - |"), "{page}");
}

#[test]
fn the_released_base_reads_questions_by_a_text_encoder() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let tokenizer = root().join("trainer/tests/golden/m3d_clip_tiny/tokenizer.json");
    dataset(folder, &[&format!("text.question_tokenizer={:?}", tokenizer.display().to_string())]);
    let encoder = "start.fresh.text_encoder={vocab_size=61,hidden_size=24,num_hidden_layers=1,num_attention_heads=3,\
                   intermediate_size=40,max_position_embeddings=64,type_vocab_size=2,layer_norm_eps=1e-12}";
    let sets = [
        "base=released",
        "seeds=[1]",
        "start.fresh.variant=released",
        encoder,
        // Of rows that have one; the others have none to drop.
        "pretrain.step.text_encoder_dropout=0.1",
        "finetune.step.text_encoder_dropout=0.1",
    ];
    let mut command = ablate(folder, "out", &["--part", "1/3"]);
    sets.iter().for_each(|set| {
        command.args(["--set", set]);
    });
    let said = run_to(0, &mut command);
    assert!(said.out.contains("4 of 11 runs are in the tables, base released"), "{}", said.out);
    let page = fs::read_to_string(folder.join("out/table5.md")).unwrap();
    for row in ["| linear\\_3d | ", "| released\\_3d | ", "| released\\_2d | - |", "| released is first |"] {
        assert!(page.contains(row), "{row}\n{page}");
    }
    let dropout = |row: &str| {
        let text = fs::read_to_string(folder.join(format!("out/{row}/seed-1/finetune/train.toml"))).unwrap();
        text.contains("text_encoder_dropout = 0.1")
    };
    assert_eq!(["released", "released_3d", "random", "linear_3d"].map(dropout), [true, true, false, false]);
}
