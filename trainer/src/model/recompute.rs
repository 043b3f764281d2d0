//! What a block of a tower keeps for its backward pass, and what it makes again there.

use tch::{Tensor, no_grad, with_grad};

use super::layers::Tape;
use crate::libtorch::{self, Behind, LibtorchError};
use crate::words::words;

words! {
    /// What the blocks of a part make again in their backward pass rather than keep it. The gradients are the same, in f32 bit
    /// for bit.
    #[derive(Default)]
    pub enum Recompute {
        /// Nothing: all that a gradient needs is kept.
        #[default]
        None = "none",
        /// Norms, activations and positions: products of matrices and attention are kept.
        Selective = "selective",
        /// All of a block: its input alone is kept.
        Full = "full",
    }
}

/// The choice of one part: its first blocks are recomputed. They are the last ones of a backward pass, when most of what other
/// blocks keep is released.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Recomputation {
    policy: Recompute,
    blocks: usize,
}

impl Recomputation {
    /// Of the first `blocks` blocks.
    pub(crate) fn new(policy: Recompute, blocks: usize) -> Recomputation {
        Recomputation { policy, blocks }
    }

    /// One pass through the block with this index. `block` computes it from hidden states; it must compute the same from the
    /// same at any time until the backward pass has run. A block that needs no gradient leaves no graph and costs nothing.
    pub(crate) fn run(
        self,
        index: usize,
        hidden: &Tensor,
        is_trained: bool,
        block: impl Fn(&Tensor, &mut Tape) -> Tensor + Send + 'static,
    ) -> Tensor {
        let needs_gradient = libtorch::autograd_enabled() && (is_trained || hidden.requires_grad());
        if index >= self.blocks || self.policy == Recompute::None || !needs_gradient {
            return block(hidden, &mut Tape::Computed);
        }
        let mut tape = match self.policy {
            Recompute::Selective => Tape::Keeping(Vec::new()),
            Recompute::Full | Recompute::None => Tape::Computed,
        };
        let value = no_grad(|| block(hidden, &mut tape));
        let saved = hidden.detach();
        let attached = libtorch::attach(&value, &[hidden], move |behind| {
            gradient(&saved, behind, |hidden| block(hidden, &mut tape.again()))
        });
        attached.expect("a block maps a tensor to a tensor")
    }
}

/// Makes a block's graph and runs the backward pass through it, which stores the gradients of its weights.
fn gradient(
    saved: &Tensor,
    behind: &Behind,
    block: impl FnOnce(&Tensor) -> Tensor,
) -> Result<Vec<Option<Tensor>>, LibtorchError> {
    let needs_input = behind.is_needed.first() == Some(&true);
    let input = saved.detach().set_requires_grad(needs_input);
    let value = with_grad(|| block(&input));
    libtorch::backward_from(&value, behind.grad)?;
    Ok(vec![needs_input.then(|| input.grad())])
}
