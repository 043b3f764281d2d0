//! The rows of a CSV file, so that a damaged row costs only itself.
//!
//! - Commas separate fields, or another byte that is stated or found in the header; LF, CRLF and CR end a line. A line of white space alone is no row.
//! - A field that begins with a quote ends with the next single quote; two quotes in it are one, line breaks in it are its
//!   text. White space may follow it, then a separator or the row's end. Any other quote is a character like others, as in pandas.
//! - A row is set aside where its quote is not closed before the file ends; where text follows a closing quote, since that one
//!   opened another field, often of a later row; and where it spans lines that begin as rows do, though the number of its
//!   fields is right by chance.
//! - So is a row with fewer fields than the columns that are read, or with more than the header that are not empty.
//! - After a row that was set aside, the next line is read as a row again: no row is swallowed.
//! - A row with a field beyond its limit costs only itself: what follows is passed over, without being kept, up to the next line
//!   that begins as a row does.
//! - A row is named by the line where it begins, counted from 1 with the header as an editor counts.

use std::collections::VecDeque;
use std::io::{self, BufRead};

use med2e3_input::text::encoding;

/// One row: its fields, or why it has none.
pub(super) struct CsvRow {
    /// The line where it begins, from 1.
    pub(super) line: u64,
    /// The fields in bytes, or what is wrong with the row.
    pub(super) fields: Result<Vec<Vec<u8>>, Fault>,
}

/// What is wrong with a row.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is no row of the table.
    Damaged(String),
    /// It is longer than its limit, or one of its fields is.
    TooLong {
        /// The column of the field, from 0; none where the row is too long as a whole.
        column: Option<usize>,
        /// The limit in bytes.
        most: usize,
        /// Bytes up to the next row.
        found: u64,
    },
}

impl Fault {
    fn damaged(found: impl Into<String>) -> Fault {
        Fault::Damaged(found.into())
    }

    /// What was found, for messages; `header` names the columns.
    pub(super) fn found(&self, header: &[String]) -> String {
        match self {
            Fault::Damaged(found) => found.clone(),
            Fault::TooLong { column, most, found } => {
                let column = column.and_then(|column| header.get(column)).map(|name| format!("a `{name}`"));
                let what = column.unwrap_or_else(|| "a row".into());
                format!("{what} of more than {most} bytes: {found} bytes to the next row")
            }
        }
    }
}

/// A row may be so many times as long as one of its fields.
const ROW_FIELDS: usize = 4;
/// Most columns; M3D's tables have 9.
const COLUMNS: usize = 1024;

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

/// What may separate fields, in the order in which they are preferred where a header has as many of each.
const SEPARATORS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// The separator that a header's first line has most of, outside of quotes.
fn separator_of(head: &[u8]) -> u8 {
    let line = head.split(|byte| matches!(byte, b'\n' | b'\r')).find(|line| !line.trim_ascii().is_empty());
    let outside = line.unwrap_or_default().split(|byte| *byte == b'"').step_by(2);
    let count = |separator: u8| outside.clone().flatten().filter(|byte| **byte == separator).count();
    SEPARATORS.into_iter().rev().max_by_key(|separator| count(*separator)).unwrap_or(b',')
}

/// A CSV file's header and rows.
pub(super) struct CsvRows<R> {
    lines: Lines<R>,
    separator: u8,
    header: Vec<String>,
    /// Most bytes of a field.
    most: usize,
}

impl<R: BufRead> CsvRows<R> {
    /// Reads the header; no field of the table may have more than `most` bytes. Fields are separated by `separator`, or by
    /// what the header has most of: commas, semicolons, tabs or bars.
    ///
    /// # Errors
    /// The system's; within, what the file has in place of a header in UTF-8.
    pub(super) fn open(mut input: R, most: usize, separator: Option<u8>) -> io::Result<Result<CsvRows<R>, String>> {
        let head = input.fill_buf()?;
        let (mark, found) = match encoding::without_mark(head) {
            Ok(rest) => (head.len() - rest.len(), separator_of(rest)),
            Err(found) => return Ok(Err(found.to_owned())),
        };
        let separator = separator.unwrap_or(found);
        input.consume(mark);
        let most_of_line = most.saturating_mul(ROW_FIELDS);
        let lines = Lines { input, separator, ahead: VecDeque::new(), read: 0, most: most_of_line, at_return: false };
        let mut rows = CsvRows { lines, separator, header: Vec::new(), most };
        Ok(match rows.row(COLUMNS, None)? {
            None => Err("an empty file".into()),
            Some(CsvRow { fields: Err(fault), line }) => {
                Err(format!("a header with {} in line {line}", fault.found(&[])))
            }
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
                Some(line) if line.left == 0 && line.bytes.iter().all(u8::is_ascii_whitespace) => self.lines.pass(1),
                Some(line) => break line.number,
            }
        };
        let mut parser = Parser::of(self.separator, width, self.most);
        let (mut count, mut opened, mut bytes) = (0, 0, 0);
        let fault = loop {
            let Some(next) = self.lines.get(count)? else {
                break Some(Fault::damaged("a quote that is not closed before the file ends"));
            };
            count += 1;
            bytes += next.bytes.len();
            match parser.line(&next.bytes) {
                Err(fault) => break Some(fault),
                Ok(_) if next.left > 0 || bytes > self.most.saturating_mul(ROW_FIELDS) => {
                    let most = self.most.saturating_mul(ROW_FIELDS);
                    break Some(Fault::TooLong { column: None, most, found: 0 });
                }
                Ok(true) => break None,
                Ok(false) => opened = parser.fields.len(),
            }
        };
        if let Some(Fault::TooLong { column, most, .. }) = fault {
            let found = self.lines.pass_to_row(shape)?;
            return Ok(Some(CsvRow { line, fields: Err(Fault::TooLong { column, most, found }) }));
        }
        let fault = fault.or_else(|| {
            let (shape, found) = (shape?, parser.fields.len());
            if found < shape.least {
                Some(Fault::Damaged(format!("{found} fields where the header has {width}")))
            } else if count > 1 && self.lines.hold_rows(count, opened, width, shape) {
                Some(Fault::damaged("a quote that takes later rows into one field"))
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
    /// Bytes beyond the limit of a line, which were passed over.
    left: u64,
}

/// The lines of a file; those of the present row can be read again.
struct Lines<R> {
    input: R,
    separator: u8,
    ahead: VecDeque<Line>,
    read: u64,
    /// Most bytes of a line that are kept.
    most: usize,
    /// Whether the last line ended with a CR, which an LF may follow.
    at_return: bool,
}

impl<R: BufRead> Lines<R> {
    /// The line that lies so many lines ahead.
    fn get(&mut self, index: usize) -> io::Result<Option<&Line>> {
        while self.ahead.len() <= index {
            match self.read_line()? {
                Some(line) => self.ahead.push_back(line),
                None => return Ok(None),
            }
        }
        Ok(self.ahead.get(index))
    }

    fn read_line(&mut self) -> io::Result<Option<Line>> {
        let mut line = Line { number: self.read + 1, bytes: Vec::new(), left: 0 };
        loop {
            let buffer = match self.input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                buffer => buffer?,
            };
            let Some(first) = buffer.first() else { break };
            let (length, is_end) = if self.at_return {
                // A CR that no LF follows ends a line too.
                (usize::from(*first == b'\n'), true)
            } else {
                let end = buffer.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
                (end.map_or(buffer.len(), |end| end + 1), end.is_some_and(|end| buffer[end] == b'\n'))
            };
            self.at_return = !is_end && buffer[length - 1] == b'\r';
            let kept = length.min(self.most.saturating_sub(line.bytes.len()));
            line.bytes.extend_from_slice(&buffer[..kept]);
            line.left += (length - kept) as u64;
            self.input.consume(length);
            if is_end {
                break;
            }
        }
        self.at_return = false;
        if line.bytes.is_empty() {
            return Ok(None);
        }
        self.read += 1;
        Ok(Some(line))
    }

    /// Leaves the present line behind and those after it that do not begin as a row does; how many bytes they have.
    fn pass_to_row(&mut self, shape: Option<&Shape<'_>>) -> io::Result<u64> {
        let mut bytes = 0;
        loop {
            if let Some(line) = self.ahead.pop_front() {
                bytes += line.bytes.len() as u64 + line.left;
            }
            // A row has several fields.
            let separator = self.separator;
            let next = self.get(0)?;
            let begins = |line: &Line, shape: &Shape<'_>| {
                line.bytes.contains(&separator) && shape.begins(&alone(separator, &line.bytes))
            };
            if next.is_none_or(|line| shape.is_none_or(|shape| begins(line, shape))) {
                return Ok(bytes);
            }
        }
    }

    /// Leaves the next lines behind.
    fn pass(&mut self, count: usize) {
        self.ahead.drain(..count.min(self.ahead.len()));
    }

    /// Whether the lines of one row, whose last field over several lines is the column `opened`, are rows themselves.
    fn hold_rows(&self, count: usize, opened: usize, width: usize, shape: &Shape<'_>) -> bool {
        let lines: Vec<&Line> = self.ahead.iter().take(count).collect();
        let [first, between @ .., last] = lines.as_slice() else { return false };
        let alone = |line: &Line| alone(self.separator, &line.bytes);
        let begins = |line: &Line| shape.begins(&alone(line));
        // Of a field over several lines no line begins as a row; but its last one does by the columns after the field, if
        // all that tell a row are there. Then the first line has to be a row too.
        let told_before = || shape.columns.iter().any(|column| *column < opened);
        let is_row = |line: &Line| begins(line) && alone(line).len() == width;
        between.iter().any(|line| begins(line)) || (begins(last) && (told_before() || is_row(first)))
    }
}

/// The fields of a line by itself, in which a quote that is not closed is a character like others.
fn alone(separator: u8, line: &[u8]) -> Vec<Vec<u8>> {
    let mut parser = Parser::of(separator, usize::MAX, usize::MAX);
    if let Ok(false) = parser.line(line) {
        let rest = line[parser.opened..].trim_ascii_end().split(|byte| *byte == separator);
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
    separator: u8,
    width: usize,
    /// Most bytes of a field.
    most: usize,
    fields: Vec<Vec<u8>>,
    field: Vec<u8>,
    state: State,
    /// Where the last opening quote stands in its line.
    opened: usize,
}

impl Parser {
    fn of(separator: u8, width: usize, most: usize) -> Parser {
        Parser { separator, width, most, fields: Vec::new(), field: Vec::new(), state: State::Start, opened: 0 }
    }

    /// Reads one line; whether the row ends with it.
    fn line(&mut self, line: &[u8]) -> Result<bool, Fault> {
        use State::{Closed, Plain, Quote, Quoted, Start};
        for (at, &byte) in line.iter().enumerate() {
            self.state = match (self.state, byte) {
                (Start, b'"') => {
                    self.opened = at;
                    Quoted
                }
                (Start | Plain | Quote | Closed, byte) if byte == self.separator => {
                    self.end_field()?;
                    Start
                }
                (Start | Plain | Quote | Closed, b'\n' | b'\r') => {
                    self.end_field()?;
                    return Ok(true);
                }
                (Quoted, b'"') => Quote,
                (Quote | Closed, b' ' | b'\t') => Closed,
                (Closed, _) => return Err(Fault::damaged("text after a closing quote")),
                (Quote, byte) if byte != b'"' => return Err(Fault::damaged("text after a closing quote")),
                (state, byte) => {
                    if self.field.len() == self.most {
                        return Err(Fault::TooLong { column: Some(self.fields.len()), most: self.most, found: 0 });
                    }
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

    fn end_field(&mut self) -> Result<(), Fault> {
        let field = std::mem::take(&mut self.field);
        if self.fields.len() < self.width {
            self.fields.push(field);
        } else if !field.trim_ascii().is_empty() {
            // Separators alone at the end of a line do no harm.
            return Err(Fault::Damaged(format!("more fields than the {} of the header", self.width)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
