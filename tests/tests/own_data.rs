//! From a hospital's folder and tables to a dataset: the journey of a person who has no public data.

use std::fs;
use std::path::Path;
use std::process::Command;

use med2e3_tests::program::{program, run_to};
use med2e3_tests::study::{files, sql};
use med2e3_tests::{own, python};
use serde_json::{Value, json};

/// Writes the configuration of `root`'s data beside it.
fn configure(folder: &Path, root: &Path) {
    let text = format!("root = {:?}\n{}", root.display().to_string(), own::CONFIGURATION);
    fs::write(folder.join("own.toml"), text).unwrap();
}

fn prepare(folder: &Path, out: &str, more: &[&str]) -> Command {
    let mut command = program("med2e3-data");
    command.arg("prepare").arg(folder.join("own.toml")).arg("--out").arg(folder.join(out)).args(more);
    command.args(["--set", "volume.shape=[4,16,16]", "--set", "engine.volumes_per_range=5"]);
    command
}

fn report(dataset: &Path) -> Value {
    serde_json::from_slice(&fs::read(dataset.join("report.json")).unwrap()).unwrap()
}

/// Runs every Python block of a dataset's card, which open it by torch, pandas, polars, DuckDB and datasets; counts what the package
/// sees, with a batch of texts as training takes it.
const READERS: &str = r#"
import os, re, sys

os.chdir(sys.argv[1])
blocks = re.findall(r"```python\n(.*?)```", open("README.md", encoding="utf-8").read(), re.S)
for block in blocks:
    exec(compile(block, "block of README.md", "exec"), {})
for word in ("torch", "pandas", "polars", "duckdb", "datasets"):
    assert any(word in block for block in blocks), word

import med2e3

ds = med2e3.open(".")
texts = ds.torch(split="train", values="hu")
batch = ds.collate([texts[0], texts[1]])
assert batch["labels"].shape == batch["ids"].shape and (batch["labels"] != -100).any()
hounsfield = ds.volumes[0].hounsfield()
assert -1000 <= hounsfield.min() and 30 < hounsfield.max() < 300, (hounsfield.min(), hounsfield.max())
print(len(ds.volumes), len(ds.samples))
"#;

/// Every text and name in a dataset: the bytes of its files, and the rows of its tables, whose pages are compressed.
fn everything(dataset: &Path) -> String {
    let mut all = String::new();
    for (name, bytes) in files(dataset) {
        all += &format!("{name}\n{}\n", String::from_utf8_lossy(&bytes));
    }
    for name in ["prepare.toml", "report.json"] {
        all += &fs::read_to_string(dataset.join(name)).unwrap();
    }
    let volumes = "SELECT source_path, case_id, series, plane, orientation, notes FROM volumes";
    for query in ["SELECT * FROM samples", "SELECT * FROM quarantine", volumes] {
        sql(dataset, query).iter().for_each(|row| all += &row.to_string());
    }
    all
}

#[test]
fn a_hospitals_folder_and_tables_become_a_dataset() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("hospital");
    own::write(&root);
    configure(folder.path(), &root);
    let dataset = folder.path().join("dataset");
    let said = run_to(1, &mut prepare(folder.path(), "dataset", &["--scrub"]));

    assert!(said.out.contains("2 files of the manifest, which are read"), "{}", said.out);

    // What is withheld is said once, and what there was of everything.
    assert_eq!(said.err.matches("names are withheld").count(), 1, "{}", said.err);
    let found = report(&dataset);
    let (volumes, texts) = (&found["volumes"], &found["texts"]);
    assert_eq!((&volumes["rows"], &volumes["quarantined"]), (&json!(own::VOLUMES), &json!({"truncated_gzip": 1})));
    // The broken file is a volume without a text. Two reports are missing, one is of no volume; a question is about every volume of its patient.
    assert_eq!(texts["rows"], json!(own::PATIENTS - 2 + own::VOLUMES));
    assert_eq!(texts["quarantined"], json!({"no_volume": 1}));
    let manifest = &found["manifest"];
    assert_eq!(manifest["cases"]["table"], json!(own::PATIENTS), "{manifest}");
    assert_eq!((&manifest["rows_without_text"], &manifest["volumes_without_text"]), (&json!(2), &json!(1)));
    assert!(manifest["scrubbed"].as_object().unwrap().values().all(|count| count.as_u64() > Some(0)), "{manifest}");

    // Nobody is named anywhere in it, and everybody was beforehand.
    let before: String = own::identities().into_iter().filter(|value| !is_in(&root, value)).collect();
    assert_eq!(before, "");
    let kept = everything(&dataset);
    let named: Vec<String> = own::identities().into_iter().filter(|value| kept.contains(value.as_str())).collect();
    assert!(named.is_empty(), "{named:?}");
    assert!(kept.contains("Läsion von 3,5 mm") && kept.contains("kein Erguß") && kept.contains("病灶是否超过五毫米"));
    run_to(0, program("med2e3-data").arg("verify").arg(&dataset));

    // A colleague opens it.
    let counts = python::run(READERS, &[&dataset]);
    assert_eq!(counts.lines().last().unwrap(), format!("{} {}", own::VOLUMES, own::PATIENTS - 2 + own::VOLUMES));

    // Rejects are listed: without names from the dataset, with them from beside it.
    let rejects = |more: &[&str]| run_to(0, program("med2e3-data").arg("rejects").arg(&dataset).args(more)).out;
    assert!(rejects(&[]).contains("truncated_gzip") && !rejects(&[]).contains("broken_file"));
    assert!(
        rejects(&["--names"]).contains("nifti/broken_file.nii.gz") && rejects(&["--names"]).contains("befunde.csv:")
    );

    // Both series of a patient are one case, so that a split by patients leaves nothing shared.
    let cases = sql(&dataset, "SELECT case_id, count(*) AS n FROM volumes GROUP BY case_id");
    assert_eq!(cases.len(), own::PATIENTS);
    assert_eq!(cases.iter().filter(|case| case["n"] == 2).count(), own::VOLUMES - own::PATIENTS);
    let mut split = program("med2e3-data");
    split.arg("resplit").arg(&dataset).args(["--name", "patients", "--validation", "0.2", "--test", "0.2"]);
    run_to(0, &mut split);
    let torn = "SELECT s.case_id FROM samples s JOIN (SELECT sample_id, 0 AS part FROM \"subset_patients-train\" UNION ALL \
        SELECT sample_id, 1 FROM \"subset_patients-validation\" UNION ALL SELECT sample_id, 2 FROM \"subset_patients-test\") p \
        ON s.sample_id = p.sample_id GROUP BY s.case_id HAVING min(part) <> max(part)";
    assert_eq!(sql(&dataset, torn), Vec::<Value>::new());
}

#[test]
fn five_files_more_and_three_less_are_the_only_work_of_the_next_run() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("hospital");
    own::write(&root);
    configure(folder.path(), &root);
    run_to(1, &mut prepare(folder.path(), "dataset", &[]));
    let again = run_to(1, &mut prepare(folder.path(), "dataset", &[]));
    assert!(again.out.contains("nothing to do"), "{}", again.out);
    let diff = |code: i32| {
        let mut command = program("med2e3-data");
        serde_json::from_str::<Value>(
            &run_to(code, command.arg("diff").arg(folder.path().join("dataset")).arg("--json")).out,
        )
        .unwrap()
    };
    assert_eq!(diff(0)["would_change"], json!(false));
    for patient in 100..105 {
        own::write_nifti(&root, patient);
    }
    for patient in own::PATIENTS - 3..own::PATIENTS {
        fs::remove_file(root.join(format!("nifti/{}.nii.gz", own::name(patient)))).unwrap();
    }
    // What the run will do is said before it does it.
    let foreseen = diff(1)["volumes"].clone();
    assert_eq!(
        (&foreseen["new"], &foreseen["gone"], &foreseen["changed"]),
        (&json!(5), &json!(3), &json!(0)),
        "{foreseen}"
    );
    run_to(1, &mut prepare(folder.path(), "dataset", &[]));
    let found = report(&folder.path().join("dataset"));
    assert_eq!(found["volumes"]["rows"], json!(own::VOLUMES + 5 - 3));
    assert_eq!(diff(0)["would_change"], json!(false));
    // Their questions and their report, two of which there were, have no volume any more.
    assert_eq!(found["texts"]["quarantined"], json!({"no_volume": 1 + 3 + 2}));
    assert_eq!(found["manifest"]["volumes_without_text"], json!(5 + 1));
    run_to(0, program("med2e3-data").arg("verify").arg(folder.path().join("dataset")));
    // The same as a run from nothing.
    run_to(1, &mut prepare(folder.path(), "fresh", &[]));
    let rows = |name: &str| report(&folder.path().join(name))["volumes"].clone();
    assert_eq!(rows("dataset"), rows("fresh"));
}

#[test]
fn texts_that_name_patients_are_counted_where_they_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("hospital");
    own::write(&root);
    configure(folder.path(), &root);
    let said = run_to(1, &mut prepare(folder.path(), "dataset", &[]));
    let found = report(&folder.path().join("dataset"));
    assert_eq!(found["manifest"]["texts_with_identities"], json!(own::PATIENTS - 2));
    assert!(said.out.contains("look as if they told who a patient is") && said.out.contains("--scrub"), "{}", said.out);
}

#[test]
fn tables_name_series_and_orders_and_patients_of_dicom() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("hospital");
    (0..4).for_each(|patient| (0..2).for_each(|series| own::write_series(&root, patient, series)));
    let series = |patient: usize, series: usize| format!("1.2.826.0.1.3680043.{patient}.{}", series + 1);
    let mut reports = String::from("Accession Number\tReport\n");
    (0..3).for_each(|patient| reports += &format!("{}\tOrder of {patient}\n", own::accession(patient)));
    reports += "A1\tof another house\n";
    fs::write(root.join("orders.tsv"), reports).unwrap();
    let choices = r#"["axial", "coronal"]"#;
    let line =
        |uid: String| format!("{{\"uid\": \"{uid}\", \"q\": \"Which plane?\", \"c\": {choices}, \"a\": \"Axial\"}}\n");
    fs::write(root.join("series.jsonl"), line(series(3, 1)) + &line(series(3, 1) + ".7")).unwrap();
    // The files state the patient; this table calls them by the number that they state.
    fs::write(root.join("patients.csv"), format!("patient;report\n{};Of the patient\n", own::patient_id(2))).unwrap();
    let text = format!(
        "root = {:?}\n[manifest]\nfolders = [\"\"]\n[[manifest.table]]\npath = \"orders.tsv\"\n[[manifest.table]]\n\
        path = \"patients.csv\"\n[[manifest.table]]\npath = \"series.jsonl\"\n\
        columns = {{ series = \"uid\", question = \"q\", choices = \"c\", answer = \"a\" }}\n",
        root.display().to_string()
    );
    fs::write(folder.path().join("own.toml"), text).unwrap();
    run_to(1, &mut prepare(folder.path(), "dataset", &["--set", "text.tokenizer={train=600}"]));
    let dataset = folder.path().join("dataset");
    let found = report(&dataset);
    // Two series an order and a patient; the id of another series and another order are nobody's here.
    assert_eq!(
        (&found["texts"]["rows"], &found["texts"]["quarantined"]),
        (&json!(3 * 2 + 1 + 2), &json!({"no_volume": 2}))
    );
    assert_eq!(found["manifest"]["cases"], json!({"patient_id": 4}));
    let cases = "SELECT count(DISTINCT case_id) AS n FROM samples WHERE answer IN ('Order of 2', 'Of the patient')";
    assert_eq!(sql(&dataset, cases), [json!({"n": 1})]);
    let closed = sql(&dataset, "SELECT question, answer FROM samples WHERE task = 'closed_vqa'");
    assert_eq!(closed, [json!({"question": "Which plane? Choices: A. axial B. coronal", "answer": "A. axial"})]);
    // The same patients have the same cases under the same key, and others under another dataset's.
    let all = |dataset: &Path| sql(dataset, "SELECT DISTINCT case_id FROM volumes ORDER BY case_id");
    run_to(1, &mut prepare(folder.path(), "other", &["--set", "text.tokenizer={train=600}"]));
    assert_ne!(all(&dataset), all(&folder.path().join("other")));
}

#[test]
fn init_writes_what_prepare_takes() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("hospital");
    own::write(&root);
    let init = |out: &str| {
        let mut command = program("med2e3-data");
        command.arg("init").arg(&root).arg("--out").arg(folder.path().join(out));
        command
    };
    let said = run_to(0, &mut init("start")).out;
    assert!(
        said.contains("26 volumes found") && said.contains("befunde.csv: a table") && said.contains("windows-1252"),
        "{said}"
    );
    assert!(run_to(2, &mut init("start")).err.contains("prepare.toml: is there already"));
    let mut prepare = program("med2e3-data");
    prepare
        .arg("prepare")
        .arg(folder.path().join("start/prepare.toml"))
        .arg("--out")
        .arg(folder.path().join("dataset"));
    run_to(1, prepare.args(["--set", "volume.shape=[4,16,16]"]));
    let texts = report(&folder.path().join("dataset"))["texts"]["rows"].clone();
    assert_eq!(texts, json!(own::PATIENTS - 2));

    // A table below, whose paths are relative to its own folder, and one in M3D-VQA's form.
    fs::write(root.join("nifti/mine.csv"), format!("file,report\n{}.nii.gz,Normal.\n", own::name(12))).unwrap();
    let m3d = "Image Path,Question Type,Question,Choice A,Choice B,Choice C,Choice D,Answer,Answer Choice\n";
    fs::write(root.join("M3D_VQA_test.csv"), m3d).unwrap();
    fs::write(root.join("numbers.csv"), "a,b\n1,2\n").unwrap();
    let said = run_to(0, &mut init("more")).out;
    assert!(said.contains("M3D_VQA_test.csv: a table in M3D-VQA's form") && said.contains("names: a, b"), "{said}");
    let text = fs::read_to_string(folder.path().join("more/prepare.toml")).unwrap();
    assert!(
        text.contains("base = \"nifti\"") && text.contains("path = \"M3D_VQA_test.csv\", split = \"test\""),
        "{text}"
    );
    ["nifti/mine.csv", "M3D_VQA_test.csv", "numbers.csv"]
        .iter()
        .for_each(|name| fs::remove_file(root.join(name)).unwrap());

    // Without a table, one to be written into.
    ["befunde.csv", "fragen.jsonl"].iter().for_each(|name| fs::remove_file(root.join(name)).unwrap());
    run_to(0, &mut init("empty"));
    let template = folder.path().join("empty/texts.csv");
    let lines = fs::read_to_string(&template).unwrap();
    assert_eq!(lines.lines().count(), 1 + own::VOLUMES + 1, "{lines}");
    let filled = lines.replacen(".nii.gz,,", ".nii.gz,Ohne Befund.,", 2);
    fs::write(&template, filled).unwrap();
    let mut prepare = program("med2e3-data");
    prepare.arg("prepare").arg(folder.path().join("empty/prepare.toml")).arg("--out").arg(folder.path().join("second"));
    run_to(1, prepare.args(["--set", "volume.shape=[4,16,16]", "--set", "text.tokenizer={train=600}"]));
    assert_eq!(report(&folder.path().join("second"))["texts"]["rows"], json!(2));
}

/// Whether a value is a name of a file below the folder, or in one.
fn is_in(root: &Path, value: &str) -> bool {
    files(root).iter().any(|(name, bytes)| {
        let bytes =
            if name.ends_with(".csv") { bytes.iter().map(|byte| char::from(*byte)).collect() } else { lossy(bytes) };
        name.contains(value) || bytes.contains(value)
    })
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
