//! Where it looks: explained volumes, and over how many slices scores are spread.

use maud::{Markup, html};
use med2e3_metric::focus::effective;
use med2e3_page::{Question, Still, Volume, table};
use med2e3_schemas::evaluation::ScoreFocus;
use med2e3_schemas::explanation::DeletionScore;
use med2e3_schemas::report::Explanation;

use super::{number, percent};
use crate::report::run::Explained;

/// Slices in a row of the sheet that `explain` writes.
const SHEET_COLUMNS: usize = 8;

/// `units` are the Hounsfield units of black and white, where they are known.
pub(super) fn explanations(explained: &Explained, units: Option<[f64; 2]>) -> Markup {
    let all = &explained.report.explanations;
    html! {
        p { "For each question, how much each of the volume's slices counts when their 2D features are joined, in times an even share: at the "
            "dashed line, 1, all count the same. The table has a row a question and a column a slice, the darker the more; all of a volume have "
            "one axis. Whatever the scores, the model's 3D tokens see all slices." }
        @for (place, questions) in all.chunk_by(|a, b| a.answer.volume_id == b.answer.volume_id).enumerate() {
            (volume(explained, questions, place, units))
            (attention(explained, questions))
        }
        @if !explained.report.deletion.is_empty() { (deletion(&explained.report.deletion)) }
    }
}

fn volume(explained: &Explained, questions: &[Explanation], place: usize, units: Option<[f64; 2]>) -> Markup {
    let first = &questions[0];
    let strip = || Still::Strip(explained.strips.get(&first.picture).map_or("", String::as_str), &first.shown);
    let sheet = first.sheet.as_ref().and_then(|name| explained.sheets.get(name));
    let still = sheet.map_or_else(strip, |sheet| Still::Sheet(sheet, SHEET_COLUMNS));
    let spreads: Vec<String> = questions.iter().map(|question| spread(&question.answer.scores)).collect();
    let questions = questions.iter().zip(&spreads).map(|(Explanation { answer, .. }, spread)| Question {
        question: &answer.question,
        expected: &answer.expected,
        answer: &answer.answer,
        scores: &answer.scores,
        spread,
    });
    let id: String = first.answer.volume_id.chars().take(8).collect();
    let name = format!("Volume {} \u{b7} {id}", place + 1);
    Volume { name: &name, slices: first.slices as usize, still, units, questions: questions.collect() }.markup()
}

/// Where the answers' tokens look, of questions that were asked for it.
fn attention(explained: &Explained, questions: &[Explanation]) -> Markup {
    let maps = questions.iter().filter_map(|question| Some((&question.answer, question.attention.as_ref()?)));
    let maps: Vec<_> = maps.collect();
    html! { @if !maps.is_empty() { details {
        summary { "Where the answers' tokens look" }
        p { "Full colour is the strongest 3D token of all layers. Attention is no proof of a cause." }
        div.gallery { @for (answer, map) in maps {
            figure {
                img src=(explained.attention.get(&map.picture).map_or("", String::as_str)) alt={ "attention over slice " (map.slice) };
                figcaption {
                    (answer.question) " " b { (answer.answer) } " On slice " (map.slice) ", block " (map.layer) " of the language model: " (percent(map.tokens3d)) " on 3D tokens, "
                    (percent(map.tokens2d)) " on 2D tokens, " (percent(map.rest)) " on text"
                }
            }
        } }
    } } }
}

/// What deletion of slices says over all questions.
fn deletion(scores: &[DeletionScore]) -> Markup {
    let columns = [
        "slices at 0",
        "#questions",
        "#cases",
        "#fall without the highest",
        "#fall without drawn ones",
        "#difference",
        "#95 % interval",
    ];
    html! {
        h3 { "Whether slices with high scores matter" }
        p { "By how much the log-probability of the expected answer falls, in nats a token, while the scores of a few slices are 0: the highest ones, or as many "
            "drawn ones. A difference above 0 says that slices with high scores matter more than others; an interval that holds 0 shows nothing." }
        div.box { (table("Deletion of slices", &columns, &html! { @for score in scores { tr {
            th scope="row" { (score.slices) } td.n { (number(score.count)) } td.n { (number(score.cases)) } td.n { (format!("{:.3}", score.best)) }
            td.n { (format!("{:.3}", score.random)) } td.n { (format!("{:.3}", score.difference)) }
            td.n { (score.interval.map_or("\u{2013}".to_owned(), |[low, high]| format!("{low:.3} to {high:.3}"))) }
        } } })) }
    }
}

/// Over how many slices a question's scores are spread, in words.
fn spread(scores: &[f32]) -> String {
    let peak = (0..scores.len()).max_by(|a, b| scores[*a].total_cmp(&scores[*b])).unwrap_or(0);
    format!("spread over {:.1} slices, most on slice {peak}", effective(scores))
}

/// How the scores of a whole evaluation are spread.
pub(super) fn focus(focus: &ScoreFocus) -> Markup {
    html! {
        h3 { "Over how many slices the scores are spread" }
        p { "Over all answers of the evaluation. Effective slices: 1 where one slice counts alone, " (focus.slices) " where all count the same. Distance: 0 bits "
            "where the same slices count for two answers, 1 where none counts for both." }
        div.box { div.columns {
            (table("Effective slices", &["topic", "#answers", "#effective slices", "#95 % interval", "#five highest"], &html! {
                @for topic in &focus.topics {
                    @let [low, high] = topic.interval;
                    tr.all[topic.topic.is_none()] {
                        th scope="row" { (topic.topic.map_or("all", |topic| topic.as_str())) } td.n { (number(topic.count)) }
                        td.n { (format!("{:.1}", topic.effective_slices)) } td.n { (format!("{low:.1} to {high:.1}")) } td.n { (percent(topic.highest_5)) }
                    }
                }
            }))
            (table("Distances of scores", &["distance to", "#pairs", "#bits", "#95 % interval"], &html! {
                @for distance in &focus.distances {
                    @let [low, high] = distance.interval;
                    tr {
                        th scope="row" { (distance.between.replace('_', " ")) } td.n { (number(distance.count)) } td.n { (format!("{:.4}", distance.bits)) }
                        td.n { (format!("{low:.4} to {high:.4}")) }
                    }
                }
            }))
        } }
        @if let Some(pattern) = &focus.pattern {
            p {
                "Groups of " (pattern.group) " slices that share their 3D tokens: their scores correlate by " b { (format!("{:.2}", pattern.correlation)) }
                @if let Some([low, high]) = pattern.interval { (format!(" ({low:.2} to {high:.2})")) }
                " over " (number(pattern.count)) " answers; near 0 where no pattern repeats."
            }
        }
    }
}
