//! Text: from reports to findings, and from conversations to token ids with target spans.
//!
//! # Layout
//! - [`findings`]: the caption in an M3D-Cap report
//! - [`prompt`]: caption instructions and the wording of closed questions
//! - [`template`]: formats and tokenizes a conversation
//! - [`conversation`]: a formatted conversation before and after tokenization
//! - [`marks`]: the marks of images
//! - [`budget`]: the length limit and truncation
//! - [`tokenizer`], [`question_tokenizer`]: tokenizers of the language model and of the text encoder
//! - [`encoder_tokenizer`]: tokenizers of encoders that compare texts
//! - [`same_tokens`]: whether two tokenizers make the same ids
//! - `special_tokens`: what a text that holds the words of special tokens becomes
//! - [`scrub`]: dates, names, numbers and identifiers in texts, found and replaced
//! - [`encoding`]: the bytes of a text file, without its byte-order mark
//! - [`pandas`]: which table cells pandas reads as missing

pub mod encoding;
pub mod findings;
pub mod prompt;

pub mod template;

pub mod budget;
pub mod conversation;
pub mod marks;

pub mod encoder_tokenizer;
pub mod question_tokenizer;
pub mod same_tokens;
mod special_tokens;
pub mod tokenizer;
mod tokenizer_file;

pub mod pandas;
pub mod scrub;

pub use budget::LengthBudget;
pub use conversation::EncodedText;
pub use encoder_tokenizer::EncoderTokenizer;
pub use prompt::CaptionPrompts;
pub use question_tokenizer::QuestionTokenizer;
pub use same_tokens::{TokenizerDifference, tokenizer_difference};
pub use scrub::{Counts, Scrubbed, Scrubber};
pub use template::{IMAGE3D, IMAGE3D_TOKEN, Template, Turn};
pub use tokenizer::Tokenizer;
