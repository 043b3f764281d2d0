//! Med-2E3's conversation JSON: a list of `{conversations, vision3d, ...}`, or one of them a line, each with any number of
//! volumes and turns; and LLaVA's, whose rows have `image` and whose mark is `<image>`, where the images are volumes. What
//! becomes of a damaged row: `json_rows`.
//!
//! A conversation is `{from, value}` in turns of `human` and `gpt`; the n-th `<image3d>` mark is replaced by the n-th volume of
//! `vision3d`. `question` is what the slice scorer reads: the first human turn without its marks unless the row states
//! it. A last turn without an answer takes the row's own `answer`. The row's `id` is not kept: it may name a person.

use std::io::{self, Read};
use std::path::Path;

use med2e3_input::reading;
use med2e3_input::text::encoding;
use med2e3_input::text::template::{IMAGE2D_TOKEN, IMAGE3D_TOKEN, instruction, with_image};
use med2e3_schemas::manifest::{ManifestTurn, Refusal};
use med2e3_schemas::quarantine::Reason;
use med2e3_schemas::sample::{Task, Topic};
use serde_json::{Map, Value};

use super::json_rows::{JsonRow, JsonRows, RowValue};
use super::m3d_vqa::{bare_letter, question_type};
use super::{Builder, Row, read_whole};
use crate::PrepareError;
use crate::config::ConversationFile;

/// Adds a row for each entry of the list, or of the lines.
pub(super) fn read(path: &Path, file: &ConversationFile, builder: &mut Builder<'_>) -> Result<(), PrepareError> {
    let bytes = read_whole(path, &builder.limits)?;
    let error = |found: &str| PrepareError::Manifest {
        path: path.to_owned(),
        expected: "a JSON list of {conversations, vision3d}, or of {conversations, image}, or one of them a line"
            .into(),
        found: found.to_owned(),
    };
    let text = encoding::without_mark(&bytes).map_err(error)?;
    let most = builder.limits.field_bytes();
    let rows = JsonRows::of_file(text, &["id", "conversations", "vision3d", LLAVA_IMAGE], most);
    let rows = rows.ok_or_else(|| error("another value"))?;
    let (name, lines) = (path.file_name().unwrap_or_default().to_string_lossy().into_owned(), rows.are_lines());
    let mut found = Found::default();
    for JsonRow { number, line, value } in rows {
        found.note(&value, lines);
        let name = if lines { format!("{name}:{line}") } else { format!("{name}[{number}]") };
        let row = row(value, file, builder, name);
        builder.add(row);
    }
    // Rows of which none is one: another file.
    match found {
        Found { whole: 0, fault: Some(fault) } => Err(error(&fault)),
        _ => Ok(()),
    }
}

/// What the rows of a file were.
#[derive(Default)]
struct Found {
    /// Rows that may be conversations.
    whole: usize,
    /// The first fault.
    fault: Option<String>,
}

impl Found {
    fn note(&mut self, row: &Result<RowValue, String>, lines: bool) {
        match row {
            // An object by itself may be anything.
            Ok(row) if lines && row.value.get("conversations").is_none() => {
                self.fault.get_or_insert_with(|| "another value".into());
            }
            Ok(_) => self.whole += 1,
            Err(fault) => {
                self.fault.get_or_insert_with(|| fault.clone());
            }
        }
    }
}

/// Whether a JSON file holds conversations, in a list or one a line, rather than other rows or an object from splits to lists.
///
/// # Errors
/// The system's.
pub fn holds_conversations(path: &Path) -> io::Result<bool> {
    let mut head = Vec::new();
    reading::File::open(path)?.take(1 << 16).read_to_end(&mut head)?;
    let text = String::from_utf8_lossy(encoding::without_mark(&head).unwrap_or_default()).into_owned();
    let text: String = text.split_ascii_whitespace().collect();
    let splits = ["{\"train", "{\"val", "{\"test"].iter().any(|split| text.starts_with(split));
    let list_of_split = splits && text.split_once("\":").is_some_and(|(_, value)| value.starts_with('['));
    Ok(text.starts_with(['[', '{']) && !list_of_split && text.contains("\"conversations\""))
}

/// The fields of a row that are read.
const FIELDS: [&str; 8] =
    ["conversations", "vision3d", LLAVA_IMAGE, "vision2d", "question", "question_type", "answer", "answer_choice"];

fn row(read: Result<RowValue, String>, file: &ConversationFile, builder: &Builder<'_>, row: String) -> Row {
    let empty = Map::new();
    let damage = match &read {
        Err(fault) => Some(bad(fault.clone())),
        Ok(row) => row.damage(&FIELDS).map(|(damage, field)| {
            let detail = format!("expected text, found {damage} in `{field}`");
            Refusal { reason: damage.reason(), detail }
        }),
    };
    let entry = read.as_ref().ok().and_then(|row| row.value.as_object()).unwrap_or(&empty);
    let is_broken = |row: &RowValue| ["vision3d", LLAVA_IMAGE].iter().any(|name| row.damaged.contains_key(*name));
    let broken_paths = read.as_ref().is_ok_and(is_broken);
    // Volumes are listed even where the text can't be used: other rows may refer to them.
    let images = if broken_paths { Ok(Vec::new()) } else { images(entry, file) };
    let read = match (damage, &images) {
        (Some(damage), _) => Err(damage),
        (None, Ok(images)) => conversation(entry, file, images, builder),
        (None, Err(refusal)) => Err(refusal.clone()),
    };
    let images = images.unwrap_or_default();
    let (conversation, refusal) = match read {
        Ok(conversation) => (conversation, None),
        Err(refusal) => (Conversation::unusable(file), Some(refusal)),
    };
    let Conversation { task, topic, question, turns, choices, answer_choice } = conversation;
    let answer = turns.first().map(|turn| turn.answer.clone()).unwrap_or_default();
    // One instruction about one volume is what the other manifests hold too, and is laid out as they are.
    let plain = matches!(turns.as_slice(), [turn] if turn.question == with_image(&question));
    let turns = (!plain).then_some(turns);
    Row { row, images, task, topic, split: file.split, question, answer, turns, choices, answer_choice, refusal }
}

/// An entry without its volumes.
struct Conversation {
    task: Task,
    topic: Option<Topic>,
    question: String,
    turns: Vec<ManifestTurn>,
    choices: Option<Vec<String>>,
    answer_choice: Option<String>,
}

impl Conversation {
    fn unusable(file: &ConversationFile) -> Conversation {
        Conversation {
            task: file.task.unwrap_or(Task::OpenVqa),
            topic: None,
            question: String::new(),
            turns: Vec::new(),
            choices: None,
            answer_choice: None,
        }
    }
}

fn bad(detail: impl Into<String>) -> Refusal {
    Refusal { reason: Reason::BadRow, detail: detail.into() }
}

fn no_answer(detail: &str) -> Refusal {
    Refusal { reason: Reason::MissingAnswer, detail: detail.to_owned() }
}

/// A field's value; `null` is as good as absent.
fn field<'a>(entry: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    entry.get(name).filter(|value| !value.is_null())
}

/// A text field, trimmed; empty is as good as absent.
fn text<'a>(entry: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, Refusal> {
    let Some(value) = field(entry, name) else { return Ok(None) };
    let text = value.as_str().ok_or_else(|| bad(format!("expected text in `{name}`, found something else")))?;
    Ok(Some(encoding::trimmed(text)).filter(|text| !text.is_empty()))
}

/// LLaVA's field of a path, or of a list of them.
const LLAVA_IMAGE: &str = "image";

/// Whether a row is in LLaVA's form.
fn is_of_llava(entry: &Map<String, Value>) -> bool {
    field(entry, LLAVA_IMAGE).is_some() && field(entry, "vision3d").is_none()
}

fn images(entry: &Map<String, Value>, file: &ConversationFile) -> Result<Vec<String>, Refusal> {
    let name = if is_of_llava(entry) { LLAVA_IMAGE } else { "vision3d" };
    let Some(value) = field(entry, name) else { return Ok(Vec::new()) };
    let list = match value {
        Value::String(_) if name == LLAVA_IMAGE => std::slice::from_ref(value),
        Value::Array(list) => list.as_slice(),
        _ => return Err(bad(format!("expected a list of paths in `{name}`, found something else"))),
    };
    let paths: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
    let paths = paths.ok_or_else(|| bad(format!("expected a list of paths in `{name}`, found another value in it")))?;
    let paths = paths.into_iter().map(|path| path.trim_start_matches(encoding::BYTE_ORDER_MARK));
    Ok(paths.map(|path| below(file.folder.as_deref(), path)).collect())
}

fn below(folder: Option<&str>, path: &str) -> String {
    match folder.map(|folder| folder.trim_end_matches('/')).filter(|folder| !folder.is_empty()) {
        // An empty path stays one, and is refused as such.
        Some(folder) if !path.is_empty() => format!("{folder}/{path}"),
        _ => path.to_owned(),
    }
}

fn conversation(
    entry: &Map<String, Value>,
    file: &ConversationFile,
    images: &[String],
    builder: &Builder<'_>,
) -> Result<Conversation, Refusal> {
    let mut turns = turns(entry)?;
    if is_of_llava(entry) {
        name_volumes(&mut turns, images.len());
    }
    let marks = |mark: &str| turns.iter().map(|turn| turn.question.matches(mark).count()).sum::<usize>();
    let answered = |mark: &str| turns.iter().any(|turn| turn.answer.contains(mark));
    let listed2d = field(entry, "vision2d").is_some_and(|value| value.as_array().is_none_or(|list| !list.is_empty()));
    if listed2d || marks(IMAGE2D_TOKEN) > 0 || answered(IMAGE2D_TOKEN) {
        let detail = "expected volumes only, found an ordinary 2D image".to_owned();
        return Err(Refusal { reason: Reason::UnsupportedImage2d, detail });
    }
    if answered(IMAGE3D_TOKEN) {
        return Err(bad("expected image marks in human turns only, found one in an answer"));
    }
    if marks(IMAGE3D_TOKEN) != images.len() {
        let (expected, found) = (images.len(), marks(IMAGE3D_TOKEN));
        return Err(bad(format!("expected {expected} image marks, one for each path of `vision3d`, found {found}")));
    }
    let first = turns.first().ok_or_else(|| bad("expected at least one turn, found none"))?;
    let stated = text(entry, "question")?.map(instruction);
    let question = stated.unwrap_or_else(|| instruction(&first.question));
    let number = match field(entry, "question_type") {
        None => None,
        Some(value) => Some(
            number_of(value)
                .filter(|number| *number <= 10)
                .ok_or_else(|| bad("expected a whole number 0 to 10 in `question_type`, found something else"))?,
        ),
    };
    let letter = text(entry, "answer_choice")?.map(bare_letter);
    let choices = choices_of(&question, &first.answer);
    let task = file.task.unwrap_or(if letter.is_some() || choices.is_some() {
        Task::ClosedVqa
    } else if number == Some(0) || question.is_empty() {
        Task::Caption
    } else {
        Task::OpenVqa
    });
    let question = if !question.is_empty() {
        question
    } else if task == Task::Caption {
        // Data for alignment has the image alone; the scorer needs an instruction all the same.
        builder.prompts.pick(images.first().map_or(b"".as_slice(), |image| image.as_bytes())).to_owned()
    } else {
        return Err(bad("expected a question, found image marks only"));
    };
    let topic = number.and_then(Topic::of_number).filter(|_| task != Task::Caption);
    let (choices, answer_choice) = match task {
        Task::ClosedVqa => (choices, Some(letter_of(letter, &first.answer)?)),
        Task::Caption | Task::OpenVqa => (None, None),
    };
    Ok(Conversation { task, topic, question, turns, choices, answer_choice })
}

/// The right letter: the row's own, or the one that the answer begins with.
fn letter_of(stated: Option<String>, answer: &str) -> Result<String, Refusal> {
    let leading = || answer.split_once('.').map(|(letter, _)| letter.to_owned());
    let letter = stated.or_else(leading).filter(|letter| ["A", "B", "C", "D"].contains(&letter.as_str()));
    letter.ok_or_else(|| no_answer("expected an answer choice A to D, found none"))
}

/// A whole number, which pandas may have written as `1.0` and others as text.
fn number_of(value: &Value) -> Option<u8> {
    match value {
        Value::Number(number) => question_type(&number.to_string()),
        Value::String(text) => question_type(text),
        _ => None,
    }
}

/// Most places of one letter at which choices are taken apart.
const CUTS: usize = 16;

/// The choices of a question in M3D's wording, `Choices: A. .. B. .. C. .. D. ..`.
///
/// A choice may hold ` B. ` itself. Of all ways to take the text apart the answer decides: its text has to be the choice of its
/// letter. Where it does not, the last ` D. ` counts, the last ` C. ` before that, and the last ` B. ` before that one.
fn choices_of(question: &str, answer: &str) -> Option<Vec<String>> {
    let (_, rest) = question.split_once("Choices: A. ")?;
    let places = |mark: &str| -> Vec<usize> {
        let places: Vec<usize> = rest.match_indices(mark).map(|(at, _)| at).collect();
        places.into_iter().rev().take(CUTS).collect()
    };
    let [b, c, d] = [" B. ", " C. ", " D. "].map(places);
    let right = answer.split_once(". ").filter(|(letter, _)| ["A", "B", "C", "D"].contains(letter));
    let mut first = None;
    for &d in &d {
        // A choice is never shorter than nothing: the marks take 4 bytes each.
        for &c in c.iter().filter(|c| **c + 4 <= d) {
            for &b in b.iter().filter(|b| **b + 4 <= c) {
                let parts = [&rest[..b], &rest[b + 4..c], &rest[c + 4..d], &rest[d + 4..]].map(str::trim);
                let is_right =
                    right.is_some_and(|(letter, text)| parts[usize::from(letter.as_bytes()[0] - b'A')] == text.trim());
                if is_right {
                    return Some(parts.map(str::to_owned).to_vec());
                }
                first.get_or_insert(parts);
            }
        }
    }
    first.map(|parts| parts.map(str::to_owned).to_vec())
}

/// Puts this project's marks in place of LLaVA's; where a row has an image and no mark, before the first question.
fn name_volumes(turns: &mut [ManifestTurn], images: usize) {
    let marks: usize = turns.iter().map(|turn| turn.question.matches(IMAGE2D_TOKEN).count()).sum();
    if let ([first, ..], 0) = (&mut *turns, marks) {
        first.question = format!("{}{}", format!("{IMAGE2D_TOKEN}\n").repeat(images), first.question);
    }
    for turn in turns {
        let question = turn.question.replace(IMAGE2D_TOKEN, IMAGE3D_TOKEN);
        // A mark at a question's end is as good as one before it, where it is the only one.
        turn.question = match question.strip_suffix(IMAGE3D_TOKEN) {
            Some(asked) if !asked.contains(IMAGE3D_TOKEN) && !asked.trim().is_empty() => with_image(asked.trim()),
            _ => question,
        };
    }
}

/// The turns of human and gpt, both trimmed.
fn turns(entry: &Map<String, Value>) -> Result<Vec<ManifestTurn>, Refusal> {
    let list = field(entry, "conversations").and_then(Value::as_array);
    let list = list.ok_or_else(|| bad("expected a list of turns in `conversations`, found something else"))?;
    let mut turns: Vec<ManifestTurn> = Vec::new();
    let mut open = false;
    for (number, part) in list.iter().enumerate() {
        let said = |name: &str| part.get(name).and_then(Value::as_str);
        let (Some(from), Some(value)) = (said("from"), said("value")) else {
            return Err(bad(format!("expected text in `from` and `value`, found something else in part {number}")));
        };
        let value = encoding::trimmed(value).to_owned();
        match (from, turns.last_mut()) {
            ("human", _) if !open => turns.push(ManifestTurn { question: value, answer: String::new() }),
            ("gpt", Some(turn)) if open => turn.answer = value,
            _ => return Err(bad(format!("expected human and gpt in turn, found another order at part {number}"))),
        }
        open = !open;
    }
    if let (true, Some(turn)) = (open, turns.last_mut()) {
        turn.answer = text(entry, "answer")?.unwrap_or_default().to_owned();
    }
    if turns.iter().any(|turn| turn.answer.is_empty()) {
        return Err(no_answer("expected an answer in every turn, found a turn without"));
    }
    Ok(turns)
}
