//! A golden file of `golden/`, read, and the comparison with it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use med2e3_trainer::model::loss::{Targets, next_token_loss};
use med2e3_trainer::model::{Med2e3Config, ModelInput, PaddedTexts, TargetWeights};
use serde::de::DeserializeOwned;
use tch::{Kind, Tensor};

/// One golden file.
pub(crate) struct Golden {
    tensors: HashMap<String, Tensor>,
    metadata: HashMap<String, String>,
}

impl Golden {
    /// `golden/NAME.safetensors`.
    pub(crate) fn open(name: &str) -> Golden {
        let path = path(&format!("{name}.safetensors"));
        let bytes = std::fs::read(&path).unwrap();
        let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        let metadata = header.metadata().clone().unwrap_or_default();
        let tensors = Tensor::read_safetensors(path).unwrap().into_iter().collect();
        Golden { tensors, metadata }
    }

    /// A JSON value of the file's metadata.
    pub(crate) fn config<T: DeserializeOwned>(&self, key: &str) -> T {
        serde_json::from_str(&self.metadata[key]).unwrap()
    }

    /// The text of a value of the file's metadata, its keys in the order in which they were written.
    pub(crate) fn text(&self, key: &str) -> &str {
        &self.metadata[key]
    }

    /// The keys of the file's metadata, sorted.
    pub(crate) fn keys(&self) -> Vec<&str> {
        let mut keys: Vec<&str> = self.metadata.keys().map(String::as_str).collect();
        keys.sort_unstable();
        keys
    }

    /// A tensor by its name.
    pub(crate) fn get(&self, name: &str) -> Tensor {
        self.tensors[name].shallow_clone()
    }

    /// Whether it holds a tensor.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The tensors below a prefix, without it.
    pub(crate) fn below(&self, prefix: &str) -> Vec<(String, Tensor)> {
        let strip = |(name, tensor): (&String, &Tensor)| {
            name.strip_prefix(prefix).map(|rest| (rest.to_owned(), tensor.shallow_clone()))
        };
        self.tensors.iter().filter_map(strip).collect()
    }
}

/// A batch of the tensors `ids`, `lengths`, `labels` and `voxels`, its questions those of a name.
pub(crate) fn batch(golden: &Golden, question: &str) -> ModelInput {
    let lengths_b: Vec<i64> = Vec::try_from(golden.get("lengths")).unwrap();
    let padded = PaddedTexts {
        ids_bt: &golden.get("ids"),
        lengths_b: &lengths_b,
        labels_bt: Some(&golden.get("labels")),
        question_ids_bt: &golden.get(&format!("{question}_ids")),
        question_mask_bt: &golden.get(&format!("{question}_mask")),
    };
    ModelInput {
        voxels_vcdhw: golden.get("voxels").to_kind(Kind::Float),
        texts: padded.texts().unwrap(),
        weights: TargetWeights::Mean,
    }
}

/// The same batch again.
pub(crate) fn again(input: &ModelInput) -> ModelInput {
    ModelInput {
        voxels_vcdhw: input.voxels_vcdhw.shallow_clone(),
        texts: input.texts.clone(),
        weights: input.weights.clone(),
    }
}

/// The mean loss of final hidden states (B, T, E) at flat positions.
pub(crate) fn mean_loss(weight_ve: &Tensor, hidden_bte: &Tensor, positions: &[i64], ids: &[i64]) -> Tensor {
    let weights_r = Tensor::full([ids.len() as i64], 1.0 / ids.len() as f64, (Kind::Float, hidden_bte.device()));
    let (positions_r, ids_r) = (&Tensor::from_slice(positions), &Tensor::from_slice(ids));
    next_token_loss(weight_ve, hidden_bte, &Targets { positions_r, ids_r, weights_r: &weights_r }).weighted
}

/// A small whole model, for tests that look at one part of it.
pub(crate) fn small() -> Med2e3Config {
    Golden::open("med2e3").config("config")
}

/// A file or folder of `golden/`.
pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// Fails where an element is off by more than `tolerance` times the greatest expected one, or times 1 where that is less.
pub(crate) fn assert_close(what: &str, found: &Tensor, expected: &Tensor, tolerance: f64) {
    assert_eq!(found.size(), expected.size(), "{what}");
    let difference = (found.to_kind(Kind::Double) - expected.to_kind(Kind::Double)).abs().max().double_value(&[]);
    let scale = expected.to_kind(Kind::Double).abs().max().double_value(&[]).max(1.0);
    println!("{what}: max difference {difference:.2e} at scale {scale:.2e}");
    assert!(difference <= tolerance * scale, "{what}: max difference {difference:e}");
}
