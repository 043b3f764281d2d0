//! The numbers of a dataset for a person.

use std::fmt::Write;

use med2e3_program::visible;
use med2e3_schemas::report::TableCounts;

use super::kinds::Kinds;
use super::spread::Spread;
use super::{Axes, Stats};

/// Kinds that are shown of notes and the like.
const KINDS_SHOWN: usize = 12;

/// Adds a line.
macro_rules! line {
    ($text:expr, $($args:tt)*) => { writeln!($text, $($args)*).expect("a string takes any text") };
}

/// The whole as text.
pub fn to_table(stats: &Stats) -> String {
    let mut text = String::new();
    let Stats { stored, volumes, texts, cases, cases_of_split, manifest } = stats;
    let [d, h, w] = stored.shape_dhw;
    let gib = stored.bytes as f64 / (1u64 << 30) as f64;
    line!(
        text,
        "stored     {d} x {h} x {w} voxels as {}, recipe {}, {gib:.2} GiB",
        stored.voxels,
        visible::value(&stored.recipe)
    );
    line!(
        text,
        "cases      {cases}{}",
        in_brackets(cases_of_split.iter().map(|(split, count)| format!("{split} {count}")))
    );
    line!(text, "");
    line!(text, "volumes    {}{}", volumes.count, manifest_of(&manifest.volumes));
    kinds(&mut text, "plane", &volumes.planes);
    kinds(&mut text, "axes", &volumes.orientations);
    kinds(&mut text, "unit", &volumes.units);
    if volumes.spacing_unknown > 0 {
        line!(text, "  {:<18} {}", "spacing unknown", volumes.spacing_unknown);
    }
    if volumes.with_slices_dropped > 0 {
        line!(text, "  {:<18} {}", "slices left out of", volumes.with_slices_dropped);
    }
    line!(text, "  {:<18} {}", "without texts", volumes.without_texts);
    if volumes.count > 0 {
        header(&mut text);
        axes(&mut text, "mm between", &volumes.spacing_mm);
        axes(&mut text, "source", &volumes.source_shape);
    }
    if !volumes.notes.is_empty() {
        line!(text, "  notes (N is a number):");
        let all = volumes.notes.by_count();
        all.iter().take(KINDS_SHOWN).for_each(|(note, count)| line!(text, "    {count:>7} {}", visible::value(note)));
        if all.len() > KINDS_SHOWN {
            line!(text, "    and {} more kinds (--json has all)", all.len() - KINDS_SHOWN);
        }
    }
    line!(text, "");
    line!(text, "texts      {}{}", texts.count, manifest_of(&manifest.texts));
    if texts.count == 0 {
        return text;
    }
    for (split, tasks) in &texts.tasks_of_split {
        let count = texts.splits.of(split);
        line!(
            text,
            "  {split:<18} {count}{}",
            in_brackets(tasks.by_count().iter().map(|(task, count)| format!("{task} {count}")))
        );
    }
    kinds(&mut text, "topic", &texts.topics);
    kinds(&mut text, "language or script", &texts.languages);
    for (what, count) in [
        ("cut by the budget", texts.truncated),
        ("without a volume", texts.without_volumes),
        ("volume set aside", texts.volume_set_aside),
    ] {
        line!(text, "  {what:<18} {count}");
    }
    header(&mut text);
    row(&mut text, "question characters", texts.question_characters.as_ref());
    row(&mut text, "answer characters", texts.answer_characters.as_ref());
    row(&mut text, "tokens", texts.tokens.as_ref());
    row(&mut text, "tokens to learn", texts.target_tokens.as_ref());
    text
}

fn in_brackets(parts: impl Iterator<Item = String>) -> String {
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}

fn manifest_of(counts: &TableCounts) -> String {
    let aside = counts.quarantined_rows();
    format!(" of {} in the manifest ({aside} set aside, {} duplicates)", counts.manifest_rows, counts.duplicates)
}

fn kinds(text: &mut String, what: &str, kinds: &Kinds) {
    let all = kinds.by_count();
    if all.is_empty() {
        return;
    }
    let shown: Vec<String> =
        all.iter().take(KINDS_SHOWN).map(|(word, count)| format!("{} {count}", visible::value(word))).collect();
    let rest = if all.len() > KINDS_SHOWN { format!(", and {} more", all.len() - KINDS_SHOWN) } else { String::new() };
    line!(text, "  {what:<18} {}{rest}", shown.join(", "));
}

fn header(text: &mut String) {
    let [a, b, c, d, e, f, g] = ["min", "5 %", "25 %", "median", "75 %", "95 %", "max"];
    line!(text, "  {:<20} {a:>9} {b:>9} {c:>9} {d:>9} {e:>9} {f:>9} {g:>9}", "");
}

fn axes(text: &mut String, what: &str, axes: &Axes) {
    let Axes { slices, rows, columns } = axes;
    for (axis, spread) in [("slices", slices), ("rows", rows), ("columns", columns)] {
        row(text, &format!("{what} {axis}"), spread.as_ref());
    }
}

fn row(text: &mut String, what: &str, spread: Option<&Spread>) {
    let Some(Spread { min, p5, p25, p50, p75, p95, max, .. }) = spread else { return };
    let [a, b, c, d, e, f, g] = [min, p5, p25, p50, p75, p95, max].map(|value| short(*value));
    line!(text, "  {what:<20} {a:>9} {b:>9} {c:>9} {d:>9} {e:>9} {f:>9} {g:>9}");
}

/// A number in few characters.
fn short(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-3..1e8).contains(&size) {
        return format!("{value:.1e}");
    }
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let all = [0.0, 0.7, 1.0, 512.0, 0.703125, 1e-9, 3e12, -2.5].map(short);
        assert_eq!(all, ["0", "0.7", "1", "512", "0.703", "1.0e-9", "3.0e12", "-2.5"]);
    }
}
