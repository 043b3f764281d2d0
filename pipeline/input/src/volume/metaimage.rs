//! MetaImage volumes: `.mha` with the numbers behind the header, and `.mhd` with the numbers in another file of its folder.
//!
//! Axes and spacings are those of ITK: the rows of the matrix are the axes, towards left, posterior and superior;
//! `AnatomicalOrientation` is not used, and a slope of the elements is not applied.
//!
//! Source: the format's documentation (itk.org/Wiki/ITK/MetaIO/Documentation) and what SimpleITK makes of files.

use std::path::{Path, PathBuf};

use super::buffers::Buffers;
use super::data_file::{self, bad, numbers, shown, unsupported};
use super::magic::{self, Contents};
use super::oriented::{self, Geometry, Placed, Stated};
use super::source::{Extent, NumberType, Source};
use super::{ReadLimits, Rescale, Volume, VolumeReader};
use crate::error::InputError;
use crate::orientation::Orientation;

/// Reads MetaImage files of one scalar volume, raw or compressed.
#[derive(Clone, Debug, Default)]
pub struct MetaImageReader {
    buffers: Buffers,
}

impl MetaImageReader {
    /// A reader whose volumes take their memory from a pool and return it to the pool.
    pub fn with_buffers(buffers: &Buffers) -> MetaImageReader {
        MetaImageReader { buffers: buffers.clone() }
    }
}

/// Whether the bytes start as a MetaImage header does.
pub(super) fn is_metaimage(head: &[u8]) -> bool {
    Contents::of(head) == Contents::MetaImage
}

/// The file that a header named `.mhd` names, where it is there.
pub(super) fn paired_file(path: &Path) -> Option<PathBuf> {
    path.extension().filter(|ending| ending.eq_ignore_ascii_case("mhd"))?;
    named_file(path)
}

/// The file that a header names, where it is there.
pub(super) fn named_file(path: &Path) -> Option<PathBuf> {
    let head = data_file::header(path).ok()?;
    let name = Header::parse(path, &head).ok()?.data_file;
    data_file::data_file(path, &name, "ElementDataFile").ok()
}

impl VolumeReader for MetaImageReader {
    /// Memory: the decoded numbers, in which the samples stay, and while reading the bytes of a compressed stream.
    fn read(&self, path: &Path, limits: &ReadLimits) -> Result<Volume, InputError> {
        let mut source = Source::open_plain(path, limits)?;
        let header = Header::parse(path, &source.head(data_file::LONGEST_HEADER)?)?;
        let shape_ijk = header.shape_ijk(path)?;
        let number_type = header.number_type(path)?;
        let count = data_file::count(path, "DimSize", &shape_ijk)?;
        if header.channels != 1 {
            return Err(unsupported(path, "one number a voxel", format!("{} channels", header.channels)));
        }
        if header.is_text {
            return Err(unsupported(
                path,
                "a MetaImage with BinaryData = True",
                "numbers as text (BinaryData = False)",
            ));
        }
        let mut start = header.end as u64;
        match header.data_file.as_str() {
            "LOCAL" | "Local" | "local" => {}
            list if list.starts_with("LIST") || list.contains('%') => {
                return Err(unsupported(path, "numbers in one file", "a list of data files"));
            }
            name => {
                (source, start) =
                    (Source::open_plain(&data_file::data_file(path, name, "ElementDataFile")?, limits)?, 0)
            }
        }
        start = match header.skip {
            -1 if header.is_packed => start,
            -1 => data_file::start_from_end(&source, count.checked_mul(number_type.bytes())),
            skip => {
                let skip = u64::try_from(skip).map_err(|_| bad(path, "HeaderSize", "-1 or more", skip.to_string()))?;
                start.saturating_add(skip)
            }
        };
        if header.is_packed {
            (source, start) = (source.stream(start, &self.buffers)?, 0);
        }
        let extent = Extent { start, count, number_type, big_endian: header.big_endian };
        let samples = source.samples(&extent, limits, &self.buffers)?;
        let geometry = header.geometry(path)?;
        let stated = Stated { shape_ijk, geometry, rescale: Rescale::IDENTITY };
        Ok(Volume { notes: header.note().into_iter().collect(), ..oriented::volume(path, &stated, samples) })
    }
}

/// The fields of a header that are needed.
struct Header {
    /// Offset of the first byte after the header.
    end: usize,
    axes: usize,
    sizes: Vec<usize>,
    element_type: String,
    data_file: String,
    matrix: Option<Vec<f64>>,
    spacing: Option<Vec<f64>>,
    size: Option<Vec<f64>>,
    position: Option<Vec<f64>>,
    big_endian: bool,
    is_packed: bool,
    is_text: bool,
    channels: usize,
    skip: i64,
    slope: f64,
    offset: f64,
}

impl Header {
    fn parse(path: &Path, head: &[u8]) -> Result<Header, InputError> {
        if !is_metaimage(head) {
            return Err(unsupported(path, "a MetaImage file", magic::found(head)));
        }
        let mut header = Header {
            end: 0,
            axes: 0,
            sizes: Vec::new(),
            element_type: String::new(),
            data_file: String::new(),
            matrix: None,
            spacing: None,
            size: None,
            position: None,
            big_endian: false,
            is_packed: false,
            is_text: false,
            channels: 1,
            skip: 0,
            slope: 1.0,
            offset: 0.0,
        };
        while header.data_file.is_empty() {
            let rest = &head[header.end..];
            if rest.is_empty() {
                // The field is the last of every header.
                return Err(bad(path, "ElementDataFile", "LOCAL or the name of a file", "nothing".to_owned()));
            }
            let length = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
            header.add(path, &String::from_utf8_lossy(&rest[..length]))?;
            header.end = (header.end + length + 1).min(head.len());
        }
        Ok(header)
    }

    fn add(&mut self, path: &Path, line: &str) -> Result<(), InputError> {
        let Some((name, value)) = line.split_once(['=', ':']) else {
            return Ok(());
        };
        let value = value.trim();
        let wrong = |field, expected| bad(path, field, expected, shown(value));
        let is_true = matches!(value.as_bytes().first(), Some(b'T' | b't' | b'1'));
        match name.trim() {
            "ObjectType" if value != "Image" => {
                return Err(unsupported(path, "a MetaImage file", format!("an object of type {}", shown(value))));
            }
            "NDims" => self.axes = value.parse().map_err(|_| wrong("NDims", "a number of axes"))?,
            "DimSize" => self.sizes = numbers(value).ok_or_else(|| wrong("DimSize", "a number for each axis"))?,
            "ElementType" => self.element_type = value.to_owned(),
            "ElementNumberOfChannels" => {
                self.channels = value.parse().map_err(|_| wrong("ElementNumberOfChannels", "a number"))?;
            }
            "ElementSpacing" => self.spacing = numbers(value),
            "ElementSize" => self.size = numbers(value),
            "Offset" | "Position" | "Origin" => self.position = numbers(value),
            "TransformMatrix" | "Rotation" | "Orientation" => {
                let matrix = numbers(value).ok_or_else(|| wrong("TransformMatrix", "a matrix of numbers"))?;
                self.matrix = Some(matrix);
            }
            "BinaryDataByteOrderMSB" | "ElementByteOrderMSB" => self.big_endian = is_true,
            "CompressedData" => self.is_packed = is_true,
            "BinaryData" => self.is_text = !is_true,
            "HeaderSize" => self.skip = value.parse().map_err(|_| wrong("HeaderSize", "a number of bytes"))?,
            "ElementToIntensityFunctionSlope" => self.slope = value.parse().unwrap_or(1.0),
            "ElementToIntensityFunctionOffset" => self.offset = value.parse().unwrap_or(0.0),
            "ElementDataFile" if value.is_empty() => {
                return Err(wrong("ElementDataFile", "LOCAL or the name of a file"));
            }
            "ElementDataFile" => self.data_file = value.to_owned(),
            _ => {}
        }
        Ok(())
    }

    fn shape_ijk(&self, path: &Path) -> Result<[usize; 3], InputError> {
        if self.sizes.len() != self.axes || self.sizes.contains(&0) {
            let found = format!("{} lengths of {} axes", self.sizes.len(), self.axes);
            return Err(bad(path, "DimSize", "1 or more on each axis", found));
        }
        match self.sizes[..] {
            [ni, nj, nk, ref rest @ ..] if rest.iter().all(|length| *length == 1) => Ok([ni, nj, nk]),
            _ => {
                let sizes: Vec<String> = self.sizes.iter().take(16).map(usize::to_string).collect();
                let found = format!("an array of {} on {} axes", sizes.join(" x "), self.axes);
                Err(unsupported(path, "a volume of three axes", found))
            }
        }
    }

    fn number_type(&self, path: &Path) -> Result<NumberType, InputError> {
        Ok(match self.element_type.as_str() {
            "MET_CHAR" => NumberType::I8,
            "MET_UCHAR" => NumberType::U8,
            "MET_SHORT" => NumberType::I16,
            "MET_USHORT" => NumberType::U16,
            // Four bytes in files, whatever the machine.
            "MET_INT" | "MET_LONG" => NumberType::I32,
            "MET_UINT" | "MET_ULONG" => NumberType::U32,
            "MET_LONG_LONG" => NumberType::I64,
            "MET_ULONG_LONG" => NumberType::U64,
            "MET_FLOAT" => NumberType::F32,
            "MET_DOUBLE" => NumberType::F64,
            other => return Err(bad(path, "ElementType", "a number type, as MET_SHORT", shown(other))),
        })
    }

    /// The orientation, the spacing and the place of the axes.
    fn geometry(&self, path: &Path) -> Result<Geometry, InputError> {
        let n = self.axes;
        let lengths = self.spacing.as_ref().or(self.size.as_ref());
        let lengths = lengths.map(|lengths| [0, 1, 2].map(|axis| lengths.get(axis).copied().unwrap_or(f64::NAN)));
        let mut axes = data_file::spaced_axes(lengths.unwrap_or([1.0; 3]));
        if let Some(matrix) = &self.matrix {
            if matrix.len() != n * n {
                let found = format!("{} numbers for {n} axes", matrix.len());
                return Err(bad(path, "TransformMatrix", "a row for each axis", found));
            }
            // A row is a direction; a negative spacing turns it.
            axes = std::array::from_fn(|axis| {
                let step = axes[axis][axis];
                std::array::from_fn(|world| step * matrix[axis * n + world])
            });
        }
        let directions = data_file::from_left_posterior_superior(axes);
        let spacing_mm = lengths.and_then(data_file::spacing_mm);
        let position =
            self.position.as_deref().and_then(|position| position.first_chunk()).filter(|_| spacing_mm.is_some());
        Ok(Geometry {
            orientation: Orientation::from_directions(&directions),
            spacing_mm,
            placed: position.and_then(|position| Placed::of_left_posterior_superior(directions, *position)),
        })
    }

    fn note(&self) -> Option<String> {
        let Header { slope, offset, .. } = self;
        let is_stated = *slope != 1.0 || *offset != 0.0;
        let note =
            || format!("the header's slope {slope} and offset {offset} of the elements are not applied, as by ITK");
        is_stated.then(note)
    }
}
