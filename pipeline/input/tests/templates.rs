//! Templates and question tokenizers compared with transformers: ids of the whole text, and target spans.

use std::path::{Path, PathBuf};

use med2e3_input::text::template::IMAGE3D_TOKEN;
use med2e3_input::text::{LengthBudget, QuestionTokenizer, Template, Tokenizer, Turn};
use med2e3_schemas::sample::Task;
use serde::Deserialize;

const ROOM: LengthBudget = LengthBudget { total: 4096, visual_tokens: 512, keep_end: false };

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// One line of `templates.jsonl`.
#[derive(Deserialize)]
struct Case {
    template: Template,
    turns: Vec<[String; 2]>,
    ids: Vec<i32>,
    spans: Vec<(u32, u32)>,
}

fn cases() -> Vec<Case> {
    let text = std::fs::read_to_string(golden("templates.jsonl")).unwrap();
    text.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn turns(case: &Case) -> Vec<Turn> {
    let turn = |[question, answer]: &[String; 2]| Turn { question: question.clone(), answer: Some(answer.clone()) };
    case.turns.iter().map(turn).collect()
}

fn tokenizer() -> Tokenizer {
    Tokenizer::load(&golden("templates.tokenizer.json")).unwrap()
}

#[test]
fn every_template_has_the_ids_and_targets_of_one_encoding_of_the_whole_text() {
    let tokenizer = tokenizer();
    let cases = cases();
    for case in &cases {
        let encoded = case.template.encode(&tokenizer, &turns(case), &ROOM).unwrap();
        assert_eq!(encoded.ids, case.ids, "{:?} {:?}", case.template, case.turns);
        assert_eq!(encoded.target_spans, case.spans, "{:?} {:?}", case.template, case.turns);
        let images = case.turns.iter().map(|[question, _]| question.matches(IMAGE3D_TOKEN).count()).sum::<usize>();
        assert_eq!(encoded.images, images);
    }
    for template in [Template::Phi, Template::Phi3Chat, Template::M3d, Template::PretrainVision3d] {
        assert!(cases.iter().any(|case| case.template == template), "{template:?} has no case");
    }
}

#[test]
fn a_prompt_is_the_text_up_to_the_last_answer() {
    let tokenizer = tokenizer();
    for case in cases() {
        let mut turns = turns(&case);
        turns.last_mut().unwrap().answer = None;
        let prompt = case.template.encode(&tokenizer, &turns, &ROOM).unwrap();
        let (start, _) = *case.spans.last().unwrap();
        assert_eq!(prompt.ids, case.ids[..start as usize], "{:?} {:?}", case.template, case.turns);
        assert!(prompt.target_spans.is_empty());
    }
}

#[test]
fn the_budget_counts_images_and_truncation_keeps_spans_correct() {
    let (tokenizer, visual_tokens) = (tokenizer(), 9);
    for case in cases().iter().filter(|case| case.turns.len() > 1 || case.template == Template::Phi3Chat) {
        let turns = turns(case);
        let images = case.ids.iter().filter(|id| **id < 0).count();
        let whole = case.ids.len() + images * (visual_tokens - 1);
        for total in 1..=whole {
            for keep_end in [false, true] {
                let budget = LengthBudget { total, visual_tokens, keep_end };
                let Ok(encoded) = case.template.encode(&tokenizer, &turns, &budget) else {
                    assert!(total < whole);
                    continue;
                };
                let positions = encoded.ids.len() + encoded.images * (visual_tokens - 1);
                assert!(positions <= total, "{positions} of {total}");
                assert_eq!(encoded.truncated, total < whole);
                assert_eq!(encoded.ids_cut, case.ids.len() - encoded.ids.len());
                assert_eq!(encoded.images, encoded.ids.iter().filter(|id| **id < 0).count());
                let (start, stop) = *encoded.target_spans.last().unwrap();
                let cut = encoded.target_spans.iter().zip(&case.spans).any(|(found, whole)| found.1 < whole.1);
                let replaced = usize::from(cut && keep_end);
                let same = encoded.ids.len() - replaced;
                assert_eq!(encoded.ids[..same], case.ids[..same]);
                if cut {
                    assert_eq!(stop as usize, encoded.ids.len());
                }
                if cut && keep_end {
                    assert!(stop - start >= 2, "the end token alone is no answer");
                    let end = if case.template == Template::Phi3Chat { "<|end|>" } else { "<|endoftext|>" };
                    assert_eq!(encoded.ids.last().copied(), tokenizer.token_to_id(end));
                }
            }
        }
    }
}

#[test]
fn the_start_token_comes_before_the_images_of_m3d() {
    let text = std::fs::read_to_string(golden("templates.tokenizer.json")).unwrap();
    let mut file: serde_json::Value = serde_json::from_str(&text).unwrap();
    file["post_processor"] = serde_json::json!({
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}
    });
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tokenizer.json"), file.to_string()).unwrap();
    let tokenizer = Tokenizer::load(folder.path()).unwrap();
    for case in cases().iter().filter(|case| case.template == Template::M3d) {
        let encoded = Template::M3d.encode(&tokenizer, &turns(case), &ROOM).unwrap();
        assert_eq!(encoded.ids, [&[1], case.ids.as_slice()].concat());
    }
}

#[test]
fn image_marks_have_the_separator_of_each_template() {
    assert_eq!(Template::M3d.with_image(Task::Caption, "Describe."), "<image3d>Describe.");
    assert_eq!(Template::M3d.with_image(Task::OpenVqa, "What?"), "<image3d> What?");
    for template in [Template::Phi, Template::Phi3Chat, Template::PretrainVision3d] {
        assert_eq!(template.with_image(Task::Caption, "Describe."), "<image3d>\nDescribe.");
    }
    let tokenizer = tokenizer();
    let ids = |question: &str| {
        let turn = Turn { question: question.to_owned(), answer: None };
        Template::M3d.encode(&tokenizer, &[turn], &ROOM).unwrap().ids
    };
    assert_eq!(ids("<image3d> What?"), ids("<image3d>\nWhat?"));
    assert_ne!(ids("<image3d> What?"), ids("<image3d>What?"));
}

#[test]
fn a_tokenizer_without_the_marks_is_refused() {
    let texts = ["A text.".to_owned(), "A text.".to_owned()];
    let tokenizer = Tokenizer::train_bpe(texts.into_iter(), 300, &["<|endoftext|>"]).unwrap();
    assert!(Template::Phi.check(&tokenizer).is_ok() && Template::M3d.check(&tokenizer).is_ok());
    let error = Template::Phi3Chat.check(&tokenizer).unwrap_err();
    assert!(error.to_string().contains("<|user|>"), "{error}");
    assert_eq!(error.reason().as_str(), "text_unreadable");
}

#[test]
fn question_ids_are_those_of_transformers() {
    let tokenizer = QuestionTokenizer::load(&golden("question_tokenizer.json")).unwrap();
    let text = std::fs::read_to_string(golden("question_tokenizer.txt")).unwrap();
    let mut long = 0;
    for line in text.lines().skip(1) {
        let (question, expected) = line.split_once(" | ").unwrap();
        let ids = tokenizer.encode(&serde_json::from_str::<String>(question).unwrap()).unwrap();
        let shown = if ids.len() > 100 { [&[ids.len() as i32], &ids[ids.len() - 3..]].concat() } else { ids };
        long += usize::from(shown[0] == 512);
        assert_eq!(shown.iter().map(i32::to_string).collect::<Vec<_>>().join(","), expected, "{question}");
    }
    assert_eq!(long, 1, "one question is cut");
    let missing = QuestionTokenizer::load(Path::new("nowhere/vocab.json")).unwrap_err();
    assert_eq!(missing.reason().as_str(), "not_found");
}
