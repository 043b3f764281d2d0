//! Every command line that a document, a help text or a configuration shows is run. Data and weights stand where the documents say
//! that they are, small ones; long runs are made short.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use med2e3_tests::clinic;
use med2e3_tests::commands::{CommandLine, Desk, of_document, of_text, python_of_document};
use med2e3_tests::phantom;
use med2e3_tests::program::{program, root, run, run_to};
use med2e3_tests::python::python;
use med2e3_tests::source::sources;

/// Lines that no test runs, each with its reason. One that stands nowhere is an error.
const NOT_RUN: [(&str, &str); 16] = [
    ("cargo xtask demo", "installs libtorch and trains for minutes; it is run before each release"),
    ("cargo xtask test", "runs the tests, this one included"),
    ("cargo xtask setup", "installs libtorch"),
    ("cargo xtask reference", "writes docs/configuration.md, which another test compares"),
    ("cargo build", "what builds this test has built them"),
    ("cargo install", "installs programs"),
    ("cargo deny", "asks for advisories on the network"),
    ("cargo +nightly fuzz", "needs a nightly compiler, and never ends"),
    ("rustup ", "installs a compiler"),
    (".ci/run", "runs the tests, this one included"),
    ("export ", "sets a variable of the shell"),
    ("pip install", "installs the package of Python, which the tests of Python have"),
    ("chromium ", "needs a browser"),
    ("med2e3 serve", "serves until it is told to stop, and has a test of its own"),
    ("nvidia-smi", "needs a GPU"),
    ("scripts/gpu-check.sh", "takes minutes, and has a test of its own, which runs it without a GPU"),
];

/// What is added to a line so that it is done in a second on what the test made, by what the line begins with.
const MADE_SMALL: [(&str, &str); 15] = [
    ("med2e3-data prepare", "--set volume.shape=[8,64,64]"),
    ("med2e3-data sample configs/demo/", "--set 'counts=[{task=\"caption\",count=2},{task=\"open_vqa\",count=2}]'"),
    ("med2e3-data sample configs/sample/ablation", "--set 'counts=[{task=\"caption\",count=2}]'"),
    ("med2e3 train configs/demo/pretrain", TINY),
    (
        "med2e3 train ",
        "--set data.max_steps=1 --set step.batch=2 --set step.loss_group=all --set device=cpu --set threads=1",
    ),
    (
        "med2e3 train-clip",
        "--set data.max_steps=1 --set step.batch=2 --set device=cpu --set threads=1 --set data.dataset=small \
         --set data.text_tokenizer=/weights/m3d-clip-small --set model.text_encoder=/weights/m3d-clip-small \
         --set data.max_text_tokens=16 \
         --set 'model.start.fresh.sizes.vision={img_size=[4,16,16],patch_size=[2,4,8],hidden_size=24,mlp_dim=40,num_layers=2,num_heads=3,in_channels=1}' \
         --set 'model.start.fresh.sizes.text={vocab_size=61,hidden_size=24,num_hidden_layers=2,num_attention_heads=3,intermediate_size=40,max_position_embeddings=16,type_vocab_size=2,layer_norm_eps=1e-12}'",
    ),
    // The base row alone.
    ("med2e3 ablate ", "--part 1/11 --set seeds=[1] --set device=cpu --set threads=1 --set evaluate.max_new_tokens=2"),
    (
        "med2e3 ablate configs/ablate/tiny",
        "--set pretrain.data.dataset=small --set finetune.data.dataset=small --set evaluate.dataset=small",
    ),
    ("med2e3 ablate configs/ablate/demo", TINY_ROWS),
    (
        "med2e3 ablate configs/ablate/paper",
        "--set pretrain.data.max_steps=1 --set pretrain.step.batch=2 --set pretrain.step.loss_group=all \
         --set finetune.data.max_steps=1 --set finetune.step.batch=2 --set finetune.step.loss_group=all",
    ),
    ("med2e3 evaluate", "--set device=cpu --set threads=1 --set max_new_tokens=2"),
    ("med2e3 explain configs", "--set device=cpu --set threads=1 --set max_new_tokens=2"),
    ("med2e3 explain --checkpoint", "--device cpu --max-new-tokens 2"),
    (
        "med2e3 retrieve",
        "--set device=cpu --set threads=1 --set dataset=small --set clip=/weights/m3d-clip-small \
         --set text_tokenizer=/weights/m3d-clip-small --set max_text_tokens=16",
    ),
    ("med2e3 generate", "--device cpu --max-new-tokens 2"),
];

/// Sizes of a model for volumes of the small shape.
const TINY: &str = "--set model.start.fresh.llm.hidden_size=32 --set model.start.fresh.llm.intermediate_size=48 \
    --set model.start.fresh.llm.num_hidden_layers=1 --set model.start.fresh.llm.max_position_embeddings=1024 \
    --set model.start.fresh.vision2d.hidden_size=32 --set model.start.fresh.vision2d.intermediate_size=32 \
    --set model.start.fresh.vision2d.image_size=64 --set model.start.fresh.vision2d.patch_size=16 \
    --set model.start.fresh.vision3d.hidden_size=32 --set model.start.fresh.vision3d.mlp_dim=32 \
    --set model.start.fresh.vision3d.img_size=[8,64,64] --set model.start.fresh.vision3d.patch_size=[2,16,16] \
    --set model.start.fresh.variant.max_length=1024";

/// The same for the demo's ablation, a step a stage.
const TINY_ROWS: &str = "--set start.fresh.llm.hidden_size=32 --set start.fresh.llm.intermediate_size=48 \
    --set start.fresh.llm.num_hidden_layers=1 --set start.fresh.llm.max_position_embeddings=1024 \
    --set start.fresh.vision2d.hidden_size=32 --set start.fresh.vision2d.intermediate_size=32 \
    --set start.fresh.vision2d.image_size=64 --set start.fresh.vision2d.patch_size=16 \
    --set start.fresh.vision3d.hidden_size=32 --set start.fresh.vision3d.mlp_dim=32 \
    --set start.fresh.vision3d.img_size=[8,64,64] --set start.fresh.vision3d.patch_size=[2,16,16] \
    --set start.fresh.variant.max_length=1024 --set pretrain.data.max_steps=1 --set finetune.data.max_steps=1";

/// A line with what makes it small.
fn made_small(line: &str) -> String {
    let small = MADE_SMALL.iter().filter(|(start, _)| line.starts_with(start)).map(|(_, more)| *more);
    std::iter::once(line).chain(small).collect::<Vec<_>>().join(" ")
}

/// The folder with everything that documents name: data, weights, a dataset, runs.
fn desk() -> &'static Desk {
    static DESK: OnceLock<Desk> = OnceLock::new();
    DESK.get_or_init(|| {
        let desk = Desk::new();
        let m3d = desk.path("data/m3d");
        phantom::write(&m3d);
        fs::create_dir_all(m3d.join("M3D-VQA")).unwrap();
        for (from, to) in [("train", "train"), ("test", "val"), ("test", "test")] {
            let name = |part: &str| format!("M3D_VQA_{part}.csv");
            fs::copy(m3d.join(name(from)), m3d.join("M3D-VQA").join(name(to))).unwrap();
        }
        for part in ["train", "test"] {
            fs::remove_file(m3d.join(format!("M3D_VQA_{part}.csv"))).unwrap();
        }
        clinic::write(&desk.path("data/own-cts"));
        let ok = |line: &str, codes: &[i32]| {
            let said = desk.run(&made_small(line));
            assert!(codes.contains(&said.code), "{line}\n{}\n{}", said.out, said.err);
        };
        ok("med2e3-data prepare /data/m3d --out dataset", &[1]);
        assert_eq!(desk.run("med2e3-data prepare /data/m3d --out small --set volume.shape=[4,16,16]").code, 1);
        ok("med2e3 train configs/demo/pretrain.toml --set data.dataset=dataset --out run", &[0]);
        fs::create_dir(desk.path("weights")).unwrap();
        ok("med2e3 export --checkpoint run --out weights/exported", &[0]);
        let copy = |from: &Path, to: &str| {
            fs::create_dir_all(desk.path(to).parent().unwrap()).unwrap();
            assert!(Command::new("cp").arg("-aT").arg(from).arg(desk.path(to)).status().unwrap().success(), "{to}");
        };
        for (part, name) in [("llm", "phi3"), ("vision2d_model", "siglip"), ("vision3d_model", "m3d-clip")] {
            copy(&desk.path("weights/exported").join(part), &format!("weights/{name}"));
        }
        let golden = root().join("trainer/tests/golden");
        copy(&golden.join("released"), "weights/Med-2E3-M3D");
        copy(&golden.join("released/reference.safetensors"), "reference.safetensors");
        copy(&golden.join("m3d_clip_tiny"), "weights/m3d-clip-small");
        copy(&golden.join("m3d_clip_tiny/tokenizer.json"), "weights/bert/tokenizer.json");
        let parts = "--llm /weights/phi3 --vision2d /weights/siglip --vision3d /weights/m3d-clip";
        ok(&format!("med2e3 import {parts} --variant paper --out start"), &[0]);
        for name in [".demo/dataset", "shards"] {
            copy(&desk.path("dataset"), name);
        }
        let runs = ["med2e3-pretrain", "med2e3-lora", "m3d-pretrain", "m3d-clip"];
        for name in [".demo/pretrain", ".demo/finetune"].into_iter().chain(runs) {
            copy(&desk.path("run"), name);
        }
        ok("med2e3-data sample configs/demo/sample.toml --out .demo/dataset", &[0]);
        copy(&m3d, ".demo/m3d");
        for part in ["train", "val", "test"] {
            copy(&m3d.join(format!("M3D-VQA/M3D_VQA_{part}.csv")), &format!(".demo/m3d/M3D_VQA_{part}.csv"));
        }
        copy(&m3d.join("M3D_Cap/ct_case/000001/Series_1.nii.gz"), "ct.nii.gz");
        answered(&desk.path("data/lamed"));
        let pair = r#"{"id": "1", "prediction": "A disc.", "reference": "A disc of size 1."}"#;
        fs::write(desk.path("pairs.jsonl"), pair).unwrap();
        copy(&desk.path("ct.nii.gz"), ".demo/m3d/M3D_Cap/ct_case/000103/Axial_brain_window.nii.gz");
        desk
    })
}

/// Another program's answers to the test split's questions, as M3D's scripts write them.
fn answered(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let question = "<im_patch> Is the number even, or odd?";
    let open = ["even", "odd"].map(|answer| format!("1,\"{question}\",{answer},even,0,0,0,0\n")).concat();
    let closed = ["A,A. even", "B,B. odd"].map(|choice| {
        let (letter, answer) = choice.split_once(',').unwrap();
        format!("1,\"{question} Choices: A. even B. odd C. NA D. NA\",{answer},{letter},A. even,1\n")
    });
    let open = format!("Question Type,Question,Answer,Pred,bleu,rouge1,meteor,bert_f1\n{open}");
    fs::write(folder.join("eval_open_vqa.csv"), open).unwrap();
    let closed = format!("Question Type,Question,Answer,Answer Choice,Pred,Correct\n{}", closed.concat());
    fs::write(folder.join("eval_close_vqa.csv"), closed).unwrap();
}

/// Runs lines in turn on a desk of their own and gives those that end with neither 0 nor 1.
fn failures(lines: &[CommandLine]) -> Vec<String> {
    let desk = desk().copy();
    let mut failed = Vec::new();
    for CommandLine { place, text } in lines.iter().filter(|line| reason_not_to_run(&line.text).is_none()) {
        let said = desk.run(&made_small(text));
        if ![0, 1].contains(&said.code) {
            failed.push(format!("{place}: {text}\n  ended with {}: {}", said.code, said.err.trim()));
        }
    }
    failed
}

fn reason_not_to_run(line: &str) -> Option<&'static str> {
    NOT_RUN.iter().find(|(start, _)| line.starts_with(start)).map(|(_, reason)| *reason)
}

fn assert_none(failed: Vec<String>) {
    assert!(failed.is_empty(), "\n{}\n", failed.join("\n"));
}

/// The documents with their lines; those of the parts of the repository have their own folders' readers.
fn documents() -> Vec<(String, Vec<CommandLine>)> {
    let documents = sources().into_iter().filter(|source| source.path.ends_with(".md"));
    documents.map(|source| (source.path.clone(), of_document(&source.path, &source.text))).collect()
}

fn configurations() -> Vec<(String, Vec<CommandLine>)> {
    let files = sources().into_iter().filter(|s| s.path.starts_with("configs/") && s.path.ends_with(".toml"));
    files.map(|source| (source.path.clone(), of_text(&source.path, &source.text))).collect()
}

/// The help of both programs and of each of their verbs.
fn helps() -> Vec<(String, Vec<CommandLine>)> {
    let mut found = Vec::new();
    for name in ["med2e3-data", "med2e3"] {
        let whole = run_to(0, program(name).arg("--help")).out;
        let verbs = whole.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
        let verbs = verbs.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
        for verb in verbs.filter_map(|line| line.split_whitespace().next()).filter(|verb| *verb != "help") {
            let place = format!("{name} {verb} --help");
            let help = run_to(0, program(name).args([verb, "--help"])).out;
            found.push((place.clone(), of_text(&place, &help)));
        }
        found.push((format!("{name} --help"), of_text(&format!("{name} --help"), &whole)));
    }
    found
}

#[test]
fn every_command_of_the_documents_runs() {
    let documents = documents();
    let of = |name: &str| documents.iter().find(|(path, _)| path == name).map_or(0, |(_, lines)| lines.len());
    assert!(of("README.md") > 5, "the lines of README.md are not found");
    assert_none(documents.iter().flat_map(|(_, lines)| failures(lines)).collect());
}

#[test]
fn every_block_of_python_in_the_documents_runs() {
    let desk = desk().copy();
    let said = desk.run(&made_small("med2e3-data prepare /data/own-cts/reports.csv --out own"));
    assert_eq!(said.code, 0, "{}", said.err);
    let documents = sources().into_iter().filter(|source| source.path.ends_with(".md"));
    let blocks: Vec<(String, String)> = documents
        .flat_map(|source| python_of_document(&source.text).into_iter().map(move |block| (source.path.clone(), block)))
        .collect();
    assert!(!blocks.is_empty(), "no block is found");
    let failed = blocks.iter().filter_map(|(path, block)| {
        let said = run(python().current_dir(desk.path("")).arg("-c").arg(block));
        (said.code != 0).then(|| format!("{path}:\n{block}\n{}", said.err))
    });
    assert_none(failed.collect());
}

#[test]
fn every_command_of_the_help_runs() {
    let helps = helps();
    assert!(helps.iter().map(|(_, lines)| lines.len()).sum::<usize>() > 5, "the lines of the help are not found");
    assert_none(helps.iter().flat_map(|(_, lines)| failures(lines)).collect());
}

#[test]
fn every_configuration_says_how_it_is_run_and_runs() {
    let files = configurations();
    assert!(files.len() > 8, "{} configurations", files.len());
    let silent = files.iter().filter(|(path, lines)| !lines.iter().any(|line| line.text.contains(path.as_str())));
    assert_none(silent.map(|(path, _)| format!("{path} does not show the command that it is run by")).collect());
    assert_none(files.iter().flat_map(|(_, lines)| failures(lines)).collect());
    let list = fs::read_to_string(root().join("configs/README.md")).unwrap();
    let absent = files.iter().filter(|(path, _)| !list.contains(path.trim_start_matches("configs/")));
    assert_none(absent.map(|(path, _)| format!("configs/README.md does not list {path}")).collect());
}

#[test]
fn what_is_not_run_still_stands_somewhere() {
    let all: Vec<CommandLine> =
        documents().into_iter().chain(configurations()).chain(helps()).flat_map(|(_, lines)| lines).collect();
    let absent = NOT_RUN.iter().filter(|(start, _)| !all.iter().any(|line| line.text.starts_with(start)));
    assert_none(absent.map(|(start, _)| format!("`{start}` stands in no document any more")).collect());
}
