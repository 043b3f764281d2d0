//! A caption as the text encoder reads it in training: whole where it fits, else in sentences that are drawn.

use crate::TrainerError;
use crate::model::draws::draw_key;
use crate::text_tokenizer::TextTokenizer;

/// The ids of a caption. One that is too long keeps its first sentence, then the sentences that fit, in the order in which the key
/// draws them; as in M3D's training the first one's tokens are not counted, so that the end may still be cut.
///
/// # Errors
/// The tokenizer fails.
pub(super) fn ids_of(tokenizer: &TextTokenizer, caption: &str, key: u64) -> Result<Vec<i64>, TrainerError> {
    let (ids, is_cut) = tokenizer.encode(caption)?;
    if !is_cut {
        return Ok(ids);
    }
    let mut sentences = caption.split('.');
    let mut kept = vec![sentences.next().unwrap_or_default()];
    let mut drawn: Vec<(u64, &str)> =
        (0..).zip(sentences).map(|(number, sentence)| (draw_key(&[key, number]), sentence)).collect();
    drawn.sort();
    let mut tokens = 0;
    for (_, sentence) in drawn.into_iter().filter(|(_, sentence)| !sentence.trim().is_empty()) {
        let of_sentence = tokenizer.count(sentence)?;
        if tokens + of_sentence <= tokenizer.max_tokens() && !kept.contains(&sentence) {
            kept.push(sentence);
            tokens += of_sentence;
        }
    }
    Ok(tokenizer.encode(&kept.join("."))?.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    #[test]
    fn a_long_caption_keeps_its_first_sentence_and_draws_whole_ones() {
        // Its words: [PAD] [UNK] [CLS] [SEP] a disc of size the liver spleen is large small . 0 to 9.
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/m3d_clip_tiny");
        let tokenizer = TextTokenizer::load(&folder, 12).unwrap();
        let words = |text: &str| tokenizer.encode(text).unwrap().0;
        let short = "the liver is large.";
        assert_eq!(ids_of(&tokenizer, short, 1).unwrap(), words(short));

        let long = "the liver. is 1 2. is 3 4. is 5 6. is 7 8. is 9 0.";
        assert!(tokenizer.encode(long).unwrap().1);
        let drawn: BTreeSet<Vec<i64>> = (0..200).map(|key| ids_of(&tokenizer, long, key).unwrap()).collect();
        // Two of five sentences of 5 tokens each fit into 12, in either order.
        assert_eq!(drawn.len(), 20);
        let expected = words("the liver. is 1 2. is 7 8");
        assert!(drawn.contains(&expected), "{expected:?}");
        assert!(drawn.iter().all(|ids| ids[..3] == expected[..3]));
        assert_eq!(ids_of(&tokenizer, long, 7).unwrap(), ids_of(&tokenizer, long, 7).unwrap());
        // One sentence that is too long is cut.
        let whole = "the liver is large ".repeat(5);
        assert_eq!(ids_of(&tokenizer, &whole, 1).unwrap(), words(&whole));
    }
}
