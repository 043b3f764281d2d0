//! The rows of a CSV file, so that a damaged row costs only itself.
//!
//! - Commas separate fields; LF, CRLF and CR end a line. A line of white space alone is no row.
//! - A field that begins with a quote ends with the next single quote; two quotes in it are one, line breaks in it are its
//!   text. White space may follow it, then a comma or the row's end. Any other quote is a character like others, as in pandas.
//! - A row is set aside where its quote is not closed before the file ends; where text follows a closing quote, since that one
//!   opened another field, often of a later row; and where it spans lines that begin as rows do, though the number of its
//!   fields is right by chance.
//! - So is a row with fewer fields than the columns that are read, or with more than the header that are not empty.
//! - After a row that was set aside, the next line is read as a row again: no row is swallowed.
//! - A row is named by the line where it begins, counted from 1 with the header as an editor counts.

use std::collections::VecDeque;
use std::io::{self, BufRead};

use med2e3_input::text::encoding;

/// One row: its fields, or why it has none.
pub(super) struct CsvRow {
    /// The line where it begins, from 1.
    pub(super) line: u64,
    /// The fields in bytes, or what is wrong with the row.
    pub(super) fields: Result<Vec<Vec<u8>>, String>,
}

/// How a row of the table is known among lines of text.
pub(super) struct Shape<'s> {
    /// Fewest fields of a row.
    pub(super) least: usize,
    /// Columns by whose cells a row is known.
    pub(super) columns: [usize; 2],
    /// Whether the cells of these columns are those of a row.
    pub(super) are_cells: &'s dyn Fn([&[u8]; 2]) -> bool,
}

impl Shape<'_> {
    /// Whether the fields begin as a row does.
    fn begins(&self, fields: &[Vec<u8>]) -> bool {
        let [first, second] = self.columns.map(|column| fields.get(column));
        matches!((first, second), (Some(first), Some(second)) if (self.are_cells)([first, second]))
    }
}

/// A CSV file's header and rows.
pub(super) struct CsvRows<R> {
    lines: Lines<R>,
    header: Vec<String>,
}

impl<R: BufRead> CsvRows<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// The system's; within, what the file has in place of a header in UTF-8.
    pub(super) fn open(mut input: R) -> io::Result<Result<CsvRows<R>, String>> {
        let head = input.fill_buf()?;
        let mark = match encoding::without_mark(head) {
            Ok(rest) => head.len() - rest.len(),
            Err(found) => return Ok(Err(found.to_owned())),
        };
        input.consume(mark);
        let mut rows = CsvRows { lines: Lines { input, ahead: VecDeque::new(), read: 0 }, header: Vec::new() };
        Ok(match rows.row(usize::MAX, None)? {
            None => Err("an empty file".into()),
            Some(CsvRow { fields: Err(fault), line }) => Err(format!("a header with {fault} in line {line}")),
            Some(CsvRow { fields: Ok(fields), .. }) => {
                let name = |field: Vec<u8>| encoding::trimmed(&String::from_utf8_lossy(&field)).to_owned();
                rows.header = fields.into_iter().map(name).collect();
                Ok(rows)
            }
        })
    }

    /// The names of the columns.
    pub(super) fn header(&self) -> &[String] {
        &self.header
    }

    /// The next row.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn next(&mut self, shape: &Shape<'_>) -> io::Result<Option<CsvRow>> {
        self.row(self.header.len(), Some(shape))
    }

    fn row(&mut self, width: usize, shape: Option<&Shape<'_>>) -> io::Result<Option<CsvRow>> {
        let line = loop {
            match self.lines.get(0)? {
                None => return Ok(None),
                Some(line) if line.bytes.iter().all(u8::is_ascii_whitespace) => self.lines.pass(1),
                Some(line) => break line.number,
            }
        };
        let mut parser = Parser::of(width);
        let (mut count, mut opened) = (0, 0);
        let fault = loop {
            let Some(next) = self.lines.get(count)? else {
                break Some("a quote that is not closed before the file ends".to_owned());
            };
            count += 1;
            match parser.line(&next.bytes) {
                Ok(true) => break None,
                Ok(false) => opened = parser.fields.len(),
                Err(fault) => break Some(fault),
            }
        };
        let fault = fault.or_else(|| {
            let (shape, found) = (shape?, parser.fields.len());
            if found < shape.least {
                Some(format!("{found} fields where the header has {width}"))
            } else if count > 1 && self.lines.hold_rows(count, opened, width, shape) {
                Some("a quote that takes later rows into one field".to_owned())
            } else {
                None
            }
        });
        self.lines.pass(if fault.is_none() { count } else { 1 });
        let fields = fault.map_or(Ok(parser.fields), Err);
        Ok(Some(CsvRow { line, fields }))
    }
}

/// A line with what ends it.
struct Line {
    number: u64,
    bytes: Vec<u8>,
}

/// The lines of a file; those of the present row can be read again.
struct Lines<R> {
    input: R,
    ahead: VecDeque<Line>,
    read: u64,
}

impl<R: BufRead> Lines<R> {
    /// The line that lies so many lines ahead.
    fn get(&mut self, index: usize) -> io::Result<Option<&Line>> {
        while self.ahead.len() <= index {
            let mut bytes = Vec::new();
            if self.input.read_until(b'\n', &mut bytes)? == 0 {
                return Ok(None);
            }
            // A CR that no LF follows ends a line too.
            let ends = |at: &usize| bytes[*at] == b'\r' && bytes.get(at + 1).is_some_and(|next| *next != b'\n');
            let ends: Vec<usize> = (0..bytes.len()).filter(ends).map(|at| at + 1).chain([bytes.len()]).collect();
            let mut start = 0;
            for end in ends {
                self.read += 1;
                self.ahead.push_back(Line { number: self.read, bytes: bytes[start..end].to_vec() });
                start = end;
            }
        }
        Ok(self.ahead.get(index))
    }

    /// Leaves the next lines behind.
    fn pass(&mut self, count: usize) {
        self.ahead.drain(..count.min(self.ahead.len()));
    }

    /// Whether the lines of one row, whose last field over several lines is the column `opened`, are rows themselves.
    fn hold_rows(&self, count: usize, opened: usize, width: usize, shape: &Shape<'_>) -> bool {
        let lines: Vec<&Line> = self.ahead.iter().take(count).collect();
        let [first, between @ .., last] = lines.as_slice() else { return false };
        let begins = |line: &Line| shape.begins(&alone(&line.bytes));
        // Of a field over several lines no line begins as a row; but its last one does by the columns after the field, if
        // all that tell a row are there. Then the first line has to be a row too.
        let told_before = || shape.columns.iter().any(|column| *column < opened);
        let is_row = |line: &Line| begins(line) && alone(&line.bytes).len() == width;
        between.iter().any(|line| begins(line)) || (begins(last) && (told_before() || is_row(first)))
    }
}

/// The fields of a line by itself, in which a quote that is not closed is a character like others.
fn alone(line: &[u8]) -> Vec<Vec<u8>> {
    let mut parser = Parser::of(usize::MAX);
    if let Ok(false) = parser.line(line) {
        let rest = line[parser.opened..].trim_ascii_end().split(|byte| *byte == b',');
        parser.fields.extend(rest.map(<[u8]>::to_vec));
    }
    parser.fields
}

#[derive(Clone, Copy)]
enum State {
    /// Before a field.
    Start,
    /// In a field without quotes.
    Plain,
    /// Between quotes.
    Quoted,
    /// At a quote that ends the field or is the first of two.
    Quote,
    /// In white space after a closing quote.
    Closed,
}

struct Parser {
    width: usize,
    fields: Vec<Vec<u8>>,
    field: Vec<u8>,
    state: State,
    /// Where the last opening quote stands in its line.
    opened: usize,
}

impl Parser {
    fn of(width: usize) -> Parser {
        Parser { width, fields: Vec::new(), field: Vec::new(), state: State::Start, opened: 0 }
    }

    /// Reads one line; whether the row ends with it.
    fn line(&mut self, line: &[u8]) -> Result<bool, String> {
        use State::{Closed, Plain, Quote, Quoted, Start};
        for (at, &byte) in line.iter().enumerate() {
            self.state = match (self.state, byte) {
                (Start, b'"') => {
                    self.opened = at;
                    Quoted
                }
                (Start | Plain | Quote | Closed, b',') => {
                    self.end_field()?;
                    Start
                }
                (Start | Plain | Quote | Closed, b'\n' | b'\r') => {
                    self.end_field()?;
                    return Ok(true);
                }
                (Quoted, b'"') => Quote,
                (Quote | Closed, b' ' | b'\t') => Closed,
                (Closed, _) => return Err("text after a closing quote".into()),
                (Quote, byte) if byte != b'"' => return Err("text after a closing quote".into()),
                (state, byte) => {
                    self.field.push(byte);
                    if matches!(state, Quoted | Quote) { Quoted } else { Plain }
                }
            };
        }
        if matches!(self.state, Quoted) {
            return Ok(false);
        }
        // The last line of a file may have no end.
        self.end_field()?;
        Ok(true)
    }

    fn end_field(&mut self) -> Result<(), String> {
        let field = std::mem::take(&mut self.field);
        if self.fields.len() < self.width {
            self.fields.push(field);
        } else if !field.trim_ascii().is_empty() {
            // Commas alone at the end of a line do no harm.
            return Err(format!("more fields than the {} of the header", self.width));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
