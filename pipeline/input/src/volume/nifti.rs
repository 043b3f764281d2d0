//! NIfTI volumes: `.nii`, `.nii.gz` and `.hdr`/`.img` pairs of version 1 and 2, in both byte orders.
//!
//! What the header says is taken as nibabel takes it: sform before qform before `pixdim`; a slope that is zero, NaN or
//! infinite means unscaled; gzip by its magic, not by the name. Where nibabel would read nonsense (`vox_offset` inside
//! the header of a single file, a degenerate affine), the specification decides or the field is left unknown.
//!
//! Source: the NIfTI specification (nifti1.h, nifti2.h) and nibabel's `nifti1.py` and `nifti2.py`.

mod geometry;
mod header;
mod parts;

use std::path::Path;

use self::geometry::Geometry;
use self::header::Header;
pub(super) use self::header::is_header;
pub(super) use self::parts::{Parts, is_pair_name};
use super::buffers::Buffers;
use super::source::Source;
use super::{Arrangement, ReadLimits, Rescale, Sample, Samples, Volume, VolumeReader, with_samples};
use crate::error::InputError;
use crate::intensity::LowHigh;

/// Reads NIfTI files, plain or gzipped, single or in pairs (by the path of either part).
#[derive(Clone, Debug, Default)]
pub struct NiftiReader {
    buffers: Buffers,
}

impl NiftiReader {
    /// A reader whose volumes take their memory from a pool and return it there.
    pub fn with_buffers(buffers: &Buffers) -> NiftiReader {
        NiftiReader { buffers: buffers.clone() }
    }
}

impl VolumeReader for NiftiReader {
    /// Memory: the file's bytes where it is gzipped, and its decoded bytes, which the samples stay in.
    fn read(&self, path: &Path, limits: &ReadLimits) -> Result<Volume, InputError> {
        let parts = Parts::of(path)?;
        let header_path = parts.header();
        let mut source = Source::open(header_path, limits, &self.buffers)?;
        let head = source.head(header::LONGEST)?;
        let header = Header::parse(header_path, &head).or_else(|error| {
            // Damage near the start looks like a bad header: the stream's own fault comes first.
            source.check(head.len().max(1), limits, &self.buffers)?;
            Err(error)
        })?;
        let (shape_ijk, extent) = (header.shape_ijk(header_path)?, header.extent(header_path)?);
        let rescale = header.rescale(header_path)?;
        let source = match (parts, header.is_single()) {
            (Parts::Pair { voxels, .. }, false) => Source::open(&voxels, limits, &self.buffers)?,
            // A header named as one of a pair that says it is a single file.
            (Parts::Single { .. } | Parts::Pair { .. }, true) => source,
            (Parts::Single { .. }, false) => {
                let expected = "a single-file NIfTI volume, or a pair named .hdr and .img";
                let found = "the header of a pair under another name".to_owned();
                return Err(InputError::UnsupportedFormat { path: path.to_owned(), expected, found });
            }
        };
        let samples = source.samples(&extent, limits, &self.buffers)?;
        Ok(volume(path, &header, shape_ijk, samples, rescale))
    }
}

fn volume(path: &Path, header: &Header, shape_ijk: [usize; 3], samples: Samples, rescale: Rescale) -> Volume {
    let geometry = Geometry::of(header);
    let layout = geometry.orientation.map(|orientation| orientation.layout()).unwrap_or_default();
    let [ni, nj, nk] = shape_ijk;
    let [di, dj, dk] = [0, 1, 2].map(|axis| geometry.spacing_mm.map(|spacing| spacing[axis]));
    let (rows, columns) = if layout.transpose { (di, dj) } else { (dj, di) };
    let shape_dhw = if layout.transpose { [nk, ni, nj] } else { [nk, nj, ni] };
    Volume {
        arrangement: Arrangement::of(layout),
        hu_known: reaches_air(&samples, rescale),
        spacing_mm_dhw: dk.zip(rows).zip(columns).map(|((d, h), w)| [d, h, w]),
        orientation: geometry.orientation.map(|orientation| orientation.codes()),
        plane: geometry.orientation.map(|orientation| orientation.plane()),
        ..Volume::plain(path, shape_dhw, samples, rescale)
    }
}

/// Whether some value is -500 or less; see [`Volume::hu_known`].
fn reaches_air(samples: &Samples, rescale: Rescale) -> bool {
    fn any<T: Sample>(samples: &[T], rescale: Rescale) -> bool {
        // In CT the first corner is air, so few pieces are looked at.
        samples.chunks(1 << 14).any(|piece| {
            let mut seen = LowHigh::default();
            seen.add(piece);
            let (low, high) = seen.low_and_high();
            let least = if rescale.slope < 0.0 { high } else { low };
            rescale.value(least.to_f64()) <= -500.0
        })
    }
    !matches!(samples, Samples::U8(_)) && with_samples!(samples, samples => any(samples, rescale))
}
