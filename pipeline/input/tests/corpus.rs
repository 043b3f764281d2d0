//! Reads all inputs in the corpora of the fuzz targets that read volumes, tokenizers and rules of scrubbing.

#[path = "../../../fuzz/src/replay.rs"]
pub mod replay;
#[path = "../../../fuzz/src/scrub_rules.rs"]
pub mod scrub_rules;
#[path = "../../../fuzz/src/streams.rs"]
pub mod streams;
#[path = "../../../fuzz/src/tokenizer_file.rs"]
pub mod tokenizer_file;
#[path = "../../../fuzz/src/volumes.rs"]
pub mod volumes;

use replay::replay;

#[test]
fn nifti_files_and_arrays() {
    replay("nifti", volumes::nifti);
}

#[test]
fn slice_folders() {
    replay("slice_folder", volumes::slice_folder);
}

#[test]
fn compressed_slices() {
    replay("streams", streams::stream);
}

#[test]
fn dicom_files() {
    replay("dicom", volumes::dicom_files);
}

#[test]
fn tokenizers() {
    replay("tokenizer", tokenizer_file::tokenizer);
}

#[test]
fn rules_of_scrubbing() {
    replay("scrub_rules", scrub_rules::scrub);
}
