//! Every weight's published name.

use tch::Tensor;

use super::Part;
use crate::model::encoder2d::Encoder2d;
use crate::model::encoder3d::Encoder3d;
use crate::model::language_model::Phi3;
use crate::model::layers::{LayerNorm, Linear, Mlp};
use crate::model::text_encoder::Bert;
use crate::model::{M3dClip, Med2e3};

/// A growing list of names and tensors.
#[derive(Default)]
struct Named(Vec<(String, Tensor)>);

/// The part's weights, in the order of their published file.
pub(super) fn of(model: &Med2e3, part: Part) -> Vec<(String, Tensor)> {
    let mut named = Named::default();
    match part {
        Part::Llm => named.phi3(&model.llm),
        Part::Vision2dModel => model.encoder2d.iter().for_each(|encoder| named.siglip(encoder)),
        Part::Vision3dModel => model.encoder3d.iter().for_each(|encoder| named.m3d_clip(encoder)),
        Part::Vision2dConnector => model.connector2d.iter().for_each(|connector| named.connector(&connector.mlp)),
        Part::Vision3dConnector => {
            model.connector3d.iter().for_each(|connector| named.connector(&connector.mlp));
            model.scorer.head().into_iter().for_each(|head| named.linear("scoring_module", head));
        }
    }
    named.0
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

/// Whether the name is a buffer of 0, 1, 2, .. or of zeros that older releases of transformers stored with BERT.
pub(super) fn is_bert_counter(name: &str) -> bool {
    matches!(name, "language_encoder.embeddings.position_ids" | "language_encoder.embeddings.token_type_ids")
}

/// Whether a published file of this part may hold the name although the part has no use for it.
pub(super) fn is_foreign(part: Part, name: &str) -> bool {
    let prefixes: &[&str] = match part {
        Part::Vision2dModel => &["text_model.", "vision_model.head.", "logit_scale", "logit_bias"],
        Part::Vision3dModel => &["language_encoder.", "mm_vision_proj.", "mm_language_proj.", "logit_scale"],
        Part::Llm | Part::Vision2dConnector | Part::Vision3dConnector => &[],
    };
    prefixes.iter().any(|prefix| name.starts_with(prefix))
}

impl Named {
    /// transformers' Phi3ForCausalLM.
    fn phi3(&mut self, llm: &Phi3) {
        self.push("model.embed_tokens.weight", &llm.embedding);
        for (i, block) in llm.blocks.iter().enumerate() {
            let at = |name: &str| format!("model.layers.{i}.{name}");
            self.push(&at("input_layernorm.weight"), &block.attention_norm.weight);
            self.linear(&at("self_attn.qkv_proj"), &block.qkv);
            self.linear(&at("self_attn.o_proj"), &block.out);
            self.push(&at("post_attention_layernorm.weight"), &block.mlp_norm.weight);
            self.linear(&at("mlp.gate_up_proj"), &block.gate_up);
            self.linear(&at("mlp.down_proj"), &block.down);
        }
        self.push("model.norm.weight", &llm.norm.weight);
        self.linear("lm_head", &llm.head);
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

    /// Either connector; number 1 of the published sequence is the GELU.
    fn connector(&mut self, mlp: &Mlp) {
        self.linear("_connector.0", &mlp.up);
        self.linear("_connector.2", &mlp.down);
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
