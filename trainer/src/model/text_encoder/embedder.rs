//! BERT or RoBERTa as a source of vectors of tokens.

use tch::{Device, Kind, Tensor, no_grad};

use super::{Bert, BertConfig};
use crate::model::error::ModelError;
use crate::model::layers::Init;
use crate::model::sizes;

/// The output of an encoder's last block alone: so it has as many blocks as are asked for, and no values for the pooler, which
/// many published files lack.
pub struct Embedder {
    pub(crate) bert: Bert,
}

impl Embedder {
    /// Weights in name and shape only, for [`Embedder::load`] to fill.
    ///
    /// # Errors
    /// The config's sizes do not fit together.
    pub fn unloaded(config: &BertConfig, device: Device, kind: Kind) -> Result<Embedder, ModelError> {
        sizes::check_text(config)?;
        Ok(Embedder { bert: Bert::new(config, &Init::shapes(device, kind))? })
    }

    /// The sizes it was built with.
    pub fn config(&self) -> &BertConfig {
        self.bert.config()
    }

    /// The last block's output (B, T, E) for ids and mask (B, T) as [`Bert::forward`] takes them; rows of padding hold numbers
    /// without meaning.
    ///
    /// # Errors
    /// As [`Bert::forward`].
    pub fn vectors(&self, ids_bt: &Tensor, mask_bt: &Tensor) -> Result<Tensor, ModelError> {
        let (ids_bt, mask_bt) = self.bert.on_device(ids_bt, mask_bt)?;
        Ok(no_grad(|| self.bert.hidden(&ids_bt, mask_bt.as_ref(), None)))
    }
}
