//! Values in host memory on their way to a device.

use tch::{Device, Tensor};

/// A flat array of one kind of values.
#[derive(Clone, Copy, Debug)]
pub(crate) enum HostArray<'a> {
    /// Ids and positions.
    I64(&'a [i64]),
    /// Weights and draws.
    F32(&'a [f32]),
    /// Masks.
    Bool(&'a [bool]),
}

impl HostArray<'_> {
    /// As a tensor of that shape. On another device than the CPU the copy waits for the device.
    ///
    /// # Panics
    /// The shape has another number of elements.
    pub(crate) fn place(self, shape: &[i64], device: Device) -> Tensor {
        let flat = match self {
            HostArray::I64(values) => Tensor::from_slice(values),
            HostArray::F32(values) => Tensor::from_slice(values),
            HostArray::Bool(values) => Tensor::from_slice(values),
        };
        flat.view(shape).to_device(device)
    }
}
