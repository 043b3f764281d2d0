//! NIfTI volumes: `.nii`, `.nii.gz` and `.hdr`/`.img` pairs of version 1 and 2, in both byte orders.
//!
//! Headers are interpreted as by nibabel: sform before qform before `pixdim`; a slope that is zero, NaN or infinite
//! means unscaled; gzip is recognized by its first bytes, not by the name. Where nibabel would read meaningless values
//! (`vox_offset` inside the header of a single file, a degenerate affine), the specification decides or the property
//! stays unknown.
//!
//! Source: the NIfTI specification (nifti1.h, nifti2.h) and nibabel's `nifti1.py` and `nifti2.py`.

mod files;
mod geometry;
mod header;

use std::path::Path;

pub(super) use self::files::{NiftiFiles, is_pair_name};
use self::geometry::Geometry;
use self::header::Header;
pub(super) use self::header::is_header;
use super::buffers::Buffers;
use super::source::Source;
use super::{Arrangement, ReadLimits, Rescale, Sample, Samples, Volume, VolumeReader, with_samples};
use crate::error::InputError;
use crate::volume::low_high::LowHigh;

/// Reads NIfTI files, plain or gzipped, single files or pairs (by the path of either file).
#[derive(Clone, Debug, Default)]
pub struct NiftiReader {
    buffers: Buffers,
}

impl NiftiReader {
    /// A reader whose volumes take their memory from a pool and return it to the pool.
    pub fn with_buffers(buffers: &Buffers) -> NiftiReader {
        NiftiReader { buffers: buffers.clone() }
    }
}

impl VolumeReader for NiftiReader {
    /// Memory: the decoded bytes, in which the samples stay, and while reading the bytes of a gzipped file.
    fn read(&self, path: &Path, limits: &ReadLimits) -> Result<Volume, InputError> {
        let files = NiftiFiles::of(path)?;
        let header_path = files.header();
        let mut source = Source::open(header_path, limits, &self.buffers)?;
        let head = source.head(header::LONGEST)?;
        let header = Header::parse(header_path, &head).or_else(|error| {
            // Damage near the start looks like a bad header: an error of the gzip stream is reported first.
            source.check(head.len().max(1), limits, &self.buffers)?;
            Err(error)
        })?;
        let (shape_ijk, extent) = (header.shape_ijk(header_path)?, header.extent(header_path)?);
        let rescale = header.rescale(header_path)?;
        let source = match (files, header.is_single()) {
            (NiftiFiles::Pair { voxels, .. }, false) => Source::open(&voxels, limits, &self.buffers)?,
            // A file that is named as a header of a pair, while its contents state a single file.
            (NiftiFiles::Single { .. } | NiftiFiles::Pair { .. }, true) => source,
            (NiftiFiles::Single { .. }, false) => {
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
    let display_transform = geometry.orientation.map(|orientation| orientation.display_transform()).unwrap_or_default();
    let [ni, nj, nk] = shape_ijk;
    let [di, dj, dk] = [0, 1, 2].map(|axis| geometry.spacing_mm.map(|spacing| spacing[axis]));
    let (rows, columns) = if display_transform.transpose { (di, dj) } else { (dj, di) };
    let shape_dhw = if display_transform.transpose { [nk, ni, nj] } else { [nk, nj, ni] };
    Volume {
        arrangement: Arrangement::of(display_transform),
        hu_known: reaches_air(&samples, rescale),
        spacing_mm_dhw: dk.zip(rows).zip(columns).map(|((d, h), w)| [d, h, w]),
        orientation: geometry.orientation.map(|orientation| orientation.codes()),
        plane: geometry.orientation.map(|orientation| orientation.plane()),
        ..Volume::plain(path, shape_dhw, samples, rescale)
    }
}

/// Whether any value is -500 or less; see [`Volume::hu_known`].
fn reaches_air(samples: &Samples, rescale: Rescale) -> bool {
    fn any<T: Sample>(samples: &[T], rescale: Rescale) -> bool {
        // In CT the first corner is air, so that few chunks are read.
        samples.chunks(1 << 14).any(|chunk| {
            let mut range = LowHigh::default();
            range.add(chunk);
            let (low, high) = range.low_and_high();
            let least = if rescale.slope < 0.0 { high } else { low };
            rescale.value(least.to_f64()) <= -500.0
        })
    }
    !matches!(samples, Samples::U8(_)) && with_samples!(samples, samples => any(samples, rescale))
}
