//! Answers next to the truth, the worst first.

use maud::{Markup, html};
use med2e3_page::{AnswerItem, AnswerList, Verdict};
use med2e3_schemas::evaluation::{Answer, main_metric};
use med2e3_schemas::sample::Task;

use super::{metric_in_words, number, percent};
use crate::report::run::Judged;

/// Answers of a page at most; all of them are in the run's `report.json`.
const MOST: usize = 5000;

pub(super) fn answers(judged: &Judged, id: &str) -> Markup {
    let report = &judged.evaluated.report;
    let mut order: Vec<&Answer> = report.answers.iter().collect();
    // Where scores are equal, in the order of the report, which is that of a hash: no one selected them.
    order.sort_by(|a, b| score(a).total_cmp(&score(b)));
    let wrong = order.iter().filter(|answer| score(answer) < 1.0).count();
    let left_out = order.len().saturating_sub(MOST);
    order.truncate(MOST);
    let shuffled = |answer: &Answer| judged.shuffled.get(&(answer.sample_id.clone(), answer.turn)).map(String::as_str);
    let items = order.into_iter().map(|answer| item(answer, shuffled(answer))).collect();
    html! {
        p { (number(wrong as u64)) " of " (number(report.answers.len() as u64)) " answers are wrong or below 100 %; they come first, the worst of all at the top. "
            mark.missing { "Dotted" } " are expected words that an answer lacks, " mark.extra { "wavy" } " are words that were not expected."
            @if left_out > 0 { " The best " (number(left_out as u64)) " are in report.json alone." } }
        div.box { (AnswerList { id, items }.markup()) }
    }
}

fn score(answer: &Answer) -> f64 {
    answer.metrics.get(main_metric(answer.task)).copied().unwrap_or(0.0)
}

fn item<'a>(answer: &'a Answer, shuffled: Option<&'a str>) -> AnswerItem<'a> {
    let score = score(answer);
    let metric = main_metric(answer.task);
    let verdict = match answer.task {
        Task::ClosedVqa if score > 0.0 => Verdict::Right,
        Task::ClosedVqa => Verdict::Wrong,
        Task::Caption | Task::OpenVqa => {
            Verdict::Score(format!("{} {}", metric_in_words(metric), percent(score)), score < 1.0)
        }
    };
    let strictly_wrong = score > 0.0 && answer.metrics.get("correct_strict") == Some(&0.0);
    let notes = [(answer.is_cut, "cut"), (strictly_wrong, "strictly wrong"), (answer.turn > 1, "later turn")];
    AnswerItem {
        task: answer.task.as_str(),
        topic: answer.topic.map(|topic| topic.as_str()),
        question: &answer.question,
        expected: &answer.expected,
        answer: &answer.answer,
        verdict,
        shuffled,
        notes: notes.into_iter().filter(|(is, _)| *is).map(|(_, words)| words).collect(),
    }
}
