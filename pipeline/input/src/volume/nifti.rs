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
use self::header::Header;
pub(super) use self::header::is_header;
use super::buffers::Buffers;
use super::magic::{self, Contents};
use super::oriented::{self, Geometry, Stated};
use super::source::Source;
use super::{ReadLimits, Volume, VolumeReader};
use crate::error::InputError;

/// Decoded bytes of a file that is no NIfTI in which levels of gzip are looked for.
const LONGEST_LOOK: usize = 1 << 16;

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
            let Some(found) = magic::gzip_within_gzip(&source.head(LONGEST_LOOK)?).filter(|_| source.is_gzip()) else {
                return Err(error);
            };
            Err(InputError::UnsupportedFormat { path: header_path.to_owned(), expected: "a NIfTI volume", found })
        })?;
        let (shape_ijk, extent) = (header.shape_ijk(header_path)?, header.extent(header_path)?);
        let rescale = header.rescale(header_path)?;
        let source = match (files, header.is_single()) {
            (NiftiFiles::Pair { voxels, .. }, false) => {
                let mut source = Source::open(&voxels, limits, &self.buffers)?;
                let kind = Contents::of(&source.head(magic::HEAD_BYTES)?);
                if matches!(kind, Contents::GitLfsPointer | Contents::GitAnnexPointer | Contents::Html) {
                    let (expected, found) = ("the voxels of a NIfTI pair", kind.found().to_owned());
                    return Err(InputError::UnsupportedFormat { path: voxels, expected, found });
                }
                source
            }
            // A file that is named as a header of a pair, while its contents state a single file.
            (NiftiFiles::Single { .. } | NiftiFiles::Pair { .. }, true) => source,
            (NiftiFiles::Single { .. }, false) => {
                let expected = "a single-file NIfTI volume, or a pair named .hdr and .img";
                let found = "the header of a pair under another name".to_owned();
                return Err(InputError::UnsupportedFormat { path: path.to_owned(), expected, found });
            }
        };
        let samples = source.samples(&extent, limits, &self.buffers)?;
        let geometry = Geometry::of(&header);
        let volume = oriented::volume(path, &Stated { shape_ijk, geometry, rescale }, samples);
        let [ni, nj, nk] = shape_ijk;
        let fourth =
            || format!("the header states {ni} x {nj} x 1 x {nk} voxels: the fourth axis is taken as the slices");
        Ok(Volume { notes: header.slices_on_fourth_axis().then(fourth).into_iter().collect(), ..volume })
    }
}
