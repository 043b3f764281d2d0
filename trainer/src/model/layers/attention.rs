//! Scaled dot-product attention on heads in the layout of the projections' results.

use tch::Tensor;

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
    let grouped = q_btae.size()[2] != k_btae.size()[2];
    let (mask, causal) = match mask {
        AttentionMask::None => (None, false),
        AttentionMask::Causal => (None, true),
        AttentionMask::Given(mask) => (Some(mask), false),
    };
    Tensor::scaled_dot_product_attention(
        &q_btae.transpose(1, 2),
        &k_btae.transpose(1, 2),
        &v_btae.transpose(1, 2),
        mask,
        0.0,
        causal,
        None,
        grouped,
    )
    .transpose(1, 2)
    .flatten(2, 3)
}
