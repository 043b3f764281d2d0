//! The result table: a row a task, topic and metric, with a switch between both means and both ways of reading a choice.

use maud::{Markup, html};
use med2e3_page::{svg, table};
use med2e3_schemas::evaluation::{EvaluateReport, Score, main_metric};
use med2e3_schemas::sample::Task;

use super::{metric_in_words, number, percent};

/// `id` tells the switches of several tables apart.
pub(super) fn scores(report: &EvaluateReport, id: &str) -> Markup {
    let has = |metric: &str| report.scores.iter().any(|score| score.metric == metric);
    html! {
        div.box.switched {
            div.switches {
                (switch(id, "mean", "Mean over", [("micro", "samples (micro)"), ("macro", "topics (macro)")]))
                @if has("correct") && has("correct_strict") {
                    (switch(id, "reading", "A choice is read", [("released", "as released"), ("strict", "strictly")]))
                }
            }
            @let [shown, folded]: [Vec<&Score>; 2] = [true, false].map(|wanted| of_first_sight(report, wanted));
            (table("Scores", &COLUMNS, &html! { @for score in shown { (row(score)) } }))
            @if !folded.is_empty() {
                details { summary { "Other metrics by topic" } (table("Other metrics by topic", &COLUMNS, &html! { @for score in folded { (row(score)) } })) }
            }
        }
        (leaked(report))
        p { "Dot and line: the mean and its 95 % interval over cases, since answers about one case depend on each other; the upright mark is what "
            "guessing reaches. As released, \u{201c}B.\u{201d} anywhere in an answer counts as B; strictly, a letter counts where it is the answer." }
    }
}

/// What is known of answers that may be remembered, and the main scores without them.
fn leaked(report: &EvaluateReport) -> Markup {
    let Some(leaked) = report.leaked.as_ref().filter(|leaked| leaked.samples > 0) else { return html! {} };
    let is_main = |score: &&Score| score.topic.is_none() && score.metric == main_metric(score.task);
    let without =
        report.scores.iter().filter(is_main).filter_map(|score| Some((score, score.without_leaked.as_ref()?)));
    let kinds = leaked.by_kind.iter().map(|(kind, count)| format!("{kind} {count}")).collect::<Vec<_>>().join(", ");
    html! { p {
        b { (number(leaked.samples)) } " of " (number(leaked.of)) " samples share something with the training split (" (kinds) "), so that answers may be remembered."
        @for (score, mean) in without {
            " Without them " (score.task) " has " b { (percent(mean.micro)) } " over " (number(mean.count)) ", with them " (percent(score.micro)) "."
        }
    } }
}

const COLUMNS: [&str; 9] =
    ["task", "topic", "metric", "#samples", "#cases", "#mean", "#95 % interval", "#guessing", "0 to 100 %"];

/// Closed questions first; whether a row is of a whole task, or of a topic by the task's main metric or its strict sense.
fn of_first_sight(report: &EvaluateReport, wanted: bool) -> Vec<&Score> {
    let is_main = |score: &Score| score.metric.starts_with(main_metric(score.task));
    let is_wanted = |score: &&Score| (score.topic.is_none() || is_main(score)) == wanted;
    let mut rows: Vec<&Score> = report.scores.iter().filter(is_wanted).collect();
    rows.sort_by_key(|score| match score.task {
        Task::ClosedVqa => 0,
        Task::OpenVqa => 1,
        Task::Caption => 2,
    });
    rows
}

fn switch(id: &str, name: &str, words: &str, values: [(&str, &str); 2]) -> Markup {
    html! { fieldset {
        legend { (words) }
        @for (place, (value, label)) in values.iter().enumerate() {
            label { input type="radio" name={ (id) "-" (name) } value=(value) checked[place == 0]; " " (label) }
        }
    } }
}

fn row(score: &Score) -> Markup {
    let is_main = score.topic.is_none() && score.metric.starts_with(main_metric(score.task));
    let reading = match score.metric.as_str() {
        "correct" => Some("released"),
        "correct_strict" => Some("strict"),
        _ => None,
    };
    let class = [reading, is_main.then_some("all")].into_iter().flatten().collect::<Vec<_>>().join(" ");
    let topic = score.topic.map_or("all", |topic| topic.as_str());
    let title = format!("{}, {topic}, {}", score.task, metric_in_words(&score.metric));
    let means = [("micro", score.micro, score.interval), ("macro", score.macro_mean, score.macro_interval)];
    html! { tr class=[(!class.is_empty()).then_some(class)] {
        th scope="row" { (score.task) } td { (topic) } td { (metric_in_words(&score.metric)) }
        td.n { (number(score.count)) } td.n { (number(score.cases)) }
        td.n { @for (mean, value, _) in means { span class=(mean) { (percent(value)) } } }
        td.n { @for (mean, _, [low, high]) in means { span class=(mean) { (percent(low)) " to " (percent(high)) } } }
        td.n { (score.chance.map_or("\u{2013}".to_owned(), percent)) }
        td.mark { @for (mean, value, interval) in means { div class=(mean) { (svg::interval(&title, value, interval, score.chance)) } } }
    } }
}
