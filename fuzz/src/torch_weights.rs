//! The readers of weights on arbitrary bytes: an error, or tensors whose every element is in the file.

use super::stored;

/// Reads the bytes as a file of torch.save or of safetensors: the first bytes decide.
pub fn torch_weights(bytes: &[u8]) {
    let weights = match stored::read(bytes) {
        Ok(weights) => weights,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let mut total = 0;
    for (name, tensor) in &weights.tensors {
        let (shape, strides, width) = (tensor.shape(), tensor.strides(), tensor.element().width() as i64);
        assert_eq!(shape.len(), strides.len(), "{name}");
        let range = tensor.bytes();
        let span = bytes.get(range.clone()).unwrap_or_else(|| panic!("{name}: {range:?} of {}", bytes.len()));
        let last: i64 = shape.iter().zip(strides).map(|(n, stride)| (n - 1) * stride).sum();
        if shape.contains(&0) {
            assert!(span.is_empty() && tensor.byte_len() == 0, "{name}");
        } else {
            assert_eq!(span.len() as i64, (last + 1) * width, "{name}: {shape:?} {strides:?}");
        }
        if tensor.is_contiguous() {
            assert_eq!(span.len() as u64, tensor.byte_len(), "{name}");
        }
        total += tensor.byte_len();
    }
    assert!(total <= bytes.len() as u64 * 4 + (64 << 20), "{total} bytes of tensors in {}", bytes.len());
}
