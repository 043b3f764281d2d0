//! The page: what was prepared, how training went, how well the model answers, and where it looks.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use med2e3_schemas::report::{Answer, Explanation, TableCounts, TrainReport};
use med2e3_schemas::sample::Task;

use super::chart;
use super::material::Material;

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
th { font-weight: 600; color: var(--soft); font-size: 13px; } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(160px, 1fr)); gap: 12px; margin: 20px 0; }
.tile { background: white; border: 1px solid var(--line); border-radius: 8px; padding: 12px 16px; }
.tile b { display: block; font-size: 24px; } .tile span { color: var(--soft); font-size: 13px; }
.bar { position: relative; background: #eceff3; height: 14px; border-radius: 3px; min-width: 200px; }
.bar i { position: absolute; inset: 0 auto 0 0; background: var(--blue); border-radius: 3px; }
.bar u { position: absolute; top: -3px; bottom: -3px; width: 2px; background: var(--bad); }
.right { color: var(--good); font-weight: 600; } .wrong { color: var(--bad); font-weight: 600; }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(440px, 1fr)); gap: 12px; }
img, svg { max-width: 100%; height: auto; display: block; } figure { margin: 0 0 10px; } figcaption { color: var(--soft); font-size: 13px; }
code { font-size: 13px; } .question { border-top: 1px solid var(--line); padding-top: 8px; margin-top: 12px; }
.strip { padding: 0 0.4% 0 4.23%; } .strip ol { display: grid; list-style: none; margin: 0; padding: 0; color: var(--soft); font-size: 12px; text-align: center; }
";

/// The whole page as text.
pub(super) fn html(material: &Material) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "med2e3 demo report" }
                style { (PreEscaped(STYLE)) }
            }
            body { main {
                h1 { "med2e3 demo report" }
                p { "A CT head atlas, cut into series whose plane, window and level are known; prepared, learned from scratch by a "
                    "small Med-2E3 in the paper's two stages, and asked about boxes of the head that it never saw." }
                (tiles(material))
                (prepared(material))
                (training(material))
                (metrics(material))
                (answers(material))
                (explanations(material))
                (stages(material))
            } }
        }
    };
    page.into_string()
}

fn tiles(material: &Material) -> Markup {
    let joined = &material.joined;
    let tile = |value: String, what: &str| html! { div.tile { b { (value) } span { (what) } } };
    let plane = joined.closed_accuracy.get("plane");
    html! { div.tiles {
        (tile(joined.volumes.rows.to_string(), "volumes prepared"))
        (tile(joined.texts.rows.to_string(), "texts prepared"))
        (tile(joined.quarantined.values().copied().fold(0, u64::saturating_add).to_string(), "inputs set aside"))
        @if let Some(plane) = plane {
            (tile(percent(plane.accuracy), &format!("right on \u{201c}which plane?\u{201d} (chance {})", percent(plane.chance))))
        }
        (tile(format!("{:.0} s", joined.seconds.values().sum::<f64>()), "all stages"))
    } }
}

fn prepared(material: &Material) -> Markup {
    let row = |table: &str, counts: &TableCounts| {
        html! { tr {
            td { (table) } td.n { (counts.manifest_rows) } td.n { (counts.rows) } td.n { (counts.quarantined_rows()) } td.n { (counts.duplicates) }
        } }
    };
    let demo_set = &material.demo_set;
    let list = |counts: &std::collections::BTreeMap<String, u64>| {
        counts.iter().map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
    };
    html! {
        h2 { "What was prepared" }
        p { (list(&demo_set.boxes)) " boxes of " code { (demo_set.atlas) } ", those of different splits " (demo_set.split_gap_mm)
            " mm or more apart, resliced into " (list(&demo_set.series)) " series stored as " (list(&demo_set.forms))
            ". Every volume became 32 x 256 x 256 voxels." }
        section {
            table {
                tr { th { "table" } th.n { "in the manifest" } th.n { "rows" } th.n { "set aside" } th.n { "duplicates" } }
                (row("volumes", &material.prepare.volumes)) (row("texts", &material.prepare.texts))
            }
            @if !material.quarantine.is_empty() {
                h3 { "Set aside" }
                table {
                    tr { th { "input" } th { "reason" } th { "detail" } }
                    @for record in &material.quarantine {
                        tr { td { code { (record.path) } } td { (record.reason) } td { (record.detail) } }
                    }
                }
            }
        }
        section { div.two {
            @for (name, picture) in &material.volumes {
                figure { img src=(picture) alt={ "eight slices of " (name) }; figcaption { (name) } }
            }
        } }
    }
}

fn training(material: &Material) -> Markup {
    let run = |report: &TrainReport| {
        let steps: Vec<(u64, f64)> = report.steps.iter().map(|step| (step.step, step.loss)).collect();
        let seconds: f64 = report.steps.iter().map(|step| step.seconds).sum();
        let wait: f64 = report.steps.iter().map(|step| step.wait_seconds).sum();
        let count = report.steps.len().max(1) as f64;
        let parameters = report.parameters.values().copied().fold(0, u64::saturating_add);
        html! { section {
            h3 { (report.name) }
            (PreEscaped(chart::loss(&steps, &report.validation)))
            p { (report.steps.len()) " steps over " (report.samples) " samples, seed " (report.seed) ", on " (report.device) "; "
                (format!("{:.2}", parameters as f64 / 1e6)) " M parameters, trained: " (report.trained.join(", ")) "; "
                (format!("{:.2}", seconds / count)) " s a step, " (percent(wait / seconds.max(1e-9))) " of it waiting for data." }
        } }
    };
    html! {
        h2 { "Training" }
        p { "Loss on each batch (faint), its running mean (line) and the loss on the validation split (points)." }
        div.two { @for report in &material.trained { (run(report)) } }
    }
}

fn metrics(material: &Material) -> Markup {
    html! {
        h2 { "How well it answers" }
        p { "The " (material.evaluate.split) " split: boxes of the brain that training never saw. A plane shows in the anatomy and in how "
            "a flat box is stretched; choices stand in the same order in every row."  }
        p { " The red mark is what guessing reaches; \u{b1} is half of "
            "the 95 % confidence interval." }
        section { table {
            tr { th { "task" } th { "topic" } th { "metric" } th.n { "samples" } th.n { "mean" } th.n { "\u{b1}" } th.n { "chance" } th { "" } }
            @for score in &material.evaluate.scores {
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

fn answers(material: &Material) -> Markup {
    let answers = &material.evaluate.answers;
    // Evenly over the answers, which are sorted by a hash, so that no one selected them.
    let shown = answers.iter().step_by(answers.len().div_ceil(SHOWN_ANSWERS).max(1));
    html! {
        h2 { "Answers next to the truth" }
        p { "Every n-th of " (answers.len()) " answers in the order of their ids, right and wrong alike." }
        section { table {
            tr { th { "question" } th { "expected" } th { "answered" } th.n { "metric" } }
            @for answer in shown { tr {
                td { (answer.question) } td { (answer.expected) } td { (answer.answer) } td.n { (verdict(answer)) }
            } }
        } }
    }
}

fn verdict(answer: &Answer) -> Markup {
    let metric = |name: &str| answer.metrics.get(name).copied().unwrap_or(0.0);
    match answer.task {
        Task::ClosedVqa if metric("correct") > 0.0 => html! { span.right { "right" } },
        Task::ClosedVqa => html! { span.wrong { "wrong" } },
        Task::Caption | Task::OpenVqa => html! { "BLEU@1 " (percent(metric("bleu1"))) },
    }
}

fn explanations(material: &Material) -> Markup {
    let volumes: Vec<&[Explanation]> =
        material.explain.explanations.chunk_by(|a, b| a.answer.volume_id == b.answer.volume_id).collect();
    html! {
        h2 { "Where it looks" }
        p { "For each question, how much each of the volume's slices counts when their 2D features are joined. The dashed line is where all "
            "slices would count the same; each picture is above the bars of its own and its neighbours' slices." }
        @for questions in volumes {
            section {
                @let first = &questions[0];
                figure.strip {
                    img src=(material.strips.get(&first.picture).map_or("", String::as_str)) alt="slices of the volume";
                    ol style={ "grid-template-columns:repeat(" (first.shown.len()) ",1fr)" } { @for slice in &first.shown { li { (slice) } } }
                }
                @for question in questions { div.question {
                    h3 { (question.answer.question) }
                    p { "expected " b { (question.answer.expected) } ", answered " b { (question.answer.answer) } }
                    (PreEscaped(chart::scores(&question.answer.scores)))
                } }
            }
        }
    }
}

fn stages(material: &Material) -> Markup {
    html! {
        h2 { "Time" }
        section { table {
            tr { th { "stage" } th.n { "seconds" } }
            @for (stage, seconds) in &material.joined.seconds { tr { td { (stage) } td.n { (format!("{seconds:.1}")) } } }
        } }
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}
