//! Tokenizers and texts from strangers: an error in words, in moderate memory; never a panic.

use std::fs;
use std::path::Path;

use med2e3_input::InputError;
use med2e3_input::text::{QuestionTokenizer, Tokenizer};
use serde_json::{Value, json};

/// The largest memory that this process has had so far, in MiB.
fn peak_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()).map_or(0, |kib| kib >> 10)
}

/// A small tokenizer with other values at some keys, loaded from a file.
fn load(changes: &[(&str, Value)]) -> Result<Tokenizer, InputError> {
    let mut file = json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "pre_tokenizer": null,
        "post_processor": null, "decoder": null, "added_tokens": [],
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "<unk>": 3}, "merges": ["a b"], "unk_token": "<unk>"}
    });
    for (pointer, value) in changes {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        file.pointer_mut(parent).unwrap()[key] = value.clone();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    fs::write(&path, file.to_string()).unwrap();
    let asks = QuestionTokenizer::load(&path);
    let loaded = Tokenizer::load(&path);
    if let (Err(error), Err(other)) = (&asks, &loaded) {
        assert!(error.to_string().contains("tokenizer.json") && other.to_string().contains("tokenizer.json"));
    }
    loaded
}

#[test]
fn a_panic_of_the_library_is_an_error() {
    // A table of replacements whose tree leads out of it.
    let tree = [4u32.to_le_bytes(), 0xffff_fc00u32.to_le_bytes()].concat();
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits: String = tree.iter().map(|byte| format!("{byte:08b}")).collect();
    let digit = |bits: &[u8]| {
        let bits = std::str::from_utf8(bits).unwrap();
        digits[usize::from_str_radix(&format!("{bits:0<6}"), 2).unwrap()] as char
    };
    let text: String = bits.as_bytes().chunks(6).map(digit).collect::<String>() + "=";
    let error = load(&[("/normalizer", json!({"type": "Precompiled", "precompiled_charsmap": text}))]).unwrap_err();
    assert!(error.to_string().contains("panics"), "{error}");
    // Merges of what is no token, a prefix longer than what follows it.
    assert!(load(&[("/model/merges", json!(["a x"]))]).is_err());
    assert!(load(&[("/model/continuing_subword_prefix", json!("abcdef"))]).is_err());
    // A decoder that strips more than a token has.
    let strips = load(&[("/decoder", json!({"type": "Strip", "content": "a", "start": 0, "stop": 3}))]).unwrap();
    assert!(strips.decode(&[0, 0]).is_err());
}

#[test]
fn what_may_take_for_ever_is_refused_and_what_families_have_is_not() {
    let split = |pattern: &str| {
        let split = json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
        let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
        load(&[("/pre_tokenizer", json!({"type": "Sequence", "pretokenizers": [split, bytes]}))])
    };
    for pattern in ["(a+)+$", "(a|aa)*b", "a*b", r"(?<=a)b", r"\s+$"] {
        let error = split(pattern).unwrap_err().to_string();
        assert!(error.contains("tokenizer.json: pre_tokenizer.pretokenizers[0].pattern"), "{error}");
    }
    let qwen2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    let tokenizer = split(qwen2).unwrap();
    assert_eq!(tokenizer.encode("ab abb").unwrap().len(), 4);
    // Every kind of run, half a million long: each is looked at a few times at most.
    for run in ["a", "7", " ", "\n", "!", "a ", "'s", "\u{300}", " \n", "a\u{300}"] {
        tokenizer.encode(&run.repeat((1 << 19) / run.len())).unwrap();
    }
    assert!(peak_mib() < 1000, "{} MiB", peak_mib());
}

#[test]
fn a_text_that_grows_is_refused_before_it_has_grown() {
    let tokenizer = load(&[("/normalizer", json!({"type": "NFKC"}))]).unwrap();
    // One character that NFKC makes 18 of.
    assert!(tokenizer.encode(&"\u{fdfa}".repeat(1000)).is_ok());
    let error = tokenizer.encode(&"\u{fdfa}".repeat(300_000)).unwrap_err();
    assert_eq!(error.reason().as_str(), "too_large", "{error}");
    let grows = json!({"type": "Replace", "pattern": {"String": "a"}, "content": "a".repeat(20)});
    let error = load(&[("/normalizer", grows)]).unwrap().encode(&"a".repeat(1 << 20)).unwrap_err();
    assert!(matches!(error, InputError::TextTooLong { .. }), "{error}");
    assert!(peak_mib() < 1000, "{} MiB", peak_mib());
}

#[test]
fn a_long_run_takes_no_part_in_training() {
    let texts = || (0..30).map(|n| format!("The liver {n} and the spleen are normal, as are the kidneys."));
    let plain = Tokenizer::train_bpe(texts(), 320, &["<|endoftext|>"]).unwrap();
    for run in ["ab".repeat(200_000), "\u{4e00}".repeat(100_000), " ".repeat(300_000), "?".repeat(300_000)] {
        let with = texts().chain([format!("{run} {run}\n{run}")]);
        assert_eq!(
            Tokenizer::train_bpe(with, 320, &["<|endoftext|>"]).unwrap().to_json().unwrap(),
            plain.to_json().unwrap()
        );
        assert!(plain.encode(&run).unwrap().len() > 1000);
    }
}

#[test]
fn a_large_file_or_a_pipe_is_no_tokenizer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let error = Tokenizer::load(&path).unwrap_err().to_string();
    assert!(error.contains("at most 64 MiB"), "{error}");
    if Path::new("/dev/null").exists() {
        assert!(Tokenizer::load(Path::new("/dev/null")).unwrap_err().to_string().contains("a pipe or a device"));
    }
}
