//! Texts of `med2e3-data prepare` from the outside: words of special tokens, damaged rows.

use std::fs;

use med2e3_tests::phantom;
use med2e3_tests::program::{program, run_to};
use serde_json::Value;

const HEADER: &str = "Image Path,Question Type,Question,Choice A,Choice B,Choice C,Choice D,Answer,Answer Choice";

/// A row about the study's first series.
fn row(question: &str, answer: &str) -> String {
    format!("M3D_Cap_npy/ct_case/000001/Series_1.npy,1.0,{question},a,b,c,d,{answer},A")
}

#[test]
fn words_of_special_tokens_are_counted_and_learned_as_words() {
    let folder = tempfile::tempdir().unwrap();
    let study = folder.path().join("study");
    phantom::write(&study);
    let prepare = |name: &str, rows: &[String], code: i32| {
        let rows: Vec<String> = [HEADER.to_owned()].into_iter().chain(rows.iter().cloned()).collect();
        fs::write(study.join("own.csv"), rows.join("\n")).unwrap();
        let out = folder.path().join(name);
        let mut command = program("med2e3-data");
        command.args(["prepare", "configs/demo/prepare.toml", "--out"]).arg(&out);
        let root = format!("root={:?}", study.display().to_string());
        let questions = r#"manifest.questions=[{path="own.csv",split="train"}]"#;
        for set in [questions, "manifest.captions=[]", "volume.shape=[4,16,16]", "limits.reject_rows=100", &root] {
            command.args(["--set", set]);
        }
        let said = run_to(code, &mut command);
        let report: Value = serde_json::from_slice(&fs::read(out.join("report.json")).unwrap()).unwrap();
        (out, said, report)
    };
    let sound = [row("Which plane?", "Axial <|endoftext|> plane"), row("Is it <|user|>?", "Yes")];
    let (out, said, report) = prepare("special", &sound, 0);
    // The tokenizer of this template has one of the two special tokens; each row is an open and a closed question.
    assert_eq!((&report["special_words"], &report["texts"]["rows"]), (&Value::from(2), &Value::from(4)));
    assert!((said.out + &said.err).contains("2 texts hold the words of special tokens"));
    let query = "SELECT ids FROM samples";
    let rows = run_to(0, program("med2e3-data").arg("sql").arg(&out).arg(query).arg("--json")).out;
    for row in rows.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        // The end token is the first that a trained tokenizer has.
        let ends = row["ids"].as_array().unwrap().iter().filter(|id| **id == 0).count();
        assert_eq!(ends, 1, "the end token of the template alone: {row}");
    }

    let damaged = [row("Which plane?", "Axial"), row("\"Which phase?", "Late"), row("Which organ?", "Liver")];
    let (_, _, report) = prepare("damaged", &damaged, 1);
    assert_eq!((&report["special_words"], &report["texts"]["rows"]), (&Value::from(0), &Value::from(4)));
    assert_eq!(report["texts"]["quarantined"], serde_json::json!({"bad_row": 2}));
}
