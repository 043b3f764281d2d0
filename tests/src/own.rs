//! CTs and texts as a hospital has them: patients with one or two DICOM series, patients with a NIfTI file, a German table of reports in
//! Latin-1 with semicolons, Chinese questions by patient; some texts and some volumes missing, one file broken. Names, numbers and
//! dates of patients are planted wherever such data have them.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::dicom_file::CtSlice;
use crate::phantom::{gzip, nifti};

/// Patients; the first half has DICOM series, every other of them two.
pub const PATIENTS: usize = 20;

/// Volumes that can be read.
pub const VOLUMES: usize = 25;

/// Rows and columns of a slice, and slices.
const SIZE: u16 = 24;
const SLICES: u16 = 6;

/// A patient's number in the hospital.
pub fn patient_id(patient: usize) -> String {
    format!("77{:05}", 4321 + 37 * patient)
}

/// The number of a patient's order.
pub fn accession(patient: usize) -> String {
    format!("A9{:04}", 100 + patient)
}

/// A patient's name, as folders and files have it.
pub fn name(patient: usize) -> String {
    format!("Zabel_{}", ["Erika", "Jonas", "Ludmila", "Ottokar"][patient % 4]) + &patient.to_string()
}

/// Everything that must not be in a dataset: what the data say of who patients are.
pub fn identities() -> Vec<String> {
    let of = |patient| [patient_id(patient), name(patient)];
    let orders = (0..PATIENTS / 2).map(accession);
    let texts =
        ["Zabel", "12.03.1961", "0621/3832255", "zabel@klinik.example", "broken_file", "befunde.csv", "fragen.jsonl"];
    (0..PATIENTS).flat_map(of).chain(orders).chain(texts.map(str::to_owned)).collect()
}

/// A disc whose size is the patient's, in air, in Hounsfield units.
fn voxels(patient: usize, series: usize) -> Vec<i16> {
    let (size, middle) = (i64::from(SIZE), i64::from(SIZE) / 2);
    let of = |z: i64, y: i64, x: i64| {
        let inside = (y - middle).pow(2) + (x - middle).pow(2) < (3 + patient as i64 % 8).pow(2);
        let ground = -1000 + (x * 7 + y * 3 + z + 11 * patient as i64) as i16 % 20;
        if inside { 40 + 5 * z as i16 + 100 * series as i16 } else { ground }
    };
    (0..i64::from(SLICES)).flat_map(|z| (0..size).flat_map(move |y| (0..size).map(move |x| of(z, y, x)))).collect()
}

/// Writes a patient's DICOM series below `root/dicom`.
pub fn write_series(root: &Path, patient: usize, series: usize) {
    let folder = root.join(format!("dicom/{}/study{series}/ct", name(patient)));
    fs::create_dir_all(&folder).unwrap();
    let pixels = usize::from(SIZE).pow(2);
    for (number, slice) in (0..).zip(voxels(patient, series).chunks(pixels)) {
        let slice = CtSlice {
            patient: &patient_id(patient),
            name: &name(patient).replace('_', "^"),
            accession: &accession(patient),
            series: &format!("1.2.826.0.1.3680043.{patient}.{}", series + 1),
            number,
            size: SIZE,
            pixels: slice.to_vec(),
        };
        fs::write(folder.join(format!("IM{number:04}")), slice.file()).unwrap();
    }
}

/// Writes a patient's NIfTI file into `root/nifti`; its path below the root.
pub fn write_nifti(root: &Path, patient: usize) -> String {
    let path = format!("nifti/{}.nii.gz", name(patient));
    fs::create_dir_all(root.join("nifti")).unwrap();
    let shape = [usize::from(SLICES), usize::from(SIZE), usize::from(SIZE)];
    fs::write(root.join(&path), gzip(&nifti(shape, &voxels(patient, 0)))).unwrap();
    path
}

/// Writes all of it.
pub fn write(root: &Path) {
    for patient in 0..PATIENTS / 2 {
        (0..=patient % 2).for_each(|series| write_series(root, patient, series));
    }
    (PATIENTS / 2..PATIENTS).for_each(|patient| drop(write_nifti(root, patient)));
    fs::write(root.join("nifti/broken_file.nii.gz"), b"\x1f\x8b\x08 no gzip").unwrap();
    fs::write(root.join("befunde.csv"), reports()).unwrap();
    fs::write(root.join("fragen.jsonl"), questions()).unwrap();
}

/// Reports in German, a row a patient, in Latin-1: each tenth has no text, one is of a volume that is not there.
fn reports() -> Vec<u8> {
    let mut text = String::from("Datei;Pat.-Nr.;Befundtext\r\n");
    for patient in 0..PATIENTS {
        let file = if patient < PATIENTS / 2 {
            format!("dicom/{}/study0/ct", name(patient))
        } else {
            format!("nifti/{}.nii.gz", name(patient))
        };
        let report = format!(
            "Patientin Erika Zabel, geb. 12.03.1961, Tel. 0621/3832255 oder zabel@klinik.example.\nLäsion von {},5 mm, \
            größenkonstant; kein Erguß.",
            3 + patient
        );
        let report = if patient % 10 == 9 { String::new() } else { format!("\"{report}\"") };
        write!(text, "{file};{};{report}\r\n", patient_id(patient)).unwrap();
    }
    write!(text, "nifti/{}.nii.gz;{};Ohne Volumen.\r\n", name(99), patient_id(99)).unwrap();
    text.chars().map(|character| u8::try_from(character).expect("Latin-1")).collect()
}

/// Questions in Chinese by patient, one a patient.
fn questions() -> String {
    let answer = |patient: usize| if patient.is_multiple_of(2) { "是" } else { "否" };
    let line = |patient| {
        format!(
            "{{\"nummer\": \"{}\", \"frage\": \"病灶是否超过五毫米？\", \"antwort\": \"{}\"}}\n",
            patient_id(patient),
            answer(patient)
        )
    };
    (0..PATIENTS).map(line).collect()
}

/// The configuration that a person writes for it, without its root: eight lines.
pub const CONFIGURATION: &str = r#"
[[manifest.table]]
path = "befunde.csv"
encoding = "latin1"
columns = { volume = "Datei", case = "Pat.-Nr.", report = "Befundtext" }

[[manifest.table]]
path = "fragen.jsonl"
columns = { case = "nummer", question = "frage", answer = "antwort" }

[manifest]
folders = ["."]
"#;
