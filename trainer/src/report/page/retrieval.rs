//! How well volumes and captions find each other.

use maud::{Markup, html};
use med2e3_page::table;
use med2e3_schemas::report::{RetrievalScores, RetrieveReport};

use super::{number, percent};

pub(super) fn retrieval(report: &RetrieveReport) -> Markup {
    let row = |right: &str, scores: &RetrievalScores| {
        let [texts, volumes] = [scores.image_to_text, scores.text_to_image];
        html! { tr {
            th scope="row" { (right) }
            @for share in [texts.at_1, texts.at_5, texts.at_10, volumes.at_1, volumes.at_5, volumes.at_10] { td.n { (percent(share)) } }
        } }
    };
    let columns = ["right is", "#caption R@1", "#R@5", "#R@10", "#volume R@1", "#R@5", "#R@10"];
    html! {
        p { (number(report.pairs)) " pairs of the " (report.split) " split, ranked by " code { (report.clip) } ": the share of queries whose right "
            "item is among the first 1, 5 and 10." }
        div.box { (table("Retrieval", &columns, &html! {
            (row("the own partner", &report.by_index)) (row("every item of the same caption", &report.by_text))
        })) }
    }
}
