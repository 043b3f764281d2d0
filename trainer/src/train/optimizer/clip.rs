//! Gradient clipping by the norm over all parameters.

use tch::Tensor;

use crate::libtorch::{self, LibtorchError};

/// The norm over all gradients before clipping, an f32 scalar on their device; reading it is a sync point. With a
/// `max_norm`, gradients are then scaled in place so that their norm is at most that; without one they stay as they are.
/// As torch's `clip_grad_norm_`.
///
/// # Errors
/// No parameter has a gradient, or libtorch rejects them.
pub fn clip_grad_norm(params: &[(String, Tensor)], max_norm: Option<f64>) -> Result<Tensor, LibtorchError> {
    let grads: Vec<Tensor> = params.iter().map(|(_, param)| param.grad()).filter(Tensor::defined).collect();
    let norm = libtorch::global_norm(&grads)?;
    if let Some(max_norm) = max_norm {
        // The same small term as torch has, and no branch on the norm: the device never waits.
        let factor = (max_norm / (&norm + 1e-6)).clamp_max(1.0);
        libtorch::foreach_mul(&grads, &factor)?;
    }
    Ok(norm)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    fn param(grad: &[f32]) -> (String, Tensor) {
        let param = Tensor::zeros([grad.len() as i64], (Kind::Float, tch::Device::Cpu)).set_requires_grad(true);
        (&param * Tensor::from_slice(grad)).sum(Kind::Float).backward();
        (String::new(), param)
    }

    #[test]
    fn scales_down_to_the_limit_and_reports_the_norm_before() {
        let params = [param(&[3.0, 0.0]), param(&[4.0])];
        let norm = clip_grad_norm(&params, Some(1.0)).unwrap();
        assert!((norm.double_value(&[]) - 5.0).abs() < 1e-6);
        assert!((params[0].1.grad().double_value(&[0]) - 0.6).abs() < 1e-6);
        assert!((params[1].1.grad().double_value(&[0]) - 0.8).abs() < 1e-6);
    }

    #[test]
    fn leaves_small_or_unlimited_gradients_alone() {
        for limit in [Some(6.0), None] {
            let params = [param(&[3.0, 4.0])];
            let norm = clip_grad_norm(&params, limit).unwrap();
            assert_eq!(norm.double_value(&[]), 5.0);
            assert_eq!(params[0].1.grad().double_value(&[1]), 4.0);
        }
    }

    #[test]
    fn no_gradient_is_an_error() {
        assert!(clip_grad_norm(&[], Some(1.0)).is_err());
    }
}
