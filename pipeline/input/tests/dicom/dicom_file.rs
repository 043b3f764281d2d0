//! DICOM files for tests, written by `dicom-object`.

use std::path::Path;

use dicom_core::value::{C, PixelFragmentSequence};
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};

pub(crate) const EXPLICIT_LITTLE: &str = "1.2.840.10008.1.2.1";

/// One slice, whose fields and elements tests change.
#[derive(Clone)]
pub(crate) struct SliceFile {
    pub(crate) transfer_syntax: String,
    pub(crate) object: InMemDicomObject,
}

pub(crate) fn text(tag: (u16, u16), vr: VR, value: &str) -> DataElement<InMemDicomObject> {
    DataElement::new(Tag(tag.0, tag.1), vr, PrimitiveValue::from(value))
}

pub(crate) fn word(tag: (u16, u16), value: u16) -> DataElement<InMemDicomObject> {
    DataElement::new(Tag(tag.0, tag.1), VR::US, PrimitiveValue::from(value))
}

impl SliceFile {
    /// An axial CT slice of 16-bit signed samples, intercept -1024, at a height in mm, with 0.5 mm between columns and
    /// 0.75 mm between rows; columns run from right to left, rows from front to back.
    pub(crate) fn new([rows, columns]: [u16; 2], height_mm: f64, samples: &[i16]) -> SliceFile {
        let mut slice = SliceFile { transfer_syntax: EXPLICIT_LITTLE.into(), object: InMemDicomObject::new_empty() };
        for element in [
            text((0x0008, 0x0016), VR::UI, "1.2.840.10008.5.1.4.1.1.2"),
            text((0x0008, 0x0018), VR::UI, "1.2.3.4"),
            text((0x0008, 0x0060), VR::CS, "CT"),
            text((0x0018, 0x0050), VR::DS, "3"),
            text((0x0020, 0x000e), VR::UI, "1.2.3"),
            text((0x0020, 0x0037), VR::DS, "1\\0\\0\\0\\1\\0"),
            text((0x0020, 0x0052), VR::UI, "1.2.9"),
            word((0x0028, 0x0002), 1),
            text((0x0028, 0x0004), VR::CS, "MONOCHROME2"),
            word((0x0028, 0x0010), rows),
            word((0x0028, 0x0011), columns),
            text((0x0028, 0x0030), VR::DS, "0.75\\0.5"),
            text((0x0028, 0x1052), VR::DS, "-1024"),
            text((0x0028, 0x1053), VR::DS, "1"),
        ] {
            slice.object.put(element);
        }
        slice.format(16, 16, true);
        slice.position([-10.0, -20.0, height_mm]);
        slice.samples(samples.iter().map(|sample| *sample as u16).collect());
        slice
    }

    pub(crate) fn put(&mut self, element: DataElement<InMemDicomObject>) -> &mut SliceFile {
        self.object.put(element);
        self
    }

    pub(crate) fn remove(&mut self, tag: (u16, u16)) -> &mut SliceFile {
        self.object.remove_element(Tag(tag.0, tag.1));
        self
    }

    pub(crate) fn position(&mut self, [x, y, z]: [f64; 3]) -> &mut SliceFile {
        self.put(text((0x0020, 0x0032), VR::DS, &format!("{x}\\{y}\\{z}")))
    }

    pub(crate) fn format(&mut self, allocated: u16, stored: u16, signed: bool) -> &mut SliceFile {
        self.put(word((0x0028, 0x0100), allocated));
        self.put(word((0x0028, 0x0101), stored));
        self.put(word((0x0028, 0x0102), stored - 1));
        self.put(word((0x0028, 0x0103), u16::from(signed)))
    }

    /// Uncompressed 16-bit words.
    pub(crate) fn samples(&mut self, samples: Vec<u16>) -> &mut SliceFile {
        let value = PrimitiveValue::U16(C::from_vec(samples));
        self.put(DataElement::new(Tag(0x7fe0, 0x0010), VR::OW, value))
    }

    /// Uncompressed bytes.
    pub(crate) fn bytes(&mut self, bytes: Vec<u8>) -> &mut SliceFile {
        let value = PrimitiveValue::U8(C::from_vec(bytes));
        self.put(DataElement::new(Tag(0x7fe0, 0x0010), VR::OB, value))
    }

    /// Compressed data in these fragments; the syntax is the end of a UID.
    pub(crate) fn fragments(&mut self, syntax: &str, fragments: Vec<Vec<u8>>) -> &mut SliceFile {
        self.transfer_syntax = format!("1.2.840.10008.1.2{syntax}");
        let even = fragments.into_iter().map(|mut fragment| {
            fragment.resize(fragment.len().next_multiple_of(2), 0);
            fragment
        });
        let value = PixelFragmentSequence::new_fragments(even.collect::<Vec<_>>());
        self.put(DataElement::new(Tag(0x7fe0, 0x0010), VR::OB, value))
    }

    pub(crate) fn write(&self, path: &Path) {
        let meta = FileMetaTableBuilder::new().transfer_syntax(self.transfer_syntax.as_str());
        self.object.clone().with_meta(meta).unwrap().write_to_file(path).unwrap();
    }
}
