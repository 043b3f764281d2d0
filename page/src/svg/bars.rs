//! Bars: how many of each, and a slice each.

use maud::{Markup, html};

use super::{Chart, place, px, ticks};

/// How many there are of each of two kinds.
#[derive(Clone, Copy, Debug)]
pub struct Histogram<'a> {
    /// What is counted.
    pub title: &'a str,
    /// What the axis is.
    pub axis: &'a str,
    /// The two kinds.
    pub kinds: [&'a str; 2],
    /// From which number on, and how many of each kind.
    pub bins: &'a [(String, [u64; 2])],
}

/// Two bars a bin.
pub fn histogram(of: &Histogram<'_>) -> Markup {
    let Histogram { title, axis, kinds, bins } = *of;
    let (left, top, bottom, width) = (46.0, 34.0, 170.0, 440.0);
    let highest = bins.iter().flat_map(|(_, counts)| counts).map(|count| *count as f64).fold(1.0, f64::max);
    let each = (width - left) / bins.len().max(1) as f64;
    let y = |count: f64| bottom - count / highest * (bottom - top);
    let said = |(name, [one, other]): &(String, [u64; 2])| format!("{name}: {one} {}, {other} {}", kinds[0], kinds[1]);
    let text = bins.iter().map(said).collect::<Vec<_>>().join("; ");
    let drawn = html! {
        rect.bar.other x=(px(left)) y="2" width="12" height="12" {} text.soft x=(px(left + 18.0)) y="13" { (kinds[0]) }
        rect.bar x=(px(left + 120.0)) y="2" width="12" height="12" {} text.soft x=(px(left + 138.0)) y="13" { (kinds[1]) }
        @for tick in ticks(highest, 4) {
            line.grid x1=(px(left)) x2=(px(width)) y1=(px(y(tick))) y2=(px(y(tick))) {}
            text.soft.end x=(px(left - 8.0)) y=(px(y(tick) + 4.0)) { (format!("{tick:.0}")) }
        }
        @for (place, (name, counts)) in bins.iter().enumerate() {
            @let x = left + place as f64 * each;
            @for (kind, count) in counts.iter().enumerate() {
                @let top = y(*count as f64);
                rect.bar.other[kind == 0] x=(px(x + each * (0.12 + 0.38 * kind as f64))) y=(px(top)) width=(px(each * 0.36)) height=(px(bottom - top)) {}
            }
            text.soft.middle x=(px(x + each / 2.0)) y=(px(bottom + 18.0)) { (name) }
        }
        text.soft.end x=(px(width)) y=(px(bottom + 36.0)) { (axis) }
    };
    Chart { title, text: &text, width: width as usize + 4, height: bottom as usize + 44 }.wide(&drawn)
}

/// Slices of a chart at most.
const MOST_SLICES: usize = 4096;

/// The scores in times an even share.
pub fn times_even(scores: &[f32]) -> impl Iterator<Item = f64> {
    let count = scores.len() as f64;
    scores.iter().map(move |score| place(f64::from(*score) * count).max(0.0))
}

/// The highest of several lists of scores in times an even share, and no less than twice it, so that a line at 1 has room.
pub fn highest<'a>(lists: impl Iterator<Item = &'a [f32]>) -> f64 {
    lists.flat_map(times_even).fold(1.6, f64::max) * 1.05
}

/// One bar a slice, as wide as its place and without numbers, and a line where all slices would count the same. Charts of one `highest` have
/// one axis.
pub fn slices(title: &str, scores: &[f32], highest: f64) -> Markup {
    let scores = &scores[..scores.len().min(MOST_SLICES)];
    let count = scores.len().max(1);
    html! {
        svg.chart viewBox={ "0 0 " (count * 10) " 100" } preserveAspectRatio="none" role="img" {
            title { (title) }
            desc { (in_words(scores)) }
            (rects(scores, highest, (count * 10) as f64, 100.0))
        }
    }
}

/// The same with numbers at both axes, as wide as a picture that stands alone.
pub fn slices_with_axis(scores: &[f32], highest: f64, width: usize, height: usize) -> Markup {
    let scores = &scores[..scores.len().min(MOST_SLICES)];
    let count = scores.len().max(1);
    let height = height as f64;
    let each = width as f64 / count as f64;
    html! {
        @for tick in ticks(highest, 3) {
            @let y = height - tick / highest.max(1e-9) * height;
            line.grid x1="0" x2=(width) y1=(px(y)) y2=(px(y)) {}
            text.soft.small.end x="-8" y=(px(y + 4.0)) { (tick) }
        }
        (rects(scores, highest, width as f64, height))
        @for slice in (0..count).step_by(count.div_ceil(8).max(1)) {
            text.soft.small.middle x=(px((slice as f64 + 0.5) * each)) y=(px(height + 15.0)) { (slice) }
        }
    }
}

fn rects(scores: &[f32], highest: f64, width: f64, height: f64) -> Markup {
    let each = width / scores.len().max(1) as f64;
    let y = |times: f64| height - (times / highest.max(1e-9)).min(1.0) * height;
    html! {
        @for (slice, times) in times_even(scores).enumerate() {
            rect.bar x=(px((slice as f64 + 0.1) * each)) y=(px(y(times))) width=(px(0.8 * each)) height=(px(height - y(times))) {}
        }
        line.even x1="0" x2=(px(width)) y1=(px(y(1.0))) y2=(px(y(1.0))) {}
    }
}

/// Which slice counts most.
fn in_words(scores: &[f32]) -> String {
    let most = times_even(scores).enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
    most.map_or("no score".to_owned(), |(slice, times)| {
        format!("most on slice {slice} of {}: {times:.2} times an even share", scores.len())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_has_a_bar() {
        let found = slices("a question", &[0.1, 0.7, 0.1, 0.1], 3.0).into_string();
        assert_eq!(found.matches("<rect").count(), 4);
        assert!(found.contains("most on slice 1 of 4: 2.80 times an even share"), "{found}");
        assert!(slices_with_axis(&[0.5, 0.5], 2.0, 100, 50).into_string().contains(">1</text>"));
    }

    #[test]
    fn scores_that_no_run_has_are_drawn_at_the_border() {
        let wild = [f32::MAX, -1.0, f32::NAN, f32::INFINITY];
        let highest = highest([wild.as_slice()].into_iter());
        for svg in [
            slices("", &wild, highest),
            slices("", &wild, 0.0),
            slices("", &[], 1.0),
            slices_with_axis(&wild, highest, 100, 50),
        ] {
            let svg = svg.into_string();
            assert!(!svg.contains("NaN") && !svg.contains("inf\"") && !svg.contains("height=\"-"), "{svg}");
        }
    }

    #[test]
    fn the_highest_of_all_is_the_axis() {
        assert_eq!(super::highest([[0.25f32, 0.75].as_slice(), &[1.0]].into_iter()), 1.6 * 1.05);
        assert_eq!(super::highest([[0.0f32, 0.0, 0.0, 1.0].as_slice()].into_iter()), 4.2);
    }

    #[test]
    fn counts_stand_in_words() {
        let bins = [("1".to_owned(), [4, 2]), ("2-3".to_owned(), [0, u64::MAX])];
        let found =
            histogram(&Histogram { title: "words", axis: "words", kinds: ["expected", "answered"], bins: &bins })
                .into_string();
        assert!(found.contains("1: 4 expected, 2 answered") && found.matches("<rect").count() == 6, "{found}");
    }
}
