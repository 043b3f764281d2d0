//! What is tried on arbitrary bytes: one function a target, which the replay tests of the crates call too.
//!
//! Prepare as a whole would bring DataFusion, so its manifest readers are compiled here from their own files; what they
//! use of the rest is small. So are the trainer's readers of weights and of predictions, which need nothing of libtorch.

#[path = "../../pipeline/prepare/src/config.rs"]
pub mod config;
pub mod dataset;
#[path = "../../pipeline/prepare/src/error.rs"]
pub mod error;
#[path = "../../pipeline/prepare/src/manifest/mod.rs"]
pub mod manifest;
pub mod manifest_rows;
pub mod prediction_files;
#[path = "../../trainer/src/predictions/mod.rs"]
pub mod predictions;
#[path = "../../pipeline/prepare/src/provenance.rs"]
pub mod provenance;
pub mod scored_texts;
pub mod scrub_rules;
pub mod shard;
#[path = "../../trainer/src/files/weights_file/stored/mod.rs"]
pub mod stored;
pub mod streams;
pub mod tokenizer_file;
pub mod torch_weights;
pub mod tree;
pub mod volumes;
pub mod wordnet_folder;
#[path = "../../trainer/src/words.rs"]
pub mod words;

use crate as prepare;
pub use error::PrepareError;
