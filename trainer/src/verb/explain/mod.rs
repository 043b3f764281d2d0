//! How much each slice counts for a question: the scores of each question about a volume, with pictures of the slices (paper,
//! section 4.6, figure 4).
//!
//! - `pictures`: a volume's slices as pictures; `table`: `scores.csv`

mod pictures;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use med2e3_program::output::{claim, write_report};
use med2e3_program::{Stopwatch, note};
use med2e3_schemas::Id;
use med2e3_schemas::evaluation::Answer;
use med2e3_schemas::report::{ExplainReport, Explanation};
use med2e3_schemas::sample::{SampleRow, Task};
use med2e3_shards::{Dataset, Samples, Selection};
use med2e3_store::put_whole;

use crate::TrainerError;
use crate::config::{ExplainConfig, MOST_SLICES, check_positive, check_threads};
use crate::fit::expect;
use crate::generate::Decoding;
use crate::generate::answerer::Answerer;
use crate::verb::answers::{Shown, Way, answers};
use crate::verb::turns::Asked;
use pictures::write_pictures;
use table::scores_csv;

/// Prompts answered together.
const BATCH: usize = 8;

/// Asks every question about the first volumes of the split, and writes scores, slices and `report.json` to `out`.
///
/// # Errors
/// A checkpoint or dataset that does not read or does not fit.
pub fn explain(config: &ExplainConfig, out: &Path) -> Result<ExplainReport, TrainerError> {
    let watch = Stopwatch::start();
    check_positive([
        ("volumes", config.volumes),
        ("slices", config.slices),
        ("max_new_tokens", config.max_new_tokens),
    ])?;
    expect("slices", config.slices <= MOST_SLICES, format!("at most {MOST_SLICES}"), config.slices.to_string())?;
    check_threads([("threads", config.threads)])?;
    let dataset = Arc::new(Dataset::open(&config.dataset)?);
    let answerer = Answerer::open(&config.checkpoint, config.device, config.threads)?;
    answerer.check_fit(&dataset, config.other_inputs)?;
    expect(
        "checkpoint",
        answerer.scores_slices(),
        "a variant that scores slices".into(),
        "one whose language model gets 3D tokens alone".into(),
    )?;
    let selection = Selection { split: config.split, tasks: Task::ALL.to_vec(), subset: None };
    let samples = first_volumes(dataset.select(&selection)?, config.volumes);
    let later: usize = samples.rows.iter().map(|row| row.target_spans.len().saturating_sub(1)).sum();
    if later > 0 {
        note(format_args!("note: only the first turn of a conversation is asked, not {later} later ones"));
    }
    claim(out, "explain.toml", config)?;

    let way = Way {
        batch_size: BATCH,
        decoding: Decoding::Greedy,
        max_new_tokens: config.max_new_tokens,
        seed: 0,
        meteor: None,
        shown: Shown::Voxels,
        scores: None,
    };
    let turns = vec![1; samples.rows.len()];
    let (asked, mut found) = (Asked { samples, turns, not_asked: later as u64 }, Vec::new());
    answers(&answerer, &dataset, asked, way, |answer, _| {
        found.push(answer);
        Ok(())
    })?;
    found.sort_by(|a, b| (&a.volume_id, a.task, a.topic).cmp(&(&b.volume_id, b.task, b.topic)));
    let mut pictures = BTreeMap::new();
    for volume in found.iter().map(|answer| &answer.volume_id) {
        if !pictures.contains_key(volume) {
            pictures.insert(volume.clone(), write_pictures(&dataset, volume, config.slices, out)?);
        }
    }
    let slices = dataset.voxels().shape_dhw[0] as u32;
    let explained = |answer: Answer| {
        let of = &pictures[&answer.volume_id];
        let (shown, picture, sheet) = (of.shown.clone(), of.picture.clone(), Some(of.sheet.clone()));
        Explanation { answer, slices, shown, picture, sheet }
    };
    let explanations: Vec<Explanation> = found.into_iter().map(explained).collect();
    put_whole(&out.join("scores.csv"), &scores_csv(&explanations))?;
    let report =
        ExplainReport { checkpoint: config.checkpoint.display().to_string(), explanations, seconds: watch.seconds() };
    write_report(out, &report)?;
    Ok(report)
}

/// The samples about the first `count` volumes by id.
fn first_volumes(samples: Samples, count: usize) -> Samples {
    let volume = |row: &SampleRow| row.volume_ids.first().copied();
    let volumes: BTreeSet<Id> = samples.rows.iter().filter_map(volume).collect();
    let chosen: BTreeSet<Id> = volumes.into_iter().take(count).collect();
    let rows = samples.rows.into_iter().filter(|row| volume(row).is_some_and(|id| chosen.contains(&id))).collect();
    Samples { rows, ..samples }
}
