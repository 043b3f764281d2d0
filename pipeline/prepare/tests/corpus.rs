//! Every kept input of the fuzz target `manifest`, read again.

use std::fs;
use std::path::Path;

use med2e3_prepare as prepare;

#[path = "../../../fuzz/src/manifest_rows.rs"]
pub mod manifest_rows;

#[test]
fn every_kept_manifest_is_read_or_refused() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/manifest");
    let files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!files.is_empty(), "the corpus is empty");
    for file in files {
        // Shown where the test fails.
        eprintln!("{}", file.display());
        manifest_rows::manifest(&fs::read(file).unwrap());
    }
}
