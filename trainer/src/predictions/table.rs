//! Rows of a CSV file by the names of their columns. Lines end in LF, CRLF or CR, within quotes they are text; fields are separated by
//! what the header is: commas, semicolons or tabs. What an unnamed or unknown column holds is passed over.

use std::io::Read;

use csv::{ReaderBuilder, StringRecord};
use med2e3_schemas::config::nearest;
use med2e3_schemas::sample::Task;

use super::{Prediction, Predictions, Unread, listed, quoted};

/// A line behind the text: where it is no row of its own, a quote was left open.
const END: &str = "\nend of the text";

/// A table.
pub(super) struct Table {
    header: Vec<String>,
    rows: Vec<Row>,
}

/// One row.
pub(super) struct Row {
    /// Where it stands, in words.
    pub(super) place: String,
    cells: StringRecord,
}

impl Table {
    /// # Errors
    /// No header; a row with fewer cells than the header, or with more that hold something; a quote that is not closed.
    pub(super) fn of(text: &str) -> Result<Table, Unread> {
        let first = text.lines().next().unwrap_or_default();
        let count = |byte: u8| first.bytes().filter(|other| *other == byte).count();
        // Of equal ones the last counts.
        let delimiter = [b'\t', b';', b','].into_iter().max_by_key(|byte| count(*byte)).unwrap_or(b',');
        let mut reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(delimiter)
            .from_reader(text.as_bytes().chain(END.as_bytes()));
        let (mut records, mut lines) = (Vec::new(), Lines { text: text.as_bytes(), at: 0, line: 1 });
        for record in reader.records() {
            let record = record.map_err(|error| Unread::new("rows of a table", error.to_string()))?;
            let line = lines.of(record.position().map_or(0, |position| position.byte() as usize));
            records.push((line, record));
        }
        let (line, end) = records.pop().unwrap_or_default();
        if end.len() != 1 || end[0] != END[1..] {
            return Err(Unread::new(format!("a quote that is closed in the row of line {line}"), "the file's end"));
        }
        let is_blank = |record: &StringRecord| record.iter().all(|cell| cell.trim().is_empty());
        let mut records = records.into_iter().filter(|(_, record)| !is_blank(record));
        let (_, header) = records.next().ok_or_else(|| Unread::new("a table with a header", "nothing"))?;
        let header: Vec<String> = header.iter().map(|name| name.trim().to_owned()).collect();
        let mut rows = Vec::new();
        for (line, cells) in records {
            let place = format!("row {} (line {line})", rows.len() + 1);
            let mut more = cells.iter().skip(header.len());
            if cells.len() < header.len() || more.any(|cell| !cell.trim().is_empty()) {
                return Err(Unread::new(
                    format!("{} cells in {place}, as the header has", header.len()),
                    format!("{}, of which the first is {}", cells.len(), quoted(&cells[0])),
                ));
            }
            rows.push(Row { place, cells });
        }
        Ok(Table { header, rows })
    }

    /// The number of a column, whatever the case of its name.
    ///
    /// # Errors
    /// There is none of this name, or more than one.
    pub(super) fn column(&self, name: &str) -> Result<usize, Unread> {
        let mut found = self.header.iter().enumerate().filter(|(_, other)| other.eq_ignore_ascii_case(name));
        match (found.next(), found.next()) {
            (Some((at, _)), None) => Ok(at),
            (Some(_), Some(_)) => Err(Unread::new(format!("one column `{name}`"), "several")),
            (None, _) => {
                let found = listed(self.header.iter().map(String::as_str));
                let like = nearest(name, self.header.iter().map(String::as_str));
                let like = like.map(|like| format!("; did you mean {}?", quoted(like))).unwrap_or_default();
                Err(Unread::new(format!("a column `{name}`"), format!("{found}{like}")))
            }
        }
    }

    /// Whether there is a column of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.header.iter().any(|other| other.eq_ignore_ascii_case(name))
    }

    /// The rows of a table with the columns `Question`, `expected` and `Pred`, as M3D and those after it write it.
    ///
    /// # Errors
    /// A column is missing.
    pub(super) fn predictions(&self, task: Option<Task>, expected: &'static str) -> Result<Predictions, Unread> {
        const QUESTION: &str = "Question";
        let (asked, stated, answered) = (self.column(QUESTION)?, self.column(expected)?, self.column("Pred")?);
        let prediction = |row: &Row| Prediction {
            place: row.place.clone(),
            id: None,
            question: Some(row.text(asked)),
            expected: Some(row.text(stated)),
            answer: row.answer(answered),
        };
        Ok(Predictions { rows: self.rows().map(prediction).collect(), task, question: QUESTION, expected })
    }

    /// The rows in order.
    pub(super) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter()
    }
}

/// Numbers of lines, from 1, as an editor counts them.
struct Lines<'t> {
    text: &'t [u8],
    at: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line of the row that begins at this byte or behind the ends of lines there; never before the last one that was asked for.
    fn of(&mut self, start: usize) -> u64 {
        let rest = self.text.get(start..).unwrap_or_default();
        let ends = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let passed = self.text.get(self.at..start + ends).unwrap_or_default();
        let next = passed.iter().skip(1).chain([&0]);
        let is_end = |(byte, next): &(&u8, &u8)| **byte == b'\n' || (**byte == b'\r' && **next != b'\n');
        self.line += passed.iter().zip(next).filter(is_end).count() as u64;
        self.at = start + ends;
        self.line
    }
}

impl Row {
    /// The text of a column's cell.
    pub(super) fn text(&self, column: usize) -> String {
        self.cells[column].to_owned()
    }

    /// The prediction in a cell.
    pub(super) fn answer(&self, column: usize) -> Option<String> {
        let text = &self.cells[column];
        (!matches!(text.trim(), "" | "nan" | "NaN")).then(|| text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(text: &str) -> Vec<(String, Vec<String>)> {
        let table = Table::of(text).unwrap();
        table.rows().map(|row| (row.place.clone(), row.cells.iter().map(str::to_owned).collect())).collect()
    }

    #[test]
    fn line_breaks_in_quotes_are_text_and_ends_of_lines_do_not_matter() {
        let text = "a,b\n1,\"x\r\ny, \"\"z\"\"\"\n\n,\n2,\n";
        let expected = [
            ("row 1 (line 2)".to_owned(), vec!["1".to_owned(), "x\r\ny, \"z\"".to_owned()]),
            ("row 2 (line 6)".to_owned(), vec!["2".to_owned(), String::new()]),
        ];
        assert_eq!(cells(text), expected);
        assert_eq!(cells("a;b\r\n1;2\r\n"), [("row 1 (line 2)".to_owned(), vec!["1".to_owned(), "2".to_owned()])]);
        assert_eq!(cells("a\tb\r1\t2\r"), [("row 1 (line 2)".to_owned(), vec!["1".to_owned(), "2".to_owned()])]);
        assert_eq!(cells("a,b\n1,2,,\n")[0].1.len(), 4);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let said = |text: &str| Table::of(text).err().unwrap().to_string();
        assert_eq!(said(""), "expected a table with a header, found nothing");
        assert_eq!(
            said("a,b\n1,2\n3\n"),
            "expected 2 cells in row 2 (line 3), as the header has, found 1, of which the first is `3`"
        );
        assert!(said("a,b\n1,2,3\n").contains("found 3, of which"));
        assert_eq!(
            said("a,b\n1,2\n3,\"4\n5,6\n"),
            "expected a quote that is closed in the row of line 3, found the file's end"
        );
        let table = Table::of(",Question,Predicted,x,X\n1,2,3,4,5\n").unwrap();
        assert_eq!(
            table.column("Pred").unwrap_err().to_string(),
            "expected a column `Pred`, found ``, `Question`, `Predicted`, `x`, `X`; did you mean `Predicted`?"
        );
        assert_eq!(table.column("question"), Ok(1));
        assert_eq!(table.column("x").unwrap_err().to_string(), "expected one column `x`, found several");
    }

    #[test]
    fn what_pandas_writes_for_nothing_is_no_prediction() {
        let table = Table::of("a\n\" \"\nnan\nNaN\nnano\nNA\n1.5\n").unwrap();
        let answers: Vec<_> = table.rows().map(|row| row.answer(0)).collect();
        // A row of nothing alone is none.
        assert_eq!(answers, [None, None, Some("nano".into()), Some("NA".into()), Some("1.5".into())]);
    }
}
