//! A batch as Python gets it: a dict.

use std::sync::Arc;

use med2e3_feed::{BadSample, StepShare};
use med2e3_schemas::volume::VoxelFormat;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::dlpack::{Field, Lent};
use crate::error::unfit;
use crate::tensor::Tensor;

/// What the arrays of a batch are handed over as.
pub(crate) enum Tensors {
    /// As [`Tensor`].
    DlPack,
    /// As what a package's `from_dlpack` makes of them.
    Of(Py<PyAny>),
}

impl Tensors {
    /// By the word of the argument `tensors`. With torch a feed counts as an `IterableDataset`, so that torch's loaders take it.
    ///
    /// # Errors
    /// Another word; a package that can't be imported.
    pub(crate) fn named(py: Python<'_>, word: &str, feed: &Bound<'_, PyAny>) -> PyResult<Tensors> {
        let package = match word {
            "dlpack" => return Ok(Tensors::DlPack),
            "torch" | "numpy" => py.import(word)?,
            other => return Err(unfit("tensors", "torch, numpy or dlpack", other)),
        };
        if word == "torch" {
            py.import("torch.utils.data")?.getattr("IterableDataset")?.call_method1("register", (feed,))?;
        }
        Ok(Tensors::Of(package.getattr("from_dlpack")?.unbind()))
    }
}

/// The dict of a batch.
///
/// # Errors
/// What the package of the tensors raises.
pub(crate) fn dict<'py>(
    py: Python<'py>,
    lent: &Arc<Lent>,
    format: &VoxelFormat,
    tensors: &Tensors,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for field in Field::ALL {
        let tensor = Bound::new(py, Tensor::new(lent.clone(), field))?.into_any();
        let made = match tensors {
            Tensors::DlPack => tensor,
            Tensors::Of(from_dlpack) => from_dlpack.bind(py).call1((tensor,))?,
        };
        dict.set_item(field.name(), made)?;
    }
    let batch = lent.batch();
    let words = |ids: &[med2e3_schemas::Id]| ids.iter().map(|id| id.to_string()).collect::<Vec<_>>();
    dict.set_item("sample_ids", words(&batch.sample_ids))?;
    dict.set_item("volume_ids", words(&batch.volume_ids))?;
    dict.set_item("scale", format.scale)?;
    dict.set_item("offset", format.offset)?;
    dict.set_item("position", batch.position)?;
    dict.set_item("share", of_share(py, &batch.share)?)?;
    let bad = batch.bad.iter().map(|bad| of_bad(py, bad)).collect::<PyResult<Vec<_>>>()?;
    dict.set_item("bad", bad)?;
    Ok(dict)
}

fn of_share<'py>(py: Python<'py>, share: &StepShare) -> PyResult<Bound<'py, PyDict>> {
    let StepShare { micro_batch, micro_batches, targets, targetless_groups } = share;
    let dict = PyDict::new(py);
    dict.set_item("micro_batch", micro_batch)?;
    dict.set_item("micro_batches", micro_batches)?;
    dict.set_item("targets", targets)?;
    dict.set_item("targetless_groups", targetless_groups)?;
    Ok(dict)
}

fn of_bad<'py>(py: Python<'py>, bad: &BadSample) -> PyResult<Bound<'py, PyDict>> {
    let BadSample { sample, volume, shard, row, reason } = bad;
    let dict = PyDict::new(py);
    dict.set_item("sample", sample.to_string())?;
    dict.set_item("volume", volume.to_string())?;
    dict.set_item("shard", PyString::new(py, &shard.display().to_string()))?;
    dict.set_item("row", row)?;
    dict.set_item("reason", reason)?;
    Ok(dict)
}
