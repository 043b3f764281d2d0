//! BERTScore as a configuration states it.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::words::words;

/// BERTScore.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BertScoreConfig {
    /// A folder with a RoBERTa's or a BERT's `config.json`, its weights and its `tokenizer.json`, or `vocab.json` and `merges.txt`.
    /// roberta-large gives the values of published tables.
    pub model: PathBuf,
    /// The block whose output is compared, from 1; 0 compares the embeddings. 17 where absent and the model is a RoBERTa of 24 blocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<usize>,
    /// With it values are rescaled, so that those of unrelated texts lie near 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rescale: Option<Baseline>,
}

/// What unrelated texts score, which rescaling makes 0.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged, expecting = "expected \"roberta-large\" or { precision, recall, f1 }")]
pub enum Baseline {
    /// Of a model that bert_score ships one for.
    Known(KnownBaseline),
    /// Of another model.
    Stated(StatedBaseline),
}

words! {
    /// A model whose baseline is known.
    pub enum KnownBaseline {
        /// Of block 17 of roberta-large, for English.
        RobertaLarge = "roberta-large",
    }
}

/// Mean scores of unrelated texts, each below 1.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StatedBaseline {
    /// Of the precision.
    pub precision: f64,
    /// Of the recall.
    pub recall: f64,
    /// Of F1.
    pub f1: f64,
}
