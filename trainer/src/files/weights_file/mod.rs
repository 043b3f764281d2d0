//! Weights from every published form of file, mapped: a tensor is copied when it is requested, and only that one.
//!
//! - a file of safetensors, or of `torch.save` since torch 1.6 (`pytorch_model.bin`), distinguished by its bytes
//! - an index of several such files (`*.index.json`), or a folder with one of [`IN_A_FOLDER`]

mod index;
pub mod stored;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use med2e3_input::text::tokenizer::{GIT_LFS_POINTER, is_git_lfs_pointer};
use med2e3_store::MappedFile;
use tch::{Device, Kind, TchError, Tensor};

use crate::TrainerError;
use stored::{ElementType, StoredTensor, StoredWeights};

/// What a folder of weights may hold: the first of these that exists is read.
pub const IN_A_FOLDER: [&str; 5] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "adapter_model.safetensors",
];

/// One open set of weights.
#[derive(Debug)]
pub struct WeightsFile {
    /// The file, or the index of the files.
    path: PathBuf,
    maps: Vec<MappedFile>,
    /// By name: the index in `maps` of the file that holds the tensor, and the tensor's bytes in it.
    tensors: BTreeMap<String, (usize, StoredTensor)>,
    other: Vec<String>,
    /// Names that an index lists, that no file of it holds, and that nobody needs.
    absent: Vec<String>,
}

impl WeightsFile {
    /// Opens a file, an index, or a folder with one of [`IN_A_FOLDER`]. Files of tensors are mapped; of them only the
    /// tables of contents are read.
    ///
    /// Of a `torch.save` file the tensors of the outermost dict are taken, or where that has none, those of the only dict
    /// in it that has some (`{"state_dict": {...}, "epoch": 3}`). No path from a file's content is followed: an index
    /// names files in its own folder.
    ///
    /// # Errors
    /// Nothing there, a form or an element type that is not read, a damaged file, a pickle that names anything but the
    /// parts of tensors and containers, an index that its files don't agree with.
    pub fn open(path: &Path) -> Result<WeightsFile, TrainerError> {
        WeightsFile::open_without(path, &|_| false)
    }

    /// As [`WeightsFile::open`], where an index and its files may disagree about tensors that `is_idle` says nobody needs.
    ///
    /// # Errors
    /// As [`WeightsFile::open`].
    pub fn open_without(path: &Path, is_idle: &dyn Fn(&str) -> bool) -> Result<WeightsFile, TrainerError> {
        let path = if path.is_dir() { file_of_folder(path)? } else { path.to_owned() };
        let map = MappedFile::open(&path)?;
        if index::is_one(map.as_ref()) {
            let files = index::read(&path, map.as_ref())?;
            return WeightsFile::of_index(path, &files, is_idle);
        }
        let StoredWeights { tensors, other } = contents(&map)?;
        let tensors = tensors.into_iter().map(|(name, tensor)| (name, (0, tensor))).collect();
        Ok(WeightsFile { path, maps: vec![map], tensors, other, absent: Vec::new() })
    }

    /// Opens the files of an index, which must hold exactly the tensors that it names, but for idle ones.
    fn of_index(
        path: PathBuf,
        files: &BTreeMap<String, Vec<String>>,
        is_idle: &dyn Fn(&str) -> bool,
    ) -> Result<WeightsFile, TrainerError> {
        let (other, absent) = (Vec::new(), Vec::new());
        let mut whole = WeightsFile { path, maps: Vec::new(), tensors: BTreeMap::new(), other, absent };
        for (number, (file, names)) in files.iter().enumerate() {
            let map = MappedFile::open(&whole.path.with_file_name(file))?;
            let StoredWeights { mut tensors, other } = contents(&map)?;
            let differs = |expected: String, found: String| TrainerError::File {
                path: map.path().to_owned(),
                expected: format!("{expected}, as {} states", whole.path.display()),
                found,
            };
            for name in names {
                let tensor = tensors.remove(name);
                if tensor.is_none() && is_idle(name) {
                    whole.absent.push(name.clone());
                    continue;
                }
                let tensor = tensor.ok_or_else(|| differs(format!("a tensor `{name}`"), "none".into()))?;
                whole.tensors.insert(name.clone(), (number, tensor));
            }
            if let Some(name) = tensors.keys().find(|name| !is_idle(name)) {
                return Err(differs(format!("{} tensors", names.len()), format!("`{name}` too")));
            }
            whole.tensors.extend(tensors.into_iter().map(|(name, tensor)| (name, (number, tensor))));
            whole.other.extend(other);
            whole.maps.push(map);
        }
        Ok(whole)
    }

    /// The file, or the index of the files.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The bytes of all files of tensors, in the order of their names.
    pub fn contents(&self) -> impl Iterator<Item = &[u8]> {
        self.maps.iter().map(AsRef::as_ref)
    }

    /// The tensors' names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Keys of values that are not tensors and are passed over: a step count, a list, an optimizer's state.
    pub fn other(&self) -> &[String] {
        &self.other
    }

    /// Names that an index lists and that none of its files holds, all of them of tensors that nobody needs.
    pub fn absent(&self) -> impl Iterator<Item = &str> {
        self.absent.iter().map(String::as_str)
    }

    /// What the elements of a tensor are.
    ///
    /// # Errors
    /// No tensor of this name.
    pub fn kind(&self, name: &str) -> Result<Kind, TrainerError> {
        Ok(kind_of(self.find(name)?.1.element()))
    }

    /// Sizes of a tensor's axes.
    ///
    /// # Errors
    /// No tensor of this name.
    pub fn shape(&self, name: &str) -> Result<&[i64], TrainerError> {
        Ok(self.find(name)?.1.shape())
    }

    /// Every tensor's name and shape, in the order of the names.
    pub fn shapes(&self) -> Vec<(String, Vec<i64>)> {
        self.tensors.iter().map(|(name, (_, stored))| (name.clone(), stored.shape().to_vec())).collect()
    }

    /// Copies one tensor, contiguous, to a device, in its own kind if none is named.
    ///
    /// # Errors
    /// No tensor of this name, a device without enough memory.
    pub fn tensor(&self, name: &str, device: Device, kind: Option<Kind>) -> Result<Tensor, TrainerError> {
        let (number, stored) = self.find(name)?;
        let map = &self.maps[*number];
        let error = |expected: String, found: String| TrainerError::File {
            path: map.path().to_owned(),
            expected: format!("`{name}` {expected}"),
            found,
        };
        let bytes = &map.as_ref()[stored.bytes()];
        // Any other byte in a bool is undefined behaviour in C++.
        if stored.element() == ElementType::Bool
            && let Some(byte) = bytes.iter().find(|&&byte| byte > 1)
        {
            return Err(error("of bools, 0 or 1".into(), format!("{byte}")));
        }
        let copied = copy(bytes, stored).and_then(|host| {
            let kind = kind.unwrap_or(host.kind());
            host.f_to_device_(device, kind, false, false)
        });
        copied.map_err(|e| error(format!("to be copied to {device:?}"), e.to_string()))
    }

    /// Copies every tensor, in the order of their names.
    ///
    /// # Errors
    /// As [`WeightsFile::tensor`].
    pub fn tensors(&self, device: Device, kind: Option<Kind>) -> Result<Vec<(String, Tensor)>, TrainerError> {
        self.names().map(|name| Ok((name.to_owned(), self.tensor(name, device, kind)?))).collect()
    }

    fn find(&self, name: &str) -> Result<&(usize, StoredTensor), TrainerError> {
        self.tensors.get(name).ok_or_else(|| TrainerError::File {
            path: self.path.clone(),
            expected: format!("a tensor `{name}`"),
            found: format!("{} others", self.tensors.len()),
        })
    }
}

fn file_of_folder(folder: &Path) -> Result<PathBuf, TrainerError> {
    let file = IN_A_FOLDER.iter().map(|name| folder.join(name)).find(|file| file.is_file());
    file.ok_or_else(|| TrainerError::File {
        path: folder.to_owned(),
        expected: format!("one of {}", IN_A_FOLDER.join(", ")),
        found: "none of them".into(),
    })
}

fn contents(map: &MappedFile) -> Result<StoredWeights, TrainerError> {
    if is_git_lfs_pointer(map.as_ref()) {
        let (path, expected) = (map.path().to_owned(), "weights".into());
        return Err(TrainerError::File { path, expected, found: GIT_LFS_POINTER.into() });
    }
    stored::read(map.as_ref()).map_err(|source| TrainerError::Weights { path: map.path().to_owned(), source })
}

fn kind_of(element: ElementType) -> Kind {
    match element {
        ElementType::F32 => Kind::Float,
        ElementType::F16 => Kind::Half,
        ElementType::BF16 => Kind::BFloat16,
        ElementType::F64 => Kind::Double,
        ElementType::I64 => Kind::Int64,
        ElementType::I32 => Kind::Int,
        ElementType::I16 => Kind::Int16,
        ElementType::I8 => Kind::Int8,
        ElementType::U8 => Kind::Uint8,
        ElementType::Bool => Kind::Bool,
    }
}

/// A contiguous CPU tensor of the view; `bytes` are those from its first to its last element.
fn copy(bytes: &[u8], stored: &StoredTensor) -> Result<Tensor, TchError> {
    let kind = kind_of(stored.element());
    if stored.byte_len() == 0 {
        return Tensor::f_empty(stored.shape(), (kind, Device::Cpu));
    }
    // As many bytes as `size` asks for: tch copies them unchecked.
    if stored.is_contiguous() {
        return Tensor::f_from_data_size(bytes, stored.shape(), kind);
    }
    let elements = (bytes.len() / stored.element().width()) as i64;
    let span = Tensor::f_from_data_size(bytes, &[elements], kind)?;
    span.f_as_strided(stored.shape(), stored.strides(), 0)?.f_contiguous()
}
