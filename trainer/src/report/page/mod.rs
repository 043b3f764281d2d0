//! The page: how well models answer and what that rests on, where they look, how trainings go, what was prepared.
//!
//! # Layout
//! - `verdict`: an evaluation in a sentence, and what it is of; `scores`, `controls`, `letters`, `answers`: its parts
//! - `slices`: explained volumes; `retrieval`: volumes and captions that find each other
//! - `training`: trainings, perhaps going on; `dataset`: what was prepared

mod answers;
mod controls;
mod dataset;
mod letters;
mod retrieval;
mod scores;
mod slices;
mod training;
mod verdict;

use std::path::Path;

use maud::{Markup, html};
use med2e3_page::{Frame, table, tiles};
use med2e3_schemas::evaluation::EvaluateReport;
use med2e3_schemas::report::DemoSetReport;
use med2e3_schemas::sample::Topic;

use super::run::{Explained, Judged, Prepared, Run, What};
use super::training::Training;

/// The whole page as text. `reload` is after how many seconds a browser loads it again.
pub(super) fn html(runs: &[Run], reload: Option<u64>) -> String {
    let demo_set = runs.iter().find_map(|run| match &run.what {
        What::DemoSet(report) => Some(report),
        _ => None,
    });
    let title = if demo_set.is_some() { "med2e3 demo report" } else { "med2e3 report" };
    let sections = sections(runs, demo_set);
    let links: Vec<(String, &str)> =
        sections.iter().filter_map(|section| Some((section.id.clone(), section.link?))).collect();
    let body = html! {
        h1 { (title) }
        @if demo_set.is_some() {
            p { "A CT head atlas, cut into series whose plane, window and level are known; prepared, learned from scratch by a "
                "small Med-2E3 in the paper's two stages, and asked about boxes of the head that it never saw." }
        }
        @for judged in judged(runs) {
            (verdict::verdict(&judged.1.evaluated.report))
            (verdict::provenance(judged.1))
        }
        (numbers(runs))
        @for section in &sections { section id=(section.id) {
            h2 { (section.heading) }
            @if let Some(run) = section.run { p.of { code { (run.path) } } }
            (section.body)
        } }
    };
    Frame { title, sections: &links, reload, is_live: true }.html(&body)
}

/// A part of the page.
struct Section<'a> {
    id: String,
    /// Its words among the links at the top; of several of a kind only the first has them.
    link: Option<&'static str>,
    heading: &'static str,
    run: Option<&'a Run>,
    body: Markup,
}

fn sections<'a>(runs: &'a [Run], demo_set: Option<&DemoSetReport>) -> Vec<Section<'a>> {
    let mut all: Vec<Section<'a>> = Vec::new();
    let mut add = |link: &'static str, heading: &'static str, run: Option<&'a Run>, body: Markup| {
        let earlier = all.iter().filter(|section| section.heading == heading).count();
        let id = format!("{}-{}", link.to_lowercase(), earlier + 1);
        all.push(Section { id, link: (earlier == 0).then_some(link), heading, run, body });
    };
    for (number, (run, judged)) in judged(runs).enumerate() {
        let report = &judged.evaluated.report;
        let demo = demo_set.map(|_| {
            html! { p { "Boxes of the brain that training never saw. A plane shows in the anatomy and in how a flat box is stretched; choices stand "
                "in the same order in every row." } }
        });
        let scores = scores::scores(report, &format!("scores-{number}"));
        add("Scores", "How well it answers", Some(run), html! { @if let Some(demo) = demo { (demo) } (scores) });
        if !report.controls.is_empty() {
            add("Controls", "What the answers rest on", Some(run), controls::controls(report));
        }
        if !report.answers.is_empty() {
            add("Letters", "Letters and lengths", Some(run), letters::letters(report));
            add(
                "Answers",
                "Answers next to the truth",
                Some(run),
                answers::answers(judged, &format!("answers-{number}")),
            );
        }
    }
    for (run, explained) in explained(runs) {
        add("Slices", "Where it looks", Some(run), slices::explanations(explained, units(runs, explained)));
    }
    for (run, judged) in judged(runs) {
        if let Some(focus) = &judged.evaluated.report.focus {
            add("Spread", "How scores are spread", Some(run), slices::focus(focus));
        }
    }
    for run in runs {
        if let What::Retrieval(report) = &run.what {
            add("Retrieval", "How well volumes and captions find each other", Some(run), retrieval::retrieval(report));
        }
    }
    let trainings: Vec<(&Run, &Training)> = runs
        .iter()
        .filter_map(|run| match &run.what {
            What::Training(training) => Some((run, training)),
            _ => None,
        })
        .collect();
    if !trainings.is_empty() {
        add("Training", "Training", None, training::section(&trainings));
    }
    for run in runs {
        if let What::Dataset(prepared) = &run.what {
            add("Data", "What was prepared", Some(run), dataset::dataset(prepared, demo_set));
        }
    }
    add("Time", "Time and configuration", None, html! { (seconds(runs)) (configurations(runs)) });
    all
}

fn judged(runs: &[Run]) -> impl Iterator<Item = (&Run, &Judged)> {
    runs.iter().filter_map(|run| match &run.what {
        What::Evaluation(judged) => Some((run, &**judged)),
        _ => None,
    })
}

fn explained(runs: &[Run]) -> impl Iterator<Item = (&Run, &Explained)> {
    runs.iter().filter_map(|run| match &run.what {
        What::Explanation(explained) => Some((run, explained)),
        _ => None,
    })
}

/// The Hounsfield units of black and white of explained volumes, where their dataset is among the runs and states them.
fn units(runs: &[Run], explained: &Explained) -> Option<[f64; 2]> {
    let of = explained.dataset.as_deref()?;
    runs.iter().filter(|run| Path::new(&run.path) == of).find_map(|run| match &run.what {
        What::Dataset(prepared) => prepared.units,
        _ => None,
    })
}

/// A few numbers of the runs in large letters.
fn numbers(runs: &[Run]) -> Markup {
    let mut all: Vec<(String, String)> = Vec::new();
    for run in runs {
        match &run.what {
            What::Dataset(Prepared { report, .. }) => {
                let aside = report.volumes.quarantined_rows().saturating_add(report.texts.quarantined_rows());
                all.push((number(report.volumes.rows), "volumes prepared".into()));
                all.push((number(report.texts.rows), "texts prepared".into()));
                all.push((number(aside), "inputs set aside".into()));
            }
            What::Training(training) => {
                if let Some((step, loss)) = training.validation.last() {
                    let what = format!("loss on the validation split, {}, step {step}", training.name());
                    all.push((format!("{loss:.3}"), what));
                }
            }
            What::Evaluation(judged) => {
                if let Some((accuracy, chance)) = plane(&judged.evaluated.report) {
                    let what = format!("right on \u{201c}which plane?\u{201d} (chance {})", percent(chance));
                    all.push((percent(accuracy), what));
                }
            }
            What::DemoSet(_) | What::Explanation(_) | What::Retrieval(_) => {}
        }
    }
    all.push((duration(times(runs).map(|(_, seconds)| seconds).sum()), "all runs".into()));
    tiles(&all)
}

/// Accuracy on the plane that is shown, and what guessing reaches.
fn plane(report: &EvaluateReport) -> Option<(f64, f64)> {
    let is_plane = |topic| topic == Some(Topic::Plane);
    let score = report.scores.iter().find(|score| score.metric == "correct" && is_plane(score.topic))?;
    Some((score.micro, score.chance?))
}

/// The seconds of each run that tells them.
fn times(runs: &[Run]) -> impl Iterator<Item = (&str, f64)> {
    runs.iter().filter_map(|run| {
        let seconds = match &run.what {
            What::DemoSet(_) => return None,
            What::Dataset(prepared) => prepared.report.seconds,
            What::Training(training) => training.seconds(),
            What::Evaluation(judged) => judged.evaluated.report.seconds,
            What::Explanation(explained) => explained.report.seconds,
            What::Retrieval(report) => report.seconds,
        };
        Some((run.path.as_str(), seconds))
    })
}

fn seconds(runs: &[Run]) -> Markup {
    html! { div.box {
        (table("Time", &["run", "#time"], &html! {
            @for (path, seconds) in times(runs) { tr { th scope="row" { code { (path) } } td.n { (duration(seconds)) } } }
        }))
    } }
}

/// The configurations of the runs, as they are in their folders.
fn configurations(runs: &[Run]) -> Markup {
    html! {
        @for run in runs { @if let Some(text) = &run.configuration {
            details { summary { "Configuration of " code { (run.path) } } pre tabindex="0" { (text) } }
        } }
    }
}

/// A share of 1 in percent; no line ends before the sign.
fn percent(share: f64) -> String {
    format!("{:.1}\u{a0}%", 100.0 * share)
}

/// A number whose thousands stand apart.
fn number(count: u64) -> String {
    let digits = count.to_string();
    let apart = |(place, digit): (usize, char)| {
        let comma = place > 0 && (digits.len() - place).is_multiple_of(3);
        [comma.then_some(','), Some(digit)].into_iter().flatten()
    };
    digits.chars().enumerate().flat_map(apart).collect()
}

/// A metric as people write it.
fn metric_in_words(metric: &str) -> &str {
    match metric {
        "bleu1" => "BLEU@1",
        "bleu4" => "BLEU-4",
        "rouge1" => "ROUGE-1",
        "rouge2" => "ROUGE-2",
        "rougeL" => "ROUGE-L",
        "rougeLsum" => "ROUGE-Lsum",
        "meteor" => "METEOR",
        "bertscore_p" => "BERTScore P",
        "bertscore_r" => "BERTScore R",
        "bertscore_f1" => "BERTScore F1",
        "correct" => "accuracy, as released",
        "correct_strict" => "accuracy, strict",
        "likelihood" => "accuracy, likeliest letter",
        other => other,
    }
}

/// Seconds in words.
fn duration(seconds: f64) -> String {
    match seconds {
        ..120.0 => format!("{seconds:.1} s"),
        ..7200.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_at_a_glance() {
        assert_eq!([0, 999, 1000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            (percent(0.5), duration(30.0), duration(600.0), duration(7200.0)),
            ("50.0\u{a0}%".into(), "30.0 s".into(), "10 min".into(), "2.0 h".into())
        );
    }
}
