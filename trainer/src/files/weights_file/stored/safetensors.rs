//! Safetensors: a length, a JSON header, the elements. <https://github.com/huggingface/safetensors>

use std::collections::BTreeMap;

use safetensors::tensor::{Dtype, Metadata};

use super::tensor::contiguous_strides;
use super::{ElementType, StoredError, StoredTensor, StoredWeights};

/// Bytes of the header's length, little-endian.
const LENGTH: usize = 8;

/// Longest header, the limit of the format's own reader.
const LONGEST_HEADER: u64 = 100_000_000;

const ELEMENTS: [(Dtype, ElementType); 10] = [
    (Dtype::F32, ElementType::F32),
    (Dtype::F16, ElementType::F16),
    (Dtype::BF16, ElementType::BF16),
    (Dtype::F64, ElementType::F64),
    (Dtype::I64, ElementType::I64),
    (Dtype::I32, ElementType::I32),
    (Dtype::I16, ElementType::I16),
    (Dtype::I8, ElementType::I8),
    (Dtype::U8, ElementType::U8),
    (Dtype::BOOL, ElementType::Bool),
];

/// The header, where the bytes have one.
fn header(file: &[u8]) -> Option<&[u8]> {
    let (length, rest) = file.split_first_chunk::<LENGTH>()?;
    let length = u64::from_le_bytes(*length);
    if length > LONGEST_HEADER {
        return None;
    }
    rest.get(..length as usize)
}

/// Whether the bytes begin with a length and a header in braces. No text begins so: a length that small holds a NUL byte.
pub(super) fn is_one(file: &[u8]) -> bool {
    header(file).is_some_and(|header| header.first() == Some(&b'{'))
}

/// The table of contents of a file that [`is_one`].
pub(super) fn read(file: &[u8]) -> Result<StoredWeights, StoredError> {
    let error = |problem: String| StoredError::Safetensors { problem };
    let header = header(file).ok_or_else(|| error("no header".into()))?;
    // The format's own reader of a whole file adds up sizes, which in a hostile header may overflow.
    let metadata: Metadata = serde_json::from_slice(header).map_err(|e| error(e.to_string()))?;
    let data = LENGTH + header.len();
    let available = file.len() - data;
    if metadata.data_len() != available {
        return Err(error(format!("the header describes {} bytes, found {available}", metadata.data_len())));
    }
    let mut tensors = BTreeMap::new();
    for (name, info) in metadata.tensors() {
        let refused = |expected: &str, found: String| StoredError::Tensor {
            name: name.clone(),
            expected: expected.to_owned(),
            found,
        };
        let element = ELEMENTS.iter().find(|(dtype, _)| *dtype == info.dtype);
        let element = element.ok_or_else(|| refused("an element type that is read", info.dtype.to_string()))?.1;
        let shape: Option<Vec<i64>> = info.shape.iter().map(|&n| i64::try_from(n).ok()).collect();
        let shape = shape.ok_or_else(|| refused("a shape", format!("{:?}", info.shape)))?;
        let strides = contiguous_strides(&shape);
        let storage = data + info.data_offsets.0..data + info.data_offsets.1;
        let tensor = StoredTensor::view(element, shape, strides, 0, storage);
        tensors.insert(name.clone(), tensor.map_err(|found| refused("a view of its bytes", found))?);
    }
    Ok(StoredWeights { tensors, other: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, bytes: usize) -> Vec<u8> {
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header.as_bytes());
        file.resize(file.len() + bytes, 0);
        file
    }

    #[test]
    fn a_header_with_wrong_sizes_is_refused() {
        let whole = r#"{"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}}"#;
        assert_eq!(read(&file(whole, 8)).unwrap().tensors["a"].shape(), [2, 1]);
        assert!(read(&file(whole, 7)).is_err());
        assert!(read(&file(whole, 9)).is_err());
        let huge = r#"{"a":{"dtype":"U8","shape":[18446744073709551600],"data_offsets":[0,18446744073709551600]}}"#;
        assert!(read(&file(huge, 8)).is_err());
        let other = r#"{"a":{"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]}}"#;
        assert!(read(&file(other, 8)).unwrap_err().to_string().contains("F8_E4M3"));
    }
}
