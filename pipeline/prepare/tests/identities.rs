//! Durable identities: recipe hashes and manifest ranges are those that an independent implementation computes
//! (`golden/identities.py`). A change here makes every dataset again: raise the revision and say so in CHANGELOG.md.

use std::fs;
use std::path::Path;

use med2e3_prepare::config::PrepareConfig;
use med2e3_prepare::run::{RecipeHashes, RunFolder};
use med2e3_schemas::Id;
use med2e3_schemas::config::parse;
use med2e3_schemas::manifest::{ManifestText, ManifestTurn, ManifestVolume, Refusal, range_identity};
use med2e3_schemas::quarantine::{Reason, Table};
use med2e3_schemas::sample::{Split, Task, Topic};

const GOLDEN: &str = include_str!("golden/identities.txt");

fn golden(name: &str) -> Vec<&'static str> {
    let line = GOLDEN.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().collect()
}

fn config(name: &str, root: &Path, overrides: &[&str]) -> PrepareConfig {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs").join(name);
    let root = format!("root={:?}", root.display().to_string());
    let overrides: Vec<String> = [root.as_str()].iter().chain(overrides).map(|&text| text.to_owned()).collect();
    parse(name, &fs::read_to_string(path).unwrap(), &overrides).unwrap()
}

fn hashes(config: &PrepareConfig) -> RecipeHashes {
    let folder = tempfile::tempdir().unwrap();
    RecipeHashes::of(config, &RunFolder::temporary(folder.path(), config).unwrap(), None).unwrap()
}

#[test]
fn recipe_hashes_are_the_golden_ones() {
    let root = tempfile::tempdir().unwrap();
    for name in ["prepare/m3d.toml", "prepare/ct.toml", "demo/prepare.toml"] {
        let found = hashes(&config(name, root.path(), &["provenance={paths=\"keep\"}"]));
        let joined = found.joined();
        assert_eq!([found.of_table(Table::Volumes), found.of_table(Table::Texts), &joined], golden(name)[..], "{name}");
    }
}

#[test]
fn what_changes_a_byte_changes_the_hash_and_nothing_else_does() {
    let root = tempfile::tempdir().unwrap();
    let keep = "provenance={paths=\"keep\"}";
    let of = |overrides: &[&str]| hashes(&config("prepare/ct.toml", root.path(), &[&[keep], overrides].concat()));
    let base = of(&[]);
    let both = [Table::Volumes, Table::Texts];
    let changed = |overrides: &[&str]| {
        let found = of(overrides);
        both.map(|table| found.of_table(table) != base.of_table(table))
    };
    assert_eq!(changed(&["engine.threads=7", "limits.reject_rows=3", "engine.check_inputs=\"full\""]), [false, false]);
    for set in [
        "volume.shape=[16,256,256]",
        "volume.voxels=\"f32\"",
        "volume.recipe=\"m3d\"",
        "volume.recipe.ct.intensity={window=\"lung\"}",
        "volume.recipe.ct.intensity={percentile={low=0.5,high=99.5}}",
        "volume.recipe.ct.spacing_mm=[5.0,1.0,1.0]",
        "volume.recipe.ct.crop=\"none\"",
        "engine.volumes_per_range=64",
    ] {
        assert_eq!(changed(&[set]), [true, false], "{set}");
    }
    for set in [
        "text.template=\"m3d\"",
        "text.length=700",
        "text.visual_tokens=256",
        "text.keep_end=true",
        "engine.texts_per_range=7",
    ] {
        assert_eq!(changed(&[set]), [false, true], "{set}");
    }
    // A window is its numbers; other names are other ids in both tables.
    let window = "volume.recipe.ct.intensity={window={center=0.0,width=2000.0}}";
    assert_eq!(changed(&[window])[0], changed(&["volume.recipe.ct.intensity={window=\"wide\"}"])[0]);
    assert_eq!(changed(&["provenance={paths=\"hash\"}"]), [true, true]);
}

#[test]
fn manifest_ranges_are_the_golden_ones() {
    let volume = ManifestVolume {
        volume_id: Id::of_volume("a.npy"),
        image: "a.npy".into(),
        source_path: "a".into(),
        case_id: "1".into(),
        series: "a".into(),
        row: "M3D_Cap.json train[0]".into(),
        note: None,
        refusal: None,
    };
    let refusal =
        Refusal { reason: Reason::PathOutsideRoot, detail: "expected a path within the data root, found ../b".into() };
    let refused = ManifestVolume {
        image: "../b".into(),
        source_path: String::new(),
        case_id: String::new(),
        series: "b".into(),
        row: "x.csv:2".into(),
        refusal: Some(refusal),
        ..volume.clone()
    };
    assert_eq!(range_identity([(7, &volume), (8, &refused)]), golden("volumes")[0]);

    let closed = ManifestText {
        sample_id: Id::of_volume("sample"),
        volume_ids: vec![volume.volume_id],
        images: vec!["a.npy".into()],
        task: Task::ClosedVqa,
        topic: Some(Topic::Plane),
        split: Split::Test,
        case_id: "1".into(),
        question: "Which?".into(),
        answer: "A. axial".into(),
        turns: None,
        choices: Some(vec!["axial".into(), "NA".into()]),
        answer_choice: Some("A".into()),
        row: "x.csv:2".into(),
        refusal: None,
        duplicate: true,
    };
    let turn = |question: &str| ManifestTurn { question: question.into(), answer: "Yes.".into() };
    let talk = ManifestText {
        volume_ids: vec![volume.volume_id; 2],
        images: vec!["a.npy".into(); 2],
        task: Task::OpenVqa,
        topic: None,
        split: Split::Train,
        case_id: String::new(),
        question: "Same?".into(),
        answer: "Yes.".into(),
        turns: Some(vec![turn("<image3d>\nSame?"), turn("Sure?")]),
        choices: None,
        answer_choice: None,
        row: "y.json[0]".into(),
        duplicate: false,
        ..closed.clone()
    };
    assert_eq!(range_identity([(0, &closed), (1, &talk)]), golden("texts")[0]);
}
