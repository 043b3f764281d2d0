//! Files that are sound, and one refusal of each kind with its key.

use super::*;

/// A small sound file, with other values at some keys.
fn file(changes: &[(&str, &str)]) -> String {
    let mut file: Value = serde_json::from_str(
        r#"{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [{"id": 4, "content": "<s>", "special": true}],
            "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": null,
            "model": {"type": "BPE", "dropout": null, "vocab": {"a": 0, "b": 1, "ab": 2, "<unk>": 3}, "merges": ["a b"]}}"#,
    )
    .unwrap();
    for (pointer, value) in changes {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        file.pointer_mut(parent).unwrap()[key] = serde_json::from_str(value).unwrap();
    }
    file.to_string()
}

fn refused(changes: &[(&str, &str)]) -> String {
    check("t.json", &file(changes)).unwrap_err().to_string()
}

#[test]
fn a_sound_file_is_accepted() {
    check("t.json", &file(&[])).unwrap();
    check("t.json", &file(&[("/model/dropout", "0.0")])).unwrap();
    let llama = r#"{"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u2581"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]}"#;
    check("t.json", &file(&[("/normalizer", llama)])).unwrap();
    let unigram = r#"{"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.5]]}"#;
    check("t.json", &file(&[("/model", unigram)])).unwrap();
}

#[test]
fn every_refusal_names_the_file_and_the_key() {
    let doubles = format!(
        r#"{{"type": "Sequence", "normalizers": [{}]}}"#,
        vec![r#"{"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}"#; 28].join(",")
    );
    let long = format!("\"{}\"", "a".repeat(5000));
    let many = format!("[{}]", vec!["{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}"; 300].join(","));
    let template = format!(r#"{{"type": "TemplateProcessing", "single": {many}, "pair": [], "special_tokens": {{}}}}"#);
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    for (changes, key) in [
        (vec![("/model/vocab", r#"{"a": 4294967295}"#)], "model.vocab"),
        (vec![("/model/vocab", r#"{"a": 4294967289, "b": 0}"#)], "model.vocab"),
        (vec![("/model/vocab", r#"{"a": -1}"#)], "model.vocab"),
        (vec![("/model/vocab", r#"{"a": 0.5}"#)], "model.vocab"),
        (vec![("/model/dropout", "0.3")], "model.dropout"),
        (vec![("/model/max_input_chars_per_word", "1000000")], "model.max_input_chars_per_word"),
        (vec![("/model/continuing_subword_prefix", &long)], "model.continuing_subword_prefix"),
        (vec![("/added_tokens", r#"[{"id": 4, "content": ""}]"#)], "added_tokens[0].content"),
        (vec![("/added_tokens", r#"[{"id": 4, "content": " ", "lstrip": true}]"#)], "added_tokens[0].content"),
        (vec![("/normalizer", &doubles)], "normalizer"),
        (vec![("/normalizer", r#"{"type": "Prepend", "prepend": 5}"#), ("/decoder", &long)], "decoder"),
        (
            vec![("/normalizer", r#"{"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": ""}"#)],
            "normalizer.pattern",
        ),
        (
            vec![("/normalizer", r#"{"type": "Precompiled", "precompiled_charsmap": "/////w=="}"#)],
            "precompiled_charsmap",
        ),
        (
            vec![(
                "/pre_tokenizer",
                r#"{"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": "a*b"}, "behavior": "Isolated", "invert": false}]}"#,
            )],
            "pre_tokenizer.pretokenizers[0].pattern",
        ),
        (vec![("/pre_tokenizer", r#"{"type": "FixedLength", "length": 0}"#)], "pre_tokenizer.length"),
        (vec![("/post_processor", &template)], "post_processor.single"),
        (
            vec![("/post_processor", r#"{"type": "BertProcessing", "sep": ["s", 4294967295], "cls": ["s", 0]}"#)],
            "post_processor.sep[1]",
        ),
        (
            vec![("/post_processor", r#"{"type": "BertProcessing", "sep": ["s", -1], "cls": ["s", 0]}"#)],
            "post_processor.sep[1]",
        ),
    ] {
        let message = refused(&changes);
        assert!(message.starts_with("t.json: ") && message.contains(key), "{key}: {message}");
    }
    // Not even JSON as serde takes it.
    let nested = file(&[]).replace("\"decoder\":null", &format!("\"decoder\":{deep}"));
    assert!(check("t.json", &nested).unwrap_err().to_string().starts_with("t.json: "));
    for text in ["", "{}", "[]", "null", "\u{feff}{}"] {
        assert!(check("t.json", text).is_err(), "{text}");
    }
}

#[test]
fn tables_and_sections_are_counted() {
    let entries: Vec<String> = (0..3000).map(|n| format!("\"{n}\": {n}")).collect();
    check("t.json", &file(&[("/model/vocab", &format!("{{{}}}", entries.join(",")))])).unwrap();
    let section = format!("[{}]", vec!["[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]"; 250].join(","));
    assert!(refused(&[("/normalizer", &section)]).contains("more than 4096 values"));
    assert!(refused(&[("/model/merges", r#"[["a", "b", "c"]]"#)]).contains("a merge of 3 entries"));
    let twice =
        file(&[("/normalizer", r#"{"type": "NFC"}"#)]).replace("\"type\":\"NFC\"", "\"type\":\"NFC\",\"type\":\"NFD\"");
    assert!(check("t.json", &twice).unwrap_err().to_string().contains("twice"));
}

#[test]
fn base64_is_read() {
    assert_eq!(from_base64("TWVkMkUz").unwrap(), b"Med2E3");
    assert_eq!(from_base64("TQ==").unwrap(), b"M");
    assert_eq!(from_base64("T Q"), None);
    // A table of no entries, then one replacement.
    let table = |word: &str| [&0u32.to_le_bytes()[..], word.as_bytes(), b"\0"].concat();
    let text = |bytes: Vec<u8>| {
        let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let bits: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
        let digit = |bits: &[u8]| {
            let bits: String = bits.iter().map(|bit| *bit as char).collect();
            digits[usize::from_str_radix(&format!("{bits:0<6}"), 2).unwrap()] as char
        };
        bits.as_bytes().chunks(6).map(digit).collect::<String>()
    };
    assert!(charsmap("k", &text(table("ab"))).is_ok());
    assert!(charsmap("k", &text(table(&"a".repeat(65)))).is_err());
    assert!(charsmap("k", &text(u32::MAX.to_le_bytes().to_vec())).is_err());
    assert!(charsmap("k", "").is_err());
}
