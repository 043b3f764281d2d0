//! Text: reports to findings, questions and answers to token ids with the spans that are learned.

pub mod findings;
pub mod prompt;
pub mod template;
pub mod tokenizer;

pub use template::{EncodedText, IMAGE3D, IMAGE3D_TOKEN, LengthBudget, Template, Turn};
pub use tokenizer::Tokenizer;
