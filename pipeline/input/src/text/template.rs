//! Templates: a conversation to token ids, with images in their places and the spans that are learned.
//!
//! The layouts are those of the released codes: Med-2E3's `template` folder for [`Template::Phi`] and
//! [`Template::PretrainVision3d`], Phi-3's chat template for [`Template::Phi3Chat`], M3D's dataset classes for
//! [`Template::M3d`]. Text is cut at `<image3d>`, each piece is tokenized alone, [`IMAGE3D`] stands for an image, and the
//! start token comes once, if the tokenizer has one and the first piece is text. Unlike there, the spans to learn are
//! known when the text is assembled and follow the tokens' byte offsets; nothing is tokenized twice, and no sample loses
//! its labels to a mismatch.

use serde::{Deserialize, Serialize};

use super::budget::{LengthBudget, fit_prompt, fit_targets};
use super::draft::{Draft, EncodedText};
use super::tokenizer::Tokenizer;
use crate::error::InputError;

use med2e3_schemas::sample::Task;

pub use med2e3_schemas::sample::IMAGE3D;

/// The image's mark in a question.
pub const IMAGE3D_TOKEN: &str = "<image3d>";

/// The mark of an ordinary 2D image, which is not supported.
pub const IMAGE2D_TOKEN: &str = "<image>";

const SYSTEM: &str = "A chat between a curious user and an artificial intelligence assistant. \
    The assistant gives helpful, detailed, and polite answers to the user's questions.";

/// Ends a text: each answer of [`Template::Phi`], the last one of [`Template::Phi3Chat`] and [`Template::M3d`].
pub const END_TOKEN: &str = "<|endoftext|>";

const USER_MARK: &str = "<|user|>";
const ASSISTANT_MARK: &str = "<|assistant|>";
const TURN_END_MARK: &str = "<|end|>";

/// How a conversation is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Template {
    /// Fine-tuning and evaluation: system text, then `USER: {q} ASSISTANT: {a}<|endoftext|>` for each turn. Answers and
    /// end tokens are learned.
    Phi,
    /// Alignment (stage 1): the images, then the caption; no other text, no end token. The caption is learned.
    PretrainVision3d,
    /// Phi-3's own chat markup: `<|user|>\n{q}<|end|>\n<|assistant|>\n{a}<|end|>\n` for each turn, then
    /// `<|endoftext|>`. Answers with their `<|end|>` are learned, and what follows the last.
    Phi3Chat,
    /// M3D-LaMed: a turn's images, its question, a space and its answer; `<|endoftext|>` after the last. No marks and no
    /// system text. Answers, each from its space on, and the end token are learned.
    M3d,
}

/// A question and its answer. Both are trimmed before use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// What the user says, with [`IMAGE3D_TOKEN`] where an image stands.
    pub question: String,
    /// What is learned, or `None` in the last turn to ask for it.
    pub answer: Option<String>,
}

impl Template {
    /// The template's own words, for a tokenizer that is trained on what the model will see.
    pub fn words(self) -> String {
        match self {
            Template::Phi => format!("{SYSTEM} USER: \n ASSISTANT: "),
            Template::PretrainVision3d | Template::Phi3Chat | Template::M3d => String::new(),
        }
    }

    /// The tokens that the template is made of and a tokenizer must have, the end token first.
    pub fn special_tokens(self) -> &'static [&'static str] {
        match self {
            Template::Phi | Template::M3d => &[END_TOKEN],
            Template::PretrainVision3d => &[],
            Template::Phi3Chat => &[END_TOKEN, USER_MARK, ASSISTANT_MARK, TURN_END_MARK],
        }
    }

    /// Whether a tokenizer has the template's tokens.
    ///
    /// # Errors
    /// [`InputError::MissingToken`] for the first one that it lacks.
    pub fn check(self, tokenizer: &Tokenizer) -> Result<(), InputError> {
        self.special_tokens().iter().try_for_each(|token| id_of(tokenizer, token).map(|_| ()))
    }

    /// An instruction about one volume as the template's data writes it: the image, what stands between, the text.
    ///
    /// Med-2E3 has a line break between; M3D a space, and nothing before the instruction for a caption.
    pub fn with_image(self, task: Task, instruction: &str) -> String {
        match (self, task) {
            (Template::M3d, Task::Caption) => format!("{IMAGE3D_TOKEN}{instruction}"),
            (Template::M3d, Task::OpenVqa | Task::ClosedVqa) => format!("{IMAGE3D_TOKEN} {instruction}"),
            (Template::Phi | Template::PretrainVision3d | Template::Phi3Chat, _) => with_image(instruction),
        }
    }

    /// Lays out and tokenizes a conversation within a budget; what is beyond the budget is cut at the end.
    ///
    /// # Errors
    /// [`InputError::NoTarget`] where no target is left, [`InputError::PromptTooLong`] where a prompt without an answer
    /// does not fit, [`InputError::MissingAnswer`] for an empty answer, [`InputError::UnsupportedImage2d`] for a 2D
    /// image's mark, [`InputError::MissingToken`] for a tokenizer without one of the template's tokens,
    /// [`InputError::BadTurn`] for anything else that cannot be laid out.
    pub fn encode(
        self,
        tokenizer: &Tokenizer,
        turns: &[Turn],
        budget: &LengthBudget,
    ) -> Result<EncodedText, InputError> {
        check(turns)?;
        self.check(tokenizer)?;
        let encoded = self.lay_out(turns).encode(tokenizer)?;
        let end = match self {
            Template::Phi | Template::M3d => Some(id_of(tokenizer, END_TOKEN)?),
            Template::Phi3Chat => Some(id_of(tokenizer, TURN_END_MARK)?),
            Template::PretrainVision3d => None,
        };
        let asks = turns.iter().any(|turn| turn.answer.is_none());
        if asks { fit_prompt(encoded, budget) } else { fit_targets(encoded, budget, end) }
    }

    fn lay_out(self, turns: &[Turn]) -> Draft {
        let mut draft = Draft::default();
        match self {
            Template::Phi => {
                draft.text(SYSTEM);
                draft.text(" ");
            }
            // The start token comes before the images.
            Template::M3d => draft.start(),
            Template::PretrainVision3d | Template::Phi3Chat => {}
        }
        for (number, turn) in turns.iter().enumerate() {
            let last = number + 1 == turns.len();
            let question = turn.question.trim();
            let answer = turn.answer.as_deref().map(str::trim);
            match self {
                Template::Phi => {
                    draft.text("USER: ");
                    draft.question(question);
                    draft.text(" ASSISTANT:");
                    answer.inspect(|answer| draft.target(&[" ", answer, END_TOKEN]));
                }
                Template::PretrainVision3d => {
                    // The question's words are not used; a first turn without a mark has its image all the same.
                    let images = question.matches(IMAGE3D_TOKEN).count();
                    draft.images(if number == 0 { images.max(1) } else { images });
                    if number > 0 && images == 0 {
                        draft.text(" ");
                    }
                    answer.inspect(|answer| draft.target(&[answer]));
                }
                Template::Phi3Chat => {
                    draft.text("<|user|>\n");
                    draft.question(question);
                    draft.text("<|end|>\n<|assistant|>\n");
                    match answer {
                        // Many tokenizers take the line break into the mark before it.
                        Some(answer) if last => draft.target(&[answer, TURN_END_MARK, "\n", END_TOKEN]),
                        Some(answer) => {
                            draft.target(&[answer, TURN_END_MARK]);
                            draft.text("\n");
                        }
                        None => {}
                    }
                }
                Template::M3d => {
                    if number > 0 {
                        draft.text(" ");
                    }
                    let words = question.replace(IMAGE3D_TOKEN, "");
                    draft.images(question.matches(IMAGE3D_TOKEN).count());
                    // What stands between image and text in other layouts, a line break say, is a space here.
                    if words.starts_with(char::is_whitespace) {
                        draft.text(" ");
                    }
                    draft.text(words.trim());
                    answer.inspect(|answer| draft.target(&[" ", answer, if last { END_TOKEN } else { "" }]));
                }
            }
        }
        draft
    }
}

/// A question for the text-guided scorer: the instruction without its images' marks, trimmed.
pub fn instruction(question: &str) -> String {
    question.replace(IMAGE3D_TOKEN, "").replace(IMAGE2D_TOKEN, "").trim().to_owned()
}

/// An instruction about one volume as the released data writes it: the image, a line break, the text.
pub fn with_image(instruction: &str) -> String {
    format!("{IMAGE3D_TOKEN}\n{instruction}")
}

fn check(turns: &[Turn]) -> Result<(), InputError> {
    let bad = |expected, found: &str| Err(InputError::BadTurn { expected, found: found.to_owned() });
    let Some((_, earlier)) = turns.split_last() else {
        return bad("at least one turn", "none");
    };
    if earlier.iter().any(|turn| turn.answer.is_none()) {
        return bad("an answer in every turn but the last", "an earlier turn without one");
    }
    for (turn, Turn { question, answer }) in turns.iter().enumerate() {
        if [Some(question), answer.as_ref()].iter().flatten().any(|text| text.contains(IMAGE2D_TOKEN)) {
            return Err(InputError::UnsupportedImage2d { place: format!("turn {turn}") });
        }
        match answer.as_deref().map(str::trim) {
            Some("") => return Err(InputError::MissingAnswer { turn }),
            Some(answer) if answer.contains(IMAGE3D_TOKEN) => {
                return bad("images in questions only", "one in an answer");
            }
            _ => {}
        }
    }
    Ok(())
}

fn id_of(tokenizer: &Tokenizer, token: &'static str) -> Result<i32, InputError> {
    // Counting the vocabulary builds a map of it: only for the message.
    tokenizer
        .token_to_id(token)
        .ok_or_else(|| InputError::MissingToken { expected: token, found: tokenizer.vocab_size() })
}
