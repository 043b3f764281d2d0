//! `med2e3-data prepare` on trees as they lie on disks: what is a row, what is passed over and told, what is a failure.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use image::GrayImage;
use med2e3_tests::phantom::{gzip, nifti};
use med2e3_tests::program::{Said, program, run_to};
use serde_json::Value;

const SHAPE: [usize; 3] = [6, 12, 12];

/// A CT of which every voxel tells which one it is.
fn ct(number: i16) -> Vec<u8> {
    let count = SHAPE.iter().product::<usize>() as i16;
    nifti(SHAPE, &(0..count).map(|n| -1000 + 100 * number + n % 90 * 10).collect::<Vec<_>>())
}

fn put(root: &Path, name: &str, bytes: &[u8]) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn prepare(path: &Path, out: &Path, more: &[&str]) -> Command {
    let mut command = program("med2e3-data");
    command.arg("prepare").arg(path).arg("--out").arg(out);
    for set in ["volume.shape=[6,12,12]", "provenance.paths=\"keep\""].iter().chain(more) {
        command.args(["--set", set]);
    }
    command
}

/// Source paths and the smallest value of each row.
fn rows(dataset: &Path) -> Vec<(String, f64)> {
    let query = "SELECT source_path, value_min FROM volumes ORDER BY source_path";
    let said = run_to(0, program("med2e3-data").arg("sql").arg(dataset).arg(query).arg("--json"));
    let rows = said.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    rows.map(|row| (row["source_path"].as_str().unwrap().to_owned(), row["value_min"].as_f64().unwrap())).collect()
}

#[test]
fn a_row_holds_the_file_that_it_names_and_the_rest_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("data");
    // The same stem three times, each with its own values.
    put(&root, "a/scan.nii", &ct(1));
    put(&root, "a/scan.nii.gz", &gzip(&ct(2)));
    put(&root, "a/scan", b"the log of a program");
    // Beside a volume a picture is a preview.
    let mut picture = Vec::new();
    GrayImage::from_fn(8, 8, |x, y| image::Luma([(x * y) as u8]))
        .write_to(&mut std::io::Cursor::new(&mut picture), image::ImageFormat::Png)
        .unwrap();
    put(&root, "a/1.png", &picture);
    // What operating systems and programs leave behind.
    for name in ["a/._scan.nii.gz", ".git/annex/x.nii.gz", ".Trash-1000/files/x.nii", "__MACOSX/a/x.nii", "DICOMDIR"] {
        put(&root, name, b"\0\x05\x16\x07");
    }
    put(&root, "labelsTr/scan.nii.gz", &gzip(&ct(3)));
    put(&root, "doc/readme.txt", b"words");
    put(&root, "doc/more.zip", b"PK");
    // Links: within the root, out of it, to nothing, in a circle.
    put(&root, "store/d41d8", &gzip(&ct(4)));
    put(folder.path(), "elsewhere.nii.gz", &gzip(&ct(5)));
    fs::create_dir(root.join("links")).unwrap();
    symlink("../store/d41d8", root.join("links/in.nii.gz")).unwrap();
    symlink(folder.path().join("elsewhere.nii.gz"), root.join("links/out.nii.gz")).unwrap();
    symlink("nothing", root.join("links/none.nii.gz")).unwrap();
    symlink("..", root.join("links/circle")).unwrap();

    let out = folder.path().join("dataset");
    let said = run_to(0, &mut prepare(&root, &out, &[]));
    let found = rows(&out);
    let expected = [("a/scan.nii", -900.0), ("a/scan.nii.gz", -800.0), ("links/in.nii.gz", -600.0)];
    assert_eq!(found, expected.map(|(path, least)| (path.to_owned(), least)));
    for words in [
        "hidden",
        "folders of the operating system",
        "pictures that are no slices",
        "label maps",
        "links that lead out",
        "links to nothing",
        "links to folders",
        ".txt files",
        ".zip files",
        "other files",
        "such as",
    ] {
        assert!(said.out.contains(words), "{words} in {}", said.out);
    }
    let report: Value = serde_json::from_str(&fs::read_to_string(out.join("report.json")).unwrap()).unwrap();
    let passed: u64 = report["passed_over"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    // 3 hidden, 1 folder of macOS, DICOMDIR, the log, the file behind the link, picture, labels, 2 documents, 3 links.
    assert_eq!((report["files_in_volumes"].as_u64(), passed), (Some(3), 14), "{report}");
}

#[test]
fn nothing_usable_is_a_failure_that_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("data");
    let (out, beside) = (folder.path().join("dataset"), folder.path().join("dataset.provenance"));
    put(&root, "notes.txt", b"words");
    for paths in ["keep", "hash"] {
        let said = run_to(2, &mut prepare(&root, &out, &[&format!("provenance.paths={paths:?}")]));
        assert!(said.err.contains("nothing to prepare") && said.err.contains("1 .txt files"), "{}", said.err);
        assert!(!out.exists() && !beside.exists());
    }
    // Where every input is set aside, the failure names the first of them.
    put(&root, "x.nii.gz", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n");
    let said = run_to(2, &mut prepare(&root, &out, &[]));
    assert!(said.err.contains("x.nii.gz") && said.err.contains("Git LFS"), "{}", said.err);
}

#[test]
fn one_bad_name_costs_nobody_else_anything() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("data");
    put(&root, "good.nii.gz", &gzip(&ct(1)));
    fs::write(root.join(OsStr::from_bytes(b"M\xfcller.nii.gz")), gzip(&ct(2))).unwrap();
    fs::create_dir(root.join(OsStr::from_bytes(b"\xe9tudes"))).unwrap();
    let out = folder.path().join("dataset");
    let said = run_to(1, &mut prepare(&root, &out, &[]));
    assert!(said.out.contains("name_not_utf8") && said.out.contains("M\\xfcller.nii.gz"), "{}", said.out);
    assert_eq!(rows(&out).len(), 1);
    // The tables are found again although their sources have names that are no text.
    assert!(run_to(1, &mut prepare(&root, &out, &[])).out.contains("nothing to do"));
}

#[test]
fn messages_say_what_differs_and_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("data");
    put(&root, "a.nii.gz", &gzip(&ct(1)));
    let out = folder.path().join("dataset");
    run_to(0, &mut prepare(&root, &out, &[]));
    let Said { err, .. } = run_to(2, &mut prepare(&root, &out, &["volume.shape=[6,12,16]"]));
    assert!(err.contains("volume.shape is [6, 12, 12] there and [6, 12, 16] here"), "{err}");
    let Said { err, .. } = run_to(2, &mut prepare(&root, &out, &["provenance.paths=\"hash\""]));
    assert!(err.contains("holds a dataset whose working folder is not at"), "{err}");
    let Said { err, .. } = run_to(2, &mut prepare(&root, &root, &[]));
    assert!(err.contains("holds no dataset"), "{err}");
    let Said { err, .. } = run_to(2, &mut prepare(&root, &out, &["engine.threads=100000"]));
    assert!(err.contains("engine.threads: expected 0 to"), "{err}");
}

#[test]
fn the_dataset_is_found_however_its_folder_is_spelled() {
    let folder = tempfile::tempdir().unwrap();
    let above = fs::canonicalize(folder.path()).unwrap();
    put(&above, "data/Doe_Jane.nii.gz", &gzip(&ct(1)));
    for (number, spelling) in [".", "./.", "../ds2", "../ds3/"].into_iter().enumerate() {
        let dataset = above.join(format!("ds{number}"));
        fs::create_dir_all(&dataset).unwrap();
        let mut command = prepare(&above.join("data"), Path::new(spelling), &["provenance.paths=\"hash\""]);
        run_to(0, command.current_dir(&dataset));
        assert!(above.join(format!("ds{number}.provenance/key")).is_file(), "{spelling}");
        let mut open = vec![dataset];
        while let Some(place) = open.pop() {
            for entry in fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path()) {
                if entry.is_dir() {
                    open.push(entry);
                } else {
                    let text = String::from_utf8_lossy(&fs::read(&entry).unwrap()).into_owned();
                    assert!(!text.contains("Doe_Jane"), "{spelling}: {}", entry.display());
                }
            }
        }
    }
}
