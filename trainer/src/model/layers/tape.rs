//! Where a block's products and attentions come from: computed, computed and kept, or kept before.

use std::collections::VecDeque;

use tch::Tensor;

use super::attention::{AttentionMask, attend, attended, inputs};
use crate::libtorch::KeptAttention;

/// One pass through a block: it asks for the values of its products and attentions in the order in which it needs them.
pub(crate) enum Tape {
    /// Each is computed.
    Computed,
    /// Each is computed and kept: the first pass of a block whose other values are made again. It is made without a graph.
    Keeping(Vec<Kept>),
    /// Each is what an earlier pass over the same input kept, in the same order, and gets the graph of this pass.
    Kept(VecDeque<Kept>),
}

/// A value of an earlier pass.
pub(crate) enum Kept {
    /// A product of matrices, with what was added to it.
    Product(Tensor),
    /// An attention; None where no fused kernel computes it, so that all of it is made again.
    Attention(Option<KeptAttention>),
}

impl Tape {
    /// The tape of another pass over the same input.
    pub(crate) fn again(&self) -> Tape {
        match self {
            Tape::Computed => Tape::Computed,
            Tape::Keeping(kept) => Tape::Kept(kept.iter().map(Kept::shallow_clone).collect()),
            Tape::Kept(kept) => Tape::Kept(kept.iter().map(Kept::shallow_clone).collect()),
        }
    }

    /// A product's value, without a graph, which the caller gives to it.
    pub(crate) fn product(&mut self, compute: impl FnOnce() -> Tensor) -> Tensor {
        match self {
            Tape::Computed => compute(),
            Tape::Keeping(kept) => {
                let value = compute();
                kept.push(Kept::Product(value.shallow_clone()));
                value
            }
            Tape::Kept(kept) => match kept.pop_front() {
                Some(Kept::Product(value)) => value,
                _ => unreachable!("a block asks for the same values in the same order again"),
            },
        }
    }

    /// [`attention`](super::attention()), whose value is kept as a product's is.
    pub(crate) fn attention(
        &mut self,
        q_btae: &Tensor,
        k_btae: &Tensor,
        v_btae: &Tensor,
        mask: AttentionMask,
    ) -> Tensor {
        let heads = [q_btae, k_btae, v_btae].map(|heads_btae| heads_btae.transpose(1, 2));
        let kept = match self {
            Tape::Computed => None,
            Tape::Keeping(kept) => {
                let attention = KeptAttention::compute(inputs(&heads, mask)).expect("heads fit");
                kept.push(Kept::Attention(attention.as_ref().map(KeptAttention::shallow_clone)));
                attention
            }
            Tape::Kept(kept) => match kept.pop_front() {
                Some(Kept::Attention(attention)) => attention,
                _ => unreachable!("a block asks for the same values in the same order again"),
            },
        };
        attended(match kept {
            None => attend(inputs(&heads, mask)),
            Some(kept) => kept.attach(inputs(&heads, mask)).expect("heads fit"),
        })
    }
}

impl Kept {
    /// Another handle of the same value.
    fn shallow_clone(&self) -> Kept {
        match self {
            Kept::Product(value) => Kept::Product(value.shallow_clone()),
            Kept::Attention(attention) => Kept::Attention(attention.as_ref().map(KeptAttention::shallow_clone)),
        }
    }
}
