//! The readers of other programs' predictions on arbitrary bytes: an error, or rows that are matched with the samples that they are of.

use med2e3_schemas::Id;
use med2e3_schemas::sample::{SampleRow, Task};

use super::predictions::align::Alignment;
use super::predictions::{Format, Prediction, read};

/// Reads the bytes behind the first one, which tells the format.
pub fn predictions_file(bytes: &[u8]) {
    const FORMATS: [Format; 6] =
        [Format::M3d, Format::Med2e3, Format::Radfm, Format::ThreeDRad, Format::Plain, Format::Own];
    let Some((first, bytes)) = bytes.split_first() else { return };
    let predictions = match read(FORMATS[usize::from(*first) % FORMATS.len()], bytes.to_vec()) {
        Ok(predictions) => predictions,
        Err(error) => return assert!(error.to_string().starts_with("expected ")),
    };
    let task = predictions.task.unwrap_or(Task::OpenVqa);
    let sample = |(number, row): (usize, &Prediction)| {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let id = Id::of_parts([&number.to_le_bytes()[..]]);
        let (question, answer) = (text(&row.question), text(&row.expected));
        SampleRow { task, question, answer, ..SampleRow::of_ids(id, vec![], vec![], vec![]) }
    };
    let (rows, states) = (predictions.rows.len(), predictions.rows.iter().all(|row| row.expected.is_some()));
    let samples: Vec<SampleRow> = predictions.rows.iter().enumerate().map(sample).collect();
    let mut alignment = Alignment::new(&samples);
    // Ids of other samples are an error, where no texts tell the sample.
    assert_eq!(alignment.add(predictions).is_ok(), states);
    if states {
        let (answers, counts) = alignment.end(|_| true);
        assert!(answers.iter().all(Option::is_some));
        assert_eq!((counts.in_order, counts.out_of_order), (rows as u64, 0));
    }
}
