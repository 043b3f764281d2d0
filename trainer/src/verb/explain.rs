//! How much each slice counts for a question: the scores of each question about a volume, with pictures of the slices (paper,
//! section 4.6, figure 4).

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use image::GrayImage;
use med2e3_input::slices::AxialSlices;
use med2e3_program::output::{claim, write_report};
use med2e3_program::{Stopwatch, note};
use med2e3_schemas::Id;
use med2e3_schemas::report::{ExplainReport, Explanation};
use med2e3_schemas::sample::{SampleRow, Task};
use med2e3_shards::codes::decode;
use med2e3_shards::{Dataset, Samples, Selection};
use med2e3_store::{FileError, put_whole};

use crate::TrainerError;
use crate::config::{ExplainConfig, MOST_SLICES, check_positive, check_threads};
use crate::files::csv::to_csv;
use crate::fit::expect;
use crate::generate::Decoding;
use crate::generate::answerer::Answerer;
use crate::verb::answers::{Shown, Way, answers};
use crate::verb::turns::Asked;

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
    };
    let turns = vec![1; samples.rows.len()];
    let (asked, mut found) = (Asked { samples, turns, not_asked: later as u64 }, Vec::new());
    answers(&answerer, &dataset, asked, way, |answer| {
        found.push(answer);
        Ok(())
    })?;
    found.sort_by(|a, b| (&a.volume_id, a.task, a.topic).cmp(&(&b.volume_id, b.task, b.topic)));
    let mut explanations = Vec::with_capacity(found.len());
    for answer in found {
        let picture = format!("{}.png", answer.volume_id);
        let shown = write_slices(&dataset, &answer.volume_id, config.slices, &out.join(&picture))?;
        let slices = dataset.voxels().shape_dhw[0] as u32;
        explanations.push(Explanation { answer, slices, shown, picture });
    }
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

/// Writes evenly spread slices as one picture and returns their numbers.
fn write_slices(dataset: &Dataset, volume: &str, count: usize, path: &Path) -> Result<Vec<u32>, TrainerError> {
    let format = dataset.voxels();
    let mut cell = vec![0; format.cell_bytes()];
    dataset.read_voxels(volume.parse()?, &mut cell)?;
    let grey: Vec<u8> = decode(&cell, format).into_iter().map(|value| (value * 255.0).round() as u8).collect();
    let slices = AxialSlices::new(&grey, format.shape_dhw).expect("a cell has the format's voxels");
    let shown: Vec<usize> = slices.evenly(count).collect();
    if !path.exists() {
        let montage = slices.montage(shown.iter().copied(), count);
        let [height, width] = montage.shape_hw.map(|n| n as u32);
        let picture = GrayImage::from_raw(width, height, montage.pixels).expect("a montage has height x width pixels");
        let written = picture.save(path);
        written.map_err(|e| FileError::of(path, "write")(std::io::Error::other(e)))?;
    }
    Ok(shown.into_iter().map(|slice| slice as u32).collect())
}

/// One line a question: its keys, then one score a slice.
fn scores_csv(explanations: &[Explanation]) -> Vec<u8> {
    let slices = explanations.first().map_or(0, |explanation| explanation.slices);
    let keys = ["sample_id", "volume_id", "task", "topic"].map(str::to_owned);
    let mut rows = vec![keys.into_iter().chain((0..slices).map(|slice| format!("slice_{slice}"))).collect::<Vec<_>>()];
    for Explanation { answer, .. } in explanations {
        let topic = answer.topic.map_or("", |topic| topic.as_str());
        let keys = [&answer.sample_id, &answer.volume_id, answer.task.as_str(), topic].map(str::to_owned);
        rows.push(keys.into_iter().chain(answer.scores.iter().map(f32::to_string)).collect());
    }
    to_csv(rows)
}
