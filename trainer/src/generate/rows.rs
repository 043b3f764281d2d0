//! Rows of tokens that grow: the prompts, then one token a row and step, through the cache.

use tch::{Device, Kind, Tensor};

use crate::model::ModelError;
use crate::model::language_model::{KvCache, LanguageModel};

/// A batch whose rows grow.
pub(super) struct Rows<'a> {
    llm: &'a LanguageModel,
    cache: KvCache,
    /// Tokens of each row so far.
    lengths: Vec<usize>,
    /// Final hidden state of each row's last token, (B, E).
    hidden_be: Tensor,
    /// Input embeddings of everything, (B, slots, E), where a row may have to be read again.
    read: Option<Tensor>,
}

impl<'a> Rows<'a> {
    /// Reads the prompts: embeddings (B, T, E), right-padded to the longest of `lengths`.
    pub(super) fn start(
        llm: &'a LanguageModel,
        embeddings_bte: &Tensor,
        lengths: &[usize],
        max_new_tokens: usize,
    ) -> Result<Rows<'a>, ModelError> {
        let longest = lengths.iter().max().copied().unwrap_or(0).saturating_add(max_new_tokens);
        let expected = llm.config().max_position_embeddings;
        if longest > expected {
            return Err(ModelError::TooLong { what: "prompt and answer", expected, found: longest });
        }
        if lengths.contains(&0) {
            return Err(ModelError::config("prompt", "1 token or more", 0));
        }
        let (batch, device) = (lengths.len() as i64, embeddings_bte.device());
        let mut cache = KvCache::new(llm.config(), batch, longest as i64, embeddings_bte.kind(), device);
        let hidden_bte = llm.prefill(embeddings_bte, lengths, &mut cache)?;
        let may_cross = llm
            .rope_switch()
            .is_some_and(|switch| lengths.iter().any(|length| (*length..length + max_new_tokens).contains(&switch)));
        let read = may_cross.then(|| {
            let missing = longest as i64 - embeddings_bte.size()[1];
            embeddings_bte.constant_pad_nd([0, 0, 0, missing])
        });
        Ok(Rows { llm, cache, lengths: lengths.to_vec(), hidden_be: last(&hidden_bte, lengths), read })
    }

    /// Rows of the batch.
    pub(super) fn count(&self) -> usize {
        self.lengths.len()
    }

    /// The device of the rows.
    pub(super) fn device(&self) -> Device {
        self.hidden_be.device()
    }

    /// The logits of each row's next token, (B, V) in f32.
    pub(super) fn logits(&self) -> Tensor {
        self.llm.logits(&self.hidden_be).to_kind(Kind::Float)
    }

    /// Appends one token to each row, ids (B).
    pub(super) fn push(&mut self, ids_b: &Tensor) -> Result<(), ModelError> {
        let embeddings_b1e = self.llm.embed(&ids_b.unsqueeze(1));
        let positions_b: Vec<i64> = self.lengths.iter().map(|length| *length as i64).collect();
        self.hidden_be = self.llm.step(&embeddings_b1e, &positions_b, &mut self.cache)?.squeeze_dim(1);
        self.lengths.iter_mut().for_each(|length| *length += 1);
        let Some(read) = &mut self.read else {
            return Ok(());
        };
        let device = read.device();
        let rows_b = Tensor::arange(positions_b.len() as i64, (Kind::Int64, device));
        let positions_b = Tensor::from_slice(&positions_b).to_device(device);
        let _ = read.index_put_(&[Some(&rows_b), Some(&positions_b)], &embeddings_b1e.squeeze_dim(1), false);
        self.reread_crossing()
    }

    /// Row b becomes a copy of row `rows[b]`; more rows than before are allowed.
    pub(super) fn reorder(&mut self, rows: &[usize]) {
        let index: Vec<i64> = rows.iter().map(|row| *row as i64).collect();
        let index = Tensor::from_slice(&index).to_device(self.hidden_be.device());
        self.cache.reorder(&index);
        self.lengths = rows.iter().map(|row| self.lengths[*row]).collect();
        self.hidden_be = self.hidden_be.index_select(0, &index);
        self.read = self.read.as_ref().map(|read| read.index_select(0, &index));
    }

    /// Rows that have just grown past the switch of LongRoPE's factors are read again with the new ones.
    fn reread_crossing(&mut self) -> Result<(), ModelError> {
        let (Some(read), Some(switch)) = (&self.read, self.llm.rope_switch()) else {
            return Ok(());
        };
        let crossing: Vec<i64> =
            (0i64..).zip(&self.lengths).filter(|(_, length)| **length == switch + 1).map(|(row, _)| row).collect();
        if crossing.is_empty() {
            return Ok(());
        }
        let index = Tensor::from_slice(&crossing).to_device(read.device());
        let embeddings_rte = read.index_select(0, &index).narrow(1, 0, switch as i64 + 1);
        let lengths = vec![switch + 1; crossing.len()];
        let hidden_rte = self.llm.reread(&embeddings_rte, &lengths, &crossing, &mut self.cache)?;
        let _ = self.hidden_be.index_copy_(0, &index, &last(&hidden_rte, &lengths));
        Ok(())
    }
}

/// The hidden state of each row's last token, (B, E).
fn last(hidden_bte: &Tensor, lengths: &[usize]) -> Tensor {
    let last_b: Vec<i64> = lengths.iter().map(|length| *length as i64 - 1).collect();
    let rows_b = Tensor::arange(last_b.len() as i64, (Kind::Int64, hidden_bte.device()));
    hidden_bte.index(&[Some(&rows_b), Some(&Tensor::from_slice(&last_b).to_device(hidden_bte.device()))])
}
