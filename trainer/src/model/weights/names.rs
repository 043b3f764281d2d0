//! Every weight's published name.

use std::collections::HashSet;

use tch::Tensor;

use super::roles::{role_folder, role_name};
use crate::model::connector::{Connector, ConnectorKind};
use crate::model::encoder2d::Encoder2d;
use crate::model::encoder3d::Encoder3d;
use crate::model::language_model::{LanguageModel, Role};
use crate::model::layers::{LayerNorm, Linear};
use crate::model::lora::Table;
use crate::model::piece::Piece;
use crate::model::scorer::ScorerLayer;
use crate::model::text_encoder::{Bert, Embedder};
use crate::model::{LanguageModelConfig, M3dClip, Med2e3, Part, Preset};

/// A growing list of names and tensors.
#[derive(Default)]
struct Named(Vec<(String, Tensor)>);

/// The part's weights, in the order of their published file.
pub(super) fn of(model: &Med2e3, part: Part) -> Vec<(String, Tensor)> {
    let mut named = Named::default();
    match part {
        Part::Llm => named.language_model(&model.llm),
        Part::Vision2dModel => model.encoder2d.iter().for_each(|encoder| named.siglip(encoder)),
        Part::Vision3dModel => {
            model.encoder3d.iter().for_each(|encoder| named.m3d_clip(encoder));
            model.text_encoder.iter().for_each(|encoder| named.bert(encoder));
        }
        Part::Vision2dConnector => model.connector2d.iter().for_each(|connector| named.connector(connector)),
        Part::Vision3dConnector => {
            model.connector3d.iter().for_each(|connector| named.connector(connector));
            model.scorer.layer().into_iter().for_each(|(layer, linear)| named.linear(scorer_layer(layer), linear));
        }
    }
    named.0
}

/// The input embeddings.
const EMBEDDING: &str = "model.embed_tokens.weight";
/// The output matrix.
const HEAD: &str = "lm_head.weight";
/// What PEFT puts before the names of a causal language model.
const IN_PEFT: &str = "base_model.model.";

/// The path of a map of a block.
pub(super) fn map_path(layer: i64, role: Role) -> String {
    format!("model.layers.{layer}.{}.{}", role_folder(role), role_name(role))
}

impl Table {
    /// Both.
    pub const ALL: [Table; 2] = [Table::Embeddings, Table::Head];

    /// The published name of its weight.
    pub fn name(self) -> &'static str {
        match self {
            Table::Embeddings => EMBEDDING,
            Table::Head => HEAD,
        }
    }

    /// The name in PEFT's `modules_to_save`.
    pub fn module(self) -> &'static str {
        let own = self.name().strip_suffix(".weight").unwrap_or_default();
        own.rsplit('.').next().unwrap_or_default()
    }

    /// The table that a name in PEFT's `modules_to_save` means.
    pub fn of_module(module: &str) -> Option<Table> {
        Table::ALL.into_iter().find(|table| {
            let own = table.name().strip_suffix(".weight").unwrap_or_default();
            own == module || table.module() == module
        })
    }

    /// The table whose weight has this name in a file of the language model or of its adapters.
    pub fn of_weight(name: &str) -> Option<Table> {
        Table::ALL.into_iter().find(|table| bare(name) == table.name())
    }
}

/// The adapters' matrices, as PEFT names them for a causal language model.
pub(super) fn adapters(llm: &LanguageModel) -> Vec<(String, Tensor)> {
    let mut named = Named::default();
    for (i, block) in llm.blocks.iter().enumerate() {
        for (role, adapted) in block.linears() {
            if let Some(adapter) = &adapted.adapter {
                let prefix = format!("{IN_PEFT}{}", map_path(i as i64, role));
                named.push(&format!("{prefix}.lora_A.weight"), &adapter.a);
                named.push(&format!("{prefix}.lora_B.weight"), &adapter.b);
            }
        }
    }
    named.0
}

/// The tables that are stored with the adapters, as PEFT names them. Both where both are one.
pub(super) fn adapter_tables(llm: &LanguageModel, tables: &[Table]) -> Vec<(String, Tensor)> {
    let tables = Table::ALL.into_iter().filter(|table| tables.contains(table));
    let weight = |table| match (table, &llm.head) {
        (Table::Head, Some(head)) => &head.weight,
        (Table::Head, None) | (Table::Embeddings, _) => &llm.embedding,
    };
    tables.map(|table| (format!("{IN_PEFT}{}", table.name()), weight(table).shallow_clone())).collect()
}

/// The piece that a part's weight is of.
pub(super) fn piece_of(part: Part, name: &str) -> Piece {
    match (part, Table::of_weight(name)) {
        (Part::Llm, Some(Table::Embeddings)) => Piece::LlmEmbeddings,
        (Part::Llm, Some(Table::Head)) => Piece::LlmHead,
        (Part::Llm, None) => Piece::LlmBlocks,
        (Part::Vision2dModel, _) => Piece::Vision2dModel,
        (Part::Vision2dConnector, _) => Piece::Vision2dConnector,
        (Part::Vision3dModel, _) => Piece::Vision3dModel,
        (Part::Vision3dConnector, _) => Piece::Vision3dConnector,
    }
}

/// The published name of a file's tensor, of those in `own`: its own, or the one without what some files add before it, or
/// with what they leave out.
pub(super) fn published(part: Part, name: &str, own: &HashSet<&str>) -> Option<String> {
    let bare = bare(name);
    let spelled = match part {
        // transformers 5 writes SigLIP's vision model without its first name.
        Part::Vision2dModel => format!("vision_model.{bare}"),
        // The encoder alone (`pretrained_ViT.bin`) is without the name that it has in the whole model.
        Part::Vision3dModel => format!("vision_encoder.{bare}"),
        // M3D-LaMed's projector.
        Part::Vision3dConnector => {
            let inner = bare.strip_prefix("model.").unwrap_or(bare);
            inner.strip_prefix("mm_projector.projector.").map_or(bare.to_owned(), |rest| format!("_connector.{rest}"))
        }
        Part::Llm | Part::Vision2dConnector => bare.to_owned(),
    };
    [name, bare, &spelled].into_iter().find(|name| own.contains(*name)).map(str::to_owned)
}

/// A name without the wrappers that training frameworks put before it.
fn bare(name: &str) -> &str {
    ["module.", IN_PEFT].iter().fold(name, |name, wrapper| name.strip_prefix(wrapper).unwrap_or(name))
}

/// A file's name that must be the published one.
pub(super) fn as_it_is(name: &str, own: &HashSet<&str>) -> Option<String> {
    own.contains(name).then(|| name.to_owned())
}

/// All weights of M3D-CLIP, in the order of its published file.
pub(super) fn of_m3d_clip(clip: &M3dClip) -> Vec<(String, Tensor)> {
    let mut named = Named::default();
    named.m3d_clip(&clip.vision);
    named.bert(&clip.text);
    named.linear("mm_vision_proj", &clip.vision_projection);
    named.linear("mm_language_proj", &clip.text_projection);
    named.push("logit_scale", &clip.logit_scale);
    named.0
}

/// The weights of M3D-CLIP's text encoder.
pub(super) fn of_bert(bert: &Bert) -> Vec<(String, Tensor)> {
    let mut named = Named::default();
    named.bert(bert);
    named.0
}

/// The weights of a text encoder without its pooler.
pub(super) fn of_embedder(embedder: &Embedder) -> Vec<(String, Tensor)> {
    let mut named = of_bert(&embedder.bert);
    named.retain(|(name, _)| !name.contains(".pooler."));
    named
}

/// As [`in_bert`] of a published RoBERTa too.
pub(super) fn in_embedder(name: &str, own: &HashSet<&str>) -> Option<String> {
    in_bert(name.strip_prefix("roberta.").unwrap_or(name), own)
}

/// Whether a published BERT or RoBERTa may hold the name although vectors of its first `blocks` blocks do not depend on it: later
/// blocks, the pooler, heads, counters of older releases.
pub(super) fn is_foreign_in_embedder(name: &str, blocks: i64) -> bool {
    let bare = name.strip_prefix("roberta.").or(name.strip_prefix("bert.")).unwrap_or(name);
    let block = bare.strip_prefix("encoder.layer.").and_then(|rest| rest.split('.').next()?.parse::<i64>().ok());
    block.is_some_and(|block| block >= blocks)
        || ["pooler.", "lm_head.", "classifier."].iter().any(|prefix| bare.starts_with(prefix))
        || is_foreign_in_bert(name)
}

/// The name in M3D-CLIP of a published BERT's tensor: alone, below a model with heads, or with a norm's older names.
pub(super) fn in_bert(name: &str, own: &HashSet<&str>) -> Option<String> {
    let bare = name.strip_prefix("bert.").or(name.strip_prefix("language_encoder.")).unwrap_or(name);
    let newer = bare.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias");
    Some(format!("language_encoder.{newer}")).filter(|name| own.contains(name.as_str()))
}

/// Whether a published BERT, or a whole M3D-CLIP in its stead, may hold the name although the encoder does not use it: heads, the
/// vision half, and counters of older releases.
pub(super) fn is_foreign_in_bert(name: &str) -> bool {
    let prefixes = ["cls.", "vision_encoder.", "mm_vision_proj.", "mm_language_proj.", "logit_scale"];
    prefixes.iter().any(|prefix| name.starts_with(prefix))
        || name.ends_with("embeddings.position_ids")
        || name.ends_with("embeddings.token_type_ids")
}

/// Whether M3D-CLIP's file may hold the name although nothing depends on it: a buffer of 0, 1, 2, .. or of zeros that older
/// releases of transformers stored with BERT, or what MONAI puts into every block since 1.4, for decoders alone.
pub(super) fn is_idle_in_m3d_clip(name: &str) -> bool {
    let is_counter =
        matches!(name, "language_encoder.embeddings.position_ids" | "language_encoder.embeddings.token_type_ids");
    let in_block = name.strip_prefix("vision_encoder.blocks.").or(name.strip_prefix("blocks."));
    is_counter || in_block.is_some_and(|rest| rest.contains(".cross_attn.") || rest.contains(".norm_cross_attn."))
}

/// Whether a published file of this part may hold the name although the part does not use it.
pub(super) fn is_foreign(part: Part, name: &str, llm: &LanguageModelConfig) -> bool {
    let prefixes: &[&str] = match part {
        Part::Vision2dModel => &["text_model.", "vision_model.head.", "head.", "logit_scale", "logit_bias"],
        Part::Vision3dModel => &["language_encoder.", "mm_vision_proj.", "mm_language_proj.", "logit_scale"],
        Part::Llm if llm.tie_word_embeddings && bare(name) == HEAD => return true,
        // The weights of another variant's scorer.
        Part::Vision3dConnector => &["text_mlp.", "scoring_module."],
        Part::Llm | Part::Vision2dConnector => &[],
    };
    is_idle(part, name) || prefixes.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether a file, or its index, may hold the name although no model ever needs it: positions, cosines and frequencies, which
/// are computed from the config and which some files carry as buffers.
pub fn is_idle(part: Part, name: &str) -> bool {
    match part {
        Part::Llm => name.contains(".rotary_emb."),
        Part::Vision2dModel => name.ends_with("embeddings.position_ids"),
        Part::Vision3dModel => is_idle_in_m3d_clip(name),
        Part::Vision2dConnector | Part::Vision3dConnector => false,
    }
}

/// The connector that a file's names show. They don't show how it pools: that is taken from `base`.
pub fn connector_kind(given: &[(String, Vec<i64>)], base: ConnectorKind) -> ConnectorKind {
    let has = |name: &str| given.iter().any(|(given, _)| given.ends_with(name));
    let layers = (0..)
        .take_while(|i| has(&format!("_connector.{}.weight", 2 * i)) || has(&format!("projector.{}.weight", 2 * i)))
        .count();
    match (base, layers) {
        _ if has("_connector.weight") => ConnectorKind::Linear,
        (_, 0) => ConnectorKind::Identity,
        (ConnectorKind::SpatialPooling { pool, .. }, layers) => ConnectorKind::SpatialPooling { pool, layers },
        (ConnectorKind::PlanePooling { pool, .. }, layers) => ConnectorKind::PlanePooling { pool, layers },
        (ConnectorKind::Mlp { .. } | ConnectorKind::Linear | ConnectorKind::Identity, layers) => {
            ConnectorKind::Mlp { layers }
        }
    }
}

/// The variant that a 3D connector's file was trained in, as far as its scorer's weights show.
pub fn preset_of(given: &[(String, Vec<i64>)]) -> Preset {
    let has = |layer| given.iter().any(|(name, _)| name.starts_with(scorer_layer(layer)));
    match (has(ScorerLayer::TextProjection), has(ScorerLayer::Head)) {
        (true, _) => Preset::Released,
        (false, true) => Preset::LinearBoth,
        (false, false) => Preset::Paper,
    }
}

fn scorer_layer(layer: ScorerLayer) -> &'static str {
    match layer {
        ScorerLayer::Head => "scoring_module",
        ScorerLayer::TextProjection => "text_mlp",
    }
}

impl Named {
    /// transformers' Phi3ForCausalLM, LlamaForCausalLM, MistralForCausalLM and Qwen2ForCausalLM.
    fn language_model(&mut self, llm: &LanguageModel) {
        self.push(EMBEDDING, &llm.embedding);
        for (i, block) in llm.blocks.iter().enumerate() {
            let at = |name: &str| format!("model.layers.{i}.{name}");
            self.push(&at("input_layernorm.weight"), &block.attention_norm.weight);
            self.push(&at("post_attention_layernorm.weight"), &block.mlp_norm.weight);
            for (role, adapted) in block.linears() {
                self.linear(&map_path(i as i64, role), &adapted.linear);
            }
        }
        self.push("model.norm.weight", &llm.norm.weight);
        llm.head.iter().for_each(|head| self.linear("lm_head", head));
    }

    /// transformers' SiglipVisionModel without its pooling head.
    fn siglip(&mut self, encoder: &Encoder2d) {
        self.push("vision_model.embeddings.patch_embedding.weight", &encoder.patch_weight);
        self.push("vision_model.embeddings.patch_embedding.bias", &encoder.patch_bias);
        self.push("vision_model.embeddings.position_embedding.weight", &encoder.positions);
        for (i, block) in encoder.blocks.iter().enumerate() {
            let at = |name: &str| format!("vision_model.encoder.layers.{i}.{name}");
            self.layer_norm(&at("layer_norm1"), &block.attention_norm);
            self.linear(&at("self_attn.q_proj"), &block.query);
            self.linear(&at("self_attn.k_proj"), &block.key);
            self.linear(&at("self_attn.v_proj"), &block.value);
            self.linear(&at("self_attn.out_proj"), &block.out);
            self.layer_norm(&at("layer_norm2"), &block.mlp_norm);
            self.linear(&at("mlp.fc1"), &block.mlp.up);
            self.linear(&at("mlp.fc2"), &block.mlp.down);
        }
        self.layer_norm("vision_model.post_layernorm", &encoder.post_norm);
    }

    /// The vision half of M3D-CLIP.
    fn m3d_clip(&mut self, encoder: &Encoder3d) {
        self.push("vision_encoder.cls_token", &encoder.class_token);
        self.push("vision_encoder.patch_embedding.position_embeddings", &encoder.positions);
        // Number 0 of the published sequence is the rearrangement into patches.
        self.linear("vision_encoder.patch_embedding.patch_embeddings.1", &encoder.patch);
        for (i, block) in encoder.blocks.iter().enumerate() {
            let at = |name: &str| format!("vision_encoder.blocks.{i}.{name}");
            self.layer_norm(&at("norm1"), &block.attention_norm);
            self.linear(&at("attn.qkv"), &block.qkv);
            self.linear(&at("attn.out_proj"), &block.out);
            self.layer_norm(&at("norm2"), &block.mlp_norm);
            self.linear(&at("mlp.linear1"), &block.mlp.up);
            self.linear(&at("mlp.linear2"), &block.mlp.down);
        }
        self.layer_norm("vision_encoder.norm", &encoder.norm);
    }

    /// The text half of M3D-CLIP: transformers' BertModel.
    fn bert(&mut self, encoder: &Bert) {
        self.push("language_encoder.embeddings.word_embeddings.weight", &encoder.words);
        self.push("language_encoder.embeddings.position_embeddings.weight", &encoder.positions);
        self.push("language_encoder.embeddings.token_type_embeddings.weight", &encoder.token_types);
        self.layer_norm("language_encoder.embeddings.LayerNorm", &encoder.embedding_norm);
        for (i, block) in encoder.blocks.iter().enumerate() {
            let at = |name: &str| format!("language_encoder.encoder.layer.{i}.{name}");
            self.linear(&at("attention.self.query"), &block.query);
            self.linear(&at("attention.self.key"), &block.key);
            self.linear(&at("attention.self.value"), &block.value);
            self.linear(&at("attention.output.dense"), &block.out);
            self.layer_norm(&at("attention.output.LayerNorm"), &block.attention_norm);
            self.linear(&at("intermediate.dense"), &block.mlp.up);
            self.linear(&at("output.dense"), &block.mlp.down);
            self.layer_norm(&at("output.LayerNorm"), &block.mlp_norm);
        }
        self.linear("language_encoder.pooler.dense", &encoder.pooler);
    }

    /// Either connector; odd numbers of the published sequence are GELUs.
    fn connector(&mut self, connector: &Connector) {
        for (i, map) in connector.maps.iter().enumerate() {
            match connector.kind() {
                ConnectorKind::Linear => self.linear("_connector", map),
                _ => self.linear(&format!("_connector.{}", 2 * i), map),
            }
        }
    }

    fn linear(&mut self, prefix: &str, linear: &Linear) {
        self.push(&format!("{prefix}.weight"), &linear.weight);
        if let Some(bias) = &linear.bias {
            self.push(&format!("{prefix}.bias"), bias);
        }
    }

    fn layer_norm(&mut self, prefix: &str, norm: &LayerNorm) {
        self.push(&format!("{prefix}.weight"), &norm.weight);
        self.push(&format!("{prefix}.bias"), &norm.bias);
    }

    fn push(&mut self, name: &str, tensor: &Tensor) {
        self.0.push((name.to_owned(), tensor.shallow_clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_files_are_known() {
        let known = |part, own: &str, name: &str| published(part, name, &HashSet::from([own])).as_deref() == Some(own);
        assert!(known(Part::Vision3dModel, "vision_encoder.cls_token", "cls_token"));
        assert!(known(Part::Vision2dModel, "vision_model.post_layernorm.bias", "post_layernorm.bias"));
        for name in ["mm_projector.projector.2.bias", "model.mm_projector.projector.2.bias", "module._connector.2.bias"]
        {
            assert!(known(Part::Vision3dConnector, "_connector.2.bias", name), "{name}");
        }
        assert!(!known(Part::Llm, "model.norm.weight", "model.norm.weights"));
    }

    #[test]
    fn what_monai_adds_to_every_block_is_passed_over() {
        let llm = LanguageModelConfig::phi3_mini_4k();
        let is_foreign = |name| is_foreign(Part::Vision3dModel, name, &llm);
        assert!(is_foreign("vision_encoder.blocks.3.cross_attn.to_q.weight"));
        assert!(is_foreign("blocks.0.norm_cross_attn.bias"));
        assert!(!is_foreign("vision_encoder.blocks.3.attn.to_q.weight"));
    }

    #[test]
    fn a_connector_is_what_its_names_show() {
        let of = |names: &[&str], base| {
            let given: Vec<_> = names.iter().map(|name| (name.to_string(), vec![1])).collect();
            connector_kind(&given, base)
        };
        let (spatial, mlp) = (ConnectorKind::SPATIAL_POOLING_MLP2X, ConnectorKind::MLP2X);
        let two = ["_connector.0.weight", "_connector.2.weight"];
        assert_eq!([of(&two, spatial), of(&two, mlp)], [spatial, mlp]);
        assert_eq!(of(&["_connector.0.weight"], mlp), ConnectorKind::Mlp { layers: 1 });
        assert_eq!(of(&["_connector.weight"], spatial), ConnectorKind::Linear);
        assert_eq!(of(&["mm_projector.projector.0.weight", "mm_projector.projector.2.weight"], spatial), spatial);
        assert_eq!(of(&["text_mlp.weight"], mlp), ConnectorKind::Identity);
    }
}
