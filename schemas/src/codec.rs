//! How voxel cells are compressed in a shard.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How voxel cells are compressed in a shard. The values of a cell do not depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VoxelCodec {
    /// zstd at level 1: the smallest of them.
    #[default]
    Zstd1,
    /// Raw blocks of lz4: larger, and decoded faster.
    Lz4,
    /// As they are.
    None,
}

impl VoxelCodec {
    /// All of them.
    pub const ALL: [VoxelCodec; 3] = [VoxelCodec::Zstd1, VoxelCodec::Lz4, VoxelCodec::None];

    /// The codec's word in configurations and files.
    pub fn as_str(self) -> &'static str {
        match self {
            VoxelCodec::Zstd1 => "zstd1",
            VoxelCodec::Lz4 => "lz4",
            VoxelCodec::None => "none",
        }
    }
}
