//! A made-up study in M3D's layout: small shapes in noise, as slice folders and NIfTI files, with captions and questions;
//! and inputs that are broken, each in its own way.

use std::fs;
use std::path::Path;

use image::GrayImage;
use libdeflater::{CompressionLvl, Compressor};

/// Series that read well.
pub const SERIES: usize = 8;

/// A broken input: its name in the case folder, the reason that quarantine must state.
pub const BROKEN: [(&str, &str); 7] = [
    ("Truncated_gzip", "truncated_gzip"),
    ("Lying_header", "lying_header"),
    ("All_zero", "all_zero"),
    ("Empty_folder", "empty_folder"),
    ("Mixed_sizes", "mixed_slice_sizes"),
    ("Garbled_slices", "no_readable_slice"),
    ("Not_there", "not_found"),
];

/// Writes the study below `root`. Caption and question rows exist for every series, broken ones included; besides, one
/// path that climbs out of the root, one CSV row without an answer, and one repeated CSV row.
pub fn write(root: &Path) {
    let mut captions = Vec::new();
    let mut rows = vec![HEADER.to_owned()];
    for number in 0..SERIES {
        let name = format!("Series_{number}");
        let case = root.join(format!("M3D_Cap/ct_case/{number:06}"));
        fs::create_dir_all(&case).unwrap();
        let shape = [6 + number, 20 + number, 24];
        match number % 2 {
            0 => slices(&case.join(&name), shape, number),
            _ => fs::write(case.join(format!("{name}.nii.gz")), gzip(&nifti(shape, &voxels(shape, number)))).unwrap(),
        }
        fs::write(case.join("text.txt"), format!("study_findings: A disc of size {number}.")).unwrap();
        captions.push((format!("ct_case/{number:06}/{name}"), format!("ct_case/{number:06}/text.txt")));
        rows.push(row(&format!("ct_case/{number:06}/{name}"), ["even", "odd"][number % 2], ["A", "B"][number % 2]));
    }
    broken(root);
    for (name, _) in BROKEN {
        captions.push((format!("ct_case/900000/{name}"), "ct_case/000000/text.txt".to_owned()));
    }
    rows.push(rows[1].clone());
    rows.push(row("ct_case/000001/Series_1", "", ""));
    rows.push(row("../../outside/series", "even", "A"));

    // Entries in turn to train, validation and test; all broken ones to train.
    let entry = |(image, text): &(String, String)| {
        format!(r#"{{"image": "M3D_Cap_npy/{image}.npy", "text": "M3D_Cap_npy/{text}"}}"#)
    };
    let pick = |keep: &dyn Fn(usize) -> bool| {
        captions.iter().enumerate().filter(|(i, _)| keep(*i)).map(|(_, c)| entry(c)).collect::<Vec<_>>().join(",\n")
    };
    let json = format!(
        "{{\"train\": [{}],\n\"validation\": [{}],\n\"test\": [{}],\n\"test1k\": [{}]}}",
        pick(&|i| !(5..SERIES).contains(&i)),
        pick(&|i| i == 5),
        pick(&|i| (6..SERIES).contains(&i)),
        pick(&|i| i == 6),
    );
    fs::write(root.join("M3D_Cap.json"), json).unwrap();
    fs::write(root.join("M3D_VQA_train.csv"), rows.join("\n")).unwrap();
    let test: Vec<String> = [HEADER.to_owned()].into_iter().chain(rows[7..=SERIES].iter().cloned()).collect();
    fs::write(root.join("M3D_VQA_test.csv"), test.join("\n")).unwrap();
}

const HEADER: &str =
    ",Image Path,Text,Question Type,Question,Choice A,Choice B,Choice C,Choice D,Answer,Answer Choice,Note";

fn row(image: &str, answer: &str, letter: &str) -> String {
    format!("7,M3D_Cap_npy/{image}.npy,,1,\"Is the number even, or odd?\",even,odd,NA,NA,{answer},{letter},")
}

fn broken(root: &Path) {
    let case = root.join("M3D_Cap/ct_case/900000");
    fs::create_dir_all(&case).unwrap();
    let shape = [8, 16, 16];
    let whole = nifti(shape, &voxels(shape, 1));
    let packed = gzip(&whole);
    fs::write(case.join("Truncated_gzip.nii.gz"), &packed[..packed.len() / 2]).unwrap();
    let mut lying = whole.clone();
    // dim[3], the number of slices.
    lying[46..48].copy_from_slice(&30_000i16.to_le_bytes());
    fs::write(case.join("Lying_header.nii"), lying).unwrap();
    fs::write(case.join("All_zero.nii.gz"), gzip(&nifti(shape, &vec![0; 2048]))).unwrap();
    fs::create_dir_all(case.join("Empty_folder")).unwrap();
    let mixed = case.join("Mixed_sizes");
    fs::create_dir_all(&mixed).unwrap();
    for number in 0..6u32 {
        GrayImage::from_pixel(8 + number, 8, image::Luma([90])).save(mixed.join(format!("{number}.png"))).unwrap();
    }
    let garbled = case.join("Garbled_slices");
    fs::create_dir_all(&garbled).unwrap();
    fs::write(garbled.join("0.png"), b"not a picture").unwrap();
}

/// A disc that grows with `seed` in a striped ground, D H W.
fn voxels(shape: [usize; 3], seed: usize) -> Vec<i16> {
    let [depth, height, width] = shape;
    let mut values = Vec::with_capacity(depth * height * width);
    for d in 0..depth {
        for h in 0..height {
            for w in 0..width {
                let (y, x) = (h as i64 - height as i64 / 2, w as i64 - width as i64 / 2);
                let inside = y * y + x * x < (3 + seed as i64).pow(2);
                values.push(if inside { 200 } else { ((d * 7 + h * 3 + w) % 50) as i16 });
            }
        }
    }
    values
}

fn slices(folder: &Path, shape: [usize; 3], seed: usize) {
    fs::create_dir_all(folder).unwrap();
    let [_, height, width] = shape;
    for (number, slice) in voxels(shape, seed).chunks(height * width).enumerate() {
        let pixels = slice.iter().map(|&v| v as u8).collect();
        let ending = if seed.is_multiple_of(4) { "png" } else { "jpeg" };
        let picture = GrayImage::from_raw(width as u32, height as u32, pixels).unwrap();
        picture.save(folder.join(format!("{number}.{ending}"))).unwrap();
    }
}

/// A NIfTI-1 file of 16-bit voxels, 2 mm slices of 1 mm pixels.
pub fn nifti(shape_dhw: [usize; 3], voxels: &[i16]) -> Vec<u8> {
    let mut header = vec![0u8; 352];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &348i32.to_le_bytes());
    let [d, h, w] = shape_dhw.map(|n| n as i16);
    for (i, n) in [3, w, h, d, 1, 1, 1, 1].into_iter().enumerate() {
        put(40 + 2 * i, &n.to_le_bytes());
    }
    put(70, &4i16.to_le_bytes()); // datatype: int16
    put(72, &16i16.to_le_bytes()); // bitpix
    for (i, mm) in [1f32, 1.0, 1.0, 2.0].into_iter().enumerate() {
        put(76 + 4 * i, &mm.to_le_bytes());
    }
    put(108, &352f32.to_le_bytes()); // vox_offset
    put(112, &1f32.to_le_bytes()); // scl_slope
    put(254, &1i16.to_le_bytes()); // sform_code
    for (i, value) in [-1f32, 0., 0., 0., 0., -1., 0., 0., 0., 0., 2., 0.].into_iter().enumerate() {
        put(280 + 4 * i, &value.to_le_bytes());
    }
    put(344, b"n+1\0");
    header.extend(voxels.iter().flat_map(|v| v.to_le_bytes()));
    header
}

/// The bytes as one gzip member.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut compressor = Compressor::new(CompressionLvl::default());
    let mut packed = vec![0; compressor.gzip_compress_bound(bytes.len())];
    let length = compressor.gzip_compress(bytes, &mut packed).unwrap();
    packed.truncate(length);
    packed
}
