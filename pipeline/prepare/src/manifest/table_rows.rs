//! The rows of a table as cells by column, whatever its format: CSV in any encoding, JSON lines, a JSON list, parquet.
//!
//! What becomes of a damaged row: `csv_rows`, `json_rows`. A cell is missing where it is empty, null or not there.

use std::cell::Cell as Remembered;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use encoding_rs::Encoding;
use encoding_rs_io::DecodeReaderBytesBuilder;
use med2e3_input::reading;
use med2e3_input::text::encoding;
use med2e3_schemas::manifest::Refusal;
use med2e3_schemas::quarantine::Reason;
use med2e3_shards::ShardReader;
use serde_json::Value;

use super::csv_rows::{CsvRow, CsvRows, Fault, Shape};
use super::json_rows::{JsonRow, JsonRows, RowValue};
use super::read_whole;
use crate::PrepareError;
use crate::config::{ManifestLimits, TableFormat, TextTable};

/// What a row has in a column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Cell {
    /// Nothing.
    #[default]
    Missing,
    /// Text without white space around it, or a number as text.
    Text(String),
    /// A list of texts.
    List(Vec<String>),
}

impl Cell {
    fn of(text: &str) -> Cell {
        match encoding::trimmed(text) {
            "" => Cell::Missing,
            text => Cell::Text(text.to_owned()),
        }
    }
}

/// One row.
pub(super) struct TableRow {
    /// Its file and its line or number.
    pub(super) name: String,
    /// Its cells in the order of the columns that were asked for, or why it has none.
    pub(super) cells: Result<Vec<Cell>, Refusal>,
}

/// A table that is open.
pub(super) struct TableRows<'t> {
    path: &'t Path,
    table: &'t TextTable,
    limits: ManifestLimits,
    file: File,
}

enum File {
    Csv(CsvRows<Box<dyn BufRead>>),
    Json { text: Vec<u8>, header: Vec<String> },
    Parquet(ShardReader),
}

impl<'t> TableRows<'t> {
    /// Opens a table of the stated format, or of the one that its suffix names.
    ///
    /// # Errors
    /// A file that can't be read, or that is no table of its format.
    pub(super) fn open(
        path: &'t Path,
        table: &'t TextTable,
        limits: ManifestLimits,
    ) -> Result<TableRows<'t>, PrepareError> {
        let suffix = path.extension().unwrap_or_default().to_string_lossy();
        let error = |expected: &str, found: &str| PrepareError::Manifest {
            path: path.to_owned(),
            expected: expected.to_owned(),
            found: found.to_owned(),
        };
        let format = table.format.or_else(|| TableFormat::of_suffix(&suffix)).ok_or_else(|| {
            let found = if suffix.is_empty() { "no suffix".to_owned() } else { format!("`.{suffix}`") };
            error("a table named .csv, .tsv, .jsonl, .json or .parquet, or a stated `format`", &found)
        })?;
        let encoding = encoding_of(table).map_err(|found| error("the name of an encoding in `encoding`", &found))?;
        let file = match format {
            TableFormat::Csv | TableFormat::Tsv => {
                let stated = table.delimiter.or((format == TableFormat::Tsv).then_some('\t'));
                let separator = match stated.map(u8::try_from) {
                    Some(Ok(byte)) if byte.is_ascii() && !b"\"\r\n".contains(&byte) => Some(byte),
                    None => None,
                    _ => return Err(error("one ASCII character, and no quote, in `delimiter`", "another")),
                };
                let input = reading::File::open(path).map_err(PrepareError::file(path, "open"))?;
                let opened = decoded(input, encoding)
                    .and_then(|input| CsvRows::open(input, limits.field_bytes(), separator))
                    .map_err(PrepareError::file(path, "read"))?;
                File::Csv(opened.map_err(|found| error("a table with a header", &found))?)
            }
            TableFormat::Json | TableFormat::Jsonl => {
                let bytes = read_whole(path, &limits)?;
                let text = match encoding {
                    Some(encoding) => encoding.decode(&bytes).0.into_owned().into_bytes(),
                    None => encoding::without_mark(&bytes).map_err(|found| error("JSON in UTF-8", found))?.to_vec(),
                };
                let header =
                    keys(&text, limits).ok_or_else(|| error("JSON objects, in a list or lines", "another value"))?;
                File::Json { text, header }
            }
            TableFormat::Parquet => File::Parquet(ShardReader::open(path)?),
        };
        Ok(TableRows { path, table, limits, file })
    }

    /// The names of the columns; of JSON every key of any row.
    pub(super) fn header(&self) -> Vec<String> {
        match &self.file {
            File::Csv(rows) => rows.header().to_vec(),
            File::Json { header, .. } => header.clone(),
            File::Parquet(reader) => reader.schema().fields().iter().map(|field| field.name().clone()).collect(),
        }
    }

    /// Gives every row to `each`, with its cells in the order of `columns`, which the header has. `key` is the column, of these,
    /// by which a line is known as a row where one was damaged.
    ///
    /// # Errors
    /// The system's; a file that is damaged as a whole.
    pub(super) fn read(self, columns: &[&str], key: usize, mut each: impl FnMut(TableRow)) -> Result<(), PrepareError> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let stated = self.table.encoding.as_deref();
        match self.file {
            File::Csv(rows) => {
                read_csv(rows, columns, key, stated, &name, each).map_err(PrepareError::file(self.path, "read"))
            }
            File::Json { text, .. } => {
                let rows = JsonRows::of_file(&text, &[], self.limits.field_bytes()).expect("its header was read");
                let lines = rows.are_lines();
                for JsonRow { number, line, value } in rows {
                    let name = if lines { format!("{name}:{line}") } else { format!("{name}[{number}]") };
                    each(TableRow { name, cells: json_cells(value, columns) });
                }
                Ok(())
            }
            File::Parquet(reader) => read_parquet(&reader, columns, self.limits.field_bytes(), &name, &mut each),
        }
    }
}

/// The encoding that a table states.
fn encoding_of(table: &TextTable) -> Result<Option<&'static Encoding>, String> {
    let Some(name) = &table.encoding else { return Ok(None) };
    // As spelled by Python and others.
    let label = if name.eq_ignore_ascii_case("latin-1") { "latin1" } else { name };
    let found =
        Encoding::for_label(label.as_bytes()).or_else(|| Encoding::for_label(label.replace('_', "-").as_bytes()));
    found
        .map(Some)
        .ok_or_else(|| format!("`{name}`; known are utf-8, utf-16le, windows-1252, gbk, big5, shift_jis and others"))
}

/// Bytes of a table from which its separator is known.
const HEAD: u64 = 1 << 16;

/// The file's text as UTF-8. Without a stated encoding bytes pass as they are, but UTF-16 with its mark.
fn decoded(input: reading::File, encoding: Option<&'static Encoding>) -> io::Result<Box<dyn BufRead>> {
    let mut builder = DecodeReaderBytesBuilder::new();
    builder.encoding(encoding).utf8_passthru(encoding.is_none()).strip_bom(true);
    let mut input = builder.build(input);
    // A decoder gives its first bytes one by one: the header is to be seen as a whole.
    let mut head = Vec::new();
    input.by_ref().take(HEAD).read_to_end(&mut head)?;
    Ok(Box::new(Cursor::new(head).chain(BufReader::new(input))))
}

fn bad(detail: String) -> Refusal {
    Refusal { reason: Reason::BadRow, detail }
}

/// What tells a cell's kind: whether it is a path, its ending, whether it is a number.
fn kind(cell: &[u8]) -> (bool, Option<Vec<u8>>, bool) {
    let name = cell.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let ending = name.iter().rposition(|byte| *byte == b'.').map(|at| name[at..].to_ascii_lowercase());
    (cell.contains(&b'/'), ending, !cell.is_empty() && cell.iter().all(u8::is_ascii_digit))
}

fn read_csv(
    mut rows: CsvRows<Box<dyn BufRead>>,
    columns: &[&str],
    key: usize,
    encoding: Option<&str>,
    name: &str,
    mut each: impl FnMut(TableRow),
) -> io::Result<()> {
    let header = rows.header().to_vec();
    let place = |column: &&str| header.iter().position(|name| name == column).expect("the header has the column");
    let places: Vec<usize> = columns.iter().map(place).collect();
    // A line begins as a row where its key is of the kind of the first row's.
    let first = Remembered::new(None);
    let is_key = |cell: &[u8]| {
        let known = first.take();
        let is = known.as_ref().is_some_and(|known| *known == kind(cell));
        first.set(known);
        is && !cell.contains(&b' ')
    };
    let shape = Shape {
        least: places.iter().max().map_or(1, |last| last + 1),
        columns: [places[key]; 2],
        are_cells: &|[cell, _]| is_key(cell),
    };
    while let Some(CsvRow { line, fields }) = rows.next(&shape)? {
        let cells = match fields {
            Ok(fields) => {
                if fields.iter().zip(&header).all(|(field, name)| field.trim_ascii() == name.as_bytes()) {
                    Err(bad("expected a row, found the header again".into()))
                } else {
                    let field = &fields[places[key]];
                    match first.take() {
                        None if !field.is_empty() => first.set(Some(kind(field))),
                        known => first.set(known),
                    }
                    places
                        .iter()
                        .zip(columns)
                        .map(|(place, column)| csv_cell(&fields[*place], column, encoding))
                        .collect()
                }
            }
            Err(fault) => {
                let detail = format!("expected a row of the table, found {}", fault.found(&header));
                let is_long = matches!(fault, Fault::TooLong { .. });
                Err(Refusal { reason: if is_long { Reason::TooLarge } else { Reason::BadRow }, detail })
            }
        };
        each(TableRow { name: format!("{name}:{line}"), cells });
    }
    Ok(())
}

fn csv_cell(bytes: &[u8], column: &str, encoding: Option<&str>) -> Result<Cell, Refusal> {
    let other = || {
        let stated = encoding.unwrap_or("UTF-8");
        let hint = if encoding.is_none() { "; state the table's `encoding`, such as \"windows-1252\"" } else { "" };
        bad(format!("expected {stated} in `{column}`, found other bytes{hint}"))
    };
    let text = std::str::from_utf8(bytes).map_err(|_| other())?;
    // A decoder writes it for bytes that its encoding does not have.
    if encoding.is_some() && text.contains('\u{fffd}') {
        return Err(other());
    }
    no_zero(text, column)?;
    Ok(Cell::of(text))
}

fn no_zero(text: &str, column: &str) -> Result<(), Refusal> {
    if text.contains('\0') { Err(bad(format!("expected text in `{column}`, found a zero byte"))) } else { Ok(()) }
}

/// Every key of any row in the order of appearance; `None` where no row is an object.
fn keys(text: &[u8], limits: ManifestLimits) -> Option<Vec<String>> {
    let mut keys: Vec<String> = Vec::new();
    for row in JsonRows::of_file(text, &[], limits.field_bytes())?.filter_map(|row| row.value.ok()) {
        for key in row.value.as_object().into_iter().flat_map(|object| object.keys()) {
            if !keys.contains(key) && keys.len() < MOST_KEYS {
                keys.push(key.clone());
            }
        }
    }
    (!keys.is_empty()).then_some(keys)
}

/// Most keys of a table of JSON, as a CSV table has at most so many columns.
const MOST_KEYS: usize = 1024;

fn json_cells(row: Result<RowValue, String>, columns: &[&str]) -> Result<Vec<Cell>, Refusal> {
    let row = row.map_err(bad)?;
    if let Some((damage, column)) = row.damage(columns) {
        return Err(Refusal {
            reason: damage.reason(),
            detail: format!("expected text, found {damage} in `{column}`"),
        });
    }
    let object = row.value.as_object().ok_or_else(|| bad("expected an object, found something else".into()))?;
    columns.iter().map(|column| json_cell(object.get(*column), column)).collect()
}

fn json_cell(value: Option<&Value>, column: &str) -> Result<Cell, Refusal> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    };
    let other = || bad(format!("expected text, a number or a list of texts in `{column}`, found something else"));
    Ok(match value {
        None | Some(Value::Null) => Cell::Missing,
        Some(Value::Array(values)) => Cell::List(values.iter().map(text).collect::<Option<_>>().ok_or_else(other)?),
        Some(value) => {
            let text = text(value).ok_or_else(other)?;
            no_zero(&text, column)?;
            Cell::of(&text)
        }
    })
}

fn read_parquet(
    reader: &ShardReader,
    columns: &[&str],
    most: usize,
    name: &str,
    each: &mut impl FnMut(TableRow),
) -> Result<(), PrepareError> {
    for group in 0..reader.groups() {
        let mut number = reader.rows_of_group(group).start;
        for batch in reader.read_group(group, columns, PARQUET_ROWS)? {
            let batch = batch?;
            let arrays: Vec<&ArrayRef> =
                columns.iter().map(|column| batch.column_by_name(column).expect("the header has the column")).collect();
            for row in 0..batch.num_rows() {
                let cells = arrays.iter().zip(columns).map(|(array, column)| parquet_cell(array, row, column, most));
                each(TableRow { name: format!("{name}[{number}]"), cells: cells.collect() });
                number += 1;
            }
        }
    }
    Ok(())
}

/// Rows of a parquet table that are in memory together.
const PARQUET_ROWS: usize = 1024;

fn parquet_cell(array: &ArrayRef, row: usize, column: &str, most: usize) -> Result<Cell, Refusal> {
    if array.is_null(row) {
        return Ok(Cell::Missing);
    }
    let text = |array: &ArrayRef, row: usize| {
        let other = || bad(format!("expected text, a number or a list of texts in `{column}`, found something else"));
        if array.data_type().is_nested() || array.data_type().is_binary() {
            return Err(other());
        }
        let options = FormatOptions::default();
        let text = ArrayFormatter::try_new(array, &options).and_then(|cells| cells.value(row).try_to_string());
        let text = text.map_err(|_| other())?;
        if text.len() > most {
            let detail = format!("expected at most {most} bytes in `{column}`, found {}", text.len());
            return Err(Refusal { reason: Reason::TooLarge, detail });
        }
        no_zero(&text, column)?;
        Ok(text)
    };
    let list = |values: ArrayRef| -> Result<Cell, Refusal> {
        Ok(Cell::List((0..values.len()).map(|row| text(&values, row)).collect::<Result<_, _>>()?))
    };
    match array.data_type() {
        DataType::List(_) => list(array.as_list::<i32>().value(row)),
        DataType::LargeList(_) => list(array.as_list::<i64>().value(row)),
        _ => Ok(Cell::of(&text(array, row)?)),
    }
}
