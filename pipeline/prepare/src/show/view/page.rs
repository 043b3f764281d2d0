//! The page: rows with their slices and texts, what was set aside, and how everything was made.

use std::collections::BTreeMap;

use maud::{Markup, html};
use med2e3_page::{Frame, tiles};
use med2e3_schemas::inputs::{CropNumbers, IntensityNumbers, VolumeRecipe};
use med2e3_schemas::sample::SampleRow;
use med2e3_schemas::volume::Described;

use super::material::{Material, Reject, Shown};
use super::picture::{SLICES, Strip};

/// The whole page as text.
pub(super) fn html(material: &Material) -> String {
    let Material { name, volumes, .. } = material;
    let body = html! {
        div id="top" {
            h1 { (name) }
            p { (overview(material)) }
            (numbers(material))
        }
        section id="rows" {
            h2 { "Rows" }
            p { (which(material)) }
            @for (place, shown) in volumes.iter().enumerate() {
                (row(shown, material.sample_count > 0, place.checked_sub(1).map(|n| volumes[n].number), volumes.get(place + 1).map(|next| next.number)))
            }
        }
        (aside(material))
        (made(material))
    };
    let sections = [("rows", "Rows"), ("aside", "Set aside"), ("made", "How it was made"), ("top", "Top")];
    let title = format!("{name} \u{2013} med2e3 dataset");
    Frame { title: &title, sections: &sections.map(|(id, words)| (id.to_owned(), words)), reload: None, is_live: false }
        .html(&body)
}

fn overview(material: &Material) -> String {
    let names = match (material.withholds_names, material.part.names) {
        (false, _) => "",
        (true, false) => " Names are withheld; --names shows them.",
        (true, true) => " This page holds names that the dataset withholds: keep it where the originals are.",
    };
    format!("Recipe {}, schema version {}.{names}", material.index.recipe, material.index.schema_version)
}

fn numbers(material: &Material) -> Markup {
    let [d, h, w] = material.index.voxels.shape_dhw;
    let numbers = [
        (material.volume_count.to_string(), "volumes".to_owned()),
        (material.sample_count.to_string(), "texts".to_owned()),
        (material.set_aside_count.to_string(), "rows set aside".to_owned()),
        (format!("{d} \u{d7} {h} \u{d7} {w}"), format!("voxels as {}", material.index.voxels.code.as_str())),
    ];
    tiles(&numbers)
}

fn which(material: &Material) -> String {
    let (shown, all, start) = (material.volumes.len() as u64, material.volume_count, material.part.start);
    let end = start + shown;
    if shown == 0 {
        return "The dataset has no volumes.".into();
    }
    let next = if end < all { format!(" --start {end} shows the next ones.") } else { String::new() };
    format!("Volumes {start} to {} of {all}, counted from 0, in the order of the dataset.{next}", end - 1)
}

fn row(shown: &Shown, has_texts: bool, before: Option<u64>, after: Option<u64>) -> Markup {
    let Shown { number, name, volume, strip, texts, more_texts } = shown;
    let title = volume.series.as_deref().or(name.as_deref());
    html! { article id={ "v" (number) } {
        div.head {
            h3 { "Volume " (number) @if let Some(title) = title { " \u{b7} " (title) } }
            span.links {
                @if let Some(before) = before { a href={ "#v" (before) } { "\u{2191} volume " (before) } }
                @if let Some(after) = after { a href={ "#v" (after) } { "\u{2193} volume " (after) } }
            }
        }
        (figure(strip, &format!("{} slices of volume {number}", strip.slices.len())))
        div.two[has_texts].wide[!has_texts] {
            div { (facts(volume, name.as_deref())) (remarks(volume)) }
            @if has_texts { div {
                @for text in texts { (sample(text)) }
                @if texts.is_empty() { p { "No text refers to this volume." } }
                @if *more_texts > 0 { p { "and " (more_texts) " more texts" } }
            } }
        }
    } }
}

/// What is known of a volume, fact by fact.
fn facts(volume: &Described, name: Option<&str>) -> Markup {
    let text = |value: &Option<String>| value.clone();
    let range = |axis: usize| format!("{}\u{2013}{}", volume.crop_start[axis], volume.crop_stop[axis]);
    let is_cropped = volume.crop_start != [0; 3] || volume.crop_stop != volume.source_shape;
    let unit = if volume.hu_known { " HU" } else { ", unit unknown" };
    let facts = [
        ("case", text(&volume.case_id)),
        ("plane", text(&volume.plane)),
        ("axes of the source", text(&volume.orientation)),
        ("source voxels", Some(volume.source_shape.map(|n| n.to_string()).join(" \u{d7} "))),
        ("spacing", volume.spacing_mm.map(|mm| format!("{} mm", mm.map(short).join(" \u{d7} ")))),
        ("cropped to", is_cropped.then(|| [0, 1, 2].map(range).join(", "))),
        ("values", Some(format!("{} to {}{unit}", short(volume.value_min), short(volume.value_max)))),
        ("source", text(&volume.source_path)),
    ];
    html! { dl {
        dt { "id" } dd.id { (volume.volume_id) }
        @if let Some(name) = name { dt { "name" } dd { (name) } }
        @for (label, value) in facts { @if let Some(value) = value.filter(|value| !value.is_empty()) {
            dt { (label) } dd { (value) }
        } }
    } }
}

/// Notes, and the slices that were left out by their reason.
fn remarks(volume: &Described) -> Markup {
    let mut dropped: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for slice in &volume.slices_dropped {
        dropped.entry(&slice.reason).or_default().push(slice.slice.to_string());
    }
    html! {
        @if !volume.notes.is_empty() || !dropped.is_empty() { ul.remarks {
            @for note in &volume.notes { li { span.badge.warn { "note" } (note) } }
            @for (reason, slices) in dropped.iter().take(SLICES) {
                @let some = slices.iter().take(SLICES).map(String::as_str).collect::<Vec<_>>().join(", ");
                li {
                    span.badge.warn { "left out" } "slice " (some)
                    @if slices.len() > SLICES { " and " (slices.len() - SLICES) " more" } ": " (reason)
                }
            }
            @if dropped.len() > SLICES { li { "and slices for " (dropped.len() - SLICES) " more reasons" } }
        } }
    }
}

/// A number without digits that say nothing.
fn short(value: f32) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn figure(strip: &Strip, what: &str) -> Markup {
    let [width, height] = strip.size;
    let numbers: Vec<String> = strip.slices.iter().map(usize::to_string).collect();
    html! { figure {
        div.scroll.film tabindex="0" role="group" aria-label=(what) { img src=(strip.address) width=(width) height=(height) alt=(what) loading="lazy"; }
        figcaption { "slices " (numbers.join(", ")) }
    } }
}

fn sample(row: &SampleRow) -> Markup {
    let right = row.answer_choice.as_deref().and_then(|letter| letter.bytes().next());
    let is_right = |place: usize| right == Some(b'A' + place as u8);
    html! { div.text {
        div {
            span.badge { (row.split) } span.badge { (row.task) }
            @if let Some(topic) = row.topic { span.badge { (topic) } }
            @if row.truncated { span.badge.warn { "cut by the length budget" } }
        }
        p.q { (row.question) }
        @if let Some(choices) = &row.choices {
            ol.choices { @for (place, choice) in choices.iter().take(26).enumerate() {
                li.right[is_right(place)] { (char::from(b'A' + place as u8)) ". " (choice) @if is_right(place) { " \u{2713}" } }
            } }
        }
        p { (row.answer) }
    } }
}

fn aside(material: &Material) -> Markup {
    let Material { rejects, reasons, set_aside_count, part, .. } = material;
    let hidden = set_aside_count - rejects.len() as u64;
    let pictures = if part.names {
        "Inputs that can be read have a picture, between their smallest and largest value."
    } else {
        "With --names, inputs that can be read have a picture."
    };
    html! {
        h2 id="aside" { "Set aside" }
        @if rejects.is_empty() {
            p { "Nothing was set aside." }
        } @else {
            p { (pictures) }
            div.box {
                div { @for (reason, count) in reasons { span.badge { (reason) " " (count) } } }
                @for reject in rejects { (rejected(reject)) }
                @if hidden > 0 { p { "and " (hidden) " more: med2e3-data rejects lists all" } }
            }
        }
    }
}

fn rejected(Reject { record, strip }: &Reject) -> Markup {
    let place = if record.path.is_empty() { &record.row } else { &record.path };
    // Most details begin with the place.
    let detail = record.detail.strip_prefix(place.as_str()).and_then(|rest| rest.strip_prefix(": "));
    let detail = detail.unwrap_or(&record.detail);
    html! { div.reject {
        div { span.badge.warn { (record.reason) } span.badge { (record.table.as_str()) } code { (place) } }
        p { (detail) @if let Some(at) = record.byte_offset { " (byte " (at) ")" } }
        @if *place != record.row { p { "row: " (record.row) } }
        @if let Some(strip) = strip { (figure(strip, "slices of an input that was set aside")) }
    } }
}

fn made(material: &Material) -> Markup {
    let index = &material.index;
    let text = index.inputs.as_ref().and_then(|inputs| inputs.text.as_ref());
    let volume = index.inputs.as_ref().map(|inputs| &inputs.volume);
    html! {
        h2 id="made" { "How it was made" }
        div.box {
            dl {
                dt { "voxels" } dd { (index.voxels.in_words()) }
                dt { "recipe" } dd { (index.recipe) @if let Some(volume) = volume { " (" (recipe_in_words(&volume.recipe)) ")" } }
                dt { "recipe hash" } dd.id { (index.recipe_hash) }
                @if let Some(text) = text {
                    dt { "template" } dd { (text.template) }
                    dt { "visual tokens" } dd { (index.visual_tokens) }
                }
                dt { "shards" } dd { (index.volumes.len()) " of volumes, " (index.samples.len()) " of texts" }
            }
            @if let Some(configuration) = &material.configuration {
                details { summary { "prepare.toml" } pre { (configuration) } }
            }
        }
        p { "Each row shows " (SLICES) " slices, evenly from the first to the last, as they are stored." }
    }
}

fn recipe_in_words(recipe: &VolumeRecipe) -> String {
    let VolumeRecipe::Ct { spacing_mm, intensity, crop } = recipe else {
        return "smallest to largest value, cropped to the foreground, stretched to the shape".into();
    };
    let intensity = match intensity {
        IntensityNumbers::None => "Hounsfield units as they are".to_owned(),
        IntensityNumbers::Window { center, width } => {
            format!("{} to {} HU", short(center - width / 2.0), short(center + width / 2.0))
        }
        IntensityNumbers::Percentile { low, high } => format!("percentiles {low} to {high}"),
    };
    let crop = match crop {
        CropNumbers::None => "not cropped".to_owned(),
        CropNumbers::Foreground => "cropped to the body".to_owned(),
        CropNumbers::AboveHu(hu) => format!("cropped to what is above {} HU", short(*hu)),
    };
    let size = match spacing_mm {
        Some(mm) => format!("resampled to {} mm", mm.map(short).join(" \u{d7} ")),
        None => "stretched to the shape".to_owned(),
    };
    format!("{intensity}, {crop}, {size}")
}
