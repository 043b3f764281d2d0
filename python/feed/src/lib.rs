//! Python's door to the feed: the module `med2e3_feed`, whose batches are tensors in the feed's own memory.
//!
//! # Layout
//! - `feed`: the class `Feed`, a run over samples that is iterated and whose cursor is its state
//! - `plan`: what `Feed` is asked for in words, and the environment's rank
//! - `batch`: a batch as a dict; `tensor`: an array of it that other packages take by DLPack
//! - `dlpack`: DLPack's structs, and how long a batch's memory is lent; the only file with `unsafe`
//! - `waiting`: waiting that hears Ctrl-C and leaves the interpreter free
//! - `error`: `FeedError`

use pyo3::prelude::*;

mod batch;
mod dlpack;
mod error;
mod feed;
mod plan;
mod tensor;
mod waiting;

/// Batches of CT volumes and texts from a dataset that `med2e3-data prepare` wrote, as tensors in the feed's own memory.
#[pymodule]
mod med2e3_feed {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::error::FeedError;
    #[pymodule_export]
    use crate::feed::{Epoch, Feed};
    #[pymodule_export]
    use crate::tensor::Tensor;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
