//! Times the scores of texts and the intervals of their means on generated data, and prints milliseconds.
//!
//! Usage: `metric_time [THREADS]`, 2 by default, for the intervals; texts are scored on one.

use std::time::{Duration, Instant};

use med2e3_metric::bleu::bleu;
use med2e3_metric::cases::{Bootstrap, Cases, RESAMPLES};
use med2e3_metric::compare::compare;
use med2e3_metric::interval::means;
use med2e3_metric::rouge::{Words, rouge};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

const PAIRS: usize = 1922;
/// Words of a text on average, so that all pairs have 82,674 or so.
const WORDS: u32 = 21;
const ANSWERS: usize = 28_000;
const METRICS: usize = 10;

fn main() {
    let threads = std::env::args().nth(1).and_then(|threads| threads.parse().ok()).unwrap_or(2);
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let pairs: Vec<[String; 2]> = (0..PAIRS).map(|_| [text(&mut random), text(&mut random)]).collect();
    let words: usize = pairs.iter().flatten().map(|text| text.split_whitespace().count()).sum();
    let (seconds, sum) = fastest(|| pairs.iter().map(|[one, other]| bleu(one, other).bleu4).sum::<f64>());
    println!("BLEU-1 and 4 of {PAIRS} pairs, {words} words: {} (mean {:.4})", ms(seconds), sum / PAIRS as f64);
    let score = |[one, other]: &[String; 2]| rouge(one, other, Words::Plain).rouge_l;
    let (seconds, sum) = fastest(|| pairs.iter().map(score).sum::<f64>());
    println!("ROUGE-1, 2, L and Lsum: {} (mean {:.4})", ms(seconds), sum / PAIRS as f64);

    let columns: Vec<Vec<f64>> = (0..METRICS).map(|_| (0..ANSWERS).map(|_| uniform(&mut random)).collect()).collect();
    let columns: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
    for each in [1, 10] {
        let names: Vec<[String; 2]> =
            (0..ANSWERS).map(|row| [(row / each).to_string(), (row % 5).to_string()]).collect();
        let cases = Cases::of(names.iter().map(|[case, of]| (case.as_str(), of.as_str()))).expect("there are rows");
        let bootstrap = Bootstrap { seed: 1, threads };
        let (seconds, found) = fastest(|| means(&cases, &columns, bootstrap));
        let of = format!("{ANSWERS} answers in {} cases, {RESAMPLES} resamples, {threads} threads", cases.cases());
        println!("{METRICS} metrics, {of}: {} (half width {:.5})", ms(seconds), found[0].micro.half_interval());
        let (seconds, found) = fastest(|| compare(&cases, &columns[..1], &columns[1..2], bootstrap));
        println!("two systems, {of}: {} (p {:.3})", ms(seconds), found.p);
    }
}

/// The least of several times, and the result.
fn fastest<T>(work: impl Fn() -> T) -> (Duration, T) {
    let timed = || {
        let start = Instant::now();
        let result = work();
        (start.elapsed(), result)
    };
    (0..4).fold(timed(), |best, _| {
        let other = timed();
        if other.0 < best.0 { other } else { best }
    })
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", 1e3 * time.as_secs_f64())
}

fn uniform(random: &mut ChaCha8Rng) -> f64 {
    f64::from(random.next_u32()) / 2.0_f64.powi(32)
}

/// Sentences of a report: words of a few letters, numbers and marks between them.
fn text(random: &mut ChaCha8Rng) -> String {
    let mut text = String::new();
    for word in 0..WORDS / 2 + random.next_u32() % WORDS {
        let number = random.next_u32();
        text += match number % 16 {
            _ if word == 0 => "",
            0 => ". ",
            1 => ", ",
            2 => "\n",
            _ => " ",
        };
        match number % 11 {
            0 => text += &format!("{}.{} mm", number / 16 % 9, number / 256 % 9),
            _ => {
                // Squared, so that some words are frequent.
                let word = (uniform(random) * uniform(random) * 900.0) as u8;
                let letters = 3 + usize::from(word) % 7;
                text.extend((0..letters).map(|at| char::from(b'a' + word.wrapping_mul(at as u8 + 3) % 26)));
            }
        }
    }
    text
}
