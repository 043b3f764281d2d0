//! Pandas: which cells its CSV reader treats as missing. M3D reads its tables with pandas, and a missing cell becomes
//! the text `nan` in M3D's prompts and answers.

/// The text that a missing cell becomes.
pub const NAN: &str = "nan";

/// Cells that pandas 2 treats as missing by default; `None` was added in 2.0.
const MISSING: [&str; 19] = [
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan", "null",
];

/// Whether pandas treats a cell as missing; the cell is compared whole, with its spaces.
pub fn is_missing(cell: &str) -> bool {
    MISSING.contains(&cell)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_cells_agree_with_pandas() {
        let golden = include_str!("../../tests/golden/pandas_missing.txt");
        let cells = golden.lines().filter(|line| !line.starts_with("# "));
        let mut missing = 0;
        for line in cells {
            let (verdict, cell) = line.split_once(' ').unwrap();
            let cell: String = serde_json::from_str(cell).unwrap();
            assert_eq!(is_missing(&cell), verdict == "missing", "{cell:?}");
            missing += usize::from(verdict == "missing");
        }
        assert_eq!(missing, MISSING.len(), "the golden file holds every missing cell once");
    }
}
