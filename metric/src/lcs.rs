//! Longest common subsequences of two texts, 64 columns of the usual table at a time (Crochemore et al., 2001; Hyyro, 2004).
//!
//! With `t[i][j]` the length for the first `i` tokens of the one and the first `j` of the other text, neighbours in a row differ by
//! 0 or 1. A row is kept as one bit a column, 0 where the length grows, and the next row follows by an addition whose carries run
//! along the columns.

const BITS: usize = u64::BITS as usize;

/// One text, made ready to be compared with others.
pub(crate) struct Columns {
    length: usize,
    words: usize,
    /// The tokens that it has, sorted, each once.
    tokens: Vec<u32>,
    /// For each of these the columns that hold it.
    places: Vec<u64>,
}

impl Columns {
    pub(crate) fn new(text: &[u32]) -> Self {
        let words = text.len().div_ceil(BITS);
        let mut tokens = text.to_vec();
        tokens.sort_unstable();
        tokens.dedup();
        let mut columns = Self { length: text.len(), words, places: vec![0; words * tokens.len()], tokens };
        for (at, token) in text.iter().enumerate() {
            let rank = columns.tokens.partition_point(|other| other < token);
            columns.places[rank * words + at / BITS] |= 1 << (at % BITS);
        }
        columns
    }

    /// The columns that hold a token; `None` where the text does not have it.
    fn places(&self, token: u32) -> Option<&[u64]> {
        let rank = self.tokens.binary_search(&token).ok()?;
        Some(&self.places[rank * self.words..][..self.words])
    }

    /// The row below `row` for one more token of the other text.
    fn advance(&self, row: &mut [u64], token: u32) {
        let Some(places) = self.places(token) else { return };
        let mut carry = false;
        for (word, places) in row.iter_mut().zip(places) {
            let found = *word & places;
            let (sum, first) = word.overflowing_add(found);
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            carry = first || second;
            *word = sum | (*word & !places);
        }
    }

    /// The length of the longest common subsequence.
    pub(crate) fn length_with(&self, other: &[u32]) -> usize {
        let mut row = vec![u64::MAX; self.words];
        other.iter().for_each(|token| self.advance(&mut row, *token));
        grown(&row, self.length)
    }

    /// Marks the tokens of `other` that are in one longest common subsequence: of several, the one that is found from the end, going
    /// up in the table where that is no worse than going left.
    pub(crate) fn mark(&self, other: &[u32], is_common: &mut [bool]) {
        let mut rows = vec![u64::MAX; self.words * (other.len() + 1)];
        for (at, token) in other.iter().enumerate() {
            let (above, below) = rows.split_at_mut((at + 1) * self.words);
            let below = &mut below[..self.words];
            below.copy_from_slice(&above[at * self.words..]);
            self.advance(below, *token);
        }
        let row = |i: usize| &rows[i * self.words..][..self.words];
        let bit = |words: &[u64], column: usize| words[column / BITS] >> (column % BITS) & 1 == 1;
        let (mut i, mut j) = (other.len(), self.length);
        // The lengths at (i, j) and at (i - 1, j).
        let (mut here, mut above) = (grown(row(i), j), grown(row(i.saturating_sub(1)), j));
        while i > 0 && j > 0 {
            let is_equal = self.places(other[i - 1]).is_some_and(|places| bit(places, j - 1));
            let left = here - usize::from(!bit(row(i), j - 1));
            if !is_equal && left > above {
                above -= usize::from(!bit(row(i - 1), j - 1));
                (j, here) = (j - 1, left);
                continue;
            }
            if is_equal {
                is_common[i - 1] = true;
                above -= usize::from(!bit(row(i - 1), j - 1));
                j -= 1;
            }
            (i, here) = (i - 1, above);
            above = grown(row(i.saturating_sub(1)), j);
        }
    }
}

/// How many of a row's first `columns` grow: the length at the last of them.
fn grown(row: &[u64], columns: usize) -> usize {
    let (whole, rest) = (columns / BITS, columns % BITS);
    let zeros = |words: &[u64]| words.iter().map(|word| word.count_zeros() as usize).sum::<usize>();
    let partly = row.get(whole).map_or(0, |word| (!word & ((1 << rest) - 1)).count_ones() as usize);
    zeros(&row[..whole]) + partly
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The whole table and the way back, token by token, as `rouge_score` goes it.
    fn plain(other: &[u32], columns: &[u32]) -> (usize, Vec<bool>) {
        let mut table = vec![vec![0; columns.len() + 1]; other.len() + 1];
        for (i, token) in other.iter().enumerate() {
            for (j, column) in columns.iter().enumerate() {
                let best = table[i][j + 1].max(table[i + 1][j]);
                table[i + 1][j + 1] = if token == column { table[i][j] + 1 } else { best };
            }
        }
        let mut is_common = vec![false; other.len()];
        let (mut i, mut j) = (other.len(), columns.len());
        while i > 0 && j > 0 {
            if other[i - 1] == columns[j - 1] {
                is_common[i - 1] = true;
                (i, j) = (i - 1, j - 1);
            } else if table[i][j - 1] > table[i - 1][j] {
                j -= 1;
            } else {
                i -= 1;
            }
        }
        (table[other.len()][columns.len()], is_common)
    }

    proptest! {
        #[test]
        fn equals_the_whole_table(
            other in prop::collection::vec(0..6_u32, 0..150),
            columns in prop::collection::vec(0..6_u32, 0..150),
        ) {
            let ready = Columns::new(&columns);
            let (length, expected) = plain(&other, &columns);
            prop_assert_eq!(ready.length_with(&other), length);
            let mut is_common = vec![false; other.len()];
            ready.mark(&other, &mut is_common);
            prop_assert_eq!(is_common, expected);
        }
    }
}
