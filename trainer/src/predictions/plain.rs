//! `id` and `prediction`, as CSV, a JSON list or JSON lines. Ids are those of the dataset's samples.

use super::objects::objects;
use super::table::Table;
use super::{Prediction, Predictions, Unread};

/// Reads the file; its first character tells JSON from CSV.
pub(super) fn read(text: &str) -> Result<Predictions, Unread> {
    let of = |place: &str, id, answer| Prediction {
        place: place.into(),
        id: Some(id),
        question: None,
        expected: None,
        answer,
    };
    let mut rows = Vec::new();
    if text.trim_start().starts_with(['[', '{']) {
        for row in objects(text)? {
            rows.push(of(&row.place, row.id("id")?, row.answer("prediction")?));
        }
    } else {
        let table = Table::of(text)?;
        let (id, answer) = (table.column("id")?, table.column("prediction")?);
        for row in table.rows() {
            if row.text(id).trim().is_empty() {
                return Err(Unread::new(format!("an id in column `id` of {}", row.place), "none"));
            }
            rows.push(of(&row.place, row.text(id), row.answer(answer)));
        }
    }
    Ok(Predictions { rows, task: None, question: "question", expected: "expected" })
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
