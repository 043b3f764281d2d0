//! The rows of the paper's Tables 3 to 5: which preset is which, and in which order they are run.

use crate::config::Base;
use crate::model::Preset;

impl Base {
    /// The base row.
    pub(super) fn preset(self) -> Preset {
        match self {
            Base::Paper => Preset::Paper,
            Base::Released => Preset::Released,
        }
    }
}

/// The rows of a table in the paper's order, the base row last. The paper's own order of Table 5 has lost its marks: it is taken for rows
/// without the question first, each with 3D features, with 2D features, with both.
pub(super) fn of_table(number: u32, base: Base) -> Vec<Preset> {
    let mut rows = match (number, base) {
        (3, _) => vec![Preset::Vision3dOnly, Preset::Vision2dOnly],
        (4, _) => vec![Preset::Random, Preset::Max, Preset::Mean],
        (_, Base::Paper) => {
            vec![Preset::Linear3d, Preset::Linear2d, Preset::LinearBoth, Preset::Text3d, Preset::Text2d]
        }
        (_, Base::Released) => {
            vec![Preset::Linear3d, Preset::Linear2d, Preset::LinearBoth, Preset::Released3d, Preset::Released2d]
        }
    };
    rows.push(base.preset());
    rows
}

/// Numbers of the tables.
pub(super) const TABLES: [u32; 3] = [3, 4, 5];

/// Every distinct row, the base row first, since it is in all tables.
pub(super) fn all(base: Base) -> Vec<Preset> {
    let mut rows = vec![base.preset()];
    rows.extend(TABLES.into_iter().flat_map(|table| of_table(table, base)).filter(|row| *row != base.preset()));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Word;

    #[test]
    fn there_are_eleven_rows_and_the_base_row_is_in_each_table() {
        for base in [Base::Paper, Base::Released] {
            let rows: Vec<&str> = all(base).into_iter().map(Preset::as_str).collect();
            let distinct: std::collections::BTreeSet<&str> = rows.iter().copied().collect();
            assert_eq!((rows.len(), distinct.len(), rows[0]), (11, 11, base.as_str()));
            assert_eq!(TABLES.map(|table| of_table(table, base).len()), [3, 4, 6]);
            assert!(TABLES.into_iter().all(|table| of_table(table, base).last() == Some(&base.preset())));
        }
    }
}
