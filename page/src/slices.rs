//! A volume's slices above the bars of its questions: a viewer where the page's script runs, still pictures where it does not.

use maud::{Markup, html};

use crate::svg;

/// A volume and what was asked about it.
#[derive(Clone, Debug)]
pub struct Volume<'a> {
    /// Its heading.
    pub name: &'a str,
    /// How many slices it has.
    pub slices: usize,
    /// Its picture.
    pub still: Still<'a>,
    /// The Hounsfield units of black and of white, where they are known.
    pub units: Option<[f64; 2]>,
    /// What was asked.
    pub questions: Vec<Question<'a>>,
}

/// A picture of a volume, as a data address.
#[derive(Clone, Copy, Debug)]
pub enum Still<'a> {
    /// All slices from left to right and top to bottom, so many in a row.
    Sheet(&'a str, usize),
    /// Some of them side by side, by number.
    Strip(&'a str, &'a [u32]),
}

/// A question about a volume.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// It.
    pub question: &'a str,
    /// What was expected.
    pub expected: &'a str,
    /// What was answered.
    pub answer: &'a str,
    /// How much each slice counts; all of them sum to 1.
    pub scores: &'a [f32],
    /// How the scores are spread, in words.
    pub spread: &'a str,
}

impl Volume<'_> {
    /// Its part of the page.
    pub fn markup(&self) -> Markup {
        let Volume { name, slices, still, units, questions } = self;
        let highest = svg::highest(questions.iter().map(|question| question.scores));
        html! {
            article.viewer data-slices=(slices) data-low=[units.map(|units| units[0])] data-high=[units.map(|units| units[1])] {
                h3 { (name) }
                div.screen { (picture(*still, *slices)) }
                ol.questions { @for (number, question) in questions.iter().enumerate() { (one(number, question, highest)) } }
                div.tracks style={ "--n:" (slices) } {
                    div.filmstrip {}
                    @if !questions.is_empty() {
                        div.lane.bars.scripted-only { (line_label(highest)) }
                        (matrix(questions, *slices))
                    }
                    div.numbers aria-hidden="true" { span { "slice 0" } span { (slices.saturating_sub(1)) } }
                }
                p.scripted-only.keys { kbd { "\u{2190}" } " " kbd { "\u{2192}" } " on the slider move by a slice, "
                    @if !questions.is_empty() { kbd { "1" } " to " kbd { (questions.len().min(9)) } " show a question's highest one; " }
                    "the wheel and a pointer over the slices move too." }
            }
        }
    }
}

fn picture(still: Still<'_>, slices: usize) -> Markup {
    match still {
        Still::Sheet(address, columns) => html! {
            img.sheet src=(address) data-columns=(columns) alt={ "all " (slices) " slices, " (columns) " in a row" };
        },
        Still::Strip(address, shown) => {
            let numbers = shown.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
            html! { figure { img.sheet src=(address) alt={ (shown.len()) " slices of the volume" }; figcaption { "slices " (numbers) } } }
        }
    }
}

fn one(number: usize, question: &Question<'_>, highest: f64) -> Markup {
    let scores: Vec<String> = question.scores.iter().map(|score| format!("{score:.5}")).collect();
    let title = format!("How much each slice counts for question {}", number + 1);
    html! {
        li data-scores=(scores.join(" ")) {
            p.q { (number + 1) ". " (question.question) }
            div.detail {
                dl.pair { dt { "expected" } dd { (question.expected) } dt { "answered" } dd { (question.answer) } }
                p.share { (question.spread) }
            }
            div.bars { (svg::slices(&title, question.scores, highest)) (line_label(highest)) }
        }
    }
}

/// What the dashed line is, left of it.
fn line_label(highest: f64) -> Markup {
    let below = 100.0 * (1.0 - 1.0 / highest.max(1.0));
    html! { span.label.line style={ "top:" (format!("{below:.1}")) "%" } { "1 \u{d7}" } }
}

/// Questions by slices: how much each counts, the darker the more.
fn matrix(questions: &[Question<'_>], slices: usize) -> Markup {
    let most = questions.iter().flat_map(|question| svg::times_even(question.scores)).fold(1e-9, f64::max);
    let said = questions.iter().enumerate().filter_map(|(number, question)| {
        let peak = svg::times_even(question.scores).enumerate().max_by(|a, b| a.1.total_cmp(&b.1))?;
        Some(format!("question {}: most on slice {}", number + 1, peak.0))
    });
    html! {
        div.lane.matrix style={ "--rows:" (questions.len()) } {
            ol { @for number in 0..questions.len() { li { (number + 1) } } }
            svg.chart viewBox={ "0 0 " (slices.max(1) * 10) " " (questions.len().max(1) * 10) } preserveAspectRatio="none" role="img" {
                title { "Questions by slices, the darker the more a slice counts" }
                desc { (said.collect::<Vec<_>>().join("; ")) }
                @for (row, question) in questions.iter().enumerate() {
                    @for (slice, times) in svg::times_even(question.scores).enumerate().take(slices) {
                        rect.cell x=(slice * 10) y=(row * 10) width="9.6" height="9.2" fill-opacity=(format!("{:.2}", times / most)) {}
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_has_its_questions_by_slices() {
        let question = |scores| Question {
            question: "<Where>?",
            expected: "Axial",
            answer: "Coronal",
            scores,
            spread: "spread over 2.0 slices",
        };
        let questions = vec![question(&[0.1, 0.9]), question(&[f32::NAN, f32::INFINITY])];
        let volume = Volume {
            name: "Volume 1",
            slices: 2,
            still: Still::Sheet("data:,", 8),
            units: Some([-100.0, 300.0]),
            questions,
        };
        let found = volume.markup().into_string();
        for part in
            ["data-low=\"-100\"", "data-columns=\"8\"", "&lt;Where&gt;?", "question 1: most on slice 1", "all 2 slices"]
        {
            assert!(found.contains(part), "{part}: {found}");
        }
        assert_eq!((found.matches("class=\"cell\"").count(), found.matches("class=\"bar\"").count()), (4, 4));
        let volume = Volume { still: Still::Strip("data:,", &[0, 1]), units: None, questions: Vec::new(), ..volume };
        let found = volume.markup().into_string();
        assert!(
            found.contains("slices 0, 1") && !found.contains("data-low") && !found.contains("data-columns"),
            "{found}"
        );
    }
}
