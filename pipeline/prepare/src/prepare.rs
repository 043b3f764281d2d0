//! FLOW 1: manifest -> ranges -> rows -> commit, on one page.
//!
//! Every manifest row ends as a row of a shard, as a quarantine record with its reason, or as a duplicate; the counts add
//! up or the run fails. Shards appear whole, the index last: a run that was killed starts again and finds the shards
//! that are finished.

mod card;
mod report;
mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use med2e3_program::{Stopwatch, WorkPart};
use med2e3_schemas::SCHEMA_VERSION;
use med2e3_schemas::index::DatasetIndex;
use med2e3_schemas::inputs::Inputs;
use med2e3_schemas::quarantine::{QuarantineRecord, Table};
use med2e3_schemas::report::PrepareReport;
use med2e3_shards::index::other_files;
use med2e3_shards::{Places, Texts, write_index};

use crate::PrepareError;
use crate::config::PrepareConfig;
use crate::manifest::Listing;
use crate::run::text_tools::{self, TextTools};
use crate::run::{RecipeHashes, RunFolder, Tables, check_threads, full_quarantine, thread_pool};

/// What a run made, for the person who started it.
pub struct Prepared {
    /// The counts, as in the dataset.
    pub report: PrepareReport,
    /// What became of the files of listed folders.
    pub listing: Listing,
    /// The first inputs that were set aside, with their names; none for a part of the ranges.
    pub first_rejects: Vec<QuarantineRecord>,
    /// The file that has all of them.
    pub quarantine: PathBuf,
    /// Entries of the tokenizer, where it was trained on the texts.
    pub trained_entries: Option<usize>,
}

/// Prepares the dataset that `config` describes into `out`; or, as one process of several, a part of its ranges, after
/// which a run without a part writes the index. Blocks threads of its own, not the runtime's.
///
/// # Errors
/// A run that can't go on; single bad inputs are counted in the report instead. A run that fails before anything is finished
/// leaves no folder behind.
pub async fn prepare(config: &PrepareConfig, out: &Path, part: WorkPart) -> Result<Prepared, PrepareError> {
    let watch = Stopwatch::start();
    // Everything that the whole run needs is looked for first, so that a wrong path costs nothing.
    config.check()?;
    check_threads(config.engine.threads)?;
    let mut folder = RunFolder::claim(out, config, part)?;
    match ranges_to_shards(config, &mut folder, part, &watch).await {
        Ok(prepared) => Ok(prepared),
        Err(error) => Err(folder.after(error)),
    }
}

async fn ranges_to_shards(
    config: &PrepareConfig,
    folder: &mut RunFolder,
    part: WorkPart,
    watch: &Stopwatch,
) -> Result<Prepared, PrepareError> {
    // The two tables, cut into ranges, where DataFusion's scan finds them.
    let tables = Tables::provide(config, folder)?;
    report::refuse_nothing(config, &tables)?;
    let out = folder.dataset.clone();
    let tools = if tables.texts.rows > 0 { Some(TextTools::stored(&config.text, &out)?) } else { None };
    if part != WorkPart::WHOLE {
        folder.share()?;
    }

    // Each table: what is finished already, then scan -> PrepareExec -> one shard a range.
    let hashes = RecipeHashes::of(config, folder, tools.as_ref())?;
    let threads = Arc::new(thread_pool(config.engine.threads)?);
    let spec = |table| folder.work_spec(table, config, hashes.of_table(table));
    let volumes = table::run(folder, &spec(Table::Volumes), &tables.volumes, &threads, part).await?;
    let texts = table::run(folder, &spec(Table::Texts), &tables.texts, &threads, part).await?;

    // The report, what was set aside, the places of the volumes, the texts' ids, the card, and the index last.
    let report = report::of(&volumes, &texts, &tables, watch.seconds());
    let quarantine = full_quarantine(config.provenance.paths, &out);
    let trained_entries = tools.as_ref().and_then(|tools| tools.trained_entries(&config.text));
    let listing = tables.listing;
    let mut prepared = Prepared { report, listing, first_rejects: Vec::new(), quarantine, trained_entries };
    if part != WorkPart::WHOLE {
        return Ok(prepared);
    }
    prepared.first_rejects = report::write(folder, &prepared.report, &volumes, &texts)?;
    report::check(&prepared, config)?;
    let mut index = DatasetIndex {
        schema_version: SCHEMA_VERSION,
        recipe: config.volume.recipe.as_str().into(),
        recipe_hash: hashes.joined(),
        voxels: config.volume.format(),
        inputs: Some(Inputs {
            volume: config.volume.inputs(),
            text: tools.as_ref().map(|tools| tools.inputs(&config.text)).transpose()?,
        }),
        visual_tokens: config.text.visual_tokens as u32,
        end_token: tools.as_ref().and_then(|tools| text_tools::end_token(&tools.tokenizer)),
        tokenizer: tools.map(|_| text_tools::FILE.into()),
        volumes: volumes.shards(),
        samples: texts.shards(),
        files: BTreeMap::new(),
        counts: texts.counts(),
        xxh3: String::new(),
    };
    Places::provide(&out, &index)?;
    Texts::provide(&out, &index)?;
    card::write(&out, &index)?;
    index.files = other_files(&out)?;
    folder.remove_all_but(&index)?;
    write_index(&out, &index)?;
    Ok(prepared)
}
