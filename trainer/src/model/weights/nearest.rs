//! The name that was probably meant.

/// The known name with the fewest single-character edits to `name`; `none` where nothing is known.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> String {
    // The name itself breaks ties, so that the message does not depend on a map's order.
    known.min_by_key(|candidate| (edits(name, candidate), candidate.as_str())).map_or("none".into(), Clone::clone)
}

/// Levenshtein distance over bytes, one row of the table at a time.
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_edits() {
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("same", "same"), 0);
    }

    #[test]
    fn finds_the_likely_name() {
        let known = ["layers.0.norm".to_owned(), "layers.1.norm".to_owned(), "head".to_owned()];
        assert_eq!(nearest("layer.1.norm", known.iter()), "layers.1.norm");
        assert_eq!(nearest("x", [].iter()), "none");
    }
}
