//! BERT, M3D-CLIP's text half: post-norm blocks, exact GELU, learned positions, every token of type 0. Without dropout,
//! which the published checkpoint saw in training only.

mod block;
mod config;

use tch::{Device, Kind, Tensor};

pub use config::BertConfig;

use super::error::{ModelError, expect_shape};
use super::layers::{AttentionMask, Init, LayerNorm, Linear};
use block::Block;

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
        })
    }

    /// The sizes it was built with.
    pub fn config(&self) -> &BertConfig {
        &self.config
    }

    /// Reads a batch of texts: ids (B, T) with the tokenizer's start and end tokens, and a mask of the same shape, bool or
    /// number, that is true at tokens. Both may be on the CPU, which saves the device a wait. Ids at padding have no
    /// influence on the rest.
    ///
    /// # Errors
    /// Shapes that differ, an id without an embedding, more than [`BertConfig::max_position_embeddings`] tokens, a row
    /// without any token.
    pub fn forward(&self, ids_bt: &Tensor, mask_bt: &Tensor) -> Result<TextFeatures, ModelError> {
        let mask_bt = mask_bt.ne(0);
        self.check(ids_bt, &mask_bt)?;
        let (device, tokens) = (self.words.device(), ids_bt.size()[1]);
        let words_bte = Tensor::embedding(&self.words, &ids_bt.to_device(device), -1, false, false);
        // One sum a position and type, so that the batch is walked through once less.
        let positions_te = self.positions.narrow(0, 0, tokens) + self.token_types.narrow(0, 0, 1);
        let mut hidden_bte = self.embedding_norm.forward(&(words_bte + positions_te));

        // (B, A, queries, keys): every query attends to the tokens of its row.
        let mask_b11t = (!all(&mask_bt)).then(|| mask_bt.to_device(device).unsqueeze(1).unsqueeze(1));
        for block in &self.blocks {
            let mask = mask_b11t.as_ref().map_or(AttentionMask::None, AttentionMask::Given);
            hidden_bte = block.forward(&hidden_bte, mask);
        }
        let pooled_be = self.pooler.forward(&hidden_bte.select(1, 0)).tanh();
        Ok(TextFeatures { hidden_bte, pooled_be })
    }

    /// A wrong id would end the process inside libtorch, on CUDA past any recovery; an empty row would become NaN.
    fn check(&self, ids_bt: &Tensor, mask_bt: &Tensor) -> Result<(), ModelError> {
        expect_shape("text ids", ids_bt, &[-1, -1])?;
        expect_shape("text mask", mask_bt, &ids_bt.size())?;
        let (found, expected) = (ids_bt.size()[1], self.config.max_position_embeddings);
        if found > expected {
            let (expected, found) = (expected as usize, found as usize);
            return Err(ModelError::TooLong { what: "text", expected, found });
        }
        let tokens_b = mask_bt.sum_dim_intlist([1i64].as_slice(), false, Kind::Int64);
        let tokens_b: Vec<i64> = Vec::try_from(tokens_b.to_device(Device::Cpu)).expect("a flat i64 tensor on the CPU");
        if let Some(row) = tokens_b.iter().position(|tokens| *tokens == 0) {
            return Err(ModelError::NoToken { what: "text mask", row });
        }
        if ids_bt.numel() == 0 {
            return Ok(());
        }
        let expected = self.config.vocab_size;
        let found = [ids_bt.min().int64_value(&[]), ids_bt.max().int64_value(&[])];
        match found.into_iter().find(|id| !(0..expected).contains(id)) {
            Some(found) => Err(ModelError::TokenId { what: "text ids", expected, found }),
            None => Ok(()),
        }
    }
}

/// Whether nothing in the mask is false.
fn all(mask_bt: &Tensor) -> bool {
    mask_bt.all().int64_value(&[]) != 0
}
