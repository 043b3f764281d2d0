//! See `manifest_rows::manifest`. Prepare as a whole would bring DataFusion, so its manifest readers are compiled here
//! from their own files; what they use of the rest is small.
#![no_main]
#![allow(dead_code)]

#[path = "../../pipeline/prepare/src/config.rs"]
mod config;
#[path = "../../pipeline/prepare/src/error.rs"]
mod error;
#[path = "../../pipeline/prepare/src/manifest/mod.rs"]
mod manifest;
#[path = "../src/manifest_rows.rs"]
mod manifest_rows;
#[path = "../../pipeline/prepare/src/provenance.rs"]
mod provenance;
#[path = "../../pipeline/prepare/src/work/stamp.rs"]
mod stamp;

mod tables {
    use std::path::Path;

    pub(crate) fn nearest_existing(path: &Path) -> &Path {
        path.ancestors().find(|path| path.exists()).unwrap_or(path)
    }
}

mod work {
    pub use crate::stamp::{CheckInputs, Stamp};
}

use crate as prepare;
use error::PrepareError;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| manifest_rows::manifest(bytes));
