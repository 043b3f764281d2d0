//! Tables of one's own: which columns hold what.

use std::path::{Path, PathBuf};

use med2e3_schemas::config::also_reads;
use med2e3_schemas::sample::Split;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A table of texts, or of cases, with its own names of columns.
///
/// A row names volumes by one of `volume`, `series`, `accession` and `case`, in this order where several are stated. It may hold a
/// caption, a question with its answer, or both. A row without a text adds its volumes alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TextTable {
    /// The file, relative to the data root.
    pub path: PathBuf,
    /// What the file is; by its suffix where it is not stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<TableFormat>,
    /// Which column holds what; where none is stated, columns are known by their names.
    #[serde(default)]
    pub columns: Columns,
    /// What separates the fields of a CSV table, one ASCII character; where it is not stated, the one that the header has most
    /// of: a comma, a semicolon, a tab or a bar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<char>,
    /// The encoding by its name on the web, such as `windows-1252` (which `latin1` names too) or `gbk`; UTF-8, and UTF-16 with
    /// its mark, where it is not stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// Folder, relative to the data root, that the volumes' paths are relative to.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub base: PathBuf,
    /// The split of rows that do not state theirs; `train` where it is not stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
}

fn is_empty(path: &Path) -> bool {
    path.as_os_str().is_empty()
}

/// What a table's file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TableFormat {
    /// Rows of fields with a header.
    Csv,
    /// The same with tabs.
    Tsv,
    /// One JSON object a line.
    Jsonl,
    /// A JSON list of objects.
    Json,
    /// Parquet, whose columns are texts, numbers or lists of texts.
    Parquet,
}

impl TableFormat {
    /// The format that a suffix names, without its dot, in any case.
    pub fn of_suffix(suffix: &str) -> Option<TableFormat> {
        Some(match suffix.to_ascii_lowercase().as_str() {
            "csv" | "txt" => TableFormat::Csv,
            "tsv" | "tab" => TableFormat::Tsv,
            "jsonl" | "ndjson" => TableFormat::Jsonl,
            "json" => TableFormat::Json,
            "parquet" | "pq" => TableFormat::Parquet,
            _ => return None,
        })
    }
}

/// Which column holds what. Each value is a column's name in the header.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = |schema: &mut schemars::Schema| also_reads(schema, "caption", "report"))]
pub struct Columns {
    /// Path of a volume, or of a folder whose volumes the row is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// Series instance UID of DICOM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<String>,
    /// Accession number of DICOM: the row is about every series that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accession: Option<String>,
    /// The patient, by whom a dataset is split. A row that names no volume otherwise is about every volume of the case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<String>,
    /// A report or a description; `report` is the same key.
    #[serde(default, alias = "report", skip_serializing_if = "Option::is_none")]
    pub caption: Option<String>,
    /// A question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question: Option<String>,
    /// The question's answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// Two to four choices: one column with all of them, or a list of columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choices: Option<ChoiceColumns>,
    /// The right choice's letter; where it is absent the choice whose text the answer is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_choice: Option<String>,
    /// M3D-VQA's question type, by its word or its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// `train`, `validation` or `test`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// The table's own name of a row, under which it is reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// Where a question's choices are.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged, expecting = "expected a column's name, or a list of names")]
pub enum ChoiceColumns {
    /// One column with all choices: a list, or a text that bars or semicolons separate.
    One(String),
    /// A column a choice, in the order of the letters.
    Each(Vec<String>),
}

/// Names by which columns are known where none are stated, in lower case with `_` for spaces and hyphens; the first that a
/// header has counts.
const KNOWN: [(&str, &[&str]); 11] = [
    (
        "volume",
        &[
            "volume",
            "file_name",
            "filename",
            "file",
            "image",
            "image_path",
            "path",
            "volume_path",
            "volumename",
            "nifti",
            "scan",
            "ct",
            "datei",
            "dateiname",
            "pfad",
            "bild",
        ],
    ),
    ("series", &["series_instance_uid", "seriesinstanceuid", "series_uid", "seriesuid"]),
    ("accession", &["accession_number", "accessionnumber", "accession", "accession_no", "anforderungsnummer"]),
    (
        "case",
        &[
            "case",
            "case_id",
            "patient",
            "patient_id",
            "patientid",
            "subject",
            "subject_id",
            "patienten_id",
            "pat._nr.",
            "fall",
        ],
    ),
    (
        "caption",
        &[
            "caption",
            "report",
            "text",
            "findings",
            "report_text",
            "radiology_report",
            "findings_en",
            "befund",
            "befundtext",
            "description",
        ],
    ),
    ("question", &["question", "frage"]),
    ("answer", &["answer", "antwort"]),
    ("answer_choice", &["answer_choice", "correct_choice", "answer_letter"]),
    ("topic", &["topic", "question_type"]),
    ("split", &["split", "fold", "subset"]),
    ("id", &["id", "row_id", "text_id", "question_id"]),
];

impl Columns {
    /// The columns of a header that are known by their names.
    pub fn of_header(header: &[String]) -> Columns {
        let plain = |name: &String| name.trim().to_lowercase().replace([' ', '-'], "_");
        let known = |what: &str| {
            let (_, names) = KNOWN.iter().find(|(key, _)| *key == what)?;
            names.iter().find_map(|name| header.iter().find(|column| plain(column) == *name)).cloned()
        };
        let choice = |letter: &str| header.iter().find(|column| plain(column) == format!("choice_{letter}")).cloned();
        let each: Vec<String> = ["a", "b", "c", "d"].into_iter().map_while(choice).collect();
        let one = || header.iter().find(|column| ["choices", "options"].contains(&plain(column).as_str())).cloned();
        let choices = if each.len() > 1 { Some(ChoiceColumns::Each(each)) } else { one().map(ChoiceColumns::One) };
        Columns {
            volume: known("volume"),
            series: known("series"),
            accession: known("accession"),
            case: known("case"),
            caption: known("caption"),
            question: known("question"),
            answer: known("answer"),
            choices,
            answer_choice: known("answer_choice"),
            topic: known("topic"),
            split: known("split"),
            id: known("id"),
        }
    }

    /// Every column that is stated, by its key.
    pub fn stated(&self) -> Vec<(&'static str, &str)> {
        let Columns { volume, series, accession, case, caption, question, answer, choices, .. } = self;
        let Columns { answer_choice, topic, split, id, .. } = self;
        let one = [
            ("volume", volume),
            ("series", series),
            ("accession", accession),
            ("case", case),
            ("caption", caption),
            ("question", question),
            ("answer", answer),
            ("answer_choice", answer_choice),
            ("topic", topic),
            ("split", split),
            ("id", id),
        ];
        let choices: Vec<&str> = match choices {
            None => Vec::new(),
            Some(ChoiceColumns::One(name)) => vec![name],
            Some(ChoiceColumns::Each(names)) => names.iter().map(String::as_str).collect(),
        };
        let one = one.into_iter().filter_map(|(key, name)| Some((key, name.as_deref()?)));
        one.chain(choices.into_iter().map(|name| ("choices", name))).collect()
    }

    /// Whether a column names volumes, by themselves or by their case.
    pub fn name_volumes(&self) -> bool {
        [&self.volume, &self.series, &self.accession, &self.case].iter().any(|name| name.is_some())
    }

    /// Whether a column holds texts.
    pub fn hold_texts(&self) -> bool {
        self.caption.is_some() || self.question.is_some()
    }
}
