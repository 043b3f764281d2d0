//! Med-2E3's JSON: `id` and `outputs`; or the `_std.json` files of its scripts, with `answers` and scores, which are computed anew.
//! What `inference.py` writes has the places of rows (`idx`) alone, by which nothing can be checked: it is refused.
//!
//! Written are the names and keys of the `_std.json` files.

use med2e3_schemas::evaluation::Answer;
use med2e3_schemas::sample::{Task, Topic};
use serde::Serialize;

use super::objects::objects;
use super::{Prediction, Predictions, Unread};

/// Reads the file.
pub(super) fn read(text: &str) -> Result<Predictions, Unread> {
    let mut rows = Vec::new();
    let mut task = None;
    for row in objects(text)? {
        if row.has("idx") && !row.has("id") {
            return Err(Unread::new(
                format!("a key `id` in {}, as in the _std.json files of Med-2E3's scripts", row.place),
                "`idx` alone, the row's place",
            ));
        }
        task = task.or(match () {
            () if row.has("correct") => Some(Task::ClosedVqa),
            () if row.has("question_type") => Some(Task::OpenVqa),
            () if row.has("bleu") => Some(Task::Caption),
            () => None,
        });
        rows.push(Prediction {
            id: Some(row.id("id")?),
            question: None,
            expected: if row.has("answers") { row.text("answers")? } else { None },
            answer: row.answer("outputs")?,
            place: row.place,
        });
    }
    Ok(Predictions { rows, task, question: "question", expected: "answers" })
}

/// A row of an `_std.json` file.
#[derive(Serialize)]
#[serde(untagged)]
enum Row<'a> {
    Caption {
        id: &'a str,
        outputs: &'a str,
        answers: &'a str,
        #[serde(flatten)]
        scores: Scores,
    },
    Open {
        id: &'a str,
        outputs: &'a str,
        answers: &'a str,
        question_type: Option<u8>,
        #[serde(flatten)]
        scores: Scores,
    },
    Closed {
        id: &'a str,
        outputs: &'a str,
        answers: &'a str,
        question_type: Option<u8>,
        correct: bool,
    },
}

#[derive(Serialize)]
struct Scores {
    bleu: Option<f64>,
    rouge1: Option<f64>,
    meteor: Option<f64>,
    bert_f1: Option<f64>,
}

/// The file of a task, as Med-2E3's scripts name it.
pub(super) fn write(task: Task, answers: &[&Answer]) -> (&'static str, Vec<u8>) {
    let name = match task {
        Task::Caption => "m3d_cap_std.json",
        Task::OpenVqa => "m3d_vqa_open_std.json",
        Task::ClosedVqa => "m3d_vqa_close_std.json",
    };
    let rows: Vec<Row<'_>> = answers.iter().map(|answer| row_of(task, answer)).collect();
    (name, serde_json::to_vec(&rows).expect("plain data can be written as JSON"))
}

fn row_of(task: Task, answer: &Answer) -> Row<'_> {
    let (id, outputs, answers) = (answer.sample_id.as_str(), answer.answer.as_str(), answer.expected.as_str());
    let question_type = answer.topic.map(Topic::number);
    let score = |name: &str| answer.metrics.get(name).copied();
    let scores = Scores {
        bleu: score("bleu1"),
        rouge1: score("rouge1"),
        meteor: score("meteor"),
        bert_f1: score("bertscore_f1"),
    };
    match task {
        Task::Caption => Row::Caption { id, outputs, answers, scores },
        Task::OpenVqa => Row::Open { id, outputs, answers, question_type, scores },
        Task::ClosedVqa => Row::Closed { id, outputs, answers, question_type, correct: score("correct") == Some(1.0) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_the_task() {
        for (more, task) in [
            ("", None),
            (r#", "answers": "A. left", "question_type": 1, "correct": true"#, Some(Task::ClosedVqa)),
            (r#", "answers": "left", "question_type": 1, "bleu": 0"#, Some(Task::OpenVqa)),
            (r#", "answers": "A disc.", "bleu": 0.5"#, Some(Task::Caption)),
        ] {
            let found = read(&format!(r#"[{{"id": 7, "outputs": "left"{more}}}]"#)).unwrap();
            let row = &found.rows[0];
            assert_eq!((found.task, row.id.as_deref(), row.answer.as_deref()), (task, Some("7"), Some("left")));
            assert_eq!(row.expected.is_some(), task.is_some());
        }
        let said = read(r#"[{"idx": 0, "outputs": "left"}]"#).unwrap_err().to_string();
        assert!(said.contains("`idx` alone"), "{said}");
        assert!(read(r#"[{"id": "a", "output": "left"}]"#).unwrap_err().found.ends_with("did you mean `output`?"));
    }
}
