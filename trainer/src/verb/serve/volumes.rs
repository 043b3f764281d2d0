//! Volumes that are looked at: of the dataset, or one that a person dropped onto the page. All of it is in memory; a dropped file is
//! gone as soon as it was read.

use std::collections::VecDeque;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use med2e3_input::inputs::read_volume;
use med2e3_input::slices::AxialSlices;
use med2e3_input::volume::ReadLimits;
use med2e3_schemas::Id;
use med2e3_schemas::inputs::VolumeInputs;
use med2e3_schemas::volume::VoxelFormat;
use med2e3_shards::codes::{decode, encode};

use super::catalog::Catalog;
use crate::http::refusal::Refusal;
use crate::verb::explain::pictures::{grey, sheet_jpeg};

/// Volumes that are kept at most, some 3 MB each of 32 x 256 x 256 bytes.
const KEPT: usize = 8;

/// A volume, ready to be asked about.
pub(super) struct Shown {
    /// By which the page names it.
    pub(super) key: String,
    /// What a person calls it.
    pub(super) name: String,
    /// Its codes.
    pub(super) cell: Vec<u8>,
    pub(super) format: VoxelFormat,
    /// All slices, as JPEG.
    pub(super) sheet: Vec<u8>,
    /// Hounsfield units of black and of white, where they are known.
    pub(super) units: Option<[f64; 2]>,
}

/// The last volumes that were looked at.
#[derive(Default)]
pub(super) struct Volumes {
    kept: Mutex<VecDeque<Arc<Shown>>>,
}

impl Volumes {
    /// A volume that was kept.
    pub(super) fn get(&self, key: &str) -> Option<Arc<Shown>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let place = kept.iter().position(|shown| shown.key == key)?;
        let shown = kept.remove(place)?;
        kept.push_back(shown.clone());
        Some(shown)
    }

    /// Keeps a volume in the place of the one that was looked at the longest ago.
    pub(super) fn keep(&self, shown: Shown) -> Arc<Shown> {
        let shown = Arc::new(shown);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(shown.clone());
        shown
    }
}

impl Shown {
    /// A volume of the dataset.
    ///
    /// # Errors
    /// There is none of this id; its shard does not read.
    pub(super) fn of_dataset(catalog: &Catalog, id: Id, inputs: &VolumeInputs) -> Result<Shown, Refusal> {
        let entry = catalog.volume(id).ok_or_else(|| Refusal::NotFound(format!("no volume {id} in the dataset")))?;
        let format = *catalog.dataset.voxels();
        let mut cell = vec![0; format.cell_bytes()];
        catalog.dataset.read_voxels(id, &mut cell).map_err(Refusal::of)?;
        Shown::new(id.to_string(), entry.name(), cell, format, inputs)
    }

    /// A dropped file: a NIfTI, prepared as the volumes that the model learned from. It lies in a folder of its own that nobody else
    /// may enter while it is read, under a name of ours.
    ///
    /// # Errors
    /// Another kind of file; one that does not read.
    pub(super) fn of_file(
        key: String,
        bytes: &[u8],
        inputs: &VolumeInputs,
        limits: &ReadLimits,
    ) -> Result<Shown, Refusal> {
        let name = if bytes.starts_with(&[0x1f, 0x8b]) { "dropped.nii.gz" } else { "dropped.nii" };
        let folder = tempfile::Builder::new().prefix("med2e3-").tempdir().map_err(Refusal::of)?;
        let path = folder.path().join(name);
        let written = fs::File::create(&path).and_then(|mut file| file.write_all(bytes));
        written.map_err(Refusal::of)?;
        let read = read_volume(&path, inputs, limits);
        let prepared = read.map_err(|error| Refusal::Unreadable(without(&error, folder.path())))?;
        let mut cell = Vec::with_capacity(inputs.voxels.cell_bytes());
        encode(&prepared.values, &inputs.voxels, &mut cell);
        Shown::new(key, "the dropped file".into(), cell, inputs.voxels, inputs)
    }

    fn new(
        key: String,
        name: String,
        cell: Vec<u8>,
        format: VoxelFormat,
        inputs: &VolumeInputs,
    ) -> Result<Shown, Refusal> {
        let grey = grey(&decode(&cell, &format));
        let slices = AxialSlices::new(&grey, format.shape_dhw).expect("a cell has the format's voxels");
        let sheet = sheet_jpeg(slices).map_err(Refusal::of)?;
        let units = inputs.hounsfield().filter(|_| format.is_unit_range()).map(|scale| {
            let white = scale.offset + scale.scale * f64::from(format.code.maximum());
            [scale.offset, white]
        });
        Ok(Shown { key, name, cell, format, sheet, units })
    }
}

/// An error without the folder in which the file lay for a moment.
fn without(error: &dyn std::error::Error, folder: &Path) -> String {
    med2e3_program::with_causes(error).replace(&format!("{}/", folder.display()), "")
}
