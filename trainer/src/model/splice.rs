//! The positions of text and visual tokens in the sequence that the language model gets.
//!
//! Planned on the host from ids alone, so that the device does one embedding look-up and one row copy, and never waits.

use med2e3_schemas::sample::{IGNORED, IMAGE3D};

/// The id that marks a volume in a row of ids.
pub const VOLUME_ID: i64 = IMAGE3D as i64;

/// A batch of spliced sequences, right-padded to the longest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Splice {
    /// Tokens of a padded row.
    pub width: usize,
    /// Tokens of each row before padding.
    pub lengths: Vec<usize>,
    /// (rows * width) text ids; 0 at visual tokens and padding.
    pub text_ids: Vec<i64>,
    /// Flat positions (row * width + token) of visual tokens.
    pub visual_positions: Vec<i64>,
    /// For each of them its row in the flat (volumes * tokens) list of visual tokens.
    pub visual_rows: Vec<i64>,
    /// Flat positions whose next token is a target.
    pub target_positions: Vec<i64>,
    /// Those next tokens.
    pub target_ids: Vec<i64>,
    /// The row of each target.
    pub target_rows: Vec<usize>,
    /// For each volume, in order of appearance, the row of ids that holds it.
    pub volume_rows: Vec<i64>,
}

impl Splice {
    /// Plans a batch. Rows of `ids` hold any number of [`VOLUME_ID`]s; each takes the next `visual_tokens` visual tokens of the
    /// batch, whose labels are [`IGNORED`]. Every row is cut at `max_length` after splicing. A row of labels is as long as its
    /// ids, or absent or empty where there is no target.
    pub fn plan(ids: &[&[i64]], labels: &[&[i64]], visual_tokens: usize, max_length: usize) -> Splice {
        Splice::plan_wide(ids, labels, visual_tokens, max_length, 1)
    }

    /// As [`Splice::plan`], the width rounded up to a multiple.
    pub fn plan_wide(
        ids: &[&[i64]],
        labels: &[&[i64]],
        visual_tokens: usize,
        max_length: usize,
        width_multiple: usize,
    ) -> Splice {
        let spliced =
            |row: &[i64]| row.iter().map(|id| if *id == VOLUME_ID { visual_tokens } else { 1 }).sum::<usize>();
        let lengths: Vec<usize> = ids.iter().map(|row| spliced(row).min(max_length)).collect();
        let width = lengths.iter().copied().max().unwrap_or(0).next_multiple_of(width_multiple);
        let mut splice = Splice {
            width,
            lengths,
            text_ids: vec![0; ids.len() * width],
            visual_positions: Vec::new(),
            visual_rows: Vec::new(),
            target_positions: Vec::new(),
            target_ids: Vec::new(),
            target_rows: Vec::new(),
            volume_rows: Vec::new(),
        };
        for (row, row_ids) in ids.iter().enumerate() {
            splice.plan_row(row, row_ids, labels.get(row).copied().unwrap_or_default(), visual_tokens);
        }
        splice
    }

    fn plan_row(&mut self, row: usize, ids: &[i64], labels: &[i64], visual_tokens: usize) {
        let (start, end) = (row * self.width, row * self.width + self.lengths[row]);
        let mut position = start;
        for (index, id) in ids.iter().enumerate() {
            if *id == VOLUME_ID {
                let first = self.volume_rows.len() * visual_tokens;
                let kept = visual_tokens.min(end - position);
                self.visual_positions.extend((position..position + kept).map(|at| at as i64));
                self.visual_rows.extend((first..first + kept).map(|at| at as i64));
                self.volume_rows.push(row as i64);
                position += kept;
            } else if position < end {
                self.text_ids[position] = *id;
                let label = labels.get(index).copied().unwrap_or(IGNORED);
                // The first token of a row has no token before it that could predict it.
                if label != IGNORED && position > start {
                    self.target_positions.push(position as i64 - 1);
                    self.target_ids.push(label);
                    self.target_rows.push(row);
                }
                position += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V: i64 = VOLUME_ID;
    const X: i64 = IGNORED;

    #[test]
    fn volume_in_the_middle() {
        let splice = Splice::plan(&[&[1, V, 5, 6]], &[&[X, X, X, 6]], 3, 100);
        assert_eq!(splice.text_ids, [1, 0, 0, 0, 5, 6]);
        assert_eq!(splice.visual_positions, [1, 2, 3]);
        assert_eq!(splice.visual_rows, [0, 1, 2]);
        assert_eq!((splice.target_positions, splice.target_ids), (vec![4], vec![6]));
    }

    #[test]
    fn target_right_after_a_volume_is_predicted_by_its_last_token() {
        let splice = Splice::plan(&[&[V, 7]], &[&[X, 7]], 2, 100);
        assert_eq!((splice.target_positions, splice.target_ids), (vec![1], vec![7]));
    }

    #[test]
    fn shorter_rows_are_padded_on_the_right() {
        let splice = Splice::plan(&[&[1, 2, 3], &[V, 4]], &[], 3, 100);
        assert_eq!((splice.width, splice.lengths), (4, vec![3, 4]));
        assert_eq!(splice.text_ids, [1, 2, 3, 0, 0, 0, 0, 4]);
        assert_eq!(splice.visual_positions, [4, 5, 6]);
        assert_eq!(splice.volume_rows, [1]);
    }

    #[test]
    fn several_volumes_and_none() {
        let splice = Splice::plan(&[&[V, 9, V], &[8], &[V]], &[], 2, 100);
        assert_eq!(splice.volume_rows, [0, 0, 2]);
        assert_eq!(splice.visual_positions, [0, 1, 3, 4, 10, 11]);
        assert_eq!(splice.visual_rows, [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn cut_at_max_length_inside_a_volume_and_inside_text() {
        let splice = Splice::plan(&[&[1, V, 5], &[V, 5, 6]], &[&[X, X, 5], &[X, 5, 6]], 3, 4);
        assert_eq!((splice.width, &splice.lengths), (4, &vec![4, 4]));
        assert_eq!(splice.visual_positions, [1, 2, 3, 4, 5, 6]);
        assert_eq!((splice.target_positions, splice.target_ids), (vec![6], vec![5]));
        let splice = Splice::plan(&[&[1, V, 5]], &[], 3, 2);
        assert_eq!((splice.visual_positions, splice.visual_rows), (vec![1], vec![0]));
    }

    #[test]
    fn the_first_token_is_never_a_target() {
        let splice = Splice::plan(&[&[3, 4]], &[&[3, 4]], 1, 100);
        assert_eq!((splice.target_positions, splice.target_ids), (vec![0], vec![4]));
    }

    /// A row of positions, each a text id or a row of visual tokens, with its label: what splicing means.
    fn naive(
        ids: &[i64],
        labels: &[i64],
        first_volume: usize,
        visual: usize,
        cut: usize,
    ) -> Vec<(Option<i64>, i64, i64)> {
        let (mut row, mut volume) = (Vec::new(), first_volume);
        for (id, label) in ids.iter().zip(labels) {
            if *id == V {
                row.extend((0..visual).map(|i| (Some((volume * visual + i) as i64), 0, X)));
                volume += 1;
            } else {
                row.push((None, *id, *label));
            }
        }
        row.truncate(cut);
        row
    }

    proptest::proptest! {
        #[test]
        fn equals_the_naive_splice(
            rows in proptest::collection::vec(
                proptest::collection::vec((proptest::prop_oneof![1 => proptest::strategy::Just(V), 4 => 0i64..50], 0..2), 0..12),
                1..5,
            ),
            visual in 0usize..5,
            cut in 1usize..20,
        ) {
            let ids: Vec<Vec<i64>> = rows.iter().map(|row| row.iter().map(|(id, _)| *id).collect()).collect();
            let labels: Vec<Vec<i64>> = rows
                .iter()
                .map(|row| row.iter().map(|(id, target)| if *id != V && *target == 1 { *id } else { X }).collect())
                .collect();
            let id_rows: Vec<&[i64]> = ids.iter().map(Vec::as_slice).collect();
            let label_rows: Vec<&[i64]> = labels.iter().map(Vec::as_slice).collect();
            let splice = Splice::plan(&id_rows, &label_rows, visual, cut);

            let (mut volumes, mut targets) = (0, Vec::new());
            for (b, (ids, labels)) in ids.iter().zip(&labels).enumerate() {
                let row = naive(ids, labels, volumes, visual, cut);
                volumes += ids.iter().filter(|id| **id == V).count();
                proptest::prop_assert_eq!(splice.lengths[b], row.len());
                for (t, (source, id, label)) in row.into_iter().enumerate() {
                    let position = b * splice.width + t;
                    let at = splice.visual_positions.iter().position(|visual| *visual == position as i64);
                    proptest::prop_assert_eq!(at.map(|at| splice.visual_rows[at]), source);
                    proptest::prop_assert_eq!(splice.text_ids[position], id);
                    if t > 0 && label != X {
                        targets.push((position as i64 - 1, label));
                    }
                }
            }
            let found: Vec<(i64, i64)> = splice.target_positions.into_iter().zip(splice.target_ids).collect();
            proptest::prop_assert_eq!(found, targets);
            proptest::prop_assert_eq!(splice.volume_rows.len(), volumes);
        }
    }
}
