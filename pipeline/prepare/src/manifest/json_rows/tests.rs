//! Files as Python's json module reads them, sound and with one damaged row (`golden/json_rows.py`), and the rules one by one.

use med2e3_input::text::encoding;
use serde::Deserialize;
use serde_json::json;

use super::*;

/// A line of `json_rows.jsonl`.
#[derive(Deserialize)]
struct Case {
    kind: Option<String>,
    layout: String,
    text: String,
    rows: Vec<Expected>,
}

/// A row's value, its damaged field, or neither for one that is no JSON.
#[derive(Deserialize)]
struct Expected {
    value: Option<Value>,
    damaged: Option<String>,
}

/// Most bytes of text of a field.
const MOST: usize = 1 << 16;

fn read(text: &[u8]) -> Vec<JsonRow> {
    JsonRows::of_file(text, &[], MOST).unwrap().collect()
}

/// The numbers of the rows that are read, and what is wrong with the others.
fn outline(text: &str) -> (Vec<usize>, Vec<(usize, String)>) {
    let (mut sound, mut faults) = (Vec::new(), Vec::new());
    for row in read(text.as_bytes()) {
        match row.value {
            Ok(_) => sound.push(row.number),
            Err(fault) => faults.push((row.number, fault)),
        }
    }
    (sound, faults)
}

#[test]
fn rows_agree_with_python() {
    let golden = include_str!("../golden/json_rows.jsonl");
    let cases: Vec<Case> = golden.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(cases.len(), 240);
    for Case { kind, layout, text, rows } in cases {
        let bytes: Vec<u8> = text.chars().map(|byte| byte as u8).collect();
        let bytes = encoding::without_mark(&bytes).unwrap();
        let reader = JsonRows::of_file(bytes, &[], MOST).unwrap();
        assert_eq!(reader.are_lines(), layout == "lines");
        let found: Vec<JsonRow> = reader.collect();
        assert_eq!(found.len(), rows.len(), "{kind:?} {text}");
        for (number, (found, expected)) in found.into_iter().zip(rows).enumerate() {
            assert_eq!(found.number, number);
            let start =
                if layout == "lines" { bytes.split(|byte| *byte == b'\n').nth(found.line as usize - 1) } else { None };
            assert!(start.is_none_or(|line| line.first() == Some(&b'{')), "{kind:?} line {}: {text}", found.line);
            match (found.value, expected) {
                (Ok(row), Expected { value: Some(value), .. }) => {
                    assert_eq!(row.value, value, "{kind:?} {text}");
                    assert!(row.damaged.is_empty());
                }
                (Ok(row), Expected { damaged: Some(field), .. }) => {
                    assert_eq!(row.damaged.keys().collect::<Vec<_>>(), [&field], "{kind:?} {text}");
                    assert_eq!(row.damage(&["id", &field]).unwrap().1, field);
                    assert!(row.damage(&["id"]).is_none());
                }
                (Err(fault), Expected { value: None, damaged: None }) => assert!(fault.contains("line"), "{fault}"),
                (found, _) => panic!("{kind:?} row {number} of {text}: {:?}", found.map(|row| row.value)),
            }
        }
    }
}

#[test]
fn the_end_of_a_list_is_said_where_it_is_missing_or_not_the_end() {
    let row = r#"{"id": 1}"#;
    for (text, sound, faults) in [
        (format!("[{row},{row}]"), 2, ""),
        (format!("[{row},{row},]  \n"), 2, ""),
        (format!("[{row} {row}]"), 2, ""),
        (format!("[{row},{row}"), 2, "rows may be missing"),
        (format!("[{row},{row},"), 2, "rows may be missing"),
        (format!("[{row}][{row}]"), 1, "found more"),
        (format!("[{row}, {{\"id\": "), 1, "the end of the file"),
        (format!("[{row}, {{\"id\": \"a"), 1, "the end of the file in a text"),
        ("[]".into(), 0, ""),
        ("[".into(), 0, "rows may be missing"),
    ] {
        let (found, said) = outline(&text);
        assert_eq!(found.len(), sound, "{text}");
        assert_eq!(said.len(), usize::from(!faults.is_empty()), "{text} {said:?}");
        assert!(said.iter().all(|(number, fault)| *number == sound && fault.contains(faults)), "{text} {said:?}");
    }
}

#[test]
fn lists_of_splits_never_take_rows_of_each_other() {
    let row = |n: usize| format!("{{\"image\": \"{n}\", \"text\": \"t\"}}");
    let text = format!(
        "{{\"train\": [{}, {{\"image\": \"bad}}], \"validation\": [{}, {}, {{\"image\": 1}}], \"test1k\": [{{\"image\" 1}}, {}]}}",
        row(0),
        row(1),
        row(2),
        row(3)
    );
    let found = lists(text.as_bytes(), &["train", "val", "test"], &["image"], MOST).unwrap();
    let shape: Vec<(&str, Vec<bool>)> =
        found.iter().map(|(key, rows)| (key.as_str(), rows.iter().map(|row| row.value.is_ok()).collect())).collect();
    assert_eq!(
        shape,
        [("train", vec![true, false]), ("validation", vec![true, true, true]), ("test1k", vec![false, true])]
    );
    let said =
        |text: &str| lists(text.as_bytes(), &["train", "val", "test"], &["image"], MOST).map(|_| ()).unwrap_err();
    assert!(said("{\"other\": []}").contains("other") && said("{\"train\": {}}").contains("list"));
    assert!(said("[]").contains("object") && said("{\"train\": []} x").contains("more"));
    // Files that end too early, and a key that is there twice.
    for (text, sound, faults) in [
        (format!("{{\"train\": [{}, {}", row(0), row(1)), 2, 1),
        (format!("{{\"train\": [{}], ", row(0)), 1, 1),
        (format!("{{\"train\": [{}], \"train\": [{}]}}", row(0), row(1)), 2, 0),
    ] {
        let rows: Vec<JsonRow> =
            lists(text.as_bytes(), &["train"], &[], MOST).unwrap().into_iter().flat_map(|(_, rows)| rows).collect();
        assert!(rows.iter().enumerate().all(|(number, row)| row.number == number), "{text}");
        assert_eq!(rows.iter().filter(|row| row.value.is_ok()).count(), sound, "{text}");
        assert_eq!(rows.iter().filter(|row| row.value.is_err()).count(), faults, "{text}");
    }
}

#[test]
fn values_are_those_of_serde_json() {
    let text = r#"{"a": [1, -2, 3.5, 1e3, -0.0, 18446744073709551615], "b": {"c": null, "d": [true, false]},
        "e": "\"\\\/\b\f\n\r\t\u0041\u00e9\ud83d\ude00", "a": [1E400, -1E400], "f": {}, "g": []}"#;
    let found = read(text.as_bytes()).remove(0).value.ok().unwrap();
    let expected: Value = serde_json::from_str(&text.replace("1E400", "1.7976931348623157e308")).unwrap();
    assert_eq!((found.value, found.damaged.len()), (expected, 0));
    for word in ["01", "1.", ".5", "+1", "nan", "-NaN", "tru", "infinity", "1_0", "0x1", "", "'a'"] {
        assert!(read(format!("[{{\"a\": {word}}}]").as_bytes())[0].value.is_err(), "{word}");
    }
    let deep = format!("[{}1{}]", "[".repeat(200), "]".repeat(200));
    assert!(read(deep.as_bytes())[0].value.as_ref().err().unwrap().contains("levels"));
    assert_eq!(read(b"[\"Jane\", 7, null]").iter().filter(|row| row.value.is_ok()).count(), 3);
    assert!(JsonRows::of_file(b"", &[], MOST).is_none() && JsonRows::of_file(b" \"a\"", &[], MOST).is_none());
    assert_eq!(read(b"[{\"id\": 1}, x, {\"id\": 2}]").len(), 3);
    let json = read(b"{\"id\": 1}\n{\"id\": 2,\n \"a\": 3}\n\nx\n{\"b\": 4}\n")
        .into_iter()
        .map(|row| (row.line, row.value.map_or(Value::Null, |row| row.value)));
    let expected = [(1, json!({"id": 1})), (2, json!({"id": 2, "a": 3})), (5, Value::Null), (6, json!({"b": 4}))];
    assert_eq!(json.collect::<Vec<_>>(), expected);
}

#[test]
fn a_damaged_file_takes_a_time_that_grows_with_its_size() {
    for row in ["{\"id\": 1, \"a\": [1, {\"id\": 2},\n", "{\"id\": \"\n", "{\"id\": [", "x,\n", "[", "{\"id\": 1},\n"] {
        for start in ["[", ""] {
            let text = format!("{start}{{\"id\": 0}},\n{}", row.repeat(2_000));
            assert!(read(text.as_bytes()).iter().any(|row| row.value.is_ok()), "{row:?}");
        }
    }
}

#[test]
fn a_field_beyond_its_limit_is_marked_and_costs_only_its_row() {
    let whole = "x".repeat(MOST);
    let rows = |row: String| read(format!("[{row}, {{\"id\": 2, \"a\": \"b\"}}]").as_bytes());
    let found = rows(format!("{{\"id\": 1, \"a\": \"{whole}\", \"b\": \"{whole}\"}}"));
    assert!(found.iter().all(|row| row.value.as_ref().is_ok_and(|row| row.damaged.is_empty())));
    let too_long = |found| Damage::TooLong { most: if found > 4 * MOST { 4 * MOST } else { MOST }, found };
    // In one text, in several of a list, in escapes; and a row with more fields than it may have.
    let list = vec!["\"some words\""; MOST / 8].join(",");
    let fields: String = (0..5).map(|n| format!(", \"{n}\": \"{whole}\"")).collect();
    for (row, field, found_bytes) in [
        (format!("{{\"id\": 1, \"a\": \"{whole}{whole}\"}}"), "a", 2 * MOST),
        (format!("{{\"id\": 1, \"a\": [{list}]}}"), "a", MOST / 8 * 10),
        (format!("{{\"id\": 1, \"a\": \"{}\"}}", "\\u00e9".repeat(MOST)), "a", 2 * MOST),
        (format!("{{\"id\": 1{fields}}}"), "3", 4 * MOST + "id0123".len()),
    ] {
        let found = rows(row);
        assert_eq!(found.len(), 2);
        let first = found[0].value.as_ref().ok().unwrap();
        assert_eq!(first.damaged.get(field), Some(&too_long(found_bytes)), "{field}");
        assert!(first.value.to_string().len() <= 5 * MOST);
        assert!(found[1].value.as_ref().is_ok_and(|row| row.damaged.is_empty() && row.value["a"] == "b"));
    }
    // Many values, long numbers: no JSON of a row.
    for row in [format!("{{\"id\": [{}1]}}", "[],".repeat(VALUES)), format!("{{\"id\": {}}}", "1".repeat(1000))] {
        let found = rows(row);
        assert!(found[0].value.is_err() && found.last().unwrap().value.is_ok());
    }
}
