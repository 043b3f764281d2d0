//! A run of prepare on disk: its folder, its part of the ranges, the manifest's tables, the tokenizers, the recipe hashes.

pub mod folder;
mod lock;
pub mod part;
pub mod recipe_hash;
pub mod tables;
pub mod text_tools;

use rayon::{ThreadPool, ThreadPoolBuilder};

pub use folder::{RunFolder, full_quarantine};
pub use part::RangePart;
pub use recipe_hash::RecipeHashes;
pub use tables::{Ranges, Tables};
pub use text_tools::TextTools;

use crate::PrepareError;

/// A pool of its own, so that the work's threads are counted and named; 0 is one for each core.
///
/// # Errors
/// The system gives no threads.
pub fn thread_pool(count: usize) -> Result<ThreadPool, PrepareError> {
    let builder = ThreadPoolBuilder::new().num_threads(count).thread_name(|i| format!("prepare-{i}"));
    builder.build().map_err(|source| PrepareError::Threads { source: source.into() })
}
