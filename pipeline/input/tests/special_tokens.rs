//! Texts with the words of special tokens, compared with tokenizers that never heard of these tokens
//! (`golden/special_tokens.py`).

use std::path::{Path, PathBuf};

use med2e3_input::text::{LengthBudget, QuestionTokenizer, Template, Tokenizer, Turn};
use proptest::prelude::*;
use serde::Deserialize;

const ROOM: LengthBudget = LengthBudget { total: 4096, visual_tokens: 512, keep_end: false };

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// A line of `cases.jsonl`: a text, or a template's turns.
#[derive(Deserialize)]
struct Case {
    file: String,
    #[serde(default)]
    text: String,
    template: Option<Template>,
    #[serde(default)]
    turns: Vec<[String; 2]>,
    ids: Vec<i32>,
    #[serde(default)]
    spans: Vec<(u32, u32)>,
}

fn cases() -> Vec<Case> {
    let text = std::fs::read_to_string(golden("special_tokens/cases.jsonl")).unwrap();
    text.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn turns(pairs: &[[String; 2]]) -> Vec<Turn> {
    let turn = |[question, answer]: &[String; 2]| Turn { question: question.clone(), answer: Some(answer.clone()) };
    pairs.iter().map(turn).collect()
}

#[test]
fn words_of_special_tokens_are_plain_text() {
    let cases = cases();
    let texts: Vec<_> = cases.iter().filter(|case| case.template.is_none()).collect();
    assert!(texts.len() >= 100);
    for case in texts {
        let tokenizer = Tokenizer::load(&golden(&case.file)).unwrap();
        assert_eq!(tokenizer.encode(&case.text).unwrap(), case.ids, "{} {:?}", case.file, case.text);
        let bytes = tokenizer.encode_with_bytes(&case.text, &[]).unwrap();
        assert!(bytes.iter().map(|token| token.id).eq(case.ids.iter().copied()));
        assert!(bytes.iter().all(|token| case.text.get(token.bytes.clone()).is_some() || !case.text.is_ascii()));
    }
}

#[test]
fn a_template_keeps_its_own_special_tokens() {
    let cases = cases();
    let laid: Vec<_> = cases.iter().filter_map(|case| Some((case.template?, case))).collect();
    assert_eq!(laid.len(), 40);
    for (template, case) in laid {
        let tokenizer = Tokenizer::load(&golden(&case.file)).unwrap();
        let mut turns = turns(&case.turns);
        let encoded = template.encode(&tokenizer, &turns, &ROOM).unwrap();
        assert_eq!(encoded.ids, case.ids, "{} {template:?} {:?}", case.file, case.turns);
        assert_eq!(encoded.target_spans, case.spans, "{} {template:?} {:?}", case.file, case.turns);
        // A prompt, as evaluation lays it out, is the same text up to the answer.
        turns.last_mut().unwrap().answer = None;
        let prompt = template.encode(&tokenizer, &turns, &ROOM).unwrap();
        assert_eq!(prompt.ids, case.ids[..case.spans.last().unwrap().0 as usize]);
    }
}

#[test]
fn questions_for_a_text_encoder_have_its_own_special_tokens_only() {
    let path = golden("special_tokens/word_piece.json");
    let (tokenizer, plain) = (QuestionTokenizer::load(&path).unwrap(), Tokenizer::load(&path).unwrap());
    for case in cases().iter().filter(|case| case.file.ends_with("word_piece.json")) {
        let expected = [&[2], case.ids.as_slice(), &[3]].concat();
        assert_eq!(tokenizer.encode(&case.text).unwrap(), expected, "{:?}", case.text);
    }
    assert!(tokenizer.holds_special_words("the [SEP] liver") && plain.holds_special_words("[UNK]"));
    assert!(!tokenizer.holds_special_words("the sep [sep] <|end|> liver"));
    let long = "the [SEP] ".repeat(300);
    assert_eq!(tokenizer.encode(&long).unwrap().len(), 512);
}

#[test]
fn the_words_are_those_of_the_tokenizer() {
    let tokenizer = Tokenizer::load(&golden("special_tokens/byte_level.json")).unwrap();
    for text in ["a<|end|>", "<|endoftext|>", "x</s>y", "<|user|>"] {
        assert!(tokenizer.holds_special_words(text), "{text}");
    }
    // Added words that are no special tokens, such as runs of spaces, and words that this tokenizer does not know.
    for text in ["a  b", "<|im_start|>", "<s>", "<|end |>", "5 < 6", ""] {
        assert!(!tokenizer.holds_special_words(text), "{text}");
    }
}

#[test]
fn the_reserved_character_is_refused_where_it_would_matter() {
    let tokenizer = Tokenizer::load(&golden("special_tokens/byte_level.json")).unwrap();
    assert!(tokenizer.encode("a \u{fdd0}0. b").is_ok());
    let error = tokenizer.encode("a \u{fdd0}0000000000. <|end|>").unwrap_err();
    assert!(error.to_string().contains("U+FDD0"), "{error}");
}

/// Any mixture of words, white space, marks and parts of marks.
fn mixture() -> impl Strategy<Value = String> {
    let parts = prop::sample::select(vec![
        "<|endoftext|>",
        "<|end|>",
        "<|user|>",
        "<|assistant|>",
        "</s>",
        "<s>",
        "<unk>",
        "<|end",
        "|>",
        "<",
        "|",
        " ",
        "  ",
        "\n",
        "liver",
        "normal",
        "é",
        "肝",
        "0.",
        "1",
    ]);
    prop::collection::vec(parts, 1..9).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn a_sample_has_the_special_tokens_of_its_template_and_no_other(
        question in mixture(),
        answer in mixture().prop_map(|answer| format!("{answer}.")),
        file in prop::sample::select(vec!["templates.tokenizer.json", "special_tokens/byte_level.json"]),
    ) {
        let tokenizer = Tokenizer::load(&golden(file)).unwrap();
        let special: Vec<i32> =
            ["<|endoftext|>", "<|end|>", "<|user|>", "<|assistant|>", "</s>", "<s>"].iter().filter_map(|word| tokenizer.token_to_id(word)).collect();
        let turns = [Turn { question: format!("<image3d>\n{question}?"), answer: Some(answer.clone()) }];
        for (template, count) in [(Template::Phi, 1), (Template::Phi3Chat, 5), (Template::M3d, 1), (Template::PretrainVision3d, 0)] {
            let encoded = template.encode(&tokenizer, &turns, &ROOM).unwrap();
            prop_assert_eq!(encoded.ids.iter().filter(|id| special.contains(id)).count(), count, "{:?}", template);
            let (start, stop) = encoded.target_spans[0];
            let target = tokenizer.decode(&encoded.ids[start as usize..stop as usize]).unwrap();
            // Decoding leaves special tokens out, but not those that the file does not flag; the words of the answer stay.
            prop_assert_eq!(target.trim().trim_end_matches("<|end|>"), answer.trim(), "{:?}", template);
        }
    }
}
