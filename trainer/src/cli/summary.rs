//! What a run did, as text for a person.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use med2e3_schemas::evaluation::{EvaluateReport, main_metric};
use med2e3_schemas::report::{ClipStep, ExplainReport, RetrieveReport, TrainClipReport, TrainReport, TrainStep};
use med2e3_schemas::sample::Task;

use crate::files::model_files::Tables;
use crate::model::Preset;
use crate::train::StoppedRun;
use crate::verb::ask::Located;
use crate::verb::exchange::Exchanged;
use crate::verb::score::pairs::PairsReport;
use crate::verb::verify::VerifyReport;
use crate::words::Word;

pub(super) fn trained(report: &TrainReport) -> String {
    let parameters: u64 = report.parameters.values().sum();
    let loss = |step: Option<&TrainStep>| step.map_or("-".into(), |s| format!("{:.3}", s.loss));
    format!(
        "{}: {} steps over {} samples ({} left out because their volume is missing) on {}, {:.2} M parameters, loss {} to {}, {:.1} s\n",
        report.name,
        report.steps.len(),
        report.samples,
        report.samples_without_volume,
        report.device,
        parameters as f64 / 1e6,
        loss(report.steps.first()),
        loss(report.steps.last()),
        report.seconds
    )
}

pub(super) fn stopped(run: &StoppedRun) -> String {
    match run.stopped_after {
        0 => "stopped before the first step was done\n".into(),
        step => format!("stopped behind step {step} of {}, which is saved; --resume goes on\n", run.steps),
    }
}

pub(super) fn trained_clip(report: &TrainClipReport) -> String {
    let loss = |step: Option<&ClipStep>| step.map_or("-".into(), |s| format!("{:.3}", s.loss));
    format!(
        "{}: {} steps over {} pairs ({} left out because their volume is missing) on {}, {:.2} M parameters, loss {} to {}, {:.1} s\n",
        report.name,
        report.steps.len(),
        report.pairs,
        report.samples_without_volume,
        report.device,
        report.parameters as f64 / 1e6,
        loss(report.steps.first()),
        loss(report.steps.last()),
        report.seconds
    )
}

pub(super) fn evaluated(report: &EvaluateReport) -> String {
    let mut text = match report.samples_without_volume {
        0 => String::new(),
        count => format!("{count} samples left out because their volume is missing\n"),
    };
    if let Some(matched) = report.matched {
        let (scored, without) = (report.answers.len(), report.samples_without_prediction);
        text += &format!("{scored} predictions matched with samples by {matched}; {without} samples have none\n");
    }
    text +=
        &format!("{:<12}{:<13}{:<16}{:>7}{:>9}{:>9}{:>9}\n", "task", "topic", "metric", "count", "%", "+-", "chance");
    for score in &report.scores {
        let topic = score.topic.map_or("all", |topic| topic.as_str());
        let chance = score.chance.map_or("-".into(), |chance| format!("{:.1}", 100.0 * chance));
        text += &format!(
            "{:<12}{topic:<13}{:<16}{:>7}{:>9.2}{:>9.2}{chance:>9}\n",
            score.task.as_str(),
            score.metric,
            score.count,
            100.0 * score.micro,
            100.0 * score.half_interval
        );
    }
    let of_all = report.scores.iter().filter(|score| score.topic.is_none());
    for (task, shares) in of_all.map(|score| (score.task, &score.shares)).collect::<BTreeMap<_, _>>() {
        for (name, share) in shares.iter().filter(|(_, share)| **share > 0.0) {
            let meaning = match name.as_str() {
                "unread" => "name no choice",
                "several" => "list several choices",
                "empty" => "or what was expected of them are empty",
                _ => continue,
            };
            text += &format!("{}: {:.2} % of the answers {meaning}\n", task.as_str(), 100.0 * share);
        }
    }
    text += &leaked(report);
    text += &controls(report);
    if let Some(focus) = &report.focus {
        for topic in &focus.topics {
            let name = topic.topic.map_or("all", |topic| topic.as_str());
            let [low, high] = topic.interval;
            text += &format!(
                "scores, {name}: spread over {:.1} of {} slices ({low:.1} to {high:.1})\n",
                topic.effective_slices, focus.slices
            );
        }
        for distance in &focus.distances {
            text += &format!("scores, to {}: {:.4} bits apart\n", distance.between, distance.bits);
        }
        if let Some(pattern) = &focus.pattern {
            let interval = pattern.interval.map_or(String::new(), |[low, high]| format!(" ({low:.2} to {high:.2})"));
            text += &format!(
                "scores, groups of {} slices: rank correlation {:.2}{interval}\n",
                pattern.group, pattern.correlation
            );
        }
    }
    if report.answers_cut > 0 {
        text += &format!("{} answers were cut at the most tokens that the run allows\n", report.answers_cut);
    }
    let has_texts = report.scores.iter().any(|score| score.task != Task::ClosedVqa);
    for (name, computed, needs) in [
        ("meteor", &report.meteor, "WordNet (cargo xtask setup --wordnet) and meteor = { wordnet = FOLDER }"),
        ("bertscore", &report.bert_score, "a RoBERTa, such as roberta-large, and bert_score = { model = FOLDER }"),
    ] {
        match computed {
            Some(computed) => text += &format!("{name}: as {computed}\n"),
            None if has_texts => text += &format!("{name}: not computed; it needs {needs}\n"),
            None => {}
        }
    }
    text
}

/// What is known of answers that may be remembered.
fn leaked(report: &EvaluateReport) -> String {
    let Some(leaked) = report.leaked.as_ref().filter(|leaked| leaked.samples > 0) else { return String::new() };
    let kinds: Vec<String> = leaked.by_kind.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    let mut text = format!(
        "{} of {} samples share something with the training split ({}); med2e3-data resplit makes a split that shares nothing\n",
        leaked.samples,
        leaked.of,
        kinds.join(", ")
    );
    for score in report.scores.iter().filter(|score| score.topic.is_none()) {
        if let Some(mean) = score.without_leaked.as_ref().filter(|_| score.metric == main_metric(score.task)) {
            text += &format!(
                "without them: {} {} {:.2} % over {} samples, {:.2} % with them\n",
                score.task.as_str(),
                score.metric,
                100.0 * mean.micro,
                mean.count,
                100.0 * score.micro
            );
        }
    }
    text
}

/// One metric of each task under each control.
fn controls(report: &EvaluateReport) -> String {
    let shown: Vec<_> = report.main_controls().collect();
    if shown.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "{:<26}{:<12}{:<9}{:>7}{:>9}{:>9}{:>9}{:>18}{:>10}\n",
        "control", "task", "metric", "count", "real %", "control", "less", "95 %", "changed %"
    );
    for score in shown {
        let [low, high] = score.interval.map(|end| 100.0 * end);
        text += &format!(
            "{:<26}{:<12}{:<9}{:>7}{:>9.2}{:>9.2}{:>9.2}{:>18}{:>10.1}\n",
            score.control,
            score.task.as_str(),
            score.metric,
            score.count,
            100.0 * score.real,
            100.0 * score.control_mean,
            100.0 * score.difference,
            format!("{low:.2} to {high:.2}"),
            100.0 * score.changed
        );
    }
    text
}

pub(super) fn scored_pairs(report: &PairsReport, out: &Path) -> String {
    let mut text = format!("{} pairs, {} of them with an empty text\n", report.pairs, report.empty);
    for (name, mean) in report.means.named() {
        text += &format!("{name:<12}{:>9.2}\n", 100.0 * mean);
    }
    if report.nltk.is_none() {
        text += "meteor       not computed: it needs --wordnet\n";
    }
    text + &format!("written: {}\n", out.display())
}

pub(super) fn explained(report: &ExplainReport) -> String {
    let mut text = format!("{} questions explained\n", report.explanations.len());
    for score in &report.deletion {
        let interval = score.interval.map_or(String::new(), |[low, high]| format!(" ({low:.4} to {high:.4})"));
        writeln!(
            text,
            "{:>2} without a score: the expected answer's log-probability falls by {:.4} a token where they had the highest, by {:.4} where drawn; difference {:.4}{interval}",
            score.slices, score.best, score.random, score.difference
        )
        .expect("a string takes any text");
    }
    if !report.deletion.is_empty() {
        text += "the 3D tokens see all slices, whatever the scores\n";
    }
    text
}

pub(super) fn explained_file(found: &Located, picture: &Path) -> String {
    format!("{}\nwritten: {}\n", found.reply.answer, picture.display())
}

pub(super) fn retrieved(report: &RetrieveReport) -> String {
    let mut text = format!(
        "{} pairs, {} different captions, {} captions cut; {} samples left out because their volume is missing\n",
        report.pairs, report.distinct_texts, report.truncated_texts, report.samples_without_volume
    );
    text += &format!("{:<16}{:<16}{:>8}{:>8}{:>8}\n", "query", "right", "R@1", "R@5", "R@10");
    for (right, scores) in [("own partner", &report.by_index), ("same caption", &report.by_text)] {
        for (query, recalls) in [("volume", &scores.image_to_text), ("caption", &scores.text_to_image)] {
            text += &format!(
                "{query:<16}{right:<16}{:>8.2}{:>8.2}{:>8.2}\n",
                100.0 * recalls.at_1,
                100.0 * recalls.at_5,
                100.0 * recalls.at_10
            );
        }
    }
    text
}

pub(super) fn exchanged(exchanged: &Exchanged, out: &Path) -> String {
    let mut text = String::new();
    let mut line = |line: String| writeln!(text, "{line}").expect("a string takes any text");
    if let Some(preset) = exchanged.inferred {
        line(inferred(preset));
    }
    for (part, count) in exchanged.parameters.iter().filter(|(_, count)| *count > 0) {
        let drawn = if exchanged.drawn.contains(part) { "  drawn from the seed" } else { "" };
        line(format!("{:<20}{count:>14} parameters{drawn}", part.name()));
    }
    line(format!("{:<20}{:>14}", "all", exchanged.parameters.iter().map(|(_, count)| count).sum::<u64>()));
    if exchanged.tables == Tables::TwoInFiles {
        line("llm: config.json states one table for embedding and head, the files hold two: both are kept".into());
    }
    for (part, names) in &exchanged.passed_over {
        let mut shown = names.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
        if names.len() > 3 {
            shown += ", ..";
        }
        line(format!("{part}: {} tensors passed over that the model does not use: {shown}", names.len()));
    }
    if let Some(difference) = exchanged.merged {
        line(format!("adapters merged; the largest relative difference of a map is {difference:.1e}"));
    }
    if exchanged.tokenizers.llm.is_none() {
        line("no tokenizer: train brings the dataset's; generate needs one, import --tokenizer gives it".into());
    }
    if exchanged.config.text_encoder.is_some() && exchanged.tokenizers.text.is_none() {
        line("no tokenizer of the text encoder: generate needs one, import --text-tokenizer gives it".into());
    }
    if !exchanged.states_inputs {
        line(
            "inputs not stated: generate prepares as recipe m3d and template phi; import --inputs states others".into(),
        );
    }
    line(format!("written: {}", out.display()));
    text
}

pub(super) fn verified(report: &VerifyReport) -> String {
    let mut text = report.inferred.map_or(String::new(), |preset| inferred(preset) + "\n");
    text += &format!("{:<30}{:>12}{:>12}{:>12}\n", "tensor", "elements", "absolute", "relative");
    for compared in &report.comparisons {
        let verdict = if compared.passes { "" } else { "  beyond the tolerance" };
        let (absolute, relative) = (compared.absolute, compared.relative);
        writeln!(text, "{:<30}{:>12}{absolute:>12.2e}{relative:>12.2e}{verdict}", compared.name, compared.elements)
            .expect("a string takes any text");
    }
    if report.passed_over > 0 {
        writeln!(text, "{} tensors of the checkpoint passed over", report.passed_over).expect("as above");
    }
    text
}

fn inferred(preset: Preset) -> String {
    format!("variant: {}, as the weights show", preset.as_str())
}
