//! Texts as tensors of the host, as files, tests and other programs have them.

use tch::{Kind, Tensor};

use super::{Bert, TextFeatures};
use crate::libtorch::upload;
use crate::model::error::{ModelError, expect_shape};

impl Bert {
    /// Reads a batch of texts: ids (B, T) with the tokenizer's start and end tokens, and a mask of the same shape, bool or
    /// number, that is true at tokens; both on the CPU, or the device is waited for. Ids at padding have no influence on the
    /// rest. With `keys`, one a text, the reading is a training's, and what is dropped of a text depends on its key alone.
    ///
    /// # Errors
    /// Shapes that differ, an id without an embedding, more than [`BertConfig::most_tokens`](super::BertConfig::most_tokens) tokens, a row
    /// without any token.
    ///
    /// # Panics
    /// There are not as many keys as texts.
    pub fn forward(&self, ids_bt: &Tensor, mask_bt: &Tensor, keys: Option<&[u64]>) -> Result<TextFeatures, ModelError> {
        let (ids_bt, mask_bt) = self.on_device(ids_bt, mask_bt)?;
        let keys_pb = self.place_keys(keys).map(|keys_pb| {
            let rows = ids_bt.size()[0];
            assert_eq!(keys.map(<[u64]>::len), Some(rows as usize), "as many keys as texts");
            upload(&Tensor::from_slice(&keys_pb).view([-1, rows]), ids_bt.device())
        });
        Ok(self.read(&ids_bt, mask_bt.as_ref(), keys_pb.as_ref()))
    }

    /// Checked ids, and the mask where there is padding, on the device; of what [`Bert::forward`] takes.
    ///
    /// # Errors
    /// As [`Bert::forward`].
    pub(super) fn on_device(&self, ids_bt: &Tensor, mask_bt: &Tensor) -> Result<(Tensor, Option<Tensor>), ModelError> {
        expect_shape("text ids", ids_bt, &[-1, -1])?;
        expect_shape("text mask", mask_bt, &ids_bt.size())?;
        let mask_bt = mask_bt.ne(0);
        let ids: Vec<i64> = Vec::try_from(ids_bt.to_kind(Kind::Int64).flatten(0, -1)).expect("a flat i64 tensor");
        let mask: Vec<bool> = Vec::try_from(mask_bt.flatten(0, -1)).expect("a flat tensor of bools");
        let (rows, width) = ids_bt.size2().expect("two axes, as checked");
        self.check(&ids, &mask, [rows as usize, width as usize])?;
        let device = self.words.device();
        let mask_bt = mask.contains(&false).then(|| upload(&mask_bt, device));
        Ok((upload(ids_bt, device), mask_bt))
    }
}
