//! Tables as Python's csv module and pandas read them, sound and damaged (`golden/csv_rows.py`), and the rules one by one.

use std::io::{BufReader, Cursor};

use serde::Deserialize;

use super::*;

/// A line of `csv_rows.jsonl`.
#[derive(Deserialize)]
struct Case {
    kind: Option<String>,
    text: String,
    damaged: Option<u64>,
    rows: Vec<(u64, Vec<String>)>,
}

const SHAPE: Shape<'_> = Shape {
    least: 9,
    columns: [0, 1],
    are_cells: &|[path, number]| path.contains(&b'/') && matches!(number, [b'1'..=b'5']),
};

const HEADER: &str = "Image Path,Question Type,Question,Choice A,Choice B,Choice C,Choice D,Answer,Answer Choice\n";

/// Most bytes of a field.
const MOST: usize = 1 << 20;

type Row = (u64, Result<Vec<String>, String>);

fn read(text: &[u8]) -> Vec<Row> {
    // A small buffer, so that marks and lines lie across its ends.
    let mut rows = CsvRows::open(BufReader::with_capacity(16, Cursor::new(text)), MOST, Some(b',')).unwrap().unwrap();
    assert_eq!(rows.header().len(), 9);
    let mut found = Vec::new();
    while let Some(CsvRow { line, fields }) = rows.next(&SHAPE).unwrap() {
        let text = |field: Vec<u8>| String::from_utf8(field).unwrap();
        let fields = fields.map(|fields| fields.into_iter().map(text).collect());
        found.push((line, fields.map_err(|fault| fault.found(rows.header()))));
    }
    found
}

/// The lines of rows that are read and of those that are set aside, below the header.
fn lines(rows: &str) -> (Vec<u64>, Vec<u64>) {
    let (read, aside): (Vec<Row>, Vec<Row>) =
        read(format!("{HEADER}{rows}").as_bytes()).into_iter().partition(|(_, fields)| fields.is_ok());
    let lines = |rows: Vec<Row>| rows.into_iter().map(|(line, _)| line).collect();
    (lines(read), lines(aside))
}

#[test]
fn rows_and_their_lines_agree_with_python() {
    let golden = include_str!("../golden/csv_rows.jsonl");
    let cases: Vec<Case> = golden.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(cases.len(), 300);
    for Case { kind, text, damaged, rows } in cases {
        let mut found = read(text.as_bytes());
        if let Some(damaged) = damaged {
            let at = found.iter().position(|(line, _)| *line == damaged).unwrap();
            assert!(found.remove(at).1.is_err(), "{kind:?} line {damaged} of {text}");
        }
        let expected: Vec<Row> = rows.into_iter().map(|(line, fields)| (line, Ok(fields))).collect();
        assert_eq!(found, expected, "{kind:?} {text}");
    }
}

#[test]
fn a_row_of_several_lines_that_are_no_rows_is_read_whatever_its_commas() {
    // The last line of a text has the commas of the columns before it, the first one those of the columns after it.
    for text in ["one, two\nthree, four", "a, b, c, d, e, f, g\nh", "1, 2\n3, 4, 5\n6, 7", "a\n1,2,3", ",,,,,,\n,,"] {
        for column in 0..9 {
            let mut cells = ["a/p", "3", "q", "a", "b", "c", "d", "e", "A"].map(str::to_owned);
            cells[column] = format!("\"{text}\"");
            let (read, aside) = lines(&format!("{}\na/p,1,q,a,b,c,d,e,A\n", cells.join(",")));
            assert_eq!((read, aside), (vec![2, 3 + text.matches('\n').count() as u64], vec![]), "{text:?} in {column}");
        }
    }
}

#[test]
fn the_number_of_fields_is_that_of_the_header() {
    assert_eq!(lines("p,1,q,a,b,c,d,e,A,,, \n"), (vec![2], vec![]));
    assert_eq!(lines("p,1,q,a,b,c,d,e,A,x\n"), (vec![], vec![2]));
    assert_eq!(lines("p,1,q,a,b,c,d,e\n"), (vec![], vec![2]));
    // A line break without quotes makes two lines that are no rows.
    assert_eq!(lines("p,1,q,a,b\nc,d,e,A\np,1,q,a,b,c,d,e,A\n"), (vec![4], vec![2, 3]));
    // A file that ends within a row.
    assert_eq!(lines("p,1,q,a,b,c,d,e,A\np,1,q,a"), (vec![2], vec![3]));
}

#[test]
fn quotes_and_white_space_around_fields() {
    let row = |cells: &str| read(format!("{HEADER}p,1,{cells}\n").as_bytes()).remove(0).1.unwrap()[2..].to_vec();
    assert_eq!(row("\"q\" ,a,b,c,d,e,A"), ["q", "a", "b", "c", "d", "e", "A"]);
    assert_eq!(row("5\" and 6\",a \"b\" c,b,c,\"\",\"\"\"\",A"), ["5\" and 6\"", "a \"b\" c", "b", "c", "", "\"", "A"]);
    assert_eq!(row(" \"q\",\"a\nb\r\nc\rd\",b,c,d,e,\"A\"\t"), [" \"q\"", "a\nb\r\nc\rd", "b", "c", "d", "e", "A"]);
    let nul = read(format!("{HEADER}p,1,q\0,a,b,c,d,e,A\n").as_bytes()).remove(0).1.unwrap();
    assert_eq!(nul[2], "q\0");
}

#[test]
fn a_file_that_is_no_table_says_what_it_is() {
    let open = |bytes: &[u8]| CsvRows::open(Cursor::new(bytes.to_vec()), MOST, Some(b',')).unwrap().err();
    assert!(open(b"").unwrap().contains("empty") && open(b"\n \n").unwrap().contains("empty"));
    let utf16: Vec<u8> = HEADER.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(open(&utf16).unwrap().contains("UTF-16"));
    assert!(open(&[&[0xff, 0xfe], utf16.as_slice()].concat()).unwrap().contains("UTF-16"));
    assert!(open(b"a,\"b\nc,d\n").unwrap().contains("quote"));
    assert!(open(b"\xef\xbb\xbfa,b\n").is_none());
}

#[test]
fn a_damaged_file_takes_a_time_that_grows_with_its_size() {
    // Rows that open quotes, rows within rows, commas without end: each line is read a few times at most.
    for (line, count) in
        [("b\",\"c\n", 60_000), ("p,1,\"q,a,b,c,d,e,A\n", 60_000), (",\"\"\"x\n", 60_000), ("\"\"\n", 60_000)]
    {
        let text = format!("{HEADER}x,\"{}", line.repeat(count));
        let found = read(text.as_bytes());
        assert!(found.len() >= count / 4, "{line:?}: {}", found.len());
    }
    assert_eq!(read(format!("{HEADER}{}", ",".repeat(1 << 20)).as_bytes()).len(), 1);
}

#[test]
fn a_field_beyond_its_limit_costs_only_its_row() {
    let row = "a/p,1,q,a,b,c,d,e,A\n";
    let whole = "x".repeat(MOST);
    assert_eq!(lines(&format!("a/p,1,{whole},a,b,c,d,e,A\n{row}")), (vec![2, 3], vec![]));
    // Beyond the limit of a row's line, and within it; quoted over lines that are no rows; a quote that is never closed.
    for (field, after) in [
        (format!("{whole}x"), ",a,b,c,d,e,A\n"),
        ("x".repeat(5 * MOST), ",a,b,c,d,e,A\n"),
        (format!("\"{}\"", "some words\n".repeat(MOST / 8)), ",a,b,c,d,e,A\n"),
        (format!("\"{}", "some words\r".repeat(MOST / 2)), "\n"),
    ] {
        let text = format!("{HEADER}{row}a/p,2,{field}{after}{row}{row}");
        let found = read(text.as_bytes());
        let faults: Vec<&String> = found.iter().filter_map(|(_, row)| row.as_ref().err()).collect();
        let bytes = field.len() + after.len() + "a/p,2,".len();
        let expected = format!("a `Question` of more than {MOST} bytes: {bytes} bytes to the next row");
        assert_eq!(faults, [&expected], "{}", found.len());
        assert_eq!((found.len(), found[1].0, found[2].1.is_ok(), found[3].1.is_ok()), (4, 3, true, true));
    }
    // Many fields, each within its limit.
    let fields = vec!["x".repeat(MOST / 2); 9].join(",");
    let found = read(format!("{HEADER}{fields}\n{row}").as_bytes());
    assert!(found[0].1.as_ref().is_err_and(|found| found.starts_with("a row of more than")) && found[1].1.is_ok());
    // A header may not be longer either.
    let open = |text: String| CsvRows::open(Cursor::new(text), MOST, Some(b',')).unwrap().err().unwrap();
    assert!(open("x".repeat(MOST + 1)).contains("more than"));
    assert!(open("x,".repeat(2000)).contains("more fields"));
}

#[test]
fn a_table_may_have_other_separators() {
    let rows = |text: &str, separator| {
        let mut rows = CsvRows::open(Cursor::new(text.to_owned()), MOST, separator).unwrap().unwrap();
        let shape = Shape { least: 1, columns: [0, 0], are_cells: &|_| false };
        let mut read = vec![rows.header().to_vec()];
        while let Some(CsvRow { fields, .. }) = rows.next(&shape).unwrap() {
            read.push(fields.unwrap().into_iter().map(|cell| String::from_utf8(cell).unwrap()).collect());
        }
        read
    };
    for separator in [",", ";", "\t", "|"] {
        let text = format!("a{separator}\"b, c; d\"\n1{separator}\"x{separator}\ny\"\n");
        let expected = vec![vec!["a".to_owned(), "b, c; d".into()], vec!["1".into(), format!("x{separator}\ny")]];
        assert_eq!(rows(&text, None), expected, "{separator:?}");
        assert_eq!(rows(&text, Some(separator.as_bytes()[0])), expected);
    }
    // One that is stated holds, whatever the header has more of.
    assert_eq!(rows("a;b,c\n1;2,3\n", Some(b','))[0], ["a;b", "c"]);
    assert_eq!(rows("only\n1\n", None), [["only"], ["1"]]);
}
