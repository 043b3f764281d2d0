//! Means with intervals on one axis.

use maud::{Markup, html};

use super::{Chart, place, px};

/// A mean.
#[derive(Clone, Debug)]
pub struct Dot {
    /// What it is of.
    pub label: String,
    /// The mean, in the axis' unit.
    pub value: f64,
    /// The ends of its interval.
    pub interval: [f64; 2],
    /// It in words, at the right.
    pub words: String,
}

/// Means on one axis.
#[derive(Clone, Copy, Debug)]
pub struct Dots<'a> {
    /// What they are.
    pub title: &'a str,
    /// What the axis is, below it.
    pub axis: &'a str,
    /// The axis' ends.
    pub ends: [f64; 2],
    /// Where a number of the axis is written, and how.
    pub ticks: &'a [(f64, &'a str)],
    /// The number that a strong line marks.
    pub mark: f64,
    /// The means, from top to bottom.
    pub dots: &'a [Dot],
}

const WIDTH: usize = 760;
/// Where the axis begins and ends.
const AXIS: [f64; 2] = [200.0, 560.0];
const ROW: usize = 26;
/// Dots of a chart at most.
const MOST: usize = 200;

/// Dots with their intervals, one below the other.
pub fn dots(of: &Dots<'_>) -> Markup {
    let [from, to] = of.ends;
    let dots = &of.dots[..of.dots.len().min(MOST)];
    let x = |value: f64| {
        px(AXIS[0] + ((place(value) - from) / (to - from).max(1e-9)).clamp(0.0, 1.0) * (AXIS[1] - AXIS[0]))
    };
    let bottom = 8 + dots.len() * ROW;
    let text = dots.iter().map(|dot| format!("{}: {}", dot.label, dot.words)).collect::<Vec<_>>().join("; ");
    let drawn = html! {
        @for (value, words) in of.ticks {
            line.grid x1=(x(*value)) x2=(x(*value)) y1="4" y2=(bottom) {}
            text.soft.middle x=(x(*value)) y=(bottom + 17) { (words) }
        }
        line.even x1=(x(of.mark)) x2=(x(of.mark)) y1="4" y2=(bottom) {}
        @for (row, dot) in dots.iter().enumerate() {
            @let y = 8 + row * ROW + ROW / 2;
            text.end x=(px(AXIS[0] - 14.0)) y=(y + 5) { (dot.label) }
            line.whisker x1=(x(dot.interval[0])) x2=(x(dot.interval[1])) y1=(y) y2=(y) {}
            circle.dot cx=(x(dot.value)) cy=(y) r="5" {}
            text x=(px(AXIS[1] + 14.0)) y=(y + 5) { (dot.words) }
        }
        text.soft.middle x=(px((AXIS[0] + AXIS[1]) / 2.0)) y=(bottom + 37) { (of.axis) }
    };
    Chart { title: of.title, text: &text, width: WIDTH, height: bottom + 46 }.wide(&drawn)
}

/// A share from 0 to 1 with its interval, for one row of a table; `chance` is what guessing reaches.
pub fn interval(title: &str, share: f64, interval: [f64; 2], chance: Option<f64>) -> Markup {
    let x = |share: f64| px(6.0 + place(share).clamp(0.0, 1.0) * 168.0);
    let percent = |share: f64| format!("{:.1} %", 100.0 * place(share));
    let chance_in_words = chance.map_or(String::new(), |chance| format!("; guessing reaches {}", percent(chance)));
    let text =
        format!("{}, interval {} to {}{chance_in_words}", percent(share), percent(interval[0]), percent(interval[1]));
    let drawn = html! {
        line.grid x1="6" x2="174" y1="8" y2="8" {}
        line.axis x1="6" x2="6" y1="4" y2="12" {}
        line.axis x1="174" x2="174" y1="4" y2="12" {}
        @if let Some(chance) = chance { line.chance x1=(x(chance)) x2=(x(chance)) y1="1" y2="15" {} }
        line.whisker x1=(x(interval[0])) x2=(x(interval[1])) y1="8" y2="8" {}
        circle.dot cx=(x(share)) cy="8" r="4.5" {}
    };
    Chart { title, text: &text, width: 180, height: 16 }.small(&drawn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dot_is_drawn_and_said() {
        let of = |value: f64| Dot {
            label: "shuffled".into(),
            value,
            interval: [value - 0.1, value + 0.1],
            words: format!("{value}"),
        };
        let wild = [of(0.5), of(f64::NAN), of(1e300), of(f64::NEG_INFINITY)];
        let found =
            dots(&Dots { title: "t", axis: "points", ends: [0.0, 1.0], ticks: &[(0.0, "0")], mark: 0.0, dots: &wild })
                .into_string();
        assert_eq!(found.matches("<circle").count(), 4);
        assert!(found.contains("<desc>shuffled: 0.5; "), "{found}");
        assert!(
            found.contains("cx=\"380\"") && found.contains("cx=\"560\"") && found.contains("cx=\"200\""),
            "{found}"
        );
        let none = dots(&Dots { title: "t", axis: "points", ends: [0.0, 0.0], ticks: &[], mark: f64::NAN, dots: &[] })
            .into_string();
        assert!(none.contains("</svg>") && !none.contains("NaN"));
    }

    #[test]
    fn a_share_stays_on_its_axis() {
        let found = interval("accuracy", 2.0, [f64::NAN, 7.0], Some(0.25)).into_string();
        assert!(found.contains("cx=\"174\"") && found.contains("guessing reaches 25.0 %"), "{found}");
    }
}
