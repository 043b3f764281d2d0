//! Tables of results for people: the paper's tables with the paper's rows and each system's, as Markdown and as LaTeX.
//!
//! # Layout
//! - [`Table`]: titles, cells and the lines below them; `markdown`, `latex`: as text
//! - `paper.toml`: the paper's numbers; `paper`: them, read, and the two tables; `ablation`: the same of Tables 3 to 5

pub(crate) mod ablation;
mod latex;
mod markdown;
mod paper;

pub(crate) use markdown::text as escaped;
pub(crate) use paper::{captions, questions};

/// What stands where a system has answers, but not this metric.
const NOT_COMPUTED: &str = "not computed";
/// What stands where there is nothing to score.
const NOTHING: &str = "-";

/// A table of texts. Each row has as many cells as the head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    /// What it shows.
    pub(crate) title: String,
    /// Names of the columns.
    pub(crate) head: Vec<String>,
    /// Rows in groups, between which a line is drawn where the format has lines.
    pub(crate) groups: Vec<Vec<Vec<String>>>,
    /// Lines below it.
    pub(crate) notes: Vec<String>,
}

/// A share as percent, with two digits behind the point.
pub(crate) fn percent(share: f64) -> String {
    // What rounds to nothing has no sign.
    let text = format!("{:.2}", 100.0 * share);
    if text == "-0.00" { "0.00".into() } else { text }
}

/// A difference of shares as percent, with its sign.
pub(crate) fn signed(difference: f64) -> String {
    let text = percent(difference);
    if text.starts_with('-') || text == "0.00" { text } else { format!("+{text}") }
}

/// A probability.
pub(crate) fn chance(p: f64) -> String {
    if p < 0.000_05 { "under 0.0001".into() } else { format!("{p:.4}") }
}

/// A made-up table with what the formats have to escape.
#[cfg(test)]
fn hostile() -> Table {
    let texts = |row: &[&str]| row.iter().map(|text| (*text).to_owned()).collect::<Vec<String>>();
    Table {
        title: "A & B_1".into(),
        head: texts(&["Method", "B@1"]),
        groups: vec![vec![texts(&["M3D-LaMed†", "37.30"])], vec![texts(&["a|b\n<i>\\x_y{z}$#~^%&", "1 ± 2"])]],
        notes: texts(&["split test, 50 % of `a_b`"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_has_no_sign() {
        assert_eq!([signed(0.0), signed(-0.000_001), signed(0.1), signed(-0.1)], ["0.00", "0.00", "+10.00", "-10.00"]);
    }
}
