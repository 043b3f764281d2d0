//! Datasets and queries of strangers: words and an exit code, within memory and time, nothing that a terminal obeys.

use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use med2e3_tests::bounded::{Bounds, run_within, run_within_to};
use med2e3_tests::program::program;
use med2e3_tests::tiny;
use serde_json::Value;

const BOUNDS: Bounds = Bounds { mib: 600, seconds: 120 };

fn data(verb: &str, dataset: &Path) -> Command {
    let mut command = program("med2e3-data");
    command.arg(verb).arg(dataset);
    command
}

/// Changes the dataset's index, whose own hash then differs.
fn change_index(dataset: &Path, change: impl FnOnce(&mut Value)) {
    let path = dataset.join("dataset.json");
    let mut index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut index);
    fs::write(path, serde_json::to_vec(&index).unwrap()).unwrap();
}

#[test]
fn only_the_datasets_own_files_are_opened() {
    let folder = tempfile::tempdir().unwrap();
    tiny::dataset(folder.path(), &[]);
    let dataset = folder.path().join("dataset");
    let index = fs::read(dataset.join("dataset.json")).unwrap();
    let outside = folder.path().join("outside.parquet");
    fs::copy(dataset.join("samples/00000.parquet"), &outside).unwrap();
    std::os::unix::fs::symlink(&outside, dataset.join("samples/link.parquet")).unwrap();
    assert!(Command::new("mkfifo").arg(dataset.join("pipe")).status().unwrap().success());
    let entry = || serde_json::json!({"bytes": 1, "xxh3": "0000000000000000"});
    type Change<'a> = (&'a str, Box<dyn FnOnce(&mut Value)>);
    let changes: Vec<Change<'_>> = vec![
        ("within the folder", Box::new(move |index| index["files"]["../outside.parquet"] = entry())),
        ("within the folder", Box::new(move |index| index["files"]["/etc/hostname"] = entry())),
        ("within the folder", Box::new(|index| index["samples"][0]["path"] = "../outside.parquet".into())),
        ("within the folder", Box::new(|index| index["tokenizer"] = "../../x/tokenizer.json".into())),
        ("leads out", Box::new(|index| index["samples"][0]["path"] = "samples/link.parquet".into())),
        ("a named pipe", Box::new(move |index| index["files"]["pipe"] = entry())),
        ("a named pipe", Box::new(|index| index["samples"][0]["path"] = "pipe".into())),
        (
            "shape_dhw",
            Box::new(|index| index["voxels"]["shape_dhw"] = serde_json::json!([1u64 << 40, 1u64 << 40, 1u64 << 40])),
        ),
        (
            "file named once",
            Box::new(|index| {
                let first = index["samples"][0].clone();
                index["samples"].as_array_mut().unwrap().push(first);
            }),
        ),
    ];
    for (words, change) in changes {
        fs::write(dataset.join("dataset.json"), &index).unwrap();
        change_index(&dataset, change);
        let sql = run_within_to(&[2], BOUNDS, data("sql", &dataset).arg("SELECT count(*) FROM samples"));
        assert!(sql.err.contains(words), "{words}: {}", sql.err);
        run_within_to(&[1, 2], BOUNDS, &mut data("verify", &dataset));
        run_within_to(&[2], BOUNDS, &mut data("inspect", &dataset));
        run_within_to(&[2], BOUNDS, &mut data("leaks", &dataset));
        run_within_to(&[2], BOUNDS, &mut data("stats", &dataset));
        run_within_to(&[2], BOUNDS, &mut data("sql", &dataset));
        run_within_to(&[2], BOUNDS, data("view", &dataset).arg("--out").arg(folder.path().join("page.html")));
        run_within_to(&[2], BOUNDS, data("resplit", &dataset).args(["--name", "new"]));
        run_within_to(&[2], BOUNDS, &mut tiny::train(folder.path(), "run", &[]));
    }
    // Strays: found by verify, counted by nobody.
    fs::write(dataset.join("dataset.json"), &index).unwrap();
    for stray in ["pipe", "samples/link.parquet"] {
        fs::remove_file(dataset.join(stray)).unwrap();
    }
    let count =
        || run_within_to(&[0], BOUNDS, data("sql", &dataset).args(["--json", "SELECT count(*) AS n FROM samples"])).out;
    let before = count();
    fs::copy(&outside, dataset.join("samples/00000 copy.parquet")).unwrap();
    fs::write(dataset.join("samples/._00000.parquet"), b"no parquet").unwrap();
    assert_eq!(count(), before);
    let verified = run_within_to(&[1], BOUNDS, &mut data("verify", &dataset)).out;
    assert!(
        verified.contains("00000 copy.parquet: a stray file") && verified.contains("._00000.parquet"),
        "{verified}"
    );
}

#[test]
fn a_query_takes_no_more_than_it_may() {
    let folder = tempfile::tempdir().unwrap();
    tiny::dataset(folder.path(), &[]);
    let dataset = folder.path().join("dataset");
    let deep = [
        format!("SELECT 1 WHERE {}", vec!["1=1"; 5000].join(" OR ")),
        format!("SELECT 1{}", "+1".repeat(5000)),
        format!("SELECT {}1{}", "(".repeat(5000), ")".repeat(5000)),
    ];
    let wide = [
        "SELECT repeat('x', 100000000000)",
        "SELECT length(repeat('x', 1000000000)) FROM samples",
        "SELECT length(lpad('x', 2000000000, 'ab'))",
        "SELECT length(rpad(question, 200000000, 'ab')) FROM samples",
        "SELECT array_length(array_repeat(1, 1000000000))",
        "SELECT array_length(range(0, 100000000000))",
        "SELECT length(replace(repeat('x', 1000000), 'x', repeat('y', 1000000)))",
        "SELECT sum(value) FROM generate_series(1, 100000000000)",
        "SELECT count(*) FROM samples a, samples b, samples c, samples d, samples e, samples f, samples g, samples h",
        "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t",
        "WITH RECURSIVE t AS (SELECT 'x' AS n UNION ALL SELECT n || n FROM t) SELECT max(length(n)) FROM t",
        "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT * FROM t",
    ];
    let files = [
        "SELECT * FROM '/etc/passwd'",
        "COPY (SELECT 1) TO 'copied.csv'",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
        "CREATE TABLE t AS SELECT 1",
        "INSERT INTO samples SELECT * FROM samples",
        "SET datafusion.execution.batch_size = 1",
    ];
    for query in deep.iter().map(String::as_str).chain(wide).chain(files) {
        let said =
            run_within_to(&[2], BOUNDS, data("sql", &dataset).args(["--memory", "128", "--timeout", "4", query]));
        assert!(said.err.starts_with("error: "), "{}", said.err);
    }
    // What is right goes on.
    run_within_to(&[0], BOUNDS, data("sql", &dataset).arg("SELECT 1 --".to_owned() + &"x".repeat(100_000)));
    let list: Vec<String> = (0..10_000).map(|n| n.to_string()).collect();
    let query = format!("SELECT count(*) FROM samples WHERE length(question) IN ({})", list.join(","));
    run_within_to(&[0], BOUNDS, data("sql", &dataset).arg(query));
    let terms: Vec<String> = (0..400).map(|n| format!("length(question) = {n}")).collect();
    run_within_to(
        &[0],
        BOUNDS,
        data("sql", &dataset).arg(format!("SELECT count(*) FROM samples WHERE {}", terms.join(" OR "))),
    );
    run_within_to(&[0], BOUNDS, data("sql", &dataset).arg("EXPLAIN ANALYZE SELECT count(*) FROM volumes"));
}

#[test]
fn nothing_is_printed_that_a_terminal_obeys() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in");
    const ESCAPE: &str = "\u{1b}]0;title\u{7}\u{1b}[2J\u{9b}31m\u{202e}";
    let case = input.join(format!("=1+1{ESCAPE}"));
    fs::create_dir_all(&case).unwrap();
    fs::write(case.join("broken.nii"), b"no volume").unwrap();
    fs::write(input.join(format!("broken{ESCAPE}\nerror: forged.nii")), b"no volume").unwrap();
    tiny::dataset(folder.path(), &[]);
    let dataset = folder.path().join("dataset");
    // Whatever names and texts say, nobody's terminal obeys them.
    let said = RefCell::new(String::new());
    let add = |command: &mut Command| {
        let run = run_within(BOUNDS, command);
        *said.borrow_mut() += &(run.out.clone() + &run.err);
        run
    };
    let mut prepare = program("med2e3-data");
    let prepared = add(prepare.arg("prepare").arg(&input).arg("--out").arg(folder.path().join("broken")));
    assert_ne!(prepared.code, 0);
    add(program("med2e3-data").arg("prepare").arg(&input).arg("--out").arg(folder.path().join("dry")).arg("--dry-run"));
    for verb in ["stats", "sql", "diff"] {
        add(&mut data(verb, &dataset));
    }
    add(data("diff", &dataset).args(["--set", &format!("root=\"/nowhere{ESCAPE}\"")]));
    let page = folder.path().join(format!("page{ESCAPE}.html"));
    add(data("view", &dataset).arg("--out").arg(&page));
    *said.borrow_mut() += &fs::read_to_string(&page).unwrap();
    fs::write(dataset.join(format!("samples/{ESCAPE}")), b"x").unwrap();
    add(&mut data("verify", &dataset));
    add(data("verify", &dataset).arg("--json"));
    add(&mut data("verify", Path::new(&format!("/nowhere{ESCAPE}\nsound"))));
    add(data("sql", &dataset).arg(format!("SELECT '{ESCAPE}' AS \"{ESCAPE}\"")));
    add(data("sql", &dataset).args(["--json", &format!("SELECT '{ESCAPE}' AS a")]));
    add(data("sql", &dataset).arg(format!("SELECT {ESCAPE}")));
    add(data(&format!("verb{ESCAPE}"), &dataset).arg("x"));
    add(program("med2e3").args([
        "generate",
        "--checkpoint",
        &format!("/nowhere{ESCAPE}"),
        "--volume",
        "x",
        "--question",
        "?",
    ]));
    add(&mut tiny::train(folder.path(), "run", &[&format!("{ESCAPE}=1")]));
    let said = said.into_inner();
    let obeyed = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    let at = said.find(obeyed).map(|at| said[at..].chars().take(40).collect::<String>());
    assert_eq!(at.map(|text| text.escape_debug().to_string()), None);
    assert!(said.contains("\\u{1b}]0;title\\u{7}") && said.contains("\\u{202e}"), "{said}");
    // A name's line break makes no message of its own.
    assert!(!said.lines().any(|line| line == "sound" || line.starts_with("error: forged")), "{said}");
}

#[test]
fn a_shard_that_is_cut_while_it_is_trained_on_ends_the_run_in_words() {
    for damage in ["cut", "gone"] {
        let folder = tempfile::tempdir().unwrap();
        tiny::dataset(folder.path(), &[]);
        let dataset = folder.path().join("dataset");
        let endless = ["data.max_steps=1000000", "data.epochs=1000000", "checkpoint.every_steps=1000000"];
        let mut command = tiny::train(folder.path(), "run", &endless);
        let run = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = folder.path().join("run/train.jsonl");
        wait_until(|| fs::read_to_string(&log).is_ok_and(|text| text.lines().count() > 2));
        let shards = fs::read_dir(dataset.join("volumes")).unwrap().map(|entry| entry.unwrap().path());
        for shard in shards.collect::<Vec<_>>() {
            match damage {
                "cut" => fs::File::options().write(true).open(shard).unwrap().set_len(50).unwrap(),
                _ => fs::remove_file(shard).unwrap(),
            }
        }
        if damage == "gone" {
            // Files that are open stay readable: the run goes on until something asks for the folder again.
            let id = run.id();
            let before = fs::read_to_string(&log).unwrap().lines().count();
            wait_until(|| fs::read_to_string(&log).is_ok_and(|text| text.lines().count() > before + 2));
            assert!(Command::new("kill").arg(id.to_string()).status().unwrap().success());
            run.wait_with_output().unwrap();
            continue;
        }
        let ended = run.wait_with_output().unwrap();
        let err = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(2), "{err}");
        assert!(err.contains("volumes/00000.parquet") && err.contains("found 50 bytes"), "{err}");
    }
}

fn wait_until(is: impl Fn() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < Duration::from_secs(240), "it never comes");
        std::thread::sleep(Duration::from_millis(20));
    }
}
