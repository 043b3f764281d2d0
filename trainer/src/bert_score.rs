//! BERTScore (Zhang et al., 2020): how well the tokens of two texts match, by their vectors in a text encoder. Equal to the Python
//! package bert_score 0.3.13 without idf weights, of each pair by itself.
//!
//! Each token has the largest cosine to a token of the other text. Precision is its mean over the prediction's tokens, recall over the
//! reference's. The start and the end token count in neither mean, and may be what a token is most alike to.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::path::Path;

use med2e3_input::text::EncoderTokenizer;
use med2e3_metric::strip;
use med2e3_program::{Progress, note};
use med2e3_schemas::evaluation::Answer;
use med2e3_schemas::sample::Task;
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use crate::TrainerError;
use crate::config::{Baseline, BertScoreConfig, KnownBaseline, StatedBaseline};
use crate::files::json::{read_json, read_text};
use crate::files::names::SIZES;
use crate::files::weights_file::WeightsFile;
use crate::fit::expect;
use crate::model::{BertConfig, Embedder, TextArchitecture};
use crate::text_tokenizer::padded;
use crate::words::Word;

/// What the tokenizer's own settings are in.
const TOKENIZER_SETTINGS: &str = "tokenizer_config.json";
/// bert_score's choice for roberta-large (`utils.py`, `model2layers`), and the number of blocks that it has.
const LAYER_OF_LARGE: (usize, i64) = (17, 24);
/// What bert_score ships for it (`rescale_baseline/en/roberta-large.tsv`).
const BASELINE_OF_LARGE: StatedBaseline = StatedBaseline { precision: 0.83150584, recall: 0.8314941, f1: 0.83122575 };
/// Rows that a table of embeddings may have beyond the tokenizer's ids: some are filled up to a multiple.
const SPARE_ROWS: i64 = 128;
/// Tokens of a batch, padding included.
const BATCH_TOKENS: usize = 1 << 14;
/// Pairs whose texts are encoded together, the longest first; vectors of texts that no later pair has are dropped behind them.
const PAIRS: usize = 1024;

/// Precision, recall and F1 of a prediction.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Prf {
    /// Of the prediction's tokens.
    pub precision: f64,
    /// Of the reference's tokens.
    pub recall: f64,
    /// Their harmonic mean.
    pub f1: f64,
}

/// The scores of pairs.
#[derive(Clone, Debug, PartialEq)]
pub struct BertScores {
    /// One a pair, in their order. At most 1, and seldom below 0 where they are not rescaled.
    pub rows: Vec<Prf>,
    /// Pairs of which a text has no token that counts; they score 0.
    pub empty: usize,
    /// Distinct texts that were cut to the encoder's length.
    pub cut: usize,
}

/// A text encoder that is ready to compare.
pub struct BertScore {
    encoder: Embedder,
    tokenizer: EncoderTokenizer,
    device: Device,
    begins_with_space: bool,
    /// Of a text, the start and the end token included.
    most_tokens: usize,
    baseline: Option<StatedBaseline>,
    identity: String,
}

/// A text's tokens.
struct Text {
    /// Start and end included.
    ids: Vec<i64>,
    /// Whether no token is another than start and end, which bert_score scores as 0 too, if with a precision that is not a number.
    is_empty: bool,
    /// The last group of pairs that has it.
    last_use: usize,
}

/// An encoded text.
struct Vectors {
    /// (T, E), each of length 1.
    unit_te: Tensor,
    /// (T), how much each token counts; the sum is 1.
    weights_t: Tensor,
}

impl BertScore {
    /// Opens an encoder on a device, in f32, with as many blocks as are needed.
    ///
    /// # Errors
    /// A folder that lacks a file, another architecture, files that do not read or do not fit together, a layer that the model lacks or
    /// that has to be stated, a baseline of another model or of 1 or more.
    pub fn open(config: &BertScoreConfig, device: Device) -> Result<BertScore, TrainerError> {
        let folder = &config.model;
        let found = if folder.is_dir() {
            "a folder"
        } else if folder.exists() {
            "a file"
        } else {
            "nothing"
        };
        let expected = format!("a folder with {SIZES}, weights and a tokenizer");
        expect("bert_score.model", folder.is_dir(), expected, format!("{found} at {}", folder.display()))?;
        let sizes_file = folder.join(SIZES);
        let sizes_text = read_text(&sizes_file)?;
        let in_file =
            |path: &Path, source: TrainerError| TrainerError::Part { path: path.to_owned(), source: source.into() };
        let published: Value = read_json(&sizes_file, "JSON")?;
        let read = BertConfig::of_transformers(&published);
        let (architecture, whole) = read.map_err(|error| in_file(&sizes_file, error.into()))?;
        let layer = layer(config.layer, architecture, &whole)?;
        let baseline = baseline(config.rescale, architecture, layer, &whole)?;

        let sizes = BertConfig { num_hidden_layers: layer as i64, ..whole.clone() };
        let mut encoder =
            Embedder::unloaded(&sizes, device, Kind::Float).map_err(|error| in_file(&sizes_file, error.into()))?;
        let weights = WeightsFile::open(folder)?;
        encoder
            .load(&weights.shapes(), |name| weights.tensor(name, device, Some(Kind::Float)))
            .map_err(|error| in_file(weights.path(), error))?;

        let tokenizer = EncoderTokenizer::load(folder)?;
        let (ids, rows) = (tokenizer.largest_id().map_or(0, |id| i64::from(id) + 1), sizes.vocab_size);
        if ids > rows || rows - ids >= SPARE_ROWS {
            let expected = format!("a tokenizer of {rows} ids, as {SIZES} states");
            return Err(TrainerError::File { path: folder.clone(), expected, found: ids.to_string() });
        }
        let settings_file = folder.join(TOKENIZER_SETTINGS);
        let settings: Value = if settings_file.is_file() { read_json(&settings_file, "JSON")? } else { Value::Null };
        let most_tokens = most_tokens(&settings, sizes.most_tokens())
            .map_err(|(expected, found)| TrainerError::File { path: settings_file, expected, found })?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(sizes_text.as_bytes()).update(tokenizer.identity()?.as_bytes());
        weights.contents().for_each(|bytes| {
            hasher.update(bytes);
        });
        let rescaled = match baseline {
            None => String::new(),
            Some(StatedBaseline { precision, recall, f1 }) => format!(", rescaled by {precision}, {recall}, {f1}"),
        };
        let identity = format!(
            "bert_score 0.3.13, {} {}, layer {layer} of {}{rescaled}",
            architecture.as_str(),
            hasher.finalize().to_hex(),
            whole.num_hidden_layers
        );
        let begins_with_space = architecture == TextArchitecture::Roberta;
        Ok(BertScore { encoder, tokenizer, device, begins_with_space, most_tokens, baseline, identity })
    }

    /// What it equals: the release of bert_score, the architecture, blake3 of the model's files, the layer, the baseline.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// The scores of pairs of a prediction and a reference. Each distinct text is encoded once.
    ///
    /// # Errors
    /// A text that the tokenizer refuses; an encoder that makes something else than numbers of one.
    pub fn scores(&self, pairs: &[(&str, &str)]) -> Result<BertScores, TrainerError> {
        let (mut texts, mut cut, mut known): (Vec<Text>, usize, HashMap<&str, usize>) = Default::default();
        let mut number_of = |text| -> Result<usize, TrainerError> {
            let text = strip(text);
            if let Some(number) = known.get(text) {
                return Ok(*number);
            }
            let (ids, is_cut) = self.encode(text)?;
            cut += usize::from(is_cut);
            let is_empty = ids.iter().all(|id| self.is_mark(*id));
            texts.push(Text { ids, is_empty, last_use: 0 });
            known.insert(text, texts.len() - 1);
            Ok(texts.len() - 1)
        };
        let numbered = pairs.iter().map(|(prediction, reference)| Ok([number_of(prediction)?, number_of(reference)?]));
        let numbered = numbered.collect::<Result<Vec<[usize; 2]>, TrainerError>>()?;
        let is_empty = |pair: &[usize; 2]| pair.iter().any(|text| texts[*text].is_empty);
        let empty = numbered.iter().filter(|pair| is_empty(pair)).count();

        let mut distinct = numbered.clone();
        distinct.retain(|pair| !is_empty(pair));
        let longest = |[one, other]: &[usize; 2]| texts[*one].ids.len().max(texts[*other].ids.len());
        distinct.sort_by_cached_key(|pair| (Reverse(longest(pair)), *pair));
        distinct.dedup();
        for (group, pairs) in distinct.chunks(PAIRS).enumerate() {
            pairs.iter().flatten().for_each(|text| texts[*text].last_use = group);
        }
        let progress = Progress::new(distinct.len() as u64, 0, "BERTScore");
        let (mut vectors, mut found) = (HashMap::new(), HashMap::new());
        for (group, pairs) in distinct.chunks(PAIRS).enumerate() {
            self.encode_missing(&texts, pairs, &mut vectors)?;
            let raw = raw_scores(pairs, &vectors);
            let are_numbers = raw.iter().all(|score| score.precision.is_finite() && score.recall.is_finite());
            let others = "infinite or undefined ones".to_owned();
            expect("bert_score.model", are_numbers, "an encoder whose vectors are numbers".into(), others)?;
            found.extend(pairs.iter().copied().zip(raw));
            vectors.retain(|text, _| texts[*text].last_use > group);
            progress.add(pairs.len() as u64);
        }
        progress.finish();
        let rows = numbered.iter().map(|pair| self.rescaled(found.get(pair).copied().unwrap_or_default()));
        Ok(BertScores { rows: rows.collect(), empty, cut })
    }

    /// Adds its scores to the answers that it is defined for, captions and open ones: `bertscore_p`, `bertscore_r`, `bertscore_f1`. Empty
    /// and cut texts are told on standard error.
    ///
    /// # Errors
    /// As [`BertScore::scores`].
    pub(crate) fn add_to(&self, answers: &mut [Answer]) -> Result<(), TrainerError> {
        let is_text = |answer: &Answer| answer.task != Task::ClosedVqa;
        let pairs = answers.iter().filter(|answer| is_text(answer));
        let pairs: Vec<(&str, &str)> = pairs.map(|answer| (answer.answer.as_str(), answer.expected.as_str())).collect();
        let scores = self.scores(&pairs)?;
        if scores.empty > 0 {
            note(format_args!(
                "note: BERTScore: {} answers, or what was expected of them, are empty; they score 0",
                scores.empty
            ));
        }
        if scores.cut > 0 {
            note(format_args!(
                "note: BERTScore: {} texts are longer than the encoder reads; they were cut",
                scores.cut
            ));
        }
        for (answer, Prf { precision, recall, f1 }) in
            answers.iter_mut().filter(|answer| is_text(answer)).zip(scores.rows)
        {
            let named = [("bertscore_p", precision), ("bertscore_r", recall), ("bertscore_f1", f1)];
            answer.metrics.extend(named.map(|(name, value)| (name.to_owned(), value)));
        }
        Ok(())
    }

    /// A stripped text's ids, start and end included, and whether it was cut.
    fn encode(&self, text: &str) -> Result<(Vec<i64>, bool), TrainerError> {
        let inner = match (text, self.begins_with_space) {
            ("", _) => Vec::new(),
            (text, true) => self.tokenizer.encode(&format!(" {text}"))?,
            (text, false) => self.tokenizer.encode(text)?,
        };
        let [start, end] = self.tokenizer.around();
        let kept = inner.len().min(self.most_tokens - 2);
        let ids = [start].into_iter().chain(inner[..kept].iter().copied()).chain([end]).map(i64::from);
        Ok((ids.collect(), kept < inner.len()))
    }

    /// Adds the vectors of the pairs' texts that have none yet, in batches of which at most an eighth is padding.
    fn encode_missing(
        &self,
        texts: &[Text],
        pairs: &[[usize; 2]],
        vectors: &mut HashMap<usize, Vectors>,
    ) -> Result<(), TrainerError> {
        let mut missing: Vec<usize> =
            pairs.iter().flatten().copied().filter(|text| !vectors.contains_key(text)).collect();
        missing.sort_by_key(|text| (Reverse(texts[*text].ids.len()), *text));
        missing.dedup();
        let mut rest = missing.as_slice();
        while let Some(longest) = rest.first() {
            let width = texts[*longest].ids.len();
            let is_alike = |text: &&usize| texts[**text].ids.len() * 8 >= width * 7;
            let most = (BATCH_TOKENS / width).max(1);
            let (batch, later) = rest.split_at(rest.iter().take(most).take_while(is_alike).count());
            rest = later;
            let rows: Vec<Vec<i64>> = batch.iter().map(|text| texts[*text].ids.clone()).collect();
            let (ids_bt, mask_bt) = padded(&rows);
            let hidden_bte = self.encoder.vectors(&ids_bt, &mask_bt)?;
            let unit_bte = &hidden_bte / hidden_bte.norm_scalaropt_dim(2.0, [-1i64].as_slice(), true);
            for (row, text) in batch.iter().enumerate() {
                let ids = &rows[row];
                // A copy, since a view would keep the whole batch.
                let unit_te = unit_bte.get(row as i64).narrow(0, 0, ids.len() as i64).copy();
                vectors.insert(*text, Vectors { unit_te, weights_t: self.weights(ids) });
            }
        }
        Ok(())
    }

    /// Whether a token is the start or the end, which count nothing.
    fn is_mark(&self, id: i64) -> bool {
        self.tokenizer.around().map(i64::from).contains(&id)
    }

    /// How much each token of a text that is not empty counts.
    fn weights(&self, ids: &[i64]) -> Tensor {
        let counts: Vec<f32> = ids.iter().map(|id| f32::from(u8::from(!self.is_mark(*id)))).collect();
        let sum: f32 = counts.iter().sum();
        let weights: Vec<f32> = counts.iter().map(|count| count / sum).collect();
        Tensor::from_slice(&weights).to_device(self.device)
    }

    fn rescaled(&self, raw: Prf) -> Prf {
        let Some(baseline) = self.baseline else { return raw };
        let rescale = |value: f64, baseline: f64| (value - baseline) / (1.0 - baseline);
        Prf {
            precision: rescale(raw.precision, baseline.precision),
            recall: rescale(raw.recall, baseline.recall),
            f1: rescale(raw.f1, baseline.f1),
        }
    }
}

/// Precision, recall and F1 of pairs of encoded texts, which are read from the device at once.
fn raw_scores(pairs: &[[usize; 2]], vectors: &HashMap<usize, Vectors>) -> Vec<Prf> {
    let one = |[prediction, reference]: &[usize; 2]| {
        let (prediction, reference) = (&vectors[prediction], &vectors[reference]);
        // (T of the prediction, T of the reference).
        let cosines_tt = prediction.unit_te.matmul(&reference.unit_te.transpose(0, 1));
        let mean = |axis: i64, weights_t: &Tensor| cosines_tt.amax([axis].as_slice(), false).dot(weights_t);
        Tensor::stack(&[mean(1, &prediction.weights_t), mean(0, &reference.weights_t)], 0)
    };
    let both: Vec<Tensor> = pairs.iter().map(one).collect();
    let both: Vec<f32> = Vec::try_from(Tensor::cat(&both, 0)).expect("a flat f32 tensor");
    let of_pair = |both: &[f32]| {
        let [precision, recall] = [both[0], both[1]].map(f64::from);
        let f1 = 2.0 * precision * recall / (precision + recall);
        Prf { precision, recall, f1: if f1.is_nan() { 0.0 } else { f1 } }
    };
    both.chunks_exact(2).map(of_pair).collect()
}

/// The number of blocks to run.
fn layer(stated: Option<usize>, architecture: TextArchitecture, sizes: &BertConfig) -> Result<usize, TrainerError> {
    let blocks = sizes.num_hidden_layers;
    let is_large = (architecture, blocks) == (TextArchitecture::Roberta, LAYER_OF_LARGE.1);
    let Some(layer) = stated.or(is_large.then_some(LAYER_OF_LARGE.0)) else {
        let expected =
            format!("a layer, 0 to {blocks}: only a RoBERTa of {} blocks has one by itself", LAYER_OF_LARGE.1);
        return Err(TrainerError::Config { key: "bert_score.layer".into(), expected, found: "none".into() });
    };
    let expected = format!("0 to {blocks}, the model's blocks");
    expect("bert_score.layer", i64::try_from(layer).is_ok_and(|layer| layer <= blocks), expected, layer.to_string())?;
    Ok(layer)
}

/// The numbers to rescale by.
fn baseline(
    stated: Option<Baseline>,
    architecture: TextArchitecture,
    layer: usize,
    sizes: &BertConfig,
) -> Result<Option<StatedBaseline>, TrainerError> {
    let Some(stated) = stated else { return Ok(None) };
    let numbers = match stated {
        Baseline::Known(KnownBaseline::RobertaLarge) => {
            let found = (architecture, layer, sizes.num_hidden_layers);
            let (of_large, blocks) = LAYER_OF_LARGE;
            let expected = format!(
                "{{ precision, recall, f1 }} of this model: those of roberta-large are of layer {of_large} of {blocks}"
            );
            let is_large = found == (TextArchitecture::Roberta, of_large, blocks);
            let found = format!("layer {layer} of {}", sizes.num_hidden_layers);
            expect("bert_score.rescale", is_large, expected, found)?;
            BASELINE_OF_LARGE
        }
        Baseline::Stated(numbers) => numbers,
    };
    for (name, value) in [("precision", numbers.precision), ("recall", numbers.recall), ("f1", numbers.f1)] {
        expect(
            &format!("bert_score.rescale.{name}"),
            value < 1.0 && value.is_finite(),
            "a number below 1".into(),
            value.to_string(),
        )?;
    }
    Ok(Some(numbers))
}

/// Tokens of a text at most: as many as there are positions, or as the tokenizer's settings allow.
///
/// # Errors
/// What is expected and found where none is left for a text.
fn most_tokens(settings: &Value, positions: i64) -> Result<usize, (String, String)> {
    // Where no limit was stated transformers writes 1e30.
    let stated = settings.get("model_max_length").and_then(Value::as_f64).unwrap_or(f64::INFINITY);
    let most = stated.min(positions as f64);
    if most >= 3.0 { Ok(most as usize) } else { Err(("model_max_length of 3 or more".into(), most.to_string())) }
}
