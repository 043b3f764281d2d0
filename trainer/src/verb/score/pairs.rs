//! Pairs of texts, scored without a dataset.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use med2e3_metric::bleu::bleu;
use med2e3_metric::meteor::Meteor;
use med2e3_metric::rouge::{Words, rouge};
use med2e3_program::note;
use med2e3_store::{put_whole, read_regular};
use serde::Serialize;
use serde_json::Value;

use super::{MOST, lines, of_file};
use crate::TrainerError;
use crate::config::MeteorConfig;
use crate::predictions::Unread;
use crate::predictions::objects::{Object, objects};
use crate::predictions::text::decoded;
use crate::words::Word;

/// What is scored, and how.
#[derive(Clone, Debug)]
pub struct PairsConfig {
    /// JSON lines or a JSON list: `id`, `prediction` and `reference`.
    pub pairs: PathBuf,
    /// Whether ROUGE compares stems, as `rouge_score` does with `use_stemmer`; published evaluations of reports do not.
    pub stemmed: bool,
    /// With it METEOR is computed too.
    pub meteor: Option<MeteorConfig>,
}

/// What the pairs come to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PairsReport {
    /// Pairs.
    pub pairs: u64,
    /// Those of which a text is empty: all their scores are 0.
    pub empty: u64,
    /// Whether ROUGE compared stems.
    pub stemmed: bool,
    /// The release of NLTK whose METEOR was computed; null where it was not.
    pub nltk: Option<&'static str>,
    /// Mean of each score.
    pub means: Values,
}

/// Scores of a pair, each from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Values {
    /// BLEU with single tokens.
    pub bleu1: f64,
    /// BLEU with runs of up to 4.
    pub bleu4: f64,
    /// Of words.
    pub rouge1: f64,
    /// Of pairs of words.
    pub rouge2: f64,
    /// Of the longest common subsequence.
    #[serde(rename = "rougeL")]
    pub rouge_l: f64,
    /// The same line by line.
    #[serde(rename = "rougeLsum")]
    pub rouge_lsum: f64,
    /// Null where it was not computed.
    pub meteor: Option<f64>,
}

#[derive(Serialize)]
struct Line {
    id: Value,
    #[serde(flatten)]
    values: Values,
}

struct Pair {
    id: Value,
    prediction: String,
    reference: String,
}

/// Scores every pair and writes a line each to `out`, in their order.
///
/// # Errors
/// A file that does not read; a row without id or reference; an id twice; no pair; a WordNet that does not read or is another version.
pub fn score_pairs(config: &PairsConfig, out: &Path) -> Result<PairsReport, TrainerError> {
    let path = &config.pairs;
    let pairs = read(read_regular(path, MOST)?).map_err(|unread| of_file(path, unread))?;
    let meteor = config.meteor.as_ref().map(MeteorConfig::open).transpose()?;
    let words = if config.stemmed { Words::Stemmed } else { Words::Plain };
    let (mut scored, mut sums, mut empty) = (Vec::with_capacity(pairs.len()), Values::default(), Vec::new());
    for Pair { id, prediction, reference } in pairs {
        if prediction.trim().is_empty() || reference.trim().is_empty() {
            empty.push(id.to_string());
        }
        let values = values(&prediction, &reference, words, meteor.as_ref());
        sums.add(&values);
        scored.push(Line { id, values });
    }
    if let Some(first) = empty.first() {
        note(format_args!("note: {} pairs have an empty text and score 0, the first of them {first}", empty.len()));
    }
    put_whole(out, &lines(&scored))?;
    Ok(PairsReport {
        pairs: scored.len() as u64,
        empty: empty.len() as u64,
        stemmed: config.stemmed,
        nltk: config.meteor.as_ref().map(|meteor| meteor.nltk.as_str()),
        means: sums.over(scored.len() as f64),
    })
}

fn values(prediction: &str, reference: &str, words: Words, meteor: Option<&Meteor>) -> Values {
    let (bleu, rouge) = (bleu(prediction, reference), rouge(prediction, reference, words));
    Values {
        bleu1: bleu.bleu1,
        bleu4: bleu.bleu4,
        rouge1: rouge.rouge1,
        rouge2: rouge.rouge2,
        rouge_l: rouge.rouge_l,
        rouge_lsum: rouge.rouge_lsum,
        meteor: meteor.map(|meteor| meteor.score(prediction, reference).value),
    }
}

impl Values {
    /// The scores by name, METEOR where it was computed.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let Values { bleu1, bleu4, rouge1, rouge2, rouge_l, rouge_lsum, meteor } = *self;
        let always = [("bleu1", bleu1), ("bleu4", bleu4), ("rouge1", rouge1), ("rouge2", rouge2)];
        let lines = [("rougeL", rouge_l), ("rougeLsum", rouge_lsum)];
        always.into_iter().chain(lines).chain(meteor.map(|meteor| ("meteor", meteor)))
    }

    fn add(&mut self, other: &Values) {
        *self = Values {
            bleu1: self.bleu1 + other.bleu1,
            bleu4: self.bleu4 + other.bleu4,
            rouge1: self.rouge1 + other.rouge1,
            rouge2: self.rouge2 + other.rouge2,
            rouge_l: self.rouge_l + other.rouge_l,
            rouge_lsum: self.rouge_lsum + other.rouge_lsum,
            meteor: other.meteor.map(|meteor| self.meteor.unwrap_or_default() + meteor),
        };
    }

    fn over(&self, count: f64) -> Values {
        Values {
            bleu1: self.bleu1 / count,
            bleu4: self.bleu4 / count,
            rouge1: self.rouge1 / count,
            rouge2: self.rouge2 / count,
            rouge_l: self.rouge_l / count,
            rouge_lsum: self.rouge_lsum / count,
            meteor: self.meteor.map(|meteor| meteor / count),
        }
    }
}

fn read(bytes: Vec<u8>) -> Result<Vec<Pair>, Unread> {
    let mut places: HashMap<String, String> = HashMap::new();
    let mut pairs = Vec::new();
    for row in objects(&decoded(bytes)?)? {
        let id = row.id("id")?;
        if let Some(earlier) = places.insert(id.clone(), row.place.clone()) {
            let expected = format!("each `id` once, `{id}` in {earlier} alone");
            return Err(Unread { expected, found: format!("it in {} too", row.place) });
        }
        pairs.push(Pair {
            id: row.value("id")?.clone(),
            prediction: row.text("prediction")?.unwrap_or_default(),
            reference: reference(&row)?,
        });
    }
    if pairs.is_empty() {
        return Err(Unread { expected: "pairs".into(), found: "none".into() });
    }
    Ok(pairs)
}

fn reference(row: &Object) -> Result<String, Unread> {
    let none = || Unread { expected: format!("a text in key `reference` of {}", row.place), found: "null".into() };
    row.text("reference")?.ok_or_else(none)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn config(folder: &Path, text: &str) -> PairsConfig {
        let pairs = folder.join("pairs.jsonl");
        fs::write(&pairs, text).unwrap();
        PairsConfig { pairs, stemmed: false, meteor: None }
    }

    #[test]
    fn a_line_a_pair_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let text = "\u{feff}{\"id\": 7, \"prediction\": \"lesions in the liver\", \"reference\": \"lesion in the liver\"}\r\n\
                    {\"id\": \"b\", \"prediction\": null, \"reference\": \"x\"}\n{\"id\": \"c\", \"prediction\": \" \", \"reference\": \"\"}\n";
        let (config, out) = (config(folder.path(), text), folder.path().join("values.jsonl"));
        let report = score_pairs(&config, &out).unwrap();
        assert_eq!((report.pairs, report.empty, report.nltk, report.means.meteor), (3, 2, None, None));
        let written = fs::read_to_string(&out).unwrap();
        let rows: Vec<Value> = written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!([&rows[0]["id"], &rows[1]["id"]], [&Value::from(7), &Value::from("b")]);
        assert_eq!(
            [&rows[0]["bleu1"], &rows[0]["rouge1"], &rows[0]["meteor"]],
            [&Value::from(0.75), &Value::from(0.75), &Value::Null]
        );
        assert_eq!(report.means.bleu1, 0.75 / 3.0);
        for name in ["bleu1", "bleu4", "rouge1", "rouge2", "rougeL", "rougeLsum"] {
            assert_eq!([&rows[1][name], &rows[2][name]], [0.0, 0.0], "{name}");
        }
        let stemmed = score_pairs(&PairsConfig { stemmed: true, ..config }, &out).unwrap();
        assert_eq!((stemmed.means.rouge1, stemmed.means.bleu1), (1.0 / 3.0, 0.75 / 3.0));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let folder = tempfile::tempdir().unwrap();
        for (text, said) in [
            ("", "expected pairs, found none"),
            (
                "{\"id\": 1, \"prediction\": \"a\"}",
                "expected a key `reference` in row 1, found `id`, `prediction`; did you mean",
            ),
            (
                "{\"id\": 1, \"prediction\": \"a\", \"reference\": null}",
                "expected a text in key `reference` of row 1, found null",
            ),
            ("{\"prediction\": \"a\", \"reference\": \"b\"}", "expected a key `id` in row 1"),
            (
                "[{\"id\": 1, \"prediction\": 2, \"reference\": 3}, {\"id\": \"1\", \"prediction\": \"\", \"reference\": \"\"}]",
                "expected each `id` once, `1` in row 1 alone, found it in row 2 too",
            ),
            (
                "{\"id\": 1, \"prediction\": \"a\", \"refer",
                "expected a JSON object as row 1, found EOF while parsing a string",
            ),
        ] {
            let error = score_pairs(&config(folder.path(), text), &folder.path().join("out")).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        let mut without = config(folder.path(), "{\"id\": 1, \"prediction\": \"a\", \"reference\": \"b\"}");
        without.meteor = Some(MeteorConfig { wordnet: folder.path().join("none"), nltk: Default::default() });
        assert!(score_pairs(&without, &folder.path().join("out")).is_err());
        assert!(!folder.path().join("out").exists());
    }
}
