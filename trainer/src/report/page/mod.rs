//! The page: what was prepared, how trainings go, how well models answer, and where they look.

mod training;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use med2e3_metric::focus::effective;
use med2e3_schemas::evaluation::{Answer, EvaluateReport, main_metric};
use med2e3_schemas::report::{DemoSetReport, Explanation, RetrievalScores, RetrieveReport, TableCounts};
use med2e3_schemas::sample::{Task, Topic};

use super::chart;
use super::run::{Explained, Prepared, Run, What};

/// Answers shown; all of them are in the evaluation's `report.json`.
const SHOWN_ANSWERS: usize = 24;

const STYLE: &str = "
:root { --ink: #1d2733; --soft: #5b6673; --line: #dfe4ea; --good: #1f7a4d; --bad: #b3362b; --blue: #26629e; }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, 'Segoe UI', Roboto, sans-serif; color: var(--ink); background: #f6f7f9; margin: 0; }
main { max-width: 1080px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { font-size: 28px; margin: 0 0 4px; } h2 { font-size: 20px; margin: 40px 0 8px; } h3 { font-size: 15px; margin: 16px 0 4px; }
p { margin: 4px 0 12px; color: var(--soft); max-width: 74ch; }
section { background: white; border: 1px solid var(--line); border-radius: 8px; padding: 16px 20px; margin: 8px 0; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: 4px 12px 4px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; color: var(--soft); font-size: 13px; } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; } td.n { white-space: nowrap; } td.whisker { min-width: 180px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(160px, 1fr)); gap: 12px; margin: 20px 0; }
.tile { background: white; border: 1px solid var(--line); border-radius: 8px; padding: 12px 16px; }
.tile b { display: block; font-size: 24px; } .tile span { color: var(--soft); font-size: 13px; }
.bar { position: relative; background: #eceff3; height: 14px; border-radius: 3px; min-width: 200px; }
.bar i { position: absolute; inset: 0 auto 0 0; background: var(--blue); border-radius: 3px; }
.bar u { position: absolute; top: -3px; bottom: -3px; width: 2px; background: var(--bad); }
.right { color: var(--good); font-weight: 600; } .wrong { color: var(--bad); font-weight: 600; }
@media (max-width: 620px) { .two, .three { display: block; } }
.three { display: grid; grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); gap: 12px; }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(440px, 1fr)); gap: 12px; }
img, svg { max-width: 100%; height: auto; display: block; } figure { margin: 0 0 10px; } figcaption { color: var(--soft); font-size: 13px; }
code { font-size: 13px; } .question { border-top: 1px solid var(--line); padding-top: 8px; margin-top: 12px; }
p.state { color: var(--ink); } table.answers td { max-width: 40ch; overflow-wrap: anywhere; }
.strip { padding: 0 0.4% 0 4.23%; } .strip ol { display: grid; list-style: none; margin: 0; padding: 0; color: var(--soft); font-size: 12px; text-align: center; }
";

/// The whole page as text. `reload` is after how many seconds a browser loads it again.
pub(super) fn html(runs: &[Run], reload: Option<u64>) -> String {
    let demo_set = runs.iter().find_map(|run| match &run.what {
        What::DemoSet(report) => Some(report),
        _ => None,
    });
    let title = if demo_set.is_some() { "med2e3 demo report" } else { "med2e3 report" };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                @if let Some(seconds) = reload { meta http-equiv="refresh" content=(seconds); }
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { main {
                h1 { (title) }
                @if demo_set.is_some() {
                    p { "A CT head atlas, cut into series whose plane, window and level are known; prepared, learned from scratch by a "
                        "small Med-2E3 in the paper's two stages, and asked about boxes of the head that it never saw." }
                }
                (tiles(runs))
                @for (run, prepared) in of(runs, |what| if let What::Dataset(found) = what { Some(found) } else { None }) {
                    (dataset(run, prepared, demo_set))
                }
                (training::section(&of(runs, |what| if let What::Training(found) = what { Some(found) } else { None })))
                @for (run, report) in of(runs, |what| if let What::Evaluation(found) = what { Some(found) } else { None }) {
                    (metrics(run, report, demo_set))
                    (controls(report))
                    (focus(report))
                    (answers(report))
                }
                @for (run, explained) in of(runs, |what| if let What::Explanation(found) = what { Some(found) } else { None }) {
                    (explanations(run, explained))
                }
                @for (run, report) in of(runs, |what| if let What::Retrieval(found) = what { Some(found) } else { None }) {
                    (retrieval(run, report))
                }
                (seconds(runs))
            } }
        }
    };
    page.into_string()
}

/// The runs of one kind.
fn of<'a, T>(runs: &'a [Run], kind: impl Fn(&'a What) -> Option<&'a T>) -> Vec<(&'a Run, &'a T)> {
    runs.iter().filter_map(|run| Some((run, kind(&run.what)?))).collect()
}

/// A heading with the run's folder.
fn heading(text: &str, run: &Run) -> Markup {
    html! { h2 { (text) } p { code { (run.path) } } }
}

fn tiles(runs: &[Run]) -> Markup {
    let tile = |value: String, what: &str| html! { div.tile { b { (value) } span { (what) } } };
    html! { div.tiles {
        @for run in runs { @match &run.what {
            What::Dataset(Prepared { report, .. }) => {
                (tile(report.volumes.rows.to_string(), "volumes prepared"))
                (tile(report.texts.rows.to_string(), "texts prepared"))
                (tile(report.volumes.quarantined_rows().saturating_add(report.texts.quarantined_rows()).to_string(), "inputs set aside"))
            }
            What::Training(training) => {
                @if let Some((step, loss)) = training.validation.last() {
                    (tile(format!("{loss:.3}"), &format!("loss on the validation split, {}, step {step}", training.name())))
                }
            }
            What::Evaluation(report) => {
                @if let Some((accuracy, chance)) = plane(report) {
                    (tile(percent(accuracy), &format!("right on \u{201c}which plane?\u{201d} (chance {})", percent(chance))))
                }
            }
            What::DemoSet(_) | What::Explanation(_) | What::Retrieval(_) => {}
        } }
        (tile(duration(times(runs).map(|(_, seconds)| seconds).sum()), "all runs"))
    } }
}

/// Accuracy on the plane that is shown, and what guessing reaches.
fn plane(report: &EvaluateReport) -> Option<(f64, f64)> {
    let is_plane = |topic| topic == Some(Topic::Plane);
    let score = report.scores.iter().find(|score| score.metric == "correct" && is_plane(score.topic))?;
    Some((score.micro, score.chance?))
}

fn dataset(run: &Run, prepared: &Prepared, demo_set: Option<&DemoSetReport>) -> Markup {
    let row = |table: &str, counts: &TableCounts| {
        html! { tr {
            td { (table) } td.n { (counts.manifest_rows) } td.n { (counts.rows) } td.n { (counts.quarantined_rows()) } td.n { (counts.duplicates) }
        } }
    };
    let list = |counts: &std::collections::BTreeMap<String, u64>| {
        counts.iter().map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
    };
    html! {
        (heading("What was prepared", run))
        @if let Some(demo_set) = demo_set {
            p { (list(&demo_set.boxes)) " boxes of " code { (demo_set.atlas) } ", those of different splits " (demo_set.split_gap_mm)
                " mm or more apart, resliced into " (list(&demo_set.series)) " series stored as " (list(&demo_set.forms))
                ". Every volume became 32 x 256 x 256 voxels." }
        }
        section {
            table {
                tr { th { "table" } th.n { "in the manifest" } th.n { "rows" } th.n { "set aside" } th.n { "duplicates" } }
                (row("volumes", &prepared.report.volumes)) (row("texts", &prepared.report.texts))
            }
            @if !prepared.quarantine.is_empty() {
                h3 { "Set aside" }
                table {
                    tr { th { "input" } th { "reason" } th { "detail" } }
                    @for record in prepared.quarantine.iter().take(SHOWN_REJECTS) {
                        tr { td { code { (record.path) } } td { (record.reason) } td { (record.detail) } }
                    }
                }
                @if prepared.quarantine.len() > SHOWN_REJECTS {
                    p { "and " (prepared.quarantine.len() - SHOWN_REJECTS) " more; " code { "med2e3-data rejects" } " lists all." }
                }
            }
        }
        section { div.two {
            @for (name, picture) in &prepared.volumes {
                figure { img src=(picture) alt={ "eight slices of " (name) }; figcaption { (name) } }
            }
        } }
    }
}

/// Inputs set aside that are shown.
const SHOWN_REJECTS: usize = 50;

fn metrics(run: &Run, report: &EvaluateReport, demo_set: Option<&DemoSetReport>) -> Markup {
    html! {
        (heading("How well it answers", run))
        p { "The " (report.split) " split, answered by " code { (report.checkpoint) } "." }
        @if demo_set.is_some() {
            p { "Boxes of the brain that training never saw. A plane shows in the anatomy and in how a flat box is stretched; choices stand "
                "in the same order in every row."  }
        }
        p { "The red mark is what guessing reaches; \u{b1} is half of "
            "the 95 % confidence interval." }
        section { table {
            tr { th { "task" } th { "topic" } th { "metric" } th.n { "samples" } th.n { "mean" } th.n { "\u{b1}" } th.n { "chance" } th { "" } }
            @for score in &report.scores {
                tr {
                    td { (score.task) } td { (score.topic.map_or("all", |topic| topic.as_str())) } td { (score.metric) }
                    td.n { (score.count) } td.n { (percent(score.micro)) } td.n { (percent(score.half_interval)) }
                    td.n { (score.chance.map_or("\u{2013}".to_owned(), percent)) }
                    td { div.bar {
                        i style={ "width:" (format!("{:.1}", 100.0 * score.micro)) "%" } {}
                        @if let Some(chance) = score.chance { u style={ "left:" (format!("{:.1}", 100.0 * chance)) "%" } {} }
                    } }
                }
            }
        } }
    }
}

fn controls(report: &EvaluateReport) -> Markup {
    if report.controls.is_empty() {
        return html! {};
    }
    html! {
        h3 { "What the answers rest on" }
        p { "The same questions about a volume of another case (" code { "shuffled" } "), about zeros (" code { "blank" } "), without a volume ("
            code { "question_only" } "), with each choice by another letter (" code { "choices_rotated" } "), and the most frequent training answer ("
            code { "majority" } "). A model that looks falls far with the first three." }
        section { table {
            tr {
                th { "control" } th { "task" } th { "metric" } th.n { "samples" } th.n { "real" } th.n { "control" } th.n { "difference" }
                th.n { "95 % interval" } th { "-25 to 100 %" } th.n { "answers changed" }
            }
            @for score in report.main_controls() {
                @let [low, high] = score.interval;
                tr {
                    td { (score.control) } td { (score.task) } td { (score.metric) } td.n { (score.count) } td.n { (percent(score.real)) }
                    td.n { (percent(score.control_mean)) } td.n { (percent(score.difference)) }
                    td.n { (percent(low)) " to " (percent(high)) } td.whisker { (whisker(score.difference, score.interval)) }
                    td.n { (percent(score.changed)) }
                }
            }
        } }
    }
}

/// A difference as a dot on its interval, with a line at 0.
fn whisker(difference: f64, interval: [f64; 2]) -> Markup {
    let x = |share: f64| format!("{:.1}", 200.0 * (share.clamp(-0.25, 1.0) + 0.25) / 1.25);
    let [low, high] = interval.map(x);
    html! {
        svg viewBox="-4 0 208 14" width="208" height="14" role="img" {
            title { "difference and its interval" }
            line x1=(x(0.0)) x2=(x(0.0)) y1="0" y2="14" stroke="#b3362b" {}
            line x1=(low) x2=(high) y1="7" y2="7" stroke="#26629e" stroke-width="2" {}
            circle cx=(x(difference)) cy="7" r="4" fill="#26629e" {}
        }
    }
}

fn focus(report: &EvaluateReport) -> Markup {
    let Some(focus) = &report.focus else { return html! {} };
    html! {
        h3 { "Over how many slices the scores are spread" }
        p { "Effective slices: 1 where one slice counts alone, " (focus.slices) " where all count the same. Distance: 0 bits where the same slices "
            "count for two answers, 1 where none counts for both." }
        section { div.two {
            table {
                tr { th { "topic" } th.n { "answers" } th.n { "effective slices" } th.n { "95 % interval" } th.n { "five highest" } }
                @for topic in &focus.topics {
                    @let [low, high] = topic.interval;
                    tr {
                        td { (topic.topic.map_or("all", |topic| topic.as_str())) } td.n { (topic.count) }
                        td.n { (format!("{:.1}", topic.effective_slices)) } td.n { (format!("{low:.1} to {high:.1}")) } td.n { (percent(topic.highest_5)) }
                    }
                }
            }
            table {
                tr { th { "distance to" } th.n { "pairs" } th.n { "bits" } th.n { "95 % interval" } }
                @for distance in &focus.distances {
                    @let [low, high] = distance.interval;
                    tr {
                        td { (distance.between) } td.n { (distance.count) } td.n { (format!("{:.4}", distance.bits)) }
                        td.n { (format!("{low:.4} to {high:.4}")) }
                    }
                }
            }
        } }
    }
}

fn answers(report: &EvaluateReport) -> Markup {
    let (worst, rest) = shown(&report.answers);
    html! {
        h3 { "Answers next to the truth" }
        p { "Of " (report.answers.len()) " answers: first " (worst.len()) " of the worst, then every n-th of the others in the order of their ids." }
        section { table.answers {
            tr { th { "question" } th { "expected" } th { "answered" } th.n { "metric" } }
            @for answer in worst.into_iter().chain(rest) { tr {
                td { (answer.question) } td { (answer.expected) } td { (answer.answer) } td.n { (verdict(answer)) }
            } }
        } }
    }
}

/// What is shown of the answers: up to half a page of those with the lowest scores below 1, then others evenly over all, which are
/// sorted by a hash, so that no one selected them.
fn shown(answers: &[Answer]) -> (Vec<&Answer>, Vec<&Answer>) {
    let score = |answer: &Answer| answer.metrics.get(main_metric(answer.task)).copied().unwrap_or(0.0);
    let mut order: Vec<&Answer> = answers.iter().collect();
    order.sort_by(|a, b| score(a).total_cmp(&score(b)));
    let wrong = order.iter().take_while(|answer| score(answer) < 1.0).count();
    let mut rest = order.split_off(wrong.min(SHOWN_ANSWERS / 2));
    rest.sort_by(|a, b| a.sample_id.cmp(&b.sample_id));
    let room = SHOWN_ANSWERS - order.len();
    let each = rest.len().div_ceil(room).max(1);
    (order, rest.into_iter().step_by(each).collect())
}

fn verdict(answer: &Answer) -> Markup {
    let metric = |name: &str| answer.metrics.get(name).copied().unwrap_or(0.0);
    match answer.task {
        Task::ClosedVqa if metric("correct") > 0.0 => html! { span.right { "right" } },
        Task::ClosedVqa => html! { span.wrong { "wrong" } },
        Task::Caption | Task::OpenVqa => html! { "BLEU@1 " (percent(metric("bleu1"))) },
    }
}

fn explanations(run: &Run, explained: &Explained) -> Markup {
    let volumes: Vec<&[Explanation]> =
        explained.report.explanations.chunk_by(|a, b| a.answer.volume_id == b.answer.volume_id).collect();
    html! {
        (heading("Where it looks", run))
        p { "For each question, how much each of the volume's slices counts when their 2D features are joined, in times an even share: at the "
            "dashed line, 1, all count the same. The table has a row a question and a column a slice, the darker the more; bars of one volume have "
            "one axis. Each picture is above the bars of its own and its neighbours' slices." }
        @for questions in volumes {
            section {
                @let first = &questions[0];
                @let highest = chart::highest(questions.iter().map(|question| question.answer.scores.as_slice()));
                figure.strip {
                    img src=(explained.strips.get(&first.picture).map_or("", String::as_str)) alt="slices of the volume";
                    ol style={ "grid-template-columns:repeat(" (first.shown.len()) ",1fr)" } { @for slice in &first.shown { li { (slice) } } }
                }
                (matrix(questions, highest))
                @for question in questions { div.question {
                    h3 { (question.answer.question) }
                    p { "expected " b { (question.answer.expected) } ", answered " b { (question.answer.answer) } }
                    (PreEscaped(chart::scores(&question.answer.scores, highest)))
                } }
            }
        }
    }
}

/// Questions by slices: how much each counts, the darker the more.
fn matrix(questions: &[Explanation], highest: f64) -> Markup {
    let slices = questions.iter().map(|question| question.answer.scores.len()).max().unwrap_or(0).max(1);
    let (left, width, height) = (44, 992, 18);
    let opacity = |score: f32| (f64::from(score) * slices as f64 / highest.max(1e-9)).clamp(0.0, 1.0);
    html! {
        svg viewBox={ "0 0 1040 " (height * questions.len() + 4) } width="1040" height=(height * questions.len() + 4) role="img" {
            title { "Questions by slices" }
            @for (row, question) in questions.iter().enumerate() {
                text x=(left - 8) y=(row * height + 14) text-anchor="end" font-size="12" fill="#5b6673" { (row + 1) }
                @for (slice, &score) in question.answer.scores.iter().enumerate() {
                    rect x=(left + slice * width / slices) y=(row * height + 2) width=(width / slices) height=(height - 2) fill="#26629e"
                        fill-opacity=(format!("{:.3}", opacity(score))) {}
                }
            }
        }
        ol.questions { @for question in questions { li { (question.answer.question) " \u{2014} " (spread(&question.answer.scores)) } } }
    }
}

/// Over how many slices a question's scores are spread, in words.
fn spread(scores: &[f32]) -> String {
    let peak = (0..scores.len()).max_by(|a, b| scores[*a].total_cmp(&scores[*b])).unwrap_or(0);
    format!("spread over {:.1} slices, most on slice {peak}", effective(scores))
}

fn retrieval(run: &Run, report: &RetrieveReport) -> Markup {
    let row = |right: &str, scores: &RetrievalScores| {
        let [texts, volumes] = [scores.image_to_text, scores.text_to_image];
        html! { tr {
            td { (right) }
            @for share in [texts.at_1, texts.at_5, texts.at_10, volumes.at_1, volumes.at_5, volumes.at_10] { td.n { (percent(share)) } }
        } }
    };
    html! {
        (heading("How well volumes and captions find each other", run))
        p { (report.pairs) " pairs of the " (report.split) " split, ranked by " code { (report.clip) } ": the share of queries whose right "
            "item is among the first 1, 5 and 10." }
        section { table {
            tr { th { "right is" } th.n { "caption R@1" } th.n { "R@5" } th.n { "R@10" } th.n { "volume R@1" } th.n { "R@5" } th.n { "R@10" } }
            (row("the own partner", &report.by_index)) (row("every item of the same caption", &report.by_text))
        } }
    }
}

/// The seconds of each run that tells them.
fn times(runs: &[Run]) -> impl Iterator<Item = (&str, f64)> {
    runs.iter().filter_map(|run| {
        let seconds = match &run.what {
            What::DemoSet(_) => return None,
            What::Dataset(prepared) => prepared.report.seconds,
            What::Training(training) => training.seconds(),
            What::Evaluation(report) => report.seconds,
            What::Explanation(explained) => explained.report.seconds,
            What::Retrieval(report) => report.seconds,
        };
        Some((run.path.as_str(), seconds))
    })
}

fn seconds(runs: &[Run]) -> Markup {
    html! {
        h2 { "Time" }
        section { table {
            tr { th { "run" } th.n { "time" } }
            @for (path, seconds) in times(runs) { tr { td { code { (path) } } td.n { (duration(seconds)) } } }
        } }
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// Seconds in words.
fn duration(seconds: f64) -> String {
    match seconds {
        ..120.0 => format!("{seconds:.1} s"),
        ..7200.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}
