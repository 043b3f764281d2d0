//! `med2e3 score` from the outside: predictions of other programs give the table of `evaluate`, and what is wrong with a file is said.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use med2e3_tests::program::{Said, program, run, run_to};
use med2e3_tests::tiny::{dataset, evaluate, train};
use serde_json::{Value, json};

/// A dataset and a trained model's answers to its training split.
struct Made {
    folder: tempfile::TempDir,
    report: Value,
    /// Ids of samples in the order of the dataset's tables.
    order: Vec<String>,
}

fn made() -> Made {
    let folder = tempfile::tempdir().unwrap();
    dataset(folder.path(), &[]);
    run_to(0, &mut train(folder.path(), "run", &["data.tasks=[\"caption\", \"open_vqa\"]"]));
    let split = ["split=\"train\"", "tasks=[\"caption\", \"open_vqa\", \"closed_vqa\"]"];
    run_to(0, &mut evaluate(folder.path(), "run", "dataset", "answers", &split));
    let report = report(&folder.path().join("answers"));
    let query = "SELECT sample_id FROM manifest_texts ORDER BY ordinal";
    let rows =
        run_to(0, program("med2e3-data").arg("sql").arg(folder.path().join("dataset")).args([query, "--json"])).out;
    let id = |row: &str| serde_json::from_str::<Value>(row).unwrap()["sample_id"].as_str().unwrap().to_owned();
    let order = rows.lines().map(id).collect();
    Made { folder, report, order }
}

fn report(out: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(out.join("report.json")).unwrap()).unwrap()
}

fn field<'a>(answer: &'a Value, name: &str) -> &'a str {
    answer[name].as_str().unwrap_or_default()
}

/// A cell in quotes.
fn cell(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

impl Made {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The answers of a task, in the order of the tables.
    fn answers(&self, task: &str) -> Vec<&Value> {
        let all = self.report["answers"].as_array().unwrap();
        let mut of_task: Vec<&Value> = all.iter().filter(|answer| answer["task"] == task).collect();
        of_task.sort_by_key(|answer| self.order.iter().position(|id| id == field(answer, "sample_id")));
        of_task
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    /// `med2e3 score` of files in a format, into a new folder.
    fn command(&self, format: &str, files: &[PathBuf], out: &str) -> Command {
        let mut command = program("med2e3");
        command
            .args(["score", "--format", format, "--split", "train", "--json", "--dataset"])
            .arg(self.path("dataset"));
        command.arg("--out").arg(self.path(out)).arg("--predictions").args(files);
        command
    }

    fn refused(&self, format: &str, name: &str, text: impl AsRef<[u8]>) -> String {
        let file = self.write(name, text);
        let said = run_to(2, &mut self.command(format, &[file], "refused"));
        assert!(said.out.is_empty() && !self.path("refused").exists(), "{}", said.err);
        assert!(said.err.starts_with("error: ") && said.err.contains(name), "{}", said.err);
        said.err
    }

    /// The scores of a report that are of these tasks, but for what the model alone can tell.
    fn scores(&self, tasks: &[&str]) -> Vec<Value> {
        let all = self.report["scores"].as_array().unwrap();
        let is_of_texts = |score: &&Value| tasks.contains(&field(score, "task")) && score["metric"] != "likelihood";
        all.iter().filter(is_of_texts).cloned().collect()
    }
}

/// M3D's file of a task, with what its scripts write beside.
fn m3d(task: &str, answers: &[&Value]) -> String {
    let header = match task {
        "caption" => "Question,Ground Truth,pred,bleu,rouge1,meteor,bert_f1",
        "open_vqa" => "Question Type,Question,Answer,Pred,bleu,rouge1,meteor,bert_f1",
        _ => "Question Type,Question,Answer,Answer Choice,Pred,Correct",
    };
    let mut text = format!("{header}\r\n");
    for answer in answers {
        let question = cell(&format!("{} {}", "<im_patch>".repeat(8), field(answer, "question")));
        let [expected, said] = ["expected", "answer"].map(|name| cell(field(answer, name)));
        let row = match task {
            // The prompt is drawn anew.
            "caption" => format!("<im_patch>Write it.,{expected},{said},0,0,0,0"),
            "open_vqa" => format!("1,{question},{expected},{said},0,0,0,0"),
            _ => format!("1,{question},{expected},{},{said},0", field(answer, "answer_choice")),
        };
        text += &format!("{row}\r\n");
    }
    text
}

const TASKS: [&str; 3] = ["caption", "open_vqa", "closed_vqa"];

#[test]
fn every_format_gives_the_table_of_evaluate() {
    let made = made();
    let all = made.report["answers"].as_array().unwrap();
    let ids = |key: &str, text: &str| -> Vec<Value> {
        all.iter()
            .map(|answer| json!({"id": answer["sample_id"], key: answer["answer"], text: answer["expected"]}))
            .collect()
    };
    let lines = |rows: Vec<Value>| rows.iter().map(|row| format!("{row}\n")).collect::<String>();
    let table = |separator: &str| {
        let row = |answer| format!("{}{separator}{}\r\n", cell(field(answer, "answer")), field(answer, "sample_id"));
        format!("prediction{separator}id\r\n{}", all.iter().map(row).collect::<String>())
    };
    let utf16: Vec<u8> = format!("\u{feff}{}", table("\t")).encode_utf16().flat_map(u16::to_le_bytes).collect();
    let radfm =
        |text: &str| cell(&format!("[\"{}\"]", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")));
    // The loader shuffles.
    let shuffled: String = all
        .iter()
        .rev()
        .map(|answer| {
            let [question, expected, said] = ["question", "expected", "answer"].map(|name| radfm(field(answer, name)));
            format!("{question},{expected},{said},\"['x']\"\n")
        })
        .collect();
    let by_task = |of: &str, name: &str| made.write(&format!("{name}-{of}.csv"), m3d(of, &made.answers(of)));
    let aspects = |of: &str| m3d(of, &made.answers(of)).replacen("Question Type", "Question Aspect", 1);
    let cases: [(&str, Vec<PathBuf>, &str, &[&str]); 9] = [
        ("m3d", TASKS.iter().map(|of| by_task(of, "m3d")).collect(), "order", &TASKS),
        ("m3d", vec![by_task("closed_vqa", "closed")], "order", &["closed_vqa"]),
        ("med2e3", vec![made.write("a.json", Value::from(ids("outputs", "answers")).to_string())], "id", &TASKS),
        (
            "radfm",
            vec![made.write("r.csv", format!("Question,Ground Truth,Pred,belong_to\n{shuffled}"))],
            "order",
            &TASKS,
        ),
        (
            "3d-rad",
            vec![made.write("o.csv", aspects("open_vqa")), made.write("c.csv", aspects("closed_vqa"))],
            "order",
            &TASKS[1..],
        ),
        ("plain", vec![made.write("p.csv", table(","))], "id", &TASKS),
        ("plain", vec![made.write("u.tsv", utf16)], "id", &TASKS),
        ("plain", vec![made.write("p.jsonl", format!("\u{feff}{}", lines(ids("prediction", "x"))))], "id", &TASKS),
        ("plain", vec![made.write("p.json", Value::from(ids("prediction", "x")).to_string())], "id", &TASKS),
    ];
    for (number, (format, files, matched, tasks)) in cases.into_iter().enumerate() {
        let out = format!("score-{number}");
        let said = run_to(0, &mut made.command(format, &files, &out));
        let found = report(&made.path(&out));
        assert_eq!(serde_json::from_str::<Value>(&said.out).unwrap(), found);
        assert_eq!((&found["matched"], &found["samples_without_prediction"]), (&json!(matched), &json!(0)), "{format}");
        let expected = made.scores(tasks);
        let scores = found["scores"].as_array().unwrap();
        assert_eq!(scores.len(), expected.len());
        for (score, expected) in scores.iter().zip(&expected) {
            // Which of two samples with the same texts a row of a shuffled file is to, nobody knows: intervals are of cases.
            let names: &[&str] =
                if format == "radfm" { &["task", "topic", "metric", "count", "micro", "macro_mean"] } else { &[] };
            match names {
                [] => assert_eq!(score, expected, "{format}"),
                names => names.iter().for_each(|name| assert_eq!(score[name], expected[name], "{format} {name}")),
            }
        }
        if tasks.len() == 3 && format != "radfm" {
            let texts = |report: &Value| -> Vec<(String, String)> {
                let answers = report["answers"].as_array().unwrap().iter();
                answers.map(|answer| (field(answer, "sample_id").into(), field(answer, "answer").into())).collect()
            };
            assert_eq!(texts(&found), texts(&made.report), "{format}");
        }
        let log = fs::read_to_string(made.path(&out).join("answers.jsonl")).unwrap();
        assert_eq!(log.lines().count(), found["answers"].as_array().unwrap().len());
    }
    // Evaluate's own report as other programs' files, and those again.
    for (form, names) in [
        ("m3d", ["eval_caption.csv", "eval_open_vqa.csv", "eval_close_vqa.csv"]),
        ("med2e3", ["m3d_cap_std.json", "m3d_vqa_open_std.json", "m3d_vqa_close_std.json"]),
    ] {
        let (out, again) = (format!("written-{form}"), format!("again-{form}"));
        let own = [made.path("answers/report.json")];
        run_to(0, made.command("own", &own, &out).args(["--write", form]));
        let files = names.map(|name| made.path(&out).join(name));
        run_to(0, &mut made.command(form, &files, &again));
        for (name, matched) in [(&out, "id"), (&again, if form == "m3d" { "order" } else { "id" })] {
            let found = report(&made.path(name));
            assert_eq!((&found["scores"], &found["matched"]), (&json!(made.scores(&TASKS)), &json!(matched)), "{name}");
        }
    }
    // Pairs for other programs' metrics, and what they say of them.
    let own = [made.path("answers/report.json")];
    run_to(0, made.command("own", &own, "for-judges").args(["--write", "pairs"]));
    let pairs = fs::read_to_string(made.path("for-judges/caption.jsonl")).unwrap();
    let values: String = pairs
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|pair| {
            let [id, prediction, reference] = ["id", "prediction", "reference"].map(|key| pair[key].as_str().unwrap());
            format!("{id},{}\n", if prediction.len() < reference.len() { 0.25 } else { 0.75 })
        })
        .collect();
    let judged = made.write("green.csv", format!("id,value\n{values}"));
    let scores = format!("green={}", judged.display());
    run_to(0, made.command("own", &own, "judged").args(["--scores", &scores]));
    let found = report(&made.path("judged"));
    let imported: Vec<&Value> =
        found["scores"].as_array().unwrap().iter().filter(|score| score["metric"] == "imported.green").collect();
    assert_eq!((imported.len(), &imported[0]["task"]), (1, &json!("caption")));
    let mean = imported[0]["micro"].as_f64().unwrap();
    assert!((0.25..=0.75).contains(&mean) && imported[0]["interval"][0].as_f64().unwrap() <= mean);
    let cut: String = values.lines().skip(1).map(|line| format!("{line}\n")).collect();
    made.write("green.csv", format!("id,value\n{cut}"));
    let said = run_to(2, made.command("own", &own, "cut").args(["--scores", &scores])).err;
    assert!(said.contains("green.csv: expected a value of each of") && !made.path("cut").exists(), "{said}");
    // The page of runs takes it as it takes an evaluation.
    let page = made.path("page.html");
    run_to(0, program("med2e3").arg("report").arg(made.path("score-0")).arg("--out").arg(&page));
    assert!(fs::read_to_string(page).unwrap().contains("m3d-caption.csv"));
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let made = made();
    let open = made.answers("open_vqa");
    let whole = m3d("open_vqa", &open);
    let ids: Vec<&str> = open.iter().map(|answer| field(answer, "sample_id")).collect();
    let said = made.refused("m3d", "other.csv", whole.replacen("\"odd\"", "\"round\"", 1));
    assert!(said.contains("`Answer` of row ") && said.contains("(line ") && said.contains("found `round`"), "{said}");
    let said = made.refused("m3d", "asked.csv", whole.replacen("Is the", "Was the", 1));
    assert!(said.contains("in `Question` of row 1 (line 2)") && said.contains("`Is the number even"), "{said}");
    let said = made.refused("m3d", "columns.csv", whole.replacen("Pred", "Prediction", 1));
    assert!(said.contains("a column `Pred`") && said.contains("did you mean `Prediction`?"), "{said}");
    let said = made.refused("m3d", "latin.csv", b"Question,Ground Truth,pred\nL\xe9sion,a,b\n");
    assert!(said.contains("not UTF-8 at byte 28"), "{said}");
    let said = made.refused("m3d", "cut.csv", &whole[..whole.rfind('"').unwrap()]);
    assert!(said.contains("a quote that is closed"), "{said}");
    let said =
        made.refused("med2e3", "cut.json", format!("[{{\"id\": \"{}\", \"outputs\": \"a\"}}, {{\"id\": \"", ids[0]));
    assert!(said.contains("row 2") && said.contains("EOF"), "{said}");
    let said = made.refused("med2e3", "idx.json", "[{\"idx\": 0, \"outputs\": \"a\"}]");
    assert!(said.contains("`id` in row 1"), "{said}");
    let said = made.refused("plain", "twice.csv", format!("id,prediction\n{0},a\n{0},b\n", ids[0]));
    assert!(said.contains("in row 1 (line 2) alone, found it in row 2 (line 3) too"), "{said}");
    let said = made.refused("plain", "unknown.csv", format!("id,prediction\n{},a\nm3d_7,b\n", ids[0]));
    assert!(said.contains("row 2 (line 3)") && said.contains("found `m3d_7`"), "{said}");
    let said = made.refused("plain", "none.csv", "id,prediction\n,a\n");
    assert!(said.contains("an id in column `id` of row 1 (line 2)"), "{said}");
    let said = made.refused("plain", "list.jsonl", format!("{{\"id\": \"{}\", \"prediction\": [1]}}\n", ids[0]));
    assert!(said.contains("key `prediction` of row 1"), "{said}");
    let said = made.refused("plain", "few.csv", format!("id,prediction\n{},a\n", ids[0]));
    assert!(said.contains("found none of") && said.contains("hint: --partial"), "{said}");
    // Another task than the one that is asked for.
    let file = made.write("open.csv", &whole);
    let said = run_to(2, made.command("m3d", &[file], "refused").args(["--tasks", "caption"]));
    assert!(
        said.err.contains("open.csv: expected predictions of caption, as --tasks states, found those of open_vqa"),
        "{}",
        said.err
    );
    // A folder of something else.
    let file = made.write("few.csv", format!("id,prediction\n{},a\n", ids[0]));
    let said = run_to(2, made.command("plain", std::slice::from_ref(&file), "run").arg("--partial"));
    assert!(said.err.contains("is not empty"), "{}", said.err);
    // What belongs together.
    for arguments in
        [&["--out", "x"][..], &["--out", "x", "--pairs", "y", "--partial"], &["--out", "x", "--predictions", "y"]]
    {
        assert_eq!(run(program("med2e3").arg("score").args(arguments)).code, 2);
    }
}

#[test]
fn missing_predictions_score_0_and_are_counted() {
    let made = made();
    let open = made.answers("open_vqa");
    let ids: Vec<&str> = open.iter().map(|answer| field(answer, "sample_id")).collect();
    let score = |name: &str, text: String, out: &str| -> (Said, Value) {
        let file = made.write(name, text);
        let said = run_to(0, made.command("plain", &[file], out).args(["--partial", "--tasks", "open_vqa"]));
        let found = report(&made.path(out));
        (said, found)
    };
    let text = format!("id,prediction\n{},\n{},nan\n{},3\n", ids[0], ids[1], ids[2]);
    let (said, found) = score("missing.csv", text, "missing");
    assert!(said.err.contains("2 predictions are not there"), "{}", said.err);
    assert_eq!(
        [&found["predictions_missing"], &found["samples_without_prediction"]],
        [&json!(2), &json!(ids.len() - 3)]
    );
    assert_eq!(found["scores"][0]["count"], 3);
    assert_eq!(found["scores"][0]["shares"]["empty"], 2.0 / 3.0);
    let text =
        format!("{{\"id\": \"{}\", \"prediction\": null}}\n{{\"id\": \"{}\", \"prediction\": 3}}\n", ids[0], ids[1]);
    assert_eq!(score("null.jsonl", text, "null").1["predictions_missing"], 1);
    // A text of 100,000 characters, with line breaks.
    let long = "the number is even\n".repeat(5300);
    let (_, found) = score("long.csv", format!("id,prediction\n{},{}\n", ids[0], cell(&long)), "long");
    assert_eq!(found["answers"][0]["answer"].as_str().unwrap().len(), long.len() - 1);
}

#[test]
fn pairs_need_no_dataset() {
    let folder = tempfile::tempdir().unwrap();
    let (pairs, out) = (folder.path().join("pairs.jsonl"), folder.path().join("values.jsonl"));
    let long = "a mass in the left lung, ".repeat(4000);
    let rows = [
        json!({"id": "a", "prediction": "A mass in the left lung.", "reference": "A mass in the left lung."}),
        json!({"id": 2, "prediction": "", "reference": "none"}),
        json!({"id": "long", "prediction": long, "reference": long}),
    ];
    fs::write(&pairs, rows.map(|row| row.to_string()).join("\n")).unwrap();
    let score = || {
        let mut command = program("med2e3");
        command.arg("score").arg("--pairs").arg(&pairs).arg("--out").arg(&out);
        command
    };
    let said = run_to(0, &mut score());
    assert!(said.err.contains("1 pairs have an empty text and score 0, the first of them 2"), "{}", said.err);
    assert!(said.out.contains("not computed: it needs --wordnet"), "{}", said.out);
    let written = fs::read_to_string(&out).unwrap();
    let rows: Vec<Value> = written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for name in ["bleu1", "bleu4", "rouge1", "rouge2", "rougeL", "rougeLsum"] {
        assert_eq!([&rows[0][name], &rows[1][name], &rows[2][name]], [1.0, 0.0, 1.0], "{name}");
    }
    assert_eq!((&rows[0]["meteor"], &rows[1]["id"]), (&Value::Null, &json!(2)));
    let said = run_to(0, score().args(["--stemmed", "--json"]));
    let report: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&report["pairs"], &report["stemmed"], &report["nltk"]), (&json!(3), &json!(true), &Value::Null));
    let said = run_to(2, score().args(["--wordnet", "/dev/null"]));
    assert!(said.err.contains("WordNet"), "{}", said.err);
}
