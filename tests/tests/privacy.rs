//! Identity: forty values planted where files and file names hold names of patients; none may reach a dataset.

use std::fs;
use std::path::{Path, PathBuf};

use image::GrayImage;
use med2e3_tests::dicom_file::{self, Element};
use med2e3_tests::phantom::{gzip, nifti};
use med2e3_tests::program::{program, run_to};

/// The n-th planted value: a word that occurs nowhere by chance.
fn planted(number: usize) -> String {
    format!("Qv{number:02}Zw")
}

/// Values 0 to 11 are names of files and folders; the others are in files.
const NAMES: usize = 12;
const VALUES: usize = 40;

fn study(root: &Path) {
    let name = |number: usize| planted(number);
    let [first, second, third] = [0, 3, 6].map(|number| root.join(name(number)).join(name(number + 1)));
    [&first, &second, &third].iter().for_each(|folder| fs::create_dir_all(folder).unwrap());

    // NIfTI: descrip, aux_file, db_name, intent_name, an extension; one whole and one cut short.
    let voxels: Vec<i16> = (0..8 * 16 * 16).map(|n| n % 700 - 600).collect();
    let mut file = nifti([8, 16, 16], &voxels);
    for (at, number) in [(148, 12), (228, 13), (14, 14), (328, 15)] {
        file[at..at + 6].copy_from_slice(name(number).as_bytes());
    }
    let mut extension = vec![1, 0, 0, 0, 32, 0, 0, 0, 6, 0, 0, 0];
    extension.extend(format!("{:24}", name(16)).bytes());
    file[108..112].copy_from_slice(&384f32.to_le_bytes());
    file.splice(348..352, extension);
    fs::write(first.join(format!("{}.nii.gz", name(2))), gzip(&file)).unwrap();
    fs::write(root.join(format!("{}.nii", name(9))), &file[..600]).unwrap();

    // Slices: text chunks of a PNG, EXIF and a comment of a JPEG; and a series with a slice named after a person.
    let series = second.join(name(5));
    fs::create_dir_all(&series).unwrap();
    for number in 0..4u8 {
        let picture = GrayImage::from_fn(16, 16, |x, y| image::Luma([(x * y) as u8 + 10 * number]));
        let path = series.join(format!("{number}.{}", if number < 2 { "png" } else { "jpeg" }));
        picture.save(&path).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        if number < 2 {
            // After the signature and IHDR.
            bytes.splice(33..33, png_text(&name(17 + usize::from(number))));
        } else {
            let [marker, number] = [[0xe1, 19], [0xfe, 20]][usize::from(number) - 2];
            let text = format!("Exif\0\0{}", name(usize::from(number)));
            let mut segment = vec![0xff, marker];
            segment.extend((text.len() as u16 + 2).to_be_bytes());
            segment.extend(text.bytes());
            bytes.splice(2..2, segment);
        }
        fs::write(&path, bytes).unwrap();
    }
    let broken = root.join(name(10));
    fs::create_dir_all(&broken).unwrap();
    fs::copy(series.join("0.png"), broken.join("0.png")).unwrap();
    fs::copy(series.join("1.png"), broken.join(format!("{}.png", name(11)))).unwrap();

    // DICOM: names, numbers, dates, descriptions and identifiers.
    for slice in 0..5u8 {
        fs::write(third.join(format!("{}-{slice}", name(8))), dicom(slice)).unwrap();
    }
}

fn png_text(text: &str) -> Vec<u8> {
    let data = [b"tEXtAuthor\0", text.as_bytes()].concat();
    let mut crc = libdeflater::Crc::new();
    crc.update(&data);
    [&(data.len() as u32 - 4).to_be_bytes()[..], &data, &crc.sum().to_be_bytes()].concat()
}

/// One CT slice in explicit little endian, with the values 21 to 39 in it.
fn dicom(slice: u8) -> Vec<u8> {
    let text = |number: usize| planted(number).into_bytes();
    let us = |n: u16| n.to_le_bytes().to_vec();
    let z = format!("0\\0\\{}", 5 * slice);
    let pixels: Vec<u8> = (0..16u16 * 16).flat_map(|n| (n * 4 + u16::from(slice)).to_le_bytes()).collect();
    let uid = |n: u8| format!("1.2.826.0.1.{n}").into_bytes();
    let elements: Vec<Element> = vec![
        (0x0008_0016, b"UI", b"1.2.840.10008.5.1.4.1.1.2".to_vec()),
        (0x0008_0018, b"UI", uid(slice)),
        (0x0008_0020, b"DA", text(21)),
        (0x0008_0050, b"SH", text(22)),
        (0x0008_0060, b"CS", b"CT".to_vec()),
        (0x0008_0070, b"LO", text(23)),
        (0x0008_0080, b"LO", text(24)),
        (0x0008_0081, b"ST", text(25)),
        (0x0008_0090, b"PN", text(26)),
        (0x0008_1010, b"SH", text(27)),
        (0x0008_1030, b"LO", text(28)),
        (0x0008_103e, b"LO", text(29)),
        (0x0008_1050, b"PN", text(30)),
        (0x0008_1070, b"PN", text(31)),
        (0x0010_0010, b"PN", text(32)),
        (0x0010_0020, b"LO", text(33)),
        (0x0010_0030, b"DA", text(34)),
        (0x0010_1000, b"LO", text(35)),
        (0x0010_2160, b"SH", text(36)),
        (0x0010_4000, b"LT", text(37)),
        (0x0018_1030, b"LO", text(38)),
        (0x0020_000d, b"UI", uid(100)),
        (0x0020_000e, b"UI", uid(101)),
        (0x0020_0010, b"SH", text(39)),
        (0x0020_0013, b"IS", slice.to_string().into_bytes()),
        (0x0020_0032, b"DS", z.into_bytes()),
        (0x0020_0037, b"DS", b"1\\0\\0\\0\\1\\0".to_vec()),
        (0x0028_0002, b"US", us(1)),
        (0x0028_0004, b"CS", b"MONOCHROME2".to_vec()),
        (0x0028_0010, b"US", us(16)),
        (0x0028_0011, b"US", us(16)),
        (0x0028_0030, b"DS", b"0.7\\0.7".to_vec()),
        (0x0028_0100, b"US", us(16)),
        (0x0028_0101, b"US", us(12)),
        (0x0028_0102, b"US", us(11)),
        (0x0028_0103, b"US", us(0)),
        (0x0028_1052, b"DS", b"-1024".to_vec()),
        (0x0028_1053, b"DS", b"1".to_vec()),
        (0x7fe0_0010, b"OW", pixels),
    ];
    dicom_file::file(&elements)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Everything that a dataset says: the bytes and names of its files, and the rows of its tables, which are compressed.
fn everything(dataset: &Path, tables: &[&str]) -> String {
    let mut text = String::new();
    for path in files(dataset) {
        text += &path.strip_prefix(dataset).unwrap().display().to_string();
        text += &String::from_utf8_lossy(&fs::read(&path).unwrap());
    }
    for table in tables {
        let query = format!("SELECT * FROM {table}");
        text += &run_to(0, program("med2e3-data").arg("sql").arg(dataset).arg(query).arg("--json")).out;
    }
    text
}

/// All columns of the volumes but the voxels.
const VOLUMES: &str = "(SELECT source_path, case_id, series, plane, orientation, slices_dropped, notes FROM volumes)";

#[test]
fn no_planted_value_reaches_the_dataset() {
    let folder = tempfile::tempdir().unwrap();
    let (root, out) = (folder.path().join("root"), folder.path().join("dataset"));
    study(&root);
    // They are in the inputs, every one.
    let inputs: String = files(&root).iter().fold(String::new(), |text, path| {
        let bytes = fs::read(path).unwrap();
        let plain = if bytes.starts_with(&[0x1f, 0x8b]) { inflated(&bytes) } else { bytes };
        text + &path.display().to_string() + &String::from_utf8_lossy(&plain)
    });
    (0..VALUES).for_each(|number| assert!(inputs.contains(&planted(number)), "{number} is not planted"));

    let mut command = program("med2e3-data");
    command
        .args(["prepare", "--json", "--recipe", "m3d", "--set", "volume.shape=[4,16,16]", "--out"])
        .arg(&out)
        .arg(&root);
    let said = run_to(1, &mut command);
    assert!(said.out.contains("\"rows\":3"), "{}", said.out);
    let tables = ["quarantine", VOLUMES];
    let kept = everything(&out, &tables) + &said.out;
    let found: Vec<String> = (0..VALUES).map(planted).filter(|value| kept.contains(value)).collect();
    assert!(found.is_empty(), "{found:?}");
    // The names are next to the dataset, with the reasons in full.
    let withheld = folder.path().join("dataset.provenance");
    assert!(withheld.join("key").is_file() && withheld.join("volumes/00000.parquet").is_file());
    run_to(0, program("med2e3-data").arg("verify").arg(&out));

    // Where paths are kept, names are there and nothing from within the files.
    let open = folder.path().join("open");
    let mut command = program("med2e3-data");
    command.args(["prepare", "--json", "--recipe", "m3d", "--set", "volume.shape=[4,16,16]"]);
    command.args(["--set", "provenance.paths=\"keep\"", "--out"]).arg(&open).arg(&root);
    run_to(1, &mut command);
    let kept = everything(&open, &["quarantine", VOLUMES, "manifest_volumes"]);
    let found = |range: std::ops::Range<usize>| range.map(planted).filter(|value| kept.contains(value)).count();
    assert!(found(0..NAMES) > 0);
    assert_eq!(found(NAMES..VALUES), 0);
}

fn inflated(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 1 << 20];
    let length = libdeflater::Decompressor::new().gzip_decompress(bytes, &mut out).unwrap();
    out.truncate(length);
    out
}
