//! The reader of WordNet on arbitrary files: an error that names the file, since none of them has the entries of WordNet 3.0.

use std::fs;

use med2e3_metric::meteor::WordNet;

/// Reads the bytes as the twelve files, with a zero byte between them.
pub fn wordnet_folder(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let names = ["noun", "verb", "adj", "adv"]
        .iter()
        .flat_map(|part| [format!("data.{part}"), format!("index.{part}"), format!("{part}.exc")]);
    for (name, bytes) in names.zip(bytes.split(|byte| *byte == 0)) {
        fs::write(folder.path().join(name), bytes).expect("a temporary file");
    }
    let error = WordNet::open(folder.path()).err().expect("fewer entries than WordNet has");
    let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    assert!(format!("{error}: {source}").contains(&*folder.path().to_string_lossy()), "{error}: {source}");
}
