//! Every kept input of the fuzz target `torch_weights`, read again.

use std::fs;
use std::path::Path;

use med2e3_trainer::files::weights_file::stored;

#[path = "../../fuzz/src/torch_weights.rs"]
pub mod torch_weights;

#[test]
fn every_kept_file_of_weights_is_read_or_refused() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/torch_weights");
    let files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!files.is_empty(), "the corpus is empty");
    for file in files {
        // Shown where the test fails.
        eprintln!("{}", file.display());
        torch_weights::torch_weights(&fs::read(file).unwrap());
    }
}
