//! The bytes of a tensor, where they lie.

use std::ops::Deref;
use std::slice;

use tch::{Device, Tensor};

/// A tensor's elements in row-major order as bytes on the host, without a copy where they lie so already. Nothing may write to
/// the tensor meanwhile.
pub struct HostBytes {
    tensor: Tensor,
    length: usize,
}

impl HostBytes {
    /// Waits for the tensor's device.
    pub fn of(tensor: &Tensor) -> HostBytes {
        let tensor = tensor.detach().to_device(Device::Cpu).contiguous();
        let length = tensor.numel() * tensor.kind().elt_size_in_bytes();
        HostBytes { tensor, length }
    }
}

impl Deref for HostBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        if self.length == 0 {
            return &[];
        }
        // SAFETY: a contiguous tensor of the CPU that this value owns has so many bytes from its pointer on; nobody writes to
        // them, by the contract of the type.
        unsafe { slice::from_raw_parts(self.tensor.data_ptr().cast(), self.length) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    #[test]
    fn bytes_are_those_of_the_elements_in_their_order() {
        let tensor = Tensor::from_slice(&[1i16, 2, 3, 4]).view([2, 2]);
        assert_eq!(&*HostBytes::of(&tensor), [1, 0, 2, 0, 3, 0, 4, 0]);
        assert_eq!(&*HostBytes::of(&tensor.tr()), [1, 0, 3, 0, 2, 0, 4, 0]);
        assert_eq!(HostBytes::of(&tensor).as_ptr(), tensor.data_ptr().cast());
        assert!(HostBytes::of(&Tensor::zeros([0, 3], (Kind::Float, Device::Cpu))).is_empty());
    }
}
