//! One array of a batch, as numpy, torch and others take it by DLPack.

use std::sync::Arc;

use pyo3::exceptions::PyBufferError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::dlpack::{self, CPU, Field, Lent};

/// An array of a batch in the feed's own memory. `torch.from_dlpack` and `numpy.from_dlpack` make a tensor of it without a copy.
///
/// The batch's memory goes back to the feed when all arrays of the batch, and all tensors made of them, are gone.
#[pyclass(module = "med2e3_feed", frozen)]
pub(crate) struct Tensor {
    lent: Arc<Lent>,
    field: Field,
}

impl Tensor {
    pub(crate) fn new(lent: Arc<Lent>, field: Field) -> Tensor {
        Tensor { lent, field }
    }
}

#[pymethods]
impl Tensor {
    /// The array as a DLPack capsule: of version 1.0 where `max_version` is 1.0 or later, of the form before it otherwise.
    ///
    /// Raises BufferError for a copy, or for another device than the CPU.
    #[pyo3(signature = (*, stream=None, max_version=None, dl_device=None, copy=None))]
    fn __dlpack__<'py>(
        &self,
        py: Python<'py>,
        stream: Option<&Bound<'py, PyAny>>,
        max_version: Option<(u32, u32)>,
        dl_device: Option<(i32, i32)>,
        copy: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        if stream.is_some() || dl_device.is_some_and(|device| device != CPU) {
            return Err(PyBufferError::new_err(
                "expected the CPU, where the feed's memory is, found another device or a stream",
            ));
        }
        if copy == Some(true) {
            return Err(PyBufferError::new_err("the feed lends its own memory: copy the tensor that it is made into"));
        }
        dlpack::capsule(py, &self.lent, self.field, max_version.is_some_and(|(major, _)| major >= 1))
    }

    /// The CPU, as DLPack names it: `(1, 0)`.
    fn __dlpack_device__(&self) -> (i32, i32) {
        CPU
    }

    /// Its sizes.
    #[getter]
    fn shape<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.lent.array(self.field).shape())
    }

    /// The name of its values' type, as in numpy: `uint8`, `int16`, `int64` or `float32`.
    #[getter]
    fn dtype(&self) -> &'static str {
        self.lent.array(self.field).kind().name()
    }

    fn __repr__(&self) -> String {
        let array = self.lent.array(self.field);
        let sizes: Vec<String> = array.shape().iter().map(usize::to_string).collect();
        format!("Tensor({}, {}, [{}])", self.field.name(), array.kind().name(), sizes.join(", "))
    }
}
