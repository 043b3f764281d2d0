//! Tokenizer and templates: formats, spans, budget.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use med2e3_input::text::template::{self, END_TOKEN};
use med2e3_input::text::{EncodedText, IMAGE3D, LengthBudget, Template, Tokenizer, Turn};
use proptest::prelude::*;

const ROOM: LengthBudget = LengthBudget { total: 4096, visual_tokens: 512, keep_end: false };

fn tokenizer() -> Tokenizer {
    let texts = [
        "A chat between a curious user and an artificial intelligence assistant.",
        "USER: What does the scan show? ASSISTANT: The liver is normal.",
        "USER: Which plane is this? ASSISTANT: Axial. The liver and the spleen are normal.",
    ];
    Tokenizer::train_bpe(texts.iter().cycle().take(30).map(|text| (*text).to_owned()), 400, &["<pad>", END_TOKEN])
        .unwrap()
}

fn turn(question: &str, answer: Option<&str>) -> Turn {
    Turn { question: question.to_owned(), answer: answer.map(str::to_owned) }
}

fn targets(tokenizer: &Tokenizer, encoded: &EncodedText) -> Vec<String> {
    let text = |span: &(u32, u32)| tokenizer.decode(&encoded.ids[span.0 as usize..span.1 as usize]).unwrap();
    encoded.target_spans.iter().map(text).collect()
}

#[test]
fn training_is_deterministic_and_a_saved_tokenizer_is_equal() {
    let (a, b) = (tokenizer(), tokenizer());
    let folder = tempfile::tempdir().unwrap();
    let (path, other) = (folder.path().join("tokenizer.json"), folder.path().join("other.json"));
    fs::write(&path, a.to_json().unwrap()).unwrap();
    fs::write(&other, b.to_json().unwrap()).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(&other).unwrap());
    let loaded = Tokenizer::load(folder.path()).unwrap();
    assert_eq!(loaded.vocab_size(), a.vocab_size());
    assert_eq!((loaded.token_to_id("<pad>"), loaded.token_to_id(END_TOKEN), loaded.bos()), (Some(0), Some(1), None));
    let text = "The liver is normal: é, 肝, \u{1f600}.";
    let ids = loaded.encode(text).unwrap();
    assert_eq!(ids, a.encode(text).unwrap());
    assert_eq!(loaded.decode(&ids).unwrap(), text);
    assert_eq!(loaded.decode(&[IMAGE3D, 1]).unwrap(), "");
}

#[test]
fn the_error_of_a_missing_tokenizer_suggests_a_fix() {
    let error = Tokenizer::load(Path::new("/nowhere/tokenizer.json")).unwrap_err();
    assert_eq!(error.reason().as_str(), "not_found");
    let message = error.to_string();
    assert!(message.contains("/nowhere/tokenizer.json") && message.contains("copy it"), "{message}");
}

#[test]
fn phi_is_one_text_around_its_images() {
    let tokenizer = tokenizer();
    let turns = [turn(" <image3d>\nWhat is it? ", Some(" Axial. ")), turn("And the liver?", Some("Normal."))];
    let encoded = Template::Phi.encode(&tokenizer, &turns, &ROOM).unwrap();
    let system = "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, \
        detailed, and polite answers to the user's questions. USER: ";
    let rest = "\nWhat is it? ASSISTANT: Axial.<|endoftext|>USER: And the liver? ASSISTANT: Normal.<|endoftext|>";
    let marks: Vec<_> = rest.match_indices(END_TOKEN).map(|(at, mark)| at..at + mark.len()).collect();
    let rest = tokenizer.encode_with_bytes(rest, &marks).unwrap().into_iter().map(|token| token.id).collect();
    let expected = [tokenizer.encode(system).unwrap(), vec![IMAGE3D], rest].concat();
    assert_eq!(encoded.ids, expected);
    assert_eq!(targets(&tokenizer, &encoded), [" Axial.", " Normal."]);
    let end = tokenizer.token_to_id(END_TOKEN).unwrap();
    assert!(encoded.target_spans.iter().all(|span| encoded.ids[span.1 as usize - 1] == end));
    assert_eq!((encoded.images, encoded.truncated, encoded.ids_cut), (1, false, 0));
}

#[test]
fn a_prompt_ends_where_the_answer_would_start() {
    let tokenizer = tokenizer();
    let encoded = Template::Phi.encode(&tokenizer, &[turn("<image3d>\nWhat?", None)], &ROOM).unwrap();
    assert!(encoded.target_spans.is_empty());
    assert!(tokenizer.decode(&encoded.ids).unwrap().ends_with("What? ASSISTANT:"));
    let small = LengthBudget { total: 515, ..ROOM };
    let error = Template::Phi.encode(&tokenizer, &[turn("<image3d>\nWhat?", None)], &small).unwrap_err();
    assert_eq!(error.reason().as_str(), "bad_row");
}

#[test]
fn pretraining_is_the_image_and_the_caption() {
    let tokenizer = tokenizer();
    for question in ["<image3d>\nDescribe.", "Describe."] {
        let encoded = Template::PretrainVision3d
            .encode(&tokenizer, &[turn(question, Some("The liver is normal.\n"))], &ROOM)
            .unwrap();
        assert_eq!(encoded.ids[0], IMAGE3D);
        assert_eq!(encoded.ids[1..], tokenizer.encode("The liver is normal.").unwrap());
        assert_eq!(encoded.target_spans, [(1, encoded.ids.len() as u32)]);
    }
    let two =
        Template::PretrainVision3d.encode(&tokenizer, &[turn("<image3d><image3d>", Some("Both."))], &ROOM).unwrap();
    assert_eq!((two.images, two.ids[..2].to_vec()), (2, vec![IMAGE3D; 2]));
    let turns = [turn("First.", Some("One.")), turn("<image3d>", Some("Two.")), turn("Third.", Some("Three."))];
    let three = Template::PretrainVision3d.encode(&tokenizer, &turns, &ROOM).unwrap();
    assert_eq!(targets(&tokenizer, &three), ["One.", "Two.", "Three."]);
    assert_eq!(tokenizer.decode(&three.ids).unwrap(), "One.Two. Three.");
    assert_eq!(three.images, 2);
}

#[test]
fn the_budget_cuts_the_end_and_can_keep_the_end_token() {
    let tokenizer = tokenizer();
    let turns = [turn("<image3d>\nWhat?", Some("The liver is normal. The spleen is normal."))];
    let whole = Template::Phi.encode(&tokenizer, &turns, &ROOM).unwrap();
    let positions = whole.ids.len() + 511;
    let exact = LengthBudget { total: positions, ..ROOM };
    assert_eq!(Template::Phi.encode(&tokenizer, &turns, &exact).unwrap(), whole);
    let short = LengthBudget { total: positions - 3, ..ROOM };
    let cut = Template::Phi.encode(&tokenizer, &turns, &short).unwrap();
    assert_eq!((cut.truncated, cut.ids_cut), (true, 3));
    assert_eq!(cut.ids, whole.ids[..whole.ids.len() - 3]);
    let ended = Template::Phi.encode(&tokenizer, &turns, &LengthBudget { keep_end: true, ..short }).unwrap();
    assert_eq!(ended.ids.last().copied(), tokenizer.token_to_id(END_TOKEN));
    assert_eq!((ended.ids.len(), &ended.target_spans), (cut.ids.len(), &cut.target_spans));
    let none = LengthBudget { total: 520, ..ROOM };
    assert_eq!(Template::Phi.encode(&tokenizer, &turns, &none).unwrap_err().reason().as_str(), "no_target");
}

#[test]
fn conversations_that_cannot_be_formatted_are_refused() {
    let tokenizer = tokenizer();
    let reason = |turns: &[Turn]| Template::Phi.encode(&tokenizer, turns, &ROOM).unwrap_err().reason().as_str();
    assert_eq!(reason(&[]), "bad_row");
    assert_eq!(reason(&[turn("a", None), turn("b", Some("c"))]), "bad_row");
    assert_eq!(reason(&[turn("a", Some(" \n"))]), "missing_answer");
    assert_eq!(reason(&[turn("<image>\na", Some("b"))]), "unsupported_image2d");
    assert_eq!(reason(&[turn("a", Some("see <image3d>"))]), "bad_row");
}

#[test]
fn instructions_are_questions_without_images() {
    assert_eq!(template::with_image("What?"), "<image3d>\nWhat?");
    assert_eq!(template::instruction("<image3d>\nWhat? Choices: A. x"), "What? Choices: A. x");
    let words =
        ["phi", "pretrain_vision3d"].map(|word| serde_json::from_str::<Template>(&format!("\"{word}\"")).unwrap());
    assert_eq!(words, [Template::Phi, Template::PretrainVision3d]);
}

static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(tokenizer);

proptest! {
    #[test]
    fn spans_hold_exactly_the_answers(answers in prop::collection::vec("[a-zA-Zé肝 .,\n]{0,20}[a-z.]", 1..4)) {
        let tokenizer = &*TOKENIZER;
        let turns = answers.iter().map(|answer| turn("<image3d>\nWhat?", Some(answer))).collect::<Vec<_>>();
        let encoded = Template::Phi.encode(tokenizer, &turns, &ROOM).unwrap();
        let expected = answers.iter().map(|answer| format!(" {}", answer.trim())).collect::<Vec<_>>();
        prop_assert_eq!(targets(tokenizer, &encoded), expected);
        prop_assert_eq!(encoded.images, turns.len());
    }
}
