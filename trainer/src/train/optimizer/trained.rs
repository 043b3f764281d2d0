//! A weight that is trained, and which weights share a bucket.

use tch::{Kind, Tensor};

/// A weight that an optimizer moves.
pub struct Trained {
    /// Its name, of which the state's names are made.
    pub name: String,
    /// The model's own tensor, a leaf that requires a gradient. The optimizer gives it another storage.
    pub tensor: Tensor,
    /// What it becomes: f32, or bf16 with the rest of its f32 value kept by the optimizer.
    pub kind: Kind,
    /// Its share of the learning rate that a step gets.
    pub rate: f64,
    /// Its decoupled decay.
    pub decay: f64,
}

/// Rates and decays as the kind of a weight decides them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Decoupled decay of matrices; norms and biases, tensors of one axis, never decay.
    pub weight_decay: f64,
    /// Inputs up to which a matrix learns at the full rate; one with more learns slower in proportion (maximal update
    /// parametrization, Yang et al. 2022). AdamW moves every weight by about the rate, so thousands of inputs that rise
    /// and fall together, as the voxels of a large patch do, would change an output by many times its size in one step.
    /// None is plain AdamW.
    pub full_rate_inputs: Option<u32>,
}

impl Rates {
    /// The share of the learning rate that a weight gets.
    pub fn rate_of(&self, tensor: &Tensor) -> f64 {
        let inputs: i64 = tensor.size().iter().skip(1).product();
        match self.full_rate_inputs {
            Some(full) if inputs > i64::from(full) => f64::from(full) / inputs as f64,
            _ => 1.0,
        }
    }

    /// The decay that a weight gets.
    pub fn decay_of(&self, tensor: &Tensor) -> f64 {
        if tensor.dim() > 1 { self.weight_decay } else { 0.0 }
    }
}

impl Trained {
    /// Named weights, which become `kind`, under these rates.
    pub fn all(named: Vec<(String, Tensor)>, kind: Kind, rates: Rates) -> Vec<Trained> {
        let trained = |(name, tensor): (String, Tensor)| {
            let (rate, decay) = (rates.rate_of(&tensor), rates.decay_of(&tensor));
            Trained { name, tensor, kind, rate, decay }
        };
        named.into_iter().map(trained).collect()
    }

    /// Whether two weights are in one bucket: of one block, with the same rate, decay and kind.
    pub(super) fn belongs_with(&self, other: &Trained) -> bool {
        let key = |trained: &Trained| (trained.rate.to_bits(), trained.decay.to_bits(), trained.kind);
        key(self) == key(other) && self.block() == other.block()
    }

    /// What the name says of the weight's place: up to the first number, which counts a part's blocks or maps. Without a number a
    /// matrix, such as a table of embeddings, is a block of its own, and what has one axis goes with the others of its part.
    fn block(&self) -> &str {
        let is_number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
        let mut end = 0;
        for word in self.name.split('.') {
            end += word.len();
            if is_number(word) {
                return &self.name[..end];
            }
            end += 1;
        }
        if self.tensor.dim() > 1 { &self.name } else { self.name.split('/').next().unwrap_or_default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    fn trained(name: &str, shape: &[i64]) -> Trained {
        let tensor = Tensor::zeros(shape, (Kind::Float, Device::Cpu));
        Trained { name: name.into(), tensor, kind: Kind::Float, rate: 1.0, decay: 0.0 }
    }

    #[test]
    fn a_block_is_known_by_its_number() {
        for (name, shape, block) in [
            ("llm/model.layers.12.self_attn.o_proj.weight", &[2i64, 2][..], "llm/model.layers.12"),
            (
                "adapters/base_model.model.model.layers.0.mlp.lora_A.weight",
                &[2, 2],
                "adapters/base_model.model.model.layers.0",
            ),
            ("llm/model.embed_tokens.weight", &[2, 2], "llm/model.embed_tokens.weight"),
            ("llm/model.norm.weight", &[2], "llm"),
            ("x", &[2], "x"),
        ] {
            assert_eq!(trained(name, shape).block(), block);
        }
        let same = |a: &Trained, b: &Trained| a.belongs_with(b);
        let [first, second, other] = ["a/b.0.x", "a/b.0.y", "a/b.1.x"].map(|name| trained(name, &[2]));
        assert!(same(&first, &second) && !same(&first, &other));
        assert!(!same(&first, &Trained { rate: 0.5, ..trained("a/b.0.y", &[2]) }));
        assert!(!same(&first, &Trained { decay: 0.5, ..trained("a/b.0.y", &[2]) }));
        assert!(!same(&first, &Trained { kind: Kind::BFloat16, ..trained("a/b.0.y", &[2]) }));
    }

    #[test]
    fn matrices_decay_and_many_inputs_learn_slower() {
        let rates = Rates { weight_decay: 0.1, full_rate_inputs: Some(4) };
        let zeros = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, Device::Cpu));
        for (shape, rate, decay) in [(&[3i64, 4][..], 1.0, 0.1), (&[3, 2, 8], 0.25, 0.1), (&[64], 1.0, 0.0)] {
            assert_eq!((rates.rate_of(&zeros(shape)), rates.decay_of(&zeros(shape))), (rate, decay));
        }
        assert_eq!(Rates::default().rate_of(&zeros(&[1, 1 << 20])), 1.0);
    }
}
