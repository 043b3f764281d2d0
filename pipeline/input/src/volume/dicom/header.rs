//! What the reader uses of the header of one slice: an allow-list of numbers, coded terms, and two identifiers, which
//! are compared with those of the other slices and never reported.
//!
//! A field that is malformed is an error only where the volume needs it: the shape, the bits and the rescale of the
//! samples, and the position. Others count as absent, which a [`Remark`] tells.
//!
//! # Units
//! Values of modality CT that the header rescales are Hounsfield units where the rescale type is HU, in any case of
//! letters, or absent, which means HU (PS3.3 C.11.1.1.2). Rescale type US means that the unit is not stated: then
//! they are Hounsfield units where the image type says ORIGINAL and not LOCALIZER, for which the standard asks for
//! them (PS3.3 C.8.2.1.1).
//!
//! # Frames
//! Each frame of an enhanced multi-frame image is a slice. What it has for itself, and what all frames share, is in
//! functional groups, sequences of one item a field group; what is in neither is looked for at the top level.
//!
//! Source: DICOM PS3.3, modules Image Pixel (C.7.6.3), Image Plane (C.7.6.2), CT Image (C.8.2.1), Modality LUT
//! (C.11.1), Multi-frame Functional Groups (C.7.6.16), Enhanced CT (C.8.15).

use std::rc::Rc;

use super::elements::{BITS_ALLOCATED, COLUMNS, DataSet, Elements, NUMBER_OF_FRAMES, ROWS, Tag};
use super::error::DicomError;
use super::file::File;
use super::kind::{self, IMAGE_TYPE, SOP_CLASS};
use super::transfer_syntax::{Encoding, TransferSyntax};

/// All elements at the top level that are read, except the pixel data.
const ALLOWED: [Tag; 29] = [
    IMAGE_TYPE,
    SOP_CLASS,
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
    PER_FRAME_FUNCTIONAL_GROUPS,
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
const PIXEL_SPACING: Tag = Tag(0x0028, 0x0030);
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
const PER_FRAME_FUNCTIONAL_GROUPS: Tag = Tag(0x5200, 0x9230);
const FRAME_TYPE: Tag = Tag(0x0008, 0x9007);
const MR_FRAME_TYPE_SEQUENCE: Tag = Tag(0x0018, 0x9226);
const CT_FRAME_TYPE_SEQUENCE: Tag = Tag(0x0018, 0x9329);
const PET_FRAME_TYPE_SEQUENCE: Tag = Tag(0x0018, 0x9751);
const PLANE_POSITION_SEQUENCE: Tag = Tag(0x0020, 0x9113);
const PLANE_ORIENTATION_SEQUENCE: Tag = Tag(0x0020, 0x9116);
const PIXEL_MEASURES_SEQUENCE: Tag = Tag(0x0028, 0x9110);
const PIXEL_VALUE_TRANSFORMATION_SEQUENCE: Tag = Tag(0x0028, 0x9145);

/// The functional groups that are read.
const GROUPS: [Tag; 7] = [
    MR_FRAME_TYPE_SEQUENCE,
    CT_FRAME_TYPE_SEQUENCE,
    PET_FRAME_TYPE_SEQUENCE,
    PLANE_POSITION_SEQUENCE,
    PLANE_ORIENTATION_SEQUENCE,
    PIXEL_MEASURES_SEQUENCE,
    PIXEL_VALUE_TRANSFORMATION_SEQUENCE,
];

/// Most frames of an object, each of which takes memory for its header.
const MAX_FRAMES: f64 = 65536.0;

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

/// What an image is within a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A slice of the volume.
    Slice,
    /// A localizer (scout), by its image type.
    Localizer,
    /// A secondary capture or another object about the series, by its SOP class.
    Capture,
    /// A secondary image, by its image type, without a position.
    Unplaced,
}

/// Something unusual in a header that the reader passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Remark {
    /// A field that is not as the standard states and not needed.
    Malformed(&'static str),
    /// The elements are in another form than the transfer syntax states.
    OtherForm,
    /// No transfer syntax.
    NoTransferSyntax,
}

/// The header of a slice. No `Debug`: it holds identifiers.
#[derive(Clone)]
pub(super) struct Header {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) encoding: Encoding,
    /// As the file states it.
    pub(super) syntax: TransferSyntax,
    pub(super) format: PixelFormat,
    /// The slice among the file's frames, from 0, and their number.
    pub(super) frame: usize,
    pub(super) frames: usize,
    pub(super) role: Role,
    pub(super) rescale: Rescale64,
    /// Whether the values are Hounsfield units; see [the module](self).
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
    /// For an order without positions; the number of the frame in a multi-frame object.
    pub(super) instance_number: Option<f64>,
    /// For comparison only.
    pub(super) series: Option<Rc<str>>,
    /// For comparison only.
    pub(super) frame_of_reference: Option<Rc<str>>,
    /// Each at most once.
    pub(super) remarks: Vec<Remark>,
}

impl Header {
    /// Reads the header of a file: one for each frame, in the order of the frames.
    ///
    /// # Errors
    /// For objects and encodings that are not supported, and for impossible values of fields that are needed.
    pub(super) fn all_of(file: &File) -> Result<Vec<Header>, DicomError> {
        let elements = file.elements(&ALLOWED)?;
        let class = elements.text(SOP_CLASS).unwrap_or("");
        let is_multi_frame = kind::is_multi_frame(class)
            && [SHARED_FUNCTIONAL_GROUPS, PER_FRAME_FUNCTIONAL_GROUPS].iter().any(|tag| elements.has(*tag));
        let encoding = file.syntax.encoding();
        refuse_other_objects(&elements, is_multi_frame)?;
        let encoding = encoding?;
        let format = pixel_format(&elements)?;
        if encoding == Encoding::JpegExtended && format.bits_stored > 8 {
            return Err(DicomError::unsupported("8-bit JPEG, or JPEG without loss", file.syntax.to_string()));
        }
        let [rows, columns] = [(ROWS, "Rows"), (COLUMNS, "Columns")].map(|(tag, field)| {
            let count = elements.word(tag).filter(|count| *count > 0);
            count.map(usize::from).ok_or_else(|| DicomError::bad(field, "1 to 65535", "0 or nothing"))
        });
        let mut remarks = Vec::new();
        if !file.syntax.is_stated() {
            remarks.push(Remark::NoTransferSyntax);
        } else if file.is_other_form {
            remarks.push(Remark::OtherForm);
        }
        let top = Fields { elements: &elements, transformation: &elements, measures: &elements, frame_type: None };
        let mut header = Header {
            rows: rows?,
            columns: columns?,
            encoding,
            syntax: file.syntax.clone(),
            format,
            frame: 0,
            frames: 1,
            role: Role::Slice,
            rescale: Rescale64 { slope: 1.0, intercept: 0.0 },
            hounsfield: false,
            padding: padding(&elements, format.signed),
            position_mm: None,
            axes: None,
            pixel_spacing_mm: None,
            thickness_mm: None,
            instance_number: None,
            series: elements.text(SERIES_INSTANCE_UID).map(Rc::from),
            frame_of_reference: elements.text(FRAME_OF_REFERENCE_UID).map(Rc::from),
            remarks,
        };
        if is_multi_frame {
            return frames(&elements, &header);
        }
        header.instance_number = header.unneeded(&elements, INSTANCE_NUMBER, "InstanceNumber").map(|[number]| number);
        header.position_mm = elements.numbers(IMAGE_POSITION, "ImagePositionPatient")?;
        header.set_axes(&elements)?;
        header.set_values(&top)?;
        if header.role == Role::Slice {
            let is_secondary = elements.term(IMAGE_TYPE, 1) == Some("SECONDARY");
            if kind::is_about_a_series(class) {
                header.role = Role::Capture;
            } else if is_secondary && !header.is_placed() {
                header.role = Role::Unplaced;
            }
        }
        Ok(vec![header])
    }

    /// Whether the header states where the slice is.
    pub(super) fn is_placed(&self) -> bool {
        self.axes.is_some() && self.position_mm.is_some()
    }

    /// The numbers of a field that the volume can do without: none where they are malformed, which is remarked.
    fn unneeded<const N: usize>(&mut self, elements: &Elements<'_>, tag: Tag, field: &'static str) -> Option<[f64; N]> {
        elements.numbers(tag, field).unwrap_or_else(|_| {
            self.remark(field);
            None
        })
    }

    fn remark(&mut self, field: &'static str) {
        self.remarks.push(Remark::Malformed(field));
    }

    /// Sets the axes, which are needed only where there is a position.
    fn set_axes(&mut self, elements: &Elements<'_>) -> Result<(), DicomError> {
        match axes(elements) {
            Err(_) if self.position_mm.is_none() => self.remark("ImageOrientationPatient"),
            found => self.axes = found?,
        }
        Ok(())
    }

    /// Sets the rescale, the unit, the spacing, and whether the image is a localizer.
    fn set_values(&mut self, fields: &Fields<'_, '_>) -> Result<(), DicomError> {
        let (rescale, rescaled) = rescale(fields.transformation)?;
        self.rescale = rescale;
        let (of_frame, tag) = match fields.frame_type {
            Some(elements) => (elements, FRAME_TYPE),
            None => (fields.elements, IMAGE_TYPE),
        };
        if kind::is_localizer(of_frame, tag) {
            self.role = Role::Localizer;
        }
        let is_unit = match fields.transformation.text(RESCALE_TYPE) {
            None => true,
            Some(unit) if unit.eq_ignore_ascii_case("HU") => true,
            Some("US") => of_frame.term(tag, 0) == Some("ORIGINAL") && self.role != Role::Localizer,
            Some(_) => false,
        };
        self.hounsfield = rescaled && is_unit && fields.elements.text(MODALITY) == Some("CT");
        let is_positive = |mm: &f64| *mm > 0.0;
        let spacing = self.unneeded::<2>(fields.measures, PIXEL_SPACING, "PixelSpacing");
        self.pixel_spacing_mm = spacing.filter(|spacing| spacing.iter().all(is_positive));
        let thickness = self.unneeded(fields.measures, SLICE_THICKNESS, "SliceThickness");
        self.thickness_mm = thickness.map(|[mm]| mm).filter(is_positive);
        Ok(())
    }
}

/// Where the fields of a slice are: at the top level, or in functional groups.
struct Fields<'a, 'b> {
    elements: &'b Elements<'a>,
    transformation: &'b Elements<'a>,
    measures: &'b Elements<'a>,
    /// `None`: the image's type at the top level.
    frame_type: Option<&'b Elements<'a>>,
}

/// The headers of the frames of an enhanced object, whose `common` fields are read.
fn frames(elements: &Elements<'_>, common: &Header) -> Result<Vec<Header>, DicomError> {
    const FIELD: &str = "NumberOfFrames";
    let expected = "1 to 65536, as many as the functional groups of frames";
    let count = elements.numbers::<1>(NUMBER_OF_FRAMES, FIELD)?.map_or(0.0, |[count]| count);
    let groups = elements.items(PER_FRAME_FUNCTIONAL_GROUPS)?;
    if !(1.0..=MAX_FRAMES).contains(&count) || count != groups.len() as f64 {
        return Err(DicomError::bad(FIELD, expected, format!("{count} frames, {} groups", groups.len())));
    }
    let shared = elements.items(SHARED_FUNCTIONAL_GROUPS)?;
    let shared = shared.first().map(Groups::of).transpose()?.unwrap_or_default();
    let mut headers = Vec::new();
    for (frame, group) in groups.iter().enumerate() {
        // A frame's own group, else the one that all frames share, else the top level.
        let own = Groups::of(group)?;
        let position = own.position.as_ref().or(shared.position.as_ref()).unwrap_or(elements);
        let orientation = own.orientation.as_ref().or(shared.orientation.as_ref()).unwrap_or(elements);
        let mut header = common.clone();
        (header.frame, header.frames) = (frame, groups.len());
        header.instance_number = Some(frame as f64);
        header.position_mm = position.numbers(IMAGE_POSITION, "ImagePositionPatient")?;
        header.set_axes(orientation)?;
        header.set_values(&Fields {
            elements,
            transformation: own.transformation.as_ref().or(shared.transformation.as_ref()).unwrap_or(elements),
            measures: own.measures.as_ref().or(shared.measures.as_ref()).unwrap_or(elements),
            frame_type: own.frame_type.as_ref().or(shared.frame_type.as_ref()),
        })?;
        headers.push(header);
    }
    Ok(headers)
}

/// The functional groups of one frame, or those that all frames share.
#[derive(Default)]
struct Groups<'a> {
    position: Option<Elements<'a>>,
    orientation: Option<Elements<'a>>,
    measures: Option<Elements<'a>>,
    transformation: Option<Elements<'a>>,
    frame_type: Option<Elements<'a>>,
}

impl<'a> Groups<'a> {
    fn of(item: &DataSet<'a>) -> Result<Groups<'a>, DicomError> {
        const FRAME_TYPES: [Tag; 3] = [CT_FRAME_TYPE_SEQUENCE, MR_FRAME_TYPE_SEQUENCE, PET_FRAME_TYPE_SEQUENCE];
        let groups = item.all_elements(&GROUPS)?;
        let transformation = [RESCALE_INTERCEPT, RESCALE_SLOPE, RESCALE_TYPE];
        let frame_type = FRAME_TYPES.into_iter().find(|tag| groups.has(*tag)).unwrap_or(CT_FRAME_TYPE_SEQUENCE);
        Ok(Groups {
            position: groups.first_item(PLANE_POSITION_SEQUENCE, &[IMAGE_POSITION])?,
            orientation: groups.first_item(PLANE_ORIENTATION_SEQUENCE, &[IMAGE_ORIENTATION])?,
            measures: groups.first_item(PIXEL_MEASURES_SEQUENCE, &[PIXEL_SPACING, SLICE_THICKNESS])?,
            transformation: groups.first_item(PIXEL_VALUE_TRANSFORMATION_SEQUENCE, &transformation)?,
            frame_type: groups.first_item(frame_type, &[FRAME_TYPE])?,
        })
    }
}

/// Refuses objects other than grey images of integers: a single one, or the frames of an enhanced object.
fn refuse_other_objects(elements: &Elements<'_>, is_multi_frame: bool) -> Result<(), DicomError> {
    let expected = "single grey slices of integers, or an enhanced multi-frame object of them";
    if !is_multi_frame {
        // Text, or several numbers, of a single frame does not matter; a second frame shows in the pixel data.
        let frames = elements.numbers::<1>(NUMBER_OF_FRAMES, "NumberOfFrames").ok().flatten();
        let frames = frames.map_or(1.0, |[frames]| frames);
        if frames > 1.0 || elements.has(SHARED_FUNCTIONAL_GROUPS) {
            return Err(DicomError::unsupported(expected, format!("another multi-frame object, of {frames} frames")));
        }
    }
    if elements.has(FLOAT_PIXEL_DATA) || elements.has(DOUBLE_PIXEL_DATA) {
        return Err(DicomError::unsupported(expected, "floating-point pixel data"));
    }
    if !elements.items(MODALITY_LUT_SEQUENCE)?.is_empty() {
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
    let number =
        |tag| elements.only_word(tag).map(|word| if signed { i32::from(word as i16) } else { i32::from(word) });
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
