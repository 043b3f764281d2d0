//! All scores of one answer, by their names in reports.

use std::collections::BTreeMap;

use crate::bleu::bleu;
use crate::closed::{is_correct, is_correct_strict};
use crate::meteor::Meteor;
use crate::rouge::{Words, rouge};

/// What is expected of an answer.
#[derive(Clone, Copy, Debug)]
pub enum Expected<'a> {
    /// A report of the volume like this one.
    Caption(&'a str),
    /// An answer in free text like this one.
    Open(&'a str),
    /// One of several choices.
    Closed {
        /// The letter of the right choice; where a sample states none, no answer is right.
        right: Option<&'a str>,
        /// The texts of A, B, and so on, `None` for one that is not offered.
        choices: &'a [Option<&'a str>],
    },
}

/// The scores that apply to an answer, each between 0 and 1, higher is better: `bleu1`, `rouge1`, `rouge2`, `rougeL` and `rougeLsum`
/// of captions and open answers, and with `meteor` also that, `bleu4` of captions, `correct` and `correct_strict` of closed ones.
pub fn measure(answer: &str, expected: Expected<'_>, meteor: Option<&Meteor>) -> BTreeMap<String, f64> {
    let named = |scores: &[(&str, f64)]| scores.iter().map(|(name, score)| ((*name).to_owned(), *score)).collect();
    match expected {
        Expected::Caption(reference) | Expected::Open(reference) => {
            let (bleu, rouge) = (bleu(answer, reference), rouge(answer, reference, Words::Plain));
            let mut scores: BTreeMap<String, f64> = named(&[
                ("bleu1", bleu.bleu1),
                ("rouge1", rouge.rouge1),
                ("rouge2", rouge.rouge2),
                ("rougeL", rouge.rouge_l),
                ("rougeLsum", rouge.rouge_lsum),
            ]);
            scores.extend(meteor.map(|meteor| ("meteor".to_owned(), meteor.score(answer, reference).value)));
            // Most open answers have under 4 tokens, of which BLEU-4 says nothing.
            if let Expected::Caption(_) = expected {
                scores.insert("bleu4".into(), bleu.bleu4);
            }
            scores
        }
        Expected::Closed { right, choices } => {
            let is = |is_right: &dyn Fn(&str) -> bool| f64::from(right.is_some_and(is_right));
            named(&[
                ("correct", is(&|right| is_correct(answer, right))),
                ("correct_strict", is(&|right| is_correct_strict(answer, right, choices))),
            ])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_task_has_its_scores() {
        let names = |expected| {
            let scores = measure("A. liver", expected, None);
            scores.iter().map(|(name, value)| format!("{name} {value:.2}")).collect::<Vec<_>>().join(", ")
        };
        let open = "bleu1 0.72, rouge1 0.80, rouge2 0.00, rougeL 0.80, rougeLsum 0.80";
        assert_eq!(names(Expected::Open("A. the liver")), open);
        assert_eq!(names(Expected::Caption("A. the liver")), open.replace(" rouge1", " bleu4 0.00, rouge1"));
        let closed = |right| Expected::Closed { right, choices: &[Some("liver"), Some("spleen")] };
        assert_eq!(names(closed(Some("A"))), "correct 1.00, correct_strict 1.00");
        assert_eq!(names(closed(None)), "correct 0.00, correct_strict 0.00");
    }

    proptest! {
        #[test]
        fn any_text_has_scores_from_0_to_1(
            answer in r#"[aA-D .,:()\-\n0-9&<>"'*é肝\u{1c}]{0,40}|\PC{0,40}|(The )?(answer|option) is \PC{0,4}"#,
            reference in r#"[aA-D .,:()\-\n0-9]{0,40}|\PC{0,40}"#,
            choices in prop::collection::vec(prop::option::of(r"[aA-D .é]{0,6}|\PC{0,4}"), 0..6),
        ) {
            let choices: Vec<Option<&str>> = choices.iter().map(Option::as_deref).collect();
            let closed = Expected::Closed { right: Some(&reference), choices: &choices };
            for expected in [Expected::Caption(&reference), closed] {
                for (name, score) in measure(&answer, expected, None) {
                    prop_assert!((0.0..=1.0).contains(&score), "{} {}", name, score);
                }
            }
            // A text is equal to itself, where it has what is compared.
            let same = measure(&answer, Expected::Caption(&answer), None);
            prop_assert!([0.0, 1.0].contains(&same["bleu1"]) && [0.0, 1.0].contains(&same["rougeLsum"]));
        }
    }
}
