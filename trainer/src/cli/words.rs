//! Choices by name as values of arguments: possible values are listed, another word is refused with the nearest one.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use crate::words::Word;

/// The parser of a choice.
pub(super) fn words<T: Word>() -> impl TypedValueParser<Value = T> {
    let value = |word: &T| PossibleValue::new(word.as_str()).help(word.doc().trim_end_matches('.'));
    PossibleValuesParser::new(T::ALL.iter().map(value)).try_map(|word| word.parse::<T>())
}
