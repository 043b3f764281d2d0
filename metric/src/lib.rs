//! Scores of generated texts: texts in, numbers out.

pub mod meteor;
