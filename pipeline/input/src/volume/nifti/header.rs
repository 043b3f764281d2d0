//! NIfTI headers of both versions, as one set of fields. The `nifti` crate parses version 1; it does not support
//! version 2, which is parsed here.

use std::path::Path;

use nifti::{Endianness, NiftiHeader};

use super::super::Rescale;
use super::super::magic::{self, Contents};
use super::super::source::{Extent, NumberType};
use crate::error::InputError;

/// Bytes of the longest header and the extension flag after it.
pub(in super::super) const LONGEST: usize = 544;

/// Lengths of the headers, which are also their first field.
const LENGTH_1: u32 = 348;
const LENGTH_2: u32 = 540;

/// Whether the bytes start with the header length of NIfTI-1 (or Analyze) or NIfTI-2 in either byte order.
pub(in super::super) fn is_header(head: &[u8]) -> bool {
    header_length(head).is_some()
}

fn header_length(head: &[u8]) -> Option<u32> {
    let length = u32::from_le_bytes(*head.first_chunk()?);
    [length, length.swap_bytes()].into_iter().find(|length| matches!(*length, LENGTH_1 | LENGTH_2))
}

/// The fields that describe a volume, under the specification's names.
#[derive(Clone, Debug)]
pub(super) struct Header {
    /// Length of the header.
    length: u32,
    /// Header and voxels in one file (`n+1`, `n+2`), else a pair (`ni1`, `ni2`).
    is_single: bool,
    big_endian: bool,
    rank: i64,
    dims: [i64; 7],
    datatype: i16,
    vox_offset: f64,
    scl_slope: f64,
    scl_inter: f64,
    pub(super) pixdim: [f64; 4],
    pub(super) qform_code: i32,
    pub(super) sform_code: i32,
    /// `quatern_b`, `quatern_c`, `quatern_d`.
    pub(super) quatern: [f64; 3],
    /// `qoffset_x`, `qoffset_y`, `qoffset_z`.
    pub(super) qoffset: [f64; 3],
    /// The first three columns of `srow_x`, `srow_y`, `srow_z`, without the offset.
    pub(super) srow: [[f64; 3]; 3],
    /// Their fourth column, the offset.
    pub(super) srow_offset: [f64; 3],
    pub(super) xyzt_units: u8,
}

impl Header {
    /// Parses the first bytes of a file. An error names the related format where the file is not NIfTI.
    pub(super) fn parse(path: &Path, head: &[u8]) -> Result<Header, InputError> {
        let Some(length) = header_length(head) else {
            let expected = "a NIfTI volume (.nii, .nii.gz, or .hdr with .img)";
            let found = match head.len() {
                0 => return Err(bad(path, "length", "348 bytes or more", Contents::Empty.found().to_owned())),
                1..4 => return Err(bad(path, "length", "348 bytes or more", format!("{} bytes", head.len()))),
                _ => magic::found(head),
            };
            return Err(InputError::UnsupportedFormat { path: path.to_owned(), expected, found });
        };
        if head.len() < length as usize {
            let expected = if length == LENGTH_1 { "348 bytes or more" } else { "540 bytes or more" };
            return Err(bad(path, "length", expected, format!("{} bytes", head.len())));
        }
        match length {
            LENGTH_1 => Header::parse_1(path, &head[..LENGTH_1 as usize]),
            _ => Header::parse_2(path, &head[..LENGTH_2 as usize]),
        }
    }

    fn parse_1(path: &Path, head: &[u8]) -> Result<Header, InputError> {
        let is_single = match &head[344..348] {
            b"n+1\0" => true,
            b"ni1\0" => false,
            [0, 0, 0, 0] => {
                let (expected, found) = ("a NIfTI header", Contents::Analyze.found().to_owned());
                return Err(InputError::UnsupportedFormat { path: path.to_owned(), expected, found });
            }
            magic => return Err(bad(path, "magic", "n+1 or ni1 and a zero byte", magic.escape_ascii().to_string())),
        };
        let header =
            NiftiHeader::from_reader(head).map_err(|e| bad(path, "header", "a NIfTI-1 header", e.to_string()))?;
        let wide = |row: [f32; 4]| [row[0], row[1], row[2]].map(f64::from);
        // The fields are signed 16-bit numbers that the crate's type holds unsigned.
        let dim = header.dim.map(|dim| i64::from(dim as i16));
        Ok(Header {
            length: LENGTH_1,
            is_single,
            big_endian: header.endianness == Endianness::Big,
            rank: dim[0],
            dims: std::array::from_fn(|axis| dim[axis + 1]),
            datatype: header.datatype,
            vox_offset: f64::from(header.vox_offset),
            scl_slope: f64::from(header.scl_slope),
            scl_inter: f64::from(header.scl_inter),
            pixdim: std::array::from_fn(|axis| f64::from(header.pixdim[axis])),
            qform_code: i32::from(header.qform_code),
            sform_code: i32::from(header.sform_code),
            quatern: [header.quatern_b, header.quatern_c, header.quatern_d].map(f64::from),
            // The crate's names of the offsets.
            qoffset: [header.quatern_x, header.quatern_y, header.quatern_z].map(f64::from),
            srow: [header.srow_x, header.srow_y, header.srow_z].map(wide),
            srow_offset: [header.srow_x, header.srow_y, header.srow_z].map(|row| f64::from(row[3])),
            xyzt_units: header.xyzt_units,
        })
    }

    fn parse_2(path: &Path, head: &[u8]) -> Result<Header, InputError> {
        let is_single = match &head[4..12] {
            b"n+2\0\r\n\x1a\n" => true,
            b"ni2\0\r\n\x1a\n" => false,
            magic => {
                let found = magic.escape_ascii().to_string();
                return Err(bad(path, "magic", "n+2 or ni2, 0, CR, LF, 1a, LF", found));
            }
        };
        let fields = Fields { head, big_endian: head[..2] == [0, 0] };
        let dim: [i64; 8] = std::array::from_fn(|axis| fields.i64(16 + 8 * axis));
        Ok(Header {
            length: LENGTH_2,
            is_single,
            big_endian: fields.big_endian,
            rank: dim[0],
            dims: std::array::from_fn(|axis| dim[axis + 1]),
            datatype: i16::from_le_bytes(fields.bytes(12)),
            vox_offset: fields.i64(168) as f64,
            scl_slope: fields.f64(176),
            scl_inter: fields.f64(184),
            pixdim: std::array::from_fn(|axis| fields.f64(104 + 8 * axis)),
            qform_code: fields.i32(344),
            sform_code: fields.i32(348),
            quatern: std::array::from_fn(|n| fields.f64(352 + 8 * n)),
            qoffset: std::array::from_fn(|n| fields.f64(376 + 8 * n)),
            srow: std::array::from_fn(|row| std::array::from_fn(|column| fields.f64(400 + 32 * row + 8 * column))),
            srow_offset: std::array::from_fn(|row| fields.f64(424 + 32 * row)),
            // The field is 32 bits wide; its codes are those of version 1.
            xyzt_units: fields.i32(500) as u8,
        })
    }

    /// Whether header and voxels share one file.
    pub(super) fn is_single(&self) -> bool {
        self.is_single
    }

    /// Voxels along i, j, k. Axes after the third that hold 0 or 1 are dropped, as the reference library `nifti1_io`
    /// takes 0 for 1; of slices that are stored along the fourth axis, the third being 1, the fourth is k.
    ///
    /// # Errors
    /// [`InputError::BadHeader`] for impossible axes, [`InputError::UnsupportedFormat`] for an array of other than 3
    /// axes.
    pub(super) fn shape_ijk(&self, path: &Path) -> Result<[usize; 3], InputError> {
        let rank = usize::try_from(self.rank).ok().filter(|rank| (1..=7).contains(rank));
        let Some(rank) = rank else {
            return Err(bad(path, "dim[0]", "1 to 7", self.rank.to_string()));
        };
        let dims = &self.dims[..rank];
        let mut shape = Vec::with_capacity(rank);
        for (axis, dim) in dims.iter().enumerate() {
            match usize::try_from(*dim).map(|dim| if axis > 2 { dim.max(1) } else { dim }) {
                Ok(dim) if dim > 0 => shape.push(dim),
                _ => return Err(bad(path, "dim", "1 or more on each axis", dim.to_string())),
            }
        }
        match shape[..] {
            [ni, nj, nk, ref rest @ ..] if rest.iter().all(|dim| *dim == 1) => Ok([ni, nj, nk]),
            [ni, nj, 1, nk, ref rest @ ..] if rest.iter().all(|dim| *dim == 1) => Ok([ni, nj, nk]),
            _ => {
                let lengths: Vec<String> = shape.iter().map(usize::to_string).collect();
                let what = if rank > 3 { "axes, such as a series in time" } else { "axes" };
                let found = format!("an array of {} on {rank} {what}", lengths.join(" x "));
                Err(InputError::UnsupportedFormat { path: path.to_owned(), expected: "a volume of three axes", found })
            }
        }
    }

    /// Whether the slices are along the fourth axis.
    pub(super) fn slices_on_fourth_axis(&self) -> bool {
        self.rank > 3 && self.dims[2] == 1 && self.dims[3] > 1
    }

    /// Offset, number and type of the voxels in their decoded file.
    ///
    /// # Errors
    /// As [`shape_ijk`](Self::shape_ijk), and for the fields `datatype` and `vox_offset`.
    pub(super) fn extent(&self, path: &Path) -> Result<Extent, InputError> {
        let shape = self.shape_ijk(path)?;
        let number_type = number_type(path, self.datatype)?;
        if !(0.0..=1e9).contains(&self.vox_offset) {
            return Err(bad(path, "vox_offset", "0 to 1e9 bytes", self.vox_offset.to_string()));
        }
        // Some writers store zero; in a single file, voxels start after the extension flag at the earliest.
        let least = if self.is_single { u64::from(self.length) + 4 } else { 0 };
        let start = (self.vox_offset as u64).max(least);
        let count = shape.iter().try_fold(1_u64, |count, dim| count.checked_mul(*dim as u64));
        let Some(count) = count else {
            return Err(bad(path, "dim", "fewer than 2^64 voxels", format!("{shape:?}")));
        };
        Ok(Extent { start, count, number_type, big_endian: self.big_endian })
    }

    /// The mapping from stored numbers to values.
    ///
    /// # Errors
    /// [`InputError::BadHeader`] for numbers that `f32` cannot represent.
    pub(super) fn rescale(&self, path: &Path) -> Result<Rescale, InputError> {
        if self.scl_slope == 0.0 || !self.scl_slope.is_finite() {
            return Ok(Rescale::IDENTITY);
        }
        let (slope, intercept) = (self.scl_slope as f32, self.scl_inter as f32);
        if !intercept.is_finite() {
            return Err(bad(path, "scl_inter", "a finite number", self.scl_inter.to_string()));
        }
        if !slope.is_finite() || slope == 0.0 {
            return Err(bad(path, "scl_slope", "a number within the range of f32", self.scl_slope.to_string()));
        }
        Ok(Rescale { slope, intercept })
    }
}

/// The number type of a `datatype` code.
fn number_type(path: &Path, datatype: i16) -> Result<NumberType, InputError> {
    let other = match datatype {
        2 => return Ok(NumberType::U8),
        4 => return Ok(NumberType::I16),
        8 => return Ok(NumberType::I32),
        16 => return Ok(NumberType::F32),
        64 => return Ok(NumberType::F64),
        256 => return Ok(NumberType::I8),
        512 => return Ok(NumberType::U16),
        768 => return Ok(NumberType::U32),
        1024 => return Ok(NumberType::I64),
        1280 => return Ok(NumberType::U64),
        1 => "single bits",
        32 | 1792 | 2048 => "complex numbers",
        128 => "RGB colors",
        2304 => "RGBA colors",
        1536 => "128-bit floats",
        code => return Err(bad(path, "datatype", "a code of NIfTI", code.to_string())),
    };
    let expected = "integers of 8 to 64 bits or floats of 32 or 64 bits";
    Err(InputError::UnsupportedFormat { path: path.to_owned(), expected, found: format!("{other} ({datatype})") })
}

fn bad(path: &Path, field: &'static str, expected: &'static str, found: String) -> InputError {
    InputError::BadHeader { path: path.to_owned(), field, expected, found }
}

/// Numbers in a header of version 2 by their byte offset.
struct Fields<'a> {
    head: &'a [u8],
    big_endian: bool,
}

impl Fields<'_> {
    /// The bytes at an offset, in little-endian order.
    fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut bytes: [u8; N] = self.head[at..at + N].try_into().expect("N bytes were cut");
        if self.big_endian {
            bytes.reverse();
        }
        bytes
    }

    fn i32(&self, at: usize) -> i32 {
        i32::from_le_bytes(self.bytes(at))
    }

    fn i64(&self, at: usize) -> i64 {
        i64::from_le_bytes(self.bytes(at))
    }

    fn f64(&self, at: usize) -> f64 {
        f64::from_le_bytes(self.bytes(at))
    }
}
