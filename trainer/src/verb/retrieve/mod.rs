//! Retrieval: encode -> similarity -> ranks -> recalls, on one page (M3D's `Bench/eval/eval_itr.py`).
//!
//! # Layout
//! - `encode`: volumes and captions to features
//! - `search`: ranks of all items for each query

mod encode;
mod search;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use med2e3_metric::retrieval::{groups_by_text, recall_at};
use med2e3_program::Stopwatch;
use med2e3_program::output::{claim, write_report};
use med2e3_schemas::report::{Recalls, RetrievalScores, RetrieveReport};
use med2e3_schemas::sample::{SampleRow, Task};
use med2e3_shards::{Dataset, Selection};
use med2e3_store::put_whole;

use crate::TrainerError;
use crate::config::{RetrieveConfig, check_positive, check_threads};
use crate::files::csv::to_csv;
use crate::files::m3d_clip;
use crate::fit::{self, ClipKeys};
use crate::text_tokenizer::TextTokenizer;
use encode::{encode_captions, encode_volumes};
use search::{Ranked, search};

/// Encodes every volume and caption of the split, ranks each by the other, and writes `report.json` and `retrieval.csv` to
/// `out`.
///
/// # Errors
/// Weights, a tokenizer or a dataset that do not read or do not fit.
pub fn retrieve(config: &RetrieveConfig, out: &Path) -> Result<RetrieveReport, TrainerError> {
    let watch = Stopwatch::start();
    check_positive([("batch_size", config.batch_size)])?;
    check_threads([("threads", config.threads)])?;
    let dataset = Arc::new(Dataset::open(&config.dataset)?);
    let selection = Selection { split: config.split, tasks: vec![Task::Caption], subset: config.subset.clone() };
    let samples = dataset.select_rows(&selection)?;
    let device = config.device.open(config.threads)?;
    let clip = m3d_clip::open(&config.clip, device)?;
    let tokenizer = TextTokenizer::load(&config.text_tokenizer, config.max_text_tokens)?;
    let keys = ClipKeys { dataset: "dataset", sizes: "clip", tokenizer: "text_tokenizer", tokens: "max_text_tokens" };
    fit::check_clip(&keys, clip.config(), &tokenizer, &dataset)?;
    claim(out, "retrieve.toml", config)?;

    let images = encode_volumes(&clip, &dataset, &samples, config.batch_size, device)?;
    let (captions, truncated_texts) = encode_captions(&clip, &tokenizer, &samples, config.batch_size)?;
    let own: Vec<usize> = (0..samples.rows.len()).collect();
    let by_text = groups_by_text(samples.rows.iter().map(|row| row.answer.as_str()));
    let texts = search(&images, &captions, &own, &by_text);
    let volumes = search(&captions, &images, &own, &by_text);
    put_whole(&out.join("retrieval.csv"), &ranks_csv(&samples.rows, &texts, &volumes))?;
    let report = RetrieveReport {
        split: config.split,
        clip: config.clip.display().to_string(),
        pairs: samples.rows.len() as u64,
        distinct_texts: by_text.iter().collect::<BTreeSet<_>>().len() as u64,
        samples_without_volume: samples.without_volume,
        truncated_texts,
        by_index: RetrievalScores { image_to_text: recalls(&texts.own), text_to_image: recalls(&volumes.own) },
        by_text: RetrievalScores { image_to_text: recalls(&texts.by_text), text_to_image: recalls(&volumes.by_text) },
        seconds: watch.seconds(),
    };
    write_report(out, &report)?;
    Ok(report)
}

fn recalls(ranks: &[usize]) -> Recalls {
    let at = |k| recall_at(k, ranks).expect("a selection has samples");
    Recalls { at_1: at(1), at_5: at(5), at_10: at(10) }
}

/// One line a pair: its ids, the ranks of its caption and its volume, and what ranks first.
fn ranks_csv(rows: &[SampleRow], texts: &Ranked, volumes: &Ranked) -> Vec<u8> {
    let volume = |row: usize| rows[row].volume_ids[0].to_string();
    let header = [
        "sample_id",
        "volume_id",
        "text_rank",
        "volume_rank",
        "text_rank_by_text",
        "volume_rank_by_text",
        "first_text",
        "first_volume",
    ];
    let line = |i: usize| {
        let ranks = [texts.own[i], volumes.own[i], texts.by_text[i], volumes.by_text[i]];
        let [text_rank, volume_rank, text_rank_by_text, volume_rank_by_text] = ranks.map(|rank| rank.to_string());
        let (first_text, first_volume) = (rows[texts.first[i]].sample_id.to_string(), volume(volumes.first[i]));
        [
            rows[i].sample_id.to_string(),
            volume(i),
            text_rank,
            volume_rank,
            text_rank_by_text,
            volume_rank_by_text,
            first_text,
            first_volume,
        ]
    };
    to_csv(std::iter::once(header.map(str::to_owned)).chain((0..rows.len()).map(line)))
}
