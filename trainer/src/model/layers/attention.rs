//! Scaled dot-product attention, in the layout in which projections leave their heads.

use tch::Tensor;

/// What a query may look at.
#[derive(Clone, Copy)]
pub(crate) enum Sight<'a> {
    /// Every key.
    All,
    /// Keys up to its own place; queries and keys are equally many.
    Causal,
    /// Keys where the bool mask, broadcast to (B, heads, queries, keys), is true.
    Mask(&'a Tensor),
}

/// Attention over (B, T, heads, width per head); keys and values may have fewer heads, each shared by a group of query
/// heads. Returns (B, T, heads * width per head).
pub(crate) fn attention(q_bthe: &Tensor, k_bthe: &Tensor, v_bthe: &Tensor, sight: Sight) -> Tensor {
    let grouped = q_bthe.size()[2] != k_bthe.size()[2];
    let (mask, causal) = match sight {
        Sight::All => (None, false),
        Sight::Causal => (None, true),
        Sight::Mask(mask) => (Some(mask), false),
    };
    Tensor::scaled_dot_product_attention(
        &q_bthe.transpose(1, 2),
        &k_bthe.transpose(1, 2),
        &v_bthe.transpose(1, 2),
        mask,
        0.0,
        causal,
        None,
        grouped,
    )
    .transpose(1, 2)
    .flatten(2, 3)
}
