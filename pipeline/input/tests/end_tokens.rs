//! Tokenizers of other families: their own end token in every template, start tokens, what the model's files name, and files
//! that are no tokenizers.

use std::fs;
use std::path::Path;

use med2e3_input::text::tokenizer::EndTokenSource;
use med2e3_input::text::{LengthBudget, Template, Tokenizer, Turn};
use serde::Deserialize;
use serde_json::{Value, json};

const ROOM: LengthBudget = LengthBudget { total: 4096, visual_tokens: 512, keep_end: false };
const PHI3: &str = "<|endoftext|>";

/// One line of `templates.jsonl`.
#[derive(Deserialize)]
struct Case {
    template: Template,
    turns: Vec<[String; 2]>,
    ids: Vec<i32>,
    spans: Vec<(u32, u32)>,
}

fn golden(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)).unwrap()
}

/// The golden tokenizer with another word for its end token, under the same id.
fn with_end(word: &str) -> Value {
    let mut file: Value = serde_json::from_str(&golden("templates.tokenizer.json")).unwrap();
    rename(&mut file, "</s>", "<|none|>");
    rename(&mut file, "<s>", "<|nothing|>");
    rename(&mut file, PHI3, word);
    file
}

fn rename(file: &mut Value, from: &str, to: &str) {
    for token in file["added_tokens"].as_array_mut().unwrap() {
        if token["content"] == from {
            token["content"] = to.into();
        }
    }
    let vocabulary = file["model"]["vocab"].as_object_mut().unwrap();
    if let Some(id) = vocabulary.remove(from) {
        vocabulary.insert(to.into(), id);
    }
}

fn load(folder: &Path, file: &Value) -> Tokenizer {
    fs::write(folder.join("tokenizer.json"), file.to_string()).unwrap();
    Tokenizer::load(folder).unwrap()
}

#[test]
fn every_template_ends_with_the_tokenizers_own_end_token() {
    let folder = tempfile::tempdir().unwrap();
    let phi3 = load(folder.path(), &with_end(PHI3));
    let lines = golden("templates.jsonl");
    let cases: Vec<Case> = lines.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
    for word in ["</s>", "<eos>", "<|im_end|>", "<|eot_id|>", "<|end_of_text|>"] {
        let tokenizer = load(folder.path(), &with_end(word));
        let end = tokenizer.end_token().unwrap();
        assert_eq!((end.text.as_str(), end.from), (word, EndTokenSource::Tokenizer));
        assert_eq!(Some(end.id), phi3.token_to_id(PHI3));
        // Words of end tokens in a text are plain, which changes the ids of texts that hold them.
        let without =
            |case: &&Case| !case.turns.iter().flatten().any(|text| text.contains(PHI3) || text.contains(word));
        for case in cases.iter().filter(without) {
            let turn =
                |[question, answer]: &[String; 2]| Turn { question: question.clone(), answer: Some(answer.clone()) };
            let turns: Vec<Turn> = case.turns.iter().map(turn).collect();
            let encoded = case.template.encode(&tokenizer, &turns, &ROOM).unwrap();
            assert_eq!(encoded.ids, case.ids, "{word} {:?}", case.turns);
            assert_eq!(encoded.target_spans, case.spans, "{word} {:?}", case.turns);
        }
        // The end token's words in an answer end nothing, and no span moves.
        let turns = ["It is 4.", &format!("It ends{word} here"), "Last."]
            .map(|answer| Turn { question: "<image3d>\nWhat?".into(), answer: Some(answer.into()) });
        for template in [Template::Phi, Template::M3d] {
            let encoded = template.encode(&tokenizer, &turns, &ROOM).unwrap();
            let ends = encoded.ids.iter().filter(|id| **id == end.id).count();
            assert_eq!(ends, if template == Template::Phi { 3 } else { 1 }, "{word}");
            let text = |span: &(u32, u32)| tokenizer.decode(&encoded.ids[span.0 as usize..span.1 as usize]).unwrap();
            let texts: Vec<String> = encoded.target_spans.iter().map(|span| text(span).trim().to_owned()).collect();
            assert_eq!(texts, ["It is 4.", &format!("It ends{word} here"), "Last."], "{word}");
        }
    }
}

#[test]
fn the_models_own_files_name_the_end_token_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = with_end(PHI3);
    let added = file["added_tokens"].as_array_mut().unwrap();
    let mut token = added[0].clone();
    (token["content"], token["id"]) = ("<|im_end|>".into(), 100_000.into());
    added.push(token);
    let found = |file: &Value| load(folder.path(), file).end_token().map(|end| (end.text.clone(), end.from)).unwrap();
    assert_eq!(found(&file), (PHI3.into(), EndTokenSource::Tokenizer));
    let named = |name: &str, value: Value| fs::write(folder.path().join(name), value.to_string()).unwrap();
    named("special_tokens_map.json", json!({"eos_token": {"content": "<|im_end|>", "special": true}}));
    assert_eq!(found(&file), ("<|im_end|>".into(), EndTokenSource::ModelFiles));
    named("tokenizer_config.json", json!({"eos_token": PHI3}));
    assert_eq!(found(&file).0, PHI3);
    named("tokenizer_config.json", json!({"eos_token": null}));
    assert_eq!(found(&file).0, "<|im_end|>");
    named("tokenizer_config.json", json!({"eos_token": "<|nowhere|>"}));
    let error = Tokenizer::load(folder.path()).unwrap_err().to_string();
    assert!(error.contains("tokenizer_config.json") && error.contains("<|nowhere|>"), "{error}");
}

#[test]
fn a_start_token_stands_first_whether_or_not_an_end_token_is_added_too() {
    let folder = tempfile::tempdir().unwrap();
    let (start, end) =
        (json!({"SpecialToken": {"id": "<s>", "type_id": 0}}), json!({"SpecialToken": {"id": "</s>", "type_id": 0}}));
    let text = json!({"Sequence": {"id": "A", "type_id": 0}});
    let mut file = with_end("</s>");
    let before = load(folder.path(), &file);
    let end_id = before.end_token().unwrap().id;
    // The next id, which the library gives to an added token.
    let start_id = before.largest_id().unwrap() as i32 + 1;
    let added = file["added_tokens"].as_array_mut().unwrap();
    let mut token = added[0].clone();
    (token["content"], token["id"]) = ("<s>".into(), start_id.into());
    added.push(token);
    for (single, bos, ends) in [
        (json!([start, text]), Some(start_id), false),
        (json!([start, text, end]), Some(start_id), true),
        (json!([text, end]), None, true),
        (json!([text]), None, false),
    ] {
        let named = |id: &str, number: i32| json!({"id": id, "ids": [number], "tokens": [id]});
        file["post_processor"] = json!({
            "type": "TemplateProcessing", "single": single, "pair": [text, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": named("<s>", start_id), "</s>": named("</s>", end_id)}
        });
        let tokenizer = load(folder.path(), &file);
        assert_eq!((tokenizer.bos(), tokenizer.ends_texts()), (bos, ends));
        for template in [Template::Phi, Template::M3d] {
            let turn = Turn { question: "<image3d>\nWhat is it?".into(), answer: Some("A liver.".into()) };
            let ids = template.encode(&tokenizer, &[turn], &ROOM).unwrap().ids;
            assert_eq!(ids.iter().filter(|id| Some(**id) == bos).count(), usize::from(bos.is_some()));
            assert_eq!(ids.first().copied().filter(|_| bos.is_some()), bos);
            assert_eq!(ids.iter().filter(|id| **id == end_id).count(), 1);
        }
    }
}

#[test]
fn files_that_are_no_tokenizers_are_called_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let message = |text: &str| {
        fs::write(folder.path().join("tokenizer.json"), text).unwrap();
        Tokenizer::load(folder.path()).unwrap_err().to_string()
    };
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n";
    assert!(message(pointer).contains("git-lfs"), "{}", message(pointer));
    assert!(message("{}").contains("tokenizer.json"), "{}", message("{}"));

    // A template whose marks are missing names the first.
    let mut file = with_end("</s>");
    rename(&mut file, "<|user|>", "<|nobody|>");
    let tokenizer = load(folder.path(), &file);
    let error = Template::Phi3Chat.check(&tokenizer).unwrap_err().to_string();
    assert!(error.contains("<|user|>"), "{error}");
    Template::Phi.check(&tokenizer).unwrap();
}
