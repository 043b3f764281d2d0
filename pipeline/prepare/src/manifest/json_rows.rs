//! The rows of a JSON file, one after the other, so that a damaged row costs only itself.
//!
//! - A list of rows, or rows without a list: one a line, or one after the other.
//! - What Python's `json.dump` writes is read: `NaN` is null, an infinite number is the largest finite one, which no field
//!   takes. A text with half of a surrogate pair, or with bytes that are not UTF-8, is marked; who uses it sets the row aside.
//!   So is a field with more text than its limit, which is passed over without being kept.
//! - Where a row is no JSON, reading goes on at the next row: in a list at the next object after a comma whose first key
//!   is the first key of another row, without a list at the next line that begins with an object.
//! - A list that ends with the file and not with `]` is said, after the rows that are whole. A comma too many between rows
//!   or none does no harm.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use med2e3_schemas::quarantine::Reason;
use serde_json::{Map, Number, Value};

/// One row.
pub(super) struct JsonRow {
    /// Its place among the rows, from 0.
    pub(super) number: usize,
    /// The line where it begins, from 1.
    pub(super) line: u64,
    /// Its value, or what is wrong with it.
    pub(super) value: Result<RowValue, String>,
}

/// A row's value and which of its fields hold a text that is none.
pub(super) struct RowValue {
    pub(super) value: Value,
    /// The first such thing by the name of the row's field.
    pub(super) damaged: BTreeMap<String, Damage>,
}

/// What a field has in place of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// Half of a surrogate pair.
    HalfPair,
    /// Bytes that are not UTF-8.
    NotUtf8,
    /// More bytes of text than a field may have: the limit, and how many there are.
    TooLong { most: usize, found: usize },
}

impl Damage {
    /// The reason under which the row is set aside.
    pub(super) fn reason(self) -> Reason {
        if matches!(self, Damage::TooLong { .. }) { Reason::TooLarge } else { Reason::BadRow }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::HalfPair => f.write_str("half of a surrogate pair"),
            Damage::NotUtf8 => f.write_str("bytes that are not UTF-8"),
            Damage::TooLong { most, found } => write!(f, "{found} bytes of text, more than {most},"),
        }
    }
}

impl RowValue {
    /// What is wrong with the first of these fields that is damaged, and its name.
    pub(super) fn damage<'f>(&self, fields: &[&'f str]) -> Option<(Damage, &'f str)> {
        fields.iter().find_map(|field| Some((*self.damaged.get(*field)?, *field)))
    }
}

/// How rows follow each other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    List,
    /// A list within an object whose keys begin with one of these words.
    ListOf(&'static [&'static str]),
    Lines,
}

/// Most first keys that are remembered.
const FIRST_KEYS: usize = 12;
/// Most values of a row, lists and objects included.
const VALUES: usize = 1 << 16;
/// A row may have so many times as much text as one of its fields.
const ROW_FIELDS: usize = 4;
/// Longest number in characters.
const DIGITS: usize = 400;

/// The rows of a list or of a file.
pub(super) struct JsonRows<'b> {
    bytes: &'b [u8],
    at: usize,
    layout: Layout,
    number: usize,
    ended: bool,
    first_keys: BTreeSet<Vec<u8>>,
    /// Most bytes of text of a field.
    most: usize,
    /// A place in the file and its line, so that lines are counted once.
    counted: (usize, u64),
}

impl<'b> JsonRows<'b> {
    /// The rows of a whole file, which may begin with these keys and whose fields have at most so many bytes of text; `None`
    /// where it begins with neither a list nor an object.
    pub(super) fn of_file(bytes: &'b [u8], keys: &[&str], most: usize) -> Option<JsonRows<'b>> {
        let start = skip_space(bytes, 0);
        match bytes.get(start)? {
            b'[' => Some(JsonRows::new(bytes, start + 1, Layout::List, keys, most)),
            b'{' => Some(JsonRows::new(bytes, start, Layout::Lines, keys, most)),
            _ => None,
        }
    }

    fn new(bytes: &'b [u8], at: usize, layout: Layout, keys: &[&str], most: usize) -> JsonRows<'b> {
        let first_keys = keys.iter().map(|key| key.as_bytes().to_vec()).collect();
        JsonRows { bytes, at, layout, number: 0, ended: false, first_keys, most, counted: (0, 1) }
    }

    /// Whether each row is a line, so that the line is its name.
    pub(super) fn are_lines(&self) -> bool {
        self.layout == Layout::Lines
    }

    fn line(&mut self, at: usize) -> u64 {
        let (from, line) = if at < self.counted.0 { (0, 1) } else { self.counted };
        self.counted = (at, line + self.bytes[from..at].iter().filter(|byte| **byte == b'\n').count() as u64);
        self.counted.1
    }

    /// Notes what a row begins with, if it is an object.
    fn note_first_key(&mut self, start: usize) {
        if let Some(key) = first_key(self.bytes, start)
            && self.first_keys.len() < FIRST_KEYS
            && !self.first_keys.contains(key)
        {
            self.first_keys.insert(key.to_owned());
        }
    }

    /// Where reading goes on after a row that is no JSON; `None` where no later row is found.
    fn next_row(&self, start: usize) -> Option<usize> {
        let bytes = self.bytes;
        // The last byte before, white space left out, and whether a line has ended since.
        let (mut before, mut fresh) = (0, false);
        for at in start + 1..bytes.len() {
            let byte = bytes[at];
            let first = || first_key(bytes, at).is_some_and(|key| self.first_keys.contains(key));
            match (self.layout, byte) {
                (Layout::Lines, b'{') if fresh && (bytes[at - 1] == b'\n' || first()) => return Some(at),
                (Layout::List | Layout::ListOf(_), b'{') if before == b',' && first() => return Some(at),
                (Layout::ListOf(words), b']') if ends_list(bytes, at, words) => return Some(at),
                _ => {}
            }
            if byte == b'\n' {
                fresh = true;
            } else if !byte.is_ascii_whitespace() {
                (before, fresh) = (byte, false);
            }
        }
        None
    }

    /// What follows the list, where that is more than white space.
    fn end_list(&mut self) -> Option<JsonRow> {
        self.ended = true;
        let rest = skip_space(self.bytes, self.at);
        if self.layout != Layout::List || rest == self.bytes.len() {
            return None;
        }
        Some(self.fault(rest, "expected the file's end after the list, found more".into()))
    }

    fn fault(&mut self, start: usize, fault: String) -> JsonRow {
        let (number, line) = (self.number, self.line(start));
        self.number += 1;
        JsonRow { number, line, value: Err(fault) }
    }
}

impl Iterator for JsonRows<'_> {
    type Item = JsonRow;

    fn next(&mut self) -> Option<JsonRow> {
        if self.ended {
            return None;
        }
        let bytes = self.bytes;
        while bytes.get(self.at).is_some_and(|byte| byte.is_ascii_whitespace() || *byte == b',') {
            self.at += 1;
        }
        let start = self.at;
        match (bytes.get(start), self.layout) {
            (None, Layout::Lines) => return None,
            (None, _) => {
                self.ended = true;
                let fault = "expected a row or the list's end, found the end of the file: rows may be missing";
                return Some(self.fault(start, fault.into()));
            }
            (Some(b']'), Layout::List | Layout::ListOf(_)) => {
                self.at += 1;
                return self.end_list();
            }
            (Some(byte), Layout::Lines) if *byte != b'{' => {
                self.at += bytes[start..].iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len() - start);
                let line = self.line(start);
                return Some(self.fault(start, format!("expected an object, found something else in line {line}")));
            }
            _ => {}
        }
        self.note_first_key(start);
        let mut parser = Parser::of(bytes, start, self.most);
        match parser.value(0) {
            Ok(value) => {
                self.at = parser.at;
                let (number, line) = (self.number, self.line(start));
                self.number += 1;
                let damaged = parser.damaged;
                Some(JsonRow { number, line, value: Ok(RowValue { value, damaged }) })
            }
            Err(found) => {
                let line = self.line(start);
                let mut fault = format!("expected JSON, found {found} in the row that begins in line {line}");
                match self.next_row(start) {
                    Some(next) => self.at = next,
                    None => {
                        self.ended = true;
                        fault += "; no row was found after it";
                    }
                }
                Some(self.fault(start, fault))
            }
        }
    }
}

/// The lists of rows in an object, by their keys in order; each key begins with one of `words`, and rows with one of `keys`; a field
/// has at most so many bytes of text.
///
/// # Errors
/// What the object has elsewhere.
pub(super) fn lists(
    bytes: &[u8],
    words: &'static [&'static str],
    keys: &[&str],
    most: usize,
) -> Result<Vec<(String, Vec<JsonRow>)>, String> {
    let mut parser = Parser::of(bytes, skip_space(bytes, 0), most);
    parser.take(b'{', "an object")?;
    let mut found: Vec<(String, Vec<JsonRow>)> = Vec::new();
    let mut counted = (0, 1);
    loop {
        while bytes.get(parser.at).is_some_and(|byte| byte.is_ascii_whitespace() || *byte == b',') {
            parser.at += 1;
        }
        match bytes.get(parser.at) {
            Some(b'}') => break,
            None if !found.is_empty() => {
                let rows = found.last_mut().map(|(_, rows)| rows).expect("it is not empty");
                // A list that the file cut short has said so.
                if rows.last().is_none_or(|row| row.value.is_ok()) {
                    let fault =
                        "expected another list or the object's end, found the end of the file: rows may be missing";
                    rows.push(JsonRow { number: rows.len(), line: counted.1, value: Err(fault.into()) });
                }
                return Ok(found);
            }
            _ => {}
        }
        (parser.of_field, parser.of_row) = (0, 0);
        let key = parser.text()?;
        if !words.iter().any(|word| key.starts_with(word)) {
            return Err(format!("a split `{key}` that begins with none of {}", words.join(", ")));
        }
        parser.space();
        parser.take(b':', "a colon")?;
        parser.space();
        parser.take(b'[', "a list of rows")?;
        let mut rows = JsonRows { counted, ..JsonRows::new(bytes, parser.at, Layout::ListOf(words), keys, most) };
        let list: Vec<JsonRow> = rows.by_ref().collect();
        counted = rows.counted;
        parser.at = if rows.ended && bytes.get(rows.at.wrapping_sub(1)) != Some(&b']') { bytes.len() } else { rows.at };
        match found.iter_mut().find(|(earlier, _)| *earlier == key) {
            // A key that is there twice: no row of either list is lost.
            Some((_, rows)) => {
                let start = rows.len();
                rows.extend(list.into_iter().map(|row| JsonRow { number: start + row.number, ..row }));
            }
            None => found.push((key, list)),
        }
    }
    match skip_space(bytes, parser.at + 1) {
        end if end == bytes.len() => Ok(found),
        _ => Err("more after the object's end".into()),
    }
}

fn skip_space(bytes: &[u8], at: usize) -> usize {
    at + bytes[at.min(bytes.len())..].iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

/// The first key of the object at a place, as it is written.
fn first_key(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let start = skip_space(bytes, at + 1);
    if bytes.get(at) != Some(&b'{') || bytes.get(start) != Some(&b'"') {
        return None;
    }
    let rest = &bytes[start + 1..];
    let length = rest.iter().take(64).position(|byte| *byte == b'"')?;
    (bytes.get(skip_space(bytes, start + length + 2)) == Some(&b':')).then(|| &rest[..length])
}

/// Whether a `]` ends a list whose object goes on with another key that begins with one of the words, or ends.
fn ends_list(bytes: &[u8], at: usize, words: &[&str]) -> bool {
    let next = skip_space(bytes, at + 1);
    match bytes.get(next) {
        Some(b'}') => skip_space(bytes, next + 1) == bytes.len(),
        Some(b',') => {
            let key = skip_space(bytes, next + 1);
            let rest = bytes.get(key + 1..).unwrap_or_default();
            bytes.get(key) == Some(&b'"') && words.iter().any(|word| rest.starts_with(word.as_bytes()))
        }
        _ => false,
    }
}

/// Deepest nesting of a row.
const DEPTH: usize = 128;

/// A reader of one value.
struct Parser<'b> {
    bytes: &'b [u8],
    at: usize,
    /// The field of the row that is being read.
    field: String,
    damaged: BTreeMap<String, Damage>,
    /// Values so far.
    values: usize,
    /// Most bytes of text of a field.
    most: usize,
    /// Bytes of text so far in the field, and in the row.
    of_field: usize,
    of_row: usize,
}

impl<'b> Parser<'b> {
    fn of(bytes: &'b [u8], at: usize, most: usize) -> Parser<'b> {
        let (field, damaged) = (String::new(), BTreeMap::new());
        Parser { bytes, at, field, damaged, values: 0, most, of_field: 0, of_row: 0 }
    }

    /// Adds bytes to a text, or only counts them where the field or the row has as many as it may have.
    fn keep(&mut self, text: &mut Vec<u8>, bytes: &[u8]) {
        self.of_field += bytes.len();
        let of_field = (self.most, self.of_field);
        let of_row = (self.most.saturating_mul(ROW_FIELDS), self.of_row + bytes.len());
        if let Some((most, found)) = [of_field, of_row].into_iter().find(|(most, found)| found > most) {
            self.damaged.insert(self.field.clone(), Damage::TooLong { most, found });
            return;
        }
        self.of_row += bytes.len();
        text.extend_from_slice(bytes);
    }

    fn space(&mut self) {
        self.at = skip_space(self.bytes, self.at);
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self, byte: u8, what: &str) -> Result<(), String> {
        match self.peek() {
            Some(found) if found == byte => {
                self.at += 1;
                Ok(())
            }
            Some(_) => Err(format!("something else in place of {what}")),
            None => Err("the end of the file".into()),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        self.values += 1;
        if self.values > VALUES {
            return Err(format!("more than {VALUES} values"));
        }
        match self.peek() {
            None => Err("the end of the file".into()),
            Some(b'{' | b'[') if depth == DEPTH => Err(format!("more than {DEPTH} levels")),
            Some(b'{') => self.object(depth),
            Some(b'[') => self.list(depth),
            Some(b'"') => self.text().map(Value::String),
            Some(_) => self.word(),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, String> {
        let mut map = Map::new();
        self.at += 1;
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Object(map));
        }
        loop {
            self.space();
            if depth == 0 {
                self.of_field = 0;
                self.field.clear();
            }
            let key = self.text()?;
            if depth == 0 {
                self.of_field = 0;
                self.field.clone_from(&key);
            }
            self.space();
            self.take(b':', "a colon")?;
            self.space();
            let value = self.value(depth + 1)?;
            map.insert(key, value);
            self.space();
            if self.peek() == Some(b',') {
                self.at += 1;
            } else {
                self.take(b'}', "a comma or the end of an object")?;
                return Ok(Value::Object(map));
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, String> {
        let mut list = Vec::new();
        self.at += 1;
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::Array(list));
        }
        loop {
            self.space();
            list.push(self.value(depth + 1)?);
            self.space();
            if self.peek() == Some(b',') {
                self.at += 1;
            } else {
                self.take(b']', "a comma or the end of a list")?;
                return Ok(Value::Array(list));
            }
        }
    }

    /// Numbers, `true`, `false`, `null`, and Python's numbers that are none.
    fn word(&mut self) -> Result<Value, String> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte)).count();
        self.at += length;
        if length > DIGITS {
            return Err(format!("a number of {length} characters"));
        }
        match &rest[..length] {
            b"NaN" => Ok(Value::Null),
            b"Infinity" => Ok(largest(1.0)),
            b"-Infinity" => Ok(largest(-1.0)),
            word => serde_json::from_slice(word).or_else(|_| {
                let number = std::str::from_utf8(word).ok().and_then(|word| word.parse::<f64>().ok());
                let digits = word.iter().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(byte));
                match number {
                    Some(number) if number.is_infinite() && digits => Ok(largest(number)),
                    _ => Err("a value that is none".to_owned()),
                }
            }),
        }
    }

    /// A text with its quotes.
    fn text(&mut self) -> Result<String, String> {
        self.take(b'"', "a quote")?;
        let mut text: Vec<u8> = Vec::new();
        loop {
            let rest = &self.bytes[self.at..];
            let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)).unwrap_or(rest.len());
            self.keep(&mut text, &rest[..plain]);
            self.at += plain + 1;
            match rest.get(plain) {
                None => return Err("the end of the file in a text".into()),
                Some(b'"') => break,
                Some(b'\\') => self.escape(&mut text)?,
                Some(_) => return Err("a line break or another control character in a text".into()),
            }
        }
        Ok(String::from_utf8(text).unwrap_or_else(|error| {
            self.damage(Damage::NotUtf8);
            String::from_utf8_lossy(error.as_bytes()).into_owned()
        }))
    }

    fn escape(&mut self, text: &mut Vec<u8>) -> Result<(), String> {
        let byte = self.peek().ok_or("the end of the file in a text")?;
        self.at += 1;
        let character = match byte {
            b'"' | b'\\' | b'/' => byte as char,
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => self.unit_escape()?,
            _ => return Err("an unknown escape in a text".into()),
        };
        self.keep(text, character.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }

    /// The character of `\uXXXX`, or of two that make a pair.
    fn unit_escape(&mut self) -> Result<char, String> {
        let first = self.unit(self.at).ok_or("an unknown escape in a text")?;
        self.at += 4;
        let second = (self.bytes.get(self.at..self.at + 2) == Some(b"\\u")).then(|| self.unit(self.at + 2)).flatten();
        if let Some(Ok(character)) = char::decode_utf16([first].into_iter().chain(second)).next() {
            if character.len_utf16() == 2 {
                self.at += 6;
            }
            return Ok(character);
        }
        self.damage(Damage::HalfPair);
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn unit(&self, at: usize) -> Option<u16> {
        let digits = self.bytes.get(at..at + 4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    }

    fn damage(&mut self, what: Damage) {
        self.damaged.entry(self.field.clone()).or_insert(what);
    }
}

/// An infinite number as JSON can hold it.
fn largest(sign: f64) -> Value {
    Value::Number(Number::from_f64(f64::MAX.copysign(sign)).expect("the largest number is finite"))
}

#[cfg(test)]
mod tests;
