//! Templates: from a conversation to token ids with images and target spans.
//!
//! The formats are those of the released codes: Med-2E3's `template` folder for [`Template::Phi`] and
//! [`Template::PretrainVision3d`], Phi-3's chat template for [`Template::Phi3Chat`], M3D's dataset classes for
//! [`Template::M3d`]. Text is split at `<image3d>`, each piece is tokenized separately, the id [`IMAGE3D`] marks an
//! image, and the start token is added once, if the tokenizer has one and the first piece is text. Special tokens are those
//! that a template writes; the words of special tokens in a question or an answer are plain text. Unlike in the
//! released codes, target spans are known when the text is formatted and found by the tokens' byte offsets, so that
//! nothing is tokenized twice and no sample loses its labels to a mismatch.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::budget::{LengthBudget, fit_prompt, fit_targets};
use super::conversation::{Conversation, EncodedText, Part};
pub use super::marks::{IMAGE2D_TOKEN, IMAGE3D, IMAGE3D_TOKEN};
use super::tokenizer::{EndToken, Tokenizer};
use crate::error::InputError;

use med2e3_schemas::sample::Task;

const SYSTEM: &str = "A chat between a curious user and an artificial intelligence assistant. \
    The assistant gives helpful, detailed, and polite answers to the user's questions.";

/// The end token as Phi-3 has it: after each answer of [`Template::Phi`], after the last of [`Template::Phi3Chat`] and
/// [`Template::M3d`]. A tokenizer with another end token ([`Tokenizer::end_token`]) writes its own in its place.
pub const END_TOKEN: &str = "<|endoftext|>";

const USER_MARK: &str = "<|user|>";
const ASSISTANT_MARK: &str = "<|assistant|>";
const TURN_END_MARK: &str = "<|end|>";

/// Every special token that a template writes.
pub(super) const MARKS: [&str; 4] = [END_TOKEN, USER_MARK, ASSISTANT_MARK, TURN_END_MARK];

/// The format of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Template {
    /// Fine-tuning and evaluation: system text, then `USER: {q} ASSISTANT: {a}<|endoftext|>` for each turn, or the tokenizer's
    /// own end token. Targets are answers and end tokens.
    Phi,
    /// Alignment (stage 1): the images, then the caption; no other text, no end token. The target is the caption.
    PretrainVision3d,
    /// Phi-3's chat markup: `<|user|>\n{q}<|end|>\n<|assistant|>\n{a}<|end|>\n` for each turn, then `<|endoftext|>`.
    /// Targets are answers with their `<|end|>`, and the text after the last answer.
    Phi3Chat,
    /// M3D-LaMed: a turn's images, its question, a space and its answer; `<|endoftext|>` after the last. No marks and
    /// no system text. Targets are answers, each with the space before it, and the end token.
    M3d,
}

/// A question and its answer. Both are trimmed before use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// The user's text, with [`IMAGE3D_TOKEN`] for each image.
    pub question: String,
    /// The target; `None` in the last turn of a prompt.
    pub answer: Option<String>,
}

impl Template {
    /// The template's fixed text, for training a tokenizer on the texts that the model gets.
    pub fn words(self) -> String {
        match self {
            Template::Phi => format!("{SYSTEM} USER: \n ASSISTANT: "),
            Template::PretrainVision3d | Template::Phi3Chat | Template::M3d => String::new(),
        }
    }

    /// The special tokens of the template, which a tokenizer must have; the end token first, for which a tokenizer may have its
    /// own.
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
        self.special_tokens().iter().try_for_each(|token| match *token {
            END_TOKEN => end_of(tokenizer).map(|_| ()),
            token => id_of(tokenizer, token).map(|_| ()),
        })
    }

    /// A question about one volume in the form of the template's data: the image mark, a separator, the instruction.
    ///
    /// The separator is a line break for Med-2E3, a space for M3D, and empty for M3D's captions.
    pub fn with_image(self, task: Task, instruction: &str) -> String {
        match (self, task) {
            (Template::M3d, Task::Caption) => format!("{IMAGE3D_TOKEN}{instruction}"),
            (Template::M3d, Task::OpenVqa | Task::ClosedVqa) => format!("{IMAGE3D_TOKEN} {instruction}"),
            (Template::Phi | Template::PretrainVision3d | Template::Phi3Chat, _) => with_image(instruction),
        }
    }

    /// Formats and tokenizes a conversation within a budget; ids beyond the budget are cut at the end.
    ///
    /// # Errors
    /// [`InputError::NoTarget`] where no target is left, [`InputError::PromptTooLong`] where a prompt (a conversation
    /// whose last turn has no answer) does not fit, [`InputError::MissingAnswer`] for an empty answer,
    /// [`InputError::UnsupportedImage2d`] for a 2D image's mark, [`InputError::MissingToken`] for a tokenizer that
    /// lacks a special token, [`InputError::Tokenizer`] where it refuses the text, [`InputError::BadTurn`] for any
    /// other conversation that cannot be formatted.
    pub fn encode(
        self,
        tokenizer: &Tokenizer,
        turns: &[Turn],
        budget: &LengthBudget,
    ) -> Result<EncodedText, InputError> {
        check(turns)?;
        self.check(tokenizer)?;
        let end = tokenizer.end_token().map_or(END_TOKEN, |end| end.text.as_str());
        let encoded = self.format(turns, end).encode(tokenizer)?;
        let end = match self {
            Template::Phi | Template::M3d => Some(end_of(tokenizer)?.id),
            Template::Phi3Chat => Some(id_of(tokenizer, TURN_END_MARK)?),
            Template::PretrainVision3d => None,
        };
        let asks = turns.iter().any(|turn| turn.answer.is_none());
        if asks { fit_prompt(encoded, budget) } else { fit_targets(encoded, budget, end) }
    }

    fn format(self, turns: &[Turn], end_token: &str) -> Conversation {
        use Part::{Mark, Words};
        let mut conversation = Conversation::default();
        match self {
            Template::Phi => {
                conversation.text(SYSTEM);
                conversation.text(" ");
            }
            // The start token comes before the images.
            Template::M3d => conversation.start(),
            Template::PretrainVision3d | Template::Phi3Chat => {}
        }
        for (number, turn) in turns.iter().enumerate() {
            let last = number + 1 == turns.len();
            let question = turn.question.trim();
            let answer = turn.answer.as_deref().map(str::trim);
            match self {
                Template::Phi => {
                    conversation.text("USER: ");
                    conversation.question(question);
                    conversation.text(" ASSISTANT:");
                    answer.inspect(|answer| conversation.target(&[Words(" "), Words(answer), Mark(end_token)]));
                }
                Template::PretrainVision3d => {
                    // The question's text is not used; a first turn without a mark has an image too.
                    let images = question.matches(IMAGE3D_TOKEN).count();
                    conversation.images(if number == 0 { images.max(1) } else { images });
                    if number > 0 && images == 0 {
                        conversation.text(" ");
                    }
                    answer.inspect(|answer| conversation.target(&[Words(answer)]));
                }
                Template::Phi3Chat => {
                    conversation.mark(USER_MARK);
                    conversation.text("\n");
                    conversation.question(question);
                    conversation.mark(TURN_END_MARK);
                    conversation.text("\n");
                    conversation.mark(ASSISTANT_MARK);
                    conversation.text("\n");
                    match answer {
                        // Many tokenizers include the line break in the mark before it.
                        Some(answer) if last => {
                            conversation.target(&[Words(answer), Mark(TURN_END_MARK), Words("\n"), Mark(end_token)]);
                        }
                        Some(answer) => {
                            conversation.target(&[Words(answer), Mark(TURN_END_MARK)]);
                            conversation.text("\n");
                        }
                        None => {}
                    }
                }
                Template::M3d => {
                    if number > 0 {
                        conversation.text(" ");
                    }
                    let words = question.replace(IMAGE3D_TOKEN, "");
                    conversation.images(question.matches(IMAGE3D_TOKEN).count());
                    // The separator between image and text of other formats, such as a line break, becomes a space.
                    if words.starts_with(char::is_whitespace) {
                        conversation.text(" ");
                    }
                    conversation.text(words.trim());
                    answer.inspect(|answer| {
                        let end = if last { Mark(end_token) } else { Words("") };
                        conversation.target(&[Words(" "), Words(answer), end]);
                    });
                }
            }
        }
        conversation
    }
}

/// The question for the text-guided scorer: the instruction without image marks, trimmed.
pub fn instruction(question: &str) -> String {
    question.replace(IMAGE3D_TOKEN, "").replace(IMAGE2D_TOKEN, "").trim().to_owned()
}

/// A question about one volume in the form of the released data: the image mark, a line break, the instruction.
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
            return Err(InputError::UnsupportedImage2d { location: format!("turn {turn}") });
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

fn end_of(tokenizer: &Tokenizer) -> Result<&EndToken, InputError> {
    tokenizer.end_token().ok_or_else(|| InputError::MissingToken { expected: END_TOKEN, found: tokenizer.vocab_size() })
}

fn id_of(tokenizer: &Tokenizer, token: &'static str) -> Result<i32, InputError> {
    // Counting the vocabulary builds a map of it: only for the message.
    tokenizer
        .token_to_id(token)
        .ok_or_else(|| InputError::MissingToken { expected: token, found: tokenizer.vocab_size() })
}
