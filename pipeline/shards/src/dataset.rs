//! A dataset's folder, opened: its index, its shards, the location of each volume, and selections of its samples.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use med2e3_schemas::index::DatasetIndex;
use med2e3_schemas::sample::{self, SampleRow};
use med2e3_schemas::volume::{self, VoxelFormat};
use med2e3_schemas::{Id, SchemaError};

use crate::cell;
use crate::cost::CellCost;
use crate::index::{TOKENIZER, read_index};
use crate::places::{Place, Places};
use crate::selection::{SampleRows, Samples, Selection};
use crate::shards::{Shards, check_members};
use crate::texts::Texts;
use crate::unopened::Unopened;
use crate::{ShardError, ShardReader, subset};

/// An open dataset. Voxels and strings stay on disk; in memory are ids and locations of volumes.
pub struct Dataset {
    root: PathBuf,
    index: DatasetIndex,
    volumes: Vec<Unopened>,
    samples: Vec<Unopened>,
    // Volume to (shard, row), where there were no places to tell it.
    locations: Option<HashMap<Id, (u32, u32)>>,
    // At once where the folder or the cache has those of its shards, else once it is asked for.
    places: OnceLock<Places>,
    // Once it is asked for.
    texts: OnceLock<Arc<Texts>>,
}

impl Dataset {
    /// Opens the folder's index. Where the places of its volumes are kept, shards are only looked for, and opened when they are
    /// first read; else every shard's footer and the ids of all volumes are read.
    ///
    /// # Errors
    /// As [`Shards::open`]; ids that can't be read.
    pub fn open(root: &Path) -> Result<Dataset, ShardError> {
        let index = read_index(root)?;
        // A damaged file says so where it is asked for.
        match Places::kept(root, &index) {
            Some(places) => Dataset::of_places(root, index, places),
            None => Dataset::of_footers(root),
        }
    }

    fn of_places(root: &Path, index: DatasetIndex, places: Places) -> Result<Dataset, ShardError> {
        let members = check_members(root, &index)?;
        let mut numbers = HashSet::new();
        let mut find = |entry, voxels| Unopened::find(&members, entry, voxels, &mut numbers);
        let volumes = index.volumes.iter().map(|entry| find(entry, Some(index.voxels)));
        let volumes = volumes.collect::<Result<Vec<_>, _>>()?;
        let samples = index.samples.iter().map(|entry| find(entry, None)).collect::<Result<Vec<_>, _>>()?;
        let (root, places) = (root.to_owned(), OnceLock::from(places));
        Ok(Dataset { root, index, volumes, samples, locations: None, places, texts: OnceLock::new() })
    }

    fn of_footers(root: &Path) -> Result<Dataset, ShardError> {
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
        let opened = |shards: Vec<ShardReader>| shards.into_iter().map(Unopened::opened).collect();
        Ok(Dataset {
            root: root.to_owned(),
            index,
            volumes: opened(volumes),
            samples: opened(samples),
            locations: Some(locations),
            places: OnceLock::new(),
            texts: OnceLock::new(),
        })
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

    /// Volume shards in order, each opened where it was not yet.
    pub fn volume_shards(&self) -> impl ExactSizeIterator<Item = Result<&ShardReader, ShardError>> {
        self.volumes.iter().map(Unopened::reader)
    }

    /// Sample shards in order, each opened where it was not yet.
    pub fn sample_shards(&self) -> impl ExactSizeIterator<Item = Result<&ShardReader, ShardError>> {
        self.samples.iter().map(Unopened::reader)
    }

    /// Whether the dataset has a volume.
    pub fn has(&self, volume: Id) -> bool {
        self.located(volume).is_some()
    }

    /// Number of the volume shard and row that hold a volume.
    fn located(&self, volume: Id) -> Option<(u32, u32)> {
        match &self.locations {
            Some(locations) => locations.get(&volume).copied(),
            None => self.places.get()?.find(volume).map(|place| (place.shard, place.row)),
        }
    }

    /// The volume shard and row that hold a volume.
    ///
    /// # Errors
    /// A volume that is not in the dataset, a shard that can't be opened.
    pub fn location(&self, volume: Id) -> Result<(&ShardReader, usize), ShardError> {
        let located = self.located(volume);
        let (shard, row) = located.ok_or_else(|| ShardError::NoSuchVolume { path: self.root.clone(), volume })?;
        Ok((self.volumes[shard as usize].reader()?, row as usize))
    }

    /// Copies a volume's codes to `cell`, which has [`VoxelFormat::cell_bytes`] bytes.
    ///
    /// # Errors
    /// A volume that is not in the dataset, a shard that can't be read.
    pub fn read_voxels(&self, volume: Id, cell: &mut [u8]) -> Result<(), ShardError> {
        let (reader, row) = self.location(volume)?;
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
        let locations = self.locations.as_ref();
        let is_other =
            |place: &&Place| locations.is_some_and(|known| known.get(&place.volume) != Some(&(place.shard, place.row)));
        let other = places.all().iter().find(is_other);
        let count = locations.map_or(places.all().len(), HashMap::len);
        if other.is_some() || places.all().len() != count {
            let expected = format!("the {count} volumes of the shards");
            let found = other.map_or(format!("{} of them", places.all().len()), |place| {
                format!("volume {} in row {} of shard {}", place.volume, place.row, place.shard)
            });
            return Err(ShardError::Kept { path: self.root.join(crate::places::FILE), expected, found });
        }
        Ok(self.places.get_or_init(|| places))
    }

    /// The token ids of all samples; read, or made, when it is first asked for.
    ///
    /// # Errors
    /// As [`Texts::open`].
    pub fn texts(&self) -> Result<&Arc<Texts>, ShardError> {
        if let Some(texts) = self.texts.get() {
            return Ok(texts);
        }
        let texts = Arc::new(Texts::open(&self.root, &self.index)?);
        Ok(self.texts.get_or_init(|| texts))
    }

    /// Tells the system that a volume will be read soon, where its shard is open; does not wait.
    pub fn will_read(&self, volume: Id) {
        let place = self.places.get().and_then(|places| places.find(volume));
        let file = place.and_then(|place| Some((place, self.volumes[place.shard as usize].file().ok()?)));
        if let Some((place, file)) = file {
            file.will_read(place.offset..place.offset.saturating_add(place.length.into()));
        }
    }

    /// As [`Dataset::read_voxels`], by one read of the stored bytes, whose hash is compared with [`Dataset::places`]; says what it
    /// took. After an error the contents of `cell` are undefined.
    ///
    /// # Errors
    /// [`ShardError::Cell`] where the volume is not as it was written; [`ShardError::Unread`] where it can't be had; a volume that is not in the dataset.
    pub fn read_cell(&self, volume: Id, cell: &mut [u8]) -> Result<CellCost, ShardError> {
        let places = self.places()?;
        let place = places.find(volume).ok_or_else(|| ShardError::NoSuchVolume { path: self.root.clone(), volume })?;
        let shard = place.shard as usize;
        let file = self.volumes[shard].file();
        let file = file.map_err(|source| ShardError::Unread { row: place.row as usize, volume, source })?;
        cell::read(file, place, places.codec(shard), cell)
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
        let texts = self.texts()?;
        let is_there: Vec<bool> = texts.volumes().iter().map(|id| self.has(Id(*id))).collect();
        let (mut rows, mut unsound) = (Vec::new(), Vec::new());
        let (mut without_volume, mut known) = (0, 0);
        for row in 0..texts.len() {
            let is_in = subset.as_ref().is_none_or(|ids| ids.contains(&texts.id(row)));
            known += u64::from(subset.is_some() && is_in);
            let is_split = resplit || texts.split(row) == selection.split;
            if !(is_in && is_split && selection.tasks.contains(&texts.task(row))) {
                continue;
            }
            if texts.is_unsound(row) {
                unsound.push(row);
            } else if texts.has_volumes(row, |volume| is_there[volume as usize])? {
                rows.push(row as u32);
            } else {
                without_volume += 1;
            }
        }
        self.check_sound(texts, &unsound)?;
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
        Ok(Samples::new(texts.clone(), rows, without_volume))
    }

    /// The words for the first of rows that are unsound, in the order of the shards.
    fn check_sound(&self, texts: &Texts, unsound: &[usize]) -> Result<(), ShardError> {
        let places = unsound.iter().map(|row| texts.at(*row).map(|text| (text.shard, text.row)));
        let Some((shard, row)) = places.collect::<Result<Vec<_>, _>>()?.into_iter().min() else { return Ok(()) };
        let (reader, row) = (self.samples[shard as usize].reader()?, row as usize);
        let rows = sample::from_batch(&reader.read_row(row, &[])?).map_err(ShardError::schema(reader.path()))?;
        let problem = |row: SampleRow| Some((row.sample_id, row.problem()?));
        let (sample, problem) = rows
            .into_iter()
            .find_map(problem)
            .ok_or_else(|| texts.problem(format!("an unsound sample in row {row}"), "a sound one".into()))?;
        Err(ShardError::UnsoundSample { path: reader.path().to_owned(), sample, problem })
    }

    /// As [`Dataset::select`], with everything that the rows hold: for what answers and reports.
    ///
    /// # Errors
    /// As [`Dataset::select`] and [`Dataset::rows`].
    pub fn select_rows(&self, selection: &Selection) -> Result<SampleRows, ShardError> {
        let samples = self.select(selection)?;
        let (without_volume, hash) = (samples.without_volume, samples.hash);
        Ok(SampleRows { rows: self.rows(&samples)?, without_volume, hash })
    }

    /// The rows of selected samples, in their order, from the shards.
    ///
    /// # Errors
    /// Shards that can't be read, or that are other ones by now.
    pub fn rows(&self, samples: &Samples) -> Result<Vec<SampleRow>, ShardError> {
        let rows: Vec<SampleRow> = self.read_rows(samples, &[], sample::from_batch)?;
        let other = rows.iter().enumerate().find(|(at, row)| row.sample_id != samples.id(*at));
        match other {
            None => Ok(rows),
            Some((at, row)) => {
                let expected = format!("sample {}", samples.id(at));
                let (path, found) = (self.root.join(crate::texts::FILE), format!("{} in its row", row.sample_id));
                Err(ShardError::Kept { path, expected, found })
            }
        }
    }

    /// The expected texts of selected samples, in their order, from the shards.
    ///
    /// # Errors
    /// As [`Dataset::rows`].
    pub fn answers(&self, samples: &Samples) -> Result<Vec<String>, ShardError> {
        self.read_rows(samples, &sample::ANSWERS, sample::answers_from_batch)
    }

    /// What columns hold of selected samples, which `parse` finds in batches of rows.
    fn read_rows<T: Clone>(
        &self,
        samples: &Samples,
        columns: &[&str],
        parse: impl Fn(&RecordBatch) -> Result<Vec<T>, SchemaError>,
    ) -> Result<Vec<T>, ShardError> {
        let mut wanted = Vec::with_capacity(samples.len());
        for (position, text) in samples.iter().enumerate() {
            let text = text?;
            wanted.push((text.shard as usize, text.row as usize, position));
        }
        wanted.sort_unstable();
        let mut found: Vec<Option<T>> = (0..samples.len()).map(|_| None).collect();
        for of_shard in wanted.chunk_by(|one, next| one.0 == next.0) {
            let (shard, first) = (of_shard[0].0, of_shard[0].1);
            let no_such = || ShardError::NoSuchRow { path: self.root.clone(), row: first, rows: 0 };
            let reader = self.samples.get(shard).ok_or_else(no_such)?.reader()?;
            // A sample may be asked for several times.
            let mut of_rows = of_shard.chunk_by(|one, next| one.1 == next.1);
            let rows: Vec<usize> = of_rows.clone().map(|of_row| of_row[0].1).collect();
            for batch in reader.read_rows(&rows, columns)? {
                let parsed = parse(&batch).map_err(ShardError::schema(reader.path()))?;
                for (value, of_row) in parsed.into_iter().zip(of_rows.by_ref()) {
                    of_row.iter().for_each(|(.., position)| found[*position] = Some(value.clone()));
                }
            }
        }
        let missing = || ShardError::NoSuchRow { path: self.root.clone(), row: samples.len(), rows: 0 };
        found.into_iter().collect::<Option<Vec<T>>>().ok_or_else(missing)
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
