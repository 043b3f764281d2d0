//! The sizes of a published M3D-CLIP: what its config.json says and what the shapes of its weights show.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::nearest::nearest;
use crate::model::{BertConfig, M3dClipConfig, M3dClipVisionConfig, ModelError};

/// Width of one of BERT's attention heads in every published size.
const BERT_HEAD_WIDTH: i64 = 64;

/// No axis of a volume or patch is longer; products of them then fit an i64.
const LONGEST_AXIS: i64 = 1 << 15;

/// The fields of M3D-CLIP's config.json that decide numbers; its others are passed over.
#[derive(Debug, Clone, Deserialize)]
pub struct PublishedM3dClip {
    in_channels: i64,
    img_size: [i64; 3],
    patch_size: [i64; 3],
    hidden_size: i64,
    mlp_dim: i64,
    num_layers: i64,
    num_heads: i64,
    vocab_size: i64,
    /// Absent from the published file, whose text half is bert-base-uncased.
    #[serde(default)]
    text_config: PublishedBert,
}

/// What the shapes of BERT's weights don't tell.
#[derive(Debug, Clone, Default, Deserialize)]
struct PublishedBert {
    num_attention_heads: Option<i64>,
    layer_norm_eps: Option<f64>,
}

impl M3dClipConfig {
    /// The sizes of published weights. What both sources state must agree, so that a model of these sizes is no larger
    /// than the file that it came from.
    ///
    /// The text half's sizes are those of its tensors; its heads are 64 wide and its norms as in bert-base-uncased, unless
    /// `text_config` says otherwise.
    ///
    /// # Errors
    /// A weight that shows a size is missing, or shows another one than config.json states.
    pub fn of_published(
        published: &PublishedM3dClip,
        shapes: &[(String, Vec<i64>)],
    ) -> Result<M3dClipConfig, ModelError> {
        let shapes = Shapes(shapes);
        let vision = vision(published, &shapes)?;
        let text = text(published, &shapes)?;
        Ok(M3dClipConfig { vision, text, exp_logit_scale: false })
    }
}

fn vision(published: &PublishedM3dClip, shapes: &Shapes<'_>) -> Result<M3dClipVisionConfig, ModelError> {
    let axes = published.img_size.iter().chain(&published.patch_size).chain([&published.in_channels]);
    if let Some(axis) = axes.into_iter().find(|axis| !(1..=LONGEST_AXIS).contains(*axis)) {
        let expected = format!("axes of 1 to {LONGEST_AXIS}");
        return Err(ModelError::config("img_size, patch_size and in_channels of config.json", expected, axis));
    }
    let config = M3dClipVisionConfig {
        img_size: published.img_size,
        patch_size: published.patch_size,
        hidden_size: published.hidden_size,
        mlp_dim: published.mlp_dim,
        num_layers: published.num_layers,
        num_heads: published.num_heads,
        in_channels: published.in_channels,
    };
    let patch_width = config.patch_size.iter().product::<i64>() * config.in_channels;
    let [tokens, width] = shapes.last_two("vision_encoder.patch_embedding.position_embeddings")?;
    let [_, patch] = shapes.last_two("vision_encoder.patch_embedding.patch_embeddings.1.weight")?;
    let (layers, hidden) = shapes.layers("vision_encoder.blocks.", ".mlp.linear1.weight");
    let [rows, columns] = shapes.last_two("mm_vision_proj.weight")?;
    same("hidden_size of config.json", config.hidden_size, width)?;
    same("hidden_size of config.json", config.hidden_size, rows)?;
    same("hidden_size of config.json", config.hidden_size, columns)?;
    same("img_size over patch_size of config.json", config.token_count(), tokens)?;
    same("patch_size and in_channels of config.json", patch_width, patch)?;
    same("num_layers of config.json", config.num_layers, layers)?;
    same("mlp_dim of config.json", config.mlp_dim, hidden.unwrap_or(config.mlp_dim))?;
    Ok(config)
}

fn text(published: &PublishedM3dClip, shapes: &Shapes<'_>) -> Result<BertConfig, ModelError> {
    let base = BertConfig::base_uncased();
    let [vocab_size, hidden_size] = shapes.last_two("language_encoder.embeddings.word_embeddings.weight")?;
    let [positions, _] = shapes.last_two("language_encoder.embeddings.position_embeddings.weight")?;
    let [types, _] = shapes.last_two("language_encoder.embeddings.token_type_embeddings.weight")?;
    let (layers, hidden) = shapes.layers("language_encoder.encoder.layer.", ".intermediate.dense.weight");
    same("vocab_size of config.json", published.vocab_size, vocab_size)?;
    Ok(BertConfig {
        vocab_size,
        hidden_size,
        num_hidden_layers: layers,
        num_attention_heads: published.text_config.num_attention_heads.unwrap_or(hidden_size / BERT_HEAD_WIDTH),
        intermediate_size: hidden.unwrap_or(base.intermediate_size),
        max_position_embeddings: positions,
        type_vocab_size: types,
        layer_norm_eps: published.text_config.layer_norm_eps.unwrap_or(base.layer_norm_eps),
    })
}

/// Names and shapes of a file's tensors.
struct Shapes<'a>(&'a [(String, Vec<i64>)]);

impl Shapes<'_> {
    /// The last two axes of a weight that has as many.
    fn last_two(&self, name: &str) -> Result<[i64; 2], ModelError> {
        let found = self.0.iter().find(|(of, _)| of == name);
        let Some((_, shape)) = found else {
            let nearest = nearest(name, self.0.iter().map(|(name, _)| name));
            return Err(ModelError::MissingWeight { part: "m3d_clip", name: name.to_owned(), nearest });
        };
        match shape.as_slice() {
            [.., rows, columns] => Ok([*rows, *columns]),
            found => Err(ModelError::WeightShape {
                part: "m3d_clip",
                name: name.to_owned(),
                expected: vec![-1, -1],
                found: found.to_vec(),
            }),
        }
    }

    /// How many blocks have the first one's MLP, and its hidden width. Counted by a large weight of each, so that blocks
    /// cannot be claimed by names alone.
    fn layers(&self, prefix: &str, mlp: &str) -> (i64, Option<i64>) {
        let number = |name: &str| name.strip_prefix(prefix)?.strip_suffix(mlp)?.parse::<u64>().ok();
        let weights: BTreeMap<u64, &Vec<i64>> =
            self.0.iter().filter_map(|(name, weight)| Some((number(name)?, weight))).collect();
        let first = weights.values().next();
        let alike = weights.values().filter(|size| Some(*size) == first).count();
        (alike as i64, first.and_then(|size| size.first().copied()))
    }
}

fn same(field: &'static str, stated: i64, shown: i64) -> Result<(), ModelError> {
    match stated == shown {
        true => Ok(()),
        false => Err(ModelError::config(field, format!("{shown}, as the weights show"), stated)),
    }
}
