//! What an evaluation comes to, in a sentence, and what it is of.

use maud::{Markup, html};
use med2e3_page::facts;
use med2e3_schemas::evaluation::{ControlScore, EvaluateReport, Score, main_metric};
use med2e3_schemas::sample::Task;

use super::{metric_in_words, number, percent};
use crate::report::run::Judged;

/// A sentence on closed questions, or on the first task that was asked: how well, and how far it rests on the volume. Then, smaller, the
/// same of the others and what could not be judged.
pub(super) fn verdict(report: &EvaluateReport) -> Markup {
    let mut scores = [Task::ClosedVqa, Task::OpenVqa, Task::Caption].into_iter().filter_map(|task| whole(report, task));
    html! {
        @if let Some(first) = scores.next() { p.verdict { (of_task(report, first)) } }
        p { @for score in scores { (of_task(report, score)) " " } (unjudged(report)) }
    }
}

/// The score of all of a task by its main metric.
fn whole(report: &EvaluateReport, task: Task) -> Option<&Score> {
    let is_whole = |score: &&Score| score.task == task && score.topic.is_none() && score.metric == main_metric(task);
    report.scores.iter().find(is_whole)
}

fn of_task(report: &EvaluateReport, score: &Score) -> Markup {
    let [low, high] = score.interval;
    let shuffled = report.main_controls().find(|control| control.task == score.task && control.control == "shuffled");
    html! {
        @match score.task {
            Task::ClosedVqa => {
                "Of " (number(score.count)) " closed questions of the " (report.split) " split, " b { (percent(score.micro)) } " are answered right"
            }
            Task::OpenVqa => { "The " (number(score.count)) " open answers reach " b { (percent(score.micro)) } " " (metric_in_words(&score.metric)) }
            Task::Caption => { "The " (number(score.count)) " captions reach " b { (percent(score.micro)) } " " (metric_in_words(&score.metric)) }
        }
        " (95 % interval " (percent(low)) " to " (percent(high))
        @if let Some(chance) = score.chance { "; guessing reaches " (percent(chance)) }
        ")"
        @if let Some(control) = shuffled { (reliance(control)) }
        "."
    }
}

/// What becomes of the answers with another case's volume.
fn reliance(control: &ControlScore) -> Markup {
    let [low, high] = control.interval.map(|end| 100.0 * end);
    let points = 100.0 * control.difference;
    let with = html! { ", with another case's volume " (percent(control.control_mean)) };
    html! {
        (with) ": "
        @if low > 0.0 {
            b { (format!("{points:.1} points")) } (format!(" ({low:.1} to {high:.1}) rest on the volume"))
        } @else if high < 0.0 {
            (format!("the right volume does harm, by {:.1} points ({:.1} to {:.1})", -points, -high, -low))
        } @else {
            (format!("that they rest on the volume can't be told ({points:.1} points, {low:.1} to {high:.1})"))
        }
    }
}

/// Answers that were cut or from which no choice is read, and samples that are in no score.
fn unjudged(report: &EvaluateReport) -> Markup {
    let closed = whole(report, Task::ClosedVqa);
    let unread = closed.and_then(|score| Some((score, *score.shares.get("unread")?)));
    let all = report.answers.len() as u64;
    html! {
        @match report.answers_cut {
            0 => { "No answer was cut" }
            cut => { b { (number(cut)) } " of " (number(all)) " answers were cut by the most tokens that were allowed" }
        }
        @match unread {
            Some((_, 0.0)) => { ", and each answer to a closed question names a choice" }
            Some((score, share)) => { ", and in " b { (percent(share)) } " of " (number(score.count)) " answers to closed questions no choice is read" }
            None => {}
        }
        "."
        @if report.samples_without_prediction > 0 { " " (number(report.samples_without_prediction)) " samples have no prediction and are in no score." }
        @if report.samples_without_volume > 0 { " " (number(report.samples_without_volume)) " samples wait for volumes that were set aside." }
        @if report.predictions_missing > 0 { " " (number(report.predictions_missing)) " predictions are empty and count 0." }
        @if report.turns_not_asked > 0 { " " (number(report.turns_not_asked)) " later turns of conversations were not asked." }
    }
}

/// What was evaluated, and how, as far as the run's folder states it.
pub(super) fn provenance(judged: &Judged) -> Markup {
    let (run, report) = (&judged.evaluated.run, &judged.evaluated.report);
    let hashed =
        |name: Option<&String>, hash: Option<&String>| {
            let hash = hash.map(|hash| hash.chars().take(HASH_SHOWN).collect::<String>());
            (name.is_some() || hash.is_some()).then(|| html! {
            @if let Some(name) = name { code { (name) } " " } @if let Some(hash) = hash { span.id { "#" (hash) } }
        })
        };
    let cases = report.scores.iter().map(|score| score.cases).max().filter(|cases| *cases > 0);
    let text = |text: &Option<String>| text.as_ref().map(|text| html! { (text) });
    let controlled = report.controls.iter().map(|control| control.count).max();
    let answers = html! { (number(run.answers)) @if let Some(cases) = cases { " of " (number(cases)) " cases" } };
    html! {
        div.box.strip {
            (facts(&[
                ("checkpoint", hashed(Some(&run.checkpoint), run.checkpoint_hash.as_ref())),
                ("dataset", hashed(run.dataset.as_ref(), run.dataset_hash.as_ref())),
                ("split", Some(html! { (report.split) })),
                ("answers", Some(answers)),
                ("decoding", text(&run.decoding)),
                ("matched by", report.matched.map(|matched| html! { (matched) })),
                ("controls", controlled.map(|count| html! { "up to " (number(count)) " samples a task" })),
                ("METEOR", Some(html! { (report.meteor.as_deref().unwrap_or("not computed")) })),
                ("BERTScore", Some(html! { (report.bert_score.as_deref().unwrap_or("not computed")) })),
            ]))
            @for note in &judged.evaluated.notes { p { (note) } }
        }
    }
}

/// Hexadecimal digits of a hash that are shown.
const HASH_SHOWN: usize = 12;
