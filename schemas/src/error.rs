//! The crate's error: a file's text or columns are not what the schema says.

/// What can be wrong with a value that came from disk or from a user's configuration.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// A configuration that does not parse, or holds an unknown key or a value of the wrong type.
    #[error("{message}")]
    Config {
        /// What is wrong, where, and the nearest valid key if one is near.
        message: String,
    },
    /// A column that a reader needs is missing or of another type.
    #[error("column `{column}`: expected {expected}, found {found}")]
    Column {
        /// Name of the column.
        column: String,
        /// The type that the schema states.
        expected: String,
        /// The type that the file has, or "none".
        found: String,
    },
    /// A value that is out of the range that a program writes.
    #[error("`{key}`: expected {expected}, found {found}")]
    Value {
        /// The value's key.
        key: String,
        /// The range.
        expected: String,
        /// The value.
        found: String,
    },
    /// A word that is none of the schema's values.
    #[error("{what}: expected one of {expected}, found `{found}`")]
    Word {
        /// What the word names.
        what: &'static str,
        /// The valid words.
        expected: String,
        /// The word.
        found: String,
    },
    /// A dataset written by another schema version.
    #[error("schema version: expected {expected}, found {found}")]
    Version {
        /// The version of this program.
        expected: u32,
        /// The version in the file.
        found: u32,
    },
}
