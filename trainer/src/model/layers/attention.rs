//! Scaled dot-product attention on heads in the layout of the projections' results.

use tch::Tensor;

use crate::libtorch::AttentionInputs;

/// Which keys a query attends to.
#[derive(Clone, Copy)]
pub(crate) enum AttentionMask<'a> {
    /// Every key.
    None,
    /// Keys up to its own position; there are as many queries as keys.
    Causal,
    /// Keys where the bool mask, broadcast to (B, A, queries, keys), is true.
    Given(&'a Tensor),
}

/// Attention over (B, T, A, E of a head); keys and values may have fewer heads, each shared by a group of query heads.
/// Returns (B, T, E), the heads side by side.
pub(crate) fn attention(q_btae: &Tensor, k_btae: &Tensor, v_btae: &Tensor, mask: AttentionMask) -> Tensor {
    let heads = [q_btae, k_btae, v_btae].map(|heads_btae| heads_btae.transpose(1, 2));
    attended(attend(inputs(&heads, mask)))
}

/// Queries, keys and values, each (B, A, T, E of a head), as libtorch takes them.
pub(super) fn inputs<'a>([q, k, v]: &'a [Tensor; 3], mask: AttentionMask<'a>) -> AttentionInputs<'a> {
    let (mask, is_causal) = match mask {
        AttentionMask::None => (None, false),
        AttentionMask::Causal => (None, true),
        AttentionMask::Given(mask) => (Some(mask), false),
    };
    AttentionInputs { q, k, v, mask, is_causal }
}

/// (B, A, T, E of a head), by the kernel that libtorch chooses.
pub(super) fn attend(inputs: AttentionInputs) -> Tensor {
    let AttentionInputs { q, k, v, mask, is_causal } = inputs;
    let is_grouped = q.size()[1] != k.size()[1];
    Tensor::scaled_dot_product_attention(q, k, v, mask, 0.0, is_causal, None, is_grouped)
}

/// (B, A, T, E of a head) to (B, T, E).
pub(super) fn attended(heads_bate: Tensor) -> Tensor {
    heads_bate.transpose(1, 2).flatten(2, 3)
}
