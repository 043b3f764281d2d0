//! Trainings on the page: how far each is, its curves, what it answers.

use maud::{Markup, html};
use med2e3_page::svg::{Curve, curve};
use med2e3_page::{scroll, table};
use med2e3_schemas::joined::RunState;

use super::{duration, percent};
use crate::report::run::Run;
use crate::report::training::{Recent, Training};

/// All trainings, side by side where there are several.
pub(super) fn section(trainings: &[(&Run, &Training)]) -> Markup {
    html! {
        p { "Faint: each step. Line: the running mean. Points: on the validation split." }
        @if trainings.len() > 1 { (beside(trainings)) }
        @for (run, training) in trainings { (one(run, training)) }
    }
}

/// A row a training.
fn beside(trainings: &[(&Run, &Training)]) -> Markup {
    let columns = ["run", "state", "#step", "#loss", "#validation", "#s a step", "#texts/s", "#waiting for data"];
    html! { div.box { (table("Trainings", &columns, &html! {
        @for (run, training) in trainings {
            @let recent = training.recent();
            tr {
                th scope="row" { (training.name()) " " code { (run.path) } } td { (state(training)) } td.n { (progress(training)) }
                td.n { (shown(recent.as_ref(), |recent| format!("{:.3}", recent.loss))) }
                td.n { (training.validation.last().map_or(NONE.to_owned(), |(_, loss)| format!("{loss:.3}"))) }
                td.n { (shown(recent.as_ref(), |recent| format!("{:.2}", recent.seconds))) }
                td.n { (shown(recent.as_ref(), |recent| recent.texts.map_or(NONE.to_owned(), |texts| format!("{texts:.1}")))) }
                td.n { (shown(recent.as_ref(), |recent| percent(recent.waiting))) }
            }
        }
    })) } }
}

const NONE: &str = "\u{2013}";

fn shown(recent: Option<&Recent>, number: impl Fn(&Recent) -> String) -> String {
    recent.map_or(NONE.to_owned(), number)
}

fn state(training: &Training) -> &'static str {
    match training.run.state {
        RunState::Running => "running",
        RunState::Finished => "finished",
        RunState::Stopped => "stopped",
    }
}

fn progress(training: &Training) -> String {
    let steps = training.run.steps.map_or(String::new(), |steps| format!(" of {steps}"));
    format!("{}{steps}", training.run.step)
}

fn one(run: &Run, training: &Training) -> Markup {
    html! { article {
        h3 { (training.name()) " " code { (run.path) } }
        p {
            b { (state(training)) } ", step " (progress(training))
            @if let Some(seconds) = training.seconds_left() { "; about " (duration(seconds)) " left, by the median of the last steps" }
            @if let Some(checkpoint) = training.run.checkpoint { "; checkpoint of step " (checkpoint) }
        }
        (curves(training))
        @if let Some(recent) = training.recent() { (lately(training, &recent)) }
        @if let Some(ended) = &training.ended {
            p {
                (training.steps.len()) " steps over " (ended.samples) " samples, seed " (ended.seed) ", on " (ended.device) "; "
                (format!("{:.2}", ended.parameters.sum() as f64 / 1e6)) " M parameters"
                @if !ended.trained.is_empty() { ", trained: " (ended.trained.join(", ")) }
                "; " (duration(ended.seconds)) "."
            }
        }
        (answers(training))
    } }
}

fn curves(training: &Training) -> Markup {
    let of = |get: fn(&crate::report::training::Step) -> Option<f64>| -> Vec<(u64, f64)> {
        training.steps.iter().filter_map(|step| Some((step.step, get(step)?))).collect()
    };
    let loss = of(|step| step.loss);
    let norm = of(|step| step.gradient_norm);
    let rate = of(|step| Some(step.learning_rate));
    let texts = of(|step| Some(step.work.as_ref()?.texts_per_second));
    let smaller = [("norm of the gradients", norm), ("learning rate", rate), ("texts a second", texts)];
    html! {
        (scroll("Loss", &curve(&Curve {
            what: "loss (nats per token)", steps: &loss, measured: &training.validation, size: (1000, 300),
        })))
        div.columns {
            @for (what, steps) in smaller.iter().filter(|(_, steps)| !steps.is_empty()) {
                (scroll(what, &curve(&Curve { what, steps, measured: &[], size: (312, 200) })))
            }
        }
    }
}

/// How the last steps went.
fn lately(training: &Training, recent: &Recent) -> Markup {
    let left_out = training.left_out();
    html! { p {
        "Lately: loss " (format!("{:.3}", recent.loss))
        @if !recent.by_task.is_empty() {
            " (" (recent.by_task.iter().map(|(task, loss)| format!("{task} {loss:.3}")).collect::<Vec<_>>().join(", ")) ")"
        }
        ", " (format!("{:.2}", recent.seconds)) " s a step"
        @if let Some(texts) = recent.texts { ", " (format!("{texts:.1}")) " texts/s" }
        ", " (percent(recent.waiting)) " of it waiting for data"
        @if let Some(peak) = recent.peak { ", peak " (format!("{:.2}", peak as f64 / f64::from(1 << 30))) " GiB" }
        @if left_out > 0 { "; " (left_out) " steps left out, since their gradients were not finite" }
        "."
    } }
}

/// What the model answered when it was last measured.
fn answers(training: &Training) -> Markup {
    let Some(measured) = training.measured.as_ref().filter(|measured| !measured.answers.is_empty()) else {
        return html! {};
    };
    html! {
        h3 { "Answers after step " (measured.step) }
        (table("Answers", &["question", "expected", "answered"], &html! {
            @for answer in &measured.answers {
                tr { td.text { (answer.question) } td.text { (answer.expected) } td.text { (answer.answer) } }
            }
        }))
    }
}
