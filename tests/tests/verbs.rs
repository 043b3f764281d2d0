//! What `med2e3-data` does with a dataset, from the outside: verify, leaks, resplit, sample, rejects, sql, inspect.

use std::fs;
use std::path::Path;
use std::process::Command;

use med2e3_tests::phantom::{BROKEN, SERIES};
use med2e3_tests::program::{program, root, rounds, run_to};
use med2e3_tests::study::{files, prepare, report, sql, study};
use serde_json::Value;

#[test]
fn verify_names_what_is_damaged() {
    let folder = study();
    let (study, out) = (folder.path().join("study"), folder.path().join("dataset"));
    report(&mut prepare(&study, &out, &[]));
    let verify = |code: i32| run_to(code, program("med2e3-data").arg("verify").arg(&out)).out;
    let said = verify(0);
    assert!(said.contains("sound") && said.contains("set aside"), "{said}");
    // Every file that the dataset consists of, at several places: one bit is enough.
    let names: Vec<String> = files(&out).into_keys().filter(|name| !name.starts_with("manifest/")).collect();
    assert!(names.len() >= 8, "{names:?}");
    for name in &names {
        let path = out.join(name);
        let sound = fs::read(&path).unwrap();
        for place in 0..rounds(3, 40) {
            let mut bytes = sound.clone();
            let at = (place * 7919 + bytes.len() / 3) % bytes.len();
            bytes[at] ^= 1 << (place % 8);
            fs::write(&path, bytes).unwrap();
            let said = verify(1);
            assert!(said.contains(name.as_str()), "{name} byte {at}: {said}");
        }
        fs::write(&path, sound).unwrap();
    }
    fs::write(out.join("volumes/extra.parquet"), b"x").unwrap();
    assert!(verify(1).contains("volumes/extra.parquet: a stray file"));
    fs::remove_file(out.join("volumes/extra.parquet")).unwrap();
    fs::remove_file(out.join("volumes/00000.parquet")).unwrap();
    assert!(verify(1).contains("volumes/00000.parquet"));
}

#[test]
fn leaks_are_found_and_a_new_split_has_none() {
    let folder = study();
    let (study, out) = (folder.path().join("study"), folder.path().join("dataset"));
    // A test series whose voxels and report are those of a training series.
    let case = study.join("M3D_Cap/ct_case");
    fs::copy(case.join("000001/Series_1.nii.gz"), case.join("000007/Series_7.nii.gz")).unwrap();
    fs::copy(case.join("000001/text.txt"), case.join("000007/text.txt")).unwrap();
    report(&mut prepare(&study, &out, &[]));
    let said = run_to(1, program("med2e3-data").arg("leaks").arg(&out).arg("--json")).out;
    let leaks: Vec<Value> = serde_json::from_str(&said).unwrap();
    let of = |kind: &str| {
        leaks
            .iter()
            .find(|leak| leak["kind"] == kind && leak["from"] == "train" && leak["to"] == "test")
            .unwrap()
            .clone()
    };
    assert_eq!(of("report")["shared"], 1, "{said}");
    // Series_7 is now Series_1, and the training questions are about Series_6 too.
    assert_eq!(of("voxels")["shared"], 2, "{said}");
    assert!(of("look")["shared"].as_u64().unwrap() >= 1, "{said}");
    assert!(run_to(1, program("med2e3-data").arg("leaks").arg(&out)).out.contains("voxels"));
    // An evaluation says it too, of the samples that it is of.
    let answers = "SELECT sample_id AS id, answer AS prediction FROM samples WHERE split = 'test'";
    let rows = Value::from(sql(&out, answers));
    fs::write(folder.path().join("answers.json"), rows.to_string()).unwrap();
    let mut score = program("med2e3");
    score.args(["score", "--format", "plain", "--json", "--predictions"]);
    score
        .arg(folder.path().join("answers.json"))
        .arg("--dataset")
        .arg(&out)
        .arg("--out")
        .arg(folder.path().join("scored"));
    let scored: Value = serde_json::from_str(&run_to(0, &mut score).out).unwrap();
    let leaked = &scored["leaked"];
    for kind in ["case", "report", "voxels", "look"] {
        assert_eq!(leaked["by_kind"][kind], of(kind)["samples"], "{kind} {leaked}");
    }
    assert_eq!(leaked["of"], of("case")["of"], "{leaked}");

    let split = ["--name", "clean", "--validation", "0.3", "--test", "0.3", "--seed", "3", "--json"];
    let said = run_to(0, program("med2e3-data").arg("resplit").arg(&out).args(split)).out;
    let made: Value = serde_json::from_str(&said).unwrap();
    let total: u64 = made["samples"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    let rows = &sql(&out, "SELECT count(*) AS n FROM samples")[0]["n"];
    assert_eq!(total, rows.as_u64().unwrap(), "{made}");
    for column in ["case_id", "answer"] {
        let shared = sql(
            &out,
            &format!(
                "SELECT count(*) AS n FROM (SELECT DISTINCT s.{column} FROM samples s JOIN subset_clean_train t USING (sample_id) \
                 WHERE task = 'caption' INTERSECT SELECT DISTINCT s.{column} FROM samples s JOIN subset_clean_test t USING (sample_id) \
                 WHERE task = 'caption')"
            ),
        );
        assert_eq!(shared[0]["n"], 0, "{column}");
    }
    run_to(0, program("med2e3-data").arg("verify").arg(&out));
}

#[test]
fn sampling_is_a_seeded_draw_without_replacement() {
    let folder = study();
    let out = folder.path().join("dataset");
    run_to(1, &mut prepare(&folder.path().join("study"), &out, &[]));
    let draw = |name: &str, seed: u64, count: u64| {
        let mut command = program("med2e3-data");
        command.args(["sample", "configs/demo/sample.toml", "--json", "--out"]).arg(&out);
        let counts = format!("counts=[{{task=\"open_vqa\",count={count}}}]");
        command.args(["--set", &format!("name={name}"), "--set", &format!("seed={seed}"), "--set", &counts]);
        command
    };
    for (name, seed) in [("first", 1), ("again", 1), ("other", 2)] {
        run_to(0, &mut draw(name, seed, 4));
    }
    let ids = |name: &str| {
        let query = format!("SELECT hex(sample_id) AS id FROM subset_{name}");
        sql(&out, &query).iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let first = ids("first");
    assert_eq!(first, ids("again"));
    assert_ne!(first, ids("other"));
    let mut distinct = first.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), 4);
    // A name keeps its draw.
    let said = run_to(2, &mut draw("first", 2, 4));
    assert!(said.err.contains("another draw") && ids("first") == first, "{}", said.err);
    // The manifest's own part is a subset too.
    assert_eq!(ids("test1k").len(), 1);

    let mut both = draw("both", 1, 4);
    both.args(["--set", "stratify=\"topic\"", "--set", "group_by=\"case_id\""]);
    assert!(run_to(2, &mut both).err.contains("either group_by or stratify"));

    let said = run_to(2, &mut draw("many", 1, 1000));
    assert!(said.err.contains("1000 samples of open_vqa in split train"), "{}", said.err);
}

#[test]
fn whole_cases_are_drawn_and_no_sample_without_its_volume() {
    let folder = study();
    for paths in ["keep", "hash"] {
        let out = folder.path().join(paths);
        let provenance = format!("provenance={{paths=\"{paths}\"}}");
        run_to(1, &mut prepare(&folder.path().join("study"), &out, &[&provenance]));
        // `stratify` of the file would stand beside `group_by`.
        let text = fs::read_to_string(root().join("configs/demo/sample.toml")).unwrap();
        let alone = folder.path().join("sample.toml");
        fs::write(&alone, text.replace("stratify = \"topic\"\n", "")).unwrap();
        let mut command = program("med2e3-data");
        command.arg("sample").arg(&alone).args(["--json", "--out"]).arg(&out);
        for set in ["name=whole", "group_by=\"case\"", "counts=[{task=\"caption\",count=1000}]"] {
            command.args(["--set", set]);
        }
        let said: Value = serde_json::from_str(&run_to(0, &mut command).out).unwrap();
        // Five series of the training split are good, the seven broken ones and their captions are not.
        assert_eq!((&said["without_volume"], &said["counts"][0][1]), (&Value::from(7), &Value::from(5)), "{said}");
        let rows = &sql(&out, "SELECT count(*) AS n FROM subset_whole")[0]["n"];
        assert_eq!(*rows, 5);
    }
}

#[test]
fn what_was_set_aside_is_listed_with_and_without_names() {
    let folder = study();
    let study = folder.path().join("study");
    let list = |out: &Path, more: &[&str]| run_to(0, program("med2e3-data").arg("rejects").arg(out).args(more)).out;
    let (kept, hashed) = (folder.path().join("kept"), folder.path().join("hashed"));
    run_to(1, &mut prepare(&study, &kept, &[]));
    run_to(1, &mut prepare(&study, &hashed, &["provenance={paths=\"hash\"}"]));
    let all = BROKEN.len() + 1 + 2;
    assert_eq!(list(&kept, &[]).lines().count(), all);
    assert_eq!(list(&kept, &["--csv"]).lines().count(), all + 1);
    let one: Value = serde_json::from_str(&list(&kept, &["--json", "--reason", "lying_header"])).unwrap();
    assert!(one["path"].as_str().unwrap().contains("Lying_header"), "{one}");
    let without = list(&hashed, &["--reason", "lying_header"]);
    assert!(without.contains("withheld") && !without.contains("Lying"), "{without}");
    let with = list(&hashed, &["--reason", "lying_header", "--names"]);
    assert!(with.contains("Lying_header") && with.lines().count() == 1, "{with}");
    assert_eq!(list(&hashed, &["--names"]).lines().count(), all);
    let said = run_to(2, program("med2e3-data").arg("rejects").arg(&kept).args(["--reason", "lying_heder"]));
    assert!(said.err.contains("did you mean `lying_header`?"), "{}", said.err);
}

#[test]
fn queries_over_voxels_take_little_memory_and_show_cells_short() {
    let folder = study();
    let out = folder.path().join("dataset");
    // 4 MiB a cell: 1,024 of them would be 4 GiB.
    let big = ["volume.shape=[16,256,256]", "volume.voxels=\"f32\""];
    run_to(1, &mut prepare(&folder.path().join("study"), &out, &big));
    let limited = |query: &str| {
        let mut limited = Command::new("sh");
        limited.current_dir(root()).args(["-c", "ulimit -v 1500000; exec \"$@\"", "sh"]);
        limited.arg(program("med2e3-data").get_program()).arg("sql").arg(&out).arg(query).arg("--json");
        run_to(0, &mut limited).out
    };
    assert_eq!(limited("SELECT foreground_fraction(voxels) AS f FROM volumes").lines().count(), SERIES);
    assert_eq!(limited("SELECT * FROM volumes WHERE foreground_fraction(voxels) >= 0").lines().count(), SERIES);
    assert!(limited("SELECT count(*) AS n FROM volumes WHERE voxels > arrow_cast(x'00', 'Binary')").contains("\"n\""));
    let row: Value = serde_json::from_str(&limited("SELECT voxels FROM volumes LIMIT 1")).unwrap();
    assert!(row["voxels"] == "<4194304 bytes>", "{row}");
    let table = run_to(0, program("med2e3-data").arg("sql").arg(&out).arg("SELECT voxels FROM volumes WHERE false"));
    assert!(table.out.contains("voxels"), "{}", table.out);
}

#[test]
fn inspect_shows_a_row_and_its_slices() {
    let folder = study();
    let (out, picture) = (folder.path().join("dataset"), folder.path().join("row.png"));
    run_to(1, &mut prepare(&folder.path().join("study"), &out, &[]));
    let said =
        run_to(0, program("med2e3-data").arg("inspect").arg(&out).args(["--row", "1", "--picture"]).arg(&picture));
    assert!(said.out.contains("series") && said.out.contains("Series_7"), "{}", said.out);
    // Four slices of 16 x 16 side by side.
    assert_eq!(image::image_dimensions(&picture).unwrap(), (64, 16));
    let said = run_to(2, program("med2e3-data").arg("inspect").arg(&out).args(["--row", "99"]));
    assert!(said.err.contains("row 99") && said.err.contains("8 volumes"), "{}", said.err);
}
