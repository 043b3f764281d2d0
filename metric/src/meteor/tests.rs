//! What NLTK makes of 320 generated pairs and of every word of WordNet, beside what is made of them here.
//!
//! `golden/make_golden.py` writes `golden/pairs.json`, `golden/lexicon.py` gives the digests. Tests in `with_wordnet` read the
//! folder that `MED2E3_WORDNET` names, or `.wordnet/` of the checkout, which `cargo xtask setup --wordnet` makes.

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::Value;

use super::porter::{Mode, stem};
use super::*;
use crate::text::strip;

const MODES: [Mode; 3] = [Mode::Nltk, Mode::Martin, Mode::Original];

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/pairs.json")).unwrap()
}

/// Both texts, and what the release made of them; the later one is noted where it differs.
fn rows<'a>(golden: &'a Value, release: Release) -> Vec<([&'a str; 2], &'a Value)> {
    let texts = |row: &'a Value| ["prediction", "reference"].map(|side| row[side].as_str().unwrap());
    let rows = golden["pairs"].as_array().unwrap().iter();
    rows.map(|row| (texts(row), row.get(release.name()).unwrap_or(&row["3.8.1"]))).collect()
}

#[test]
fn words_are_those_of_nltk() {
    let golden = golden();
    for release in Release::ALL {
        let rows = rows(&golden, release);
        assert!(rows.len() > 300);
        for (texts, made) in rows {
            let words = texts.map(|text| word_tokenize(strip(text), release));
            assert_eq!(serde_json::json!(words), made["tokens"], "{texts:?} by {}", release.name());
        }
    }
}

#[test]
fn stems_are_those_of_nltk_in_every_mode() {
    let golden = golden();
    let stems = golden["stems"].as_object().unwrap();
    assert!(stems.len() > 300);
    for (word, expected) in stems {
        assert_eq!(&serde_json::json!(MODES.map(|mode| stem(word, mode))), expected, "{word}");
    }
}

#[test]
fn an_irregular_word_is_no_rule_s() {
    assert_eq!(stem("Skies", Mode::Nltk), "sky");
    assert_eq!(MODES.map(|mode| stem("skies", mode)), ["sky", "ski", "ski"]);
    assert_eq!(MODES.map(|mode| stem("as", mode)), ["as", "as", "a"]);
}

mod with_wordnet {
    use std::path::PathBuf;
    use std::sync::LazyLock;
    use std::{env, fs};

    use sha2::{Digest, Sha256};

    use super::*;

    static WORDNET: LazyLock<PathBuf> = LazyLock::new(|| {
        let checkout = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../.wordnet");
        let folder = env::var_os("MED2E3_WORDNET").map_or(checkout, PathBuf::from);
        assert!(folder.is_dir(), "{} is absent: run `cargo xtask setup --wordnet`", folder.display());
        folder
    });

    fn open() -> WordNet {
        WordNet::open(&WORDNET).unwrap()
    }

    #[test]
    fn pairs_score_as_in_nltk() {
        let golden = golden();
        let mut stages = [0; 3];
        for release in Release::ALL {
            let meteor = Meteor::new(open(), release);
            for (texts, made) in rows(&golden, release) {
                let score = meteor.score(texts[0], texts[1]);
                assert_eq!(
                    serde_json::json!([score.aligned, score.chunks]),
                    serde_json::json!([made["aligned"], made["chunks"]])
                );
                let off = score.value - made["meteor"].as_f64().unwrap();
                assert!(off.abs() < 1e-9, "{texts:?} is off by {off} from {}", release.name());
                stages = [0, 1, 2].map(|stage| stages[stage] + score.aligned[stage]);
            }
        }
        assert!(stages.iter().all(|found| *found > 50), "a stage is hardly tested: {stages:?}");
    }

    #[test]
    fn an_empty_text_scores_nothing() {
        let meteor = Meteor::new(open(), Release::default());
        let nothing = Score { value: 0.0, aligned: [0; 3], chunks: 0 };
        assert_eq!(meteor.score("", "liver"), nothing);
        assert_eq!(meteor.score("liver", " \u{1c}\n"), nothing);
        assert_eq!(meteor.score("", ""), nothing);
    }

    /// Single words of the four indexes and exception lists, and every seventh of them with suffixes.
    fn lexicon() -> Vec<String> {
        let mut words = BTreeSet::new();
        for part in ["noun", "verb", "adj", "adv"] {
            let read = |name: String| fs::read_to_string(WORDNET.join(name)).unwrap();
            let index = read(format!("index.{part}"));
            let lemmas = index.lines().filter(|line| !line.starts_with(" "));
            let exceptions = read(format!("{part}.exc"));
            let first = |line: &str| line.split_whitespace().next().unwrap().to_string();
            words.extend(lemmas.chain(exceptions.lines()).map(first).filter(|word| !word.contains('_')));
        }
        let suffixes = ["s", "es", "ed", "ing", "er", "est", "ly", "ational", "fulness", "iveness"];
        let some: Vec<String> = words.iter().step_by(7).cloned().collect();
        words.extend(some.iter().flat_map(|word| suffixes.map(|suffix| format!("{word}{suffix}"))));
        words.into_iter().collect()
    }

    fn digest(lines: impl Iterator<Item = String>) -> String {
        let mut hash = Sha256::new();
        lines.for_each(|line| hash.update(line + "\n"));
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn every_word_of_the_lexicon_has_nltk_s_stems_and_synonyms() {
        let words = lexicon();
        assert_eq!(words.len(), 212_740);
        let stems = words.iter().map(|word| {
            let stems = MODES.map(|mode| stem(word, mode));
            format!("{word}\t{}", stems.join("\t"))
        });
        assert_eq!(digest(stems), "8032f84635186a3e646455515f0a7880dcecea39547a5e1ef3e6106a13026e38");
        let wordnet = open();
        for (release, expected) in [
            (Release::V3_8_1, "1a3e1392d0ea51957dbcf605e95e60d704831c02aa0cc0dd7d99c8d2a8290f81"),
            (Release::V3_10, "a6d78e7827111b7bf1f631ea5a5298f38f30587b1ea43f5c419cf02635b884c4"),
        ] {
            let synonyms = words.iter().map(|word| format!("{word}\t{}", wordnet.synonyms(word, release).join(" ")));
            assert_eq!(digest(synonyms), expected, "{release:?}");
        }
    }

    #[test]
    fn time_grows_no_faster_than_a_text() {
        let meteor = Release::ALL.map(|release| Meteor::new(open(), release));
        #[rustfmt::skip]
        let pieces = [
            "a ", "a. ", ". ", ".", "!", "a!", "a.\n", "'", "''", "\"", "`", "x' ", "'a ", "-", "- ", "es", "eded ",
            "y", "cannot", "cannot ", "n't ", "more'n ", "U.S. ", "5. ", "tumour ", "neoplasm mass. ", "liver, ",
            "(", ") ", ":", ",", "é", "é'", "\u{2003}", "”.", ".\u{a0}",
        ];
        // Ten short texts take as long as one of ten times the length; were time to grow by the square, they would take a tenth.
        let seconds = |characters: usize, times: usize| {
            let started = Instant::now();
            for piece in pieces {
                let text = piece.repeat(characters / piece.chars().count());
                for meteor in meteor.iter().cycle().take(meteor.len() * times) {
                    let score = meteor.score(&text, "The tumour, a neoplasm, is a large mass.");
                    assert!(score.value < 0.5, "{piece}");
                    meteor.score("a tumour. . .", &text);
                    meteor.score(&text, &text);
                }
            }
            started.elapsed().as_secs_f64()
        };
        let (short, long) = (seconds(4_000, 10), seconds(40_000, 1));
        assert!(long < 4.0 * short, "{long} s and {short} s");
    }

    /// A copy of WordNet in which one file is another.
    fn with_file(name: &str, change: impl Fn(String) -> String) -> Result<WordNet, WordNetError> {
        let folder = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(&*WORDNET).unwrap() {
            let entry = entry.unwrap();
            std::os::unix::fs::symlink(entry.path().canonicalize().unwrap(), folder.path().join(entry.file_name()))
                .unwrap();
        }
        let path = folder.path().join(name);
        let text = fs::read_to_string(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, change(text)).unwrap();
        WordNet::open(folder.path())
    }

    /// The error without the folder.
    fn said(name: &str, change: impl Fn(String) -> String) -> String {
        let error = with_file(name, change).err().expect("a changed file is found").to_string();
        error[error.find(name).unwrap_or(0)..].to_string()
    }

    #[test]
    fn another_version_and_damage_are_named() {
        let version =
            said("index.verb", |text| text.replace("WordNet 3.0 Copyright 2006", "WordNet 3.1 Copyright 2011"));
        assert_eq!(version, "index.verb: WordNet 3.0 is needed, this is WordNet 3.1");
        let none = said("data.adv", |text| text.lines().skip(29).map(|line| format!("{line}\n")).collect());
        assert_eq!(none, "data.adv: WordNet 3.0 is needed, this is a file without its licence");
        let cut = said("data.adv", |text| text[..text.trim_end().rfind('\n').unwrap() + 1].to_string());
        assert_eq!(cut, "data.adv: 3620 entries, 3621 expected of WordNet 3.0");
        let shifted = said("data.adv", |text| text.replacen("  1 This", "  1  This", 1));
        assert_eq!(shifted, "data.adv, line 30: the line begins at byte 1741, and says 1740");
        let lemma = "zigzag r 1 0 1 0 00498068";
        let line = said("index.adv", |text| text.replace(lemma, "zigzag r 1 0 1 0 00498069"));
        assert_eq!(line, "index.adv, line 4510: no meaning begins at byte 498069 of the data file");
        let line = said("index.adv", |text| text.replace(lemma, "zigzag r 2 0 1 0 00498068"));
        assert_eq!(line, "index.adv, line 4510: an offset is missing");
        let line = said("index.adv", |text| text.replace(lemma, "zigzag r x 0 1 0 00498068"));
        assert_eq!(line, "index.adv, line 4510: the count of meanings is no number");
        let line = said("noun.exc", |text| text.replacen('\n', "\n\n", 1));
        assert_eq!(line, "noun.exc, line 2: the irregular form is missing");
    }

    #[test]
    fn an_absent_folder_is_named() {
        let error = WordNet::open("/nowhere".as_ref()).err().unwrap();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("/nowhere/data.noun"), "{source}");
    }
}
