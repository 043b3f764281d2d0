//! The small layers that every part is made of. Each holds its tensors and a `forward`; none knows a published name.

mod adapted;
mod adapter;
mod attention;
mod gated;
mod init;
mod linear;
mod mlp;
mod norm;
mod tape;

pub(crate) use adapted::AdaptedLinear;
pub(crate) use adapter::Adapter;
pub(crate) use attention::{AttentionMask, attention};
pub(crate) use gated::{gated, gated_halves};
pub(crate) use init::Init;
pub use init::Initializer;
pub(crate) use linear::Linear;
pub(crate) use mlp::{Gelu, Mlp};
pub(crate) use norm::{LayerNorm, RmsNorm};
pub(crate) use tape::Tape;
