//! Predictions that other programs wrote: their files read, a format a file, and which sample each row answers.
//!
//! # Layout
//! - `text`: the bytes of a file as text; `table`: rows of CSV by the names of their columns; `objects`: rows of JSON
//! - `m3d`, `med2e3`, `radfm`, `three_d_rad`, `plain`, `own`: the formats; the first two are written too
//! - [`align`]: rows to samples, by id or by their texts in order
//!
//! Nothing here knows files, models or libtorch: bytes in, rows out, and back.

pub mod align;
mod m3d;
mod med2e3;
pub mod objects;
mod own;
mod plain;
mod radfm;
mod table;
pub mod text;
mod three_d_rad;

use std::collections::HashMap;

use med2e3_schemas::evaluation::Answer;
use med2e3_schemas::sample::Task;

use crate::words::words;

words! {
    /// Whose program wrote a file of predictions.
    pub enum Format {
        /// M3D's and Med3DVLM's CSV: captions, open or closed questions, which its columns tell.
        M3d = "m3d",
        /// Med-2E3's JSON: id and outputs, or the _std.json of its scripts.
        Med2e3 = "med2e3",
        /// RadFM's CSV, whose cells may be lists as Python prints them.
        Radfm = "radfm",
        /// 3D-RAD's CSV: open or closed questions.
        ThreeDRad = "3d-rad",
        /// CSV, JSON or JSON lines with id and prediction.
        Plain = "plain",
        /// This program's own: report.json or answers.jsonl of evaluate or score.
        Own = "own",
    }
}

words! {
    /// As whose program's scripts files are written.
    pub enum Written {
        /// M3D's: eval_caption.csv, eval_open_vqa.csv, eval_close_vqa.csv.
        M3d = "m3d",
        /// Med-2E3's: m3d_cap_std.json, m3d_vqa_open_std.json, m3d_vqa_close_std.json.
        Med2e3 = "med2e3",
        /// Pairs for other programs' metrics, such as RadEval's: caption.jsonl, open_vqa.jsonl, closed_vqa.jsonl, a line each with id,
        /// prediction and reference.
        Pairs = "pairs",
    }
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prediction {
    /// Where it stands, in words: `row 3 (line 5)`.
    pub place: String,
    /// What names its sample, where the row has such.
    pub id: Option<String>,
    /// What was asked, where the row states it.
    pub question: Option<String>,
    /// What was expected, where the row states it.
    pub expected: Option<String>,
    /// The text; `None` where there is none: an empty cell, `nan` in a table (as pandas writes a missing one), `null` in JSON.
    pub answer: Option<String>,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Predictions {
    /// Its rows, at least one.
    pub rows: Vec<Prediction>,
    /// What it is about, where columns or keys tell.
    pub task: Option<Task>,
    /// The column or key of what was asked.
    pub question: &'static str,
    /// The column or key of what was expected.
    pub expected: &'static str,
}

/// Why a file is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found {found}")]
pub struct Unread {
    /// What should be there, and where.
    pub expected: String,
    /// What is there.
    pub found: String,
}

impl Unread {
    fn new(expected: impl Into<String>, found: impl Into<String>) -> Unread {
        Unread { expected: expected.into(), found: found.into() }
    }
}

/// Reads a file's bytes.
///
/// # Errors
/// Bytes of another encoding; a column or key that is missing, with the nearest that is there; a row that is damaged; no row.
pub fn read(format: Format, bytes: Vec<u8>) -> Result<Predictions, Unread> {
    let text = text::decoded(bytes)?;
    let predictions = match format {
        Format::M3d => m3d::read(&text),
        Format::Med2e3 => med2e3::read(&text),
        Format::Radfm => radfm::read(&text),
        Format::ThreeDRad => three_d_rad::read(&text),
        Format::Plain => plain::read(&text),
        Format::Own => own::read(&text),
    }?;
    if predictions.rows.is_empty() {
        return Err(Unread::new("predictions", "none"));
    }
    Ok(predictions)
}

/// What another program's metric says of samples, by their ids: CSV, JSON or JSON lines with `id` and `value`.
///
/// # Errors
/// As [`read`]; an id that is there twice; a value that is no finite number.
pub fn values(bytes: Vec<u8>) -> Result<HashMap<String, f64>, Unread> {
    let mut values = HashMap::new();
    for plain::Named { place, id, text } in plain::named(&text::decoded(bytes)?, "value")? {
        let number = text.as_deref().and_then(|text| text.trim().parse::<f64>().ok()).filter(|value| value.is_finite());
        let Some(number) = number else {
            let found = text.as_deref().map_or("none".into(), quoted);
            return Err(Unread::new(format!("a finite number as `value` in {place}"), found));
        };
        if values.insert(id.clone(), number).is_some() {
            return Err(Unread::new(format!("one value of {}", quoted(&id)), format!("another one in {place}")));
        }
    }
    if values.is_empty() {
        return Err(Unread::new("values", "none"));
    }
    Ok(values)
}

/// Answers as files of another program's scripts, a file each task that has any: its name and its bytes. Questions are without image
/// tokens, and scores that were not computed are empty cells or `null`.
pub fn written(form: Written, answers: &[&Answer]) -> Vec<(&'static str, Vec<u8>)> {
    let file = |task: &Task| {
        let of_task: Vec<&Answer> = answers.iter().copied().filter(|answer| answer.task == *task).collect();
        let write = match form {
            Written::M3d => m3d::write,
            Written::Med2e3 => med2e3::write,
            Written::Pairs => plain::write,
        };
        (!of_task.is_empty()).then(|| write(*task, &of_task))
    };
    Task::ALL.iter().filter_map(file).collect()
}

/// Names in a message, the first of them.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    const MOST: usize = 12;
    let names: Vec<String> = names.map(quoted).collect();
    match names.len() {
        0 => "none".into(),
        count if count > MOST => format!("{} and {} more", names[..MOST].join(", "), count - MOST),
        _ => names.join(", "),
    }
}

/// A text in a message, its beginning where it is long.
fn quoted(text: &str) -> String {
    const MOST: usize = 160;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("`{}` ..", &text[..end]),
        None => format!("`{text}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use med2e3_schemas::sample::Topic;

    fn answer(task: Task, topic: Option<Topic>, metrics: &[(&str, f64)]) -> Answer {
        Answer {
            sample_id: "s1".into(),
            case_id: String::new(),
            volume_id: "v1".into(),
            task,
            topic,
            turn: 1,
            question: "Where, and \"how\"?".into(),
            expected: "left,\nthen right".into(),
            answer: "left".into(),
            answer_choice: (task == Task::ClosedVqa).then(|| "A".into()),
            metrics: metrics.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
            is_cut: false,
            scores: vec![],
        }
    }

    #[test]
    fn what_is_written_has_the_columns_of_the_scripts_and_is_read_again() {
        let answers = [
            answer(Task::Caption, None, &[("bleu1", 1.0), ("rouge1", 0.25)]),
            answer(Task::OpenVqa, Some(Topic::Location), &[("bleu1", 0.5), ("rouge1", 0.0)]),
            answer(Task::ClosedVqa, Some(Topic::Plane), &[("correct", 1.0)]),
        ];
        let answers: Vec<&Answer> = answers.iter().collect();
        let texts =
            |form| written(form, &answers).into_iter().map(|(name, bytes)| (name, String::from_utf8(bytes).unwrap()));
        let m3d = [
            (
                "eval_caption.csv",
                "Question,Ground Truth,pred,bleu,rouge1,meteor,bert_f1\r\n\
                 \"Where, and \"\"how\"\"?\",\"left,\nthen right\",left,1.0,0.25,,\r\n",
            ),
            (
                "eval_open_vqa.csv",
                "Question Type,Question,Answer,Pred,bleu,rouge1,meteor,bert_f1\r\n\
                 5,\"Where, and \"\"how\"\"?\",\"left,\nthen right\",left,0.5,0.0,,\r\n",
            ),
            (
                "eval_close_vqa.csv",
                "Question Type,Question,Answer,Answer Choice,Pred,Correct\r\n\
                 1,\"Where, and \"\"how\"\"?\",\"left,\nthen right\",A,left,1\r\n",
            ),
        ];
        assert_eq!(texts(Written::M3d).collect::<Vec<_>>(), m3d.map(|(name, text)| (name, text.to_owned())));
        let same = r#"{"id":"s1","outputs":"left","answers":"left,\nthen right","#;
        let med2e3 = [
            ("m3d_cap_std.json", r#""bleu":1.0,"rouge1":0.25,"meteor":null,"bert_f1":null}"#),
            ("m3d_vqa_open_std.json", r#""question_type":5,"bleu":0.5,"rouge1":0.0,"meteor":null,"bert_f1":null}"#),
            ("m3d_vqa_close_std.json", r#""question_type":1,"correct":true}"#),
        ];
        let med2e3 = med2e3.map(|(name, rest)| (name, format!("[{same}{rest}]")));
        assert_eq!(texts(Written::Med2e3).collect::<Vec<_>>(), med2e3);
        for (form, format) in [(Written::M3d, Format::M3d), (Written::Med2e3, Format::Med2e3)] {
            for ((_, bytes), answer) in written(form, &answers).into_iter().zip(&answers) {
                let again = read(format, bytes).unwrap();
                assert_eq!((again.task, again.rows.len()), (Some(answer.task), 1));
                assert_eq!(again.rows[0].expected.as_ref(), Some(&answer.expected));
                assert_eq!(again.rows[0].answer.as_ref(), Some(&answer.answer));
            }
        }
        assert!(written(Written::M3d, &answers[..1]).len() == 1);
        let (name, pairs) = texts(Written::Pairs).next().unwrap();
        let pair = "{\"id\":\"s1\",\"prediction\":\"left\",\"reference\":\"left,\\nthen right\"}\n";
        assert_eq!((name, pairs.as_str()), ("caption.jsonl", pair));
    }
}
