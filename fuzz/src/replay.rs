//! The kept inputs of a target, tried again: for the tests of the crates, each of which compiles this file.

use std::fs;
use std::path::Path;

/// Runs a target's body on every file of its corpus.
pub fn replay(target: &str, body: fn(&[u8])) {
    let corpus = Path::new("fuzz/corpus").join(target);
    let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|folder| folder.join(&corpus));
    let folder = folders.into_iter().find(|folder| folder.is_dir()).expect("a target has a corpus");
    let files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!files.is_empty(), "the corpus of {target} is empty");
    for file in files {
        // Shown where the test fails.
        eprintln!("{}", file.display());
        body(&fs::read(file).unwrap());
    }
}
