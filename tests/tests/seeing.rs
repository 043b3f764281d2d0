//! What a person sees of a dataset and of a run before it runs: `stats`, `sql` without a query, `view`, `diff`, `prepare --dry-run`,
//! `resplit` without texts.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use image::{GrayImage, Luma};
use med2e3_tests::bounded::{Bounds, run_within_to};
use med2e3_tests::phantom::{BROKEN, SERIES, gzip, nifti};
use med2e3_tests::program::{program, run, run_to};
use med2e3_tests::study::{prepare, report, sql, study};
use serde_json::Value;

/// What a look at a small dataset may take.
const BOUNDS: Bounds = Bounds { mib: 600, seconds: 120 };

fn json(command: &mut Command) -> Value {
    serde_json::from_str(&run(command).out).unwrap()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// A file of noise around air, as CT has it.
fn volume(path: &Path, seed: usize) {
    let shape = [6, 16, 16];
    let voxels: Vec<i16> =
        (0..6 * 256).map(|n| if n < 256 { -1000 } else { ((n * (seed + 7)) % 397) as i16 }).collect();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, gzip(&nifti(shape, &voxels))).unwrap();
}

/// A folder of ten patients with a volume each.
fn patients(root: &Path) {
    (0..10).for_each(|n| volume(&root.join(format!("patient{n:02}/ct.nii.gz")), n));
}

/// A run over a folder of volumes.
fn of_folder(root: &Path, out: &Path, more: &[&str]) -> Command {
    let mut command = program("med2e3-data");
    command.arg("prepare").arg(root).arg("--out").arg(out).arg("--json");
    for set in ["volume.shape=[4,16,16]", "engine.volumes_per_range=4", "limits.reject_rows=100"] {
        command.args(["--set", set]);
    }
    command.args(more);
    command
}

fn diff(out: &Path, more: &[&str]) -> (i32, Value) {
    let said = run(program("med2e3-data").arg("diff").arg(out).args(more).arg("--json"));
    (said.code, serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{}", said.err)))
}

#[test]
fn stats_count_what_is_in_a_dataset() {
    let folder = study();
    let out = folder.path().join("dataset");
    run_to(1, &mut prepare(&folder.path().join("study"), &out, &[]));
    let stats = json(program("med2e3-data").args(["stats", "--json"]).arg(&out));
    let (volumes, texts) = (&stats["volumes"], &stats["texts"]);
    assert_eq!(number(&volumes["count"]), SERIES as u64);
    let samples = |more: &str| number(&sql(&out, &format!("SELECT count(*) AS n FROM samples {more}"))[0]["n"]);
    assert_eq!(number(&texts["count"]), samples(""));
    for (split, tasks) in texts["tasks_of_split"].as_object().unwrap() {
        for (task, count) in tasks.as_object().unwrap() {
            assert_eq!(
                number(count),
                samples(&format!("WHERE split = '{split}' AND task = '{task}'")),
                "{split} {task}"
            );
        }
    }
    assert_eq!(number(&texts["splits"]["train"]), samples("WHERE split = 'train'"));
    // Half of the series are NIfTI files of 2 mm slices, half are pictures without a spacing.
    assert_eq!((number(&volumes["spacing_unknown"]), &volumes["spacing_mm"]["slices"]["p50"]), (4, &Value::from(2.0)));
    assert_eq!(volumes["planes"], serde_json::json!({"axial": 4, "unknown": 4}));
    assert_eq!(
        (&volumes["source_shape"]["slices"]["min"], &volumes["source_shape"]["slices"]["max"]),
        (&Value::from(6.0), &Value::from(13.0))
    );
    // The texts of the broken series wait for their volumes.
    let waiting = samples("WHERE array_length(volume_ids) > 0")
        - {
            let query = "SELECT count(DISTINCT sample_id) AS n FROM (SELECT sample_id, unnest(volume_ids) AS volume_id FROM samples) AS s \
             JOIN volumes USING (volume_id)";
            number(&sql(&out, query)[0]["n"])
        };
    assert_eq!((number(&texts["volume_set_aside"]), waiting > 0), (waiting, true));
    assert_eq!(number(&volumes["without_texts"]), 0);
    let rejects: u64 = stats["manifest"]["volumes"]["quarantined"].as_object().unwrap().values().map(number).sum();
    assert_eq!(rejects, (BROKEN.len() + 1) as u64);
    // Texts of a few words: too few to tell English.
    assert_eq!(texts["languages"], serde_json::json!({"latin": texts["count"]}));
    let table = run_within_to(&[0], BOUNDS, program("med2e3-data").arg("stats").arg(&out)).out;
    for word in ["volumes    8 of 16", "axial 4", "mm between slices", "answer characters", "cases", "train"] {
        assert!(table.contains(word), "{word}: {table}");
    }
}

#[test]
fn sql_lists_its_tables_and_names_what_is_nearest() {
    let folder = study();
    let out = folder.path().join("dataset");
    run_to(1, &mut prepare(&folder.path().join("study"), &out, &[]));
    let split = ["--name", "My.new-split", "--validation", "0.3", "--test", "0.3"];
    run_to(0, program("med2e3-data").arg("resplit").arg(&out).args(split));
    let listed = run_to(0, program("med2e3-data").arg("sql").arg(&out)).out;
    for word in
        ["samples (", "volume_ids", "list of: id", "unnest(volume_ids)", "subset_my_new_split_train", "underscore"]
    {
        assert!(listed.contains(word), "{word}: {listed}");
    }
    let lines = run_to(0, program("med2e3-data").arg("sql").arg(&out).arg("--json")).out;
    let tables: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let volumes = tables.iter().find(|table| table["table"] == "volumes").unwrap();
    assert_eq!((number(&volumes["rows"]), &volumes["columns"][0]["type"]), (SERIES as u64, &Value::from("id")));
    // Both names of a subset, and the join that the help shows.
    for table in ["subset_my_new_split_train", "\"subset_My.new-split-train\""] {
        assert!(number(&sql(&out, &format!("SELECT count(*) AS n FROM {table}"))[0]["n"]) > 0);
    }
    let join = "SELECT count(*) AS n FROM (SELECT *, unnest(volume_ids) AS volume_id FROM samples) AS s JOIN volumes AS v USING (volume_id)";
    assert!(number(&sql(&out, join)[0]["n"]) > 0);

    let says = |query: &str, words: &[&str]| {
        let said = run_to(2, program("med2e3-data").arg("sql").arg(&out).arg(query)).err;
        words.iter().for_each(|word| assert!(said.contains(word), "{query}: {word}: {said}"));
    };
    says("SELECT * FROM sampels", &["no table `sampels`", "did you mean `samples`?"]);
    says("SELECT casid FROM volumes", &["no column `casid`", "did you mean `case_id`?"]);
    says("SELECT question FROM volumes", &["`question` is a column of samples"]);
    says("SELECT * FROM subset_My.new-split-train", &["`subset_my_new_split_train`"]);
    says(
        "SELECT 1 FROM samples JOIN volumes ON samples.volume_ids = volumes.volume_id",
        &["volume_ids is a list", "unnest"],
    );
    says("SELECT 1 FROM volumes WHERE volume_id = 'abc'", &["hex(volume_id)"]);
    says("SELECT 1 FROM (SELECT sample_id FROM samples) JOIN samples USING (sample_id)", &["give a subquery a name"]);

    // Ids in hex digits, anything longer as its size; hashes in full for programs.
    let query = "SELECT volume_id, voxels, content_hash, make_array(voxels) AS several FROM volumes LIMIT 1";
    let table = run_to(0, program("med2e3-data").arg("sql").arg(&out).arg(query)).out;
    assert!(
        table.contains("| <1024 bytes>") && table.contains("<32 bytes>") && table.contains("[<1024 bytes>]"),
        "{table}"
    );
    let row = &sql(&out, query)[0];
    assert_eq!((&row["voxels"], &row["several"][0]), (&Value::from("<1024 bytes>"), &Value::from("<1024 bytes>")));
    assert_eq!((row["volume_id"].as_str().unwrap().len(), row["content_hash"].as_str().unwrap().len()), (32, 64));
}

#[test]
fn a_page_holds_everything_it_shows_and_nothing_that_is_withheld() {
    let folder = study();
    let study = folder.path().join("study");
    let (kept, hashed) = (folder.path().join("kept"), folder.path().join("hashed"));
    let case = study.join("M3D_Cap/ct_case");
    fs::write(case.join("000002/text.txt"), "<script>alert(1)</script> \u{202e}reversed").unwrap();
    run_to(1, &mut prepare(&study, &kept, &[]));
    run_to(1, &mut prepare(&study, &hashed, &["provenance={paths=\"hash\"}"]));
    let page = |out: &Path, more: &[&str]| {
        let path = folder.path().join("page.html");
        let mut command = program("med2e3-data");
        command.arg("view").arg(out).arg("--out").arg(&path).args(more).arg("--json");
        let said: Value = serde_json::from_str(&run_within_to(&[0], BOUNDS, &mut command).out).unwrap();
        let html = fs::read_to_string(&path).unwrap();
        assert_eq!(number(&said["bytes"]), html.len() as u64);
        (said, html)
    };
    let (said, html) = page(&kept, &[]);
    assert_eq!((number(&said["rows"]), number(&said["volumes"])), (SERIES as u64, SERIES as u64));
    assert_eq!(html.matches("data:image/jpeg;base64,").count(), SERIES);
    // Nothing from elsewhere, no script, nothing that reorders text.
    for outside in ["<script", "http:", "https:", "src=\"/", "url(", "\u{202e}", "<link", "<iframe"] {
        assert!(!html.contains(outside), "{outside}");
    }
    for word in [
        "&lt;script&gt;",
        "A disc of size 3.",
        "Series_1",
        "prefers-color-scheme: dark",
        "lying_header",
        "id=\"v7\"",
        "1 \u{d7} 1 mm",
    ] {
        assert!(html.contains(word), "{word}");
    }
    let (said, html) = page(&kept, &["--start", "6", "--rows", "1"]);
    assert_eq!((number(&said["rows"]), number(&said["start"]), html.matches("<article").count()), (1, 6, 1));
    let mut beyond = program("med2e3-data");
    beyond.arg("view").arg(&kept).args(["--start", "99", "--out"]).arg(folder.path().join("x.html"));
    assert!(run_to(2, &mut beyond).err.contains("8 volumes"));

    let (_, html) = page(&hashed, &[]);
    for name in ["Series_", "000001", "Lying", "ct_case", folder.path().to_str().unwrap()] {
        assert!(!html.contains(name), "{name}");
    }
    let (_, html) = page(&hashed, &["--names"]);
    assert!(html.contains("Series_1") && html.contains("Lying_header"));
}

#[test]
fn a_page_shows_inputs_that_a_recipe_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("dataset"));
    patients(&data);
    // Pictures have no Hounsfield units.
    fs::create_dir_all(data.join("pictures")).unwrap();
    for n in 0..4u8 {
        let picture = GrayImage::from_fn(20, 20, |x, y| Luma([(x * 9 + y * u32::from(n)) as u8]));
        picture.save(data.join(format!("pictures/{n}.png"))).unwrap();
    }
    run_to(1, &mut of_folder(&data, &out, &[]));
    let page = |more: &[&str]| {
        let path = folder.path().join("page.html");
        run_to(0, program("med2e3-data").arg("view").arg(&out).arg("--out").arg(&path).args(more));
        fs::read_to_string(path).unwrap()
    };
    let without = page(&[]);
    assert!(without.contains("hu_unknown") && !without.contains("pictures") && !without.contains("patient0"));
    let with = page(&["--names"]);
    assert!(with.contains("pictures") && with.contains("patient07/ct.nii.gz"));
    assert_eq!(with.matches("data:image/jpeg").count(), without.matches("data:image/jpeg").count() + 1);
    // An input that leads out of the data root is not opened.
    fs::remove_dir_all(data.join("pictures")).unwrap();
    std::os::unix::fs::symlink(folder.path(), data.join("pictures")).unwrap();
    assert_eq!(page(&["--names"]).matches("data:image/jpeg").count(), without.matches("data:image/jpeg").count());
}

/// What `diff` says must be what the rerun then reports.
fn says_what_the_rerun_does(out: &Path, rerun: &mut Command, said: &Value) {
    let report: Value = serde_json::from_str(&run(rerun).out).unwrap();
    let sum = |key: &str| number(&said["volumes"][key]) + number(&said["texts"][key]);
    assert_eq!(number(&report["inputs_read"]), number(&said["volumes"]["inputs_read"]), "{said}\n{report}");
    assert_eq!(number(&report["shards_reused"]), sum("shards_kept"), "{said}\n{report}");
    for table in ["volumes", "texts"] {
        assert_eq!(report[table]["manifest_rows"], said[table]["rows"], "{said}\n{report}");
        assert_eq!(number(&said[table]["kept"]) + number(&said[table]["made"]), number(&said[table]["rows"]), "{said}");
    }
    assert_eq!(said["would_change"], report["bytes_written"].as_u64() > Some(0) || sum("shards_removed") > 0, "{said}");
    let (code, after) = diff(out, &[]);
    assert_eq!((code, &after["would_change"]), (0, &Value::Bool(false)), "{after}");
}

#[test]
fn diff_says_what_a_rerun_does_with_files() {
    for paths in ["keep", "hash"] {
        let folder = tempfile::tempdir().unwrap();
        let (data, out) = (folder.path().join("data"), folder.path().join("dataset"));
        patients(&data);
        let set = format!("provenance.paths=\"{paths}\"");
        let rerun = || of_folder(&data, &out, &["--set", &set]);
        run_to(0, &mut rerun());
        let before: Vec<_> = fs::read_dir(folder.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
        let (code, same) = diff(&out, &[]);
        assert_eq!((code, &same["would_change"], number(&same["volumes"]["kept"])), (0, &Value::Bool(false), 10));
        assert!(run_to(0, program("med2e3-data").arg("diff").arg(&out)).out.contains("nothing to do"));
        let after: Vec<_> = fs::read_dir(folder.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(before, after);

        // Five more, at the end and in between, so that rows move from shard to shard.
        (0..3).for_each(|n| volume(&data.join(format!("z{n}/ct.nii.gz")), 20 + n));
        (0..2).for_each(|n| volume(&data.join(format!("patient04{n}/ct.nii.gz")), 30 + n));
        let (code, more) = diff(&out, &["--names"]);
        assert_eq!((code, number(&more["volumes"]["new"]), number(&more["volumes"]["gone"])), (1, 5, 0), "{more}");
        assert_eq!(more["volumes"]["examples"]["new"].as_array().unwrap().len(), 5);
        assert!(number(&more["volumes"]["inputs_read"]) > 5 && number(&more["volumes"]["kept"]) > 0, "{more}");
        let (_, quiet) = diff(&out, &[]);
        assert_eq!(quiet["volumes"]["examples"].as_object().unwrap().is_empty(), paths == "hash");
        says_what_the_rerun_does(&out, &mut rerun(), &more);

        // Three less.
        for name in ["patient00", "z1", "z2"] {
            fs::remove_dir_all(data.join(name)).unwrap();
        }
        let (code, less) = diff(&out, &[]);
        assert_eq!((code, number(&less["volumes"]["gone"]), number(&less["volumes"]["new"])), (1, 3, 0), "{less}");
        says_what_the_rerun_does(&out, &mut rerun(), &less);

        // One other contents, one another time alone.
        volume(&data.join("patient03/ct.nii.gz"), 99);
        let late = SystemTime::now() + Duration::from_secs(60);
        fs::File::options().write(true).open(data.join("patient08/ct.nii.gz")).unwrap().set_modified(late).unwrap();
        let (code, changed) = diff(&out, &[]);
        assert_eq!((code, number(&changed["volumes"]["changed"])), (1, 2), "{changed}");
        assert_eq!(
            (number(&changed["volumes"]["inputs_read"]), number(&changed["volumes"]["made"])),
            (2, 2),
            "{changed}"
        );
        says_what_the_rerun_does(&out, &mut rerun(), &changed);

        // A shard that is lost, and a run that did not end.
        fs::remove_file(out.join("volumes/00000.parquet")).unwrap();
        let (code, lost) = diff(&out, &[]);
        assert_eq!(
            (code, number(&lost["volumes"]["shards_made"]), number(&lost["volumes"]["new"])),
            (1, 1, 0),
            "{lost}"
        );
        says_what_the_rerun_does(&out, &mut rerun(), &lost);
        fs::remove_file(out.join("dataset.json")).unwrap();
        let (code, unfinished) = diff(&out, &[]);
        assert_eq!((code, &unfinished["is_unfinished"]), (1, &Value::Bool(true)));
    }
}

#[test]
fn diff_says_what_a_rerun_does_with_texts_and_other_values() {
    let folder = study();
    let (study, out) = (folder.path().join("study"), folder.path().join("dataset"));
    let rerun = || prepare(&study, &out, &[]);
    report(&mut rerun());
    assert_eq!(diff(&out, &[]).0, 0);

    // A repaired input, an input that appears, and a row that is gone.
    let case = study.join("M3D_Cap/ct_case");
    fs::copy(case.join("000001/Series_1.nii.gz"), case.join("900000/Truncated_gzip.nii.gz")).unwrap();
    fs::copy(case.join("000003/Series_3.nii.gz"), case.join("900000/Not_there.nii.gz")).unwrap();
    let table = study.join("M3D_VQA_train.csv");
    let rows = fs::read_to_string(&table).unwrap();
    fs::write(&table, rows.replacen("or odd?", "or is it odd?", 1)).unwrap();
    let (code, said) = diff(&out, &[]);
    assert_eq!(
        (code, number(&said["volumes"]["changed"]), &said["reads_manifest"]),
        (1, 1, &Value::Bool(true)),
        "{said}"
    );
    // One row is two texts, open and closed; the same row again keeps their old ids.
    assert_eq!((number(&said["texts"]["new"]), number(&said["texts"]["gone"])), (2, 0), "{said}");
    says_what_the_rerun_does(&out, &mut rerun(), &said);

    // Another configuration is refused, with its keys; threads and limits change nothing.
    let (code, other) = diff(&out, &["--set", "volume.voxels=f32", "--set", "text.length=700"]);
    let keys: Vec<&str> =
        other["configuration"].as_array().unwrap().iter().map(|d| d["key"].as_str().unwrap()).collect();
    assert_eq!((code, keys), (1, vec!["text.length", "volume.voxels"]), "{other}");
    let refused = run_to(2, &mut prepare(&study, &out, &["volume.voxels=\"f32\"", "text.length=700"])).err;
    assert!(refused.contains("text.length") && refused.contains("volume.voxels"), "{refused}");
    assert_eq!(diff(&out, &["--set", "engine.threads=1", "--set", "limits.reject_rows=7"]).0, 0);
    let nowhere = run_to(2, program("med2e3-data").arg("diff").arg(&study)).err;
    assert!(nowhere.contains("prepare.toml"), "{nowhere}");
}

#[test]
fn a_dry_run_foresees_what_headers_tell() {
    let folder = study();
    let (study, out) = (folder.path().join("study"), folder.path().join("dataset"));
    let case = study.join("M3D_Cap/ct_case");
    // A copy of another series.
    fs::copy(case.join("000001/Series_1.nii.gz"), case.join("000003/Series_3.nii.gz")).unwrap();
    let said = run_to(1, prepare(&study, &out, &[]).arg("--dry-run"));
    assert!(!out.exists());
    let dry: Value = serde_json::from_str(&said.out).unwrap();
    let foreseen = &dry["foreseen"];
    let real = report(&mut prepare(&study, &out, &[]));
    for (reason, count) in real["volumes"]["quarantined"].as_object().unwrap() {
        // Only the values tell that all of them are equal.
        let expected = if reason == "all_zero" { 0 } else { number(count) };
        assert_eq!(foreseen["volumes"][reason].as_u64().unwrap_or(0), expected, "{reason}: {foreseen}");
    }
    assert_eq!(foreseen["texts"], real["texts"]["quarantined"]);
    assert_eq!(foreseen["texts_repeated"], real["texts"]["duplicates"]);
    assert_eq!((number(&foreseen["volumes_alike"]), foreseen["first"].as_array().unwrap().len()), (1, 5));
    let text = run(program("med2e3-data")
        .arg("prepare")
        .arg(&study)
        .arg("--out")
        .arg(folder.path().join("x"))
        .arg("--dry-run"));
    for word in ["will be set aside", "truncated_gzip", "look like copies", "time ", "only decoding tells"] {
        assert!(text.out.contains(word), "{word}: {}", text.out);
    }
}

#[test]
fn a_dry_run_foresees_fourteen_faults_of_thirty_inputs() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("dataset"));
    (0..16).for_each(|n| volume(&data.join(format!("good{n:02}/ct.nii.gz")), n));
    let bad = |name: &str, bytes: &[u8]| {
        fs::create_dir_all(data.join(name).parent().unwrap()).unwrap();
        fs::write(data.join(name), bytes).unwrap();
    };
    let whole = nifti([6, 16, 16], &[7; 6 * 256]);
    let packed = gzip(&nifti([6, 16, 16], &(0..6 * 256).map(|n| ((n * n) % 977) as i16).collect::<Vec<_>>()));
    let header = |at: usize, value: i16| {
        let mut bytes = whole.clone();
        bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
        bytes
    };
    bad("b01/cut.nii.gz", &packed[..packed.len() / 2]);
    bad("b02/cut_at_the_end.nii.gz", &packed[..packed.len() - 5]);
    bad("b03/page.nii.gz", b"<!DOCTYPE html><html><title>404</title></html>");
    bad("b04/empty.nii.gz", b"");
    bad("b05/lying.nii", &header(46, 30_000));
    bad("b06/no_axis.nii", &header(42, 0));
    bad("b07/complex.nii", &header(70, 32));
    bad("b08/twice.nii.gz", &gzip(&packed));
    bad("b09/cut.nii", &whole[..whole.len() / 2]);
    bad("b10/pointer.nii.gz", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n");
    bad("b11/cut.npy", b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4',");
    bad("b12/not.nrrd", b"NRRD0004\ntype: block\n\n");
    for n in 0..4 {
        bad(&format!("b13/{n}.png"), b"no picture");
        let side = 8 + n;
        fs::create_dir_all(data.join("b14")).unwrap();
        GrayImage::from_pixel(side, 8, Luma([n as u8])).save(data.join(format!("b14/{n}.png"))).unwrap();
    }
    let dry = json(of_folder(&data, &out, &[]).arg("--dry-run"));
    let real = json(&mut of_folder(&data, &out, &[]));
    assert_eq!((number(&dry["volumes"]), number(&dry["volumes_refused"])), (30, 14), "{dry}");
    assert_eq!(dry["foreseen"]["volumes"], real["volumes"]["quarantined"]);
}

#[test]
fn a_dataset_without_texts_is_split_by_its_volumes() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("dataset"));
    patients(&data);
    // Two more series of a patient.
    (1..3).for_each(|n| volume(&data.join(format!("patient00/ct{n}.nii.gz")), 40 + n));
    run_to(0, &mut of_folder(&data, &out, &["--set", "provenance.paths=\"keep\""]));
    let resplit = |name: &str, shares: [&str; 2]| {
        let mut command = program("med2e3-data");
        command.arg("resplit").arg(&out).args([
            "--name",
            name,
            "--validation",
            shares[0],
            "--test",
            shares[1],
            "--json",
        ]);
        command
    };
    let made: Value = serde_json::from_str(&run_to(0, &mut resplit("own", ["0.2", "0.3"])).out).unwrap();
    assert_eq!((&made["of"], number(&made["groups"])), (&Value::from("volumes"), 10), "{made}");
    let volumes: u64 = made["samples"].as_object().unwrap().values().map(number).sum();
    assert_eq!(volumes, 12);
    let query = "SELECT case_id, count(DISTINCT part) AS parts FROM (\
        SELECT volume_id, 'train' AS part FROM subset_own_train UNION ALL \
        SELECT volume_id, 'validation' FROM subset_own_validation UNION ALL \
        SELECT volume_id, 'test' FROM subset_own_test) AS parts JOIN volumes USING (volume_id) GROUP BY case_id";
    let cases = sql(&out, query);
    assert_eq!((cases.len(), cases.iter().all(|case| case["parts"] == 1)), (10, true), "{cases:?}");
    run_to(0, program("med2e3-data").arg("verify").arg(&out));

    // What can't be reached says what can, and that can.
    let said = run_to(2, &mut resplit("small", ["0.01", "0.2"])).err;
    assert!(said.contains("10 groups") && said.contains("0 and 0.0834: give 0.0834 or more"), "{said}");
    let made: Value = serde_json::from_str(&run_to(0, &mut resplit("small", ["0.0834", "0.2"])).out).unwrap();
    assert_eq!(made["samples"]["validation"], 1, "{made}");
    let mut text = program("med2e3-data");
    text.arg("resplit").arg(&out).args(["--name", "text", "--validation", "0.1", "--test", "0.2"]);
    let text = run_to(0, &mut text).out;
    assert!(text.contains("asked for") && text.contains("volume_id"), "{text}");
}

#[test]
fn the_words_that_people_have_for_splits_are_read() {
    let folder = study();
    let (study, out) = (folder.path().join("study"), folder.path().join("dataset"));
    let captions = fs::read_to_string(study.join("M3D_Cap.json")).unwrap();
    fs::write(
        study.join("M3D_Cap.json"),
        captions.replace("\"validation\"", "\"dev\"").replace("\"test\":", "\"testing\":"),
    )
    .unwrap();
    let questions =
        r#"manifest.questions=[{path="M3D_VQA_train.csv",split="training"},{path="M3D_VQA_test.csv",split="valid"}]"#;
    report(&mut prepare(&study, &out, &[questions]));
    let splits = sql(&out, "SELECT DISTINCT split, task FROM samples ORDER BY split, task");
    let of = |task: &str| {
        let rows = splits.iter().filter(|row| row["task"] == task);
        rows.map(|row| row["split"].as_str().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!((of("caption"), of("open_vqa")), (vec!["test", "train", "validation"], vec!["train", "validation"]));
}
