//! The manifest: two tables, distinct volumes and text pairs, cut into ranges; one range becomes one shard.
//!
//! A row that is already known to be unusable stays in the manifest with its reason, and a row whose id an earlier row has
//! stays with `duplicate` set: so rows, quarantine records and duplicates add up to the manifest by construction.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeBinaryBuilder, ListBuilder, RecordBatch, StringArray,
    StringBuilder, StructBuilder, UInt8Array, UInt32Array, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, UInt32Type, UInt64Type};

use crate::columns::{Columns, list_of};
use crate::identity::{Identify, Identity};
use crate::quarantine::{Reason, reason_of};
use crate::sample::{Split, Task, Topic, topic_of};
use crate::{Id, SchemaError};

/// A row that is unusable before any of its files is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// What was expected and what was found.
    pub detail: String,
}

/// One distinct volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestVolume {
    /// Key, from `image`.
    pub volume_id: Id,
    /// The path as the manifest writes it, such as `M3D_Cap_npy/ct_case/000001/Axial.npy`.
    pub image: String,
    /// What is read, relative to the data root.
    pub source_path: String,
    /// The case's folder name.
    pub case_id: String,
    /// The series' name.
    pub series: String,
    /// File and entry that first name the volume.
    pub row: String,
    /// What a person should know of how the input was found; it goes to the volume's notes and holds no name.
    pub note: Option<String>,
    /// Set where the row can't become a volume.
    pub refusal: Option<Refusal>,
}

/// A question and its answer in a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestTurn {
    /// What the user says, with the images' marks.
    pub question: String,
    /// What is learned.
    pub answer: String,
}

/// One text: an instruction and its answer, or a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestText {
    /// Key.
    pub sample_id: Id,
    /// The volumes that it is about, in order of appearance.
    pub volume_ids: Vec<Id>,
    /// The volumes' paths as the manifest writes them.
    pub images: Vec<String>,
    /// Kind of pair.
    pub task: Task,
    /// Question type; `None` for captions.
    pub topic: Option<Topic>,
    /// Part of the study.
    pub split: Split,
    /// The case's folder name.
    pub case_id: String,
    /// The first turn's instruction, without image marks.
    pub question: String,
    /// The first turn's answer.
    pub answer: String,
    /// Every turn with its marks; `None` where `question` and `answer` about one volume are all of it.
    pub turns: Option<Vec<ManifestTurn>>,
    /// Choices A to D of a closed question.
    pub choices: Option<Vec<String>>,
    /// The right letter.
    pub answer_choice: Option<String>,
    /// File and entry.
    pub row: String,
    /// Set where the row can't become a sample.
    pub refusal: Option<Refusal>,
    /// Set where an earlier row has the same id.
    pub duplicate: bool,
}

impl Identify for Refusal {
    fn identify(&self, identity: &mut Identity) {
        identity.text(self.reason.as_str()).text(&self.detail);
    }
}

impl Identify for ManifestVolume {
    /// Every field in the order of the declaration, save that a note is last and only there where there is one.
    fn identify(&self, identity: &mut Identity) {
        let ManifestVolume { volume_id, image, source_path, case_id, series, row, note, refusal } = self;
        identity.bytes(&volume_id.0).text(image).text(source_path).text(case_id).text(series).text(row);
        identity.maybe(refusal.as_ref(), |identity, refusal| refusal.identify(identity));
        if let Some(note) = note {
            identity.text(note);
        }
    }
}

impl Identify for ManifestText {
    /// Every field in the order of the declaration; topics by their number.
    fn identify(&self, identity: &mut Identity) {
        let ManifestText { sample_id, volume_ids, images, task, topic, split, case_id, .. } = self;
        let ManifestText { question, answer, turns, choices, answer_choice, row, refusal, duplicate, .. } = self;
        let add_text = |identity: &mut Identity, text: &String| {
            identity.text(text);
        };
        identity.bytes(&sample_id.0);
        identity.list(volume_ids, |identity, id| {
            identity.bytes(&id.0);
        });
        identity.list(images, add_text).text(task.as_str());
        identity.maybe(*topic, |identity, topic| {
            identity.number(topic.number().into());
        });
        identity.text(split.as_str()).text(case_id).text(question).text(answer);
        identity.maybe(turns.as_ref(), |identity, turns| {
            identity.list(turns, |identity, turn| {
                identity.text(&turn.question).text(&turn.answer);
            });
        });
        identity.maybe(choices.as_ref(), |identity, choices| {
            identity.list(choices, add_text);
        });
        identity
            .maybe(answer_choice.as_ref(), |identity, choice| {
                identity.text(choice);
            })
            .text(row);
        identity.maybe(refusal.as_ref(), |identity, refusal| refusal.identify(identity)).flag(*duplicate);
    }
}

/// The identity of a range: its rows, each with its ordinal.
pub fn range_identity<'a, Row: Identify + 'a>(rows: impl IntoIterator<Item = (u64, &'a Row)>) -> String {
    let mut identity = Identity::of_kind("manifest range");
    for (ordinal, row) in rows {
        identity.number(ordinal);
        row.identify(&mut identity);
    }
    identity.finish()
}

/// The column that says which range a row belongs to.
pub const RANGE: &str = "range_id";
const ORDINAL: &str = "ordinal";

fn turn_fields() -> Fields {
    vec![Field::new("question", DataType::Utf8, false), Field::new("answer", DataType::Utf8, false)].into()
}

fn refusal_fields() -> [Field; 2] {
    [Field::new("refusal_reason", DataType::Utf8, true), Field::new("refusal_detail", DataType::Utf8, true)]
}

/// The schema of `manifest/volumes/*.parquet`.
pub fn volumes_schema() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    let mut fields = vec![
        Field::new(RANGE, DataType::UInt32, false),
        Field::new(ORDINAL, DataType::UInt64, false),
        Field::new("volume_id", DataType::FixedSizeBinary(16), false),
        text("image"),
        text("source_path"),
        text("case_id"),
        text("series"),
        text("row"),
        Field::new("note", DataType::Utf8, true),
    ];
    fields.extend(refusal_fields());
    Arc::new(Schema::new(fields))
}

/// The schema of `manifest/texts/*.parquet`.
pub fn texts_schema() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    let mut fields = vec![
        Field::new(RANGE, DataType::UInt32, false),
        Field::new(ORDINAL, DataType::UInt64, false),
        Field::new("sample_id", DataType::FixedSizeBinary(16), false),
        Field::new("volume_ids", list_of(DataType::FixedSizeBinary(16)), false),
        Field::new("images", list_of(DataType::Utf8), false),
        text("task"),
        Field::new("topic", DataType::UInt8, true),
        text("split"),
        text("case_id"),
        text("question"),
        text("answer"),
        Field::new("turns", list_of(DataType::Struct(turn_fields())), true),
        Field::new("choices", list_of(DataType::Utf8), true),
        Field::new("answer_choice", DataType::Utf8, true),
        text("row"),
        Field::new("duplicate", DataType::Boolean, false),
    ];
    fields.extend(refusal_fields());
    Arc::new(Schema::new(fields))
}

fn texts(values: impl Iterator<Item = Option<String>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

fn ids(values: impl Iterator<Item = Id>) -> ArrayRef {
    let mut builder = FixedSizeBinaryBuilder::new(16);
    values.for_each(|id| builder.append_value(id.0).expect("an id has 16 bytes"));
    Arc::new(builder.finish())
}

fn keys(range_id: u32, first_ordinal: u64, rows: usize) -> [ArrayRef; 2] {
    [
        Arc::new(UInt32Array::from(vec![range_id; rows])),
        Arc::new((first_ordinal..first_ordinal + rows as u64).map(Some).collect::<UInt64Array>()),
    ]
}

fn refusals<'a>(values: impl Iterator<Item = &'a Option<Refusal>> + Clone) -> [ArrayRef; 2] {
    [
        texts(values.clone().map(|r| r.as_ref().map(|r| r.reason.to_string()))),
        texts(values.map(|r| r.as_ref().map(|r| r.detail.clone()))),
    ]
}

/// One range of volumes as a batch of [`volumes_schema`].
pub fn volumes_to_batch(range_id: u32, first_ordinal: u64, rows: &[ManifestVolume]) -> RecordBatch {
    let mut columns = keys(range_id, first_ordinal, rows.len()).to_vec();
    columns.extend([
        ids(rows.iter().map(|r| r.volume_id)),
        texts(rows.iter().map(|r| Some(r.image.clone()))),
        texts(rows.iter().map(|r| Some(r.source_path.clone()))),
        texts(rows.iter().map(|r| Some(r.case_id.clone()))),
        texts(rows.iter().map(|r| Some(r.series.clone()))),
        texts(rows.iter().map(|r| Some(r.row.clone()))),
        texts(rows.iter().map(|r| r.note.clone())),
    ]);
    columns.extend(refusals(rows.iter().map(|r| &r.refusal)));
    RecordBatch::try_new(volumes_schema(), columns).expect("the columns above are built from this schema")
}

/// One range of texts as a batch of [`texts_schema`].
pub fn texts_to_batch(range_id: u32, first_ordinal: u64, rows: &[ManifestText]) -> RecordBatch {
    let mut volume_ids = ListBuilder::new(FixedSizeBinaryBuilder::new(16));
    let mut images = ListBuilder::new(StringBuilder::new());
    let mut turns = ListBuilder::new(StructBuilder::from_fields(turn_fields(), 0));
    let mut choices = ListBuilder::new(StringBuilder::new());
    for row in rows {
        row.volume_ids.iter().for_each(|id| volume_ids.values().append_value(id.0).expect("an id has 16 bytes"));
        volume_ids.append(true);
        images.append_value(row.images.iter().map(Some));
        for turn in row.turns.iter().flatten() {
            let fields = turns.values();
            for (side, text) in [&turn.question, &turn.answer].into_iter().enumerate() {
                fields.field_builder::<StringBuilder>(side).expect("both sides are Utf8").append_value(text);
            }
            fields.append(true);
        }
        turns.append(row.turns.is_some());
        choices.append_option(row.choices.as_ref().map(|list| list.iter().map(Some)));
    }
    let mut columns = keys(range_id, first_ordinal, rows.len()).to_vec();
    columns.extend([
        ids(rows.iter().map(|r| r.sample_id)),
        Arc::new(volume_ids.finish()),
        Arc::new(images.finish()),
        texts(rows.iter().map(|r| Some(r.task.to_string()))),
        Arc::new(rows.iter().map(|r| r.topic.map(Topic::number)).collect::<UInt8Array>()),
        texts(rows.iter().map(|r| Some(r.split.to_string()))),
        texts(rows.iter().map(|r| Some(r.case_id.clone()))),
        texts(rows.iter().map(|r| Some(r.question.clone()))),
        texts(rows.iter().map(|r| Some(r.answer.clone()))),
        Arc::new(turns.finish()),
        Arc::new(choices.finish()),
        texts(rows.iter().map(|r| r.answer_choice.clone())),
        texts(rows.iter().map(|r| Some(r.row.clone()))),
        Arc::new(rows.iter().map(|r| Some(r.duplicate)).collect::<BooleanArray>()),
    ]);
    columns.extend(refusals(rows.iter().map(|r| &r.refusal)));
    RecordBatch::try_new(texts_schema(), columns).expect("the columns above are built from this schema")
}

fn refusal_of(columns: &Columns<'_>, row: usize) -> Result<Option<Refusal>, SchemaError> {
    let Some(reason) = reason_of(columns, "refusal_reason", row)? else { return Ok(None) };
    Ok(Some(Refusal { reason, detail: columns.maybe_text("refusal_detail", row)?.unwrap_or_default() }))
}

fn turns_of(columns: &Columns<'_>, row: usize) -> Result<Option<Vec<ManifestTurn>>, SchemaError> {
    let array = columns.get("turns")?;
    Ok(array.is_valid(row).then(|| {
        let turns = array.as_list::<i32>().value(row);
        let [questions, answers] = [0, 1].map(|side| turns.as_struct().column(side).as_string::<i32>());
        let both = questions.iter().flatten().zip(answers.iter().flatten());
        both.map(|(q, a)| ManifestTurn { question: q.to_owned(), answer: a.to_owned() }).collect()
    }))
}

/// The (range, ordinal) of each row of a manifest batch.
///
/// # Errors
/// A missing key column.
pub fn keys_of(batch: &RecordBatch) -> Result<Vec<(u32, u64)>, SchemaError> {
    let columns = Columns { batch, expected: volumes_schema() };
    let ranges = columns.get(RANGE)?.as_primitive::<UInt32Type>().values();
    let ordinals = columns.get(ORDINAL)?.as_primitive::<UInt64Type>().values();
    Ok(ranges.iter().copied().zip(ordinals.iter().copied()).collect())
}

/// The rows of a batch of [`volumes_schema`].
///
/// # Errors
/// A missing column, a column of another type, an unknown word.
pub fn volumes_from_batch(batch: &RecordBatch) -> Result<Vec<ManifestVolume>, SchemaError> {
    let columns = Columns { batch, expected: volumes_schema() };
    (0..batch.num_rows())
        .map(|row| {
            Ok(ManifestVolume {
                volume_id: columns.id("volume_id", row)?,
                image: columns.text("image", row)?,
                source_path: columns.text("source_path", row)?,
                case_id: columns.text("case_id", row)?,
                series: columns.text("series", row)?,
                row: columns.text("row", row)?,
                note: columns.maybe_text("note", row)?,
                refusal: refusal_of(&columns, row)?,
            })
        })
        .collect()
}

/// The rows of a batch of [`texts_schema`].
///
/// # Errors
/// A missing column, a column of another type, an unknown word.
pub fn texts_from_batch(batch: &RecordBatch) -> Result<Vec<ManifestText>, SchemaError> {
    let columns = Columns { batch, expected: texts_schema() };
    (0..batch.num_rows())
        .map(|row| {
            Ok(ManifestText {
                sample_id: columns.id("sample_id", row)?,
                volume_ids: columns.ids("volume_ids", row)?,
                images: columns.maybe_texts("images", row)?.unwrap_or_default(),
                task: columns.text("task", row)?.parse()?,
                topic: topic_of(&columns, row)?,
                split: columns.text("split", row)?.parse()?,
                case_id: columns.text("case_id", row)?,
                question: columns.text("question", row)?,
                answer: columns.text("answer", row)?,
                turns: turns_of(&columns, row)?,
                choices: columns.maybe_texts("choices", row)?,
                answer_choice: columns.maybe_text("answer_choice", row)?,
                row: columns.text("row", row)?,
                refusal: refusal_of(&columns, row)?,
                duplicate: columns.flag("duplicate", row)?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_tables_round_trip() {
        let volume = ManifestVolume {
            volume_id: Id::of_volume("a"),
            image: "a.npy".into(),
            source_path: "a".into(),
            case_id: "1".into(),
            series: "a".into(),
            row: "M3D_Cap.json train[0]".into(),
            note: None,
            refusal: Some(Refusal { reason: Reason::PathOutsideRoot, detail: "..".into() }),
        };
        let batch = volumes_to_batch(3, 384, std::slice::from_ref(&volume));
        assert_eq!(volumes_from_batch(&batch).unwrap(), vec![volume]);
        assert_eq!(keys_of(&batch).unwrap(), vec![(3, 384)]);

        let text = ManifestText {
            sample_id: Id::of_volume("s"),
            volume_ids: vec![Id::of_volume("a")],
            images: vec!["a.npy".into()],
            task: Task::ClosedVqa,
            topic: Some(Topic::Plane),
            split: Split::Test,
            case_id: "1".into(),
            question: "Which?".into(),
            answer: "A. axial".into(),
            turns: None,
            choices: Some(vec!["axial".into()]),
            answer_choice: Some("A".into()),
            row: "M3D_VQA_test.csv:2".into(),
            refusal: None,
            duplicate: false,
        };
        let turn = |question: &str| ManifestTurn { question: question.into(), answer: "Yes.".into() };
        let conversation = ManifestText {
            volume_ids: vec![Id::of_volume("a"), Id::of_volume("b")],
            images: vec!["a.npy".into(), "b.npy".into()],
            turns: Some(vec![turn("<image3d><image3d>\nSame?"), turn("Sure?")]),
            ..text.clone()
        };
        let unusable =
            ManifestText { volume_ids: Vec::new(), images: Vec::new(), turns: Some(Vec::new()), ..text.clone() };
        let rows = vec![text.clone(), conversation, unusable, text];
        assert_eq!(texts_from_batch(&texts_to_batch(0, 0, &rows)).unwrap(), rows);
    }
}
