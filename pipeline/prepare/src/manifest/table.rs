//! Tables of one's own: any columns, one volume to many texts, one text to many volumes.
//!
//! A row is about the volumes that it names by a path, by a folder, by the series or the accession number of DICOM, or by a case.
//! A text of several volumes is a text of each. A text whose volume is not there is set aside as `no_volume`, which is no fault
//! of the data; a row without a text adds its volumes alone and is counted.

use std::path::Path;

use med2e3_input::text::prompt::{LETTERS, closed_answer, closed_question};
use med2e3_schemas::config::nearest;
use med2e3_schemas::manifest::Refusal;
use med2e3_schemas::quarantine::Reason;
use med2e3_schemas::sample::{Split, Task, Topic};
use serde_json::Value;

use super::m3d_vqa::{bare_letter, question_type};
use super::table_rows::{Cell, TableRow, TableRows};
use super::{Builder, Row};
use crate::PrepareError;
use crate::config::{ChoiceColumns, Columns, TextTable};

/// Adds the rows of a table.
///
/// # Errors
/// A file that is no table, a stated column that is not there, a table of which no row names a volume that is there.
pub(super) fn read(table: &TextTable, builder: &mut Builder<'_>) -> Result<(), PrepareError> {
    let path = builder.source(builder.root.join(&table.path));
    let rows = TableRows::open(&path, table, builder.limits)?;
    let columns = columns(&path, table, &rows.header())?;
    let stated = columns.stated();
    let names: Vec<&str> = stated.iter().map(|(_, name)| *name).collect();
    let place = |key: &str| stated.iter().position(|(stated, _)| *stated == key);
    let key = ["volume", "series", "accession", "case"].into_iter().find_map(place).expect("it names volumes");
    let mut found = Found::default();
    rows.read(&names, key, |TableRow { name, cells }| {
        let entry = Entry { name, table, columns: &columns, stated: &stated, cells };
        add(entry, builder, &mut found);
    })?;
    match found {
        Found { rows: 1.., with_volume: 0, first: Some(first) } => Err(PrepareError::Manifest {
            path,
            expected: "rows that name volumes which are there".into(),
            found: format!(
                "none; the first: {first}\nhint: `columns` says which column names volumes, `base` the folder that they are in"
            ),
        }),
        _ => Ok(()),
    }
}

/// The columns of a table: as stated, or as their names tell.
pub(super) fn columns(path: &Path, table: &TextTable, header: &[String]) -> Result<Columns, PrepareError> {
    let error = |expected: String, found: String| PrepareError::Manifest { path: path.to_owned(), expected, found };
    let has = || header.join(", ");
    if table.columns == Columns::default() {
        let columns = Columns::of_header(header);
        if columns.name_volumes() && (columns.hold_texts() || columns.case.is_some()) {
            return Ok(columns);
        }
        let expected = "columns that are known by their names, such as volume and report";
        return Err(error(expected.into(), format!("{}\nhint: `columns` says which column holds what", has())));
    }
    for (key, name) in table.columns.stated() {
        if !header.iter().any(|column| column == name) {
            let near = nearest(name, header.iter().map(String::as_str));
            let hint = near.map(|near| format!("\nhint: did you mean `{near}`?")).unwrap_or_default();
            return Err(error(format!("a column `{name}` (columns.{key})"), format!("{}{hint}", has())));
        }
    }
    let columns = &table.columns;
    if !columns.name_volumes() {
        return Err(error("columns.volume, series, accession or case".into(), "none of them".into()));
    }
    for (key, needs, is_alone) in [
        ("answer", "question", columns.answer.is_some() && columns.question.is_none()),
        ("choices", "question", columns.choices.is_some() && columns.question.is_none()),
        ("question", "answer or answer_choice", {
            columns.question.is_some() && columns.answer.is_none() && columns.answer_choice.is_none()
        }),
    ] {
        if is_alone {
            return Err(error(format!("columns.{needs} beside columns.{key}"), "none".into()));
        }
    }
    if let Some(ChoiceColumns::Each(names)) = &columns.choices
        && !(2..=LETTERS.len()).contains(&names.len())
    {
        return Err(error("2 to 4 columns in columns.choices".into(), names.len().to_string()));
    }
    Ok(columns.clone())
}

/// What became of a table's rows.
#[derive(Default)]
struct Found {
    rows: u64,
    with_volume: u64,
    /// Why the first row has no volume.
    first: Option<String>,
}

/// A row with its cells by column.
struct Entry<'t> {
    name: String,
    table: &'t TextTable,
    columns: &'t Columns,
    stated: &'t [(&'static str, &'t str)],
    cells: Result<Vec<Cell>, Refusal>,
}

impl Entry<'_> {
    /// The cells of a key's columns.
    fn cells(&self, key: &str) -> impl Iterator<Item = &Cell> {
        let cells = self.cells.as_deref().unwrap_or_default();
        self.stated.iter().zip(cells).filter(move |((stated, _), _)| *stated == key).map(|(_, cell)| cell)
    }

    /// The name in a key's column, which is kept with each text of the row; none where it is missing.
    fn name(&self, key: &str) -> Result<Option<&str>, Refusal> {
        let name = self.text(key)?;
        match name.map(str::len).filter(|length| *length > MOST_NAME) {
            Some(found) => Err(bad(format!("expected at most {MOST_NAME} bytes as {key}, found {found}"))),
            None => Ok(name),
        }
    }

    /// The text of a key's column; none where it is missing.
    fn text(&self, key: &str) -> Result<Option<&str>, Refusal> {
        match self.cells(key).next() {
            None | Some(Cell::Missing) => Ok(None),
            Some(Cell::Text(text)) => Ok(Some(text)),
            Some(Cell::List(_)) => Err(bad(format!("expected text as {key}, found a list"))),
        }
    }

    /// The split of rows that do not state theirs.
    fn split(&self) -> Split {
        self.table.split.unwrap_or(Split::Train)
    }

    /// A text row without its volume.
    fn row(&self, task: Task, split: Split, question: String, answer: String) -> Row {
        Row {
            row: self.name.clone(),
            images: Vec::new(),
            task,
            topic: None,
            split,
            question,
            answer,
            turns: None,
            choices: None,
            answer_choice: None,
            refusal: None,
        }
    }
}

/// Longest name of a case, a series or a row in bytes; DICOM's have 64 characters.
const MOST_NAME: usize = 256;

fn bad(detail: String) -> Refusal {
    Refusal { reason: Reason::BadRow, detail }
}

/// What a row is about.
enum Target {
    /// Volumes that are there, by their paths from the data root.
    Volumes(Vec<String>),
    /// Every volume of a case.
    Case(String),
    /// A volume that is not there, as the row names it.
    Absent(String, Refusal),
}

/// Adds a row's volumes and texts.
fn add(mut entry: Entry<'_>, builder: &mut Builder<'_>, found: &mut Found) {
    found.rows += 1;
    let id = entry.name("id").map(|id| id.map(str::to_owned));
    if let Ok(Some(id)) = &id {
        entry.name = format!("{} (id {id})", entry.name);
    }
    let read = id.and_then(|_| Ok((target(&entry, builder)?, texts(&entry)?)));
    let (target, texts) = match read {
        Ok(read) => read,
        Err(refusal) => {
            let mut row = entry.row(Task::Caption, entry.split(), String::new(), String::new());
            row.refusal = Some(refusal);
            builder.add(row);
            return;
        }
    };
    if texts.is_empty() && entry.columns.hold_texts() {
        builder.manifest.counts.rows_without_text += 1;
    }
    let (images, refusal) = match target {
        Target::Case(case) => {
            found.with_volume += 1;
            builder.wait(case, texts);
            return;
        }
        Target::Absent(name, refusal) => {
            found.first.get_or_insert_with(|| format!("{}: {}", entry.name, refusal.detail));
            (vec![name], Some(refusal))
        }
        Target::Volumes(images) => {
            found.with_volume += 1;
            let case = entry.name("case").ok().flatten();
            let refusal = case.and_then(|case| builder.state_case(&images, case, &entry.name).err());
            (images, refusal)
        }
    };
    for image in images {
        if refusal.is_none() {
            builder.add_volume(&image, entry.name.clone());
        }
        for text in &texts {
            builder.add_about(text, &image, refusal.as_ref());
        }
    }
}

fn target(entry: &Entry<'_>, builder: &mut Builder<'_>) -> Result<Target, Refusal> {
    entry.cells.as_ref().map_err(Refusal::clone)?;
    let absent =
        |name: &str, detail: String| Target::Absent(name.to_owned(), Refusal { reason: Reason::NoVolume, detail });
    if let Some(path) = entry.text("volume")? {
        return match builder.volumes_named(&entry.table.base, path) {
            Ok(images) => Ok(Target::Volumes(images)),
            Err(refusal) if refusal.reason == Reason::NoVolume => Ok(Target::Absent(path.to_owned(), refusal)),
            Err(refusal) => Err(refusal),
        };
    }
    let of_header = |name: &str, what: &str, images: Vec<String>| match images.is_empty() {
        true => absent(name, format!("expected a series of this {what} below the listed folders, found none")),
        false => Target::Volumes(images),
    };
    if let Some(uid) = entry.name("series")? {
        return Ok(of_header(uid, "id", builder.headers.of_series(uid)));
    }
    if let Some(number) = entry.name("accession")? {
        return Ok(of_header(number, "accession number", builder.headers.of_accession(number)));
    }
    Ok(match entry.name("case")? {
        Some(case) => Target::Case(case.to_owned()),
        None => absent("", "expected the name of a volume, found none".into()),
    })
}

/// The row's texts, each about a volume that is still to be named.
fn texts(entry: &Entry<'_>) -> Result<Vec<Row>, Refusal> {
    let split = match entry.text("split")? {
        None => entry.split(),
        Some(word) => word.to_lowercase().parse::<Split>().map_err(|error| bad(error.to_string()))?,
    };
    let mut texts = Vec::new();
    if let Some(caption) = entry.text("caption")? {
        // Its instruction is known once its volume is.
        texts.push(entry.row(Task::Caption, split, String::new(), caption.to_owned()));
    }
    if let Some(question) = entry.text("question")? {
        let question = question.to_owned();
        let choices = choices(entry)?;
        let answer = entry.text("answer")?.map(str::to_owned);
        let letter = entry.text("answer_choice")?.map(|cell| bare_letter(cell).to_uppercase());
        let mut row = if choices.is_empty() {
            let answer = answer.ok_or_else(|| no_answer("expected an answer, found an empty cell".into()))?;
            entry.row(Task::OpenVqa, split, question, answer)
        } else {
            let (letter, text) = right_choice(&choices, letter, answer)?;
            let words: Vec<&str> = choices.iter().map(String::as_str).collect();
            let asked = closed_question(&question, &words);
            let mut row = entry.row(Task::ClosedVqa, split, asked, closed_answer(&letter, &text));
            (row.choices, row.answer_choice) = (Some(choices), Some(letter));
            row
        };
        row.topic = match entry.text("topic")? {
            None => None,
            Some(word) => Some(topic(word).ok_or_else(|| {
                let known: Vec<&str> = Topic::ALL.iter().map(|topic| topic.as_str()).collect();
                bad(format!("expected a topic ({}, or its number), found `{word}`", known.join(", ")))
            })?),
        };
        texts.push(row);
    }
    Ok(texts)
}

fn no_answer(detail: String) -> Refusal {
    Refusal { reason: Reason::MissingAnswer, detail }
}

fn topic(word: &str) -> Option<Topic> {
    word.to_lowercase().parse().ok().or_else(|| question_type(word).and_then(Topic::of_number))
}

/// A question's choices in their order; empty where it has none.
fn choices(entry: &Entry<'_>) -> Result<Vec<String>, Refusal> {
    let mut choices: Vec<String> = match &entry.columns.choices {
        None => Vec::new(),
        Some(ChoiceColumns::Each(_)) => {
            let cells = entry.cells("choices").map(|cell| match cell {
                Cell::Text(text) => Ok(text.clone()),
                Cell::Missing => Ok(String::new()),
                Cell::List(_) => Err(bad("expected a text in each column of choices, found a list".into())),
            });
            cells.collect::<Result<_, _>>()?
        }
        Some(ChoiceColumns::One(_)) => match entry.cells("choices").next() {
            Some(Cell::List(choices)) => choices.clone(),
            Some(Cell::Text(text)) => split_choices(text),
            _ => Vec::new(),
        },
    };
    choices.iter_mut().for_each(|choice| *choice = choice.trim().to_owned());
    while choices.last().is_some_and(String::is_empty) {
        choices.pop();
    }
    if choices.is_empty() || (2..=LETTERS.len()).contains(&choices.len()) {
        return Ok(choices);
    }
    Err(bad(format!("expected 2 to {} choices, found {}", LETTERS.len(), choices.len())))
}

/// The choices of one text: a JSON list, or what bars or else semicolons separate.
fn split_choices(text: &str) -> Vec<String> {
    if let Ok(Value::Array(values)) = serde_json::from_str::<Value>(text) {
        return values.iter().map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)).collect();
    }
    let separator = if text.contains('|') { '|' } else { ';' };
    text.split(separator).map(str::to_owned).collect()
}

/// Letter and text of the right choice, which the letter states, or the answer does, or both.
fn right_choice(
    choices: &[String],
    letter: Option<String>,
    answer: Option<String>,
) -> Result<(String, String), Refusal> {
    let last = LETTERS[choices.len() - 1];
    let same = |choice: &String| answer.as_ref().is_some_and(|answer| choice.to_lowercase() == answer.to_lowercase());
    let at = match letter {
        Some(letter) => {
            let at = LETTERS[..choices.len()].iter().position(|known| *known == letter);
            let at = at.ok_or_else(|| no_answer(format!("expected an answer choice A to {last}, found `{letter}`")))?;
            let other = choices.iter().position(same).filter(|_| !same(&choices[at]));
            if let (Some(other), Some(answer)) = (other, &answer) {
                let (stated, found) = (&choices[at], LETTERS[other]);
                return Err(bad(format!(
                    "expected the answer of choice {letter} (`{stated}`), found `{answer}`, that of choice {found}"
                )));
            }
            at
        }
        None => choices.iter().position(same).ok_or_else(|| {
            no_answer("expected an answer choice, or an answer that is one of the choices, found neither".into())
        })?,
    };
    Ok((LETTERS[at].to_owned(), choices[at].clone()))
}

#[cfg(test)]
mod tests;
