//! NRRD volumes: `.nrrd` with the numbers behind the header, and `.nhdr` with the numbers in another file of its folder.
//!
//! Directions are those of ITK: `space` left-posterior-superior, right-anterior-superior and left-anterior-superior are
//! told apart, any other space is taken as left-posterior-superior, and so are files that state none.
//!
//! Source: Teem's definition of the format (teem.sourceforge.net/nrrd/format.html).

use std::path::{Path, PathBuf};

use super::buffers::Buffers;
use super::data_file::{self, bad, numbers, shown, unsupported};
use super::magic::{self, Contents};
use super::oriented::{self, Geometry, Placed, Stated};
use super::source::{Extent, NumberType, Source};
use super::{ReadLimits, Rescale, Volume, VolumeReader};
use crate::error::InputError;
use crate::orientation::{self, Directions, Orientation};

/// Bytes at the start of a file of numbers in which lines are skipped.
const LONGEST_LINES: usize = 1 << 20;

/// Reads NRRD files of one scalar volume, raw or gzipped.
#[derive(Clone, Debug, Default)]
pub struct NrrdReader {
    buffers: Buffers,
}

impl NrrdReader {
    /// A reader whose volumes take their memory from a pool and return it to the pool.
    pub fn with_buffers(buffers: &Buffers) -> NrrdReader {
        NrrdReader { buffers: buffers.clone() }
    }
}

/// Whether the bytes start as an NRRD file does.
pub(super) fn is_nrrd(head: &[u8]) -> bool {
    Contents::of(head) == Contents::Nrrd
}

/// The file that a header named `.nhdr` names, where it is there.
pub(super) fn paired_file(path: &Path) -> Option<PathBuf> {
    path.extension().filter(|ending| ending.eq_ignore_ascii_case("nhdr"))?;
    named_file(path)
}

/// The file that a header names, where it is there.
pub(super) fn named_file(path: &Path) -> Option<PathBuf> {
    let head = data_file::header(path).ok()?;
    let name = Header::parse(path, &head).ok()?.data_file?;
    data_file::data_file(path, &name, "data file").ok()
}

impl VolumeReader for NrrdReader {
    /// Memory: the decoded numbers, in which the samples stay, and while reading the bytes of a gzip stream.
    fn read(&self, path: &Path, limits: &ReadLimits) -> Result<Volume, InputError> {
        let mut source = Source::open_plain(path, limits)?;
        let head = source.head(data_file::LONGEST_HEADER)?;
        let header = Header::parse(path, &head)?;
        let (axes, shape_ijk) = header.axes(path)?;
        let number_type = header.number_type(path)?;
        let is_gzip = header.is_gzip(path)?;
        let big_endian = header.big_endian(path, number_type)?;
        let count = data_file::count(path, "sizes", &shape_ijk)?;
        let mut start = header.end as u64;
        if let Some(name) = &header.data_file {
            if name.starts_with("LIST") || name.contains('%') {
                return Err(unsupported(path, "numbers in one file", "a list of data files"));
            }
            (source, start) = (Source::open_plain(&data_file::data_file(path, name, "data file")?, limits)?, 0);
        }
        start = after_lines(path, &mut source, start, header.line_skip)?;
        let start = match header.byte_skip {
            -1 if is_gzip => return Err(bad(path, "byte skip", "0 or more for gzip", "-1".to_owned())),
            -1 => data_file::start_from_end(&source, count.checked_mul(number_type.bytes())),
            skip => {
                let skip = u64::try_from(skip).map_err(|_| bad(path, "byte skip", "-1 or more", skip.to_string()))?;
                if is_gzip {
                    source = source.stream(start, &self.buffers)?;
                    if !source.is_gzip() {
                        return Err(bad(path, "encoding", "the encoding of the data", "gzip".to_owned()));
                    }
                    skip
                } else {
                    start.saturating_add(skip)
                }
            }
        };
        let samples = source.samples(&Extent { start, count, number_type, big_endian }, limits, &self.buffers)?;
        let geometry = header.geometry(path, axes)?;
        Ok(oriented::volume(path, &Stated { shape_ijk, geometry, rescale: Rescale::IDENTITY }, samples))
    }
}

/// Offset after `lines` more lines.
fn after_lines(path: &Path, source: &mut Source, start: u64, lines: usize) -> Result<u64, InputError> {
    if lines == 0 {
        return Ok(start);
    }
    let head = source.head(usize::try_from(start).unwrap_or(usize::MAX).saturating_add(LONGEST_LINES))?;
    let rest = head.get(start as usize..).unwrap_or_default();
    let mut ends = rest.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(n, _)| n + 1);
    let end = ends.nth(lines - 1);
    let found = || format!("{lines} lines, of which not all are in the first MiB");
    end.map(|end| start + end as u64).ok_or_else(|| bad(path, "line skip", "lines of text before the numbers", found()))
}

/// The fields of a header that are needed, as they are written.
#[derive(Default)]
struct Header {
    /// Offset of the first byte after the header.
    end: usize,
    number_type: String,
    encoding: String,
    endian: Option<String>,
    dimension: usize,
    sizes: Vec<usize>,
    space: String,
    directions: Option<Vec<Option<Vec<f64>>>>,
    /// The centre of the first voxel, in the header's space and unit.
    origin: Option<Vec<f64>>,
    spacings: Option<Vec<f64>>,
    units: Vec<String>,
    byte_skip: i64,
    line_skip: usize,
    data_file: Option<String>,
}

impl Header {
    fn parse(path: &Path, head: &[u8]) -> Result<Header, InputError> {
        if !is_nrrd(head) {
            return Err(unsupported(path, "an NRRD file", magic::found(head)));
        }
        let mut header = Header::default();
        let (mut ended, mut at) = (false, 0);
        while let Some(length) = head[at..].iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(&head[at..at + length]);
            let line = line.trim_end_matches('\r');
            let is_first = at == 0;
            at += length + 1;
            if line.is_empty() {
                ended = true;
                break;
            }
            if !is_first && !line.starts_with('#') {
                header.add(path, line)?;
            }
        }
        if !ended && head.len() == data_file::LONGEST_HEADER {
            return Err(bad(path, "header", "an empty line in the first MiB", "none".to_owned()));
        }
        if !ended {
            // A header without numbers may end with its file, even within a line.
            let line = String::from_utf8_lossy(&head[at..]).into_owned();
            if !line.is_empty() && !line.starts_with('#') {
                header.add(path, &line)?;
            }
            at = head.len();
        }
        header.end = at;
        Ok(header)
    }

    fn add(&mut self, path: &Path, line: &str) -> Result<(), InputError> {
        // Lines of `key:=value` belong to programs.
        let Some((name, value)) = line.split_once(':').filter(|(_, value)| !value.starts_with('=')) else {
            return Ok(());
        };
        let value = value.trim();
        let wrong = |field, expected| bad(path, field, expected, shown(value));
        match name.trim().to_ascii_lowercase().as_str() {
            "type" => self.number_type = value.to_ascii_lowercase(),
            "encoding" => self.encoding = value.to_ascii_lowercase(),
            "endian" => self.endian = Some(value.to_ascii_lowercase()),
            "dimension" => {
                self.dimension = value.parse().map_err(|_| wrong("dimension", "a number of axes"))?;
            }
            "sizes" => self.sizes = numbers(value).ok_or_else(|| wrong("sizes", "a number for each axis"))?,
            "space" => self.space = value.to_ascii_lowercase(),
            "space directions" => {
                let expected = "a vector or none for each axis";
                self.directions = Some(vectors(value).ok_or_else(|| wrong("space directions", expected))?);
            }
            "space origin" => self.origin = vectors(value).and_then(|vectors| vectors.into_iter().next().flatten()),
            "spacings" => {
                self.spacings = Some(numbers(value).ok_or_else(|| wrong("spacings", "a number for each axis"))?);
            }
            "space units" => self.units = value.split_whitespace().map(|unit| unit.replace('"', "")).collect(),
            "byte skip" | "byteskip" => {
                self.byte_skip = value.parse().map_err(|_| wrong("byte skip", "a number of bytes"))?;
            }
            "line skip" | "lineskip" => {
                self.line_skip = value.parse().map_err(|_| wrong("line skip", "a number of lines"))?;
            }
            "data file" | "datafile" => self.data_file = Some(value.to_owned()),
            _ => {}
        }
        Ok(())
    }

    /// The three axes of the volume among all axes, and their lengths. Axes of one voxel are dropped, those without a
    /// direction first.
    fn axes(&self, path: &Path) -> Result<([usize; 3], [usize; 3]), InputError> {
        if self.sizes.is_empty() || self.sizes.len() != self.dimension || self.sizes.len() > 16 {
            let found = format!("{} sizes of {} axes", self.sizes.len(), self.dimension);
            return Err(bad(path, "sizes", "a length for each axis, at most 16", found));
        }
        if self.sizes.contains(&0) {
            return Err(bad(path, "sizes", "1 or more on each axis", "0".to_owned()));
        }
        let directed = |axis: usize| match &self.directions {
            Some(directions) => directions.get(axis).is_some_and(Option::is_some),
            None => true,
        };
        let mut axes: Vec<usize> = (0..self.dimension).collect();
        while axes.len() > 3 {
            let single = |axis: &&usize| self.sizes[**axis] == 1;
            let without = axes.iter().filter(single).find(|axis| !directed(**axis));
            let Some(dropped) = without.or(axes.iter().rev().find(single)).copied() else {
                break;
            };
            axes.retain(|axis| *axis != dropped);
        }
        match axes[..] {
            [i, j, k] if [i, j, k].into_iter().all(directed) => Ok(([i, j, k], [i, j, k].map(|n| self.sizes[n]))),
            _ => {
                let sizes: Vec<String> = self.sizes.iter().map(usize::to_string).collect();
                let found = format!("an array of {} on {} axes", sizes.join(" x "), self.dimension);
                Err(unsupported(path, "one scalar volume of three axes", found))
            }
        }
    }

    fn number_type(&self, path: &Path) -> Result<NumberType, InputError> {
        let words: Vec<&str> = self.number_type.split_whitespace().collect();
        Ok(match words.join(" ").as_str() {
            "signed char" | "int8" | "int8_t" => NumberType::I8,
            "uchar" | "unsigned char" | "uint8" | "uint8_t" => NumberType::U8,
            "short" | "short int" | "signed short" | "signed short int" | "int16" | "int16_t" => NumberType::I16,
            "ushort" | "unsigned short" | "unsigned short int" | "uint16" | "uint16_t" => NumberType::U16,
            "int" | "signed int" | "int32" | "int32_t" => NumberType::I32,
            "uint" | "unsigned int" | "uint32" | "uint32_t" => NumberType::U32,
            "longlong"
            | "long long"
            | "long long int"
            | "signed long long"
            | "signed long long int"
            | "int64"
            | "int64_t" => NumberType::I64,
            "ulonglong" | "unsigned long long" | "unsigned long long int" | "uint64" | "uint64_t" => NumberType::U64,
            "float" => NumberType::F32,
            "double" => NumberType::F64,
            "block" => return Err(unsupported(path, "numbers", "blocks of bytes")),
            _ => return Err(bad(path, "type", "a number type of NRRD", shown(&self.number_type))),
        })
    }

    fn is_gzip(&self, path: &Path) -> Result<bool, InputError> {
        let found = match self.encoding.as_str() {
            "raw" => return Ok(false),
            "gzip" | "gz" => return Ok(true),
            "txt" | "text" | "ascii" => "numbers as text (ascii)",
            "hex" => "numbers as text (hex)",
            "bzip2" | "bz2" => "numbers packed by bzip2",
            other => return Err(bad(path, "encoding", "raw or gzip", shown(other))),
        };
        Err(unsupported(path, "an NRRD file with encoding raw or gzip", found))
    }

    fn big_endian(&self, path: &Path, number_type: NumberType) -> Result<bool, InputError> {
        match self.endian.as_deref() {
            Some("little") => Ok(false),
            Some("big") => Ok(true),
            None if number_type.bytes() == 1 => Ok(false),
            other => Err(bad(path, "endian", "little or big", shown(other.unwrap_or_default()))),
        }
    }

    /// The orientation, the spacing and the place of the axes.
    fn geometry(&self, path: &Path, axes: [usize; 3]) -> Result<Geometry, InputError> {
        if let Some(directions) = &self.directions {
            let mut vectors = [[0.0; 3]; 3];
            for (vector, axis) in vectors.iter_mut().zip(axes) {
                match directions[axis].as_deref() {
                    Some([x, y, z, ..]) => *vector = [*x, *y, *z],
                    _ => return Err(bad(path, "space directions", "three numbers an axis", "fewer".to_owned())),
                }
            }
            let directions: Directions = data_file::from_left_posterior_superior(vectors.map(|v| self.to_lps(v)));
            let mm = self.millimeters();
            let steps = orientation::step_lengths(&directions).map(|step| step * mm);
            let origin = self.origin.as_deref().and_then(|origin| origin.first_chunk());
            let origin_mm = origin.map(|origin| self.to_lps(*origin).map(|part| part * mm));
            let in_mm = directions.map(|row| row.map(|part| part * mm));
            return Ok(Geometry {
                orientation: Orientation::from_directions(&directions),
                spacing_mm: data_file::spacing_mm(steps),
                placed: origin_mm.and_then(|origin_mm| Placed::of_left_posterior_superior(in_mm, origin_mm)),
            });
        }
        let spacings =
            self.spacings.as_ref().map(|spacings| axes.map(|n| spacings.get(n).copied().unwrap_or(f64::NAN)));
        let axes = data_file::spaced_axes(spacings.unwrap_or([1.0; 3]));
        let orientation = Orientation::from_directions(&data_file::from_left_posterior_superior(axes));
        Ok(Geometry { orientation, spacing_mm: spacings.and_then(data_file::spacing_mm), placed: None })
    }

    /// A vector of the header's space, towards left, posterior and superior.
    fn to_lps(&self, [x, y, z]: [f64; 3]) -> [f64; 3] {
        match self.space.trim_end_matches("-time") {
            "right-anterior-superior" | "ras" | "rast" => [-x, -y, z],
            "left-anterior-superior" | "las" | "last" => [x, -y, z],
            _ => [x, y, z],
        }
    }

    /// Millimeters in the header's unit of length, where it states one for all axes; millimeters otherwise.
    fn millimeters(&self) -> f64 {
        let unit = self.units.first().filter(|unit| self.units.iter().all(|other| other == *unit));
        match unit.map(String::as_str) {
            Some("m" | "meter") => 1000.0,
            Some("cm") => 10.0,
            Some("um" | "\u{b5}m" | "\u{3bc}m" | "micron" | "microns" | "micrometer") => 0.001,
            _ => 1.0,
        }
    }
}

/// Vectors `(1,0,0)` and `none`.
fn vectors(mut text: &str) -> Option<Vec<Option<Vec<f64>>>> {
    let mut vectors = Vec::new();
    while !text.is_empty() {
        if let Some(rest) = text.strip_prefix("none") {
            vectors.push(None);
            text = rest.trim_start();
            continue;
        }
        let (vector, rest) = text.strip_prefix('(')?.split_once(')')?;
        let vector: Option<Vec<f64>> = vector.split(',').map(|number| number.trim().parse().ok()).collect();
        vectors.push(Some(vector?));
        text = rest.trim_start();
    }
    Some(vectors)
}
