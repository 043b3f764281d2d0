//! How much each slice counts for a question: the scores of each question about a volume, with pictures of the slices (paper,
//! section 4.6, figure 4), what becomes of the expected answer without them, and where the answer's tokens look.
//!
//! - `chosen`: which questions; `measure`: how scores are spread; `deletion`: whether they matter; `attention`: maps of 3D tokens
//! - `pictures`: a volume's slices as pictures; `table`: `scores.csv`; `drawing`: one question about one volume on disk

mod attention;
mod chosen;
mod deletion;
mod drawing;
mod measure;
pub(in crate::verb) mod pictures;
mod table;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use med2e3_input::slices::AxialSlices;
use med2e3_metric::cases::Bootstrap;
use med2e3_program::output::{claim, write_report};
use med2e3_program::{Progress, Stopwatch, note, visible};
use med2e3_schemas::evaluation::Answer;
use med2e3_schemas::report::{ExplainReport, Explanation};
use med2e3_schemas::sample::SampleRow;
use med2e3_shards::Dataset;
use med2e3_shards::codes::decode;
use med2e3_store::{FileError, put_whole};

use crate::TrainerError;
use crate::config::{AttentionLayer, ExplainConfig, MOST_SLICES, Place, check_positive, check_threads};
use crate::device_batch::voxels;
use crate::fit::expect;
use crate::generate::Decoding;
use crate::generate::answerer::Answerer;
use crate::verb::answers::{Shown, Way, answers};
use crate::verb::ask::{Located, Question, ask};
use crate::verb::turns::Asked;
use attention::Looked;
use chosen::chosen;
use deletion::Draws;
use drawing::Drawn;
use measure::measured;
use pictures::{grey, write_pictures};
use table::scores_csv;

/// Prompts answered together.
const BATCH: usize = 8;

/// Asks the chosen questions, and writes scores, slices and `report.json` to `out`.
///
/// # Errors
/// A checkpoint or dataset that does not read or does not fit; questions that are not there.
pub fn explain(config: &ExplainConfig, out: &Path) -> Result<ExplainReport, TrainerError> {
    let watch = Stopwatch::start();
    check_positive([("slices", config.slices), ("max_new_tokens", config.max_new_tokens)])?;
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
    let layer = config.attention.map(|layer| block(layer, &answerer)).transpose()?;
    let samples = chosen(&dataset, config)?;
    let later: usize = samples.rows.iter().map(|row| row.target_spans.len().saturating_sub(1)).sum();
    if later > 0 {
        note(format_args!("note: only the first turn of a conversation is asked, not {later} later ones"));
    }
    claim(out, "explain.toml", config)?;

    let way = Way {
        batch_size: BATCH,
        decoding: Decoding::Greedy,
        max_new_tokens: config.max_new_tokens,
        seed: config.seed,
        meteor: None,
        shown: Shown::Voxels,
        scores: None,
    };
    let rows: HashMap<String, SampleRow> =
        samples.rows.iter().map(|row| (row.sample_id.to_string(), row.clone())).collect();
    let turns = vec![1; samples.rows.len()];
    let (asked, mut found) = (Asked { samples, turns, not_asked: later as u64 }, Vec::new());
    answers(&answerer, &dataset, asked, way, |answer, ids| {
        found.push((answer, ids.to_vec()));
        Ok(())
    })?;
    found.sort_by(|(a, _), (b, _)| (&a.volume_id, a.task, a.topic).cmp(&(&b.volume_id, b.task, b.topic)));
    let explainer = Explainer { answerer: &answerer, dataset: &dataset, config, layer, out };
    let progress = Progress::new(found.len() as u64, 0, "questions");
    let mut explanations = Vec::with_capacity(found.len());
    for about_volume in found.chunk_by(|(a, _), (b, _)| a.volume_id == b.volume_id) {
        explanations.extend(explainer.of_volume(about_volume, &rows)?);
        progress.add(about_volume.len() as u64);
    }
    progress.finish();
    put_whole(&out.join("scores.csv"), &scores_csv(&explanations))?;
    let of_cases = explanations.iter().filter_map(|one| Some((one.answer.case_id.as_str(), one.deletion.as_ref()?)));
    let deletion = deletion::over_all(of_cases, Bootstrap { seed: config.seed, threads: config.threads });
    let checkpoint = config.checkpoint.display().to_string();
    let report = ExplainReport { checkpoint, explanations, deletion, seconds: watch.seconds() };
    write_report(out, &report)?;
    Ok(report)
}

/// Answers one question about one volume on disk, and draws its slices with how much each counts.
///
/// # Errors
/// As [`ask`]; a checkpoint that scores no slices; a picture that can't be written, or that is to be no SVG.
pub fn explain_file(question: &Question<'_>, picture: &Path) -> Result<Located, TrainerError> {
    let ending = picture.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    let found = ending.clone().unwrap_or_else(|| "none".into());
    expect("--picture", ending.as_deref() == Some("svg"), "a name that ends in .svg".into(), found)?;
    let located = ask(question)?;
    let focus = measured(&located.reply.scores);
    let focus = focus.ok_or_else(|| TrainerError::Config {
        key: "--checkpoint".into(),
        expected: "a variant that scores slices".into(),
        found: "one whose language model gets 3D tokens alone".into(),
    })?;
    let grey = grey(&located.seen.values);
    let drawn = Drawn {
        question: question.text,
        answer: &located.reply.answer,
        focus: &focus,
        slices: AxialSlices::new(&grey, located.seen.shape_dhw).expect("a prepared volume has its shape"),
        places: &located.slices,
        mm_towards: located.mm_towards,
    };
    let svg = drawing::svg(&drawn).map_err(|error| FileError::of(picture, "write")(std::io::Error::other(error)))?;
    put_whole(picture, visible::lines(&svg).as_bytes())?;
    Ok(located)
}

/// The number of a block of the language model.
fn block(layer: AttentionLayer, answerer: &Answerer) -> Result<usize, TrainerError> {
    let config = answerer.model().config();
    let blocks = config.llm.num_hidden_layers as usize;
    let number = match layer {
        AttentionLayer::Number(number) => number,
        AttentionLayer::Word(Place::Last) => blocks - 1,
    };
    expect("attention", number < blocks, format!("\"last\", or a block from 0 to {}", blocks - 1), number.to_string())?;
    let (expected, found) = ("a variant whose language model gets 3D tokens", "one that gets 2D tokens alone");
    expect("attention", config.visual_tokens_3d() > 0, expected.into(), found.into())?;
    Ok(number)
}

/// What explains a volume's questions.
struct Explainer<'a> {
    answerer: &'a Answerer,
    dataset: &'a Dataset,
    config: &'a ExplainConfig,
    /// The block whose attention is shown.
    layer: Option<usize>,
    out: &'a Path,
}

impl Explainer<'_> {
    /// The questions about one volume, each with its answer's tokens; questions without a volume have no slices to show.
    fn of_volume(
        &self,
        found: &[(Answer, Vec<i64>)],
        rows: &HashMap<String, SampleRow>,
    ) -> Result<Vec<Explanation>, TrainerError> {
        let Explainer { answerer, dataset, config, layer, out } = *self;
        let Some((first, _)) = found.first().filter(|(answer, _)| !answer.volume_id.is_empty()) else {
            note(format_args!("note: {} questions about no volume are not explained", found.len()));
            return Ok(Vec::new());
        };
        let format = dataset.voxels();
        let mut cell = vec![0; format.cell_bytes()];
        dataset.read_voxels(first.volume_id.parse()?, &mut cell)?;
        let grey = grey(&decode(&cell, format));
        let slices = AxialSlices::new(&grey, format.shape_dhw).expect("a cell has the format's voxels");
        let pictures = write_pictures(slices, &first.volume_id, config.slices, out)?;
        // Encoded once more only for what is asked beyond the answers.
        let is_probed = config.deletion_draws > 0 || layer.is_some();
        let encode = || answerer.model().encoded(&voxels(&cell, 1, format, answerer.device()));
        let encoded = is_probed.then(encode).transpose()?;
        let draws = Draws { count: config.deletion_draws, seed: config.seed };
        let mut explanations = Vec::with_capacity(found.len());
        for (answer, ids) in found {
            let row = &rows[&answer.sample_id];
            let focus = measured(&answer.scores);
            let deleted = |encoded| deletion::deletion(answerer, encoded, row, &answer.scores, draws);
            let deletion = encoded.as_ref().map(deleted).transpose()?.flatten();
            let peak = focus.as_ref().map_or(0, |focus| focus.peak as usize);
            let map = |(layer, encoded)| {
                let looked = Looked { row, ids, slice: peak, layer };
                attention::attention(answerer, encoded, looked, slices, out).transpose()
            };
            // A text about several volumes would need all of them.
            let shown = layer.filter(|_| row.volume_ids.len() == 1).zip(encoded.as_ref());
            let attention = shown.and_then(map).transpose()?;
            explanations.push(Explanation {
                answer: answer.clone(),
                slices: slices.len() as u32,
                shown: pictures.shown.clone(),
                picture: pictures.picture.clone(),
                sheet: Some(pictures.sheet.clone()),
                focus,
                deletion,
                attention,
            });
        }
        Ok(explanations)
    }
}
