//! What can go wrong with a model: its config, its weights, its input.

/// Every failure of this module that a caller can act on. Anything else that libtorch rejects is a bug here and panics.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A config holds a value that no model can be built from.
    #[error("{field}: expected {expected}, found {found}")]
    Config {
        /// The field, with its part.
        field: String,
        /// What it must be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// An input tensor has the wrong shape.
    #[error("{what}: expected shape {expected:?}, found {found:?}")]
    Shape {
        /// The tensor.
        what: &'static str,
        /// The shape the model takes.
        expected: Vec<i64>,
        /// The shape given.
        found: Vec<i64>,
    },
    /// The batch holds more or fewer volumes than its ids name.
    #[error("the ids name {expected} volumes, the batch holds {found}")]
    VolumeCount {
        /// Ids in the batch that mark a volume.
        expected: usize,
        /// Rows of the voxel tensor.
        found: usize,
    },
    /// An id has no row in the language model's embedding table: tokenizer and model do not belong together.
    #[error("{what}: expected ids from 0 to below {expected}, found {found}")]
    TokenId {
        /// The tensor.
        what: &'static str,
        /// The vocabulary's size.
        expected: i64,
        /// The id given.
        found: i64,
    },
    /// A sequence is longer than the language model allows.
    #[error("{what}: at most {expected} tokens, found {found}")]
    TooLong {
        /// Which limit.
        what: &'static str,
        /// The limit.
        expected: usize,
        /// The length asked for.
        found: usize,
    },
    /// Merging adapters changed what the maps compute.
    #[error(
        "merged adapters differ from separate ones by {difference:e} of the largest value, more than {tolerance:e}"
    )]
    Merge {
        /// The largest relative difference of a map.
        difference: f64,
        /// The limit.
        tolerance: f64,
    },
    /// A row of a batch of texts is empty.
    #[error("{what}: expected a token in every row, found none in row {row}")]
    NoToken {
        /// The tensor.
        what: &'static str,
        /// The row, from 0.
        row: usize,
    },
    /// A part's weights lack a tensor.
    #[error("{part}: weight {name} is missing; nearest name given: {nearest}")]
    MissingWeight {
        /// The part being loaded, or a whole model.
        part: &'static str,
        /// The published name.
        name: String,
        /// The given name that is most similar.
        nearest: String,
    },
    /// A part's weights hold a tensor that the part does not have.
    #[error("{part}: unexpected weight {name}; nearest name known: {nearest}")]
    UnexpectedWeight {
        /// The part being loaded, or a whole model.
        part: &'static str,
        /// The name given.
        name: String,
        /// The known name that is most similar.
        nearest: String,
    },
    /// A weight has the wrong shape.
    #[error("{part}: weight {name}: expected shape {expected:?}, found {found:?}")]
    WeightShape {
        /// The part being loaded, or a whole model.
        part: &'static str,
        /// The published name.
        name: String,
        /// The shape the config asks for.
        expected: Vec<i64>,
        /// The shape given.
        found: Vec<i64>,
    },
}

impl ModelError {
    /// A [`ModelError::Config`], with the beginning of what was found.
    pub(crate) fn config(field: impl Into<String>, expected: impl Into<String>, found: impl ToString) -> ModelError {
        ModelError::Config { field: field.into(), expected: expected.into(), found: shown(found.to_string()) }
    }
}

/// A value's text, or its beginning where it is too long for a message.
pub(crate) fn shown(text: String) -> String {
    match text.char_indices().nth(300) {
        Some((end, _)) => format!("{} ..", &text[..end]),
        None => text,
    }
}

/// Fails with [`ModelError::Shape`] unless the tensor has the shape; -1 means any size.
pub(crate) fn expect_shape(what: &'static str, tensor: &tch::Tensor, expected: &[i64]) -> Result<(), ModelError> {
    let found = tensor.size();
    let same = found.len() == expected.len() && expected.iter().zip(&found).all(|(e, f)| *e == -1 || e == f);
    if same { Ok(()) } else { Err(ModelError::Shape { what, expected: expected.to_vec(), found }) }
}

/// Fails with [`ModelError::Config`] unless `whole` is a positive multiple of `divisor`.
pub(crate) fn expect_multiple(field: &str, whole: i64, divisor: i64) -> Result<(), ModelError> {
    if divisor > 0 && whole > 0 && whole % divisor == 0 {
        return Ok(());
    }
    Err(ModelError::config(field, format!("a positive multiple of {divisor}"), whole))
}
