//! CSV text: what a terminal obeys is shown, and no text is taken for a formula by a spreadsheet.

use med2e3_program::visible;

/// Rows as CSV, the header first, lines ended by `\n`. Rows may differ in length.
pub(crate) fn to_csv<T: AsRef<str>>(rows: impl IntoIterator<Item = impl IntoIterator<Item = T>>) -> Vec<u8> {
    let mut writer =
        csv::WriterBuilder::new().flexible(true).terminator(csv::Terminator::Any(b'\n')).from_writer(Vec::new());
    for row in rows {
        let cells = row.into_iter().map(|cell| visible::cell(cell.as_ref()).into_owned());
        writer.write_record(cells).expect("memory takes any text");
    }
    writer.into_inner().expect("memory takes any text")
}
