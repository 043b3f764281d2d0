//! Retrieval: encode -> similarity -> ranks -> recalls, on one page (M3D's `Bench/eval/eval_itr.py`).

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use med2e3_feed::order::Order;
use med2e3_feed::shard::commit::write_whole;
use med2e3_feed::{Dataset, Feed, FeedCursor, FeedPlan, Samples, Selection, TextForm};
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
use crate::text_tokenizer::TextTokenizer;

/// Queries compared with all items at once: a block of similarities, never the whole matrix, is in memory.
const BLOCK: i64 = 256;

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

    let features = encode(&clip, &tokenizer, &dataset, &samples, config.batch_size, device)?;
    let own: Vec<usize> = (0..samples.rows.len()).collect();
    let by_text = groups_by_text(samples.rows.iter().map(|row| row.answer.as_str()));
    let texts = search(&features.image_ne, &features.text_ne, &own, &by_text);
    let volumes = search(&features.text_ne, &features.image_ne, &own, &by_text);
    write_whole(&out.join("retrieval.csv"), csv(&samples.rows, &texts, &volumes).as_bytes())?;
    let report = RetrieveReport {
        split: config.split,
        clip: config.clip.display().to_string(),
        pairs: samples.rows.len() as u64,
        distinct_texts: by_text.iter().collect::<BTreeSet<_>>().len() as u64,
        samples_without_volume: samples.without_volume,
        truncated_texts: features.truncated_texts,
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

/// Features of all pairs, in the order of the selection.
struct Features {
    image_ne: Tensor,
    text_ne: Tensor,
    truncated_texts: u64,
}

fn encode(
    clip: &M3dClip,
    tokenizer: &TextTokenizer,
    dataset: &Arc<Dataset>,
    samples: &Arc<Samples>,
    batch_size: usize,
    device: Device,
) -> Result<Features, TrainerError> {
    let plan = FeedPlan {
        order: Order::ById,
        form: TextForm::Conversation,
        batch_size,
        epochs: 1,
        start: FeedCursor::default(),
        readers: 1,
        depth: 2,
        pad: 0,
    };
    let mut feed = Feed::start(dataset.clone(), samples.clone(), plan);
    let mut progress = Progress::new(samples.rows.len() as u64, 0, "pairs");
    let (mut image_be, mut text_be, mut truncated_texts) = (Vec::new(), Vec::new(), 0);
    while let Some(batch) = feed.next_batch() {
        let batch = batch?;
        let voxels_bcdhw = voxels(&batch.voxels, batch.rows() as i64, dataset.voxels(), device);
        let captions = batch.samples.iter().map(|&position| samples.rows[position as usize].answer.as_str());
        let texts = tokenizer.batch(captions)?;
        truncated_texts += texts.truncated;
        image_be.push(no_grad(|| clip.encode_image(&voxels_bcdhw))?);
        text_be.push(no_grad(|| clip.encode_text(&texts.ids_bt, &texts.mask_bt))?);
        progress.step(batch.rows() as u64, String::new());
        feed.recycle(batch);
    }
    progress.finish();
    Ok(Features { image_ne: Tensor::cat(&image_be, 0), text_ne: Tensor::cat(&text_be, 0), truncated_texts })
}

/// Where each query's right item stands, and which item stands first.
struct Found {
    own: Vec<usize>,
    by_text: Vec<usize>,
    first: Vec<usize>,
}

/// Ranks all items for each query by the cosine of their features. The logit scale would change no order.
fn search(queries_ne: &Tensor, items_ne: &Tensor, own: &[usize], by_text: &[usize]) -> Found {
    let mut found = Found { own: Vec::new(), by_text: Vec::new(), first: Vec::new() };
    for (number, block_be) in queries_ne.split(BLOCK, 0).iter().enumerate() {
        let scores = block_be.matmul(&items_ne.transpose(0, 1)).to_device(Device::Cpu).flatten(0, -1);
        let scores = Vec::<f32>::try_from(scores).expect("a flat f32 tensor on the CPU");
        let first_query = number * BLOCK as usize;
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
