//! One question about one volume as an SVG picture: all slices, and how much each counts.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, PreEscaped, html};
use med2e3_input::inputs::SourceSlice;
use med2e3_input::slices::AxialSlices;
use med2e3_schemas::explanation::QuestionFocus;

use super::pictures::{SHEET_COLUMNS, sheet_jpeg};

/// Of the picture, in pixels.
const WIDTH: f64 = 1120.0;
/// Around what is drawn, and left of the axis.
const MARGIN: f64 = 56.0;
/// Height of the bars' axis.
const BARS: f64 = 180.0;
/// Between lines of text.
const LINE: f64 = 20.0;
/// Characters of a line.
const COLUMNS: usize = 130;
/// Lines of a text at most.
const LINES: usize = 6;

const STYLE: &str = "text{font:14px system-ui,sans-serif;fill:#1c2430}.small{font-size:12px}.dim{fill:#545e6c}\
    .bar{fill:#2b6cb0}.peak{fill:#b83280}.even{stroke:#c53030;stroke-dasharray:6 4}.axis{stroke:#545e6c}\
    .frame{fill:none;stroke:#b83280;stroke-width:4}.slice{fill:#fff;paint-order:stroke;stroke:#000;stroke-width:3px}";

/// What is drawn.
pub(super) struct Drawn<'a> {
    pub(super) question: &'a str,
    pub(super) answer: &'a str,
    pub(super) focus: &'a QuestionFocus,
    /// The slices as the model has seen them.
    pub(super) slices: AxialSlices<'a, u8>,
    /// Where each is in the source.
    pub(super) places: &'a [SourceSlice],
    /// Where millimetres grow.
    pub(super) mm_towards: Option<&'static str>,
}

/// The picture, of a file that a browser and an editor open.
///
/// # Errors
/// A sheet of slices that no JPEG holds.
pub(super) fn svg(drawn: &Drawn<'_>) -> image::ImageResult<String> {
    let Drawn { question, answer, focus, slices, .. } = drawn;
    let sheet = STANDARD.encode(sheet_jpeg(*slices)?);
    let texts = [wrapped(&format!("Question: {question}")), wrapped(&format!("Answer: {answer}"))].concat();
    let inner = WIDTH - 2.0 * MARGIN;
    let columns = SHEET_COLUMNS.min(slices.len()).max(1);
    let [rows, cell_w] = [slices.len().div_ceil(columns) as f64, inner / columns as f64];
    let [height, width] = slices.shape_hw();
    let cell_h = cell_w * height as f64 / width.max(1) as f64;
    let sheet_top = MARGIN / 2.0 + LINE * (texts.len() as f64 + 0.5);
    let bars_top = sheet_top + cell_h * rows + 2.0 * LINE;
    let total = bars_top + BARS + 3.8 * LINE;
    let highest = focus.times_even.iter().copied().fold(1.0f32, f32::max);
    let title = format!("How much each of {} slices counts", slices.len());
    let description = format!(
        "Slice {} counts most, {:.1} times an even share; the scores are spread as over {:.1} slices.",
        focus.peak, focus.times_even[focus.peak as usize], focus.effective_slices
    );
    let corner =
        |slice: usize| [MARGIN + (slice % columns) as f64 * cell_w, sheet_top + (slice / columns) as f64 * cell_h];
    let picture = html! {
        svg xmlns="http://www.w3.org/2000/svg" width=(WIDTH) height=(total) viewBox=(format!("0 0 {WIDTH} {total}")) role="img" {
            title { (title) }
            desc { (description) }
            style { (PreEscaped(STYLE)) }
            rect width="100%" height="100%" fill="#fff" {}
            @for (line, text) in texts.iter().enumerate() {
                text x=(MARGIN) y=(MARGIN / 2.0 + LINE * (line as f64 + 0.5)) { (text) }
            }
            image x=(MARGIN) y=(sheet_top) width=(inner) height=(cell_h * rows) preserveAspectRatio="none"
                href=(format!("data:image/jpeg;base64,{sheet}")) {}
            @for (slice, times) in focus.times_even.iter().enumerate() {
                @let [x, y] = corner(slice);
                text.small.slice x=(x + 6.0) y=(y + 16.0) { (slice) " · " (format!("{times:.1}")) "×" }
            }
            @let [x, y] = corner(focus.peak as usize);
            rect.frame x=(x + 2.0) y=(y + 2.0) width=(cell_w - 4.0) height=(cell_h - 4.0) {}
            (bars(drawn, bars_top, f64::from(highest)))
            text.small.dim x=(MARGIN) y=(total - LINE) {
                (format!("Spread as over {:.1} slices; the dashed line is an even share. ", focus.effective_slices))
                "Scores weigh the 2D tokens of slices; the 3D tokens see all slices whatever the scores."
            }
        }
    };
    Ok(picture.into_string())
}

/// The bars on an axis of slices, with where the ends are in the source.
fn bars(drawn: &Drawn<'_>, top: f64, highest: f64) -> Markup {
    let Drawn { focus, places, mm_towards, .. } = drawn;
    let count = focus.times_even.len();
    let (step, base) = ((WIDTH - 2.0 * MARGIN) / count as f64, top + BARS);
    let height = |times: f64| BARS * times / highest;
    let numbered = count.div_ceil(32).max(1);
    html! {
        text.small.dim x=(MARGIN) y=(top - 8.0) { "times an even share" }
        @for times in [0.0, highest] {
            text.small.dim x=(MARGIN - 8.0) y=(base - height(times) + 4.0) text-anchor="end" { (format!("{times:.1}")) }
        }
        @for (slice, times) in focus.times_even.iter().enumerate() {
            @let (x, tall) = (MARGIN + slice as f64 * step, height(f64::from(*times)));
            rect class=(if slice == focus.peak as usize { "peak" } else { "bar" })
                x=(x + 0.1 * step) y=(base - tall) width=(0.8 * step) height=(tall) {
                title { (place(slice, *times, places.get(slice), *mm_towards)) }
            }
            @if slice % numbered == 0 {
                text.small.dim x=(x + step / 2.0) y=(base + 16.0) text-anchor="middle" { (slice) }
            }
        }
        line.axis x1=(MARGIN) y1=(base) x2=(WIDTH - MARGIN) y2=(base) {}
        line.even x1=(MARGIN) y1=(base - height(1.0)) x2=(WIDTH - MARGIN) y2=(base - height(1.0)) {}
        @let peak = focus.peak as usize;
        text.small x=(MARGIN) y=(base + 34.0) { (place(peak, focus.times_even[peak], places.get(peak), *mm_towards)) }
    }
}

/// A slice in words: its number, what it counts, where it is in the source.
fn place(slice: usize, times: f32, at: Option<&SourceSlice>, mm_towards: Option<&str>) -> String {
    let mut words = format!("Slice {slice}: {times:.2} times an even share");
    if let Some(number) = at.and_then(|at| at.source_slice) {
        words += &format!(", slice {number} of the source");
    }
    if let Some((mm, towards)) = at.and_then(|at| at.mm).zip(mm_towards) {
        words += &format!(", at {mm:.1} mm towards {towards}");
    }
    words
}

/// A text in lines, the last of them marked where it is cut.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("one line or more");
        if !last.is_empty() && last.chars().count() + 1 + word.chars().count() > COLUMNS {
            lines.push(String::new());
        }
        let last = lines.last_mut().expect("one line or more");
        if !last.is_empty() {
            last.push(' ');
        }
        last.extend(word.chars().take(COLUMNS));
    }
    if lines.len() > LINES {
        lines.truncate(LINES);
        lines[LINES - 1].push_str(" …");
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::measure::measured;
    use super::*;

    #[test]
    fn the_picture_has_every_slice_with_its_bar_and_place() {
        let grey = vec![90u8; 5 * 64];
        let slices = AxialSlices::new(&grey, [5, 8, 8]).unwrap();
        let focus = measured(&[0.1, 0.1, 0.6, 0.1, 0.1]).unwrap();
        let places: Vec<SourceSlice> =
            (0..5).map(|n| SourceSlice { source_slice: Some(40 - n), mm: Some(-12.5 * n as f64) }).collect();
        let drawn = Drawn {
            question: "Which <plane> is shown?",
            answer: &"axial ".repeat(200),
            focus: &focus,
            slices,
            places: &places,
            mm_towards: Some("superior"),
        };
        let picture = svg(&drawn).unwrap();
        assert_eq!(picture.matches("class=\"bar\"").count(), 4);
        assert_eq!(picture.matches("class=\"peak\"").count(), 1);
        for words in [
            "Which &lt;plane&gt; is shown?",
            "Slice 2 counts most, 3.0 times an even share",
            "Slice 2: 3.00 times an even share, slice 38 of the source, at -25.0 mm towards superior",
            "data:image/jpeg;base64,",
            "axial …",
        ] {
            assert!(picture.contains(words), "{words}");
        }
    }

    #[test]
    fn texts_are_wrapped_at_words() {
        let lines = wrapped(&"word ".repeat(60));
        assert!(lines.len() == 3 && lines.iter().all(|line| line.chars().count() <= COLUMNS), "{lines:?}");
        assert_eq!(wrapped(""), [""]);
    }
}
