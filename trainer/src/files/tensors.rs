//! Tensors to safetensors files.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use med2e3_store::WholeFile;
use safetensors::serialize_to_file;
use safetensors::tensor::{Dtype, View};
use tch::{Device, Kind, Tensor};

use crate::TrainerError;

/// A tensor whose bytes are copied when they are written, and only then.
struct HostTensor {
    tensor: Tensor,
    kind: Dtype,
    shape: Vec<usize>,
}

impl View for HostTensor {
    fn dtype(&self) -> Dtype {
        self.kind
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let tensor = self.tensor.detach().to_device(Device::Cpu).contiguous();
        let mut bytes = vec![0; self.data_len()];
        tensor.copy_data_u8(&mut bytes, tensor.numel());
        Cow::Owned(bytes)
    }

    fn data_len(&self) -> usize {
        self.tensor.numel() * self.tensor.kind().elt_size_in_bytes()
    }
}

const KINDS: [(Kind, Dtype); 6] = [
    (Kind::Float, Dtype::F32),
    (Kind::BFloat16, Dtype::BF16),
    (Kind::Half, Dtype::F16),
    (Kind::Int64, Dtype::I64),
    (Kind::Int16, Dtype::I16),
    (Kind::Uint8, Dtype::U8),
];

/// Writes named tensors as a safetensors file, which appears whole.
///
/// # Errors
/// A kind of elements that is not written here, or the system refuses to write.
pub(super) fn write_tensors(path: &Path, tensors: &[(String, Tensor)]) -> Result<(), TrainerError> {
    let error =
        |found: String| TrainerError::File { path: path.to_owned(), expected: "tensors to write".into(), found };
    let views = tensors.iter().map(|(name, tensor)| {
        let kind = KINDS.iter().find(|(kind, _)| *kind == tensor.kind());
        let kind = kind.ok_or_else(|| error(format!("{name} of kind {:?}", tensor.kind())))?.1;
        let shape = tensor.size().iter().map(|&n| n as usize).collect();
        Ok((name.clone(), HostTensor { tensor: tensor.shallow_clone(), kind, shape }))
    });
    let views = views.collect::<Result<Vec<_>, TrainerError>>()?;
    let file = WholeFile::create(path)?;
    // transformers requires it before it reads a tensor.
    let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    serialize_to_file(views, Some(format), file.temporary()).map_err(|e| error(e.to_string()))?;
    Ok(file.publish()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::weights_file::WeightsFile;

    #[test]
    fn written_tensors_are_read_back_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        let values = Tensor::from_slice(&[0.1f32, -1e-30, f32::MAX, 3.0]).view([2, 2]);
        let tensors = vec![
            ("a".to_owned(), values.shallow_clone()),
            ("b".to_owned(), values.to_kind(Kind::BFloat16)),
            ("c".to_owned(), Tensor::from_slice(&[i16::MIN, -1, 300])),
        ];
        write_tensors(&path, &tensors).unwrap();
        let back = WeightsFile::open(&path).unwrap().tensors(Device::Cpu, None).unwrap();
        assert_eq!(tensors.len(), back.len());
        for ((name, tensor), (again, read)) in tensors.iter().zip(&back) {
            assert_eq!((name, tensor.kind(), tensor.size()), (again, read.kind(), read.size()));
            assert!(tensor.equal(read));
        }
    }

    #[test]
    fn a_cut_file_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        write_tensors(&path, &[("a".to_owned(), Tensor::from_slice(&[1f32; 100]))]).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
        assert!(WeightsFile::open(&path).unwrap_err().to_string().contains("x.safetensors"));
    }
}
