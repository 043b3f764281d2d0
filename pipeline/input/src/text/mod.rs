//! Text: reports to findings, questions and answers to token ids with the spans that are learned.

pub mod budget;
pub mod draft;
pub mod findings;
pub mod pandas;
pub mod prompt;
pub mod question_tokenizer;
pub mod template;
pub mod tokenizer;

pub use budget::LengthBudget;
pub use draft::EncodedText;
pub use prompt::CaptionPrompts;
pub use question_tokenizer::QuestionTokenizer;
pub use template::{IMAGE3D, IMAGE3D_TOKEN, Template, Turn};
pub use tokenizer::Tokenizer;
