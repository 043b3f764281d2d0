//! The gated activation of the language models: `silu(gate) * up`, of which only gate and up are kept.

use tch::{Tensor, no_grad};

use crate::libtorch::{self, LibtorchError};

/// Of two tensors of one shape.
pub(crate) fn gated(gate: &Tensor, up: &Tensor) -> Tensor {
    let value = value(gate, up);
    if !libtorch::autograd_enabled() || !(gate.requires_grad() || up.requires_grad()) {
        return value;
    }
    let saved = [gate, up].map(Tensor::shallow_clone);
    let attached = libtorch::attach(&value, &[gate, up], move |behind| {
        let [gate, up] = &saved;
        let [of_gate, of_up] = [gate, up].map(Tensor::f_empty_like);
        let (of_gate, of_up) = (of_gate?, of_up?);
        gradients(behind.grad, gate, up, &of_gate, &of_up)?;
        Ok(vec![Some(of_gate), Some(of_up)])
    });
    attached.expect("gate and up have one shape")
}

/// Of a tensor that holds the gate in the first half of its last axis and what it weighs in the second. Its gradient is made in
/// one piece.
pub(crate) fn gated_halves(both: &Tensor) -> Tensor {
    let halves = both.chunk(2, -1);
    let value = value(&halves[0], &halves[1]);
    if !libtorch::autograd_enabled() || !both.requires_grad() {
        return value;
    }
    let saved = both.detach();
    let attached = libtorch::attach(&value, &[both], move |behind| {
        let of_both = saved.f_empty_like()?;
        let (halves, grads) = (saved.f_chunk(2, -1)?, of_both.f_chunk(2, -1)?);
        gradients(behind.grad, &halves[0], &halves[1], &grads[0], &grads[1])?;
        Ok(vec![Some(of_both)])
    });
    attached.expect("the last axis has halves")
}

fn value(gate: &Tensor, up: &Tensor) -> Tensor {
    no_grad(|| gate.silu().multiply_(up))
}

/// Writes the gradients of gate and up.
fn gradients(grad: &Tensor, gate: &Tensor, up: &Tensor, of_gate: &Tensor, of_up: &Tensor) -> Result<(), LibtorchError> {
    let _ = gate.f_silu()?.f_mul_out(of_up, grad)?;
    let _ = gate.f_silu_backward_grad_input(of_gate, &grad.f_mul(up)?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    /// Bit for bit libtorch's own autograd over the formula: the operations are the same, in f32 and in bf16.
    #[test]
    fn a_gated_activation_equals_libtorchs_own_autograd() {
        tch::manual_seed(6);
        for kind in [Kind::Float, Kind::BFloat16] {
            let both = Tensor::randn([3, 5, 14], (Kind::Float, Device::Cpu)).to_kind(kind).set_requires_grad(true);
            let halves = || both.chunk(2, -1);
            let naive = halves()[0].silu() * &halves()[1];
            let arriving = naive.detach().sin();
            let of = |value: Tensor| {
                assert!(value == naive);
                libtorch::backward_from(&value, &arriving).unwrap();
                libtorch::taken_gradient(&both)
            };
            let expected = of(naive.shallow_clone());
            assert!(of(gated_halves(&both)) == expected, "halves");
            assert!(of(gated(&halves()[0], &halves()[1])) == expected, "apart");
            no_grad(|| assert!(!gated_halves(&both).requires_grad() && gated_halves(&both) == naive));
        }
    }
}
