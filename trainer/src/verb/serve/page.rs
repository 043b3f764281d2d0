//! The page: volumes to choose from, a question, and the viewer with what was answered.

use maud::{DOCTYPE, Markup, html};
use med2e3_page::{Still, Volume};
use serde::Deserialize;

use super::api::Server;
use super::volumes::Shown;
use crate::verb::explain::pictures::SHEET_COLUMNS;

pub(super) use med2e3_page::{STYLE, VIEWER};

/// What makes the page ask.
pub(super) const SCRIPT: &str = include_str!("ask.js");

/// What its forms look like, beside the style of every page.
pub(super) const FORMS: &str = include_str!("ask.css");

/// An answer that the page has.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answered {
    question: String,
    #[serde(default)]
    expected: String,
    answer: String,
    scores: Vec<f32>,
}

/// The whole page as text.
pub(super) fn html(server: &Server) -> String {
    let title = "med2e3: ask about a volume";
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                link rel="icon" href="data:,";
                link rel="stylesheet" href="/page.css";
                link rel="stylesheet" href="/ask.css";
                script defer src="/viewer.js" {}
                script defer src="/ask.js" {}
            }
            body.serve {
                a.skip href="#ask" { "Skip to the question" }
                nav aria-label="Sections" { ul {
                    li { a href="#volumes" { "Volumes" } } li { a href="#ask" { "Question" } } li { a href="#answers" { "Answers" } }
                } }
                main {
                    h1 { "Ask about a volume" }
                    p { code { (server.title) } " answers. Research only: an answer may be wrong, and a score says how much a slice counted, not "
                        "where a finding is." }
                    noscript { p { "This page needs its script, which asks this server alone." } }
                    (volumes(server))
                    (question(server))
                    section #answers aria-label="Answers" {
                        h2 { "Answers" }
                        p #none { "Choose a volume above." }
                        div #viewer {}
                    }
                }
            }
        }
    };
    page.into_string()
}

fn volumes(server: &Server) -> Markup {
    html! {
        section #volumes aria-label="Volumes" {
            h2 { "Volumes" }
            @if server.catalog.is_some() {
                form #search role="search" {
                    label { "Search " input name="search" type="search" placeholder="id, series, case, words of a text"; }
                    output {}
                }
                div.scroll { table #list {
                    thead { tr { th scope="col" { "volume" } th scope="col" { "case" } th.n scope="col" { "texts" } } }
                    tbody {}
                } }
                p.pages { button type="button" name="before" { "Before" } " " button type="button" name="next" { "Next" } }
            }
            label.drop.box #drop { span { "Drop a NIfTI file here, or choose one" } input type="file" accept=".nii,.gz,application/gzip"; }
            p.state role="status" {}
        }
    }
}

fn question(server: &Server) -> Markup {
    html! {
        section #ask aria-label="Question" {
            h2 { "Question" }
            form #question {
                p.volume { "no volume" }
                label { "A sample of this volume " select name="sample" { option value="" { "own words" } } }
                label { "Question" textarea name="question" rows="2" required {} }
                div.row {
                    label { "Tokens at most " input name="tokens" type="number" min="1" max=(server.most_tokens) value=(server.most_tokens.min(256)); }
                    label { "Temperature " input name="temperature" type="number" min="0" max="5" step="0.1" placeholder="none"; }
                    label { "Seed " input name="seed" type="number" min="0" step="1" value="0"; }
                    button type="submit" { "Ask" } button type="button" name="stop" hidden { "Stop" }
                }
            }
            p.answer role="status" aria-live="polite" {}
        }
    }
}

/// The viewer of a volume with what was asked about it, as markup.
pub(super) fn viewer(shown: &Shown, asked: &[Answered]) -> String {
    let address = format!("/api/volumes/{}/sheet.jpg", shown.key);
    let spread = |answered: &Answered| {
        let effective = med2e3_metric::focus::effective(&answered.scores);
        if answered.scores.is_empty() { String::new() } else { format!("spread over {effective:.1} slices") }
    };
    let spreads: Vec<String> = asked.iter().map(spread).collect();
    let questions = asked.iter().zip(&spreads).map(|(answered, spread)| med2e3_page::Question {
        question: &answered.question,
        expected: &answered.expected,
        answer: &answered.answer,
        scores: &answered.scores,
        spread,
    });
    let volume = Volume {
        name: &shown.name,
        slices: shown.format.shape_dhw[0],
        still: Still::Sheet(&address, SHEET_COLUMNS),
        units: shown.units,
        questions: questions.collect(),
    };
    volume.markup().into_string()
}
