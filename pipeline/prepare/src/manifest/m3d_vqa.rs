//! M3D-VQA CSV: columns by name, each row one open and one closed question, or only the open one. What is a row and what
//! becomes of a damaged one: `csv_rows`.

use std::io::BufReader;
use std::path::Path;

use med2e3_input::reading;
use med2e3_input::text::prompt::{closed_answer, closed_question};
use med2e3_input::text::{encoding, pandas};
use med2e3_schemas::manifest::Refusal;
use med2e3_schemas::quarantine::Reason;
use med2e3_schemas::sample::{Split, Task, Topic};

use super::csv_rows::{CsvRow, CsvRows, Fault, Shape};
use super::{Builder, Row};
use crate::PrepareError;

/// The columns, by name.
pub(super) const COLUMNS: [&str; 9] = [
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
    let file = reading::File::open(path).map_err(PrepareError::file(path, "open"))?;
    let error = |found: String| PrepareError::Manifest {
        path: path.to_owned(),
        expected: format!("a CSV with the columns {}", COLUMNS.join(", ")),
        found,
    };
    let opened = CsvRows::open(BufReader::new(file), builder.limits.field_bytes(), Some(b','))
        .map_err(PrepareError::file(path, "read"))?;
    let mut rows = opened.map_err(error)?;
    let mut positions = [0; COLUMNS.len()];
    for (position, column) in positions.iter_mut().zip(COLUMNS) {
        let found = rows.header().iter().position(|name| name == column);
        *position = found.ok_or_else(|| error(missing(column, rows.header())))?;
    }
    let shape = Shape {
        least: positions.into_iter().max().unwrap_or_default() + 1,
        columns: [positions[0], positions[1]],
        are_cells: &are_cells,
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    while let Some(CsvRow { line, fields }) = rows.next(&shape).map_err(PrepareError::file(path, "read"))? {
        let (cells, damage) = match fields {
            Ok(fields) => (fields, None),
            Err(fault) => {
                let detail = format!("expected a row of the table, found {}", fault.found(rows.header()));
                let is_long = matches!(fault, Fault::TooLong { .. });
                let reason = if is_long { Reason::TooLarge } else { Reason::BadRow };
                (Vec::new(), Some(Refusal { reason, detail }))
            }
        };
        let cells = std::array::from_fn(|column| {
            let bytes = cells.get(positions[column]).map(Vec::as_slice).unwrap_or_default();
            cell(bytes, nan_as_pandas && NAN_COLUMNS.contains(&COLUMNS[column]))
        });
        let [open, closed] = self::rows(cells, damage, split, &format!("{name}:{line}"));
        builder.add(open);
        if forms == Forms::Both {
            builder.add(closed);
        }
    }
    Ok(())
}

/// Whether cells are those of a row: the path of a volume, the number of a question type.
fn are_cells([image, number]: [&[u8]; 2]) -> bool {
    let is_path = image.contains(&b'/') || [".npy", ".nii", ".gz"].iter().any(|end| image.ends_with(end.as_bytes()));
    let number = std::str::from_utf8(number).ok().and_then(question_type);
    is_path && number.and_then(Topic::of_number).is_some()
}

/// What a header without a column has; a table with other separators has one column of all names.
fn missing(column: &str, header: &[String]) -> String {
    let separator = match header {
        [all] if all.contains(column) => [";", "\t", "|"].into_iter().find(|separator| all.contains(separator)),
        _ => None,
    };
    match separator {
        Some("\t") => "fields that tabs separate".into(),
        Some(separator) => format!("fields that `{separator}` separates"),
        None => format!("no column `{column}`"),
    }
}

/// The number of a question type; pandas writes `1.0` where another cell of the column is missing.
pub(super) fn question_type(cell: &str) -> Option<u8> {
    let (whole, fraction) = cell.trim().split_once('.').unwrap_or((cell.trim(), ""));
    fraction.bytes().all(|digit| digit == b'0').then(|| whole.parse().ok()).flatten()
}

/// Columns whose missing cells reach M3D's prompts and answers as `nan`. A missing path, question or letter is an error
/// there, and here.
const NAN_COLUMNS: [&str; 5] = ["Choice A", "Choice B", "Choice C", "Choice D", "Answer"];

/// A cell as text without a byte-order mark; a missing one is empty. `NA` stays `NA` unless `nan` asks for what pandas makes of
/// it; a byte that is not UTF-8 becomes U+FFFD, for which the row is refused.
fn cell(bytes: &[u8], nan: bool) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_start_matches(encoding::BYTE_ORDER_MARK);
    if nan && pandas::is_missing(text) { pandas::NAN.to_owned() } else { encoding::trimmed(text).to_owned() }
}

/// `B` of `B`, `B.` or `(B)`; anything else is returned unchanged, and is then no letter.
pub(super) fn bare_letter(cell: &str) -> String {
    let bare = cell.trim_start_matches('(').trim_end_matches(['.', ')']);
    if bare.chars().count() == 1 { bare.to_owned() } else { cell.to_owned() }
}

/// The letter of the choice whose text the answer is, where the stated letter is another choice's; with that one's text.
fn contradiction<'a>(letter: &str, answer: &str, choices: [&'a String; 4]) -> Option<(&'static str, &'a str)> {
    let same = |choice: &str| choice.trim().to_lowercase() == answer.trim().to_lowercase();
    let letters = ["A", "B", "C", "D"];
    let stated = choices[letters.iter().position(|known| *known == letter)?];
    let other = choices.iter().position(|choice| same(choice)).filter(|_| !same(stated))?;
    Some((letters[other], stated))
}

/// The open and the closed row of a line; `damage` says why the line is no row of the table.
fn rows(cells: [String; COLUMNS.len()], damage: Option<Refusal>, split: Split, row: &str) -> [Row; 2] {
    let is_header = cells.iter().zip(COLUMNS).all(|(cell, column)| cell == column);
    let holds = |character| cells.iter().any(|cell| cell.contains(character));
    let (nul, broken) = (holds('\0'), holds('\u{fffd}'));
    let [image, number, question, a, b, c, d, answer, letter] = cells;
    let topic = question_type(&number).and_then(Topic::of_number);
    let letter = bare_letter(&letter);
    let refusal = |reason, detail: &str| Some(Refusal { reason, detail: detail.to_owned() });
    let damaged = damage.is_some();
    let common = if damaged {
        damage
    } else if is_header {
        refusal(Reason::BadRow, "expected a row, found the header again")
    } else if broken {
        refusal(Reason::BadRow, "expected UTF-8, found other bytes")
    } else if nul {
        refusal(Reason::BadRow, "expected text, found a zero byte")
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
    let choices = [&a, &b, &c, &d];
    let lettered = lettered.or_else(|| {
        let (other, stated) = contradiction(&letter, &answer, choices)?;
        let detail =
            format!("expected the answer of choice {letter} (`{stated}`), found `{answer}`, that of choice {other}");
        refusal(Reason::BadRow, &detail)
    });
    // What is no row of the table names no volume.
    let images = if damaged || is_header { Vec::new() } else { vec![image] };
    let open = Row {
        row: row.to_owned(),
        images: images.clone(),
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
        images,
        task: Task::ClosedVqa,
        topic,
        split,
        question: closed_question(&question, [&a, &b, &c, &d].map(String::as_str).as_slice()),
        answer: closed_answer(&letter, &answer),
        turns: None,
        choices: Some(vec![a, b, c, d]),
        answer_choice: Some(letter),
        refusal: common.or(lettered),
    };
    [open, closed]
}
