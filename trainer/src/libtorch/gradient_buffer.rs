//! Gradients that live in a buffer of the optimizer's.

use std::ffi::c_int;

use tch::Tensor;

use super::call::{LibtorchError, TensorPtr, check, pointer, take};

unsafe extern "C" {
    fn med2e3_put_gradient(weight: TensorPtr, values: TensorPtr, out: *mut TensorPtr) -> c_int;
    fn med2e3_gradient_writes(weight: TensorPtr, gradient: TensorPtr, out: *mut i64) -> c_int;
}

/// Makes `values`, of the weight's shape and of any kind of floats, the weight's gradient: backward passes add to it in place,
/// a bf16 gradient to f32 values too. Returns that gradient, which shares storage with `values` and counts its writes on its
/// own: a write by way of another view of the storage is not counted.
///
/// # Errors
/// The weight is not trained, or has another shape or device.
pub fn put_gradient(weight: &Tensor, values: &Tensor) -> Result<Tensor, LibtorchError> {
    let mut out: TensorPtr = std::ptr::null_mut();
    // SAFETY: two live tensors, borrowed for the call; `out` is written only on success, with a new tensor.
    unsafe { take(med2e3_put_gradient(pointer(weight), pointer(values), &mut out), out) }
}

/// How often operations have written to a gradient that [`put_gradient`] returned. Reads nothing of the device.
///
/// # Errors
/// The weight's gradient is another one by now.
pub fn gradient_writes(weight: &Tensor, gradient: &Tensor) -> Result<i64, LibtorchError> {
    let mut out = 0;
    // SAFETY: two live tensors and an integer, borrowed for the call.
    check(unsafe { med2e3_gradient_writes(pointer(weight), pointer(gradient), &mut out) })?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn backward_adds_to_the_buffer_in_place_and_is_counted() {
        for kind in [Kind::Float, Kind::BFloat16] {
            let buffer = Tensor::zeros([8], (Kind::Float, Device::Cpu));
            let weight = Tensor::ones([2, 3], (kind, Device::Cpu)).set_requires_grad(true);
            let gradient = put_gradient(&weight, &buffer.narrow(0, 0, 6).view([2, 3])).unwrap();
            assert_eq!(gradient_writes(&weight, &gradient).unwrap(), 0);
            // Their sum needs more digits than bf16 has.
            for factor in [1.0, 1.0 / 256.0] {
                (&weight * factor).sum(Kind::Float).backward();
            }
            assert_eq!(weight.grad().kind(), Kind::Float);
            assert_eq!(Vec::<f32>::try_from(&buffer).unwrap(), [[1.0 + 1.0 / 256.0; 6].as_slice(), &[0.0; 2]].concat());
            assert_eq!(gradient_writes(&weight, &gradient).unwrap(), 2);
            let _ = buffer.shallow_clone().zero_();
            assert_eq!(gradient_writes(&weight, &gradient).unwrap(), 2);
            assert_eq!(weight.grad().abs().sum(Kind::Float).double_value(&[]), 0.0);
        }
    }

    #[test]
    fn another_gradient_or_shape_is_an_error() {
        let options = (Kind::Float, Device::Cpu);
        let weight = Tensor::ones([2], options).set_requires_grad(true);
        assert!(put_gradient(&weight, &Tensor::zeros([3], options)).is_err());
        assert!(put_gradient(&Tensor::ones([3], options), &Tensor::zeros([3], options)).is_err());
        let earlier = put_gradient(&weight, &Tensor::zeros([2], options)).unwrap();
        let _ = put_gradient(&weight, &Tensor::zeros([2], options)).unwrap();
        assert!(gradient_writes(&weight, &earlier).is_err());
    }
}
