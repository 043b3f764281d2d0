//! The page: rows with their slices and texts, what was set aside, and how everything was made.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use med2e3_schemas::inputs::VolumeRecipe;
use med2e3_schemas::sample::SampleRow;

use super::material::{Material, Reject, Shown};
use super::picture::{SLICES, Strip};

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1d2733; --soft: #566270; --line: #d9dfe6; --ground: #f4f6f8; --card: #ffffff;
  --accent: #1f5f9e; --good: #1b7346; --good-ground: #e6f4ec; --warn: #8a5a00; --warn-ground: #fdf3dc; --badge: #e9eef4; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e9ee; --soft: #9aa7b4; --line: #2d3742; --ground: #12171d; --card: #1a2129;
  --accent: #7db8f0; --good: #7ed3a3; --good-ground: #16382a; --warn: #f0c36a; --warn-ground: #3a2f14; --badge: #26303a; } }
* { box-sizing: border-box; }
html { scroll-padding-top: 64px; }
body { font: 15px/1.5 system-ui, 'Segoe UI', Roboto, sans-serif; color: var(--ink); background: var(--ground); margin: 0; }
a { color: var(--accent); } a:focus-visible, summary:focus-visible, .strip:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; border-radius: 3px; }
.skip { position: absolute; left: -9999px; } .skip:focus { left: 8px; top: 8px; background: var(--card); padding: 8px 12px; z-index: 3; }
nav { position: sticky; top: 0; z-index: 2; background: var(--card); border-bottom: 1px solid var(--line); }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: 4px 20px; margin: 0 auto; padding: 10px 20px; max-width: 1120px; }
nav a { text-decoration: none; font-weight: 600; } nav a:hover { text-decoration: underline; }
main { max-width: 1120px; margin: 0 auto; padding: 24px 20px 64px; }
h1 { font-size: 26px; margin: 0 0 2px; overflow-wrap: anywhere; } h2 { font-size: 20px; margin: 36px 0 8px; }
h3 { font-size: 16px; margin: 0; overflow-wrap: anywhere; } p { margin: 4px 0 12px; color: var(--soft); max-width: 78ch; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 10px; margin: 16px 0; padding: 0; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 10px 14px; }
.tile b { display: block; font-size: 22px; font-variant-numeric: tabular-nums; } .tile span { color: var(--soft); font-size: 13px; }
article, .box { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px; margin: 12px 0; }
.head { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 2px 16px; align-items: baseline; margin-bottom: 8px; }
.head .links { font-size: 13px; display: flex; gap: 14px; }
.strip { overflow-x: auto; background: #000; border-radius: 6px; margin: 0; } .strip img { display: block; width: 100%; min-width: 720px; height: auto; }
figure { margin: 0 0 10px; } figcaption { color: var(--soft); font-size: 12.5px; margin-top: 3px; }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 2px 14px; margin: 0; font-size: 13.5px; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
.two { display: grid; grid-template-columns: minmax(0, 2fr) minmax(0, 3fr); gap: 12px 24px; }
code, .id { font: 12.5px/1.4 ui-monospace, 'Cascadia Mono', Menlo, monospace; overflow-wrap: anywhere; }
.badge { display: inline-block; background: var(--badge); border-radius: 10px; padding: 0 9px; font-size: 12.5px; margin-right: 4px; }
.badge.warn { background: var(--warn-ground); color: var(--warn); }
.text { border-top: 1px solid var(--line); padding: 8px 0; } .text:first-child { border-top: 0; padding-top: 0; }
.text p { margin: 3px 0; color: var(--ink); white-space: pre-line; overflow-wrap: anywhere; max-width: none; } .text .q { color: var(--soft); }
ol.choices { list-style: none; margin: 4px 0; padding: 0; display: flex; flex-wrap: wrap; gap: 4px 8px; font-size: 14px; }
.choices li { border: 1px solid var(--line); border-radius: 6px; padding: 1px 8px; overflow-wrap: anywhere; }
.choices .right { border-color: var(--good); background: var(--good-ground); color: var(--good); font-weight: 600; }
summary { cursor: pointer; color: var(--accent); font-weight: 600; font-size: 14px; padding: 4px 0; }
pre { overflow-x: auto; font: 12.5px/1.45 ui-monospace, 'Cascadia Mono', Menlo, monospace; background: var(--ground); border-radius: 6px; padding: 10px; }
.reject { border-top: 1px solid var(--line); padding: 10px 0; } .reject:first-of-type { border-top: 0; } .reject p { margin: 2px 0; }
.none { color: var(--soft); }
@media (max-width: 720px) { .two { grid-template-columns: minmax(0, 1fr); } main { padding: 16px 12px 48px; } nav ul { padding: 8px 12px; gap: 2px 14px; }
  html { scroll-padding-top: 90px; } .strip img { min-width: 640px; } }
@media print { nav { position: static; } article { break-inside: avoid; } }
";

/// The whole page as text.
pub(super) fn html(material: &Material) -> String {
    let Material { name, volumes, .. } = material;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (name) " \u{2013} med2e3 dataset" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#rows" { "Skip to the rows" }
                nav aria-label="Sections" { ul {
                    li { a href="#top" { "Overview" } }
                    li { a href="#rows" { "Rows" } }
                    li { a href="#aside" { "Set aside" } }
                    li { a href="#made" { "How it was made" } }
                } }
                main id="top" {
                    h1 { (name) }
                    p { (overview(material)) }
                    (tiles(material))
                    h2 id="rows" { "Rows" }
                    p { (which(material)) }
                    @for (place, shown) in volumes.iter().enumerate() {
                        (row(shown, place.checked_sub(1).map(|n| volumes[n].number), volumes.get(place + 1).map(|next| next.number)))
                    }
                    (aside(material))
                    (made(material))
                }
            }
        }
    };
    page.into_string()
}

fn overview(material: &Material) -> String {
    let names = match (material.withholds_names, material.part.names) {
        (false, _) => "",
        (true, false) => " Names are withheld; --names shows them.",
        (true, true) => " This page holds names that the dataset withholds: keep it where the originals are.",
    };
    format!("Recipe {}, schema version {}.{names}", material.index.recipe, material.index.schema_version)
}

fn tiles(material: &Material) -> Markup {
    let tile = |value: String, what: &str| html! { div.tile { b { (value) } span { (what) } } };
    let [d, h, w] = material.index.voxels.shape_dhw;
    html! { div.tiles {
        (tile(material.volume_count.to_string(), "volumes"))
        (tile(material.sample_count.to_string(), "texts"))
        (tile(material.set_aside_count.to_string(), "rows set aside"))
        (tile(format!("{d} \u{d7} {h} \u{d7} {w}"), &format!("voxels as {}", material.index.voxels.code.as_str())))
    } }
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

fn row(shown: &Shown, before: Option<u64>, after: Option<u64>) -> Markup {
    let Shown { number, id, name, fields, strip, texts, more_texts } = shown;
    let field = |wanted: &str| {
        let found = fields.iter().find(|(field, value)| field == wanted && value != "-" && value != "[]");
        found.map(|(_, value)| value.as_str())
    };
    let title = field("series").or(name.as_deref());
    html! { article id={ "v" (number) } {
        div.head {
            h3 { "Volume " (number) @if let Some(title) = title { " \u{b7} " (title) } }
            span.links {
                @if let Some(before) = before { a href={ "#v" (before) } { "\u{2191} volume " (before) } }
                @if let Some(after) = after { a href={ "#v" (after) } { "\u{2193} volume " (after) } }
            }
        }
        (figure(strip, &format!("{} slices of volume {number}", strip.slices.len())))
        div.two {
            div {
                dl {
                    dt { "id" } dd.id { (id) }
                    @if let Some(name) = name { dt { "name" } dd { (name) } }
                    @for (label, column) in COLUMNS {
                        @if let Some(value) = field(column) { dt { (label) } dd { (value) } }
                    }
                }
                @if let Some(notes) = field("notes") { p { span.badge.warn { "note" } (notes) } }
                @if let Some(dropped) = field("slices_dropped") { p { span.badge.warn { "slices left out" } (dropped) } }
            }
            div {
                @for text in texts { (sample(text)) }
                @if texts.is_empty() { p.none { "No text refers to this volume." } }
                @if *more_texts > 0 { p { "and " (more_texts) " more texts" } }
            }
        }
    } }
}

/// Columns of a volume that are shown, with the words for a person.
const COLUMNS: [(&str, &str); 11] = [
    ("case", "case_id"),
    ("plane", "plane"),
    ("axes of the source", "orientation"),
    ("source voxels", "source_shape"),
    ("spacing in mm", "spacing_mm"),
    ("crop from", "crop_start"),
    ("crop to", "crop_stop"),
    ("Hounsfield units", "hu_known"),
    ("smallest value", "value_min"),
    ("largest value", "value_max"),
    ("source", "source_path"),
];

fn figure(strip: &Strip, what: &str) -> Markup {
    let [width, height] = strip.size;
    let numbers: Vec<String> = strip.slices.iter().map(usize::to_string).collect();
    html! { figure {
        div.strip tabindex="0" { img src=(strip.address) width=(width) height=(height) alt=(what) loading="lazy"; }
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
    html! { div.reject {
        div { span.badge.warn { (record.reason) } span.badge { (record.table.as_str()) } code { (place) } }
        p { (record.detail) @if let Some(at) = record.byte_offset { " (byte " (at) ")" } }
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
    match recipe {
        VolumeRecipe::M3d => "min-max, cropped to the foreground, stretched to the shape".into(),
        other => serde_json::to_string(other).unwrap_or_default(),
    }
}
