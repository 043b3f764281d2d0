//! CSV text.

/// Rows as CSV, the header first, lines ended by `\n`. Rows may differ in length.
pub(crate) fn to_csv<T: AsRef<[u8]>>(rows: impl IntoIterator<Item = impl IntoIterator<Item = T>>) -> Vec<u8> {
    let mut writer =
        csv::WriterBuilder::new().flexible(true).terminator(csv::Terminator::Any(b'\n')).from_writer(Vec::new());
    for row in rows {
        writer.write_record(row).expect("memory takes any text");
    }
    writer.into_inner().expect("memory takes any text")
}
