//! A dataset folder, opened: its index, its shards, and where each volume lies.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use arrow::array::AsArray;
use med2e3_schemas::Id;
use med2e3_schemas::index::{DatasetIndex, ShardEntry};
use med2e3_schemas::sample::{self, SampleRow, Split, Task};
use med2e3_schemas::volume::VoxelFormat;

use crate::FeedError;
use crate::order::selection_hash;
use crate::shard::ShardReader;

/// Where a tokenizer lies unless the index says otherwise.
const TOKENIZER: &str = "tokenizer.json";

/// Key of the footer of a subset that is one part of a new split: the split's word.
pub const SPLIT_FOOTER_KEY: &str = "med2e3.split";

/// An open dataset. Voxels stay on disk; only ids and places are in memory.
pub struct Dataset {
    root: PathBuf,
    index: DatasetIndex,
    volumes: Vec<ShardReader>,
    samples: Vec<ShardReader>,
    // Volume to (shard, row).
    places: HashMap<Id, (u32, u32)>,
}

/// Which samples to feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Part of the study.
    pub split: Split,
    /// Kinds of pair.
    pub tasks: Vec<Task>,
    /// Name of a subset stored by `med2e3-data sample`; `None` for all.
    pub subset: Option<String>,
}

/// The selected samples, sorted by id, and what was left out.
pub struct Samples {
    /// Rows sorted by sample id.
    pub rows: Vec<SampleRow>,
    /// Rows of the selection whose volume is not in the dataset.
    pub without_volume: u64,
    /// Identity of the selection, which seeds its order.
    pub hash: [u8; 32],
}

impl Dataset {
    /// Opens the folder's index and every shard's footer, and reads the ids of all volumes.
    ///
    /// # Errors
    /// A folder without an index, an index of another version, a shard that is missing or has other rows than stated.
    pub fn open(root: &Path) -> Result<Dataset, FeedError> {
        let index = read_index(root)?;
        let open = |entry: &ShardEntry| {
            let path = within(root, &entry.path)?;
            let reader = ShardReader::open(&path)?;
            let (rows, bytes) = (reader.rows() as u64, reader.bytes());
            match (rows, bytes) == (entry.rows, entry.bytes) {
                true => Ok(reader),
                false => Err(FeedError::Mismatch {
                    path,
                    expected: format!("{} rows in {} bytes", entry.rows, entry.bytes),
                    found: format!("{rows} rows in {bytes} bytes"),
                }),
            }
        };
        within(root, index.tokenizer.as_deref().unwrap_or(TOKENIZER))?;
        let volumes = index.volumes.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        for shard in &volumes {
            let stated = VoxelFormat::of_schema(shard.schema()).map_err(FeedError::schema(shard.path()))?;
            if stated != index.voxels {
                return Err(FeedError::Mismatch {
                    path: shard.path().to_owned(),
                    expected: format!("{:?}", index.voxels),
                    found: format!("{stated:?}"),
                });
            }
        }
        let samples = index.samples.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let mut places = HashMap::new();
        for (shard, reader) in volumes.iter().enumerate() {
            let mut row = 0;
            for batch in reader.read(&["volume_id"])? {
                for bytes in batch.column(0).as_fixed_size_binary().iter().flatten() {
                    places.extend(Id::from_bytes(bytes).map(|id| (id, (shard as u32, row))));
                    row += 1;
                }
            }
        }
        Ok(Dataset { root: root.to_owned(), index, volumes, samples, places })
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The index.
    pub fn index(&self) -> &DatasetIndex {
        &self.index
    }

    /// How voxel cells are stored.
    pub fn voxels(&self) -> &VoxelFormat {
        &self.index.voxels
    }

    /// Volume shards in order.
    pub fn volume_shards(&self) -> &[ShardReader] {
        &self.volumes
    }

    /// Sample shards in order.
    pub fn sample_shards(&self) -> &[ShardReader] {
        &self.samples
    }

    /// The volume shard and row that hold a volume.
    pub fn place(&self, volume: Id) -> Option<(&ShardReader, usize)> {
        let (shard, row) = self.places.get(&volume)?;
        Some((&self.volumes[*shard as usize], *row as usize))
    }

    /// Copies a volume's codes to `cell`, which has [`VoxelFormat::cell_bytes`] bytes.
    ///
    /// # Errors
    /// A volume that is not in the dataset, a shard that can't be read.
    pub fn read_voxels(&self, volume: Id, cell: &mut [u8]) -> Result<(), FeedError> {
        let (reader, row) = self.place(volume).ok_or_else(|| FeedError::Sample {
            sample: volume.to_string(),
            problem: format!("the volume is not in {}", self.root.display()),
        })?;
        reader.read_voxels(row, cell)
    }

    /// The selected samples, sorted by id. Samples whose volume is missing are left out and counted.
    ///
    /// # Errors
    /// A subset that does not exist, shards that can't be read, a selection without any sample.
    pub fn select(&self, selection: &Selection) -> Result<Samples, FeedError> {
        let subset = selection.subset.as_deref().map(|name| self.subset(name, selection.split)).transpose()?;
        // A part of a new split is a split of its own: what the row was in before does not matter.
        let resplit = selection.subset.as_deref().is_some_and(|name| self.is_resplit(name));
        let mut rows = Vec::new();
        let (mut without_volume, mut known) = (0, 0);
        for shard in &self.samples {
            for batch in shard.read(&[])? {
                for row in sample::from_batch(&batch).map_err(FeedError::schema(shard.path()))? {
                    known += u64::from(subset.as_ref().is_some_and(|ids| ids.contains(&row.sample_id)));
                    let wanted = (resplit || row.split == selection.split)
                        && selection.tasks.contains(&row.task)
                        && subset.as_ref().is_none_or(|ids| ids.contains(&row.sample_id));
                    if !wanted {
                        continue;
                    }
                    match row.volume_ids.iter().all(|id| self.places.contains_key(id)) {
                        true => rows.push(row),
                        false => without_volume += 1,
                    }
                }
            }
        }
        if let Some(missing) = subset.as_ref().map(|ids| ids.len() as u64).filter(|&ids| ids > known) {
            let name = selection.subset.as_deref().unwrap_or_default();
            return Err(FeedError::Mismatch {
                path: self.root.join("subsets").join(format!("{name}.parquet")),
                expected: format!("{missing} samples of this dataset"),
                found: format!("{known}; draw the subset again"),
            });
        }
        if rows.is_empty() {
            let tasks: Vec<_> = selection.tasks.iter().map(|task| task.as_str()).collect();
            return Err(FeedError::Empty {
                path: self.root.clone(),
                wanted: format!("split {} and task {}", selection.split, tasks.join(" or ")),
                hint: format!("the dataset holds {:?}", self.index.counts),
            });
        }
        rows.sort_unstable_by_key(|row| row.sample_id);
        let hash = selection_hash(rows.iter().map(|row| row.sample_id));
        Ok(Samples { rows, without_volume, hash })
    }

    /// The tokenizer's file; a dataset without texts has none there.
    pub fn tokenizer(&self) -> PathBuf {
        self.root.join(self.index.tokenizer.as_deref().unwrap_or(TOKENIZER))
    }

    /// Whether the name stands for a new split, whose parts are the subsets `NAME-train`, `NAME-validation` and
    /// `NAME-test`, rather than for one subset.
    pub fn is_resplit(&self, name: &str) -> bool {
        let part = ShardReader::open(&self.subset_path(&format!("{name}-{}", Split::Train)));
        !self.subset_path(name).exists() && part.is_ok_and(|part| part.footer(SPLIT_FOOTER_KEY).is_some())
    }

    fn subset_path(&self, name: &str) -> PathBuf {
        self.root.join("subsets").join(format!("{name}.parquet"))
    }

    fn subset(&self, name: &str, split: Split) -> Result<HashSet<Id>, FeedError> {
        let path = match self.is_resplit(name) {
            true => self.subset_path(&format!("{name}-{split}")),
            false => self.subset_path(name),
        };
        let shard = ShardReader::open(&path)?;
        let mut ids = HashSet::new();
        for batch in shard.read(&["sample_id"])? {
            ids.extend(batch.column(0).as_fixed_size_binary().iter().flatten().filter_map(Id::from_bytes));
        }
        Ok(ids)
    }
}

/// The index of a dataset folder; no shard is opened.
///
/// # Errors
/// A folder without an index, an index of another version.
pub fn read_index(root: &Path) -> Result<DatasetIndex, FeedError> {
    let path = root.join("dataset.json");
    let text = fs::read_to_string(&path).map_err(FeedError::io(&path, "read"))?;
    DatasetIndex::parse(&text).map_err(FeedError::schema(&path))
}

/// A path that a file states, below the folder that it is relative to.
fn within(root: &Path, relative: &str) -> Result<PathBuf, FeedError> {
    let inside = Path::new(relative).components().all(|part| matches!(part, Component::Normal(_)));
    match inside {
        true => Ok(root.join(relative)),
        false => Err(FeedError::Mismatch {
            path: root.join("dataset.json"),
            expected: "paths within the dataset".into(),
            found: relative.to_owned(),
        }),
    }
}
