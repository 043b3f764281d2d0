//! Retrieval: encode -> similarity -> ranks -> recalls, on one page (M3D's `Bench/eval/eval_itr.py`).

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use med2e3_feed::order::Order;
use med2e3_feed::shard::commit::write_whole;
use med2e3_feed::{Dataset, Feed, FeedCursor, FeedPlan, QuestionForm, Samples, Selection, TextForm};
use med2e3_schemas::report::{Recalls, RetrievalScores, RetrieveReport};
use med2e3_schemas::sample::{SampleRow, Task};
use tch::{Device, Tensor, no_grad};

use crate::TrainerError;
use crate::config::{RetrieveConfig, check_positive};
use crate::device::set_threads;
use crate::device_batch::voxels;
use crate::m3d_clip_files;
use crate::metric::retrieval::{best, groups_by_text, ranks, recall_at};
use crate::model::M3dClip;
use crate::output::{claim, write_report};
use crate::progress::{Progress, Stopwatch};
use crate::text_tokenizer::{TextTokenizer, padded};

/// Queries compared with all items at once: a block of similarities, never the whole matrix, is in memory.
const BLOCK: usize = 256;

/// Encodes every volume and caption of the split, ranks each by the other, and writes `report.json` and `retrieval.csv` to
/// `out`.
///
/// # Errors
/// Weights, a tokenizer or a dataset that do not read or do not fit.
pub fn retrieve(config: &RetrieveConfig, out: &Path) -> Result<RetrieveReport, TrainerError> {
    let watch = Stopwatch::start();
    check_positive([("batch_size", config.batch_size)])?;
    if config.threads > 0 {
        set_threads(config.threads);
    }
    let dataset = Arc::new(Dataset::open(&config.dataset)?);
    let selection = Selection { split: config.split, tasks: vec![Task::Caption], subset: config.subset.clone() };
    let samples = Arc::new(dataset.select(&selection)?);
    let device = config.device.open()?;
    let clip = m3d_clip_files::open(&config.clip, device)?;
    let tokenizer = TextTokenizer::load(&config.text_tokenizer, config.max_text_tokens)?;
    check_fit(config, &clip, &tokenizer, &dataset)?;
    claim(out, "retrieve.toml", config)?;

    let images = encode_volumes(&clip, &dataset, &samples, config.batch_size, device)?;
    let (captions, truncated_texts) = encode_captions(&clip, &tokenizer, &samples, config.batch_size)?;
    let own: Vec<usize> = (0..samples.rows.len()).collect();
    let by_text = groups_by_text(samples.rows.iter().map(|row| row.answer.as_str()));
    let texts = search(&images, &captions, &own, &by_text);
    let volumes = search(&captions, &images, &own, &by_text);
    write_whole(&out.join("retrieval.csv"), csv(&samples.rows, &texts, &volumes).as_bytes())?;
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

/// Whether weights, tokenizer and dataset belong together.
fn check_fit(
    config: &RetrieveConfig,
    clip: &M3dClip,
    tokenizer: &TextTokenizer,
    dataset: &Dataset,
) -> Result<(), TrainerError> {
    let check = |key: &str, fits: bool, expected: String, found: String| match fits {
        true => Ok(()),
        false => Err(TrainerError::Config { key: key.into(), expected, found }),
    };
    let format = dataset.voxels();
    let unit = "voxels in 0..1".into();
    check("dataset", format.is_unit_range(), unit, "Hounsfield units; prepare it with an intensity window".into())?;
    let (shape, sizes) = (format.shape_dhw.map(|n| n as i64), clip.config().vision.img_size);
    check("clip", sizes == shape, format!("volumes of {shape:?}, as the dataset's"), format!("{sizes:?}"))?;
    let text = &clip.config().text;
    let (entries, vocabulary) = (tokenizer.vocab_size() as i64, text.vocab_size);
    let expected = format!("at most {vocabulary} tokens, as the weights have");
    check("text_tokenizer", entries <= vocabulary, expected, entries.to_string())?;
    let (most, positions) = (config.max_text_tokens, text.max_position_embeddings);
    let expected = format!("at most {positions}, the weights' positions");
    check("max_text_tokens", most as i64 <= positions, expected, most.to_string())
}

/// One side of all pairs. Captions of the same ids are encoded once: as rows of different batches their features would
/// differ in the last bits, and ties between them would be broken by chance.
struct Features {
    /// (distinct, E).
    distinct: Tensor,
    /// For each pair, in the order of the selection, its row of `distinct`.
    of: Vec<i64>,
}

fn encode_volumes(
    clip: &M3dClip,
    dataset: &Arc<Dataset>,
    samples: &Arc<Samples>,
    batch_size: usize,
    device: Device,
) -> Result<Features, TrainerError> {
    let plan = FeedPlan {
        order: Order::ById,
        form: TextForm::Conversation,
        question: QuestionForm::Llm,
        batch_size,
        epochs: 1,
        start: FeedCursor::default(),
        readers: 1,
        depth: 2,
        pad: 0,
    };
    let mut feed = Feed::start(dataset.clone(), samples.clone(), plan);
    let mut progress = Progress::new(samples.rows.len() as u64, 0, "volumes");
    let mut features = Vec::new();
    while let Some(batch) = feed.next_batch() {
        let batch = batch?;
        if let Some(row) = batch.volume_counts.iter().position(|count| *count != 1) {
            return Err(TrainerError::Config {
                key: "dataset".into(),
                expected: "captions of one volume each".into(),
                found: format!(
                    "{} in {}",
                    batch.volume_counts[row], samples.rows[batch.samples[row] as usize].sample_id
                ),
            });
        }
        let voxels_bcdhw = voxels(&batch.voxels, batch.rows() as i64, dataset.voxels(), device);
        features.push(no_grad(|| clip.encode_image(&voxels_bcdhw))?);
        progress.step(batch.rows() as u64, String::new());
        feed.recycle(batch);
    }
    progress.finish();
    Ok(Features { distinct: Tensor::cat(&features, 0), of: (0..samples.rows.len() as i64).collect() })
}

/// The captions' features, and how many captions were cut.
fn encode_captions(
    clip: &M3dClip,
    tokenizer: &TextTokenizer,
    samples: &Samples,
    batch_size: usize,
) -> Result<(Features, u64), TrainerError> {
    let (mut rows, mut known, mut truncated): (Vec<Vec<i64>>, HashMap<Vec<i64>, i64>, u64) = Default::default();
    let mut of = Vec::with_capacity(samples.rows.len());
    for sample in &samples.rows {
        let (ids, cut) = tokenizer.encode(&sample.answer)?;
        truncated += u64::from(cut);
        let row = *known.entry(ids.clone()).or_insert(rows.len() as i64);
        if row == rows.len() as i64 {
            rows.push(ids);
        }
        of.push(row);
    }
    let mut progress = Progress::new(rows.len() as u64, 0, "captions");
    let mut features = Vec::new();
    for batch in rows.chunks(batch_size) {
        let (ids_bt, mask_bt) = padded(batch);
        features.push(no_grad(|| clip.encode_text(&ids_bt, &mask_bt))?);
        progress.step(batch.len() as u64, String::new());
    }
    progress.finish();
    Ok((Features { distinct: Tensor::cat(&features, 0), of }, truncated))
}

/// Where each query's right item stands, and which item stands first.
struct Found {
    own: Vec<usize>,
    by_text: Vec<usize>,
    first: Vec<usize>,
}

/// Ranks all items for each query by the cosine of their features. The logit scale would change no order.
fn search(queries: &Features, items: &Features, own: &[usize], by_text: &[usize]) -> Found {
    let device = items.distinct.device();
    let rows = |of: &[i64]| Tensor::from_slice(of).to_device(device);
    let (items_ed, columns) = (items.distinct.transpose(0, 1), rows(&items.of));
    let mut found = Found { own: Vec::new(), by_text: Vec::new(), first: Vec::new() };
    for (number, block) in queries.of.chunks(BLOCK).enumerate() {
        let block_be = queries.distinct.index_select(0, &rows(block));
        // Equal items get equal scores, bit for bit, since each was compared once.
        let scores_bn = block_be.matmul(&items_ed).index_select(1, &columns);
        let scores = scores_bn.to_device(Device::Cpu).flatten(0, -1);
        let scores = Vec::<f32>::try_from(scores).expect("a flat f32 tensor on the CPU");
        let first_query = number * BLOCK;
        found.own.extend(ranks(&scores, first_query, own));
        found.by_text.extend(ranks(&scores, first_query, by_text));
        found.first.extend(best(&scores, own.len()));
    }
    found
}

fn recalls(ranks: &[usize]) -> Recalls {
    let at = |k| recall_at(k, ranks).expect("a selection has samples");
    Recalls { at_1: at(1), at_5: at(5), at_10: at(10) }
}

/// One line a pair: its ids, the ranks of its caption and its volume, and what stands first instead.
fn csv(rows: &[SampleRow], texts: &Found, volumes: &Found) -> String {
    let volume = |row: usize| rows[row].volume_ids[0];
    let mut text = String::from(
        "sample_id,volume_id,text_rank,volume_rank,text_rank_by_text,volume_rank_by_text,first_text,first_volume\n",
    );
    for (i, row) in rows.iter().enumerate() {
        let ranks = [texts.own[i], volumes.own[i], texts.by_text[i], volumes.by_text[i]];
        let [text_rank, volume_rank, text_rank_by_text, volume_rank_by_text] = ranks;
        let (first_text, first_volume) = (rows[texts.first[i]].sample_id, volume(volumes.first[i]));
        writeln!(
            text,
            "{},{},{text_rank},{volume_rank},{text_rank_by_text},{volume_rank_by_text},{first_text},{first_volume}",
            row.sample_id,
            volume(i)
        )
        .expect("a string takes any text");
    }
    text
}
