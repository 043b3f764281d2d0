//! The index of weights in several files: `{"metadata": ..., "weight_map": {tensor: file}}`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Component, Path};

use serde::Deserialize;
use serde::de::{Error, MapAccess, Visitor};

use crate::TrainerError;

#[derive(Deserialize)]
struct Index {
    weight_map: WeightMap,
}

/// The names of each file's tensors. A name that occurs twice is an error, where a map would keep the last.
struct WeightMap(BTreeMap<String, Vec<String>>);

impl<'de> Deserialize<'de> for WeightMap {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<WeightMap, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = BTreeMap<String, String>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a map from tensors to files")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Self::Value, A::Error> {
                let mut map = BTreeMap::new();
                while let Some((name, file)) = pairs.next_entry::<String, String>()? {
                    if map.contains_key(&name) {
                        return Err(A::Error::custom(format!("`{name}` twice")));
                    }
                    map.insert(name, file);
                }
                Ok(map)
            }
        }
        let mut files = BTreeMap::<String, Vec<String>>::new();
        for (name, file) in from.deserialize_map(Pairs)? {
            files.entry(file).or_default().push(name);
        }
        Ok(WeightMap(files))
    }
}

/// Whether the bytes are JSON: a brace, and no NUL, which a safetensors file holds among its first bytes.
pub(super) fn is_one(file: &[u8]) -> bool {
    file.trim_ascii_start().starts_with(b"{") && !file.iter().take(16).any(|&byte| byte == 0)
}

/// The files that an index names, each with its tensors.
pub(super) fn read(path: &Path, text: &[u8]) -> Result<BTreeMap<String, Vec<String>>, TrainerError> {
    let refused = |expected: &str, found: String| TrainerError::File {
        path: path.to_owned(),
        expected: expected.to_owned(),
        found,
    };
    let index: Result<Index, _> = serde_json::from_slice(text);
    let WeightMap(files) = index.map_err(|e| refused("an index with a weight_map", e.to_string()))?.weight_map;
    for file in files.keys() {
        let mut parts = Path::new(file).components();
        let is_in_folder = matches!(parts.next(), Some(Component::Normal(part)) if part == file.as_str());
        if !is_in_folder || parts.next().is_some() {
            return Err(refused("names of files in the folder of the index", format!("`{file}`")));
        }
    }
    Ok(files)
}
