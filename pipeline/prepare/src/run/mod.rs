//! A run of prepare on disk: its folder, its part of the ranges, the manifest's tables, the tokenizers, the recipe hashes.

pub mod folder;
mod lock;
pub mod recipe_hash;
pub mod tables;
pub mod text_tools;

use med2e3_program::machine::{cores, most_threads, require_threads};
use rayon::{ThreadPool, ThreadPoolBuilder};

pub use folder::{Difference, RunFolder, configuration_of, differences, full_quarantine};
pub use recipe_hash::RecipeHashes;
pub use tables::{Cut, Ranges, Tables};
pub use text_tools::TextTools;

use crate::PrepareError;

/// Fails where a run asks for more threads than a machine can use.
///
/// # Errors
/// [`PrepareError::Config`] that names the key.
pub fn check_threads(count: usize) -> Result<(), PrepareError> {
    let most = most_threads();
    if count <= most {
        return Ok(());
    }
    let expected = format!("0 to {most} on this machine");
    Err(PrepareError::Config { key: "engine.threads".into(), expected, found: count.to_string() })
}

/// A pool of its own, so that the work's threads are counted and named; 0 is one for each core.
///
/// # Errors
/// The system gives no threads.
pub fn thread_pool(count: usize) -> Result<ThreadPool, PrepareError> {
    let workers = if count == 0 { cores() } else { count };
    // The pool's, and as many that wait for it: one a range that is being made.
    require_threads(2 * workers + 1)?;
    let builder = ThreadPoolBuilder::new().num_threads(count).thread_name(|i| format!("prepare-{i}"));
    builder.build().map_err(|source| PrepareError::Threads { source: source.into() })
}
