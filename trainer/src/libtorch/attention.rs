//! Fused attention whose graph is made apart from its value, so that the value can be kept and the graph made later.

use std::ffi::c_int;

use tch::Tensor;

use super::call::{LibtorchError, TensorPtr, check, pointer, take};
use super::gradients::autograd_enabled;
use super::node::attach;

unsafe extern "C" {
    fn med2e3_attention(
        q: TensorPtr,
        k: TensorPtr,
        v: TensorPtr,
        mask: TensorPtr,
        is_causal: bool,
        is_grouped: bool,
        out: *mut TensorPtr,
        numbers: *mut i64,
    ) -> c_int;
    fn med2e3_attention_gradients(
        grad: TensorPtr,
        q: TensorPtr,
        k: TensorPtr,
        v: TensorPtr,
        mask: TensorPtr,
        is_causal: bool,
        kept: *const TensorPtr,
        numbers: *const i64,
        out: *mut TensorPtr,
    ) -> c_int;
}

/// The kernel's number where there is no fused one.
const NO_KERNEL: i64 = 0;

/// Queries, keys and values, each (B, A, T, E of a head), keys and values of as many heads or of a divisor of them, and which
/// keys a query attends to.
#[derive(Clone, Copy)]
pub struct AttentionInputs<'a> {
    /// Queries.
    pub q: &'a Tensor,
    /// Keys.
    pub k: &'a Tensor,
    /// Values.
    pub v: &'a Tensor,
    /// True, or a number that is added, where a query attends to a key; of a shape that broadcasts to (B, A, queries, keys).
    pub mask: Option<&'a Tensor>,
    /// Whether a query attends to keys up to its own position alone.
    pub is_causal: bool,
}

/// The value of one attention, and what its gradients need beside its inputs.
pub struct KeptAttention {
    /// The value, the sums that the softmax was divided by, and four tensors of CUDA's kernels, undefined elsewhere.
    tensors: [Tensor; 6],
    /// The kernel, the most queries and the most keys.
    numbers: [i64; 3],
}

impl KeptAttention {
    /// Computes the value by the fused kernel that libtorch's own attention takes for these inputs; None where it takes none.
    /// Without a graph.
    ///
    /// # Errors
    /// When libtorch rejects the tensors.
    pub fn compute(inputs: AttentionInputs) -> Result<Option<KeptAttention>, LibtorchError> {
        let AttentionInputs { q, k, v, mask, is_causal } = inputs;
        let mut out: [TensorPtr; 6] = [std::ptr::null_mut(); 6];
        let mut numbers = [NO_KERNEL, 0, 0];
        let is_grouped = q.size()[1] != k.size()[1];
        // SAFETY: live tensors or null, borrowed for the call; the arrays have the lengths that it writes, on success alone.
        check(unsafe {
            med2e3_attention(
                pointer(q),
                pointer(k),
                pointer(v),
                mask.map_or(std::ptr::null_mut(), pointer),
                is_causal,
                is_grouped,
                out.as_mut_ptr(),
                numbers.as_mut_ptr(),
            )
        })?;
        if numbers[0] == NO_KERNEL {
            return Ok(None);
        }
        // SAFETY: each is a tensor made with `new`, whose ownership from_ptr takes.
        Ok(Some(KeptAttention { tensors: out.map(|tensor| unsafe { Tensor::from_ptr(tensor.cast()) }), numbers }))
    }

    /// The value, (B, A, T, E of a head), with the graph of these inputs, which are those that it was computed from.
    ///
    /// # Errors
    /// When libtorch rejects the tensors.
    pub fn attach(&self, inputs: AttentionInputs) -> Result<Tensor, LibtorchError> {
        let AttentionInputs { q, k, v, mask, is_causal } = inputs;
        if !autograd_enabled() || ![q, k, v].iter().any(|input| input.requires_grad()) {
            return Ok(self.tensors[0].shallow_clone());
        }
        let kept = self.shallow_clone();
        let saved = [q, k, v].map(Tensor::shallow_clone);
        let mask = mask.map(Tensor::shallow_clone);
        attach(&self.tensors[0], &[q, k, v], move |behind| {
            let [q, k, v] = &saved;
            let grads = kept.gradients(behind.grad, AttentionInputs { q, k, v, mask: mask.as_ref(), is_causal })?;
            Ok(grads.into_iter().zip(behind.is_needed).map(|(grad, is_needed)| is_needed.then_some(grad)).collect())
        })
    }

    /// Another handle of the same tensors.
    pub fn shallow_clone(&self) -> KeptAttention {
        KeptAttention { tensors: self.tensors.each_ref().map(Tensor::shallow_clone), numbers: self.numbers }
    }

    fn gradients(&self, grad: &Tensor, inputs: AttentionInputs) -> Result<[Tensor; 3], LibtorchError> {
        let AttentionInputs { q, k, v, mask, is_causal } = inputs;
        let kept = self.tensors.each_ref().map(pointer);
        let mut out: [TensorPtr; 3] = [std::ptr::null_mut(); 3];
        // SAFETY: live tensors or null, borrowed for the call; the arrays have the lengths that it reads and writes; on
        // success each entry of `out` is a tensor made with `new`.
        unsafe {
            check(med2e3_attention_gradients(
                pointer(grad),
                pointer(q),
                pointer(k),
                pointer(v),
                mask.map_or(std::ptr::null_mut(), pointer),
                is_causal,
                kept.as_ptr(),
                self.numbers.as_ptr(),
                out.as_mut_ptr(),
            ))?;
            let [of_q, of_k, of_v] = out;
            Ok([take(0, of_q)?, take(0, of_k)?, take(0, of_v)?])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::libtorch::{backward_from, taken_gradient};
    use tch::{Device, Kind};

    /// Value and gradients are bit for bit those of libtorch's own attention, for every kind of mask, with and without groups
    /// of heads, and for whatever is frozen.
    #[test]
    fn a_kept_attention_equals_libtorchs_own() {
        tch::manual_seed(4);
        let (tokens, width) = (37, 8);
        let window = Tensor::ones([tokens, tokens], (Kind::Bool, Device::Cpu));
        let window = window.tril(0).logical_and(&window.triu(-9));
        for kind in [Kind::Float, Kind::BFloat16] {
            for case in 0..24 {
                let (heads, mask, frozen) = ([4, 2][case % 2], case / 2 % 3, case / 6);
                let draw = |heads: i64, index: usize| {
                    let x = Tensor::randn([2, tokens, heads, width], (Kind::Float, Device::Cpu)).to_kind(kind);
                    x.set_requires_grad(index + 1 != frozen)
                };
                let leaves = [draw(4, 0), draw(heads, 1), draw(heads, 2)];
                let (given, is_causal) = [(None, false), (None, true), (Some(&window), false)][mask];
                let grads = |attended: Tensor, grad: &Tensor| {
                    backward_from(&attended, grad).unwrap();
                    leaves.each_ref().map(taken_gradient)
                };
                let [q, k, v] = leaves.each_ref().map(|leaf| leaf.transpose(1, 2));
                let own = Tensor::scaled_dot_product_attention(&q, &k, &v, given, 0.0, is_causal, None, heads != 4);
                let grad = own.detach().sin();
                let inputs = AttentionInputs { q: &q, k: &k, v: &v, mask: given, is_causal };
                let kept = KeptAttention::compute(inputs).unwrap().expect("the CPU has a fused kernel for these");
                let attached = kept.attach(inputs).unwrap();
                assert!(attached == own && attached.requires_grad(), "{case}");
                let (own, found) = (grads(own, &grad), grads(attached, &grad));
                for (index, (own, found)) in own.iter().zip(&found).enumerate() {
                    assert_eq!(own.defined(), index + 1 != frozen, "{case}");
                    assert!(!own.defined() || own == found, "{case} {index}");
                }
            }
        }
        let draw = |width: i64| Tensor::ones([1, 2, 3, width], (Kind::Float, Device::Cpu));
        let inputs = AttentionInputs { q: &draw(8), k: &draw(8), v: &draw(4), mask: None, is_causal: true };
        assert!(KeptAttention::compute(inputs).unwrap().is_none(), "no kernel for values of another width");
    }
}
