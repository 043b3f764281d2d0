//! A few CTs with a table of reports, as the documents' examples name them: a folder for each patient, NIfTI files and DICOM series.

use std::fs;
use std::path::Path;

use crate::dicom_file::CtSlice;
use crate::phantom::{gzip, nifti};

/// Rows and columns of a slice, and slices.
const SIZE: u16 = 24;
const SLICES: u16 = 6;

/// Writes the CTs of four patients and `reports.csv` below `root`.
pub fn write(root: &Path) {
    for patient in 1..=2 {
        let folder = root.join(format!("P00{patient}"));
        fs::create_dir_all(&folder).unwrap();
        let shape = [SLICES, SIZE, SIZE].map(usize::from);
        fs::write(folder.join("chest.nii.gz"), gzip(&nifti(shape, &values(patient)))).unwrap();
    }
    for patient in 3..=4 {
        let folder = root.join(format!("P00{patient}/abdomen"));
        fs::create_dir_all(&folder).unwrap();
        for (number, slice) in (0..).zip(values(patient).chunks(usize::from(SIZE).pow(2))) {
            let slice = CtSlice {
                patient: &format!("ID-{patient}"),
                name: &format!("Somebody^{patient}"),
                accession: &format!("A-{patient}"),
                series: &format!("1.2.826.0.1.3680043.{patient}.1"),
                number,
                size: SIZE,
                pixels: slice.to_vec(),
            };
            fs::write(folder.join(format!("{number:03}.dcm")), slice.file()).unwrap();
        }
    }
    fs::write(root.join("reports.csv"), REPORTS).unwrap();
}

/// The table of the documents.
pub const REPORTS: &str = "\
file,report,split
P001/chest.nii.gz,No focal lesion.,train
P002/chest.nii.gz,A nodule of 8 mm in the left lower lobe.,train
P003/abdomen,A simple cyst of the liver.,validation
P004/abdomen,Normal findings.,test
";

/// A body in air in which tissue differs by patient, D H W, in Hounsfield units.
fn values(patient: i16) -> Vec<i16> {
    let (size, middle) = (SIZE as i16, SIZE as i16 / 2);
    let of = |z: i16, y: i16, x: i16| {
        let inside = (y - middle).pow(2) + (x - middle).pow(2) < 100;
        if inside { 20 * patient + (z + y + x) % 40 } else { -1000 }
    };
    (0..SLICES as i16).flat_map(|z| (0..size).flat_map(move |y| (0..size).map(move |x| of(z, y, x)))).collect()
}
