//! The reader of tokenizers on arbitrary bytes: an error that names the file, or a tokenizer that takes texts or refuses them.

use std::fs;

use med2e3_input::text::{QuestionTokenizer, Tokenizer};

/// Reads the bytes as a `tokenizer.json`, of a language model and of a text encoder.
pub fn tokenizer(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("tokenizer.json");
    fs::write(&path, bytes).expect("a file can be written");
    let texts = ["", "a ab  b\n<|endoftext|> \u{fdfa}\u{301}e 12 !?", &"ab ".repeat(2000)];
    match Tokenizer::load(&path) {
        Err(error) => assert!(error.to_string().contains("tokenizer.json"), "{error}"),
        Ok(tokenizer) => {
            for ids in texts.iter().filter_map(|text| tokenizer.encode(text).ok()) {
                assert!(ids.iter().all(|id| *id >= 0));
                let _ = tokenizer.decode(&ids);
            }
            let _ = tokenizer.encode_with_bytes(texts[1], &[]);
            let _ = tokenizer.to_json();
        }
    }
    if let Ok(tokenizer) = QuestionTokenizer::load(&path) {
        for text in texts {
            let _ = tokenizer.encode(text);
        }
    }
}
