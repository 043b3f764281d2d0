//! The listing of folders on arbitrary trees: every file is accounted for, no row leads out, nothing is listed twice.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::prepare::config::{ManifestConfig, TextRules};
use super::prepare::manifest;
use super::prepare::provenance::Provenance;

/// Entries of one tree.
const MOST_ENTRIES: usize = 48;

/// Names that entries get: volumes, parts of them, pictures, and what lies beside these on people's disks.
const NAMES: [&[u8]; 40] = [
    b"x.nii",
    b"x.nii.gz",
    b"x",
    b"x.npy",
    b"x.hdr",
    b"x.img",
    b"y.HDR",
    b"y.nii.GZ",
    b"0.png",
    b"1.png",
    b"2.PNG",
    b"3.jpg",
    b"4.jpeg",
    b"slice_001.png",
    b"cover.png",
    b"._x.nii.gz",
    b"._IM1.dcm",
    b".git",
    b"__MACOSX",
    b"DICOMDIR",
    b"IM1",
    b"IM2.dcm",
    b"notes.txt",
    b"a.zip",
    b"x.nrrd",
    b"x.mha",
    b"x.dcm.gz",
    b"case1",
    b"labelsTr",
    b"case1_seg.nii.gz",
    b"lost+found",
    b"M\xfcller.nii",
    b"\xff",
    b"a\\b.nii",
    b"20240115093000123.png",
    b"Thumbs.db",
    b"x.nhdr",
    b"x.raw",
    b"@eaDir",
    b" ",
];

/// The first bytes of files, by kind.
fn contents(kind: u8) -> Vec<u8> {
    let object = |class: &str| {
        let mut bytes = vec![0; 128];
        bytes.extend(b"DICM\x02\0\0\0UL\x04\0\x28\0\0\0\x02\0\x02\0UI");
        bytes.extend((class.len() as u16).to_le_bytes());
        bytes.extend(class.bytes());
        bytes
    };
    match kind % 7 {
        0 => Vec::new(),
        1 => object("1.2.840.10008.5.1.4.1.1.2\0"),
        2 => object("1.2.840.10008.1.3.10"),
        3 => object("1.2.840.10008.5.1.4.1.1.88.67\0"),
        4 => b"\x1f\x8b\x08".to_vec(),
        5 => b"version https://git-lfs.github.com/spec/v1\n".to_vec(),
        _ => b"some text".to_vec(),
    }
}

/// Makes a tree, three bytes an entry: what it is, its name, the folder that it goes to; then lists it.
pub fn tree(bytes: &[u8]) {
    let above = tempfile::tempdir().expect("a folder can be made");
    let above = fs::canonicalize(above.path()).expect("the folder is there");
    fs::write(above.join("outside.nii"), b"x").expect("a file can be written");
    let root = above.join("root");
    fs::create_dir(&root).expect("a folder can be made");
    let mut folders = vec![root.clone()];
    for entry in bytes.chunks_exact(3).take(MOST_ENTRIES) {
        let [what, name, folder] = [entry[0], entry[1], entry[2]];
        let folder = folders[usize::from(folder) % folders.len()].clone();
        let path = folder.join(OsStr::from_bytes(NAMES[usize::from(name) % NAMES.len()]));
        // A name that is taken stays what it is.
        match what % 12 {
            0 | 1 => drop(fs::create_dir(&path).map(|()| folders.push(path))),
            2 => drop(symlink(above.join("outside.nii"), &path)),
            3 => drop(symlink("nothing", &path)),
            4 => {
                // A link into a hidden folder is the only way to what is in it, which is not counted here.
                let target = &folders[usize::from(name) % folders.len()];
                let hidden = target.strip_prefix(&root).expect("below the root").iter().any(is_closed);
                if !hidden {
                    drop(symlink(target, &path));
                }
            }
            5 => drop(symlink(root.join("x.nii"), &path)),
            _ if path.symlink_metadata().is_err() => fs::write(&path, contents(what)).expect("a file can be written"),
            _ => {}
        }
    }
    let config = ManifestConfig { folders: vec![PathBuf::new()], ..ManifestConfig::default() };
    let read = || manifest::read(&root, &config, &TextRules::default(), &Provenance::Keep).expect("a folder is listed");
    let manifest = read();
    let listed = manifest.listing.in_volumes + manifest.listing.counts().values().sum::<u64>();
    assert_eq!(listed, entries(&root), "{:?}", manifest.listing);
    let names: BTreeSet<&str> = manifest.volumes.iter().map(|volume| volume.image.as_str()).collect();
    assert_eq!(names.len(), manifest.volumes.len(), "a name is listed twice");
    for volume in &manifest.volumes {
        match &volume.refusal {
            Some(refusal) => assert!(!refusal.detail.is_empty()),
            None => {
                let real = fs::canonicalize(root.join(&volume.source_path)).expect("a listed volume is there");
                assert!(real.starts_with(&root), "{}", real.display());
                assert_eq!(volume.source_path, volume.image);
            }
        }
    }
    assert_eq!(read().volumes, manifest.volumes, "two listings differ");
}

/// Everything below a folder that is no folder to look into: files, links, and folders that are passed over as they are.
fn entries(folder: &Path) -> u64 {
    let listed = fs::read_dir(folder).expect("the folder can be listed");
    let counts = listed.map(|entry| {
        let entry = entry.expect("the folder can be listed");
        let is_folder = entry.file_type().expect("an entry has a type").is_dir();
        if is_folder && !is_closed(&entry.file_name()) { entries(&entry.path()) } else { 1 }
    });
    counts.sum()
}

fn is_closed(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".") || ["__MACOSX", "@eaDir"].iter().any(|closed| name == *closed)
}
