//! `dataset.json`: what a prepared dataset holds, shard by shard, so that a reader needs to open nothing to plan.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::inputs::Inputs;
use crate::volume::VoxelFormat;
use crate::{SCHEMA_VERSION, SchemaError};

/// The index of a dataset folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatasetIndex {
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema_version: u32,
    /// Name of the recipe.
    pub recipe: String,
    /// blake3 of everything in the recipe that changes output bytes, as hex.
    pub recipe_hash: String,
    /// How voxel cells are stored.
    pub voxels: VoxelFormat,
    /// How every row was made; `None` in a dataset of an earlier version of the programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Inputs>,
    /// Positions that one volume takes in a token sequence, as the length budget counted them.
    pub visual_tokens: u32,
    /// The tokenizer's file, relative to the dataset; `None` where there are no texts.
    pub tokenizer: Option<String>,
    /// Id of the end token; `None` where there are no texts.
    pub end_token: Option<i32>,
    /// Volume shards in order.
    pub volumes: Vec<ShardEntry>,
    /// Sample shards in order.
    pub samples: Vec<ShardEntry>,
    /// Every other file of the dataset, by its path relative to the folder.
    pub files: BTreeMap<String, FileEntry>,
    /// Samples by split, then by task and topic, such as `train` / `closed_vqa.plane`.
    pub counts: BTreeMap<String, BTreeMap<String, u64>>,
    /// xxh3 (64 bit) of this file's text with this value empty, as hex: see [`DatasetIndex::to_text`].
    pub xxh3: String,
}

/// A file that is no shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Size.
    pub bytes: u64,
    /// xxh3 (64 bit) of the contents, as hex.
    pub xxh3: String,
}

/// One shard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardEntry {
    /// Path relative to the dataset folder, with `/`.
    pub path: String,
    /// Rows.
    pub rows: u64,
    /// Size of the file.
    pub bytes: u64,
    /// xxh3 (64 bit) of each row group's bytes, as hex, in order.
    pub row_groups_xxh3: Vec<String>,
    /// xxh3 (64 bit) of all other bytes (magic numbers, indexes, footer), as hex: so no bit of the file is unguarded.
    pub rest_xxh3: String,
}

impl DatasetIndex {
    /// An index of shards alone, which names neither recipe nor tokenizer: what a dataset without `prepare` starts from. A volume
    /// takes 4 positions.
    pub fn of_shards(voxels: VoxelFormat, volumes: Vec<ShardEntry>, samples: Vec<ShardEntry>) -> DatasetIndex {
        DatasetIndex {
            schema_version: SCHEMA_VERSION,
            recipe: String::new(),
            recipe_hash: String::new(),
            voxels,
            inputs: None,
            visual_tokens: 4,
            tokenizer: None,
            end_token: None,
            volumes,
            samples,
            files: BTreeMap::new(),
            counts: BTreeMap::new(),
            xxh3: String::new(),
        }
    }

    /// The text of `dataset.json`, with the hash of itself.
    pub fn to_text(&self) -> String {
        let text = |xxh3: String| {
            let index = DatasetIndex { xxh3, ..self.clone() };
            serde_json::to_string_pretty(&index).expect("an index is plain data")
        };
        text(xxh3_hex(text(String::new()).as_bytes()))
    }

    /// Reads the index from its JSON text.
    ///
    /// # Errors
    /// Text that is no index, one of another schema version, a value that is out of its range, a file that is named twice.
    pub fn parse(text: &str) -> Result<DatasetIndex, SchemaError> {
        #[derive(Deserialize)]
        struct Version {
            schema_version: u32,
        }
        let config = |e: serde_json::Error| SchemaError::Config { message: format!("dataset.json: {e}") };
        let Version { schema_version } = serde_json::from_str(text).map_err(config)?;
        if schema_version != SCHEMA_VERSION {
            return Err(SchemaError::Version { expected: SCHEMA_VERSION, found: schema_version });
        }
        let index: DatasetIndex = serde_json::from_str(text).map_err(config)?;
        index.check()?;
        Ok(index)
    }

    /// Every value within its range, every file named once.
    fn check(&self) -> Result<(), SchemaError> {
        self.voxels.check()?;
        let expect = |holds: bool, key: &str, expected: String, found: String| {
            if holds { Ok(()) } else { Err(SchemaError::Value { key: key.into(), expected, found }) }
        };
        let tokens = self.visual_tokens;
        expect(
            tokens <= MOST_VISUAL_TOKENS,
            "visual_tokens",
            format!("{MOST_VISUAL_TOKENS} or fewer"),
            tokens.to_string(),
        )?;
        let end = self.end_token.unwrap_or(0);
        expect(end >= 0, "end_token", "0 or more".into(), end.to_string())?;
        let mut named = BTreeSet::new();
        for shard in self.volumes.iter().chain(&self.samples) {
            let ShardEntry { path, rows, bytes, .. } = shard;
            let expected = format!("at most {MOST_ROWS} rows and {MOST_BYTES} bytes");
            expect(
                *rows <= MOST_ROWS && *bytes <= MOST_BYTES,
                path,
                expected,
                format!("{rows} rows and {bytes} bytes"),
            )?;
            let once = named.insert(path) && !self.files.contains_key(path);
            expect(once, "path", "every file named once".into(), format!("{path} twice"))?;
        }
        for table in [&self.volumes, &self.samples] {
            let rows: u64 = table.iter().map(|shard| shard.rows).fold(0, u64::saturating_add);
            expect(rows <= MOST_ROWS, "rows", format!("at most {MOST_ROWS} of a table"), rows.to_string())?;
        }
        Ok(())
    }
}

/// Rows of a table at most: positions are counted in 32 bits.
const MOST_ROWS: u64 = u32::MAX as u64;

/// Bytes of a shard at most: far beyond any that is written, so that sums stay countable.
const MOST_BYTES: u64 = 1 << 48;

/// Positions of one volume at most, as many as there are voxels in the largest cell.
const MOST_VISUAL_TOKENS: u32 = 1 << 28;

/// xxh3 (64 bit) of some bytes, as the index states it: 16 hex digits.
pub fn xxh3_hex(bytes: &[u8]) -> String {
    format!("{:016x}", xxh3_64(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::VoxelCode;

    #[test]
    fn the_text_holds_the_hash_of_itself() {
        let index = DatasetIndex {
            schema_version: SCHEMA_VERSION,
            recipe: "m3d".into(),
            recipe_hash: String::new(),
            voxels: VoxelFormat::unit_range([1, 2, 2], VoxelCode::U8),
            inputs: None,
            visual_tokens: 1,
            tokenizer: None,
            end_token: None,
            volumes: vec![ShardEntry::default()],
            samples: vec![ShardEntry { path: "samples/0".into(), ..ShardEntry::default() }],
            files: BTreeMap::new(),
            counts: BTreeMap::new(),
            xxh3: String::new(),
        };
        let text = index.to_text();
        let read = DatasetIndex::parse(&text).unwrap();
        assert_eq!(read.to_text(), text);
        assert_ne!(
            text.replace("\"rows\": 0", "\"rows\": 1"),
            DatasetIndex::parse(&text.replace("\"rows\": 0", "\"rows\": 1")).unwrap().to_text()
        );
    }

    #[test]
    fn values_beyond_their_ranges_are_named() {
        let format = VoxelFormat::unit_range([1, 2, 2], VoxelCode::U8);
        let index = DatasetIndex {
            schema_version: SCHEMA_VERSION,
            recipe: "m3d".into(),
            recipe_hash: String::new(),
            voxels: format,
            inputs: None,
            visual_tokens: 1,
            tokenizer: None,
            end_token: None,
            volumes: vec![ShardEntry { path: "volumes/0".into(), rows: 1, ..ShardEntry::default() }],
            samples: Vec::new(),
            files: BTreeMap::new(),
            counts: BTreeMap::new(),
            xxh3: String::new(),
        };
        let said = |change: &dyn Fn(&mut DatasetIndex)| {
            let mut changed = index.clone();
            change(&mut changed);
            DatasetIndex::parse(&changed.to_text()).err().map_or(String::new(), |error| error.to_string())
        };
        assert_eq!(said(&|_| ()), "");
        for shape in [[1 << 40; 3], [usize::MAX; 3], [0, 1, 1], [1 << 14, 1 << 14, 1]] {
            assert!(said(&|index| index.voxels.shape_dhw = shape).contains("voxels.shape_dhw"));
        }
        assert!(said(&|index| index.voxels.scale = 0.0).contains("voxels.scale"));
        assert!(said(&|index| index.visual_tokens = u32::MAX).contains("visual_tokens"));
        assert!(said(&|index| index.end_token = Some(-5)).contains("end_token"));
        assert!(said(&|index| index.volumes[0].rows = u64::MAX).contains("volumes/0"));
        assert!(said(&|index| index.volumes[0].bytes = u64::MAX).contains("volumes/0"));
        assert!(said(&|index| index.samples = index.volumes.clone()).contains("volumes/0 twice"));
    }
}
