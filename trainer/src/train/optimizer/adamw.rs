//! AdamW with moments that this crate owns, so that they can be saved, moved and resumed exactly.

use std::collections::HashMap;

use tch::{Kind, Tensor, no_grad};

use crate::libtorch::{self, AdamWLists, AdamWNumbers, LibtorchError};
use crate::model::piece::Trained;

/// AdamW's constants; the learning rate comes with each step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWConfig {
    /// The run's peak rate, of which a step's is a share; a weight with a peak of its own gets the same share of that.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled decay of matrices; norms and biases, tensors of one axis, never decay.
    pub weight_decay: f64,
    /// Inputs up to which a matrix learns at the full rate; one with more learns slower in proportion (maximal update
    /// parametrization, Yang et al. 2022). AdamW moves every weight by about the rate, so thousands of inputs that rise
    /// and fall together, as the voxels of a large patch do, would change an output by many times its size in one step.
    /// None is plain AdamW.
    pub full_rate_inputs: Option<u32>,
}

impl Default for AdamWConfig {
    /// transformers' defaults, which the released recipes keep.
    fn default() -> AdamWConfig {
        AdamWConfig {
            learning_rate: 1.0,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.0,
            full_rate_inputs: None,
        }
    }
}

/// What must be stored to continue exactly.
pub struct AdamWState {
    /// Finished steps.
    pub step: u64,
    /// `exp_avg/NAME` and `exp_avg_sq/NAME` for every parameter, sharing storage with the optimizer.
    pub tensors: Vec<(String, Tensor)>,
}

/// Why a step or a resumption failed.
#[derive(Debug, thiserror::Error)]
pub enum OptimizerError {
    /// libtorch rejected the tensors.
    #[error(transparent)]
    Libtorch(#[from] LibtorchError),
    /// A stored state does not belong to these parameters.
    #[error("optimizer state {name}: expected shape {expected:?}, found {found:?}")]
    State {
        /// The tensor's name.
        name: String,
        /// The parameter's shape; empty where no parameter has that name.
        expected: Vec<i64>,
        /// The stored shape; empty where nothing is stored.
        found: Vec<i64>,
    },
}

/// The optimizer of one list of named f32 parameters.
pub struct AdamW {
    config: AdamWConfig,
    step: u64,
    slots: Vec<Slot>,
}

/// One parameter and its moments.
struct Slot {
    name: String,
    param: Tensor,
    /// Peak rate and decay of its own.
    learning_rate: Option<f64>,
    weight_decay: Option<f64>,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
}

impl AdamW {
    /// Moments of zeros for every parameter; parameters share storage with the model.
    pub fn new<P: Into<Trained>>(params: Vec<P>, config: AdamWConfig) -> AdamW {
        let slot = |param: P| {
            let Trained { name, tensor: param, learning_rate, weight_decay } = param.into();
            let zeros = || no_grad(|| param.zeros_like());
            Slot { name, exp_avg: zeros(), exp_avg_sq: zeros(), param, learning_rate, weight_decay }
        };
        AdamW { config, step: 0, slots: params.into_iter().map(slot).collect() }
    }

    /// Finished steps.
    pub fn step_count(&self) -> u64 {
        self.step
    }

    /// One step with this learning rate. Parameters without a gradient stay as they are.
    ///
    /// # Errors
    /// libtorch rejects the tensors.
    pub fn step(&mut self, lr: f64) -> Result<(), OptimizerError> {
        self.step += 1;
        // One call to libtorch for all parameters of the same rate and decay.
        let mut groups: Vec<(f64, f64, AdamWLists)> = Vec::new();
        for slot in &self.slots {
            let grad = slot.param.grad();
            if !grad.defined() {
                continue;
            }
            let own_decay = slot.weight_decay.unwrap_or(self.config.weight_decay);
            let decay = if slot.param.dim() > 1 { own_decay } else { 0.0 };
            let peak = slot.learning_rate.map_or(lr, |own| own * (lr / self.config.learning_rate));
            let rate = peak * self.rate_of(&slot.param);
            let group = groups.iter().position(|(r, d, _)| (*r, *d) == (rate, decay)).unwrap_or_else(|| {
                groups.push((rate, decay, AdamWLists::default()));
                groups.len() - 1
            });
            let lists = &mut groups[group].2;
            lists.params.push(slot.param.shallow_clone());
            lists.grads.push(grad);
            lists.exp_avgs.push(slot.exp_avg.shallow_clone());
            lists.exp_avg_sqs.push(slot.exp_avg_sq.shallow_clone());
        }
        for (lr, weight_decay, lists) in groups {
            let step = Tensor::full([0i64; 0].as_slice(), self.step as f64, (Kind::Float, lists.params[0].device()));
            let AdamWConfig { beta1, beta2, eps, .. } = self.config;
            libtorch::fused_adamw(&lists, &step, AdamWNumbers { lr, beta1, beta2, weight_decay, eps })?;
        }
        Ok(())
    }

    /// The share of the learning rate that a parameter gets, see [`AdamWConfig::full_rate_inputs`].
    fn rate_of(&self, param: &Tensor) -> f64 {
        let inputs: i64 = param.size().iter().skip(1).product();
        match self.config.full_rate_inputs {
            Some(full) if inputs > full as i64 => f64::from(full) / inputs as f64,
            _ => 1.0,
        }
    }

    /// Drops all gradients.
    ///
    /// # Errors
    /// libtorch rejects the tensors.
    pub fn zero_grad(&self) -> Result<(), OptimizerError> {
        let params: Vec<Tensor> = self.slots.iter().map(|slot| slot.param.shallow_clone()).collect();
        Ok(libtorch::drop_grads(&params)?)
    }

    /// What a checkpoint stores.
    pub fn state(&self) -> AdamWState {
        let named = |slot: &Slot| {
            [
                (format!("exp_avg/{}", slot.name), slot.exp_avg.shallow_clone()),
                (format!("exp_avg_sq/{}", slot.name), slot.exp_avg_sq.shallow_clone()),
            ]
        };
        AdamWState { step: self.step, tensors: self.slots.iter().flat_map(named).collect() }
    }

    /// Continues from a stored state, copying its tensors.
    ///
    /// # Errors
    /// The state does not name exactly these parameters with these shapes; the optimizer is then unchanged.
    pub fn load_state(&mut self, state: AdamWState) -> Result<(), OptimizerError> {
        let own: HashMap<String, Tensor> = self.state().tensors.into_iter().collect();
        let given: HashMap<String, Tensor> = state.tensors.into_iter().collect();
        for name in own.keys().chain(given.keys()) {
            let shape = |tensors: &HashMap<String, Tensor>| tensors.get(name).map(Tensor::size);
            let (expected, found) = (shape(&own), shape(&given));
            if expected != found {
                let (expected, found) = (expected.unwrap_or_default(), found.unwrap_or_default());
                return Err(OptimizerError::State { name: name.clone(), expected, found });
            }
        }
        no_grad(|| own.iter().for_each(|(name, tensor)| tensor.shallow_clone().copy_(&given[name])));
        self.step = state.step;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn a_weight_has_its_own_rate_and_decay() {
        let param = |value: f64| Tensor::full([1, 2], value, (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let (usual, own) = (param(1.0), param(1.0));
        let trained = |tensor: &Tensor, learning_rate, weight_decay| Trained {
            name: String::new(),
            tensor: tensor.shallow_clone(),
            learning_rate,
            weight_decay,
        };
        let config = AdamWConfig { learning_rate: 0.1, weight_decay: 0.5, ..AdamWConfig::default() };
        let both = vec![trained(&usual, None, None), trained(&own, Some(0.02), Some(0.0))];
        let mut optimizer = AdamW::new(both, config);
        (usual.sum(Kind::Float) + own.sum(Kind::Float)).backward();
        // A step at half of the peak. The first step of Adam moves every weight by the rate.
        optimizer.step(0.05).unwrap();
        let moved = |param: &Tensor| 1.0 - param.double_value(&[0, 0]);
        assert!((moved(&usual) - (0.05 + 0.5 * 0.05)).abs() < 1e-6, "{}", moved(&usual));
        assert!((moved(&own) - 0.01).abs() < 1e-6, "{}", moved(&own));
    }

    #[test]
    fn a_matrix_of_many_inputs_learns_slower_in_proportion() {
        let moved = |inputs: i64, full_rate_inputs: Option<u32>| {
            let param = Tensor::zeros([1, inputs], (Kind::Float, Device::Cpu)).set_requires_grad(true);
            let config = AdamWConfig { full_rate_inputs, ..AdamWConfig::default() };
            let mut optimizer = AdamW::new(vec![("x".into(), param.shallow_clone())], config);
            param.sum(Kind::Float).backward();
            optimizer.step(0.01).unwrap();
            -param.double_value(&[0, 0])
        };
        // The first step of Adam moves every weight by the rate.
        for (inputs, full, expected) in [(8, None, 0.01), (8, Some(8), 0.01), (8, Some(2), 0.0025), (4, Some(8), 0.01)]
        {
            assert!((moved(inputs, full) - expected).abs() < 1e-6, "{inputs} {full:?}");
        }
    }
}
