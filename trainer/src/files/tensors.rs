//! Tensors to safetensors files.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;

use blake3::Hasher;
use med2e3_store::{FileError, WholeFile};
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use tch::{Kind, Tensor};

use crate::TrainerError;
use crate::libtorch::HostBytes;

/// Bytes that are hashed and written at the same time, by two threads: few enough that the later one finds them in a cache, so
/// many that they are worth a second thread.
const CHUNK: usize = 8 << 20;
/// Bytes that are not worth a second thread: hashed in less time than one takes to begin.
const SMALL: usize = 256 << 10;

const KINDS: [(Kind, Dtype); 6] = [
    (Kind::Float, Dtype::F32),
    (Kind::BFloat16, Dtype::BF16),
    (Kind::Half, Dtype::F16),
    (Kind::Int64, Dtype::I64),
    (Kind::Int16, Dtype::I16),
    (Kind::Uint8, Dtype::U8),
];

/// Writes named tensors as a safetensors file, which appears whole, and gives the blake3 of its bytes. Larger elements come
/// first, so that each tensor is aligned, and within a kind they are sorted by name. Tensors of another device come to the host
/// one at a time.
///
/// # Errors
/// A kind of elements that is not written here, or the system refuses to write.
pub(super) fn write_tensors(path: &Path, tensors: &[(String, Tensor)]) -> Result<blake3::Hash, TrainerError> {
    let error =
        |found: String| TrainerError::File { path: path.to_owned(), expected: "tensors to write".into(), found };
    let mut sorted: Vec<&(String, Tensor)> = tensors.iter().collect();
    sorted.sort_by_key(|(name, tensor)| (usize::MAX - tensor.kind().elt_size_in_bytes(), name.as_str()));
    let mut end = 0;
    let infos = sorted.iter().map(|(name, tensor)| {
        let kind = KINDS.iter().find(|(kind, _)| *kind == tensor.kind());
        let dtype = kind.ok_or_else(|| error(format!("{name}, whose kind has no word there")))?.1;
        let start = end;
        end += tensor.numel() * tensor.kind().elt_size_in_bytes();
        let shape = tensor.size().iter().map(|&n| n as usize).collect();
        Ok((name.clone(), TensorInfo { dtype, shape, data_offsets: (start, end) }))
    });
    let infos = infos.collect::<Result<Vec<_>, TrainerError>>()?;
    // transformers requires it before it reads a tensor.
    let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let metadata = Metadata::new(Some(format), infos).map_err(|e| error(e.to_string()))?;
    let mut header = serde_json::to_vec(&metadata).expect("names and numbers are JSON");
    header.resize(header.len().next_multiple_of(8), b' ');

    let mut file = HashedFile { file: WholeFile::create(path)?, hasher: Hasher::new() };
    file.write(&(header.len() as u64).to_le_bytes())?;
    file.write(&header)?;
    for (_, tensor) in sorted {
        file.write(&HostBytes::of(tensor))?;
    }
    file.file.publish()?;
    Ok(file.hasher.finalize())
}

/// A file that is hashed while it is written.
struct HashedFile {
    file: WholeFile,
    hasher: Hasher,
}

impl HashedFile {
    fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        for chunk in bytes.chunks(CHUNK) {
            let HashedFile { file, hasher } = self;
            if chunk.len() <= SMALL {
                hasher.update(chunk);
                file.write_all(chunk).map_err(FileError::of(file.path(), "write"))?;
                continue;
            }
            let hasher = Mutex::new(hasher);
            let hash = || {
                hasher.lock().unwrap_or_else(PoisonError::into_inner).update(chunk);
            };
            let written = thread::scope(|scope| {
                // Where the system gives no thread, this one does both.
                let other = thread::Builder::new().spawn_scoped(scope, hash);
                let written = file.write_all(chunk);
                if other.is_err() {
                    hash();
                }
                written
            });
            written.map_err(FileError::of(self.file.path(), "write"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::weights_file::WeightsFile;
    use tch::Device;

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
        let hash = write_tensors(&path, &tensors).unwrap();
        assert_eq!(hash, blake3::hash(&std::fs::read(&path).unwrap()));
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
