//! Why a file's bytes can't be read as weights. The file's path is in the error around it.

/// Bytes that a reader of weights refuses.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    /// Bytes of no known form.
    #[error("expected a safetensors file or a file of torch.save, found {found}")]
    Form {
        /// What the first bytes look like.
        found: String,
    },
    /// The stream that torch.save wrote before torch 1.6.
    #[error(
        "expected a zip archive as torch.save writes it since torch 1.6, found the stream of older versions\nhint: load it once with a newer torch and save it again"
    )]
    LegacyStream,
    /// A safetensors header that is wrong.
    #[error("safetensors: {problem}")]
    Safetensors {
        /// What is wrong with it.
        problem: String,
    },
    /// A zip archive that torch does not write.
    #[error("expected {expected}, found {found}")]
    Archive {
        /// What torch writes.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// An entry of a zip archive that torch does not write.
    #[error("zip entry `{entry}`: expected {expected}, found {found}")]
    Entry {
        /// The entry's name.
        entry: String,
        /// What torch writes.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// A pickle that does more than a state dict needs, or is damaged.
    #[error("data.pkl at byte {offset}: expected {expected}, found {found}")]
    Pickle {
        /// Offset of the operation in the pickle.
        offset: usize,
        /// What would be read.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// A pickle that names something outside the few things that make up weights. Nothing of it was called.
    #[error("data.pkl at byte {offset}: `{name}` is not a name that a file of weights may use, and was not called")]
    Global {
        /// Offset of the name in the pickle.
        offset: usize,
        /// Module and name.
        name: String,
    },
    /// A tensor that can't be read, or does not fit the bytes that are there.
    #[error("tensor `{name}`: expected {expected}, found {found}")]
    Tensor {
        /// Its name.
        name: String,
        /// What would fit.
        expected: String,
        /// What the file states.
        found: String,
    },
    /// An archive without exactly one state dict.
    #[error("expected a dict of tensors, or a dict that holds exactly one such dict, found {found}")]
    Root {
        /// What the archive holds.
        found: String,
    },
}
