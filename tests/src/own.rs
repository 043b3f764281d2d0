//! A person's own CTs as they lie on a disk: NIfTI files and DICOM series in Hounsfield units, a folder for each patient, and a
//! table of texts beside them.

use std::fs;
use std::path::Path;

use crate::phantom::{gzip, nifti};

/// Volumes: two patients with a NIfTI file, two with a DICOM series.
pub const VOLUMES: usize = 4;

const SHAPE: [usize; 3] = [6, 24, 24];

/// Writes the CTs and `reports.csv` below `root`.
pub fn write(root: &Path) {
    for number in 0..2 {
        let patient = root.join(format!("P{number}"));
        fs::create_dir_all(&patient).unwrap();
        fs::write(patient.join("chest.nii.gz"), gzip(&nifti(SHAPE, &values(number)))).unwrap();
    }
    for number in 2..VOLUMES {
        let series = root.join(format!("P{number}/abdomen"));
        fs::create_dir_all(&series).unwrap();
        let [depth, height, width] = SHAPE;
        for (slice, values) in values(number).chunks(height * width).enumerate().take(depth) {
            fs::write(series.join(format!("{slice:03}.dcm")), dicom(number, slice, values)).unwrap();
        }
    }
    let rows =
        ["P0/chest.nii.gz,No focal lesion.", "P1/chest.nii.gz,A nodule.", "P2/abdomen,A cyst.", "P3/abdomen,Normal."];
    fs::write(root.join("reports.csv"), format!("file,report\n{}\n", rows.join("\n"))).unwrap();
}

/// Air around a body in which a ball of tissue stands, D H W.
fn values(number: usize) -> Vec<i16> {
    let [depth, height, width] = SHAPE;
    let mut values = Vec::with_capacity(depth * height * width);
    for d in 0..depth {
        for h in 0..height {
            for w in 0..width {
                let (y, x) = (h as i16 - height as i16 / 2, w as i16 - width as i16 / 2);
                let body = y * y + x * x < 100;
                values.push(if body { 20 * number as i16 + (d + h + w) as i16 % 40 } else { -1000 });
            }
        }
    }
    values
}

/// One CT slice in explicit little endian.
fn dicom(patient: usize, slice: usize, values: &[i16]) -> Vec<u8> {
    let text = |text: &str| text.as_bytes().to_vec();
    let whole = |n: usize| (n as u16).to_le_bytes().to_vec();
    let [_, height, width] = SHAPE;
    let stored = values.iter().flat_map(|value| ((value + 1024) as u16).to_le_bytes()).collect();
    let class = "1.2.840.10008.5.1.4.1.1.2";
    let uid = |part: &str| format!("1.2.826.0.1.{patient}.{part}").into_bytes();
    let elements: Vec<(u32, &[u8; 2], Vec<u8>)> = vec![
        (0x0008_0016, b"UI", text(class)),
        (0x0008_0018, b"UI", uid(&format!("3.{slice}"))),
        (0x0008_0060, b"CS", text("CT")),
        (0x0010_0010, b"PN", format!("Somebody^{patient}").into_bytes()),
        (0x0010_0020, b"LO", format!("ID-{patient}").into_bytes()),
        (0x0020_000d, b"UI", uid("1")),
        (0x0020_000e, b"UI", uid("2")),
        (0x0020_0013, b"IS", slice.to_string().into_bytes()),
        (0x0020_0032, b"DS", format!("0\\0\\{}", 5 * slice).into_bytes()),
        (0x0020_0037, b"DS", text("1\\0\\0\\0\\1\\0")),
        (0x0028_0002, b"US", whole(1)),
        (0x0028_0004, b"CS", text("MONOCHROME2")),
        (0x0028_0010, b"US", whole(height)),
        (0x0028_0011, b"US", whole(width)),
        (0x0028_0030, b"DS", text("0.7\\0.7")),
        (0x0028_0100, b"US", whole(16)),
        (0x0028_0101, b"US", whole(12)),
        (0x0028_0102, b"US", whole(11)),
        (0x0028_0103, b"US", whole(0)),
        (0x0028_1052, b"DS", text("-1024")),
        (0x0028_1053, b"DS", text("1")),
        (0x7fe0_0010, b"OW", stored),
    ];
    let meta: Vec<(u32, &[u8; 2], Vec<u8>)> = vec![
        (0x0002_0002, b"UI", text(class)),
        (0x0002_0003, b"UI", uid(&format!("3.{slice}"))),
        (0x0002_0010, b"UI", text("1.2.840.10008.1.2.1")),
    ];
    let meta = encoded(&meta);
    let length = encoded(&[(0x0002_0000, b"UL", (meta.len() as u32).to_le_bytes().to_vec())]);
    [&[0; 128][..], b"DICM", &length, &meta, &encoded(&elements)].concat()
}

fn encoded(elements: &[(u32, &[u8; 2], Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (tag, kind, value) in elements {
        bytes.extend(((tag >> 16) as u16).to_le_bytes());
        bytes.extend((*tag as u16).to_le_bytes());
        bytes.extend(*kind);
        let mut value = value.clone();
        if value.len() % 2 == 1 {
            value.push(if *kind == b"UI" { 0 } else { b' ' });
        }
        if *kind == b"OW" {
            bytes.extend([0, 0]);
            bytes.extend((value.len() as u32).to_le_bytes());
        } else {
            bytes.extend((value.len() as u16).to_le_bytes());
        }
        bytes.extend(value);
    }
    bytes
}
