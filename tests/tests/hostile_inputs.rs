//! Inputs of strangers, from the outside: small files that claim much stand beside a good volume, and cost it nothing, whichever
//! verb meets them.

use std::fs;
use std::path::Path;
use std::process::Command;

use libdeflater::{CompressionLvl, Compressor, crc32};
use med2e3_tests::bounded::{Bounds, run_within_to};
use med2e3_tests::phantom::{gzip, nifti};
use med2e3_tests::program::program;
use med2e3_tests::study::sql;
use med2e3_tests::tiny;
use serde_json::Value;

const BOUNDS: Bounds = Bounds { mib: 600, seconds: 120 };

/// A PNG of some hundred KB whose header states a size of many GB, with next to no data.
fn lying_png(size: u32, depth: u8, color: u8) -> Vec<u8> {
    let chunk = |kind: &[u8; 4], data: &[u8]| {
        let typed = [&kind[..], data].concat();
        [&(data.len() as u32).to_be_bytes()[..], &typed, &crc32(&typed).to_be_bytes()].concat()
    };
    let mut header = [size.to_be_bytes(), size.to_be_bytes()].concat();
    header.extend([depth, color, 0, 0, 0]);
    let mut compressor = Compressor::new(CompressionLvl::default());
    let mut data = vec![0; 200];
    let length = compressor.zlib_compress(&[0; 100], &mut data).unwrap();
    let text = [&b"Comment\0"[..], &[b'x'; 400_000]].concat();
    let chunks = [chunk(b"IHDR", &header), chunk(b"IDAT", &data[..length]), chunk(b"tEXt", &text), chunk(b"IEND", &[])];
    [b"\x89PNG\r\n\x1a\n".to_vec(), chunks.concat()].concat()
}

/// A gzipped NIfTI of 8-bit zeros.
fn zeros([depth, height, width]: [usize; 3]) -> Vec<u8> {
    let mut file = nifti([depth, height, width], &[]);
    file[70..72].copy_from_slice(&2i16.to_le_bytes());
    file[72..74].copy_from_slice(&8i16.to_le_bytes());
    file.resize(file.len() + depth * height * width, 0);
    gzip(&file)
}

/// A good volume, and folders of others by their names.
fn write(folder: &Path) {
    let shape = [4, 16, 16];
    let voxels: Vec<i16> = (0..1024).map(|n| (n % 1400) as i16 - 1000).collect();
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("good.nii"), nifti(shape, &voxels)).unwrap();
    for (name, depth, color) in [("rgba16", 16, 6), ("grey8", 8, 0), ("grey1", 1, 0)] {
        fs::create_dir_all(folder.join(name)).unwrap();
        fs::write(folder.join(name).join("0.png"), lying_png(60_000, depth, color)).unwrap();
    }
    fs::write(folder.join("zeros.nii.gz"), zeros([200, 1000, 1000])).unwrap();
    // A header of 54 TB, and a KB of data.
    let mut lying = nifti([30_000, 30_000, 30_000], &[]);
    lying.extend([0; 1000]);
    fs::write(folder.join("lying.nii.gz"), gzip(&lying)).unwrap();
}

fn prepare(folder: &Path, out: &Path, more: &[&str]) -> Command {
    let mut command = program("med2e3-data");
    command.arg("prepare").arg(folder).arg("--out").arg(out).args(["--threads", "1", "--set", "volume.shape=[4,8,8]"]);
    command.args(more);
    command
}

#[test]
fn files_that_claim_much_cost_their_neighbours_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("dataset"));
    write(&data);
    // Recipe `ct`, as for any folder of one's own.
    run_within_to(&[1], BOUNDS, &mut prepare(&data, &out, &["--set", "provenance.paths=\"keep\""]));
    let kept = sql(&out, "SELECT source_path FROM volumes");
    assert_eq!(kept, [serde_json::json!({"source_path": "good.nii"})]);
    let reasons = sql(&out, "SELECT path, reason, detail FROM quarantine ORDER BY path");
    let said: Vec<[&str; 2]> =
        reasons.iter().map(|row| ["path", "reason"].map(|key| row[key].as_str().unwrap())).collect();
    assert_eq!(
        said,
        [
            ["grey1", "no_readable_slice"],
            ["grey8", "no_readable_slice"],
            ["lying.nii.gz", "lying_header"],
            ["rgba16", "no_readable_slice"],
            ["zeros.nii.gz", "all_zero"],
        ]
    );
    for row in &reasons {
        let detail = row["detail"].as_str().unwrap();
        assert!(detail.contains(|letter: char| letter.is_ascii_digit()), "{detail}");
    }
}

#[test]
fn a_dry_run_and_a_question_meet_them_in_the_same_way() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("estimated"));
    write(&data);
    run_within_to(&[0, 1], BOUNDS, &mut prepare(&data, &out, &["--dry-run"]));
    tiny::dataset(folder.path(), &[]);
    run_within_to(&[0], BOUNDS, &mut tiny::train(folder.path(), "run", &["data.max_steps=1"]));
    for volume in ["rgba16", "grey8", "lying.nii.gz"] {
        let mut command = program("med2e3");
        command.args(["generate", "--question", "Which plane?", "--device", "cpu", "--checkpoint"]);
        command.arg(folder.path().join("run")).arg("--volume").arg(data.join(volume));
        let said = run_within_to(&[2], BOUNDS, &mut command);
        assert!(said.err.contains(volume), "{}", said.err);
    }
}

#[test]
fn a_field_without_end_costs_its_row() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    write(&data);
    let header = "Image Path,Question Type,Question,Choice A,Choice B,Choice C,Choice D,Answer,Answer Choice";
    let row = |question: &str| format!("good.nii,1,\"{question}\",axial,b,c,d,axial,A\n");
    let long = "x".repeat(60_000_000);
    let table = [header, "\n", &row("Which plane?"), &row(&long), &row("Which plane is it?")].concat();
    fs::write(data.join("M3D_VQA_train.csv"), table).unwrap();
    let out = folder.path().join("dataset");
    run_within_to(
        &[1],
        Bounds { mib: 400, ..BOUNDS },
        &mut prepare(&data, &out, &["--set", "text.tokenizer={train=300}"]),
    );
    let counts = sql(&out, "SELECT count(*) AS n FROM samples");
    assert_eq!(counts[0]["n"], 4, "two rows, each an open and a closed question");
    let reasons = sql(&out, "SELECT reason, detail FROM quarantine");
    assert!(reasons.iter().all(|row: &Value| row["reason"] == "too_large"), "{reasons:?}");
}

#[test]
fn an_override_has_a_depth() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("dataset"));
    write(&data);
    let dotted = format!("{}=1", vec!["a"; 30_000].join("."));
    let nested = format!("volume.shape={}1{}", "[".repeat(30_000), "]".repeat(30_000));
    for set in [dotted, nested] {
        let said = run_within_to(&[2], Bounds { mib: 200, seconds: 30 }, &mut prepare(&data, &out, &["--set", &set]));
        assert!(said.err.len() < 2000 && said.err.contains("level"), "{}", said.err);
    }
}
