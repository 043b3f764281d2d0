//! A number over the steps of a training.

use maud::{Markup, html};

use super::{Chart, label, place, px, ticks};

/// What is drawn over the steps of a training.
#[derive(Clone, Copy, Debug)]
pub struct Curve<'a> {
    /// What it is, and its unit.
    pub what: &'a str,
    /// A number each step, drawn faint, with a running mean on top.
    pub steps: &'a [(u64, f64)],
    /// Numbers of a few steps, drawn as points.
    pub measured: &'a [(u64, f64)],
    /// Width and height in pixels. Below 500 pixels of width it does not shrink.
    pub size: (usize, usize),
}

/// Left, right, above and below the lines.
const MARGINS: (f64, f64, f64, f64) = (52.0, 12.0, 26.0, 40.0);

/// Points of a line at most; those between are left out, but for the lowest and the highest of every few.
const MOST_POINTS: usize = 1200;

/// Points that are measured and drawn, at most.
const MOST_MEASURED: usize = 400;

/// The curve.
pub fn curve(curve: &Curve<'_>) -> Markup {
    let (steps, measured) = (placed(curve.steps), placed(curve.measured));
    let last = steps.iter().chain(&measured).map(|(step, _)| *step).fold(1.0, f64::max);
    let highest = match steps.iter().chain(&measured).map(|(_, number)| *number).fold(0.0, f64::max) {
        0.0 => 1.0,
        highest => highest * 1.05,
    };
    let (width, height) = curve.size;
    let (left, right, above, below) = MARGINS;
    let (right, bottom) = (width as f64 - right, height as f64 - below);
    let x = |step: f64| px(left + step / last * (right - left));
    let y = |number: f64| px(bottom - (number.max(0.0) / highest).min(1.0) * (bottom - above));
    let line = |points: &[(f64, f64)]| {
        points.iter().map(|(step, number)| format!("{},{}", x(*step), y(*number))).collect::<Vec<_>>().join(" ")
    };
    let means = running_mean(&steps);
    let is_small = width < 500;
    let text = in_words(curve, &means, &measured);
    let each = measured.len().div_ceil(MOST_MEASURED).max(1);
    let drawn = html! {
        text.strong x="0" y="14" { (curve.what) }
        @for tick in ticks(highest, if is_small { 3 } else { 5 }) {
            line.grid x1=(px(left)) x2=(px(right)) y1=(y(tick)) y2=(y(tick)) {}
            text.soft.end x=(px(left - 8.0)) y=(y(tick)) dy="4" { (label(tick, highest)) }
        }
        @for tick in ticks(last, if is_small { 3 } else { 6 }) {
            text.soft.middle x=(x(tick)) y=(px(bottom + 18.0)) { (label(tick, last.max(10.0))) }
        }
        text.soft.end x=(px(right)) y=(px(bottom + 35.0)) { "step" }
        polyline.each points=(line(&thinned(&steps))) {}
        polyline.mean points=(line(&thinned(&means))) {}
        @for (step, number) in measured.iter().step_by(each) { circle.point cx=(x(*step)) cy=(y(*number)) r="4.5" {} }
    };
    let chart = Chart { title: curve.what, text: &text, width, height };
    if is_small { chart.small(&drawn) } else { chart.wide(&drawn) }
}

fn in_words(curve: &Curve<'_>, means: &[(f64, f64)], measured: &[(f64, f64)]) -> String {
    let ends = |points: &[(f64, f64)]| {
        let (&(from, first), &(to, last)) = (points.first()?, points.last()?);
        Some(format!("{} at step {from}, {} at step {to}", label(first, first), label(last, last)))
    };
    match (ends(means), ends(measured)) {
        (None, None) => "no step yet".to_owned(),
        (Some(means), None) => format!("running mean of {}: {means}", curve.what),
        (None, Some(measured)) => format!("measured on the validation split: {measured}"),
        (Some(means), Some(measured)) => format!("running mean: {means}; measured on the validation split: {measured}"),
    }
}

fn placed(points: &[(u64, f64)]) -> Vec<(f64, f64)> {
    points.iter().map(|&(step, number)| (place(step as f64), place(number))).collect()
}

/// Points without those that no pixel shows: of every few in a row the lowest and the highest stay.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= MOST_POINTS {
        return points.to_vec();
    }
    let few = points.len().div_ceil(MOST_POINTS / 2);
    let mut kept = Vec::with_capacity(MOST_POINTS);
    for part in points.chunks(few) {
        let by_number = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let ends = [part.iter().min_by(by_number), part.iter().max_by(by_number)];
        let mut ends: Vec<(f64, f64)> = ends.into_iter().flatten().copied().collect();
        ends.sort_by(|a, b| a.0.total_cmp(&b.0));
        kept.extend(ends);
    }
    kept
}

/// Means over a window that follows the curve.
fn running_mean(steps: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let window = (steps.len() / 20).max(1);
    let mut sum = 0.0;
    let mean = |(i, &(step, number)): (usize, &(f64, f64))| {
        sum += number;
        if i >= window {
            sum -= steps[i - window].1;
        }
        (step, sum / window.min(i + 1) as f64)
    };
    steps.iter().enumerate().map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(steps: &[(u64, f64)], measured: &[(u64, f64)]) -> String {
        curve(&Curve { what: "loss (nats per token)", steps, measured, size: (620, 260) }).into_string()
    }

    #[test]
    fn a_curve_holds_what_it_is_given() {
        let svg = drawn(&[(1, 3.0), (2, 2.0), (3, 1.0)], &[(3, 1.5)]);
        assert_eq!((svg.matches("<circle").count(), svg.matches("<polyline").count()), (1, 2));
        assert!(svg.contains("measured on the validation split: 1.5 at step 3"), "{svg}");
    }

    #[test]
    fn numbers_that_no_run_has_are_drawn_at_the_border() {
        let wild = [(0, -1e308), (1, 1e308), (u64::MAX, 0.0), (3, f64::NAN), (4, f64::INFINITY)];
        for svg in [drawn(&wild, &wild), drawn(&[], &[]), drawn(&[(0, 0.0)], &[])] {
            assert!(svg.contains("</svg>") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
        assert!(drawn(&[], &[]).contains("no step yet"));
    }

    #[test]
    fn long_curves_keep_their_highest_point_and_little_else() {
        let mut steps: Vec<(f64, f64)> = (0..100_000).map(|step| (f64::from(step), 1.0)).collect();
        steps[54_321].1 = 9.0;
        let kept = thinned(&steps);
        assert!(kept.len() <= MOST_POINTS && kept.contains(&(54_321.0, 9.0)), "{}", kept.len());
    }

    #[test]
    fn a_running_mean_of_a_constant_is_it() {
        let steps: Vec<(f64, f64)> = (0..50).map(|step| (f64::from(step), 2.0)).collect();
        assert_eq!(running_mean(&steps), steps);
    }
}
