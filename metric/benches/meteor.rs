//! METEOR on one thread: how long WordNet takes to open, and how long pairs take to be scored.
//!
//! `cargo bench -p med2e3-metric --bench meteor [-- PAIRS.json]`: a list of `[prediction, reference]`, or six times the golden
//! pairs. WordNet as the tests find it.

use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{env, fs};

use med2e3_metric::meteor::{Meteor, Release, WordNet, word_tokenize};
use serde_json::Value;

fn main() {
    let checkout = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../.wordnet");
    let folder = env::var_os("MED2E3_WORDNET").map_or(checkout, PathBuf::from);
    let pairs = pairs(env::args().skip(1).find(|argument| !argument.starts_with("--")));
    let wordnet = best(|| WordNet::open(&folder).expect("run `cargo xtask setup --wordnet`"), "WordNet is open");
    let words = |text: &String| word_tokenize(text, Release::V3_8_1).len();
    let count = pairs.iter().flatten().map(words).sum::<usize>();
    println!("{} pairs, {count} words on both sides", pairs.len());
    best(|| pairs.iter().flatten().map(words).sum::<usize>(), "words");
    let meteor = Meteor::new(wordnet, Release::V3_8_1);
    let mean = |sum: f64| sum / pairs.len() as f64;
    let score = || mean(pairs.iter().map(|[prediction, reference]| meteor.score(prediction, reference).value).sum());
    println!("mean {:.6}", best(score, "METEOR"));
}

fn pairs(file: Option<String>) -> Vec<[String; 2]> {
    let Some(file) = file else {
        let golden: Value = serde_json::from_str(include_str!("../src/meteor/golden/pairs.json")).expect("it is JSON");
        let text = |row: &Value, side: &str| row[side].as_str().expect("a text").to_string();
        let rows = golden["pairs"].as_array().expect("a list");
        let rows = rows.iter().cycle().take(6 * rows.len());
        return rows.map(|row| ["prediction", "reference"].map(|side| text(row, side))).collect();
    };
    serde_json::from_slice(&fs::read(file).expect("the pairs can be read")).expect("a list of pairs of texts")
}

/// Prints the shortest of seven times.
fn best<T>(mut work: impl FnMut() -> T, what: &str) -> T {
    let mut shortest = Duration::MAX;
    let mut made = None;
    for _ in 0..7 {
        let started = Instant::now();
        let value = work();
        shortest = shortest.min(started.elapsed());
        made = Some(value);
    }
    println!("{what}: {:.1} ms", shortest.as_secs_f64() * 1e3);
    made.expect("it was made seven times")
}
