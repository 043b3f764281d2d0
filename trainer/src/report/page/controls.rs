//! What the answers rest on: how far each control falls behind, on one axis a task.

use maud::{Markup, html};
use med2e3_page::svg::{self, Dot, Dots};
use med2e3_page::table;
use med2e3_schemas::evaluation::{ControlScore, EvaluateReport, main_metric};
use med2e3_schemas::sample::Task;

use super::{metric_in_words, number, percent};

pub(super) fn controls(report: &EvaluateReport) -> Markup {
    html! {
        p { "The same questions asked in ways that take something away, and how many points of 100 that costs: far right, the answers rest on it; "
            "at the dashed line, nothing is lost. Lines are 95 % intervals over cases." }
        div.box {
            @for task in [Task::ClosedVqa, Task::OpenVqa, Task::Caption] {
                @let of_task: Vec<&ControlScore> = report.main_controls().filter(|control| control.task == task).collect();
                @if !of_task.is_empty() { (chart(task, &of_task)) }
            }
            details {
                summary { "Numbers" }
                (table("Controls", &["control", "task", "metric", "#samples", "#real", "#control", "#difference", "#95 % interval", "#answers changed"], &html! {
                    @for control in report.main_controls() { (row(control)) }
                }))
            }
        }
    }
}

fn chart(task: Task, controls: &[&ControlScore]) -> Markup {
    let dots: Vec<Dot> = controls
        .iter()
        .map(|control| {
            let [low, high] = control.interval.map(|end| 100.0 * end);
            let value = 100.0 * control.difference;
            Dot {
                label: in_words(&control.control),
                value,
                interval: [low, high],
                words: format!("{value:.1}  ({low:.1} to {high:.1})"),
            }
        })
        .collect();
    let metric = match task {
        Task::ClosedVqa => "right answers".to_owned(),
        _ => metric_in_words(main_metric(task)).to_owned(),
    };
    let lowest = dots.iter().map(|dot| dot.interval[0].min(dot.value)).fold(0.0, f64::min);
    // One axis for all tasks, wider only where it must be.
    let from = if lowest < -5.0 { -100.0 } else { -10.0 };
    let ticks =
        [(-100.0, "-100"), (-50.0, "-50"), (0.0, "0"), (25.0, "25"), (50.0, "50"), (75.0, "75"), (100.0, "100")];
    let ticks: Vec<(f64, &str)> = ticks.into_iter().filter(|(tick, _)| *tick >= from).collect();
    let title = format!("{task}: points of {metric} lost");
    html! {
        h3 { (title) }
        (med2e3_page::scroll(&title, &svg::dots(&Dots { title: &title, axis: "points lost", ends: [from, 100.0], ticks: &ticks, mark: 0.0, dots: &dots })))
    }
}

/// A control's name for people.
fn in_words(control: &str) -> String {
    match control {
        "shuffled" => "another case's volume",
        "blank" => "volume of zeros",
        "question_only" => "no volume",
        "choices_rotated" => "other letters",
        "majority" => "most frequent answer",
        "scores_uniform" => "slices count the same",
        "scores_of_other_question" => "other question's scores",
        "scores_of_other_volume" => "other volume's scores",
        "scores_top_1" => "highest slice alone",
        other => other,
    }
    .to_owned()
}

fn row(control: &ControlScore) -> Markup {
    let [low, high] = control.interval;
    html! { tr {
        th scope="row" { (in_words(&control.control)) " " code { (control.control) } } td { (control.task) } td { (metric_in_words(&control.metric)) }
        td.n { (number(control.count)) } td.n { (percent(control.real)) } td.n { (percent(control.control_mean)) } td.n { (percent(control.difference)) }
        td.n { (percent(low)) " to " (percent(high)) } td.n { (percent(control.changed)) }
    } }
}
