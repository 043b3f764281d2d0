//! M3D-VQA CSV: columns by name, each row one open and one closed question, or only the open one.

use std::fs::File;
use std::path::Path;

use csv::ByteRecord;
use med2e3_input::text::pandas;
use med2e3_input::text::prompt::{closed_answer, closed_question};
use med2e3_schemas::manifest::Refusal;
use med2e3_schemas::quarantine::Reason;
use med2e3_schemas::sample::{Split, Task, Topic};

use super::{Builder, Row};
use crate::PrepareError;

const COLUMNS: [&str; 9] = [
    "Image Path",
    "Question Type",
    "Question",
    "Choice A",
    "Choice B",
    "Choice C",
    "Choice D",
    "Answer",
    "Answer Choice",
];

/// Which of a line's two questions are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forms {
    /// The open and the closed one.
    Both,
    /// The open one: yes/no files, whose choices are only `Yes` and `No`.
    Open,
}

/// Adds an open and, if asked for, a closed row for each line. Other columns than the named ones are ignored.
pub(super) fn read(
    path: &Path,
    split: Split,
    forms: Forms,
    nan_as_pandas: bool,
    builder: &mut Builder<'_>,
) -> Result<(), PrepareError> {
    let file = File::open(path).map_err(PrepareError::file(path, "open"))?;
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(file);
    let error = |found: String| PrepareError::Manifest {
        path: path.to_owned(),
        expected: format!("a CSV with the columns {}", COLUMNS.join(", ")),
        found,
    };
    let header = reader.headers().map_err(|e| error(e.to_string()))?.clone();
    let mut positions = [0; COLUMNS.len()];
    for (position, column) in positions.iter_mut().zip(COLUMNS) {
        *position =
            header.iter().position(|name| name == column).ok_or_else(|| error(format!("no column `{column}`")))?;
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for (number, record) in reader.byte_records().enumerate() {
        let record = record.map_err(|e| error(format!("row {}: {e}", number + 1)))?;
        // Lines are counted as a person's editor counts them.
        let line = record.position().map_or(number as u64 + 2, |position| position.line());
        let cells = std::array::from_fn(|column| {
            let nan = nan_as_pandas && NAN_COLUMNS.contains(&COLUMNS[column]);
            cell(&record, positions[column], nan)
        });
        let [open, closed] = rows(cells, split, &format!("{name}:{line}"));
        builder.add(open);
        if forms == Forms::Both {
            builder.add(closed);
        }
    }
    Ok(())
}

/// Columns whose missing cells reach M3D's prompts and answers as `nan`. A missing path, question or letter is an error
/// there, and here.
const NAN_COLUMNS: [&str; 5] = ["Choice A", "Choice B", "Choice C", "Choice D", "Answer"];

/// A cell as text; a missing one is empty. `NA` stays `NA` unless `nan` asks for what pandas makes of it; a byte that is
/// not UTF-8 becomes U+FFFD, for which the row is refused.
fn cell(record: &ByteRecord, position: usize, nan: bool) -> String {
    let text = String::from_utf8_lossy(record.get(position).unwrap_or_default());
    if nan && pandas::is_missing(&text) { pandas::NAN.to_owned() } else { text.trim().to_owned() }
}

/// `B` of `B`, `B.` or `(B)`; anything else is returned unchanged, and is then no letter.
pub(super) fn bare_letter(cell: &str) -> String {
    let bare = cell.trim_start_matches('(').trim_end_matches(['.', ')']);
    if bare.chars().count() == 1 { bare.to_owned() } else { cell.to_owned() }
}

fn rows(cells: [String; COLUMNS.len()], split: Split, row: &str) -> [Row; 2] {
    let [image, number, question, a, b, c, d, answer, letter] = cells;
    let topic = number.parse().ok().and_then(Topic::of_number);
    let letter = bare_letter(&letter);
    let refusal = |reason, detail: &str| Some(Refusal { reason, detail: detail.to_owned() });
    let broken = [&image, &question, &a, &b, &c, &d, &answer].iter().any(|cell| cell.contains('\u{fffd}'));
    let common = if broken {
        refusal(Reason::BadRow, "expected UTF-8, found other bytes")
    } else if question.is_empty() {
        refusal(Reason::BadRow, "expected a question, found an empty cell")
    } else if answer.is_empty() {
        refusal(Reason::MissingAnswer, "expected an answer, found an empty cell")
    } else if topic.is_none() {
        refusal(Reason::BadRow, &format!("expected a question type 1 to 5, found `{number}`"))
    } else {
        None
    };
    let lettered = if ["A", "B", "C", "D"].contains(&letter.as_str()) {
        None
    } else {
        refusal(Reason::MissingAnswer, &format!("expected an answer choice A to D, found `{letter}`"))
    };
    let open = Row {
        row: row.to_owned(),
        images: vec![image.clone()],
        task: Task::OpenVqa,
        topic,
        split,
        question: question.clone(),
        answer: answer.clone(),
        turns: None,
        choices: None,
        answer_choice: None,
        refusal: common.clone(),
    };
    let closed = Row {
        row: row.to_owned(),
        images: vec![image],
        task: Task::ClosedVqa,
        topic,
        split,
        question: closed_question(&question, [&a, &b, &c, &d]),
        answer: closed_answer(&letter, &answer),
        turns: None,
        choices: Some(vec![a, b, c, d]),
        answer_choice: Some(letter),
        refusal: common.or(lettered),
    };
    [open, closed]
}
