//! Values in host memory on their way to a device.

use tch::{Device, Kind, Tensor};

use crate::libtorch::{HostBlock, upload};

/// A flat array of one kind of values.
#[derive(Clone, Copy, Debug)]
pub enum HostArray<'a> {
    /// Ids and positions.
    I64(&'a [i64]),
    /// Weights and draws.
    F32(&'a [f32]),
    /// Masks.
    Bool(&'a [bool]),
    /// Voxel codes as they are stored, little-endian, and their kind.
    Codes(&'a [u8], Kind),
}

impl HostArray<'_> {
    /// As a tensor of that shape, at most one of whose axes is -1. The host does not wait for the device.
    ///
    /// # Panics
    /// The shape has another number of elements.
    pub fn place(self, shape: &[i64], device: Device) -> Tensor {
        let flat = match self {
            HostArray::I64(values) => Tensor::from_slice(values),
            HostArray::F32(values) => Tensor::from_slice(values),
            HostArray::Bool(values) => Tensor::from_slice(values),
            HostArray::Codes(codes, kind) => Tensor::from_slice(codes).view_dtype(kind),
        };
        upload(&flat.view(shape), device)
    }

    /// The kind of its values.
    pub fn kind(&self) -> Kind {
        match self {
            HostArray::I64(_) => Kind::Int64,
            HostArray::F32(_) => Kind::Float,
            HostArray::Bool(_) => Kind::Bool,
            HostArray::Codes(_, kind) => *kind,
        }
    }

    /// Its size in memory.
    pub fn bytes(&self) -> usize {
        match self {
            HostArray::I64(values) => size_of_val(*values),
            HostArray::F32(values) => size_of_val(*values),
            HostArray::Bool(values) => size_of_val(*values),
            HostArray::Codes(codes, _) => codes.len(),
        }
    }

    /// Its bytes into a block, from byte `at` on.
    ///
    /// # Panics
    /// The block ends before.
    pub fn write(&self, block: &mut HostBlock, at: usize) {
        match self {
            HostArray::I64(values) => block.write(at, values),
            HostArray::F32(values) => block.write(at, values),
            HostArray::Bool(values) => block.write(at, values),
            HostArray::Codes(codes, _) => block.write(at, codes),
        }
    }
}
