//! The name that was probably meant.

use strsim::levenshtein;

/// The known name with the fewest single-character edits to `name`; `none` where nothing is known.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> String {
    // The name itself breaks ties, so that the message does not depend on a map's order.
    known.min_by_key(|candidate| (levenshtein(name, candidate), candidate.as_str())).map_or("none".into(), Clone::clone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_edits() {
        assert_eq!(levenshtein("", "abc"), 3);
        assert_eq!(levenshtein("kitten", "sitting"), 3);
        assert_eq!(levenshtein("same", "same"), 0);
    }

    #[test]
    fn finds_the_likely_name() {
        let known = ["layers.0.norm".to_owned(), "layers.1.norm".to_owned(), "head".to_owned()];
        assert_eq!(nearest("layer.1.norm", known.iter()), "layers.1.norm");
        assert_eq!(nearest("x", [].iter()), "none");
    }
}
