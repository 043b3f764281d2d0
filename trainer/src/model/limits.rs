//! Limits of the sizes of a model, which the schemas of configurations state too.

/// Largest width of a layer.
pub(crate) const WIDTH: i64 = 1 << 20;
/// Most rows of a table of embeddings.
pub(crate) const ROWS: i64 = 1 << 24;
/// Most blocks of a part.
pub(crate) const BLOCKS: i64 = 1 << 10;
/// Most voxels along one axis.
pub(crate) const VOXELS: i64 = 1 << 11;
/// Most channels.
pub(crate) const CHANNELS: i64 = 16;
/// Longest sequence.
pub(crate) const POSITIONS: usize = 1 << 28;
