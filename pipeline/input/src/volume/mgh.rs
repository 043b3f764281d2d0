//! MGH volumes of FreeSurfer: `.mgh`, and gzipped as `.mgz`.
//!
//! Source: FreeSurfer's description of the format (surfer.nmr.mgh.harvard.edu/fswiki/FsTutorial/MghFormat), and nibabel's
//! `freesurfer/mghformat.py`.

use std::path::Path;

use super::buffers::Buffers;
use super::data_file::{self, bad, unsupported};
use super::magic::{self, Contents};
use super::oriented::{self, Geometry, Placed, Stated};
use super::source::{Extent, NumberType, Source};
use super::{ReadLimits, Rescale, Volume, VolumeReader};
use crate::error::InputError;
use crate::orientation::{Directions, Orientation};

/// Length of the header, after which the numbers start.
const LENGTH: usize = 284;

/// Reads MGH files of one volume, plain or gzipped.
#[derive(Clone, Debug, Default)]
pub struct MghReader {
    buffers: Buffers,
}

impl MghReader {
    /// A reader whose volumes take their memory from a pool and return it to the pool.
    pub fn with_buffers(buffers: &Buffers) -> MghReader {
        MghReader { buffers: buffers.clone() }
    }
}

/// Whether the bytes start as a plain MGH file does.
pub(super) fn is_mgh(head: &[u8]) -> bool {
    Contents::of(head) == Contents::Mgh
}

impl VolumeReader for MghReader {
    /// Memory: the decoded bytes, in which the samples stay, and while reading the bytes of a gzipped file.
    fn read(&self, path: &Path, limits: &ReadLimits) -> Result<Volume, InputError> {
        let mut source = Source::open(path, limits, &self.buffers)?;
        let head = source.head(LENGTH)?;
        if !is_mgh(&head) {
            source.check(head.len().max(1), limits, &self.buffers)?;
            return Err(unsupported(path, "an MGH file", magic::found(&head)));
        }
        let Some(head) = head.first_chunk::<LENGTH>() else {
            return Err(bad(path, "length", "284 bytes or more", format!("{} bytes", head.len())));
        };
        let word = |at: usize| [head[at], head[at + 1], head[at + 2], head[at + 3]];
        let int = |at: usize| i32::from_be_bytes(word(at));
        let float = |at: usize| f64::from(f32::from_be_bytes(word(at)));
        // The magic's check leaves only lengths above 0.
        let shape_ijk = [4, 8, 12].map(|at| int(at) as usize);
        let frames = int(16);
        if frames != 1 {
            return Err(unsupported(path, "one volume", format!("{frames} frames, such as a series in time")));
        }
        let number_type = match int(20) {
            0 => NumberType::U8,
            1 => NumberType::I32,
            3 => NumberType::F32,
            4 => NumberType::I16,
            10 => NumberType::U16,
            code => return Err(bad(path, "type", "0, 1, 3, 4 or 10", code.to_string())),
        };
        let count = data_file::count(path, "dims", &shape_ijk)?;
        let extent = Extent { start: LENGTH as u64, count, number_type, big_endian: true };
        let samples = source.samples(&extent, limits, &self.buffers)?;
        let is_placed = i16::from_be_bytes([head[28], head[29]]) > 0;
        // Columns are the axes; a file that states none is coronal.
        let cosines: Directions = if is_placed {
            std::array::from_fn(|world| std::array::from_fn(|axis| float(42 + 12 * axis + 4 * world)))
        } else {
            [[-1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]]
        };
        let spacing = if is_placed { [30, 34, 38].map(float) } else { [1.0; 3] };
        // Its place is that of the voxel in the middle, half of the lengths from the first.
        let directions = cosines.map(|row| std::array::from_fn(|axis| row[axis] * spacing[axis]));
        let to_middle = |row: [f64; 3]| (0..3).map(|axis| row[axis] * shape_ijk[axis] as f64 / 2.0).sum::<f64>();
        let origin_mm = std::array::from_fn(|world| float(78 + 4 * world) - to_middle(directions[world]));
        let geometry = Geometry {
            orientation: Orientation::from_directions(&cosines),
            spacing_mm: data_file::spacing_mm(spacing),
            placed: is_placed.then_some(Placed { directions, origin_mm }),
        };
        Ok(oriented::volume(path, &Stated { shape_ijk, geometry, rescale: Rescale::IDENTITY }, samples))
    }
}
