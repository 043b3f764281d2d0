//! What the reader uses of the header of one slice: an allow-list of numbers, coded terms, and two identifiers, which
//! are compared with those of the other slices and never reported.
//!
//! Source: DICOM PS3.3, modules Image Pixel (C.7.6.3), Image Plane (C.7.6.2), CT Image (C.8.2.1), Modality LUT
//! (C.11.1).

use dicom_core::Tag;

use super::error::DicomError;
use super::file::{Elements, File};

/// All elements that are read, except the pixel data.
const ALLOWED: [Tag; 26] = [
    MODALITY,
    SLICE_THICKNESS,
    SERIES_INSTANCE_UID,
    INSTANCE_NUMBER,
    IMAGE_POSITION,
    IMAGE_ORIENTATION,
    FRAME_OF_REFERENCE_UID,
    SAMPLES_PER_PIXEL,
    PHOTOMETRIC_INTERPRETATION,
    NUMBER_OF_FRAMES,
    ROWS,
    COLUMNS,
    PIXEL_SPACING,
    BITS_ALLOCATED,
    BITS_STORED,
    HIGH_BIT,
    PIXEL_REPRESENTATION,
    PIXEL_PADDING_VALUE,
    PIXEL_PADDING_LIMIT,
    RESCALE_INTERCEPT,
    RESCALE_SLOPE,
    RESCALE_TYPE,
    MODALITY_LUT_SEQUENCE,
    SHARED_FUNCTIONAL_GROUPS,
    FLOAT_PIXEL_DATA,
    DOUBLE_PIXEL_DATA,
];

const MODALITY: Tag = Tag(0x0008, 0x0060);
const SLICE_THICKNESS: Tag = Tag(0x0018, 0x0050);
const SERIES_INSTANCE_UID: Tag = Tag(0x0020, 0x000e);
const INSTANCE_NUMBER: Tag = Tag(0x0020, 0x0013);
const IMAGE_POSITION: Tag = Tag(0x0020, 0x0032);
const IMAGE_ORIENTATION: Tag = Tag(0x0020, 0x0037);
const FRAME_OF_REFERENCE_UID: Tag = Tag(0x0020, 0x0052);
const SAMPLES_PER_PIXEL: Tag = Tag(0x0028, 0x0002);
const PHOTOMETRIC_INTERPRETATION: Tag = Tag(0x0028, 0x0004);
const NUMBER_OF_FRAMES: Tag = Tag(0x0028, 0x0008);
const ROWS: Tag = Tag(0x0028, 0x0010);
const COLUMNS: Tag = Tag(0x0028, 0x0011);
const PIXEL_SPACING: Tag = Tag(0x0028, 0x0030);
const BITS_ALLOCATED: Tag = Tag(0x0028, 0x0100);
const BITS_STORED: Tag = Tag(0x0028, 0x0101);
const HIGH_BIT: Tag = Tag(0x0028, 0x0102);
const PIXEL_REPRESENTATION: Tag = Tag(0x0028, 0x0103);
const PIXEL_PADDING_VALUE: Tag = Tag(0x0028, 0x0120);
const PIXEL_PADDING_LIMIT: Tag = Tag(0x0028, 0x0121);
const RESCALE_INTERCEPT: Tag = Tag(0x0028, 0x1052);
const RESCALE_SLOPE: Tag = Tag(0x0028, 0x1053);
const RESCALE_TYPE: Tag = Tag(0x0028, 0x1054);
const MODALITY_LUT_SEQUENCE: Tag = Tag(0x0028, 0x3000);
const SHARED_FUNCTIONAL_GROUPS: Tag = Tag(0x5200, 0x9229);
const FLOAT_PIXEL_DATA: Tag = Tag(0x7fe0, 0x0008);
const DOUBLE_PIXEL_DATA: Tag = Tag(0x7fe0, 0x0009);

/// How the pixel data is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Native,
    Rle,
    JpegBaseline,
    JpegLossless,
    JpegLs,
    Jpeg2000,
}

/// How samples are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PixelFormat {
    /// 8, 16 or 32 bits per sample.
    pub(super) bits_allocated: u32,
    /// Number of used bits, from bit `high_bit + 1 - bits_stored` to bit `high_bit`.
    pub(super) bits_stored: u32,
    pub(super) high_bit: u32,
    pub(super) signed: bool,
    /// MONOCHROME1: the smallest sample is displayed white.
    pub(super) white_is_least: bool,
}

impl PixelFormat {
    /// Bytes per sample.
    pub(super) fn bytes(&self) -> usize {
        (self.bits_allocated / 8) as usize
    }
}

/// The mapping from stored numbers to values, as the header states it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rescale64 {
    pub(super) slope: f64,
    pub(super) intercept: f64,
}

/// The header of a slice. No `Debug`: it holds identifiers.
pub(super) struct Header {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) encoding: Encoding,
    /// Whether the compression may change samples, so that they may exceed the stored bits.
    pub(super) lossy: bool,
    pub(super) format: PixelFormat,
    pub(super) rescale: Rescale64,
    /// Whether the modality is CT and the rescale gives Hounsfield units.
    pub(super) hounsfield: bool,
    /// The stored number that marks pixels without data, and the other end where the header states a range.
    pub(super) padding: Option<(i32, Option<i32>)>,
    /// Center of the first pixel in patient coordinates: left, posterior, superior in mm.
    pub(super) position_mm: Option<[f64; 3]>,
    /// Unit vectors towards the next column and the next row, in the same coordinates.
    pub(super) axes: Option<[[f64; 3]; 2]>,
    /// Distance between rows, then between columns.
    pub(super) pixel_spacing_mm: Option<[f64; 2]>,
    pub(super) thickness_mm: Option<f64>,
    pub(super) instance_number: Option<f64>,
    /// For comparison only.
    pub(super) series: Option<String>,
    /// For comparison only.
    pub(super) frame_of_reference: Option<String>,
}

impl Header {
    /// Reads the header of a slice.
    ///
    /// # Errors
    /// For objects and encodings that are not supported, and for impossible values.
    pub(super) fn of(file: &File<'_>) -> Result<Header, DicomError> {
        let elements = file.elements(&ALLOWED, false)?;
        let encoding = encoding(&file.transfer_syntax)?;
        refuse_other_objects(&elements)?;
        let format = pixel_format(&elements)?;
        let [rows, columns] = [(ROWS, "Rows"), (COLUMNS, "Columns")].map(|(tag, field)| {
            let count = elements.word(tag).filter(|count| *count > 0);
            count.map(usize::from).ok_or_else(|| DicomError::bad(field, "1 to 65535", "0 or nothing"))
        });
        let (rescale, rescaled) = rescale(&elements)?;
        let positive = |spacing: &f64| *spacing > 0.0;
        let spacing = elements.numbers::<2>(PIXEL_SPACING, "PixelSpacing")?;
        Ok(Header {
            rows: rows?,
            columns: columns?,
            encoding,
            lossy: [".4.50", ".4.81", ".4.91"].iter().any(|lossy| file.transfer_syntax.ends_with(lossy)),
            format,
            rescale,
            hounsfield: rescaled
                && elements.text(MODALITY) == Some("CT")
                && matches!(elements.text(RESCALE_TYPE), None | Some("HU")),
            padding: padding(&elements, format.signed),
            position_mm: elements.numbers(IMAGE_POSITION, "ImagePositionPatient")?,
            axes: axes(&elements)?,
            pixel_spacing_mm: spacing.filter(|spacing| spacing.iter().all(positive)),
            thickness_mm: elements.numbers(SLICE_THICKNESS, "SliceThickness")?.map(|[mm]| mm).filter(positive),
            instance_number: elements.numbers(INSTANCE_NUMBER, "InstanceNumber")?.map(|[number]| number),
            series: elements.text(SERIES_INSTANCE_UID).map(str::to_owned),
            frame_of_reference: elements.text(FRAME_OF_REFERENCE_UID).map(str::to_owned),
        })
    }
}

fn encoding(transfer_syntax: &str) -> Result<Encoding, DicomError> {
    let standard = transfer_syntax.strip_prefix("1.2.840.10008.1.2");
    Ok(match standard {
        Some("" | ".1" | ".2" | ".1.99") => Encoding::Native,
        Some(".5") => Encoding::Rle,
        Some(".4.50") => Encoding::JpegBaseline,
        Some(".4.57" | ".4.70") => Encoding::JpegLossless,
        Some(".4.80" | ".4.81") => Encoding::JpegLs,
        Some(".4.90" | ".4.91") => Encoding::Jpeg2000,
        _ => {
            let expected = "uncompressed, RLE, JPEG baseline or lossless, JPEG-LS or JPEG 2000 pixel data";
            // Identifiers under the standard's root name formats; others may identify a site.
            let numbers = |uid: &&str| uid.len() < 20 && uid.bytes().all(|b| b == b'.' || b.is_ascii_digit());
            let found = match standard.filter(numbers) {
                Some(_) => format!("transfer syntax {transfer_syntax}"),
                None => "a transfer syntax that is not the standard's".to_owned(),
            };
            return Err(DicomError::unsupported(expected, found));
        }
    })
}

/// Refuses objects other than one grey image of integers.
fn refuse_other_objects(elements: &Elements<'_>) -> Result<(), DicomError> {
    let expected = "single grey slices of integers";
    let frames = elements.numbers::<1>(NUMBER_OF_FRAMES, "NumberOfFrames")?.map_or(1.0, |[frames]| frames);
    if frames > 1.0 || elements.has(SHARED_FUNCTIONAL_GROUPS) {
        return Err(DicomError::unsupported(expected, format!("a multi-frame object of {frames} frames")));
    }
    if elements.has(FLOAT_PIXEL_DATA) || elements.has(DOUBLE_PIXEL_DATA) {
        return Err(DicomError::unsupported(expected, "floating-point pixel data"));
    }
    if elements.has(MODALITY_LUT_SEQUENCE) {
        return Err(DicomError::unsupported("a linear rescale", "a modality lookup table"));
    }
    if !elements.has(ROWS) && !elements.has(BITS_ALLOCATED) {
        return Err(DicomError::NoImage);
    }
    match elements.word(SAMPLES_PER_PIXEL).unwrap_or(1) {
        1 => Ok(()),
        samples => Err(DicomError::unsupported(expected, format!("{samples} samples a pixel"))),
    }
}

fn pixel_format(elements: &Elements<'_>) -> Result<PixelFormat, DicomError> {
    let white_is_least = match elements.text(PHOTOMETRIC_INTERPRETATION) {
        // Where it is absent, the value that all CTs have is assumed.
        Some("MONOCHROME2") | None => false,
        Some("MONOCHROME1") => true,
        Some(_) => {
            return Err(DicomError::unsupported("MONOCHROME2 or MONOCHROME1", "another photometric interpretation"));
        }
    };
    let number = |tag| elements.word(tag).map(u32::from);
    let bits_allocated = number(BITS_ALLOCATED).unwrap_or(0);
    if !matches!(bits_allocated, 8 | 16 | 32) {
        return Err(DicomError::unsupported("8, 16 or 32 bits allocated", bits_allocated.to_string()));
    }
    let bits_stored = number(BITS_STORED).unwrap_or(bits_allocated);
    let high_bit = number(HIGH_BIT).unwrap_or(bits_stored.wrapping_sub(1));
    if !(1..=bits_allocated).contains(&bits_stored) || high_bit >= bits_allocated || high_bit + 1 < bits_stored {
        let found = format!("{bits_stored} bits below bit {} of {bits_allocated}", u64::from(high_bit) + 1);
        return Err(DicomError::bad("BitsStored, HighBit", "stored bits within those allocated", found));
    }
    let signed = match number(PIXEL_REPRESENTATION) {
        Some(0) | None => false,
        Some(1) => true,
        Some(other) => return Err(DicomError::bad("PixelRepresentation", "0 or 1", other.to_string())),
    };
    Ok(PixelFormat { bits_allocated, bits_stored, high_bit, signed, white_is_least })
}

/// The rescale, and whether the header states it.
fn rescale(elements: &Elements<'_>) -> Result<(Rescale64, bool), DicomError> {
    let slope = elements.numbers::<1>(RESCALE_SLOPE, "RescaleSlope")?.map(|[slope]| slope);
    let intercept = elements.numbers::<1>(RESCALE_INTERCEPT, "RescaleIntercept")?.map(|[intercept]| intercept);
    if slope.is_some_and(|slope| slope as f32 == 0.0 || !(slope as f32).is_finite()) {
        return Err(DicomError::bad("RescaleSlope", "a number that is not zero", "0 or one beyond 32-bit floats"));
    }
    if intercept.is_some_and(|intercept| !(intercept as f32).is_finite()) {
        return Err(DicomError::bad("RescaleIntercept", "a number of 32-bit floats", "a larger one"));
    }
    let stated = slope.is_some() && intercept.is_some();
    Ok((Rescale64 { slope: slope.unwrap_or(1.0), intercept: intercept.unwrap_or(0.0) }, stated))
}

fn padding(elements: &Elements<'_>, signed: bool) -> Option<(i32, Option<i32>)> {
    let number = |tag| elements.word(tag).map(|word| if signed { i32::from(word as i16) } else { i32::from(word) });
    Some((number(PIXEL_PADDING_VALUE)?, number(PIXEL_PADDING_LIMIT)))
}

/// The directions of rows and columns, normalized to unit vectors.
fn axes(elements: &Elements<'_>) -> Result<Option<[[f64; 3]; 2]>, DicomError> {
    let field = "ImageOrientationPatient";
    let Some([a, b, c, d, e, f]) = elements.numbers::<6>(IMAGE_ORIENTATION, field)? else { return Ok(None) };
    let unit = |axis: [f64; 3]| {
        let length = axis.iter().map(|part| part * part).sum::<f64>().sqrt();
        ((length - 1.0).abs() < 0.01).then(|| axis.map(|part| part / length))
    };
    let axes = unit([a, b, c]).zip(unit([d, e, f]));
    let square = |(i, j): &([f64; 3], [f64; 3])| i.iter().zip(j).map(|(i, j)| i * j).sum::<f64>().abs() < 0.01;
    let expected = "two unit vectors at right angles";
    let axes = axes.filter(square).ok_or_else(|| DicomError::bad(field, expected, "six other numbers"))?;
    Ok(Some([axes.0, axes.1]))
}
