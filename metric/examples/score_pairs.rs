//! Scores pairs of texts on one thread, and prints as JSON how long each metric took and the means: what `cargo xtask bench-metrics`
//! compares with the Python packages.
//!
//! Usage: `score_pairs WORDNET PAIRS.json [ROUNDS]`, PAIRS being a list of `[prediction, reference]`; times are the least of 5 rounds.

use std::path::Path;
use std::time::Instant;

use med2e3_metric::bleu::bleu;
use med2e3_metric::meteor::{Meteor, Release, WordNet};
use med2e3_metric::rouge::{Words, rouge};
use serde_json::json;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().expect("score_pairs WORDNET PAIRS.json [ROUNDS]");
    let (wordnet, pairs) = (next(), next());
    let rounds = arguments.next().map_or(5, |rounds| rounds.parse().expect("a number of rounds"));
    let text = std::fs::read(&pairs).expect("the pairs can be read");
    let pairs: Vec<[String; 2]> = serde_json::from_slice(&text).expect("a list of pairs of texts");
    let begun = Instant::now();
    let open = WordNet::open(Path::new(&wordnet)).expect("run `cargo xtask setup --wordnet`");
    let opened = begun.elapsed().as_secs_f64();
    let meteor = Meteor::new(open, Release::V3_8_1);

    let mut out = json!({ "wordnet": opened });
    let mut measure = |name: &str, score: &dyn Fn(&str, &str) -> f64| {
        let (mut seconds, mut mean) = (f64::INFINITY, 0.0);
        for _ in 0..rounds {
            let begun = Instant::now();
            let sum: f64 = pairs.iter().map(|[prediction, reference]| score(prediction, reference)).sum();
            seconds = seconds.min(begun.elapsed().as_secs_f64());
            mean = sum / pairs.len() as f64;
        }
        out[name] = json!({ "seconds": seconds, "mean": mean });
    };
    measure("BLEU-1 and 4", &|prediction, reference| bleu(prediction, reference).bleu4);
    measure("ROUGE-1, 2, L and Lsum", &|prediction, reference| rouge(prediction, reference, Words::Plain).rouge_lsum);
    measure("METEOR", &|prediction, reference| meteor.score(prediction, reference).value);
    println!("{out}");
}
