//! Templates: a conversation to token ids, with images in their places and the spans that are learned.
//!
//! The layout is that of Med-2E3's released code (its `template` folder): text is cut at `<image3d>`, each piece is
//! tokenized alone, [`IMAGE3D`] stands for an image, and the start token comes once, if the tokenizer has one and the
//! first piece is text. Unlike there, the spans to learn are known when the text is assembled and follow the tokens'
//! byte offsets; nothing is tokenized twice, and no sample loses its labels to a mismatch.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::tokenizer::Tokenizer;
use crate::error::InputError;

pub use med2e3_schemas::sample::IMAGE3D;

/// The image's mark in a question.
pub const IMAGE3D_TOKEN: &str = "<image3d>";

/// The mark of an ordinary 2D image, which is not supported.
const IMAGE2D_TOKEN: &str = "<image>";

const SYSTEM: &str = "A chat between a curious user and an artificial intelligence assistant. \
    The assistant gives helpful, detailed, and polite answers to the user's questions.";

/// Closes each answer of [`Template::Phi`].
pub const END_TOKEN: &str = "<|endoftext|>";

/// How a conversation is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Template {
    /// Fine-tuning and evaluation: system text, then `USER: {q} ASSISTANT: {a}<|endoftext|>` for each turn. Answers and
    /// end tokens are learned.
    Phi,
    /// Alignment (stage 1): the images, then the caption; no other text, no end token. The caption is learned.
    PretrainVision3d,
}

/// A question and its answer. Both are trimmed before use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// What the user says, with [`IMAGE3D_TOKEN`] where an image stands.
    pub question: String,
    /// What is learned, or `None` in the last turn to ask for it.
    pub answer: Option<String>,
}

/// How long a text may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LengthBudget {
    /// Most positions, images included (768 in the paper).
    pub total: usize,
    /// Positions that one image takes (512 for 256 tokens of 3D and 2D features each).
    pub visual_tokens: usize,
    /// Where an answer is cut, its last token becomes the end token. Off in the released code, which loses the end of
    /// long answers.
    pub keep_end: bool,
}

/// A conversation in token ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedText {
    /// Token ids, [`IMAGE3D`] for each image.
    pub ids: Vec<i32>,
    /// Start and stop indices into `ids` of what is learned, in order and apart; empty when asking.
    pub target_spans: Vec<(u32, u32)>,
    /// Images among `ids`.
    pub images: usize,
    /// Whether something was cut to fit the budget.
    pub truncated: bool,
    /// Ids that were cut.
    pub ids_cut: usize,
}

impl Template {
    /// The template's own words, for a tokenizer that is trained on what the model will see.
    pub fn words(self) -> String {
        match self {
            Template::Phi => format!("{SYSTEM} USER: \n ASSISTANT: "),
            Template::PretrainVision3d => String::new(),
        }
    }

    /// Lays out and tokenizes a conversation within a budget; what is beyond the budget is cut at the end.
    ///
    /// # Errors
    /// [`InputError::NoTarget`] where no target is left, [`InputError::PromptTooLong`] where a prompt without an answer
    /// does not fit, [`InputError::MissingAnswer`] for an empty answer, [`InputError::UnsupportedImage2d`] for a 2D
    /// image's mark, [`InputError::BadTurn`] for anything else that cannot be laid out.
    pub fn encode(
        self,
        tokenizer: &Tokenizer,
        turns: &[Turn],
        budget: &LengthBudget,
    ) -> Result<EncodedText, InputError> {
        check(turns)?;
        let mut draft = Draft::default();
        match self {
            Template::Phi => {
                draft.text(SYSTEM);
                draft.text(" ");
                for turn in turns {
                    draft.text("USER: ");
                    draft.question(turn.question.trim());
                    draft.text(" ASSISTANT:");
                    if let Some(answer) = &turn.answer {
                        draft.target(&[" ", answer.trim(), END_TOKEN]);
                    }
                }
            }
            Template::PretrainVision3d => {
                for turn in turns {
                    // The question's words are not used; without a mark the image comes first all the same.
                    let images = turn.question.matches(IMAGE3D_TOKEN).count().max(1);
                    draft.pieces.extend((0..images).map(|_| Piece::Image));
                    if let Some(answer) = &turn.answer {
                        draft.target(&[answer.trim()]);
                    }
                }
            }
        }
        let end = match self {
            Template::Phi => Some(end_token(tokenizer)?),
            Template::PretrainVision3d => None,
        };
        let encoded = draft.encode(tokenizer)?;
        let asks = turns.iter().any(|turn| turn.answer.is_none());
        if asks { fit_prompt(encoded, budget) } else { fit_targets(encoded, budget, end) }
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
        if question.contains(IMAGE2D_TOKEN) {
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

fn end_token(tokenizer: &Tokenizer) -> Result<i32, InputError> {
    tokenizer.token_to_id(END_TOKEN).ok_or_else(|| InputError::Tokenizer {
        place: "tokenizer".to_owned(),
        expected: "the token <|endoftext|>",
        found: format!("none among {} tokens", tokenizer.vocab_size()),
    })
}

/// A conversation laid out but not yet tokenized.
#[derive(Default)]
struct Draft {
    pieces: Vec<Piece>,
}

enum Piece {
    Image,
    /// Text between images, and the byte ranges of it that are learned.
    Text {
        text: String,
        targets: Vec<Range<usize>>,
    },
}

impl Draft {
    fn open(&mut self) -> (&mut String, &mut Vec<Range<usize>>) {
        if !matches!(self.pieces.last(), Some(Piece::Text { .. })) {
            self.pieces.push(Piece::Text { text: String::new(), targets: Vec::new() });
        }
        match self.pieces.last_mut() {
            Some(Piece::Text { text, targets }) => (text, targets),
            _ => unreachable!("a text piece was just made sure of"),
        }
    }

    fn text(&mut self, part: &str) {
        self.open().0.push_str(part);
    }

    fn target(&mut self, parts: &[&str]) {
        let (text, targets) = self.open();
        let start = text.len();
        text.extend(parts.iter().copied());
        targets.push(start..text.len());
    }

    fn question(&mut self, question: &str) {
        for (n, part) in question.split(IMAGE3D_TOKEN).enumerate() {
            if n > 0 {
                self.pieces.push(Piece::Image);
            }
            if !part.is_empty() {
                self.text(part);
            }
        }
    }

    fn encode(self, tokenizer: &Tokenizer) -> Result<EncodedText, InputError> {
        let mut ids = Vec::new();
        let mut target_spans: Vec<(u32, u32)> = Vec::new();
        let mut images = 0;
        for piece in self.pieces {
            let Piece::Text { text, targets } = piece else {
                ids.push(IMAGE3D);
                images += 1;
                continue;
            };
            if ids.is_empty() {
                ids.extend(tokenizer.bos());
            }
            let tokens = tokenizer.encode_with_bytes(&text)?;
            for target in targets {
                // A token across the border belongs to the side where it starts.
                let inside = |at: usize| target.contains(&tokens[at].bytes.start);
                let mut learned = (0..tokens.len()).filter(|at| inside(*at));
                let Some(first) = learned.next() else { continue };
                let last = learned.next_back().unwrap_or(first);
                target_spans.push(((ids.len() + first) as u32, (ids.len() + last + 1) as u32));
            }
            ids.extend(tokens.iter().map(|token| token.id));
        }
        Ok(EncodedText { ids, target_spans, images, truncated: false, ids_cut: 0 })
    }
}

impl LengthBudget {
    fn positions(&self, id: i32) -> usize {
        if id == IMAGE3D { self.visual_tokens } else { 1 }
    }

    fn positions_of(&self, ids: &[i32]) -> usize {
        ids.iter().map(|id| self.positions(*id)).sum()
    }

    /// How many ids from the start fit; an image fits whole or not at all.
    fn fitting(&self, ids: &[i32]) -> usize {
        let mut positions = 0;
        let beyond = ids.iter().position(|id| {
            positions += self.positions(*id);
            positions > self.total
        });
        beyond.unwrap_or(ids.len())
    }
}

fn fit_prompt(encoded: EncodedText, budget: &LengthBudget) -> Result<EncodedText, InputError> {
    let found = budget.positions_of(&encoded.ids);
    if found > budget.total {
        return Err(InputError::PromptTooLong { expected: budget.total, found });
    }
    // Earlier turns are context here.
    Ok(EncodedText { target_spans: Vec::new(), ..encoded })
}

fn fit_targets(mut encoded: EncodedText, budget: &LengthBudget, end: Option<i32>) -> Result<EncodedText, InputError> {
    let before_target = |encoded: &EncodedText| {
        let first = encoded.target_spans.first().map_or(encoded.ids.len(), |span| span.0 as usize);
        budget.positions_of(&encoded.ids[..first])
    };
    let prompt = before_target(&encoded);
    let fitting = budget.fitting(&encoded.ids);
    if fitting < encoded.ids.len() {
        encoded.truncated = true;
        encoded.ids_cut = encoded.ids.len() - fitting;
        encoded.ids.truncate(fitting);
        encoded.images = encoded.ids.iter().filter(|id| **id == IMAGE3D).count();
        let stop = fitting as u32;
        encoded.target_spans.retain(|span| span.0 < stop);
        let cut = encoded.target_spans.last_mut().filter(|span| span.1 > stop);
        if let Some(span) = cut {
            span.1 = stop;
            if let (true, Some(end), Some(last)) = (budget.keep_end, end, encoded.ids.last_mut()) {
                *last = end;
            }
        }
    }
    if encoded.target_spans.is_empty() {
        return Err(InputError::NoTarget { expected: budget.total, found: prompt });
    }
    Ok(encoded)
}
