//! Charts. Each says what it is and what it shows in words, for those who do not see it; colours are the style sheet's.
//!
//! Numbers of strangers may be anything: what is no number counts 0, what is beyond a chart is drawn at its border.
//!
//! # Layout
//! - `curve`: a number over the steps of a training
//! - `dots`: means with intervals on one axis; the same for one row of a table
//! - `cells`: how often each pair of two letters occurs
//! - `bars`: how many of each; a slice each

mod bars;
mod cells;
mod curve;
mod dots;

pub use bars::{Histogram, highest, histogram, slices, slices_with_axis, times_even};
pub use cells::{Cells, cells};
pub use curve::{Curve, curve};
pub use dots::{Dot, Dots, dots, interval};

use maud::{Markup, html};

/// The largest number that is drawn.
const LARGEST: f64 = 1e9;

/// How far a wide chart may shrink: 14 px, its text, stay 12.
const SHRINK: f64 = 0.86;

/// A chart of `width` by `height` pixels.
struct Chart<'a> {
    title: &'a str,
    /// What it shows, in words.
    text: &'a str,
    width: usize,
    height: usize,
}

impl Chart<'_> {
    /// As it is, for a place of its own size; texts of 12 px.
    fn small(&self, drawn: &Markup) -> Markup {
        self.markup("chart small", &format!("min-width:{}px", self.width), drawn)
    }

    /// As wide as its place, up to its own width; texts of 12 to 14 px.
    fn wide(&self, drawn: &Markup) -> Markup {
        let least = (self.width as f64 * SHRINK).ceil();
        self.markup("chart", &format!("width:100%;max-width:{}px;min-width:{least}px", self.width), drawn)
    }

    fn markup(&self, class: &str, style: &str, drawn: &Markup) -> Markup {
        let Chart { title, text, width, height } = *self;
        html! {
            svg class=(class) viewBox={ "0 0 " (width) " " (height) } width=(width) height=(height) style=(style) role="img" {
                title { (title) }
                desc { (text) }
                (drawn)
            }
        }
    }
}

/// A number that has a place.
fn place(number: f64) -> f64 {
    if number.is_nan() { 0.0 } else { number.clamp(-LARGEST, LARGEST) }
}

/// A coordinate, in a tenth of a pixel.
fn px(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// Round numbers from 0 to `highest`, about `count` of them.
fn ticks(highest: f64, count: usize) -> Vec<f64> {
    let rough = highest / count.max(1) as f64;
    if !(rough.is_finite() && rough > 0.0) {
        return vec![0.0];
    }
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|of| of * power).find(|step| *step >= rough).unwrap_or(rough);
    (0..=count * 2).map(|n| n as f64 * step).take_while(|tick| *tick <= highest * (1.0 + 1e-9)).collect()
}

/// A number of an axis that ends at `highest`.
fn label(number: f64, highest: f64) -> String {
    match highest {
        _ if number == 0.0 => "0".to_owned(),
        ..0.01 => format!("{number:.1e}"),
        ..1.0 => format!("{number:.2}"),
        ..10.0 => format!("{number:.1}"),
        ..1e6 => format!("{number:.0}"),
        _ => format!("{number:.1e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_on_an_axis_are_round_and_short() {
        assert_eq!(ticks(10.0, 5), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(ticks(0.9, 4), [0.0, 0.25, 0.5, 0.75]);
        assert_eq!(ticks(0.0, 4), [0.0]);
        assert_eq!(ticks(f64::NAN, 4), [0.0]);
        assert_eq!(label(0.0, 1e-5), "0");
        assert_eq!(label(5e-5, 1e-4), "5.0e-5");
        assert_eq!(label(0.25, 0.9), "0.25");
        assert_eq!(label(2500.0, 3000.0), "2500");
        assert_eq!(label(2.5e7, 3e7), "2.5e7");
        assert_eq!((px(1.0), px(1.25)), ("1".into(), "1.2".into()));
    }

    #[test]
    fn a_chart_says_what_it_is() {
        let found =
            Chart { title: "a < b", text: "falls & rises", width: 100, height: 50 }.wide(&html! {}).into_string();
        for part in ["role=\"img\"", "<title>a &lt; b</title>", "<desc>falls &amp; rises</desc>", "min-width:86px"] {
            assert!(found.contains(part), "{part}: {found}");
        }
    }
}
