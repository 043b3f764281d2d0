//! Rotary position embedding in the rotate-half form: places i and i + width / 2 of a head turn together.

use tch::{Device, Kind, Tensor};

use super::config::Phi3Config;

/// The frequencies of one model.
pub(super) struct Rope {
    /// (width / 2), f32.
    frequencies: Tensor,
    /// On cosine and sine; 1 but for LongRoPE.
    scale: f64,
}

/// Cosines and sines of one batch of positions, (B or 1, T, 1, width / 2).
pub(super) struct Angles {
    cos: Tensor,
    sin: Tensor,
}

impl Rope {
    pub(super) fn new(config: &Phi3Config, device: Device) -> Rope {
        let width = config.head_width();
        let mut frequencies: Vec<f64> =
            (0..width / 2).map(|i| config.rope_theta.powf(-2.0 * i as f64 / width as f64)).collect();
        let mut scale = 1.0;
        if let (Some(scaling), Some(original)) = (&config.rope_scaling, config.original_max_position_embeddings) {
            frequencies.iter_mut().zip(&scaling.short_factor).for_each(|(frequency, factor)| *frequency /= factor);
            let growth = config.max_position_embeddings as f64 / original as f64;
            if growth > 1.0 {
                scale = (1.0 + growth.ln() / (original as f64).ln()).sqrt();
            }
        }
        Rope { frequencies: Tensor::from_slice(&frequencies).to_kind(Kind::Float).to_device(device), scale }
    }

    /// The angles at (B or 1, T) positions, in the kind of the hidden states.
    pub(super) fn angles(&self, positions_bt: &Tensor, kind: Kind) -> Angles {
        let turns = positions_bt.to_kind(Kind::Float).unsqueeze(-1).unsqueeze(-1) * &self.frequencies;
        Angles { cos: (turns.cos() * self.scale).to_kind(kind), sin: (turns.sin() * self.scale).to_kind(kind) }
    }

    /// The angles at positions 0 to `length`, the same for every row.
    pub(super) fn angles_from_zero(&self, length: i64, kind: Kind) -> Angles {
        self.angles(&Tensor::arange(length, (Kind::Float, self.frequencies.device())).unsqueeze(0), kind)
    }
}

impl Angles {
    /// Turns every head of (B, T, heads, width).
    pub(super) fn turn(&self, x_bthe: &Tensor) -> Tensor {
        let halves = x_bthe.chunk(2, -1);
        let (left, right) = (&halves[0], &halves[1]);
        Tensor::cat(&[left * &self.cos - right * &self.sin, right * &self.cos + left * &self.sin], -1)
    }
}
