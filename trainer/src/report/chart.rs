//! Charts as SVG text.

use plotters::prelude::*;

const BLUE: RGBColor = RGBColor(38, 98, 158);
const ORANGE: RGBColor = RGBColor(208, 110, 30);
const RED: RGBColor = RGBColor(200, 40, 40);
const GREY: RGBColor = RGBColor(120, 126, 134);

/// What is drawn over the steps of a training.
pub(super) struct Curve<'a> {
    /// What it is, and its unit.
    pub(super) what: &'a str,
    /// A number each step, drawn faint, with a running mean on top.
    pub(super) steps: &'a [(u64, f64)],
    /// Numbers of a few steps, drawn as points.
    pub(super) measured: &'a [(u64, f64)],
    /// Width and height in pixels.
    pub(super) size: (u32, u32),
}

pub(super) fn curve(curve: &Curve<'_>) -> String {
    let (steps, measured) = (drawable(curve.steps), drawable(curve.measured));
    // No point may be beyond the axis, on which it would have no place.
    let last = steps.iter().chain(&measured).map(|(step, _)| *step).max().unwrap_or(1).max(1);
    let all = steps.iter().chain(&measured).map(|(_, number)| *number);
    let highest = match all.fold(0.0, f64::max) {
        0.0 => 1.0,
        highest => highest * 1.05,
    };
    draw(curve.size, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(10)
            .x_label_area_size(34)
            .y_label_area_size(64)
            .build_cartesian_2d(0..last, 0.0..highest)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GREY.mix(0.2))
            .axis_style(GREY)
            .x_desc("step")
            .y_desc(curve.what)
            .x_labels(6)
            .y_labels(5)
            .label_style(("sans-serif", 12))
            .y_label_formatter(&|number| label(*number, highest))
            .draw()?;
        chart.draw_series(LineSeries::new(steps.iter().copied(), BLUE.mix(0.25)))?;
        chart.draw_series(LineSeries::new(running_mean(&steps), BLUE.stroke_width(2)))?;
        chart.draw_series(measured.iter().map(|point| Circle::new(*point, 4, ORANGE.filled())))?;
        Ok(())
    })
}

/// A number of an axis that ends at `highest`.
fn label(number: f64, highest: f64) -> String {
    match highest {
        _ if number == 0.0 => "0".to_owned(),
        ..0.01 => format!("{number:.1e}"),
        ..1.0 => format!("{number:.2}"),
        ..100.0 => format!("{number:.1}"),
        ..1e6 => format!("{number:.0}"),
        _ => format!("{number:.1e}"),
    }
}

/// The largest number that a chart draws: what a report states beyond it is drawn there.
const LARGEST: f64 = 1e9;

/// Points that have a place, at most [`MOST_POINTS`] of them.
fn drawable(points: &[(u64, f64)]) -> Vec<(u64, f64)> {
    let each = points.len().div_ceil(MOST_POINTS).max(1);
    let last = points.len().saturating_sub(1);
    let kept = points.iter().enumerate().filter(|(number, _)| number % each == 0 || *number == last);
    kept.map(|(_, &(step, loss))| (step.min(LARGEST as u64), place(loss))).collect()
}

fn place(number: f64) -> f64 {
    if number.is_nan() { 0.0 } else { number.clamp(0.0, LARGEST) }
}

/// Points of a curve at most; a page is some 1,000 pixels wide.
const MOST_POINTS: usize = 20_000;

/// One bar a slice in times an even share, and a dashed line at 1, where all slices would count the same. Charts of one `highest`
/// have one axis, see [`highest`].
pub(super) fn scores(scores: &[f32], highest: f64) -> String {
    let scores = &scores[..scores.len().min(MOST_POINTS)];
    let count = scores.len().max(1);
    draw((1040, 110), |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(4)
            .x_label_area_size(18)
            .y_label_area_size(40)
            .build_cartesian_2d(0.0..count as f64, 0.0..place(highest).max(1.6) * 1.05)?;
        chart
            .configure_mesh()
            .disable_mesh()
            .axis_style(GREY)
            .label_style(("sans-serif", 11))
            .x_labels(9)
            .y_labels(3)
            .x_label_formatter(&|slice| format!("{slice:.0}"))
            .y_label_formatter(&|share| format!("{share:.1}"))
            .draw()?;
        chart.draw_series(scores.iter().enumerate().map(|(slice, &score)| {
            let (left, right) = (slice as f64 + 0.12, slice as f64 + 0.88);
            Rectangle::new([(left, 0.0), (right, place(f64::from(score) * count as f64))], BLUE.filled())
        }))?;
        let line = [(0.0, 1.0), (count as f64, 1.0)];
        chart.draw_series(DashedLineSeries::new(line, 6, 4, RED.stroke_width(1)))?;
        Ok(())
    })
}

/// The highest score of several lists in times an even share.
pub(super) fn highest<'a>(lists: impl Iterator<Item = &'a [f32]>) -> f64 {
    let of = |scores: &[f32]| scores.iter().copied().fold(0.0f32, f32::max) * scores.len() as f32;
    lists.map(|scores| f64::from(of(scores))).fold(0.0, f64::max)
}

/// Means over a window that follows the curve.
fn running_mean(steps: &[(u64, f64)]) -> Vec<(u64, f64)> {
    let window = (steps.len() / 20).max(1);
    (0..steps.len())
        .map(|i| {
            let recent = &steps[(i + 1).saturating_sub(window)..=i];
            (steps[i].0, recent.iter().map(|(_, loss)| loss).sum::<f64>() / recent.len() as f64)
        })
        .collect()
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

fn draw(size: (u32, u32), draw: impl FnOnce(&DrawingArea<SVGBackend<'_>, plotters::coord::Shift>) -> Drawn) -> String {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
    draw(&area).and_then(|()| Ok(area.present()?)).expect("a string takes any drawing");
    drop(area);
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(steps: &[(u64, f64)], measured: &[(u64, f64)]) -> String {
        curve(&Curve { what: "loss", steps, measured, size: (620, 260) })
    }

    #[test]
    fn numbers_on_an_axis_are_short() {
        assert_eq!(label(0.0, 1e-5), "0");
        assert_eq!(label(5e-5, 1e-4), "5.0e-5");
        assert_eq!(label(0.25, 0.9), "0.25");
        assert_eq!(label(2.5, 10.0), "2.5");
        assert_eq!(label(2500.0, 3000.0), "2500");
        assert_eq!(label(2.5e7, 3e7), "2.5e7");
    }

    #[test]
    fn charts_hold_what_they_are_given() {
        let svg = drawn(&[(1, 3.0), (2, 2.0), (3, 1.0)], &[(3, 1.5)]);
        assert_eq!(svg.matches("<circle").count(), 1);
        assert!(svg.matches("<polyline").count() >= 2);
        let svg = scores(&[0.25; 4], 1.0);
        assert_eq!(svg.matches("<rect").count(), 4);
    }

    #[test]
    fn numbers_that_no_run_has_are_drawn_at_the_border() {
        let wild = [(0, -1e308), (1, 1e308), (u64::MAX, 0.0), (3, f64::NAN)];
        assert!(drawn(&wild, &wild).contains("<svg") && drawn(&[], &[]).contains("<svg"));
        let wild = [f32::MAX, -1.0, f32::NAN, f32::INFINITY];
        assert!(scores(&wild, highest([wild.as_slice()].into_iter())).contains("<svg"));
        assert!(scores(&[], highest(std::iter::empty())).contains("<svg"));
        assert_eq!(highest([[0.25f32, 0.75].as_slice(), &[1.0]].into_iter()), 1.5);
    }

    #[test]
    fn a_running_mean_of_a_constant_is_it() {
        let steps: Vec<(u64, f64)> = (0..50).map(|step| (step, 2.0)).collect();
        assert_eq!(running_mean(&steps), steps);
    }
}
