//! How often each pair of two letters occurs.

use maud::{Markup, html};

use super::{Chart, px};

/// Counts of pairs.
#[derive(Clone, Copy, Debug)]
pub struct Cells<'a> {
    /// What they are.
    pub title: &'a str,
    /// What the rows and the columns are.
    pub sides: [&'a str; 2],
    /// The rows' names.
    pub rows: &'a [String],
    /// The columns' names.
    pub columns: &'a [String],
    /// A list of counts a row, one a column.
    pub counts: &'a [Vec<u64>],
}

const WIDTH: usize = 58;
const HEIGHT: usize = 34;
/// Where the first cell begins.
const LEFT: usize = 90;
const TOP: usize = 46;

/// A cell a pair, the darker the more of its row; where row and column have one name it is framed.
pub fn cells(of: &Cells<'_>) -> Markup {
    let Cells { title, sides, rows, columns, counts } = *of;
    let share = |row: &[u64], count: u64| count as f64 / (row.iter().map(|count| *count as f64).sum::<f64>()).max(1.0);
    let said = rows.iter().zip(counts).map(|(name, row)| {
        let pairs = columns.iter().zip(row).filter(|(_, count)| **count > 0);
        format!(
            "{} {name}: {}",
            sides[0],
            pairs.map(|(column, count)| format!("{count} {column}")).collect::<Vec<_>>().join(", ")
        )
    });
    let text = said.collect::<Vec<_>>().join("; ");
    let drawn = html! {
        text.soft x=(LEFT) y="14" { (sides[1]) }
        text.soft.end x=(LEFT - 10) y=(TOP - 8) { (sides[0]) }
        @for (column, name) in columns.iter().enumerate() { text.strong.middle x=(LEFT + column * WIDTH + WIDTH / 2) y=(TOP - 8) { (name) } }
        @for (row, (name, row_counts)) in rows.iter().zip(counts).enumerate() {
            @let y = TOP + row * HEIGHT;
            text.strong.end x=(LEFT - 10) y=(y + 22) { (name) }
            @for (column, count) in row_counts.iter().enumerate().take(columns.len()) {
                @let x = LEFT + column * WIDTH;
                // At most 40 %, so that the number stands out.
                rect.bar x=(x + 1) y=(y + 1) width=(WIDTH - 2) height=(HEIGHT - 2) rx="4" fill-opacity=(px2(0.04 + 0.36 * share(row_counts, *count))) {}
                @if *name == columns[column] { rect.right x=(x + 2) y=(y + 2) width=(WIDTH - 4) height=(HEIGHT - 4) rx="4" fill="none" {} }
                text.middle x=(x + WIDTH / 2) y=(y + 22) { (count) }
            }
        }
    };
    let (width, height) = (LEFT + columns.len() * WIDTH + 2, TOP + rows.len() * HEIGHT + 4);
    Chart { title, text: &text, width, height }.wide(&drawn)
}

fn px2(opacity: f64) -> String {
    px(opacity * 100.0) + "%"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_hold_counts_and_say_them() {
        let names = ["A".to_owned(), "<B>".to_owned()];
        let counts = [vec![3, 1], vec![0, u64::MAX]];
        let found = cells(&Cells {
            title: "letters",
            sides: ["right", "read"],
            rows: &names,
            columns: &names,
            counts: &counts,
        })
        .into_string();
        assert!(found.contains("right A: 3 A, 1 &lt;B&gt;; right &lt;B&gt;"), "{found}");
        assert_eq!((found.matches("class=\"bar\"").count(), found.matches("class=\"right\"").count()), (4, 2));
        assert!(
            cells(&Cells { title: "", sides: ["", ""], rows: &[], columns: &[], counts: &[] })
                .into_string()
                .contains("</svg>")
        );
    }
}
