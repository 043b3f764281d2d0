//! Rotary position embedding in the rotate-half form: elements i and i + width / 2 of a head turn together.

use std::f64::consts::PI;

use tch::{Device, Kind, Tensor, no_grad};

use super::config::{LanguageModelConfig, RopeScaling};
use crate::libtorch::{self, LibtorchError, upload};

/// The frequencies of one model.
pub(super) struct Rope {
    /// (E / 2), f32: for every sequence, or for those up to the switch.
    short: Tensor,
    /// LongRoPE's: for sequences longer than this.
    long: Option<(usize, Tensor)>,
    /// On cosine and sine; 1 but for LongRoPE.
    scale: f64,
}

/// Cosines and sines of one batch of positions, (B or 1, T, 1, E / 2), E of a head.
pub(super) struct Angles {
    cos: Tensor,
    sin: Tensor,
    minus_sin: Tensor,
}

impl Rope {
    pub(super) fn new(config: &LanguageModelConfig, device: Device) -> Rope {
        // In f32 throughout, as transformers has it: at position 5000 one bit of a frequency is 2e-4 of an angle.
        let width = config.head_width();
        let exponents =
            Tensor::arange_start_step(0, width, 2, (Kind::Int64, Device::Cpu)).to_kind(Kind::Float) / width as f64;
        let powers = Tensor::pow_scalar(config.rope_theta, &exponents);
        let divided = |factors: &[f64]| (Tensor::from_slice(factors).to_kind(Kind::Float) * &powers).reciprocal();
        let original = config.original_max_position_embeddings.unwrap_or(config.max_position_embeddings);
        let (mut long, mut scale) = (None, 1.0);
        let short = match &config.rope_scaling {
            None => powers.reciprocal(),
            Some(RopeScaling::Longrope { short_factor, long_factor, attention_factor }) => {
                long = Some((original, upload(&divided(long_factor), device)));
                let growth = config.max_position_embeddings as f64 / original as f64;
                let of_growth = || if growth > 1.0 { (1.0 + growth.ln() / (original as f64).ln()).sqrt() } else { 1.0 };
                scale = attention_factor.unwrap_or_else(of_growth);
                divided(short_factor)
            }
            Some(RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor }) => {
                let (low, high) = (*low_freq_factor, *high_freq_factor);
                let frequencies = powers.reciprocal();
                let turns: Tensor = &frequencies * (original as f64 / (2.0 * PI));
                // 0 for low frequencies, 1 for high ones, between them the share that is kept.
                let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                &kept * &frequencies + (1.0 - &kept) * &frequencies / *factor
            }
        };
        Rope { short: upload(&short, device), long, scale }
    }

    /// The angles at (B or 1, T) positions of rows that are `lengths` long in all, in the kind of the hidden states.
    /// The length decides LongRoPE's factors row by row, so a row's angles do not depend on the batch it is in.
    pub(super) fn angles(&self, positions_bt: &Tensor, lengths: &[usize], kind: Kind) -> Angles {
        let turns = positions_bt.to_kind(Kind::Float).unsqueeze(-1).unsqueeze(-1) * self.frequencies(lengths);
        let sin = (turns.sin() * self.scale).to_kind(kind);
        Angles { cos: (turns.cos() * self.scale).to_kind(kind), minus_sin: -&sin, sin }
    }

    /// The angles at positions 0 to `width`, one row for all where their factors agree.
    pub(super) fn angles_from_zero(&self, width: i64, lengths: &[usize], kind: Kind) -> Angles {
        let positions_1t = Tensor::arange(width, (Kind::Float, self.short.device())).unsqueeze(0);
        self.angles(&positions_1t, lengths, kind)
    }

    /// (E / 2) where all rows take the same ones, else (B, 1, 1, E / 2).
    fn frequencies(&self, lengths: &[usize]) -> Tensor {
        let Some((switch, long)) = &self.long else {
            return self.short.shallow_clone();
        };
        let is_long: Vec<bool> = lengths.iter().map(|length| length > switch).collect();
        match (is_long.contains(&true), is_long.contains(&false)) {
            (true, true) => {
                let rows: Vec<&Tensor> =
                    is_long.iter().map(|is_long| if *is_long { long } else { &self.short }).collect();
                Tensor::stack(&rows, 0).unsqueeze(1).unsqueeze(1)
            }
            (true, false) => long.shallow_clone(),
            _ => self.short.shallow_clone(),
        }
    }
}

impl Angles {
    /// Turns every head of (B, T, A, E). Its gradient is turned back, for which the angles suffice.
    pub(super) fn turn(&self, x_btae: &Tensor) -> Tensor {
        let turned_btae = no_grad(|| turned(x_btae, &self.cos, &self.sin, &self.minus_sin).expect("heads have halves"));
        if !libtorch::autograd_enabled() || !x_btae.requires_grad() {
            return turned_btae;
        }
        let angles = self.shallow_clone();
        let attached = libtorch::attach(&turned_btae, &[x_btae], move |behind| {
            Ok(vec![Some(turned(behind.grad, &angles.cos, &angles.minus_sin, &angles.sin)?)])
        });
        attached.expect("a tensor and its gradient have one shape")
    }

    /// Another handle of the same angles.
    pub(super) fn shallow_clone(&self) -> Angles {
        let [cos, sin, minus_sin] = [&self.cos, &self.sin, &self.minus_sin].map(Tensor::shallow_clone);
        Angles { cos, sin, minus_sin }
    }
}

/// Heads (B, T, A, E) turned, in four passes over half of them.
fn turned(x_btae: &Tensor, cos: &Tensor, sin: &Tensor, minus_sin: &Tensor) -> Result<Tensor, LibtorchError> {
    let turned_btae = Tensor::f_empty(x_btae.size(), (x_btae.kind(), x_btae.device()))?;
    let (from, to) = (x_btae.f_chunk(2, -1)?, turned_btae.f_chunk(2, -1)?);
    let (left, right) = (&from[0], &from[1]);
    let _ = left.f_mul_out(&to[0], cos)?.f_addcmul_(right, minus_sin)?;
    let _ = right.f_mul_out(&to[1], cos)?.f_addcmul_(left, sin)?;
    Ok(turned_btae)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published attention factor of Phi-3's 128k model.
    #[test]
    fn longrope_scales_cosine_and_sine_at_every_length() {
        let config = LanguageModelConfig {
            max_position_embeddings: 131_072,
            rope_scaling: Some(RopeScaling::Longrope {
                short_factor: vec![1.0; 48],
                long_factor: vec![2.0; 48],
                attention_factor: None,
            }),
            ..LanguageModelConfig::phi3_mini_4k()
        };
        let rope = Rope::new(&config, Device::Cpu);
        assert!((rope.scale - 1.19024).abs() < 1e-5);
        for length in [10, 5000] {
            let angles = rope.angles_from_zero(1, &[length], Kind::Float);
            assert!((angles.cos.max().double_value(&[]) - 1.19024).abs() < 1e-5);
        }
    }

    #[test]
    fn each_row_takes_the_factors_of_its_own_length() {
        let config = LanguageModelConfig {
            hidden_size: 8,
            num_attention_heads: 2,
            max_position_embeddings: 64,
            original_max_position_embeddings: Some(16),
            rope_scaling: Some(RopeScaling::Longrope {
                short_factor: vec![1.0, 1.0],
                long_factor: vec![1.0, 4.0],
                attention_factor: Some(1.0),
            }),
            ..LanguageModelConfig::phi3_mini_4k()
        };
        let rope = Rope::new(&config, Device::Cpu);
        let both = rope.angles_from_zero(20, &[16, 17], Kind::Float).sin;
        for (row, lengths) in [[3], [20]].iter().enumerate() {
            let alone = rope.angles_from_zero(20, lengths, Kind::Float).sin;
            assert!(both.get(row as i64) == alone.get(0));
        }
        assert!(both.get(0) != both.get(1));
    }

    /// Against libtorch's own autograd over the formula: in f32 but for the order of rounding, in bf16 within one rounding of the
    /// two products and their sum.
    #[test]
    fn turning_and_its_gradient_equal_the_formula() {
        tch::manual_seed(7);
        let rope = Rope::new(&LanguageModelConfig::phi3_mini_4k(), Device::Cpu);
        for (kind, tolerance) in [(Kind::Float, 1e-6), (Kind::BFloat16, 2e-2)] {
            let angles = rope.angles_from_zero(9, &[9], kind);
            let wide = Tensor::randn([2, 9, 5, 96], (Kind::Float, Device::Cpu)).to_kind(kind).set_requires_grad(true);
            // A part of a wider tensor, as queries and keys are.
            let x = wide.narrow(2, 1, 3);
            let halves = x.chunk(2, -1);
            let (left, right) = (&halves[0], &halves[1]);
            let naive = [left * &angles.cos - right * &angles.sin, right * &angles.cos + left * &angles.sin];
            let naive = Tensor::cat(&naive, -1);
            let arriving = naive.detach().sin();
            let gradient = |value: &Tensor| {
                libtorch::backward_from(value, &arriving).unwrap();
                libtorch::taken_gradient(&wide)
            };
            let off = |found: &Tensor, expected: &Tensor| (found - expected).abs().max().double_value(&[]);
            let found = angles.turn(&x);
            assert!(off(&found, &naive) <= tolerance, "{}", off(&found, &naive));
            let (found, expected) = (gradient(&found), gradient(&naive));
            assert!(off(&found, &expected) <= tolerance, "{}", off(&found, &expected));
            assert!(expected.abs().max().double_value(&[]) > 0.5);
        }
    }
}
