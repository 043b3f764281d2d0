//! Which offered letter a model finds the most likely to begin its answer: what it would say where it must choose.

use med2e3_input::text::prompt::{LETTERS, closed_answer};
use med2e3_schemas::sample::{SampleRow, Task};
use tch::Tensor;

use super::answerer::Answerer;
use super::judged::{letter_place, offered};

/// The token by which an answer begins, for each letter's place; `None` for a letter that is not offered.
pub(crate) type LetterTokens = Vec<Option<i64>>;

impl Answerer {
    /// The tokens of a closed question's offered letters. `None` where the first token does not tell letters apart, or is not that of the
    /// sample's own answer, as of a dataset that was laid out in another way; and for a question of another kind.
    pub(crate) fn letter_tokens(&self, sample: &SampleRow) -> Option<LetterTokens> {
        let choices = offered(sample);
        if sample.task != Task::ClosedVqa || choices.len() > LETTERS.len() || choices.iter().flatten().count() < 2 {
            return None;
        }
        let mut tokens = LetterTokens::new();
        for (letter, choice) in LETTERS.iter().zip(&choices) {
            let token = |choice: &&str| self.first_token(sample.task, &sample.question, &closed_answer(letter, choice));
            tokens.push(match choice {
                Some(choice) => Some(token(choice)?),
                None => None,
            });
        }
        let mut distinct: Vec<i64> = tokens.iter().copied().flatten().collect();
        distinct.sort_unstable();
        let is_told = distinct.windows(2).all(|pair| pair[0] != pair[1]);
        let right = letter_place(sample.answer_choice.as_deref()?)?;
        let start = sample.target_spans.first()?.0 as usize;
        let is_own = tokens.get(right).copied().flatten() == sample.ids.get(start).map(|id| i64::from(*id));
        (is_told && is_own).then_some(tokens)
    }
}

/// The place of the letter whose token has the highest of a row's logits (V).
pub(crate) fn likeliest_letter(logits_v: &Tensor, tokens: &[Option<i64>]) -> Option<usize> {
    let vocabulary = logits_v.size1().ok()?;
    let logit = |token: i64| (0..vocabulary).contains(&token).then(|| logits_v.double_value(&[token]));
    let logits = tokens.iter().enumerate().filter_map(|(place, token)| Some((place, logit((*token)?)?)));
    logits.reduce(|best, found| if found.1 > best.1 { found } else { best }).map(|(place, _)| place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_letter_with_the_highest_logit_is_the_likeliest() {
        let logits_v = Tensor::from_slice(&[9.0f32, 1.0, 3.0, 2.0]);
        assert_eq!(likeliest_letter(&logits_v, &[Some(1), Some(3), None, Some(2)]), Some(3));
        // The first of equal ones; a token that the vocabulary lacks is none.
        assert_eq!(likeliest_letter(&logits_v, &[Some(2), Some(2), Some(7)]), Some(0));
        assert_eq!(likeliest_letter(&logits_v, &[None, None]), None);
    }
}
