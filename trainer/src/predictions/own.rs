//! What `med2e3 evaluate` and `med2e3 score` write: `report.json` or `answers.jsonl`. Later turns of conversations are passed over.

use super::objects::objects;
use super::{Prediction, Predictions, Unread};

/// Reads the file.
pub(super) fn read(text: &str) -> Result<Predictions, Unread> {
    let mut answers = objects(text)?;
    if let [report] = answers.as_slice()
        && report.has("answers")
    {
        answers = report.list("answers")?;
    }
    let mut rows = Vec::new();
    for row in answers {
        if row.has("turn") && row.text("turn")?.as_deref() != Some("1") {
            continue;
        }
        rows.push(Prediction {
            id: Some(row.id("sample_id")?),
            question: row.text("question")?,
            expected: row.text("expected")?,
            answer: row.answer("answer")?,
            place: row.place,
        });
    }
    Ok(Predictions { rows, task: None, question: "question", expected: "expected" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_and_logs_have_the_same_rows() {
        let answer = |turn: u32, text: &str| {
            format!(
                r#"{{"sample_id": "a", "turn": {turn}, "question": "Where?", "expected": "left", "answer": "{text}"}}"#
            )
        };
        let (first, later) = (answer(1, "right"), answer(2, "x"));
        let report = format!("{{\n\"split\": \"test\", \"answers\": [{first}, {later}]\n}}");
        for text in [report, format!("{first}\n{later}\n")] {
            let rows = read(&text).unwrap().rows;
            assert_eq!((rows.len(), rows[0].id.as_deref(), rows[0].answer.as_deref()), (1, Some("a"), Some("right")));
        }
        assert_eq!(
            read(r#"{"answers": [{"sample_id": "a"}]}"#).unwrap_err().to_string(),
            "expected a key `question` in row 1 of `answers`, found `sample_id`; did you mean `sample_id`?"
        );
        assert!(read(r#"{"answers": [3]}"#).unwrap_err().to_string().contains("objects in `answers` of row 1"));
    }
}
