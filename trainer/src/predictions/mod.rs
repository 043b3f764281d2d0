//! Predictions that other programs wrote: their files read, a format a file, and which sample each row answers.
//!
//! # Layout
//! - `text`: the bytes of a file as text; `table`: rows of CSV by the names of their columns; `objects`: rows of JSON
//! - `m3d`, `med2e3`, `radfm`, `three_d_rad`, `plain`: the formats
//! - [`align`]: rows to samples, by id or by their texts in order
//!
//! Nothing here knows files, models or libtorch: bytes in, rows out.

pub mod align;
mod m3d;
mod med2e3;
pub mod objects;
mod plain;
mod radfm;
mod table;
pub mod text;
mod three_d_rad;

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
    }?;
    if predictions.rows.is_empty() {
        return Err(Unread::new("predictions", "none"));
    }
    Ok(predictions)
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
