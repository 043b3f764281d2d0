//! Whether two tokenizers make the same ids of every text, however their files are written.
//!
//! Programs write one tokenizer in many ways: with or without spaces, a vocabulary in another order, merges as pairs or as
//! words with a space between, Llama's spaces as a rule of the normalizer or of the pre-tokenizer. What decides ids is compared
//! entry by entry: the vocabulary, the merges, the added tokens, and the start token. Rules that are written in
//! another way are compared by the ids that they give for texts of every kind that a tokenizer treats in a way of its own.

use std::collections::BTreeMap;

use serde_json::Value;
use tokenizers::AddedToken;

use super::tokenizer::Tokenizer;
use crate::error::InputError;

/// The first thing in which two tokenizers differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenizerDifference {
    /// What it is in the first.
    pub first: String,
    /// What it is in the second.
    pub second: String,
}

/// Texts that tokenizers treat in ways of their own: spaces at both ends and in rows, lines, tabs, digits, cases, signs that fold
/// under forms of Unicode, scripts without spaces, bytes without an entry.
const TEXTS: [&str; 24] = [
    "a",
    " a",
    "a ",
    "  two  spaces   three ",
    "\nline\n\nlines\r\n\ttab",
    "There is no evidence of pulmonary embolism.",
    "NO ACUTE FINDING",
    "Camel CaseWord don't it's I'LL we've",
    "12345 0.75 1,000 3x4 2026-01-31",
    "x1y2z3 L4/5 T2-w +/-15% 37.5°C ±2 µm ½",
    "(a) [b] {c} <d> \"e\" 'f' `g` #h @i $j &k *l ^m ~n |o \\p /q",
    "a--b...c!!! d?! e;f: g",
    "naïve café Übergröße straße ĳ ﬁ ﬂ",
    "cafe\u{301} A\u{30a}ngstro\u{308}m",
    "左肺上叶可见结节,大小约12mm。",
    "右肺に結節を認めます。カタカナ ｶﾀｶﾅ",
    "폐 결절이 관찰됩니다",
    "В лёгких очаговых изменений нет",
    "لا توجد آفة",
    "ไม่พบความผิดปกติ",
    "\u{a0}no\u{2009}break\u{200b}zero\u{feff}mark\u{ad}",
    "🫁 👩\u{200d}⚕\u{fe0f} 𝒳 \u{10ffff} \u{1}\u{7f}",
    "▁ ▁▁a Ġa ##a </w> @@ ⁇",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];

/// The first thing in which two tokenizers differ; none where every text gets the same ids from both.
///
/// # Errors
/// [`InputError::Tokenizer`] where a tokenizer cannot be written or refuses a text.
pub fn tokenizer_difference(first: &Tokenizer, second: &Tokenizer) -> Result<Option<TokenizerDifference>, InputError> {
    if first.identity()? == second.identity()? {
        return Ok(None);
    }
    let (parts, others) = (Parts::of(first)?, Parts::of(second)?);
    let difference = entry("token", &parts.vocabulary, &others.vocabulary)
        .or_else(|| entry("added token", &parts.added, &others.added))
        .or_else(|| entry("merge", &parts.merges, &others.merges))
        .or_else(|| start(first, second));
    if difference.is_some() || parts.rules == others.rules {
        return Ok(difference);
    }
    for text in TEXTS {
        let (own, other) = (first.encode(text)?, second.encode(text)?);
        if own != other {
            let text = text.escape_debug();
            let words = |ids: Vec<i32>| format!("\"{text}\" as {}", list(&ids));
            return Ok(Some(TokenizerDifference { first: words(own), second: words(other) }));
        }
    }
    Ok(None)
}

/// What decides ids, by what a message calls it.
struct Parts {
    /// Token to id, and to its weight where it has one, by id.
    vocabulary: BTreeMap<u64, Vec<String>>,
    added: BTreeMap<u64, Vec<String>>,
    merges: BTreeMap<u64, Vec<String>>,
    /// Everything else.
    rules: Value,
}

impl Parts {
    fn of(tokenizer: &Tokenizer) -> Result<Parts, InputError> {
        let text = tokenizer.to_json()?;
        let mut rules: Value = serde_json::from_str(&text).map_err(|error| InputError::Tokenizer {
            location: "tokenizer".into(),
            expected: "JSON",
            found: error.to_string(),
        })?;
        let model = &mut rules["model"];
        let vocabulary = match model["vocab"].take() {
            // SentencePiece's: an entry's place is its id.
            Value::Array(entries) => (0..).zip(entries.iter().map(|entry| vec![words(entry)])).collect(),
            Value::Object(entries) => {
                let mut by_id: BTreeMap<u64, Vec<String>> = BTreeMap::new();
                for (token, id) in entries {
                    by_id.entry(id.as_u64().unwrap_or(u64::MAX)).or_default().push(token);
                }
                by_id.values_mut().for_each(|tokens| tokens.sort());
                by_id
            }
            _ => BTreeMap::new(),
        };
        let merges = match model["merges"].take() {
            Value::Array(merges) => (0..).zip(merges.iter().map(|merge| vec![words(merge)])).collect(),
            _ => BTreeMap::new(),
        };
        for key in ["added_tokens", "decoder", "truncation", "padding", "post_processor"] {
            rules[key].take();
        }
        let added = tokenizer.added().into_iter().map(|(id, token)| (id.into(), vec![added_words(&token)])).collect();
        Ok(Parts { vocabulary, added, merges, rules })
    }
}

/// An entry of a vocabulary or a merge as one text.
fn words(entry: &Value) -> String {
    match entry {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(words).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

/// What an added token does, where it is not alone a special token that takes no spaces.
fn added_words(token: &AddedToken) -> String {
    let AddedToken { content, single_word, lstrip, rstrip, normalized, special } = token;
    let settings = [
        (*special, "special"),
        // Special tokens are found before a text is normalized, whatever they state.
        (*normalized && !*special, "normalized"),
        (*single_word, "single word"),
        (*lstrip, "with spaces before"),
        (*rstrip, "with spaces after"),
    ];
    let settings = settings.iter().filter(|(is_set, _)| *is_set).map(|(_, word)| *word);
    settings.fold(content.clone(), |text, word| format!("{text}, {word}"))
}

/// The first entry of two tables that differs.
fn entry(
    what: &str,
    first: &BTreeMap<u64, Vec<String>>,
    second: &BTreeMap<u64, Vec<String>>,
) -> Option<TokenizerDifference> {
    let numbers = first.keys().chain(second.keys());
    let number = *numbers.filter(|number| first.get(number) != second.get(number)).min()?;
    let words = |table: &BTreeMap<u64, Vec<String>>| match table.get(&number) {
        Some(entry) => format!("{what} {number} is `{}`", entry.join("`, `")),
        None => format!("no {what} {number}"),
    };
    Some(TokenizerDifference { first: words(first), second: words(second) })
}

/// What is put before a text.
fn start(first: &Tokenizer, second: &Tokenizer) -> Option<TokenizerDifference> {
    let words = |id: Option<i32>| id.map_or("no start token".to_owned(), |id| format!("start token {id}"));
    let [first, second] = [first, second].map(Tokenizer::bos);
    (first != second).then(|| TokenizerDifference { first: words(first), second: words(second) })
}

fn list(ids: &[i32]) -> String {
    ids.iter().map(i32::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use serde_json::json;

    use super::*;

    /// A byte-level tokenizer of a few words, changed.
    fn changed(change: impl FnOnce(&mut Value)) -> Tokenizer {
        let texts = ["a lesion in the left lung", "the left lung and the right lung"];
        let trained = Tokenizer::train_bpe(texts.iter().map(|text| text.to_string()), 280, &["<|endoftext|>"]).unwrap();
        let mut file: Value = serde_json::from_str(&trained.to_json().unwrap()).unwrap();
        change(&mut file);
        loaded(&file.to_string())
    }

    fn loaded(text: &str) -> Tokenizer {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("tokenizer.json"), text).unwrap();
        Tokenizer::load(folder.path()).unwrap()
    }

    fn difference(first: &Tokenizer, second: &Tokenizer) -> Option<(String, String)> {
        let found = tokenizer_difference(first, second).unwrap();
        let other = tokenizer_difference(second, first).unwrap();
        assert_eq!(other.map(|it| (it.second, it.first)), found.clone().map(|it| (it.first, it.second)));
        found.map(|it| (it.first, it.second))
    }

    #[test]
    fn other_words_for_the_same_rules_are_no_difference() {
        let plain = changed(|_| ());
        for same in [
            changed(|file| {
                file["truncation"] =
                    json!({"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0})
            }),
            changed(|file| file["decoder"] = Value::Null),
            changed(|file| file["normalizer"] = json!({"type": "Sequence", "normalizers": []})),
            changed(|file| {
                let merges = file["model"]["merges"].as_array().unwrap();
                file["model"]["merges"] = merges.iter().map(|pair| Value::from(words(pair))).collect();
            }),
            changed(|file| {
                let split = json!({"type": "Split", "pattern": {"Regex":
                    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"},
                    "behavior": "Isolated", "invert": false});
                let bytes =
                    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
                file["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [split, bytes]});
            }),
        ] {
            assert_eq!(difference(&plain, &same), None);
        }
    }

    #[test]
    fn the_first_difference_is_named() {
        let plain = changed(|_| ());
        let said = |change: &dyn Fn(&mut Value)| {
            let (first, second) = difference(&plain, &changed(change)).unwrap();
            format!("{first}; {second}")
        };
        let exchanged = said(&|file| {
            let vocab = &mut file["model"]["vocab"];
            (vocab["a"], vocab["b"]) = (vocab["b"].clone(), vocab["a"].clone());
        });
        assert_eq!(exchanged, "token 65 is `a`; token 65 is `b`");
        let end = said(&|file| file["added_tokens"][0]["rstrip"] = true.into());
        assert_eq!(
            end,
            "added token 0 is `<|endoftext|>, special`; added token 0 is `<|endoftext|>, special, with spaces after`"
        );
        let more = said(&|file| {
            let mut token = file["added_tokens"][0].clone();
            (token["content"], token["id"]) = ("<extra>".into(), 300.into());
            file["added_tokens"].as_array_mut().unwrap().push(token);
        });
        assert!(more.starts_with("no added token"), "{more}");
        let merge = said(&|file| file["model"]["merges"].as_array_mut().unwrap().swap(0, 1));
        assert!(merge.starts_with("merge 0 is `"), "{merge}");
        let lower = said(&|file| file["normalizer"] = json!({"type": "Lowercase"}));
        assert!(lower.starts_with("\"There is no evidence of pulmonary embolism.\" as"), "{lower}");
        let prefix = said(&|file| file["pre_tokenizer"]["add_prefix_space"] = true.into());
        assert!(prefix.starts_with("\"a\" as"), "{prefix}");
    }

    #[test]
    fn a_start_token_counts() {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/templates.tokenizer.json");
        let text = fs::read_to_string(golden).unwrap();
        let mut file: Value = serde_json::from_str(&text).unwrap();
        let plain = loaded(&text);
        let (id, start) = plain.added().into_iter().next().unwrap();
        let id = i64::from(id);
        file["post_processor"] = json!({"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": start.content, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {start.content.clone(): {"id": start.content, "ids": [id], "tokens": [start.content]}}});
        let (first, second) = difference(&plain, &loaded(&file.to_string())).unwrap();
        assert_ne!(first, second);
        assert!(second == format!("start token {id}"), "{first}; {second}");
    }
}
