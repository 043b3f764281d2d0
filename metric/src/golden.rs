//! What the reference implementations give, made by the scripts in `golden/`.

use serde::Deserialize;
use serde::de::DeserializeOwned;

fn read<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).unwrap()
}

/// A prediction with its scores.
#[derive(Deserialize)]
pub(crate) struct Text {
    pub(crate) prediction: String,
    pub(crate) reference: String,
    pub(crate) tokens: Vec<String>,
    pub(crate) bleu1: f64,
    pub(crate) bleu4: f64,
    pub(crate) rouge1: f64,
    pub(crate) rouge2: f64,
    #[serde(rename = "rougeL")]
    pub(crate) rouge_l: f64,
    #[serde(rename = "rougeLsum")]
    pub(crate) rouge_lsum: f64,
    /// The four of ROUGE with stems.
    pub(crate) stemmed: [f64; 4],
}

pub(crate) fn texts() -> Vec<Text> {
    let texts: Vec<Text> = read(include_str!("golden/texts.json"));
    assert!(texts.len() >= 60);
    texts
}

/// An answer to a question with choices.
#[derive(Deserialize)]
pub(crate) struct Closed {
    pub(crate) choices: Vec<Option<String>>,
    pub(crate) answer_choice: String,
    pub(crate) prediction: String,
    pub(crate) released: bool,
    pub(crate) read: Option<String>,
    pub(crate) several: bool,
}

pub(crate) fn closed() -> Vec<Closed> {
    read(include_str!("golden/closed.json"))
}

/// Two lists and their rank correlation.
#[derive(Deserialize)]
pub(crate) struct Ranks {
    pub(crate) first: Vec<f32>,
    pub(crate) second: Vec<f32>,
    pub(crate) correlation: f64,
}

pub(crate) fn ranks() -> Vec<Ranks> {
    read(include_str!("golden/ranks.json"))
}

/// Rows of two systems and what numpy, scipy and statsmodels make of them.
#[derive(Deserialize)]
pub(crate) struct Statistics {
    pub(crate) rows: Vec<Row>,
    /// For each resample the cases that it holds.
    pub(crate) resamples: Vec<Vec<usize>>,
    pub(crate) values: Values,
    /// Count, rows and Wilson's interval at 95 %.
    pub(crate) wilson: Vec<(f64, f64, f64, f64)>,
    /// Two discordant counts and the exact p.
    pub(crate) mcnemar: Vec<(usize, usize, f64)>,
    /// Ps and what Holm makes of them.
    pub(crate) holm: Vec<(Vec<f64>, Vec<f64>)>,
}

#[derive(Deserialize)]
pub(crate) struct Row {
    pub(crate) case: String,
    pub(crate) topic: String,
    pub(crate) a: f64,
    pub(crate) b: f64,
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) grouped: f64,
}

#[derive(Deserialize)]
pub(crate) struct Values {
    pub(crate) micro_a: f64,
    pub(crate) macro_x: f64,
    pub(crate) design_effect_a: f64,
    pub(crate) design_effect_grouped: f64,
    pub(crate) wilson_grouped: [f64; 2],
    pub(crate) sign_flips_a_b: f64,
    pub(crate) sign_flips_x_y: f64,
    pub(crate) percentiles_micro_x: [f64; 2],
    pub(crate) percentiles_macro_x: [f64; 2],
    pub(crate) percentiles_micro_y_minus_x: [f64; 2],
}

pub(crate) fn statistics() -> Statistics {
    read(include_str!("golden/statistics.json"))
}
