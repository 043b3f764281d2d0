//! METEOR of pairs: `meteor WORDNET PAIRS.json RELEASE` prints a JSON line a pair: value, tokens, aligned words, chunks.
use std::io::Write;
use std::time::Instant;
use med2e3_metric::meteor::{Meteor, Release, WordNet, word_tokenize};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let started = Instant::now();
    let wordnet = WordNet::open(args[1].as_ref()).unwrap();
    eprintln!("open {:?}", started.elapsed());
    let release = if args[3] == "3.8.1" { Release::V3_8_1 } else { Release::V3_10 };
    let pairs: Vec<(String, String)> = serde_json::from_slice(&std::fs::read(&args[2]).unwrap()).unwrap();
    let meteor = Meteor::new(wordnet, release);
    meteor.score("warm. Up", "warm up");
    let started = Instant::now();
    let scores: Vec<_> = pairs.iter().map(|(p, r)| meteor.score(p, r)).collect();
    eprintln!("{} pairs {:?}", pairs.len(), started.elapsed());
    let started = Instant::now();
    let n: usize = pairs.iter().map(|(p, r)| word_tokenize(p, release).len() + word_tokenize(r, release).len()).sum();
    eprintln!("{n} words {:?}", started.elapsed());
    let mut out = std::io::stdout().lock();
    for ((p, r), s) in pairs.iter().zip(scores) {
        let tokens = [p, r].map(|t| word_tokenize(t.trim_matches(|c: char| c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)), release));
        writeln!(out, "{}", serde_json::json!([s.value, tokens, s.aligned, s.chunks])).unwrap();
    }
}
