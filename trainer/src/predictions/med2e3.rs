//! Med-2E3's JSON: `id` and `outputs`; or the `_std.json` files of its scripts, with `answers` and scores, which are computed anew.
//! What `inference.py` writes has the places of rows (`idx`) alone, by which nothing can be checked: it is refused.

use med2e3_schemas::sample::Task;

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
