//! `id` and `prediction`, or another column beside `id`, as CSV, a JSON list or JSON lines. Ids are those of the dataset's samples.

use med2e3_schemas::evaluation::Answer;
use med2e3_schemas::sample::Task;
use serde::Serialize;

use super::objects::objects;
use super::table::Table;
use super::{Prediction, Predictions, Unread};

/// Reads the file; its first character tells JSON from CSV.
pub(super) fn read(text: &str) -> Result<Predictions, Unread> {
    let of =
        |Named { place, id, text }| Prediction { place, id: Some(id), question: None, expected: None, answer: text };
    let rows = named(text, "prediction")?.into_iter().map(of).collect();
    Ok(Predictions { rows, task: None, question: "question", expected: "expected" })
}

/// What a row says of an id.
pub(super) struct Named {
    /// Where it stands, in words.
    pub(super) place: String,
    pub(super) id: String,
    /// Nothing where the cell is empty or `nan`, or the value `null`.
    pub(super) text: Option<String>,
}

/// The rows of `id` and one other column or key.
///
/// # Errors
/// A column or key that is missing; a row without an id; one that is damaged.
pub(super) fn named(text: &str, column: &str) -> Result<Vec<Named>, Unread> {
    let mut rows = Vec::new();
    if text.trim_start().starts_with(['[', '{']) {
        for row in objects(text)? {
            let (id, text) = (row.id("id")?, row.answer(column)?);
            rows.push(Named { place: row.place, id, text });
        }
    } else {
        let table = Table::of(text)?;
        let (id, of) = (table.column("id")?, table.column(column)?);
        for row in table.rows() {
            if row.text(id).trim().is_empty() {
                return Err(Unread::new(format!("an id in column `id` of {}", row.place), "none"));
            }
            rows.push(Named { place: row.place.clone(), id: row.text(id), text: row.answer(of) });
        }
    }
    Ok(rows)
}

/// Pairs of a task for other programs' metrics.
pub(super) fn write(task: Task, answers: &[&Answer]) -> (&'static str, Vec<u8>) {
    #[derive(Serialize)]
    struct Pair<'a> {
        id: &'a str,
        prediction: &'a str,
        reference: &'a str,
    }
    let name = match task {
        Task::Caption => "caption.jsonl",
        Task::OpenVqa => "open_vqa.jsonl",
        Task::ClosedVqa => "closed_vqa.jsonl",
    };
    let pair = |answer: &&Answer| {
        let pair = Pair { id: &answer.sample_id, prediction: &answer.answer, reference: &answer.expected };
        serde_json::to_string(&pair).expect("plain data can be written as JSON") + "\n"
    };
    (name, answers.iter().map(pair).collect::<String>().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_has_the_same_rows() {
        let forms = [
            "id,prediction\na,left\nb,3\nc,\n",
            "prediction;x;id\nleft;;a\n3;;b\n;;c\n",
            "[{\"id\": \"a\", \"prediction\": \"left\"}, {\"id\": \"b\", \"prediction\": 3}, {\"id\": \"c\", \"prediction\": null}]",
            "{\"id\": \"a\", \"prediction\": \"left\"}\n{\"id\": \"b\", \"prediction\": 3}\n{\"id\": \"c\", \"prediction\": \"\"}\n",
        ];
        for form in forms {
            let rows = read(form).unwrap().rows;
            let found: Vec<_> = rows.iter().map(|row| (row.id.as_deref().unwrap(), row.answer.as_deref())).collect();
            assert_eq!(found, [("a", Some("left")), ("b", Some("3")), ("c", None)]);
        }
        let said = |text: &str| read(text).unwrap_err().to_string();
        assert_eq!(said("id,prediction\na,b\n,c\n"), "expected an id in column `id` of row 2 (line 3), found none");
        assert_eq!(
            said("{\"prediction\": \"a\"}"),
            "expected a key `id` in row 1, found `prediction`; did you mean `prediction`?"
        );
    }
}
