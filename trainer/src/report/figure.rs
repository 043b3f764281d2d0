//! Figure: one explained volume as a picture of its own: its slices, and for each open question how much each slice counts, the
//! answer and the truth.

use std::collections::BTreeMap;

use maud::{PreEscaped, html};
use med2e3_schemas::report::Explanation;
use med2e3_schemas::sample::Task;

use super::chart;

/// Questions of the volume that are shown.
const QUESTIONS: usize = 3;
/// Pixels: the whole, where bars begin and end in a chart, and how high a question with its bars is.
const WIDTH: usize = 1080;
const MARGIN: usize = 20;
const BARS_LEFT: usize = 44;
const BARS_WIDTH: usize = 992;
const QUESTION_HEIGHT: usize = 158;
/// Characters of a line at most.
const LINE: usize = 110;

/// The figure as SVG that needs no other file: of the volume with the open question for which its slices count most unequally, since
/// there is most to see. `None` where no question was explained. `strips` are the volumes' slices as data addresses, by the names
/// that the explanations have.
pub(super) fn svg(explanations: &[Explanation], strips: &BTreeMap<String, String>) -> Option<String> {
    let is_open = |explanation: &&Explanation| explanation.answer.task == Task::OpenVqa;
    let highest = |explanation: &Explanation| explanation.answer.scores.iter().copied().fold(0.0f32, f32::max);
    let most = explanations.iter().filter(is_open).max_by(|a, b| highest(a).total_cmp(&highest(b)))?;
    let of_volume = explanations.iter().filter(is_open).filter(|e| e.answer.volume_id == most.answer.volume_id);
    let questions: Vec<&Explanation> = of_volume.take(QUESTIONS).collect();
    let shown = &most.shown;
    let strip_height = BARS_WIDTH / shown.len().max(1);
    let first = MARGIN + strip_height + 24;
    let height = first + questions.len() * QUESTION_HEIGHT + MARGIN / 2;
    let left = MARGIN + BARS_LEFT;
    let middle = |place: usize| left + (2 * place + 1) * BARS_WIDTH / (2 * shown.len().max(1));
    let highest_of_all = chart::highest(questions.iter().map(|question| question.answer.scores.as_slice()));
    let drawn = html! {
        svg xmlns="http://www.w3.org/2000/svg" width=(WIDTH) height=(height) viewBox={ "0 0 " (WIDTH) " " (height) }
            font-family="system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif" fill="#1d2733" {
            rect width="100%" height="100%" fill="white" {}
            image x=(left) y=(MARGIN) width=(BARS_WIDTH) height=(strip_height) preserveAspectRatio="none"
                href=(strips.get(&most.picture).map_or("", String::as_str)) {}
            @for (place, slice) in shown.iter().enumerate() {
                text x=(middle(place)) y=(MARGIN + strip_height + 15) text-anchor="middle" font-size="12" fill="#5b6673" {
                    "slice " (slice)
                }
            }
            @for (number, question) in questions.iter().enumerate() {
                @let top = first + number * QUESTION_HEIGHT;
                text x=(left) y=(top + 18) font-size="15" font-weight="600" { (line(&question.answer.question)) }
                text x=(left) y=(top + 39) font-size="14" fill="#5b6673" {
                    "answered " tspan font-weight="600" fill="#1d2733" { (line(&question.answer.answer)) }
                    ", truth " tspan font-weight="600" fill="#1d2733" { (line(&question.answer.expected)) }
                }
                g transform={ "translate(" (MARGIN) " " (top + 44) ")" } {
                    (PreEscaped(chart::scores(&question.answer.scores, highest_of_all)))
                }
            }
        }
    };
    Some(drawn.into_string())
}

fn line(text: &str) -> String {
    match text.char_indices().nth(LINE) {
        Some((end, _)) => format!("{} ..", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use med2e3_schemas::evaluation::Answer;

    fn explanation(volume: u8, task: Task, question: &str, scores: &[f32]) -> Explanation {
        let answer = Answer {
            sample_id: format!("{volume}"),
            volume_id: format!("{volume}"),
            case_id: String::new(),
            task,
            topic: None,
            turn: 1,
            question: question.into(),
            expected: "<b>Axial</b>".into(),
            answer: "Axial".into(),
            answer_choice: None,
            metrics: BTreeMap::new(),
            is_cut: false,
            scores: scores.to_vec(),
        };
        let slices = scores.len() as u32;
        Explanation {
            answer,
            slices,
            shown: vec![0, 1],
            picture: format!("{volume}.png"),
            sheet: None,
            focus: None,
            deletion: None,
            attention: None,
        }
    }

    #[test]
    fn the_volume_with_most_to_see_is_drawn_and_its_texts_are_escaped() {
        let all = [
            explanation(1, Task::OpenVqa, "Which plane?", &[0.5, 0.5]),
            explanation(2, Task::OpenVqa, "Which window?", &[0.9, 0.1]),
            explanation(2, Task::OpenVqa, "Which level?", &[0.6, 0.4]),
            explanation(2, Task::Caption, "Describe.", &[1.0, 0.0]),
        ];
        let strips = BTreeMap::from([("2.png".to_owned(), "data:image/png;base64,AA".to_owned())]);
        let figure = svg(&all, &strips).unwrap();
        for part in ["Which window?", "Which level?", "&lt;b&gt;Axial&lt;/b&gt;", "data:image/png;base64,AA", "slice 1"]
        {
            assert!(figure.contains(part), "{part}: {figure}");
        }
        assert!(!figure.contains("Which plane?") && !figure.contains("Describe."));
        assert_eq!(svg(&all[3..], &strips), None);
    }
}
