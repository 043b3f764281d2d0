//! The output folder: whose run it is, what belongs in it, and what its recipe is.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use med2e3_feed::shard::commit::write_whole;
use med2e3_input::text::Tokenizer;
use med2e3_schemas::Id;
use med2e3_schemas::index::DatasetIndex;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::PrepareError;
use crate::config::PrepareConfig;

/// Rises when the bytes of a shard change for the same recipe and inputs, so that old shards are made again.
const RECIPE_REVISION: u64 = 1;

/// Makes the folder this run's: new, or the same configuration's from before, which is then resumed.
///
/// # Errors
/// A folder that holds another run or something else.
pub fn claim(out: &Path, config: &str) -> Result<(), PrepareError> {
    let path = out.join("prepare.toml");
    let occupied = fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some());
    if occupied {
        let problem = match fs::read_to_string(&path) {
            Ok(text) if text == config => None,
            Ok(_) => Some("holds a dataset of another configuration"),
            Err(_) => Some("is not empty and holds no dataset"),
        };
        if let Some(problem) = problem {
            return Err(PrepareError::Output {
                path: out.to_owned(),
                problem: problem.into(),
                hint: "give another --out, or remove the folder".into(),
            });
        }
    }
    for folder in ["volumes", "samples", "subsets", "manifest"] {
        let folder = out.join(folder);
        fs::create_dir_all(&folder).map_err(PrepareError::io(&folder, "create"))?;
    }
    Ok(write_whole(&path, config.as_bytes())?)
}

/// Everything in the configuration that changes a shard's bytes, as a hash.
pub fn recipe_hash(config: &PrepareConfig, tokenizer: &Tokenizer) -> String {
    let probe = "The quick brown fox: 32x256x256, \u{b5}m \u{2265} 10 mm. <|endoftext|>";
    let parts = [
        RECIPE_REVISION.to_string(),
        format!("{:?}", config.volume),
        format!(
            "{:?} {} {}",
            config.text.template, config.text.length, config.text.visual_tokens
        ),
        format!("{} {}", config.engine.volumes_per_range, config.engine.texts_per_range),
        format!("{} {:?}", tokenizer.vocab_size(), tokenizer.encode(probe).ok()),
    ];
    Id::of_parts(parts.iter().map(String::as_bytes)).to_string()
}

/// A pool of its own, so that the work's threads are counted and named; 0 is one for each core.
///
/// # Errors
/// The system gives no threads.
pub fn threads(count: usize) -> Result<ThreadPool, PrepareError> {
    let builder = ThreadPoolBuilder::new()
        .num_threads(count)
        .thread_name(|i| format!("prepare-{i}"));
    builder.build().map_err(|e| PrepareError::Engine(Box::new(e)))
}

/// Removes shards and temporary files that the index does not name: left by a killed run, or by a larger manifest.
///
/// # Errors
/// The system refuses to list or remove.
pub fn remove_other_shards(out: &Path, index: &DatasetIndex) -> Result<(), PrepareError> {
    let named: HashSet<_> = index
        .volumes
        .iter()
        .chain(&index.samples)
        .map(|shard| out.join(&shard.path))
        .collect();
    for folder in ["volumes", "samples"] {
        let folder = out.join(folder);
        let entries = fs::read_dir(&folder).map_err(PrepareError::io(&folder, "list"))?;
        for path in entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| !named.contains(path))
        {
            fs::remove_file(&path).map_err(PrepareError::io(&path, "remove"))?;
        }
    }
    Ok(())
}
