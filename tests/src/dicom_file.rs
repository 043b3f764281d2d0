//! DICOM files of whole bytes that tests state element by element.

/// Tag, value representation, value.
pub type Element = (u32, &'static [u8; 2], Vec<u8>);

/// A file in explicit little endian with these elements, in the order of their tags. The one of 0008,0018 names it.
pub fn file(elements: &[Element]) -> Vec<u8> {
    let instance = elements.iter().find(|(tag, ..)| *tag == 0x0008_0018).map(|(.., value)| value.clone());
    let meta = encoded(&[
        (0x0002_0002, b"UI", b"1.2.840.10008.5.1.4.1.1.2".to_vec()),
        (0x0002_0003, b"UI", instance.unwrap_or_default()),
        (0x0002_0010, b"UI", b"1.2.840.10008.1.2.1".to_vec()),
    ]);
    let length = encoded(&[(0x0002_0000, b"UL", (meta.len() as u32).to_le_bytes().to_vec())]);
    [&[0; 128][..], b"DICM", &length, &meta, &encoded(elements)].concat()
}

fn encoded(elements: &[Element]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (tag, vr, value) in elements {
        bytes.extend(((tag >> 16) as u16).to_le_bytes());
        bytes.extend((*tag as u16).to_le_bytes());
        bytes.extend(*vr);
        let mut value = value.clone();
        if value.len() % 2 == 1 {
            value.push(if *vr == b"UI" { 0 } else { b' ' });
        }
        if *vr == b"OW" {
            bytes.extend([0, 0]);
            bytes.extend((value.len() as u32).to_le_bytes());
        } else {
            bytes.extend((value.len() as u16).to_le_bytes());
        }
        bytes.extend(value);
    }
    bytes
}

/// A CT slice in Hounsfield units: 16 bit, `size` x `size` pixels of 0.7 mm, the `number`th of a series in steps of 5 mm.
pub struct CtSlice<'a> {
    /// PatientID.
    pub patient: &'a str,
    /// PatientName.
    pub name: &'a str,
    /// AccessionNumber.
    pub accession: &'a str,
    /// SeriesInstanceUID.
    pub series: &'a str,
    /// Place in the series.
    pub number: u16,
    /// Rows and columns.
    pub size: u16,
    /// Stored values, row by row.
    pub pixels: Vec<i16>,
}

impl CtSlice<'_> {
    /// The bytes of its file.
    pub fn file(&self) -> Vec<u8> {
        let us = |n: u16| n.to_le_bytes().to_vec();
        let text = |text: &str| text.as_bytes().to_vec();
        file(&[
            (0x0008_0008, b"CS", text("ORIGINAL\\PRIMARY\\AXIAL")),
            (0x0008_0016, b"UI", text("1.2.840.10008.5.1.4.1.1.2")),
            (0x0008_0018, b"UI", text(&format!("{}.{}", self.series, self.number + 1))),
            (0x0008_0050, b"SH", text(self.accession)),
            (0x0008_0060, b"CS", text("CT")),
            (0x0010_0010, b"PN", text(self.name)),
            (0x0010_0020, b"LO", text(self.patient)),
            (0x0020_000d, b"UI", text(&format!("{}.0", self.series))),
            (0x0020_000e, b"UI", text(self.series)),
            (0x0020_0013, b"IS", text(&(self.number + 1).to_string())),
            (0x0020_0032, b"DS", text(&format!("0\\0\\{}", 5 * self.number))),
            (0x0020_0037, b"DS", text("1\\0\\0\\0\\1\\0")),
            (0x0028_0002, b"US", us(1)),
            (0x0028_0004, b"CS", text("MONOCHROME2")),
            (0x0028_0010, b"US", us(self.size)),
            (0x0028_0011, b"US", us(self.size)),
            (0x0028_0030, b"DS", text("0.7\\0.7")),
            (0x0028_0100, b"US", us(16)),
            (0x0028_0101, b"US", us(16)),
            (0x0028_0102, b"US", us(15)),
            (0x0028_0103, b"US", us(1)),
            (0x0028_1052, b"DS", text("0")),
            (0x0028_1053, b"DS", text("1")),
            (0x0028_1054, b"LO", text("HU")),
            (0x7fe0_0010, b"OW", self.pixels.iter().flat_map(|value| value.to_le_bytes()).collect()),
        ])
    }
}
