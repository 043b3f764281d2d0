//! A dataset's folder, opened: its index, its shards, the location of each volume, and selections of its samples.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use med2e3_schemas::Id;
use med2e3_schemas::index::DatasetIndex;
use med2e3_schemas::sample;
use med2e3_schemas::volume::{self, VoxelFormat};

use crate::cell;
use crate::cost::CellCost;
use crate::index::TOKENIZER;
use crate::places::Places;
use crate::selection::{Samples, Selection, selection_hash};
use crate::shards::Shards;
use crate::{ShardError, ShardReader, subset};

/// An open dataset. Voxels stay on disk; only ids and locations are in memory.
pub struct Dataset {
    root: PathBuf,
    index: DatasetIndex,
    volumes: Vec<ShardReader>,
    samples: Vec<ShardReader>,
    // Volume to (shard, row).
    locations: HashMap<Id, (u32, u32)>,
    // Once it is asked for.
    places: OnceLock<Places>,
}

impl Dataset {
    /// Opens the folder's index and every shard's footer, and reads the ids of all volumes.
    ///
    /// # Errors
    /// As [`Shards::open`]; ids that can't be read.
    pub fn open(root: &Path) -> Result<Dataset, ShardError> {
        let Shards { index, volumes, samples } = Shards::open(root)?;
        let mut locations = HashMap::new();
        for (shard, reader) in volumes.iter().enumerate() {
            let mut row = 0;
            for batch in reader.read(&volume::IDS)? {
                for id in volume::ids_from_batch(&batch).map_err(ShardError::schema(reader.path()))? {
                    locations.insert(id, (shard as u32, row));
                    row += 1;
                }
            }
        }
        Ok(Dataset { root: root.to_owned(), index, volumes, samples, locations, places: OnceLock::new() })
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
    pub fn location(&self, volume: Id) -> Option<(&ShardReader, usize)> {
        let (shard, row) = self.locations.get(&volume)?;
        Some((&self.volumes[*shard as usize], *row as usize))
    }

    /// Copies a volume's codes to `cell`, which has [`VoxelFormat::cell_bytes`] bytes.
    ///
    /// # Errors
    /// A volume that is not in the dataset, a shard that can't be read.
    pub fn read_voxels(&self, volume: Id, cell: &mut [u8]) -> Result<(), ShardError> {
        let location = self.location(volume);
        let (reader, row) = location.ok_or_else(|| ShardError::NoSuchVolume { path: self.root.clone(), volume })?;
        reader.read_voxels(row, cell)
    }

    /// Where the voxels of all volumes are, and their hashes; read, or made, when it is first asked for.
    ///
    /// # Errors
    /// As [`Places::open`]; places that name other volumes than the shards hold.
    pub fn places(&self) -> Result<&Places, ShardError> {
        if let Some(places) = self.places.get() {
            return Ok(places);
        }
        let places = Places::open(&self.root, &self.index)?;
        let other =
            places.all().iter().find(|place| self.locations.get(&place.volume) != Some(&(place.shard, place.row)));
        if other.is_some() || places.all().len() != self.locations.len() {
            let expected = format!("the {} volumes of the shards", self.locations.len());
            let found = other.map_or(format!("{} of them", places.all().len()), |place| {
                format!("volume {} in row {} of shard {}", place.volume, place.row, place.shard)
            });
            return Err(ShardError::Places { path: self.root.join(crate::places::FILE), expected, found });
        }
        Ok(self.places.get_or_init(|| places))
    }

    /// As [`Dataset::read_voxels`], by one read of the stored bytes, whose hash is compared with [`Dataset::places`]; says what it
    /// took. After an error the contents of `cell` are undefined.
    ///
    /// # Errors
    /// [`ShardError::Cell`] where the volume is not as it was written; [`ShardError::Unread`] where it can't be had; a volume that is not in the dataset.
    pub fn read_cell(&self, volume: Id, cell: &mut [u8]) -> Result<CellCost, ShardError> {
        let places = self.places()?;
        let location = self.locations.get(&volume);
        let place = location.and_then(|(shard, row)| places.at(*shard as usize, *row as usize));
        let place = place.ok_or_else(|| ShardError::NoSuchVolume { path: self.root.clone(), volume })?;
        let shard = place.shard as usize;
        cell::read(self.volumes[shard].file(), place, places.codec(shard), cell)
    }

    /// The selected samples, sorted by id. Samples whose volume is missing are left out and counted.
    ///
    /// # Errors
    /// A subset that does not exist, shards that can't be read, a selection without any sample.
    pub fn select(&self, selection: &Selection) -> Result<Samples, ShardError> {
        let subset = selection.subset.as_deref();
        let subset = subset.map(|name| subset::read(&self.root, &self.index, name, selection.split)).transpose()?;
        // A part of a new split is a split of its own: what the row was in before does not matter.
        let resplit = selection.subset.as_deref().is_some_and(|name| self.is_resplit(name));
        let mut rows = Vec::new();
        let (mut without_volume, mut known) = (0, 0);
        for shard in &self.samples {
            for batch in shard.read(&[])? {
                for row in sample::from_batch(&batch).map_err(ShardError::schema(shard.path()))? {
                    known += u64::from(subset.as_ref().is_some_and(|ids| ids.contains(&row.sample_id)));
                    let wanted = (resplit || row.split == selection.split)
                        && selection.tasks.contains(&row.task)
                        && subset.as_ref().is_none_or(|ids| ids.contains(&row.sample_id));
                    if !wanted {
                        continue;
                    }
                    if let Some(problem) = row.problem() {
                        let (path, sample) = (shard.path().to_owned(), row.sample_id);
                        return Err(ShardError::UnsoundSample { path, sample, problem });
                    }
                    if row.volume_ids.iter().all(|id| self.locations.contains_key(id)) {
                        rows.push(row);
                    } else {
                        without_volume += 1;
                    }
                }
            }
        }
        if let Some(missing) = subset.as_ref().map(|ids| ids.len() as u64).filter(|&ids| ids > known) {
            let name = selection.subset.as_deref().unwrap_or_default();
            return Err(ShardError::StaleSubset {
                path: subset::path(&self.root, name),
                expected: missing,
                found: known,
            });
        }
        if rows.is_empty() {
            let tasks: Vec<_> = selection.tasks.iter().map(|task| task.as_str()).collect();
            return Err(ShardError::Empty {
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

    /// Whether the name is that of a new split, see [`subset::is_resplit`].
    pub fn is_resplit(&self, name: &str) -> bool {
        subset::is_resplit(&self.root, &self.index, name)
    }
}
