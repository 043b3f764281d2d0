//! Files of `torch.save` since torch 1.6: a zip archive with one pickle, and one entry for each storage.
//!
//! The pickle is a program. [`pickle`] executes only the operations of a dict of tensors, and calls nothing. Attributes of
//! dicts (module versions), gradient flags and hooks are passed over: they are not weights.

mod pickle;
mod value;
mod zip;

use std::collections::BTreeMap;

use super::{StoredError, StoredTensor, StoredWeights};
use value::{Pickled, Value};

/// Bytes that tensors may take in memory in addition to four times their file. A tensor may use an element many times, and
/// several tensors may share elements; a small file must not become a huge one in memory by it.
const MOST_REPEATED: u64 = 64 << 20;

/// Whether the bytes are a zip archive.
pub(super) fn is_one(file: &[u8]) -> bool {
    file.starts_with(&zip::MAGIC)
}

/// Whether the bytes are of torch.save before torch 1.6: a pickle whose only value is a number of ten bytes.
pub(super) fn is_legacy(file: &[u8]) -> bool {
    file.starts_with(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.")
}

/// The table of contents of a zip archive.
///
/// The tensors of the outermost dict are taken. If it has none, but holds exactly one dict that has some (as
/// `{"state_dict": {...}, "epoch": 3}`), those of that one are.
pub(super) fn read(file: &[u8]) -> Result<StoredWeights, StoredError> {
    let entries = zip::read(file)?;
    // All entries are in one folder of any name.
    let mut pickles = entries.keys().filter_map(|name| Some((name.strip_suffix("data.pkl")?, name)));
    let (Some((folder, pickle)), None) = (pickles.next(), pickles.next()) else {
        let count = entries.keys().filter(|name| name.ends_with("data.pkl")).count();
        return Err(StoredError::Archive { expected: "one entry data.pkl", found: count.to_string() });
    };
    // Absent before torch 2.1, which wrote no other order.
    if let Some(order) = entries.get(&format!("{folder}byteorder")).map(|order| &file[order.clone()])
        && order != b"little"
    {
        let found = String::from_utf8_lossy(&order[..order.len().min(16)]).into_owned();
        return Err(StoredError::Archive { expected: "byte order little", found });
    }
    let data = format!("{folder}data/");
    let storages: BTreeMap<&str, _> =
        entries.iter().filter_map(|(name, range)| Some((name.strip_prefix(&data)?, range.clone()))).collect();
    let pickled = pickle::run(&file[entries[pickle].clone()], &storages)?;
    let weights = named(&pickled)?;

    let mut available = (file.len() as u64).saturating_mul(4).saturating_add(MOST_REPEATED);
    for (name, tensor) in &weights.tensors {
        available = available.checked_sub(tensor.byte_len()).ok_or_else(|| StoredError::Tensor {
            name: name.clone(),
            expected: format!("tensors of at most four times the file's {} bytes and 64 MiB", file.len()),
            found: format!("shape {:?} with strides {:?} beyond them", tensor.shape(), tensor.strides()),
        })?;
    }
    Ok(weights)
}

/// The tensors by name, and the keys that are passed over.
fn named(pickled: &Pickled<'_>) -> Result<StoredWeights, StoredError> {
    let refused = |found: String| StoredError::Root { found };
    let is_weights = |dict: usize| pickled.dicts[dict].iter().any(|(_, value)| matches!(value, Value::Tensor(_)));
    let Value::Dict(root) = pickled.root else {
        return Err(refused(pickled.root.kind().into()));
    };
    if is_weights(root) {
        return state_dict(pickled, root);
    }
    let mut inner = Vec::new();
    let mut other = Vec::new();
    for &(key, value) in &pickled.dicts[root] {
        match value {
            Value::Dict(dict) if is_weights(dict) => inner.push((shown(key), dict)),
            _ => other.push(shown(key)),
        }
    }
    let &[(_, dict)] = &inner[..] else {
        let keys: Vec<&str> = inner.iter().map(|(key, _)| key.as_str()).take(8).collect();
        return Err(refused(match keys[..] {
            [] => "no tensors".into(),
            _ => format!("several: {}", keys.join(", ")),
        }));
    };
    let mut weights = state_dict(pickled, dict)?;
    weights.other.extend(other);
    Ok(weights)
}

/// One dict: its tensors by name, and the keys of the rest.
fn state_dict(pickled: &Pickled<'_>, dict: usize) -> Result<StoredWeights, StoredError> {
    let mut weights = StoredWeights::default();
    for &(key, value) in &pickled.dicts[dict] {
        let (Value::Text(name), Value::Tensor(tensor)) = (key, value) else {
            weights.other.push(shown(key));
            continue;
        };
        let tensor: StoredTensor = pickled.tensors[tensor].clone();
        if weights.tensors.insert(name.to_owned(), tensor).is_some() {
            let (expected, found) = ("one tensor of this name".to_owned(), "another one".to_owned());
            return Err(StoredError::Tensor { name: name.to_owned(), expected, found });
        }
    }
    Ok(weights)
}

/// A dict's key, for messages.
fn shown(key: Value<'_>) -> String {
    match key {
        Value::Text(text) => pickle::shown(text),
        Value::Int(number) => number.to_string(),
        other => other.kind().to_owned(),
    }
}
