//! The one exception of the module, with the words of the Rust errors.

use std::error::Error;

use pyo3::exceptions::PyException;
use pyo3::{PyErr, create_exception};

create_exception!(
    med2e3_feed,
    FeedError,
    PyException,
    "What a feed can't do or be: it names the file, the row or the argument, what was expected and what was found."
);

/// An error with what it came from, in one line.
pub(crate) fn raised(error: impl Error + 'static) -> PyErr {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    FeedError::new_err(text)
}

/// An argument that does not fit.
pub(crate) fn unfit(what: &str, expected: &str, found: impl std::fmt::Display) -> PyErr {
    FeedError::new_err(format!("{what}: expected {expected}, found {found}"))
}
