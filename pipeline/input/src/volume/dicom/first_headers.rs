//! The headers of a file by its first bytes alone, for whoever asks no more of it.

use std::io::Read;
use std::path::Path;

use super::file::File;
use super::header::Header;
use crate::reading;

/// Bytes of a file in which its headers are looked for where no more is asked of it.
const HEADER_BYTES: u64 = 1 << 17;

/// The headers in the first bytes of a file that is longer, where its pixel data starts among them; `None` else: then the whole
/// file is looked at.
pub(super) fn first_headers(path: &Path) -> Option<Vec<Header>> {
    let file = reading::File::open(path).ok()?;
    if file.metadata().ok()?.len() <= HEADER_BYTES {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(HEADER_BYTES).read_to_end(&mut bytes).ok()?;
    let file = File::parse(bytes, HEADER_BYTES).ok()?;
    file.pixel_data().ok()??;
    Header::all_of(&file).ok()
}
