//! Small files of published models that no number here depends on: what a tokenizer's users need besides it, how pictures are
//! prepared. They are kept as they are from import to export.

use std::path::{Path, PathBuf};

use med2e3_input::text::tokenizer::is_git_lfs_pointer;
use med2e3_store::read_regular;

use crate::model::Part;

/// Bytes of such a file at most; nothing is done with it but to copy it.
const MAX_CARRIED_BYTES: u64 = 1 << 26;

/// What may be next to a `tokenizer.json`.
pub(crate) const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
const OF_TOKENIZER: [&str; 5] =
    [TOKENIZER_CONFIG, "special_tokens_map.json", "added_tokens.json", "chat_template.jinja", "chat_template.json"];
/// What may be next to an encoder's weights.
const OF_ENCODER: [&str; 2] = ["preprocessor_config.json", "processor_config.json"];

/// One of them, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CarriedFile {
    /// Its path in a checkpoint's folder.
    pub path: String,
    /// Its contents.
    pub bytes: Vec<u8>,
}

impl CarriedFile {
    /// Those next to a `tokenizer.json`; none next to a file of another name, whose neighbours may be another model's.
    pub fn of_tokenizer(tokenizer: &Path) -> Vec<CarriedFile> {
        let is_usual = tokenizer.file_name().is_some_and(|name| name == super::layout::TOKENIZER);
        let names = OF_TOKENIZER.iter().filter(|_| is_usual);
        names.filter_map(|name| read(name.to_string(), &tokenizer.with_file_name(name))).collect()
    }

    /// Those of the encoders; `beside` finds a file of a part.
    pub fn of_encoders(beside: impl Fn(Part, &str) -> Option<PathBuf>) -> Vec<CarriedFile> {
        let pairs =
            [Part::Vision2dModel, Part::Vision3dModel].into_iter().flat_map(|part| OF_ENCODER.map(|name| (part, name)));
        pairs.filter_map(|(part, name)| read(format!("{part}/{name}"), &beside(part, name)?)).collect()
    }
}

/// A file of moderate size; no pipe, at which reading would wait.
fn read(path: String, file: &Path) -> Option<CarriedFile> {
    let bytes = read_regular(file, MAX_CARRIED_BYTES).ok()?;
    (!is_git_lfs_pointer(&bytes)).then_some(CarriedFile { path, bytes })
}
