//! Closed questions by letter, and how long answers are.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};
use med2e3_metric::closed::read;
use med2e3_page::scroll;
use med2e3_page::svg::{Cells, Histogram, cells, histogram};
use med2e3_schemas::evaluation::{Answer, EvaluateReport};
use med2e3_schemas::sample::Task;

use super::{number, percent};

pub(super) fn letters(report: &EvaluateReport) -> Markup {
    let closed: Vec<&Answer> = report.answers.iter().filter(|answer| answer.task == Task::ClosedVqa).collect();
    let shares = report.scores.iter().filter(|score| score.topic.is_none()).flat_map(|score| {
        score.shares.iter().filter(|(_, share)| **share > 0.0).map(move |(name, share)| (score, name, share))
    });
    html! {
        div.box {
            div.columns {
                @if !closed.is_empty() { div { h3 { "Which choice is read" } (scroll("Letters", &pairs(&closed))) } }
                div { h3 { "How long answers are" } (scroll("Lengths", &lengths(&report.answers))) }
            }
            ul {
                li { (number(report.answers_cut)) " of " (number(report.answers.len() as u64)) " answers were cut by the most tokens that were allowed." }
                @for (score, name, share) in shares {
                    li { (score.task) ", " (score.metric) ": " (percent(*share)) " " (share_in_words(name)) }
                }
            }
        }
    }
}

fn share_in_words(name: &str) -> &str {
    match name {
        "unread" => "of the answers name no choice that can be read",
        "several" => "of the answers list several letters",
        "empty" => "of the rows have an empty text and count 0",
        "short" => "of the rows have a text of fewer than 4 tokens and count 0",
        other => other,
    }
}

const NONE: &str = "none";

/// The letter that is right by the one that is read strictly.
fn pairs(closed: &[&Answer]) -> Markup {
    let right = |answer: &Answer| {
        answer.answer_choice.as_ref().and_then(|choice| choice.trim().chars().next()).map_or(NONE.into(), String::from)
    };
    let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
    for answer in closed {
        let choice = read(&answer.answer, &choices(&answer.question)).choice();
        *counts.entry((right(answer), choice.map_or(NONE.into(), String::from))).or_default() += 1;
    }
    // Letters first; the word for none comes after them in the order of bytes.
    let rows: BTreeSet<String> = counts.keys().map(|(right, _)| right.clone()).collect();
    let columns: BTreeSet<String> = counts.keys().map(|(_, read)| read.clone()).chain(rows.iter().cloned()).collect();
    let (rows, columns): (Vec<String>, Vec<String>) = (rows.into_iter().collect(), columns.into_iter().collect());
    let count = |row: &String, column: &String| counts.get(&(row.clone(), column.clone())).copied().unwrap_or(0);
    let counts: Vec<Vec<u64>> =
        rows.iter().map(|row| columns.iter().map(|column| count(row, column)).collect()).collect();
    let title = "Right letter by the letter that is read";
    cells(&Cells { title, sides: ["right", "read in the answer"], rows: &rows, columns: &columns, counts: &counts })
}

/// The choices that a closed question states, in M3D's wording; none where it has none.
fn choices(question: &str) -> Vec<Option<&str>> {
    let Some(at) = question.rfind("Choices:") else { return Vec::new() };
    let mut rest = &question[at + "Choices:".len()..];
    let mut found = Vec::new();
    for letter in 'A'..='Z' {
        let mark = format!(" {letter}. ");
        let Some(start) = rest.find(&mark) else { break };
        if let Some(last) = found.last_mut() {
            *last = Some(rest[..start].trim());
        }
        rest = &rest[start + mark.len()..];
        found.push(Some(rest.trim()));
    }
    found
}

/// From how many words on a bin is.
const BINS: [(usize, &str); 7] = [(0, "0"), (1, "1"), (2, "2-3"), (4, "4-7"), (8, "8-15"), (16, "16-31"), (32, "32+")];

fn lengths(answers: &[Answer]) -> Markup {
    let mut counts = [[0u64; 2]; BINS.len()];
    for answer in answers {
        for (kind, text) in [&answer.expected, &answer.answer].into_iter().enumerate() {
            let words = text.split_whitespace().count();
            let bin = BINS.iter().rposition(|(from, _)| words >= *from).unwrap_or(0);
            counts[bin][kind] += 1;
        }
    }
    let bins: Vec<(String, [u64; 2])> =
        BINS.iter().zip(counts).map(|((_, name), counts)| ((*name).to_owned(), counts)).collect();
    histogram(&Histogram { title: "Words of an answer", axis: "words", kinds: ["expected", "answered"], bins: &bins })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_of_a_question_are_found() {
        let question = "Which plane? Choices: A. Axial B. Left A. vein C. NA";
        assert_eq!(choices(question), [Some("Axial"), Some("Left A. vein"), Some("NA")]);
        assert_eq!(choices("Which plane?"), []);
    }
}
