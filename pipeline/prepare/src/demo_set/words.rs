//! Captions, questions and answers of a series: nothing but how it was cut.

use std::path::Path;

use med2e3_input::orientation::Plane;
use med2e3_schemas::sample::{Split, Topic};

use super::cut::{DisplayWindow, Level, PLANES, Series};
use crate::PrepareError;

/// Rows of one M3D-VQA CSV.
#[derive(Default)]
pub(super) struct Texts {
    rows: Vec<[String; 10]>,
}

/// The word of a split in M3D's file names.
pub(super) fn file_word(split: Split) -> &'static str {
    match split {
        Split::Train => "train",
        Split::Validation => "val",
        Split::Test => "test",
    }
}

/// What the report of a series says.
pub(super) fn caption(series: &Series) -> String {
    format!(
        "{} CT of the brain at the {} level, shown in the {} window.",
        capitalized(series.plane.as_str()),
        series.level.name(),
        series.window.name()
    )
}

/// A word as it begins a line.
pub(super) fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

impl Texts {
    /// Adds the three questions on a series. Choices are in alphabetical order, as on a form: which letter means
    /// which answer is the same in every row, since a model this small does not learn to look letters up in its budget.
    pub(super) fn add(&mut self, path: &str, series: &Series) {
        let questions = [
            (Topic::Plane, "Which plane is this series in?", PLANES.map(Plane::as_str), series.plane.as_str()),
            (Topic::Phase, "Which window is shown?", DisplayWindow::ALL.map(DisplayWindow::name), series.window.name()),
            (Topic::Location, "Which level of the brain is shown?", Level::ALL.map(Level::name), series.level.name()),
        ];
        for (topic, question, choices, answer) in questions {
            let letter = choices.iter().position(|choice| *choice == answer).map_or("", |i| ["A", "B", "C"][i]);
            let [a, b, c] = choices.map(capitalized);
            let answer = capitalized(answer);
            let number = topic.number().to_string();
            let image = format!("M3D_Cap_npy/{path}.npy");
            let text = format!("M3D_Cap_npy/{path}.txt");
            self.rows.push([&image, &text, &number, question, &a, &b, &c, "NA", &answer, letter].map(str::to_owned));
        }
    }
}

/// The rows under M3D-VQA's header.
pub(super) fn csv_of(texts: &Texts, path: &Path) -> Result<Vec<u8>, PrepareError> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let header = [
        "Image Path",
        "Text",
        "Question Type",
        "Question",
        "Choice A",
        "Choice B",
        "Choice C",
        "Choice D",
        "Answer",
        "Answer Choice",
    ];
    let error = |source: Box<dyn std::error::Error + Send + Sync>| PrepareError::Csv { path: path.to_owned(), source };
    let csv = |e: csv::Error| error(e.into());
    writer.write_record(header).map_err(csv)?;
    texts.rows.iter().try_for_each(|row| writer.write_record(row)).map_err(csv)?;
    writer.into_inner().map_err(|e| error(e.into_error().into()))
}
