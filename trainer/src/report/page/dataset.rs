//! What was prepared.

use std::collections::BTreeMap;

use maud::{Markup, html};
use med2e3_page::table;
use med2e3_schemas::report::{DemoSetReport, TableCounts};

use super::number;
use crate::report::run::Prepared;

/// Inputs set aside that are shown.
const SHOWN_REJECTS: usize = 50;

pub(super) fn dataset(prepared: &Prepared, demo_set: Option<&DemoSetReport>) -> Markup {
    let row = |table: &str, counts: &TableCounts| {
        html! { tr {
            th scope="row" { (table) } td.n { (number(counts.manifest_rows)) } td.n { (number(counts.rows)) } td.n { (number(counts.quarantined_rows())) }
            td.n { (number(counts.duplicates)) }
        } }
    };
    let list = |counts: &BTreeMap<String, u64>| {
        counts.iter().map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
    };
    html! {
        @if let Some(demo_set) = demo_set {
            p { (list(&demo_set.boxes)) " boxes of " code { (demo_set.atlas) } ", those of different splits " (demo_set.split_gap_mm)
                " mm or more apart, resliced into " (list(&demo_set.series)) " series stored as " (list(&demo_set.forms))
                ". Every volume became 32 x 256 x 256 voxels." }
        }
        div.box {
            (table("Rows", &["table", "#in the manifest", "#rows", "#set aside", "#duplicates"], &html! {
                (row("volumes", &prepared.report.volumes)) (row("texts", &prepared.report.texts))
            }))
            @if !prepared.quarantine.is_empty() {
                h3 { "Set aside" }
                (table("Inputs that were set aside", &["input", "reason", "detail"], &html! {
                    @for record in prepared.quarantine.iter().take(SHOWN_REJECTS) {
                        tr { td.text { code { (record.path) } } td { (record.reason) } td.text { (record.detail) } }
                    }
                }))
                @if prepared.quarantine.len() > SHOWN_REJECTS {
                    p { "and " (prepared.quarantine.len() - SHOWN_REJECTS) " more; " code { "med2e3-data rejects" } " lists all." }
                }
            }
        }
        @if !prepared.volumes.is_empty() {
            div.box { div.gallery {
                @for (name, picture) in &prepared.volumes {
                    figure { img src=(picture) alt={ "eight slices of " (name) }; figcaption { (name) } }
                }
            } }
        }
    }
}
