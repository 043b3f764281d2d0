//! Med-2E3's conversation JSON: a list of `{conversations, vision3d, ...}`, each with any number of volumes and turns.
//!
//! A conversation is `{from, value}` in turns of `human` and `gpt`; the n-th `<image3d>` mark is replaced by the n-th volume of
//! `vision3d`. `question` is what the slice scorer reads: the first human turn without its marks unless the row states
//! it. A last turn without an answer takes the row's own `answer`. The row's `id` is not kept: it may name a person.

use std::fmt;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use med2e3_input::text::template::{IMAGE2D_TOKEN, IMAGE3D_TOKEN, instruction, with_image};
use med2e3_schemas::manifest::{ManifestTurn, Refusal};
use med2e3_schemas::quarantine::Reason;
use med2e3_schemas::sample::{Task, Topic};
use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::m3d_vqa::bare_letter;
use super::{Builder, Row};
use crate::PrepareError;
use crate::config::ConversationFile;

/// Adds a row for each entry of the list. Entries are read one after the other, however long the list is.
pub(super) fn read(path: &Path, file: &ConversationFile, builder: &mut Builder<'_>) -> Result<(), PrepareError> {
    let opened = File::open(path).map_err(PrepareError::file(path, "open"))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut reader = serde_json::Deserializer::from_reader(BufReader::new(opened));
    let read = Entries { file, name: &name, builder }.deserialize(&mut reader).and_then(|()| reader.end());
    read.map_err(|error| PrepareError::Manifest {
        path: path.to_owned(),
        expected: "a JSON list of {conversations, vision3d}".into(),
        found: if error.is_data() { "another value".into() } else { error.to_string() },
    })
}

/// The list's entries, which go to the builder one by one.
struct Entries<'b, 'a> {
    file: &'b ConversationFile,
    name: &'b str,
    builder: &'b mut Builder<'a>,
}

impl<'de> DeserializeSeed<'de> for Entries<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of conversations")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let mut number = 0;
        while let Some(entry) = entries.next_element::<Value>()? {
            let row = row(&entry, self.file, self.builder, format!("{}[{number}]", self.name));
            self.builder.add(row);
            number += 1;
        }
        Ok(())
    }
}

fn row(entry: &Value, file: &ConversationFile, builder: &Builder<'_>, row: String) -> Row {
    let empty = Map::new();
    let entry = entry.as_object().unwrap_or(&empty);
    // Volumes are listed even where the text can't be used: other rows may refer to them.
    let images = images(entry, file);
    let read = images.as_ref().map_err(Clone::clone).and_then(|images| conversation(entry, file, images, builder));
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
    Ok(Some(text.trim()).filter(|text| !text.is_empty()))
}

fn images(entry: &Map<String, Value>, file: &ConversationFile) -> Result<Vec<String>, Refusal> {
    let Some(value) = field(entry, "vision3d") else { return Ok(Vec::new()) };
    let list = value.as_array().ok_or_else(|| bad("expected a list of paths in `vision3d`, found something else"))?;
    let paths: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
    let paths = paths.ok_or_else(|| bad("expected a list of paths in `vision3d`, found another value in it"))?;
    Ok(paths.into_iter().map(|path| below(file.folder.as_deref(), path)).collect())
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
    let turns = turns(entry)?;
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
            value
                .as_u64()
                .filter(|number| *number <= 10)
                .ok_or_else(|| bad("expected a whole number 0 to 10 in `question_type`, found something else"))?,
        ),
    };
    let letter = text(entry, "answer_choice")?.map(bare_letter);
    let choices = choices_of(&question);
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
    let topic = number.and_then(|number| Topic::of_number(number as u8)).filter(|_| task != Task::Caption);
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

/// The choices of a question in M3D's wording.
fn choices_of(question: &str) -> Option<Vec<String>> {
    let (_, rest) = question.split_once("Choices: A. ")?;
    let (a, rest) = rest.split_once(" B. ")?;
    let (b, rest) = rest.split_once(" C. ")?;
    let (c, d) = rest.split_once(" D. ")?;
    Some([a, b, c, d].map(|choice| choice.trim().to_owned()).to_vec())
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
        let value = value.trim().to_owned();
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
