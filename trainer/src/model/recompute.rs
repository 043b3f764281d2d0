//! What a block keeps for its backward pass, and what is computed again there.

use crate::words::words;

words! {
    /// How much of a block's forward pass is computed again in its backward pass.
    #[derive(Default)]
    pub enum Recompute {
        /// Nothing: every input of an operation is kept.
        #[default]
        None = "none",
        /// Norms, activations and positions; products and attention are kept.
        Selective = "selective",
        /// The whole block; its input alone is kept.
        Full = "full",
    }
}
