//! What a checkpoint stores of the optimizer.

use std::collections::HashMap;

use tch::{Kind, Tensor, no_grad};

use super::adamw::{AdamW, OptimizerError};

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

    /// Continues from a stored state, copying its tensors. The weights are those of the same checkpoint.
    ///
    /// # Errors
    /// The state does not name exactly these weights with these shapes and kinds; the optimizer is then unchanged.
    pub fn load_state(&mut self, state: AdamWState) -> Result<(), OptimizerError> {
        let given: HashMap<String, Tensor> = state.tensors.into_iter().collect();
        let own: HashMap<String, Tensor> = no_grad(|| self.stored()).into_iter().collect();
        let mut names: Vec<&String> = own.keys().chain(given.keys()).collect();
        names.sort();
        for name in names {
            let [expected, found] = [&own, &given].map(|tensors| in_words(tensors.get(name)));
            if expected != found {
                return Err(OptimizerError::State { name: name.clone(), expected, found });
            }
        }
        no_grad(|| {
            for (bucket, slot) in self.slots() {
                let stored = |what: &str| given.get(&format!("{what}/{}", slot.name));
                for (what, buffer) in [("exp_avg", &bucket.exp_avg), ("exp_avg_sq", &bucket.exp_avg_sq)] {
                    stored(what).into_iter().for_each(|tensor| slot.view(buffer).copy_(tensor));
                }
                stored("remainder").into_iter().for_each(|remainder| bucket.put_remainder(slot, remainder));
            }
        });
        self.set_updates(state.updates);
        Ok(())
    }
}

/// A tensor's kind and shape as a message states them.
fn in_words(tensor: Option<&Tensor>) -> String {
    let Some(tensor) = tensor else {
        return "nothing".into();
    };
    let kind = match tensor.kind() {
        Kind::Float => "f32",
        Kind::BFloat16 => "bf16",
        Kind::Half => "f16",
        Kind::Int16 => "i16",
        _ => "another kind",
    };
    let shape: Vec<String> = tensor.size().iter().map(i64::to_string).collect();
    format!("{kind} [{}]", shape.join(", "))
}
