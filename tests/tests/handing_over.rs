//! Handing a dataset over: its card, its readers in Python, its Hounsfield units, its tokenizer.

use std::fs;
use std::path::{Path, PathBuf};

use med2e3_tests::phantom::{gzip, nifti};
use med2e3_tests::program::{program, run_to};
use med2e3_tests::python::{self, python};
use med2e3_tests::study::prepare;
use med2e3_tests::tiny;

const SHAPE: [usize; 3] = [4, 16, 16];

/// Three CTs of the shape that they are prepared to, so that every voxel is a source's voxel; with questions.
fn study(root: &Path) {
    let mut rows =
        vec!["Image Path,Question Type,Question,Choice A,Choice B,Choice C,Choice D,Answer,Answer Choice".to_owned()];
    for number in 0..3 {
        let case = root.join(format!("M3D_Cap/ct_case/00000{number}"));
        fs::create_dir_all(&case).unwrap();
        let voxels: Vec<i16> = (0..1024).map(|n| ((n * 37 + number * 11) % 2001) as i16 - 1000).collect();
        fs::write(case.join(format!("Series_{number}.nii.gz")), gzip(&nifti(SHAPE, &voxels))).unwrap();
        let image = format!("M3D_Cap_npy/ct_case/00000{number}/Series_{number}.npy");
        rows.push(format!("{image},1.0,Which plane is number {number}?,axial,coronal,sagittal,none,axial,A"));
    }
    fs::write(root.join("own.csv"), rows.join("\n")).unwrap();
}

fn prepared(folder: &Path, name: &str, more: &[&str]) -> PathBuf {
    let out = folder.join(name);
    let questions = r#"manifest.questions=[{path="own.csv",split="train"}]"#;
    run_to(0, &mut prepare(&folder.join("study"), &out, &[&[questions, "manifest.captions=[]"], more].concat()));
    out
}

/// Runs every Python block of each dataset's card, as its reader would. Blocks that read the first volume give `values`, and
/// `hounsfield` where the card has that; all must agree with the package, and Hounsfield units with the source.
const CARDS: &str = r#"
import os, re, sys

import numpy

import med2e3

for dataset in sys.argv[1:]:
    os.chdir(dataset)
    with open("README.md", encoding="utf-8") as card:
        blocks = re.findall(r"```python\n(.*?)```", card.read(), re.S)
    ds = med2e3.open(".")
    first = ds.volumes[0]
    n = numpy.arange(1024)
    number = int(first["series"].split("_")[1])
    source = ((n * 37 + number * 11) % 2001 - 1000).reshape(4, 16, 16)
    found, units = 0, 0
    for block in blocks:
        names = {}
        exec(compile(block, "block of README.md", "exec"), names)
        if "values" in names:
            assert numpy.abs(names["values"] - first.values()).max() < 1e-6, block
            found += 1
        if names.get("hounsfield") is not None:
            off = numpy.abs(names["hounsfield"] - source).max()
            half_a_code = first.hounsfield_scale()[0] / 2 if first.codes().dtype != numpy.float32 else 0
            assert off <= half_a_code + 2e-4, (block, off)
            units += 1
    print("BLOCKS", os.path.basename(dataset), len(blocks), found, units)
"#;

#[test]
fn every_block_of_a_card_runs_and_gives_the_same_values() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    study(&folder.join("study"));
    let ct = |intensity: &str| format!("volume.recipe={{ct={{intensity={intensity},crop=\"none\"}}}}");
    let [window, units] = [r#"{window="wide"}"#, r#""none""#].map(ct);
    let percentile = ct("{percentile={low=1.0,high=99.0}}");
    let (codes, floats) = ("volume.voxels=\"i16\"", "volume.voxels=\"f32\"");
    let datasets = [
        prepared(folder, "window8", &[&window]),
        prepared(folder, "window16", &[&window, codes]),
        prepared(folder, "units", &[&units, codes]),
        prepared(folder, "floats", &[&units, floats]),
        prepared(folder, "minmax", &[]),
        prepared(folder, "percentile", &[&percentile]),
    ];
    // A file that is no data of its own, and that no reader may take for it.
    let mut command = program("med2e3-data");
    command.args(["sample", "configs/demo/sample.toml", "--out"]).arg(&datasets[0]);
    run_to(0, command.args(["--set", r#"counts=[{task="open_vqa",count=2}]"#]));
    let said = python::run(CARDS, &datasets);
    // Blocks, those with values, those with Hounsfield units.
    for line in ["window8 8 5 2", "window16 8 5 2", "units 8 5 2", "floats 8 5 2", "minmax 7 5 1", "percentile 7 5 0"] {
        assert!(said.contains(&format!("BLOCKS {line}\n")), "{line}\n{said}");
    }
    for dataset in &datasets {
        let said = run_to(0, program("med2e3-data").arg("verify").arg(dataset));
        assert!(said.out.contains("sound"), "{}", said.out);
        run_to(0, program("med2e3-data").arg("sql").arg(dataset).arg("SELECT count(*) FROM volumes"));
    }

    // A run that finds nothing to do leaves the card alone; one that was lost is written again, byte for byte.
    let card = datasets[0].join("README.md");
    let (text, written) = (fs::read(&card).unwrap(), fs::metadata(&card).unwrap().modified().unwrap());
    prepared(folder, "window8", &[&window]);
    assert_eq!(fs::metadata(&card).unwrap().modified().unwrap(), written);
    fs::remove_file(&card).unwrap();
    prepared(folder, "window8", &[&window]);
    assert!(fs::read(&card).unwrap() == text);
    let index: serde_json::Value =
        serde_json::from_slice(&fs::read(datasets[0].join("dataset.json")).unwrap()).unwrap();
    assert_eq!(index["files"]["README.md"]["bytes"], text.len());
}

#[test]
fn the_python_package_passes_its_own_tests() {
    let said = run_to(0, python().arg("python/tests/test_dataset.py"));
    assert!(said.err.contains("OK"), "{}", said.err);
}

#[test]
fn an_export_opens_in_python() {
    let command = program("med2e3");
    let programs = Path::new(command.get_program()).parent().unwrap();
    let said = run_to(0, python().arg("python/tests/test_model.py").arg(programs));
    assert!(said.out.contains("row 1: logits within"), "{}", said.out);
}

/// Writes a tokenizer's file in other words: by the library, by transformers, and by hand with other spaces, another order of keys
/// and merges as words.
const REWRITE: &str = r#"
import json, sys

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

source, folder = sys.argv[1:]
tokenizer = Tokenizer.from_file(source)
tokenizer.save(f"{folder}/library.json", pretty=False)
PreTrainedTokenizerFast(tokenizer_file=source, eos_token="<|endoftext|>").save_pretrained(f"{folder}/transformers")
with open(source, encoding="utf-8") as file:
    value = json.load(file)
value["model"]["merges"] = [" ".join(pair) if isinstance(pair, list) else pair for pair in value["model"]["merges"]]
value["model"]["vocab"] = dict(reversed(value["model"]["vocab"].items()))
value["truncation"] = {"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0}
with open(f"{folder}/hand.json", "w", encoding="utf-8") as file:
    json.dump(dict(reversed(value.items())), file, indent=7)
value["model"]["merges"].reverse()
with open(f"{folder}/other.json", "w", encoding="utf-8") as file:
    json.dump(value, file)
"#;

#[test]
fn a_tokenizer_stays_as_it_came_and_fits_in_other_words() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    tiny::dataset(folder, &[]);
    run_to(0, &mut tiny::train(folder, "run", &["data.max_steps=1", "checkpoint.every_steps=1"]));
    let trained = folder.join("dataset/tokenizer.json");
    python::run(REWRITE, &[&trained, folder]);
    fs::rename(folder.join("dataset"), folder.join("first")).unwrap();
    let evaluate = |out: &str| {
        let mut command = program("med2e3");
        command.args(["evaluate", "configs/demo/evaluate.toml", "--out"]).arg(folder.join(out));
        for (key, path) in [("checkpoint", "run"), ("dataset", "dataset")] {
            command.args(["--set", &format!("{key}={:?}", folder.join(path).display().to_string())]);
        }
        for set in ["split=\"train\"", "device=cpu", "threads=1", "max_new_tokens=4"] {
            command.args(["--set", set]);
        }
        command
    };
    for name in ["library.json", "transformers/tokenizer.json", "hand.json"] {
        let file = folder.join(name);
        let _ = fs::remove_dir_all(folder.join("dataset"));
        tiny::dataset(folder, &[&format!("text.tokenizer={{path={:?}}}", file.display().to_string())]);
        assert!(fs::read(&trained).unwrap() == fs::read(&file).unwrap(), "{name} is not as it came");
        run_to(0, &mut evaluate(name.split('.').next().unwrap()));
    }
    fs::remove_dir_all(folder.join("dataset")).unwrap();
    let other = format!("text.tokenizer={{path={:?}}}", folder.join("other.json").display().to_string());
    tiny::dataset(folder, &[&other]);
    let said = run_to(2, &mut evaluate("other"));
    assert!(said.err.contains("tokenizer: merge 0 is `") && said.err.contains("in the dataset"), "{}", said.err);
}
