//! Sample shards: one row a text pair, with its token ids and the spans of them that are targets.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeBinaryBuilder, Int32Builder, ListBuilder, RecordBatch,
    StringArray, StringBuilder, StructBuilder, UInt8Array, UInt32Builder,
};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, UInt8Type, UInt32Type};
use serde::{Deserialize, Serialize};

use crate::columns::{Columns, list_of};
use crate::config::also_accepts;
use crate::{Id, SchemaError};

/// The id that marks a volume among token ids (released code: the id of `<image3d>`).
pub const IMAGE3D: i32 = -201;

/// The label of a position that is no target (torch's `ignore_index`, which the released code uses too).
pub const IGNORED: i64 = -100;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $what:literal {
        $($(#[$variant_doc:meta])* $variant:ident = $word:literal $(or $other:literal)*),+ $(,)?
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
        #[schemars(transform = |schema: &mut schemars::Schema| also_accepts(schema, &[$($($other,)*)+]))]
        pub enum $name { $($(#[$variant_doc])* #[serde(rename = $word $(, alias = $other)*)] $variant),+ }

        impl $name {
            /// Every value, in the order of the declaration.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            /// The word on disk.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = SchemaError;

            /// The value of a word, whatever its case and the space around it.
            fn from_str(word: &str) -> Result<$name, SchemaError> {
                match word.trim().to_ascii_lowercase().as_str() {
                    $($word $(| $other)* => Ok($name::$variant),)+
                    _ => Err(SchemaError::Word {
                        what: $what,
                        expected: [$($word),+].join(", "),
                        found: word.to_owned(),
                    }),
                }
            }
        }
    };
}

words! {
    /// What a text pair asks for.
    Task, "task" {
        /// A report of the volume.
        Caption = "caption",
        /// A question answered in free text.
        OpenVqa = "open_vqa",
        /// A question with lettered choices.
        ClosedVqa = "closed_vqa",
    }
}

words! {
    /// Which part of the study a sample belongs to. What is written is `train`, `validation` and `test`; the other words that
    /// people have for them are read too.
    Split, "split" {
        /// Seen by training; `training` is read too.
        Train = "train" or "training",
        /// For choices made while training; `val`, `valid`, `dev` and `development` are read too.
        Validation = "validation" or "val" or "valid" or "dev" or "development",
        /// For the figures that are reported; `testing` is read too.
        Test = "test" or "testing",
    }
}

words! {
    /// M3D-VQA's question types (column `Question Type`, 1 to 5).
    Topic, "topic" {
        /// Axial, coronal or sagittal.
        Plane = "plane",
        /// Contrast phase or display window.
        Phase = "phase",
        /// Which organ.
        Organ = "organ",
        /// Kind and description of an abnormality.
        Abnormality = "abnormality",
        /// Where.
        Location = "location",
    }
}

impl Topic {
    /// The number of this topic in M3D-VQA's CSV files.
    pub fn number(self) -> u8 {
        self as u8 + 1
    }

    /// The topic of a CSV's number.
    pub fn of_number(number: u8) -> Option<Topic> {
        Topic::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }
}

/// One row of a sample shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleRow {
    /// Key.
    pub sample_id: Id,
    /// The volumes that the text refers to, in order of appearance: one for each [`IMAGE3D`] of `ids`.
    pub volume_ids: Vec<Id>,
    /// Kind of pair.
    pub task: Task,
    /// Question type; `None` for captions.
    pub topic: Option<Topic>,
    /// Part of the study.
    pub split: Split,
    /// The case of the first volume.
    pub case_id: String,
    /// The first turn's instruction, without image tokens; with the choices for closed questions.
    pub question: String,
    /// The expected text of the first turn.
    pub answer: String,
    /// The choices in order A, B, C, D.
    pub choices: Option<Vec<String>>,
    /// Letter of the right choice.
    pub answer_choice: Option<String>,
    /// Token ids of the whole pair in the recipe's template; [`IMAGE3D`] marks a volume.
    pub ids: Vec<i32>,
    /// Half-open ranges over `ids` that are training targets.
    pub target_spans: Vec<(u32, u32)>,
    /// Captions only: image token and caption alone, the form of the first training stage.
    pub pretrain_ids: Option<Vec<i32>>,
    /// The question in the language model's tokens, for the slice scorer.
    pub question_ids_llm: Vec<i32>,
    /// The question in a text encoder's tokens, start and separator included; `None` where the run has no such
    /// tokenizer.
    pub question_ids_bert: Option<Vec<i32>>,
    /// Whether the length budget cut the text.
    pub truncated: bool,
}

const QUESTION_IDS_BERT: &str = "question_ids_bert";

fn span_fields() -> Fields {
    vec![Field::new("start", DataType::UInt32, false), Field::new("end", DataType::UInt32, false)].into()
}

impl SampleRow {
    /// A row that states ids and volumes alone, as far as steps are planned by it: an open question of the training split.
    pub fn of_ids(sample_id: Id, volume_ids: Vec<Id>, ids: Vec<i32>, target_spans: Vec<(u32, u32)>) -> SampleRow {
        SampleRow {
            sample_id,
            volume_ids,
            task: Task::OpenVqa,
            topic: None,
            split: Split::Train,
            case_id: String::new(),
            question: String::new(),
            answer: String::new(),
            choices: None,
            answer_choice: None,
            ids,
            target_spans,
            pretrain_ids: None,
            question_ids_llm: Vec::new(),
            question_ids_bert: None,
            truncated: false,
        }
    }

    /// What no program writes: marks that are not as many as the volumes, spans out of order or beyond the ids, negative ids.
    pub fn problem(&self) -> Option<String> {
        let marks = |ids: &[i32]| ids.iter().filter(|id| **id == IMAGE3D).count();
        let is_negative = |ids: &[i32]| ids.iter().any(|id| *id < 0 && *id != IMAGE3D);
        let (pretrain, volumes) = (self.pretrain_ids.as_deref().unwrap_or_default(), self.volume_ids.len());
        let questions = [self.question_ids_llm.as_slice(), self.question_ids_bert.as_deref().unwrap_or_default()];
        let mut before = 0;
        let mut follows = |&(start, end): &(u32, u32)| {
            let follows = before <= start && start < end && end as usize <= self.ids.len();
            before = end;
            follows
        };
        if marks(&self.ids) != volumes || marks(pretrain) > volumes {
            Some(format!("{} image marks for {volumes} volumes", marks(&self.ids).max(marks(pretrain))))
        } else if self.target_spans.is_empty() || !self.target_spans.iter().all(&mut follows) {
            Some(format!(
                "{} target spans that are not one after the other in {} ids",
                self.target_spans.len(),
                self.ids.len()
            ))
        } else if is_negative(&self.ids) || is_negative(pretrain) || questions.concat().iter().any(|id| *id < 0) {
            Some("a negative id that is no image mark".into())
        } else {
            None
        }
    }

    /// Whether each of the ids is a target.
    pub fn targets(&self) -> Vec<bool> {
        let mut targets = vec![false; self.ids.len()];
        for &(start, end) in &self.target_spans {
            let end = (end as usize).min(targets.len());
            targets[(start as usize).min(end)..end].fill(true);
        }
        targets
    }
}

/// The schema of `samples/*.parquet`.
pub fn schema() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    Arc::new(Schema::new(vec![
        Field::new("sample_id", DataType::FixedSizeBinary(16), false),
        Field::new("volume_ids", list_of(DataType::FixedSizeBinary(16)), false),
        text("task"),
        Field::new("topic", DataType::UInt8, true),
        text("split"),
        text("case_id"),
        text("question"),
        text("answer"),
        Field::new("choices", list_of(DataType::Utf8), true),
        Field::new("answer_choice", DataType::Utf8, true),
        Field::new("ids", list_of(DataType::Int32), false),
        Field::new("target_spans", list_of(DataType::Struct(span_fields())), false),
        Field::new("pretrain_ids", list_of(DataType::Int32), true),
        Field::new("question_ids_llm", list_of(DataType::Int32), false),
        Field::new(QUESTION_IDS_BERT, list_of(DataType::Int32), true),
        Field::new("truncated", DataType::Boolean, false),
    ]))
}

/// The rows as one batch of [`schema`].
pub fn to_batch(rows: &[SampleRow]) -> RecordBatch {
    let text = |get: &dyn Fn(&SampleRow) -> Option<String>| -> ArrayRef {
        Arc::new(rows.iter().map(get).collect::<StringArray>())
    };
    let ints = |get: &dyn Fn(&SampleRow) -> Option<Vec<i32>>| -> ArrayRef {
        let mut builder = ListBuilder::new(Int32Builder::new());
        rows.iter().for_each(|row| builder.append_option(get(row).map(|ids| ids.into_iter().map(Some))));
        Arc::new(builder.finish())
    };
    let mut sample_ids = FixedSizeBinaryBuilder::new(16);
    let mut volume_ids = ListBuilder::new(FixedSizeBinaryBuilder::new(16));
    let mut choices = ListBuilder::new(StringBuilder::new());
    let mut spans = ListBuilder::new(StructBuilder::from_fields(span_fields(), 0));
    for row in rows {
        sample_ids.append_value(row.sample_id.0).expect("an id has 16 bytes");
        row.volume_ids.iter().for_each(|id| volume_ids.values().append_value(id.0).expect("an id has 16 bytes"));
        volume_ids.append(true);
        choices.append_option(row.choices.as_ref().map(|list| list.iter().map(Some)));
        for (start, end) in &row.target_spans {
            let fields = spans.values();
            fields.field_builder::<UInt32Builder>(0).expect("start is UInt32").append_value(*start);
            fields.field_builder::<UInt32Builder>(1).expect("end is UInt32").append_value(*end);
            fields.append(true);
        }
        spans.append(true);
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(sample_ids.finish()),
        Arc::new(volume_ids.finish()),
        text(&|r| Some(r.task.to_string())),
        Arc::new(rows.iter().map(|r| r.topic.map(Topic::number)).collect::<UInt8Array>()),
        text(&|r| Some(r.split.to_string())),
        text(&|r| Some(r.case_id.clone())),
        text(&|r| Some(r.question.clone())),
        text(&|r| Some(r.answer.clone())),
        Arc::new(choices.finish()),
        text(&|r| r.answer_choice.clone()),
        ints(&|r| Some(r.ids.clone())),
        Arc::new(spans.finish()),
        ints(&|r| r.pretrain_ids.clone()),
        ints(&|r| Some(r.question_ids_llm.clone())),
        ints(&|r| r.question_ids_bert.clone()),
        Arc::new(rows.iter().map(|r| Some(r.truncated)).collect::<BooleanArray>()),
    ];
    RecordBatch::try_new(schema(), columns).expect("the columns above are built from this schema")
}

/// The rows of a batch with at least the columns of [`schema`], in any order; `question_ids_bert` may be absent, as in
/// shards that were made before it.
///
/// # Errors
/// A missing column, a column of another type, an unknown word.
pub fn from_batch(batch: &RecordBatch) -> Result<Vec<SampleRow>, SchemaError> {
    let columns = Columns { batch, expected: schema() };
    (0..batch.num_rows())
        .map(|row| {
            let spans = columns.get("target_spans")?.as_list::<i32>().value(row);
            let bound = |side: usize| spans.as_struct().column(side).as_primitive::<UInt32Type>().values().to_vec();
            Ok(SampleRow {
                sample_id: columns.id("sample_id", row)?,
                volume_ids: columns.ids("volume_ids", row)?,
                task: columns.text("task", row)?.parse()?,
                topic: topic_of(&columns, row)?,
                split: columns.text("split", row)?.parse()?,
                case_id: columns.text("case_id", row)?,
                question: columns.text("question", row)?,
                answer: columns.text("answer", row)?,
                choices: columns.maybe_texts("choices", row)?,
                answer_choice: columns.maybe_text("answer_choice", row)?,
                ids: columns.ints("ids", row)?,
                target_spans: bound(0).into_iter().zip(bound(1)).collect(),
                pretrain_ids: columns.maybe_ints("pretrain_ids", row)?,
                question_ids_llm: columns.ints("question_ids_llm", row)?,
                question_ids_bert: match batch.column_by_name(QUESTION_IDS_BERT) {
                    Some(_) => columns.maybe_ints(QUESTION_IDS_BERT, row)?,
                    None => None,
                },
                truncated: columns.flag("truncated", row)?,
            })
        })
        .collect()
}

/// The column of a sample's volumes.
pub const VOLUMES: [&str; 1] = ["volume_ids"];

/// The volumes of each row of a batch with at least [`VOLUMES`].
///
/// # Errors
/// A missing column, a column of another type.
pub fn volumes_from_batch(batch: &RecordBatch) -> Result<Vec<Vec<Id>>, SchemaError> {
    let columns = Columns { batch, expected: schema() };
    (0..batch.num_rows()).map(|row| columns.ids(VOLUMES[0], row)).collect()
}

/// The column of a sample's expected text.
pub const ANSWERS: [&str; 1] = ["answer"];

/// The expected text of each row of a batch with at least [`ANSWERS`].
///
/// # Errors
/// A missing column, a column of another type.
pub fn answers_from_batch(batch: &RecordBatch) -> Result<Vec<String>, SchemaError> {
    let columns = Columns { batch, expected: schema() };
    (0..batch.num_rows()).map(|row| columns.text(ANSWERS[0], row)).collect()
}

/// The question type in the column `topic`; `None` for a null.
pub(crate) fn topic_of(columns: &Columns<'_>, row: usize) -> Result<Option<Topic>, SchemaError> {
    let array = columns.get("topic")?;
    if array.is_null(row) {
        return Ok(None);
    }
    let number = array.as_primitive::<UInt8Type>().value(row);
    let error = || SchemaError::Word { what: "topic", expected: "1 to 5".into(), found: number.to_string() };
    Topic::of_number(number).map(Some).ok_or_else(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_that_people_have_for_splits_are_read() {
        for (words, split) in [
            (&["train", "training", "Train", " TRAIN\t"][..], Split::Train),
            (&["validation", "val", "valid", "dev", "Val", "development"], Split::Validation),
            (&["test", "testing", "TEST"], Split::Test),
        ] {
            for word in words {
                assert_eq!(word.parse::<Split>().unwrap(), split, "{word}");
            }
            let json = serde_json::to_string(&split).unwrap();
            assert_eq!(json, format!("\"{split}\""));
        }
        for word in ["val", "valid", "dev"] {
            assert_eq!(serde_json::from_str::<Split>(&format!("\"{word}\"")).unwrap(), Split::Validation, "{word}");
        }
        let error = "trian".parse::<Split>().unwrap_err().to_string();
        assert!(error.contains("train, validation, test") && error.contains("trian"), "{error}");
    }

    #[test]
    fn rows_round_trip() {
        let closed = SampleRow {
            sample_id: Id::of_volume("s"),
            volume_ids: vec![Id::of_volume("a"), Id::of_volume("b")],
            task: Task::ClosedVqa,
            topic: Some(Topic::Location),
            split: Split::Validation,
            case_id: "000001".into(),
            question: "Where?".into(),
            answer: "A. left".into(),
            choices: Some(vec!["left".into(), "NA".into()]),
            answer_choice: Some("A".into()),
            ids: vec![1, IMAGE3D, 5],
            target_spans: vec![(2, 3)],
            pretrain_ids: None,
            question_ids_llm: vec![9],
            question_ids_bert: Some(vec![101, 9, 102]),
            truncated: false,
        };
        let caption = SampleRow {
            task: Task::Caption,
            topic: None,
            choices: None,
            answer_choice: None,
            pretrain_ids: Some(vec![IMAGE3D, 5]),
            question_ids_bert: None,
            ..closed.clone()
        };
        let rows = vec![closed, caption];
        let batch = to_batch(&rows);
        assert_eq!(from_batch(&batch).unwrap(), rows);

        // A shard from before the column was there.
        let older: Vec<usize> = (0..batch.num_columns()).filter(|&i| i != batch.num_columns() - 2).collect();
        let read = from_batch(&batch.project(&older).unwrap()).unwrap();
        assert!(read.iter().all(|row| row.question_ids_bert.is_none()) && read[1] == rows[1]);
    }

    #[test]
    fn topics_have_m3d_numbers() {
        assert_eq!(Topic::Plane.number(), 1);
        assert_eq!(Topic::of_number(5), Some(Topic::Location));
        assert_eq!((Topic::of_number(0), Topic::of_number(6)), (None, None));
    }
}
