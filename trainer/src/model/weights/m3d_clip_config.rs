//! The sizes of a published M3D-CLIP: what its config.json states and what the shapes of its weights show.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::nearest::nearest;
use crate::model::{BertConfig, M3dClipConfig, M3dClipVisionConfig, ModelError};

/// Width of one of BERT's attention heads in every published size.
const BERT_HEAD_WIDTH: i64 = 64;

/// The field that says so where the logit scale acts by its exponential; the published model's does not, and has none.
const EXP_LOGIT_SCALE: &str = "exp_logit_scale";

/// No axis of a volume or patch is longer; products of them then fit an i64.
const LONGEST_AXIS: i64 = 1 << 15;

impl M3dClipConfig {
    /// The sizes of published weights. What config.json and the weights' shapes both state must agree, so that a model of
    /// these sizes is no larger than the file that it came from. The text encoder is as [`BertConfig::of_published`].
    ///
    /// # Errors
    /// A weight that shows a size is missing, or shows another one than config.json states.
    pub fn of_published(config: &Value, shapes: &[(String, Vec<i64>)]) -> Result<M3dClipConfig, ModelError> {
        let vision = vision(M3dClipVisionConfig::from_published(config)?, &Shapes(shapes))?;
        let exp_logit_scale = config.get(EXP_LOGIT_SCALE).and_then(Value::as_bool).unwrap_or(false);
        Ok(M3dClipConfig { vision, text: BertConfig::of_published(config, shapes)?, exp_logit_scale })
    }

    /// Its config.json, with what no tensor's shape tells.
    pub fn to_published(&self) -> Value {
        let mut config = self.vision.to_published();
        config["vocab_size"] = json!(self.text.vocab_size);
        config["max_text_len"] = json!(self.text.max_position_embeddings);
        config["text_config"] = json!({
            "model_type": "bert", "num_attention_heads": self.text.num_attention_heads,
            "layer_norm_eps": self.text.layer_norm_eps
        });
        if self.exp_logit_scale {
            config[EXP_LOGIT_SCALE] = json!(true);
        }
        config
    }
}

impl BertConfig {
    /// The sizes of M3D-CLIP's text encoder, which its published config.json does not hold (its `vocab_size` is unused):
    /// those of its tensors. Heads are 64 wide and norms as in bert-base-uncased, unless config.json, or an object in it,
    /// states `num_attention_heads` and `layer_norm_eps`.
    ///
    /// # Errors
    /// A weight that shows a size is missing, or the number of heads is unknown.
    pub fn of_published(config: &Value, shapes: &[(String, Vec<i64>)]) -> Result<BertConfig, ModelError> {
        let (base, shapes) = (BertConfig::base_uncased(), Shapes(shapes));
        let [vocab_size, hidden_size] = shapes.last_two("language_encoder.embeddings.word_embeddings.weight")?;
        let [positions, _] = shapes.last_two("language_encoder.embeddings.position_embeddings.weight")?;
        let [types, _] = shapes.last_two("language_encoder.embeddings.token_type_embeddings.weight")?;
        let (layers, hidden) = shapes.layers("language_encoder.encoder.layer.", ".intermediate.dense.weight");
        // The vision encoder names its heads differently, so an object with this field describes the text encoder.
        let inner = config.as_object().into_iter().flat_map(|fields| fields.values());
        let bert = inner.chain([config]).find(|value| value.get("num_attention_heads").is_some());
        let stated = |key: &str| bert.and_then(|bert| bert.get(key));
        let heads = match stated("num_attention_heads").and_then(Value::as_i64) {
            Some(heads) => heads,
            None if hidden_size % BERT_HEAD_WIDTH == 0 => hidden_size / BERT_HEAD_WIDTH,
            None => {
                let expected = format!("text_config.num_attention_heads for a width of {hidden_size}");
                return Err(ModelError::config("M3D-CLIP's config.json", expected, "nothing"));
            }
        };
        Ok(BertConfig {
            vocab_size,
            hidden_size,
            num_hidden_layers: layers,
            num_attention_heads: heads,
            intermediate_size: hidden.unwrap_or(base.intermediate_size),
            max_position_embeddings: positions,
            type_vocab_size: types,
            layer_norm_eps: stated("layer_norm_eps").and_then(Value::as_f64).unwrap_or(base.layer_norm_eps),
            first_position: base.first_position,
        })
    }
}

fn vision(config: M3dClipVisionConfig, shapes: &Shapes<'_>) -> Result<M3dClipVisionConfig, ModelError> {
    let axes = config.img_size.iter().chain(&config.patch_size).chain([&config.in_channels]);
    if let Some(axis) = axes.into_iter().find(|axis| !(1..=LONGEST_AXIS).contains(*axis)) {
        let expected = format!("axes of 1 to {LONGEST_AXIS}");
        return Err(ModelError::config("img_size, patch_size and in_channels of config.json", expected, axis));
    }
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
    if stated == shown {
        return Ok(());
    }
    Err(ModelError::config(field, format!("{shown}, as the weights show"), stated))
}
