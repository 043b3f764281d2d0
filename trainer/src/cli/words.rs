//! Choices by name as values of arguments: possible values are listed, another word is refused with the nearest one.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, Command, Error};

use crate::device::{DEVICE_WORDS, DeviceChoice, DeviceWordError};
use crate::words::Word;

/// The parser of a choice.
pub(super) fn words<T: Word>() -> impl TypedValueParser<Value = T> {
    let value = |word: &T| PossibleValue::new(word.as_str()).help(word.doc().trim_end_matches('.'));
    PossibleValuesParser::new(T::ALL.iter().map(value)).try_map(|word| word.parse::<T>())
}

/// The parser of a device: its words are listed, and a GPU's number may follow.
#[derive(Clone)]
pub(super) struct Devices;

impl TypedValueParser for Devices {
    type Value = DeviceChoice;

    fn parse_ref(&self, command: &Command, argument: Option<&Arg>, value: &OsStr) -> Result<DeviceChoice, Error> {
        value.to_string_lossy().parse().map_err(|error: DeviceWordError| {
            let name = argument.map_or_else(String::new, |argument| format!("{argument}: "));
            Error::raw(ErrorKind::InvalidValue, format!("{name}{error}\n")).with_cmd(command)
        })
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let value = |(word, meaning): (&'static str, &'static str)| {
            PossibleValue::new(word).help(meaning.trim_end_matches('.'))
        };
        Some(Box::new(DEVICE_WORDS.into_iter().map(value)))
    }
}
