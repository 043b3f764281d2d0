//! FLOW 4: generate -> metrics -> controls -> table, on one page.

use std::path::Path;
use std::sync::Arc;

use med2e3_metric::cases::Bootstrap;
use med2e3_program::output::write_report;
use med2e3_program::{Stopwatch, note};
use med2e3_schemas::evaluation::EvaluateReport;
use med2e3_schemas::sample::Task;
use med2e3_shards::{Dataset, Selection};

use crate::TrainerError;
use crate::bert_score::BertScore;
use crate::config::{EvaluateConfig, MeteorConfig};
use crate::generate::answerer::Answerer;
use crate::verb::answers::log::{AnswerFolder, Answered};
use crate::verb::answers::{Shown, Way, answers};
use crate::verb::controls::Controlled;
use crate::verb::focus::focus;
use crate::verb::leaked::leaked;
use crate::verb::score_table::score_table;
use crate::verb::turns::asked;

/// Answers every sample of the split, scores the answers, and writes `report.json` to `out`. Answers are in `answers.jsonl` as they
/// come; where a run was killed, the same call goes on with those that are missing.
///
/// # Errors
/// A checkpoint or dataset that does not read or does not fit; a folder that holds something else than this run's beginning.
pub fn evaluate(config: &EvaluateConfig, out: &Path) -> Result<EvaluateReport, TrainerError> {
    let watch = Stopwatch::start();
    config.check()?;
    let meteor = config.meteor.as_ref().map(MeteorConfig::open).transpose()?;
    let dataset = Arc::new(Dataset::open(&config.dataset)?);
    let answerer = Answerer::open(&config.checkpoint, config.device, config.threads)?;
    let bert_score = config.bert_score.as_ref().map(|of| BertScore::open(of, answerer.device())).transpose()?;
    answerer.check_fit(&dataset, config.other_inputs)?;
    let selection = Selection { split: config.split, tasks: config.tasks.clone(), subset: config.subset.clone() };
    let asked = asked(dataset.select_rows(&selection)?, config.turns, answerer.tokenizer())?;
    if asked.not_asked > 0 {
        let not_asked = asked.not_asked;
        note(format_args!(
            "note: only the first turn of a conversation is asked, not {not_asked} later ones; turns = \"every\" asks each"
        ));
    }
    let selection = blake3::Hash::from_bytes(asked.samples.hash).to_hex().to_string();
    let index = Some(dataset.index().xxh3.clone());
    let answered = Answered { checkpoint: answerer.identity().into(), selection, dataset: index };
    let folder = AnswerFolder::claim(out, config, &answered)?;
    let EvaluateConfig { batch_size, decoding, max_new_tokens, seed, .. } = *config;
    let (meteor, shown) = (meteor.as_ref(), Shown::Voxels);
    let way = Way { batch_size, decoding, max_new_tokens, seed, meteor, shown, scores: None };
    let mut log = folder.log(&asked)?;
    answers(&answerer, &dataset, log.open_questions(&asked), way, |answer, _| log.append(answer))?;
    let mut answers = log.in_order(&asked);
    let closed = answers.iter().filter(|answer| answer.task == Task::ClosedVqa);
    match closed.filter(|answer| !answer.metrics.contains_key("likelihood")).count() {
        0 => {}
        without => note(format_args!(
            "note: no likelihood: the first token of {without} closed answers does not tell letters apart, or they were laid out in another way"
        )),
    }
    let bootstrap = Bootstrap { seed, threads: config.threads };
    let control =
        Controlled { answerer: &answerer, dataset: &dataset, folder: &folder, asked: &asked, answers: &answers, way };
    let controls = control.scores(config.controls.most(), bootstrap)?;
    if let Some(bert_score) = &bert_score {
        bert_score.add_to(&mut answers)?;
    }
    let leaked = leaked(&dataset, config.subset.as_deref(), &asked.samples.rows)?;
    let report = EvaluateReport {
        split: config.split,
        checkpoint: config.checkpoint.display().to_string(),
        matched: None,
        samples_without_prediction: 0,
        predictions_missing: 0,
        samples_without_volume: asked.samples.without_volume,
        turns_not_asked: asked.not_asked,
        answers_cut: answers.iter().filter(|answer| answer.is_cut).count() as u64,
        meteor: config.meteor.as_ref().map(MeteorConfig::in_words),
        bert_score: bert_score.map(|bert_score| bert_score.identity().into()),
        scores: score_table(&answers, &asked.samples.rows, leaked.as_ref(), bootstrap),
        leaked: leaked.map(|leaked| leaked.counts),
        controls,
        focus: focus(&answers, &asked.samples.rows, answerer.slices_of_a_layer(), bootstrap),
        answers,
        seconds: watch.seconds(),
    };
    write_report(out, &report)?;
    Ok(report)
}
