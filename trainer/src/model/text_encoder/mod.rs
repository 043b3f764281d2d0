//! BERT, M3D-CLIP's text half: post-norm blocks, exact GELU, learned positions, every token of type 0. Without dropout
//! unless a training asks for it, see `dropout`. RoBERTa is the same with other positions ([`BertConfig::first_position`]); what
//! compares texts token by token asks an [`Embedder`].

mod block;
mod config;
mod dropout;
mod embedder;
mod host_texts;

use tch::Tensor;

pub use config::{BertConfig, TextArchitecture};
pub use embedder::Embedder;

use super::error::ModelError;
use super::layers::{AttentionMask, Init, LayerNorm, Linear};
use block::Block;
use dropout::{Dropout, Place, place_keys};

/// The features of a batch of texts.
pub struct TextFeatures {
    /// The last block's output, (B, T, E); rows of padding hold numbers without meaning.
    pub hidden_bte: Tensor,
    /// The pooler's output, (B, E): tanh of a linear map of the first token's hidden state.
    pub pooled_be: Tensor,
}

/// The text encoder.
pub struct Bert {
    config: BertConfig,
    dropout: f64,
    pub(crate) words: Tensor,
    pub(crate) positions: Tensor,
    pub(crate) token_types: Tensor,
    pub(crate) embedding_norm: LayerNorm,
    pub(crate) blocks: Vec<Block>,
    pub(crate) pooler: Linear,
}

impl Bert {
    pub(crate) fn new(config: &BertConfig, init: &Init) -> Result<Bert, ModelError> {
        config.check()?;
        let width = config.hidden_size;
        Ok(Bert {
            words: init.table(&[config.vocab_size, width]),
            positions: init.table(&[config.max_position_embeddings, width]),
            token_types: init.table(&[config.type_vocab_size, width]),
            embedding_norm: LayerNorm::new(init, width, config.layer_norm_eps),
            blocks: (0..config.num_hidden_layers).map(|_| Block::new(config, init)).collect(),
            pooler: Linear::new(init, width, width),
            config: config.clone(),
            dropout: 0.0,
        })
    }

    /// The sizes it was built with.
    pub fn config(&self) -> &BertConfig {
        &self.config
    }

    /// The probability with which a training drops a number; 0 without [`Bert::set_dropout`].
    pub fn dropout(&self) -> f64 {
        self.dropout
    }

    /// Drops numbers of embeddings, attention probabilities and both results of a block with this probability, 0 to below 1,
    /// where texts are read with keys; 0.1 in transformers' BERT.
    pub fn set_dropout(&mut self, probability: f64) {
        self.dropout = probability;
    }

    /// The numbers from which texts of these keys drop theirs, (places, B); None where nothing is dropped.
    pub(crate) fn place_keys(&self, keys: Option<&[u64]>) -> Option<Vec<i64>> {
        keys.filter(|_| self.dropout > 0.0).map(|keys| place_keys(&self.config, keys))
    }

    /// Reads checked texts whose ids and mask are on the device: nothing is read back. The mask is None where there is no
    /// padding, the keys (places, B), see [`Bert::place_keys`], where nothing is dropped.
    pub(crate) fn read(&self, ids_bt: &Tensor, mask_bt: Option<&Tensor>, keys_pb: Option<&Tensor>) -> TextFeatures {
        let hidden_bte = self.hidden(ids_bt, mask_bt, keys_pb);
        let pooled_be = self.pooler.forward(&hidden_bte.select(1, 0)).tanh();
        TextFeatures { hidden_bte, pooled_be }
    }

    /// The last block's output of what [`Bert::read`] reads.
    fn hidden(&self, ids_bt: &Tensor, mask_bt: Option<&Tensor>, keys_pb: Option<&Tensor>) -> Tensor {
        let tokens = ids_bt.size()[1];
        let words_bte = Tensor::embedding(&self.words, ids_bt, -1, false, false);
        // One sum a position and type, so that the batch is walked through once less.
        let positions_te =
            self.positions.narrow(0, self.config.first_position, tokens) + self.token_types.narrow(0, 0, 1);
        let mut hidden_bte = self.embedding_norm.forward(&(words_bte + positions_te));

        // (B, A, queries, keys): every query attends to the tokens of its row.
        let mask_b11t = mask_bt.map(|mask_bt| mask_bt.unsqueeze(1).unsqueeze(1));
        if let Some(keys_pb) = keys_pb {
            let dropout = Dropout::new(&self.config, self.dropout, keys_pb, tokens);
            hidden_bte = dropout.of_hidden(Place::EMBEDDINGS, &hidden_bte);
            for (at, block) in self.blocks.iter().enumerate() {
                hidden_bte = block.forward_dropped(&hidden_bte, mask_b11t.as_ref(), &dropout, Place::of_block(at));
            }
        } else {
            for block in &self.blocks {
                let mask = mask_b11t.as_ref().map_or(AttentionMask::None, AttentionMask::Given);
                hidden_bte = block.forward(&hidden_bte, mask);
            }
        }
        hidden_bte
    }

    /// Whether a batch of `rows` texts, each `width` wide, can be read. A wrong id would end the process inside libtorch, on
    /// CUDA past any recovery; an empty row would become NaN.
    pub(crate) fn check(&self, ids: &[i64], mask: &[bool], [rows, width]: [usize; 2]) -> Result<(), ModelError> {
        let expected = self.config.most_tokens() as usize;
        if width > expected {
            return Err(ModelError::TooLong { what: "text", expected, found: width });
        }
        if let Some(row) = (0..rows).find(|row| !mask[row * width..][..width].contains(&true)) {
            return Err(ModelError::NoToken { what: "text mask", row });
        }
        let expected = self.config.vocab_size;
        match ids.iter().find(|id| !(0..expected).contains(*id)) {
            Some(&found) => Err(ModelError::TokenId { what: "text ids", expected, found }),
            None => Ok(()),
        }
    }
}
