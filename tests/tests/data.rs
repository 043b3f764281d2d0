//! `med2e3-data prepare` from the outside: good and bad inputs, counts, restart, threads, parts, messages.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use med2e3_tests::phantom::{BROKEN, SERIES};
use med2e3_tests::program::{program, root, rounds, run_to};
use med2e3_tests::study::{files, prepare, report, sql, study};
use serde_json::Value;

#[test]
fn every_row_ends_as_a_row_a_reason_or_a_duplicate() {
    let folder = study();
    let out = folder.path().join("dataset");
    let said = run_to(1, &mut prepare(&folder.path().join("study"), &out, &[]));
    let report: Value = serde_json::from_str(&said.out).unwrap();

    // Volumes: the good series, the broken ones, and the one that climbs out of the root.
    let volumes = &report["volumes"];
    assert_eq!(volumes["manifest_rows"], (SERIES + BROKEN.len() + 1) as u64);
    assert_eq!(volumes["rows"], SERIES as u64);
    for (name, reason) in BROKEN {
        assert_eq!(volumes["quarantined"][reason], 1, "{name}: {volumes}");
    }
    assert_eq!(volumes["quarantined"]["path_outside_root"], 1);

    // Texts: the row without an answer is refused twice, open and closed; the repeated row is a duplicate twice, and so
    // is the entry of the named part.
    let texts = &report["texts"];
    assert_eq!(texts["quarantined"], serde_json::json!({"missing_answer": 2}));
    assert_eq!(texts["duplicates"], 3);
    for counts in [volumes, texts] {
        let quarantined: u64 = counts["quarantined"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
        let number = |key: &str| counts[key].as_u64().unwrap();
        assert_eq!(number("manifest_rows"), number("rows") + quarantined + number("duplicates"));
    }

    let rows = sql(&out, "SELECT path, reason, detail FROM quarantine WHERE \"table\" = 'volumes' ORDER BY ordinal");
    assert_eq!(rows.len(), BROKEN.len() + 1);
    for row in rows {
        assert!(!row["detail"].as_str().unwrap().is_empty(), "{row}");
        assert!(!row["detail"].as_str().unwrap().contains(folder.path().to_str().unwrap()), "{row}");
    }
}

#[test]
fn bytes_do_not_depend_on_threads_or_restarts() {
    let folder = study();
    let study = folder.path().join("study");
    let (one, four) = (folder.path().join("one"), folder.path().join("four"));
    run_to(1, &mut prepare(&study, &one, &["engine.threads=1"]));
    run_to(1, &mut prepare(&study, &four, &["engine.threads=4"]));
    assert!(files(&one) == files(&four), "one and four threads differ");

    // A run that was stopped: one shard is missing, one is half-written, the index is not there.
    let whole = files(&one);
    fs::remove_file(one.join("dataset.json")).unwrap();
    fs::remove_file(one.join("volumes/00001.parquet")).unwrap();
    fs::write(one.join("volumes/00001.parquet.part"), b"half").unwrap();
    let bytes = fs::read(one.join("volumes/00000.parquet")).unwrap();
    fs::write(one.join("volumes/00000.parquet"), &bytes[..bytes.len() / 2]).unwrap();
    let said = run_to(1, &mut prepare(&study, &one, &["engine.threads=1"]));
    let report: Value = serde_json::from_str(&said.out).unwrap();
    assert!(report["shards_reused"].as_u64().unwrap() >= 2, "{report}");
    assert!(files(&one) == whole, "the restarted run differs");
}

#[test]
fn a_killed_run_ends_as_an_unbroken_one() {
    let folder = study();
    let study = folder.path().join("study");
    let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
    let started = std::time::Instant::now();
    run_to(1, &mut prepare(&study, &whole, &["engine.volumes_per_range=1"]));
    let duration = started.elapsed();
    let expected = files(&whole);
    let rounds = rounds(4, 200);
    for round in 0..rounds {
        let _ = fs::remove_dir_all(&killed);
        let mut command = prepare(&study, &killed, &["engine.volumes_per_range=1"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(duration.mul_f64((round as f64 + 0.5) / rounds as f64));
        child.kill().unwrap();
        child.wait().unwrap();
        run_to(1, &mut prepare(&study, &killed, &["engine.volumes_per_range=1"]));
        assert!(files(&killed) == expected, "round {round} differs");
    }
}

#[test]
fn a_repaired_input_is_read_alone() {
    let folder = study();
    let (study, out, fresh) = (folder.path().join("study"), folder.path().join("dataset"), folder.path().join("fresh"));
    let first = report(&mut prepare(&study, &out, &[]));
    let all = first["inputs_read"].as_u64().unwrap();
    assert!(all > SERIES as u64, "{first}");
    let again = report(&mut prepare(&study, &out, &[]));
    assert_eq!((again["inputs_read"].as_u64(), again["bytes_written"].as_u64()), (Some(0), Some(0)), "{again}");

    // A file that was cut, and a slice that was no picture and is written over in place.
    let case = study.join("M3D_Cap/ct_case");
    fs::copy(case.join("000001/Series_1.nii.gz"), case.join("900000/Truncated_gzip.nii.gz")).unwrap();
    fs::copy(case.join("000000/Series_0/1.png"), case.join("900000/Garbled_slices/0.png")).unwrap();
    let repaired = report(&mut prepare(&study, &out, &[]));
    assert_eq!(repaired["inputs_read"], 2, "{repaired}");
    assert_eq!(repaired["volumes"]["rows"], (SERIES + 2) as u64, "{repaired}");
    // A file that was not there appears.
    fs::copy(case.join("000003/Series_3.nii.gz"), case.join("900000/Not_there.nii.gz")).unwrap();
    let found = report(&mut prepare(&study, &out, &[]));
    assert_eq!(found["inputs_read"], 1, "{found}");
    // A good input changes: its row is made again, the others of its shard are copied.
    fs::copy(case.join("000005/Series_5.nii.gz"), case.join("000001/Series_1.nii.gz")).unwrap();
    let changed = report(&mut prepare(&study, &out, &[]));
    assert_eq!(changed["inputs_read"], 1, "{changed}");
    report(&mut prepare(&study, &fresh, &[]));
    let shards = |folder: &Path| {
        files(folder)
            .into_iter()
            .filter(|(name, _)| !name.contains("receipts") && name != "manifest/tables.json")
            .collect::<BTreeMap<_, _>>()
    };
    assert!(shards(&out) == shards(&fresh), "rows that were copied differ from rows that were read");
    run_to(0, program("med2e3-data").arg("verify").arg(&out));
}

#[test]
fn contents_are_compared_where_that_is_asked_for() {
    let folder = study();
    let (study, out) = (folder.path().join("study"), folder.path().join("dataset"));
    let full = ["engine.check_inputs=\"full\""];
    report(&mut prepare(&study, &out, &full));
    let slice = study.join("M3D_Cap/ct_case/000000/Series_0/2.png");
    let other = fs::read(study.join("M3D_Cap/ct_case/000000/Series_0/3.png")).unwrap();
    // Written over in place, at the same time: only the contents tell.
    let time = fs::metadata(&slice).unwrap().modified().unwrap();
    fs::write(&slice, other).unwrap();
    fs::File::options().write(true).open(&slice).unwrap().set_modified(time).unwrap();
    assert_eq!(report(&mut prepare(&study, &out, &[]))["inputs_read"], 0);
    assert_eq!(report(&mut prepare(&study, &out, &full))["inputs_read"], 1);
    assert_eq!(report(&mut prepare(&study, &out, &full))["inputs_read"], 0);
}

#[test]
fn processes_share_the_ranges_and_the_bytes_are_the_same() {
    let folder = study();
    let (study, one, shared) = (folder.path().join("study"), folder.path().join("one"), folder.path().join("shared"));
    let ranges = ["engine.volumes_per_range=2"];
    report(&mut prepare(&study, &one, &ranges));
    let part = |part: &str| {
        let mut command = prepare(&study, &shared, &ranges);
        command.args(["--part", part]).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    // All at the same time: one makes the tables, the others wait for them.
    let children = ["1/4", "2/4", "3/4", "4/4"].map(|number| part(number).spawn().unwrap());
    for child in children {
        let said = child.wait_with_output().unwrap();
        assert!(matches!(said.status.code(), Some(0 | 1)), "{}", String::from_utf8_lossy(&said.stderr));
    }
    assert!(!shared.join("dataset.json").exists());
    let last = report(&mut prepare(&study, &shared, &ranges));
    assert_eq!(last["inputs_read"], 0, "{last}");
    assert!(files(&one) == files(&shared), "one process and four differ");
}

#[test]
fn a_part_works_while_another_one_does() {
    let folder = study();
    let (study, out) = (folder.path().join("study"), folder.path().join("dataset"));
    let part = |number: &str| {
        let mut command = prepare(&study, &out, &["engine.volumes_per_range=2"]);
        command.args(["--part", number]);
        command
    };
    run_to(1, &mut part("1/2"));
    // What another part holds from the tables to its end.
    let lock = fs::File::open(out.join("manifest/lock")).unwrap();
    lock.lock_shared().unwrap();
    run_to(1, &mut part("2/2"));
    // The run that ends the dataset waits until no part is at work.
    let said = run_to(2, &mut prepare(&study, &out, &["engine.volumes_per_range=2"]));
    assert!(said.err.contains("another process"), "{}", said.err);
    lock.unlock().unwrap();
    // While the manifest is read, a part waits and says so.
    lock.lock().unwrap();
    let waiting = part("1/2").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    lock.unlock().unwrap();
    let said = waiting.wait_with_output().unwrap();
    let line = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.code() == Some(1) && line.contains("waiting for the process"), "{line}");
    run_to(1, &mut prepare(&study, &out, &["engine.volumes_per_range=2"]));
}

#[test]
fn every_state_that_a_commit_can_leave_is_resumed() {
    let folder = study();
    let (study, whole) = (folder.path().join("study"), folder.path().join("whole"));
    let ranges = ["engine.volumes_per_range=4"];
    report(&mut prepare(&study, &whole, &ranges));
    let expected = files(&whole);
    let receipt = expected.keys().find(|name| name.starts_with("manifest/receipts/volumes/00001-")).unwrap().clone();
    let shard = "volumes/00001.parquet";
    // What the disk holds when the run is killed after each step: names to remove, names that have their temporary name.
    let states: [(&str, &[&str], &[&str]); 8] = [
        (
            "claimed",
            &["dataset.json", "manifest", "volumes", "samples", "subsets", "tokenizer.json", "quarantine.parquet"],
            &[],
        ),
        (
            "tables half written",
            &["dataset.json", "manifest/tables.json", "manifest/receipts", "manifest/texts/00000.parquet"],
            &[],
        ),
        ("shard begun", &["dataset.json", &receipt, shard], &["volumes/00001.parquet.part"]),
        ("shard ended", &["dataset.json", &receipt], &[shard]),
        ("receipt begun", &["dataset.json"], &[shard, &receipt]),
        ("receipt written", &["dataset.json"], &[shard]),
        ("shard published", &["dataset.json", "quarantine.parquet", "samples/00000.parquet"], &[]),
        ("index begun", &[], &["dataset.json"]),
    ];
    for (state, removed, part) in states {
        let out = folder.path().join(state.replace(' ', "_"));
        for (name, bytes) in &expected {
            let path = out.join(name);
            if removed.iter().any(|gone| name == gone || name.starts_with(&format!("{gone}/"))) {
                continue;
            }
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let renamed = part.contains(&name.as_str());
            fs::write(
                if renamed {
                    path.with_file_name(format!("{}.part", path.file_name().unwrap().to_str().unwrap()))
                } else {
                    path
                },
                bytes,
            )
            .unwrap();
        }
        fs::create_dir_all(&out).unwrap();
        fs::copy(whole.join("prepare.toml"), out.join("prepare.toml")).unwrap();
        for half in part.iter().filter(|name| name.ends_with(".part")) {
            fs::create_dir_all(out.join(half).parent().unwrap()).unwrap();
            fs::write(out.join(half), b"half").unwrap();
        }
        let said = report(&mut prepare(&study, &out, &ranges));
        assert!(files(&out) == expected, "{state}: the resumed run differs");
        // The other ranges' inputs are not read again: at most one range's.
        let limit = if ["claimed", "tables half written"].contains(&state) { 100 } else { 4 };
        assert!(said["inputs_read"].as_u64().unwrap() <= limit, "{state}: {said}");
    }
}

#[test]
fn a_full_disk_is_reported_and_the_run_resumed() {
    let folder = study();
    let (study, out, whole) = (folder.path().join("study"), folder.path().join("dataset"), folder.path().join("whole"));
    report(&mut prepare(&study, &whole, &[]));
    // A limit on file sizes imitates the full disk: the write fails in the middle of a file.
    let command = prepare(&study, &out, &[]);
    let mut limited = Command::new("sh");
    limited.current_dir(root()).args(["-c", "ulimit -f 8; exec \"$@\"", "sh"]);
    limited.arg(command.get_program()).args(command.get_args());
    let said = run_to(2, &mut limited);
    assert!(said.err.contains("/dataset/") && said.err.contains("File too large"), "{}", said.err);
    assert!(!out.join("dataset.json").exists());
    report(&mut prepare(&study, &out, &[]));
    assert!(files(&out) == files(&whole));
}

#[test]
fn voxels_do_not_depend_on_the_range_size() {
    let folder = study();
    let study = folder.path().join("study");
    let voxels =
        |out: &Path| sql(out, "SELECT hex(volume_id) AS id, hex(content_hash) AS hash FROM volumes ORDER BY id");
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    run_to(1, &mut prepare(&study, &a, &[]));
    run_to(1, &mut prepare(&study, &b, &["engine.volumes_per_range=1000"]));
    assert_eq!(voxels(&a), voxels(&b));
    assert_eq!(voxels(&a).len(), SERIES);
}

/// A conversation entry about series of the study, its turns human and gpt in turn.
fn conversation(series: &[usize], said: &[&str]) -> Value {
    let from = ["human", "gpt"].into_iter().cycle();
    let turns: Vec<Value> =
        from.zip(said).map(|(from, text)| serde_json::json!({"from": from, "value": text})).collect();
    let paths: Vec<String> = series.iter().map(|n| format!("ct_case/{n:06}/Series_{n}.npy")).collect();
    serde_json::json!({"id": "1", "conversations": turns, "vision3d": paths})
}

/// A WordPiece tokenizer of five words.
const QUESTION_TOKENIZER: &str = r###"{"version": "1.0", "added_tokens": [],
    "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true},
    "pre_tokenizer": {"type": "BertPreTokenizer"},
    "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]},
    "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
        "vocab": {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "same": 3, "?": 4}}}"###;

#[test]
fn conversations_prompts_and_question_ids_reach_the_samples() {
    let folder = study();
    let (study, out) = (folder.path().join("study"), folder.path().join("dataset"));
    let entries = serde_json::json!([
        conversation(&[0, 1], &["<image3d><image3d>\nSame?", "No.", "Sure?", "Yes, quite sure."]),
        conversation(&[2], &["<image3d>\nSame?", "A disc."]),
        conversation(&[2, 3], &["<image3d>\nSame?", "A disc."]),
        conversation(&[2], &["<image3d><image>\nSame?", "A disc."]),
    ]);
    fs::write(study.join("conversations.json"), entries.to_string()).unwrap();
    fs::copy(study.join("M3D_VQA_test.csv"), study.join("yes_no.csv")).unwrap();
    let (prompts, bert) = (folder.path().join("prompts.txt"), folder.path().join("tokenizer.json"));
    fs::write(&prompts, "Tell me.\n\nTell me.\n").unwrap();
    fs::write(&bert, QUESTION_TOKENIZER).unwrap();
    let sets = [
        r#"manifest.conversations=[{path="conversations.json",split="train",folder="M3D_Cap_npy"}]"#.to_owned(),
        r#"manifest.yes_no=["yes_no.csv"]"#.to_owned(),
        "manifest.nan_as_pandas=true".to_owned(),
        "text.template=\"phi3_chat\"".to_owned(),
        "text.length=300".to_owned(),
        format!("text.caption_prompts={prompts:?}"),
        format!("text.question_tokenizer={bert:?}"),
    ];
    let more: Vec<&str> = sets.iter().map(String::as_str).collect();
    let said = run_to(1, &mut prepare(&study, &out, &more));
    let report: Value = serde_json::from_str(&said.out).unwrap();
    let quarantined = &report["texts"]["quarantined"];
    // A missing answer is `nan` for pandas; its letter is still missing.
    assert_eq!(quarantined, &serde_json::json!({"bad_row": 1, "unsupported_image2d": 1, "missing_answer": 1}));

    let one = |query: &str| sql(&out, &format!("SELECT {query}")).remove(0);
    let counts = "cardinality(volume_ids) AS volumes, cardinality(array_positions(ids, -201)) AS images, \
        cardinality(target_spans) AS spans";
    let two = one(&format!("{counts}, question, answer FROM samples WHERE cardinality(volume_ids) = 2"));
    assert_eq!(two, serde_json::json!({"volumes": 2, "images": 2, "spans": 2, "question": "Same?", "answer": "No."}),);
    let others =
        one(&format!("count(*) AS n FROM (SELECT {counts} FROM samples) WHERE volumes <> images OR spans < 1"));
    assert_eq!(others["n"], 0);
    let questions = sql(&out, "SELECT DISTINCT question FROM samples WHERE task = 'caption'");
    assert_eq!(questions, [serde_json::json!({"question": "Tell me."})]);
    let bert = sql(&out, "SELECT DISTINCT question_ids_bert AS ids FROM samples WHERE question = 'Same?'");
    assert_eq!(bert, [serde_json::json!({"ids": [1, 3, 4, 2]})]);
    let closed = one("question FROM samples WHERE task = 'closed_vqa' LIMIT 1");
    assert_eq!(closed["question"], "Is the number even, or odd? Choices: A. even B. odd C. nan D. nan");

    // Another prompt makes another dataset, whatever the configuration says.
    let recipe = |out: &Path| {
        let index: Value = serde_json::from_slice(&fs::read(out.join("dataset.json")).unwrap()).unwrap();
        index["recipe_hash"].clone()
    };
    let before = recipe(&out);
    run_to(1, &mut prepare(&study, &out, &more));
    assert_eq!(recipe(&out), before);
    fs::write(&prompts, "Say it.\n").unwrap();
    run_to(1, &mut prepare(&study, &out, &more));
    assert_ne!(recipe(&out), before);
}

#[test]
fn texts_that_do_not_fit_are_cut_and_counted_or_set_aside() {
    let folder = study();
    let study = folder.path().join("study");
    let entries = serde_json::json!([
        conversation(&[0], &["<image3d>\nSame?", &"A disc and another disc. ".repeat(40)]),
        conversation(&[0, 1], &["<image3d><image3d>\nSame?", "No."]),
    ]);
    fs::write(study.join("conversations.json"), entries.to_string()).unwrap();
    let prepared = |name: &str, keep_end: &str| {
        let out = folder.path().join(name);
        let more = [
            r#"manifest.conversations=[{path="conversations.json",split="train",folder="M3D_Cap_npy"}]"#,
            "manifest.captions=[]",
            "manifest.questions=[]",
            "text.template=\"m3d\"",
            "text.length=180",
            keep_end,
        ];
        let said = run_to(1, &mut prepare(&study, &out, &more));
        let report: Value = serde_json::from_str(&said.out).unwrap();
        // One volume and its text fit once cut, two volumes leave no room.
        assert_eq!((&report["truncated"], &report["texts"]["rows"]), (&Value::from(1), &Value::from(1)));
        assert_eq!(report["texts"]["quarantined"], serde_json::json!({"no_target": 1}));
        let query = "SELECT cardinality(ids) AS ids, ids[-1] AS last, truncated FROM samples";
        sql(&out, query).remove(0)
    };
    // The end token is the first that a trained tokenizer has.
    let cut = prepared("cut", "text.keep_end=false");
    assert_eq!((&cut["ids"], &cut["truncated"]), (&Value::from(180 - 95), &Value::from(true)));
    assert_ne!(cut["last"], 0);
    let kept = prepared("kept", "text.keep_end=true");
    assert_eq!((&kept["ids"], &kept["last"]), (&Value::from(180 - 95), &Value::from(0)));
}

#[test]
fn a_cell_that_other_readers_do_not_open_is_refused() {
    let folder = study();
    // pyarrow 26: 255 x 512 x 512 f32 opens, 256 x 512 x 512 f32 is "byte width of FixedSizeBinaryType too large".
    for (shape, voxels) in [("[256,512,512]", "f32"), ("[512,512,512]", "i16"), ("[1024,512,512]", "u8")] {
        let sets = [format!("volume.shape={shape}"), format!("volume.voxels=\"{voxels}\"")];
        let mut command = prepare(&folder.path().join("study"), &folder.path().join("out"), &[]);
        sets.iter().for_each(|set| _ = command.args(["--set", set]));
        let said = run_to(2, &mut command);
        let words = ["volume.shape", "268435455 bytes", "pyarrow", "found", "268435456 bytes"];
        words.iter().for_each(|word| assert!(said.err.contains(word), "{word}: {}", said.err));
        assert!(!folder.path().join("out").exists());
    }
}

#[test]
fn what_can_not_run_says_why_and_what_to_do() {
    let folder = study();
    let (study, out) = (folder.path().join("study"), folder.path().join("dataset"));
    let fails = |more: &[&str], words: &[&str]| {
        let said = run_to(2, &mut prepare(&study, &out, more));
        words.iter().for_each(|word| assert!(said.err.contains(word), "{word}: {}", said.err));
        let _ = fs::remove_dir_all(&out);
    };
    fails(&["text.tokenizer={path=\"nowhere/tokenizer.json\"}"], &["nowhere/tokenizer.json"]);
    fails(&["volume.recipy=\"m3d\""], &["recipy", "did you mean `recipe`?"]);
    fails(&["manifest.captions=[\"Missing.json\"]"], &["Missing.json"]);
    fails(&["limits.reject_rows=3"], &["set aside", "quarantine.parquet", "limits"]);

    // A folder with something else in it is left alone.
    fs::create_dir_all(&out).unwrap();
    fs::write(out.join("precious"), b"x").unwrap();
    let said = run_to(2, &mut prepare(&study, &out, &[]));
    assert!(said.err.contains("not empty") && said.err.contains("hint"), "{}", said.err);
    assert_eq!(fs::read_dir(&out).unwrap().count(), 1);
}

#[test]
fn help_is_as_written() {
    for name in ["med2e3-data", "med2e3"] {
        let help = run_to(0, program(name).arg("--help")).out;
        insta::with_settings!({snapshot_path => root().join("tests/tests/help"), prepend_module_to_snapshot => false}, {
            insta::assert_snapshot!(format!("{name}"), help);
        });
    }
}

#[test]
fn codecs_and_places_leave_rows_reruns_and_bytes_as_they_are() {
    let folder = study();
    let study = folder.path().join("study");
    let rows = |out: &Path| sql(out, "SELECT volume_id, content_hash FROM volumes ORDER BY volume_id");
    let size = |out: &Path| -> usize {
        files(out).iter().filter(|(name, _)| name.starts_with("volumes/")).map(|(_, bytes)| bytes.len()).sum()
    };
    let plain = folder.path().join("plain");
    run_to(1, &mut prepare(&study, &plain, &[]));
    for codec in ["zstd1", "lz4", "none"] {
        let out = folder.path().join(codec);
        let set = format!("volume.codec={codec}");
        run_to(1, &mut prepare(&study, &out, &[&set]));
        run_to(0, program("med2e3-data").arg("verify").arg(&out));
        assert_eq!(rows(&out), rows(&plain), "{codec}");
        // What is not compressed is larger, and the default is what was written before there was a choice.
        assert!(if codec == "none" { size(&out) > size(&plain) } else { true }, "{codec}");
        assert!((files(&out) == files(&plain)) == (codec == "zstd1"), "{codec}");
        // A rerun has nothing to do.
        let before = files(&out);
        run_to(0, program("med2e3-data").arg("diff").arg(&out));
        let said = report(&mut prepare(&study, &out, &[&set]));
        assert_eq!(said["inputs_read"], 0, "{codec}");
        assert!(files(&out) == before, "{codec}");
        let said = run_to(0, program("med2e3-data").args(["bench", "feed", "--threads", "2,1", "--json"]).arg(&out));
        let measured: Value = serde_json::from_str(&said.out).unwrap();
        assert_eq!(measured["codecs"], serde_json::json!([codec]));
        assert!(measured["reads"].as_array().unwrap().iter().all(|reads| reads["per_second"].as_f64().unwrap() > 0.0));
    }

    // A dataset without places: they are made at the first read, are no stray, and a rerun names them.
    let whole = files(&plain);
    let places = plain.join("feed/places.bin");
    fs::remove_dir_all(plain.join("feed")).unwrap();
    let said = run_to(1, program("med2e3-data").arg("verify").arg(&plain));
    assert!(said.out.contains("feed/places.bin"), "{}", said.out);
    run_to(0, program("med2e3-data").args(["bench", "feed", "--threads", "1"]).arg(&plain));
    run_to(0, program("med2e3-data").arg("verify").arg(&plain));
    assert!(files(&plain) == whole);
    // Damaged ones and those of another dataset are found, and made again by a rerun.
    let own = fs::read(&places).unwrap();
    for other in [&own[..own.len() - 1], &fs::read(folder.path().join("lz4/feed/places.bin")).unwrap()] {
        fs::write(&places, other).unwrap();
        let said = run_to(1, program("med2e3-data").arg("verify").arg(&plain));
        assert!(said.out.contains("feed/places.bin"), "{}", said.out);
        report(&mut prepare(&study, &plain, &[]));
        assert!(files(&plain) == whole);
    }
    let said = run_to(2, program("med2e3-data").args(["bench", "feed", "--threads", "0"]).arg(&plain));
    assert!(said.err.contains("--threads"), "{}", said.err);
}
