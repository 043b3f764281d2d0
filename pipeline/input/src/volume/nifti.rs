//! NIfTI-1 single files (`.nii`, `.nii.gz`): header by the `nifti` crate, voxels from the bytes in one pass.
//!
//! What the header says is taken as nibabel takes it: sform before qform before `pixdim`; a slope that is zero, NaN or
//! infinite means unscaled; both byte orders; gzip by its magic, not by the name. Where nibabel would read nonsense
//! (`vox_offset` inside the header, a degenerate affine), the specification decides or the field is left unknown.
//!
//! Source: the NIfTI-1 specification (nifti1.h) and nibabel's `nifti1.py`.

use std::fs;
use std::path::Path;

use nifti::{Endianness, NiftiHeader, NiftiType};

use super::samples::{self, Sample, Samples, with_samples};
use super::{ReadLimits, Rescale, Volume, VolumeReader, gzip};
use crate::error::InputError;
use crate::orientation::{self, Directions, Layout, Orientation};

/// Bytes before the voxels of a single file: the header and the extension flag.
const DATA_START: usize = 352;

/// Reads NIfTI-1 single files, plain or gzipped.
#[derive(Clone, Copy, Debug, Default)]
pub struct NiftiReader;

/// Whether the bytes start with the header length of NIfTI-1 (or Analyze) or NIfTI-2 in either byte order.
pub(super) fn is_header(head: &[u8]) -> bool {
    header_length(head).is_some()
}

fn header_length(head: &[u8]) -> Option<u32> {
    let length = u32::from_le_bytes(*head.first_chunk()?);
    [length, length.swap_bytes()].into_iter().find(|length| matches!(length, 348 | 540))
}

impl VolumeReader for NiftiReader {
    /// Memory: the file's bytes, its decoded bytes where it is gzipped, and the samples.
    fn read(&self, path: &Path, limits: &ReadLimits) -> Result<Volume, InputError> {
        let file_len = fs::metadata(path).map_err(|e| InputError::io(path, e))?.len();
        // The header and a gzip file's overhead are small beside the voxels.
        let allowance = limits.max_decoded_bytes.saturating_add(1 << 20);
        if file_len > allowance {
            return Err(InputError::TooLarge {
                path: path.to_owned(),
                expected: limits.max_decoded_bytes,
                found: file_len,
            });
        }
        let file = fs::read(path).map_err(|e| InputError::io(path, e))?;
        let gzipped = gzip::is_gzip(&file);
        let header =
            if gzipped { gzipped_header(path, &file)? } else { header(path, &file[..file.len().min(DATA_START)])? };
        let extent = Extent::of(path, &header)?;
        let expected = extent.data_start as u64 + extent.data_bytes;
        let available = if gzipped { gzip::most_decoded(file.len()) } else { file.len() as u64 };
        if expected > available {
            let offset = (!gzipped).then_some(available);
            return Err(InputError::LyingHeader { path: path.to_owned(), expected, found: available, offset });
        }
        if extent.data_bytes > limits.max_decoded_bytes {
            let (expected, found) = (limits.max_decoded_bytes, extent.data_bytes);
            return Err(InputError::TooLarge { path: path.to_owned(), expected, found });
        }
        let end = extent.data_start + extent.data_bytes as usize;
        let decoded = if gzipped { gzip::inflate(path, &file, end)? } else { file };
        volume(path, &header, &extent, &decoded[extent.data_start..end])
    }
}

fn volume(path: &Path, header: &NiftiHeader, extent: &Extent, data: &[u8]) -> Result<Volume, InputError> {
    let rescale = rescale(path, header)?;
    let geometry = Geometry::of(header);
    let layout = geometry.orientation.map(|orientation| orientation.layout()).unwrap_or_default();
    let shape_dhw = samples::display_shape(extent.shape_ijk, layout);
    let samples = read_samples(extent, data, layout, header.endianness == Endianness::Big);
    let [di, dj, dk] = [0, 1, 2].map(|axis| geometry.spacing_mm.map(|spacing| spacing[axis]));
    let (rows, columns) = if layout.transpose { (di, dj) } else { (dj, di) };
    Ok(Volume {
        path: path.to_owned(),
        shape_dhw,
        hu_known: reaches_air(&samples, rescale),
        samples,
        rescale,
        spacing_mm_dhw: dk.zip(rows).zip(columns).map(|((d, h), w)| [d, h, w]),
        orientation: geometry.orientation.map(|orientation| orientation.codes()),
        plane: geometry.orientation.map(|orientation| orientation.plane()),
        slices_dropped: Vec::new(),
    })
}

fn gzipped_header(path: &Path, file: &[u8]) -> Result<NiftiHeader, InputError> {
    header(path, &gzip::head(file, DATA_START)).or_else(|error| {
        // Damage near the start looks like a bad header: the stream's own fault comes first.
        gzip::inflate(path, file, DATA_START)?;
        Err(error)
    })
}

/// Parses the first bytes of a file, and says which relative of the format it is where it is not NIfTI-1.
fn header(path: &Path, head: &[u8]) -> Result<NiftiHeader, InputError> {
    let unsupported = |found: &str| {
        let expected = "a single-file NIfTI-1 volume (.nii or .nii.gz)";
        Err(InputError::UnsupportedFormat { path: path.to_owned(), expected, found: found.to_owned() })
    };
    if head.len() < DATA_START {
        return Err(bad(path, "length", "352 bytes or more", format!("{} bytes", head.len())));
    }
    match header_length(head) {
        Some(540) => return unsupported("NIfTI-2"),
        Some(_) => {}
        None => return unsupported(&format!("a file that starts with {:02x?}", &head[..4])),
    }
    match &head[344..348] {
        b"n+1\0" => {}
        b"ni1\0" => return unsupported("the header of a NIfTI-1 pair (.hdr and .img)"),
        magic => return Err(bad(path, "magic", "n+1 and a zero byte", format!("{magic:02x?}"))),
    }
    NiftiHeader::from_reader(head).map_err(|e| bad(path, "header", "a NIfTI-1 header", e.to_string()))
}

fn bad(path: &Path, field: &'static str, expected: &'static str, found: String) -> InputError {
    InputError::BadHeader { path: path.to_owned(), field, expected, found }
}

/// Where the voxels lie in the decoded file, how many and of what type.
struct Extent {
    shape_ijk: [usize; 3],
    kind: NiftiType,
    data_start: usize,
    data_bytes: u64,
}

impl Extent {
    fn of(path: &Path, header: &NiftiHeader) -> Result<Extent, InputError> {
        let rank = usize::from(header.dim[0]);
        if !(1..=7).contains(&rank) {
            return Err(bad(path, "dim[0]", "1 to 7", rank.to_string()));
        }
        let dims = &header.dim[1..=rank];
        // The field is a signed 16-bit number that the header type holds unsigned.
        if let Some(dim) = dims.iter().find(|dim| !(1..=i16::MAX as u16).contains(dim)) {
            return Err(bad(path, "dim", "1 to 32767 on each axis", (*dim as i16).to_string()));
        }
        if rank < 3 || dims[3..].iter().any(|dim| *dim != 1) {
            let (expected, found) = ("a volume of three axes", format!("an array of shape {dims:?}"));
            return Err(InputError::UnsupportedFormat { path: path.to_owned(), expected, found });
        }
        let kind = header.data_type().map_err(|e| bad(path, "datatype", "a code of NIfTI-1", e.to_string()))?;
        let Some(sample_bytes) = sample_bytes(kind) else {
            let expected = "integers of 8 to 32 bits or floats of 32 or 64 bits";
            return Err(InputError::UnsupportedFormat { path: path.to_owned(), expected, found: format!("{kind:?}") });
        };
        let shape_ijk = [dims[0], dims[1], dims[2]].map(usize::from);
        let start = header.vox_offset;
        if !(0.0..=1e9).contains(&start) {
            return Err(bad(path, "vox_offset", "352 to 1e9 bytes", start.to_string()));
        }
        // Three dims below 2^15 and at most 8 bytes: below 2^48.
        let data_bytes = shape_ijk.iter().map(|dim| *dim as u64).product::<u64>() * sample_bytes;
        // Some writers leave zero; the specification has no single file with voxels before byte 352.
        Ok(Extent { shape_ijk, kind, data_start: (start as usize).max(DATA_START), data_bytes })
    }
}

fn sample_bytes(kind: NiftiType) -> Option<u64> {
    match kind {
        NiftiType::Uint8 | NiftiType::Int8 => Some(1),
        NiftiType::Uint16 | NiftiType::Int16 => Some(2),
        NiftiType::Uint32 | NiftiType::Int32 | NiftiType::Float32 => Some(4),
        NiftiType::Float64 => Some(8),
        _ => None,
    }
}

fn read_samples(extent: &Extent, data: &[u8], layout: Layout, big_endian: bool) -> Samples {
    fn arrange<T: Sample>(extent: &Extent, data: &[u8], layout: Layout, big_endian: bool) -> Vec<T> {
        samples::arrange(data, extent.shape_ijk, layout, big_endian)
    }
    match extent.kind {
        NiftiType::Uint8 => Samples::U8(arrange(extent, data, layout, big_endian)),
        NiftiType::Int8 => Samples::I8(arrange(extent, data, layout, big_endian)),
        NiftiType::Uint16 => Samples::U16(arrange(extent, data, layout, big_endian)),
        NiftiType::Int16 => Samples::I16(arrange(extent, data, layout, big_endian)),
        NiftiType::Uint32 => Samples::U32(arrange(extent, data, layout, big_endian)),
        NiftiType::Int32 => Samples::I32(arrange(extent, data, layout, big_endian)),
        NiftiType::Float32 => Samples::F32(arrange(extent, data, layout, big_endian)),
        NiftiType::Float64 => Samples::F64(arrange(extent, data, layout, big_endian)),
        kind => unreachable!("Extent::of lets no {kind:?} through"),
    }
}

fn rescale(path: &Path, header: &NiftiHeader) -> Result<Rescale, InputError> {
    let (slope, intercept) = (header.scl_slope, header.scl_inter);
    if slope == 0.0 || !slope.is_finite() {
        return Ok(Rescale::IDENTITY);
    }
    if !intercept.is_finite() {
        return Err(bad(path, "scl_inter", "a finite number", intercept.to_string()));
    }
    Ok(Rescale { slope, intercept })
}

/// Whether some value is -500 or less; see [`Volume::hu_known`].
fn reaches_air(samples: &Samples, rescale: Rescale) -> bool {
    fn any<T: Sample>(samples: &[T], air: impl Fn(f64) -> bool) -> bool {
        samples.iter().any(|sample| air(sample.to_f64()))
    }
    let air = |sample: f64| rescale.value(sample) <= -500.0;
    !matches!(samples, Samples::U8(_)) && with_samples!(samples, samples => any(samples, air))
}

/// Where the voxel axes point and how far apart voxels are, as far as the header says.
struct Geometry {
    orientation: Option<Orientation>,
    /// Along i, j, k.
    spacing_mm: Option<[f32; 3]>,
}

impl Geometry {
    fn of(header: &NiftiHeader) -> Geometry {
        let zooms_given = header.pixdim[1..4].iter().all(|zoom| zoom.is_finite() && *zoom > 0.0);
        // As nibabel repairs them.
        let zooms = [1, 2, 3].map(|axis| match f64::from(header.pixdim[axis]).abs() {
            zoom if zoom.is_finite() && zoom > 0.0 => zoom,
            _ => 1.0,
        });
        let candidates = [
            (header.sform_code > 0).then(|| (sform(header), true)),
            (header.qform_code > 0).then(|| (qform(header, zooms), zooms_given)),
            // Neither: nibabel's base affine, whose first axis runs to the left.
            (header.sform_code <= 0 && header.qform_code <= 0)
                .then(|| (diagonal([-zooms[0], zooms[1], zooms[2]]), zooms_given)),
        ];
        let known = candidates
            .into_iter()
            .flatten()
            .find_map(|(directions, sized)| Some((Orientation::from_directions(&directions)?, directions, sized)));
        let Some((orientation, directions, sized)) = known else {
            let spacing_mm = zooms_given.then(|| zooms.map(|zoom| (zoom * millimeters(header)) as f32));
            return Geometry { orientation: None, spacing_mm };
        };
        let steps = orientation::step_lengths(&directions);
        let spacing_mm = sized.then(|| steps.map(|step| (step * millimeters(header)) as f32));
        Geometry { orientation: Some(orientation), spacing_mm }
    }
}

/// Millimeters in the header's unit of length; an unknown unit is taken for millimeters.
fn millimeters(header: &NiftiHeader) -> f64 {
    match header.xyzt_units & 7 {
        1 => 1000.0,
        3 => 0.001,
        _ => 1.0,
    }
}

fn sform(header: &NiftiHeader) -> Directions {
    [header.srow_x, header.srow_y, header.srow_z].map(|row| [row[0], row[1], row[2]].map(f64::from))
}

/// The quaternion's rotation with the voxel sizes; the sign of `pixdim[0]` turns the third axis.
fn qform(header: &NiftiHeader, zooms: [f64; 3]) -> Directions {
    let [x, y, z] = [header.quatern_b, header.quatern_c, header.quatern_d].map(f64::from);
    let squares = x * x + y * y + z * z;
    // Rounding in f32 may leave a little less than nothing for the scalar part (nibabel's threshold).
    let scalar_square = 1.0 - squares;
    let w = if scalar_square < 3.0 * f64::from(f32::EPSILON) { 0.0 } else { scalar_square.sqrt() };
    let s = 2.0 / (w * w + squares);
    let rotation = [
        [1.0 - s * (y * y + z * z), s * (x * y - w * z), s * (x * z + w * y)],
        [s * (x * y + w * z), 1.0 - s * (x * x + z * z), s * (y * z - w * x)],
        [s * (x * z - w * y), s * (y * z + w * x), 1.0 - s * (x * x + y * y)],
    ];
    let third = if header.pixdim[0] < 0.0 { -zooms[2] } else { zooms[2] };
    rotation.map(|row| [row[0] * zooms[0], row[1] * zooms[1], row[2] * third])
}

fn diagonal(zooms: [f64; 3]) -> Directions {
    std::array::from_fn(|row| std::array::from_fn(|column| if row == column { zooms[row] } else { 0.0 }))
}
