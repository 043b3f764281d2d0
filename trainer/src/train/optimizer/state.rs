//! What a checkpoint stores of the optimizer.

use std::collections::HashMap;

use tch::{Kind, Tensor, no_grad};

use super::adamw::{AdamW, OptimizerError};
use crate::TrainerError;

/// What must be stored to continue exactly.
pub struct AdamWState {
    /// Updates so far; a step that was left out is none.
    pub updates: u64,
    /// For every weight `exp_avg/NAME` and `exp_avg_sq/NAME`, f32, and for a bf16 one `remainder/NAME`, i16: what its rounding from
    /// f32 left over. All of the weight's shape; they share storage with the optimizer where it keeps them so.
    pub tensors: Vec<(String, Tensor)>,
}

impl AdamW {
    /// What a checkpoint stores. Waits for the device.
    pub fn state(&self) -> AdamWState {
        AdamWState { updates: self.updates(), tensors: no_grad(|| self.stored()) }
    }

    fn stored(&self) -> Vec<(String, Tensor)> {
        let mut tensors = Vec::new();
        for (bucket, slot) in self.slots() {
            let mut push = |what: &str, tensor| tensors.push((format!("{what}/{}", slot.name), tensor));
            push("exp_avg", slot.view(&bucket.exp_avg));
            push("exp_avg_sq", slot.view(&bucket.exp_avg_sq));
            bucket.remainder(slot).into_iter().for_each(|remainder| push("remainder", remainder));
        }
        tensors
    }

    /// Continues from a stored state, a tensor at a time. The weights are those of the same checkpoint.
    ///
    /// # Errors
    /// The state does not name exactly these weights with these shapes and kinds: the optimizer is then unchanged. A tensor that
    /// does not read.
    pub fn load_state(&mut self, stored: &impl StoredState) -> Result<(), TrainerError> {
        let own: HashMap<String, String> = no_grad(|| self.stored())
            .into_iter()
            .map(|(name, tensor)| (name, in_words(tensor.kind(), &tensor.size())))
            .collect();
        let given: HashMap<String, String> =
            stored.described()?.into_iter().map(|(name, kind, shape)| (name, in_words(kind, &shape))).collect();
        let mut names: Vec<&String> = own.keys().chain(given.keys()).collect();
        names.sort();
        for name in names {
            let [expected, found] = [&own, &given].map(|words| words.get(name).cloned().unwrap_or("nothing".into()));
            if expected != found {
                return Err(OptimizerError::State { name: name.clone(), expected, found }.into());
            }
        }
        no_grad(|| {
            for (bucket, slot) in self.slots() {
                let tensor = |what: &str| stored.tensor(&format!("{what}/{}", slot.name));
                slot.view(&bucket.exp_avg).copy_(&tensor("exp_avg")?);
                slot.view(&bucket.exp_avg_sq).copy_(&tensor("exp_avg_sq")?);
                if bucket.remainder(slot).is_some() {
                    bucket.put_remainder(slot, &tensor("remainder")?);
                }
            }
            Ok::<(), TrainerError>(())
        })?;
        self.set_updates(stored.updates());
        Ok(())
    }
}

/// What an optimizer's state is read from, one tensor at a time.
pub trait StoredState {
    /// Updates so far.
    fn updates(&self) -> u64;
    /// Name, kind and shape of every tensor, without its values.
    ///
    /// # Errors
    /// What is stored does not read.
    fn described(&self) -> Result<Vec<(String, Kind, Vec<i64>)>, TrainerError>;
    /// The values of one.
    ///
    /// # Errors
    /// As [`StoredState::described`].
    fn tensor(&self, name: &str) -> Result<Tensor, TrainerError>;
}

impl StoredState for AdamWState {
    fn updates(&self) -> u64 {
        self.updates
    }

    fn described(&self) -> Result<Vec<(String, Kind, Vec<i64>)>, TrainerError> {
        Ok(self.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.kind(), tensor.size())).collect())
    }

    fn tensor(&self, name: &str) -> Result<Tensor, TrainerError> {
        let found = self.tensors.iter().find(|(other, _)| other == name);
        Ok(found.expect("a described tensor is there").1.shallow_clone())
    }
}

/// A tensor's kind and shape as a message states them.
fn in_words(kind: Kind, shape: &[i64]) -> String {
    let kind = match kind {
        Kind::Float => "f32",
        Kind::BFloat16 => "bf16",
        Kind::Half => "f16",
        Kind::Int16 => "i16",
        _ => "another kind",
    };
    let shape: Vec<String> = shape.iter().map(i64::to_string).collect();
    format!("{kind} [{}]", shape.join(", "))
}
