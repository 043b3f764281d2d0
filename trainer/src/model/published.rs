//! The config.json files that the parts are published with, to sizes and back. Fields that would change what is computed
//! in a way that is not implemented here are errors; fields without influence are passed over.

use serde_json::{Map, Value, json};

use super::config::Med2e3Config;
use super::connector::ConnectorKind;
use super::encoder2d::SiglipVisionConfig;
use super::encoder3d::M3dClipVisionConfig;
use super::error::ModelError;
use super::language_model::{Family, LanguageModelConfig, RopeScaling, SpecialIds};
use super::part::Part;

/// More than any published model has.
const MOST_BLOCKS: i64 = 1024;

/// One config.json, with the part's name for errors.
struct Fields<'a> {
    part: &'static str,
    map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    fn of(part: &'static str, value: &'a Value) -> Result<Fields<'a>, ModelError> {
        let map = value.as_object().ok_or_else(|| ModelError::config(part, "an object of fields", value))?;
        Ok(Fields { part, map })
    }

    /// A field that is there and not null.
    fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    fn error(&self, key: &str, expected: &str) -> ModelError {
        let found = self.get(key).map_or("nothing".to_owned(), Value::to_string);
        ModelError::config(format!("{}: {key}", self.part), expected, found)
    }

    fn whole(&self, key: &str) -> Result<i64, ModelError> {
        let value = self.get(key).and_then(Value::as_i64).filter(|value| (0..1 << 40).contains(value));
        value.ok_or_else(|| self.error(key, "a whole number"))
    }

    /// A number of blocks; what a damaged file names must not be built for hours.
    fn blocks(&self, key: &str) -> Result<i64, ModelError> {
        let blocks = self.whole(key)?;
        if blocks <= MOST_BLOCKS { Ok(blocks) } else { Err(self.error(key, &format!("at most {MOST_BLOCKS} blocks"))) }
    }

    fn whole_or(&self, key: &str, absent: i64) -> Result<i64, ModelError> {
        if self.get(key).is_none() { Ok(absent) } else { self.whole(key) }
    }

    fn length(&self, key: &str) -> Result<Option<usize>, ModelError> {
        let length = |value| usize::try_from(value).map_err(|_| self.error(key, "a length"));
        if self.get(key).is_none() { Ok(None) } else { self.whole(key).and_then(length).map(Some) }
    }

    fn number(&self, key: &str, absent: Option<f64>) -> Result<f64, ModelError> {
        match self.get(key) {
            None => absent.ok_or_else(|| self.error(key, "a number")),
            Some(value) => value.as_f64().ok_or_else(|| self.error(key, "a number")),
        }
    }

    fn numbers(&self, key: &str) -> Result<Vec<f64>, ModelError> {
        let values = self.get(key).and_then(Value::as_array);
        let numbers = values.and_then(|values| values.iter().map(Value::as_f64).collect());
        numbers.ok_or_else(|| self.error(key, "a list of numbers"))
    }

    fn triple(&self, key: &str) -> Result<[i64; 3], ModelError> {
        let values = self.get(key).and_then(Value::as_array);
        let whole: Option<Vec<i64>> = values.and_then(|values| values.iter().map(Value::as_i64).collect());
        whole.and_then(|whole| whole.try_into().ok()).ok_or_else(|| self.error(key, "three whole numbers"))
    }

    /// None, one or several.
    fn ids(&self, key: &str) -> Result<Vec<i64>, ModelError> {
        match self.get(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(ids)) => {
                ids.iter().map(Value::as_i64).collect::<Option<_>>().ok_or_else(|| self.error(key, "ids"))
            }
            Some(id) => id.as_i64().map(|id| vec![id]).ok_or_else(|| self.error(key, "an id or a list of them")),
        }
    }

    fn flag(&self, key: &str) -> Result<bool, ModelError> {
        let value = self.get(key).map_or(Some(false), Value::as_bool);
        value.ok_or_else(|| self.error(key, "true or false"))
    }

    /// Fails unless the field is absent or one of the values that are implemented here.
    fn only(&self, key: &str, implemented: &[Value]) -> Result<(), ModelError> {
        let is_implemented = self.get(key).is_none_or(|value| implemented.contains(value));
        let list = || implemented.iter().map(Value::to_string).collect::<Vec<_>>().join(" or ");
        if is_implemented { Ok(()) } else { Err(self.error(key, &list())) }
    }
}

impl Fields<'_> {
    /// The window, and the layers without it, as transformers reads a family's config.json: Llama has none whatever it
    /// states, Mistral has 4096 where it states nothing, and Qwen2's is off without its flag.
    fn windows(&self, family: Family, layers: i64) -> Result<(Option<usize>, Vec<i64>), ModelError> {
        let stated = self.length("sliding_window")?;
        let is_absent = !self.map.contains_key("sliding_window");
        match family {
            Family::Llama => Ok((None, Vec::new())),
            Family::Phi3 => Ok((stated, Vec::new())),
            Family::Mistral => {
                self.one_kind_of_layer(layers, stated.is_some() || is_absent)?;
                Ok((if is_absent { Some(4096) } else { stated }, Vec::new()))
            }
            Family::Qwen2 => {
                let is_on = self.flag("use_sliding_window")?;
                let window = if is_absent { Some(4096) } else { stated }.filter(|_| is_on);
                let full = match self.layer_types(layers)? {
                    Some(full) => full,
                    None => (0..self.whole_or("max_window_layers", 28)?.min(layers)).collect(),
                };
                match window {
                    None if self.get("layer_types").is_some() && full.len() < layers as usize => {
                        Err(self.error("layer_types", "full_attention alone, where use_sliding_window is not true"))
                    }
                    Some(window) if full.len() < layers as usize => Ok((Some(window), full)),
                    _ => Ok((None, Vec::new())),
                }
            }
        }
    }

    /// The layers that `layer_types` calls full, where it is there.
    fn layer_types(&self, layers: i64) -> Result<Option<Vec<i64>>, ModelError> {
        let Some(value) = self.get("layer_types") else { return Ok(None) };
        let types = value.as_array().filter(|types| types.len() == layers as usize);
        let is_full = |kind: &Value| match kind.as_str() {
            Some("full_attention") => Some(true),
            Some("sliding_attention") => Some(false),
            _ => None,
        };
        let full: Option<Vec<bool>> = types.and_then(|types| types.iter().map(is_full).collect());
        let expected = || format!("full_attention or sliding_attention for each of {layers} layers");
        let full = full.ok_or_else(|| self.error("layer_types", &expected()))?;
        Ok(Some((0..layers).zip(full).filter_map(|(layer, is_full)| is_full.then_some(layer)).collect()))
    }

    /// Fails where `layer_types` says another thing than the family's one kind of layer.
    fn one_kind_of_layer(&self, layers: i64, is_windowed: bool) -> Result<(), ModelError> {
        let expected = if is_windowed { 0 } else { layers as usize };
        match self.layer_types(layers)? {
            Some(full) if full.len() != expected => Err(self.error("layer_types", "one type for all layers")),
            _ => Ok(()),
        }
    }
}

impl LanguageModelConfig {
    /// From a decoder's config.json, in the spelling of published files (`rope_theta`, `rope_scaling`) or that of
    /// transformers 5 (`rope_parameters`).
    ///
    /// # Errors
    /// A field is missing, or asks for something that is not implemented here.
    pub fn from_published(value: &Value) -> Result<LanguageModelConfig, ModelError> {
        let fields = Fields::of("llm", value)?;
        let model_type = match fields.get("model_type").and_then(Value::as_str) {
            Some("phi3") => Family::Phi3,
            Some("llama") => Family::Llama,
            Some("mistral") => Family::Mistral,
            Some("qwen2") => Family::Qwen2,
            _ => return Err(fields.error("model_type", "phi3, llama, mistral or qwen2")),
        };
        fields.only("hidden_act", &[json!("silu")])?;
        fields.only("attention_bias", &[json!(false)])?;
        fields.only("mlp_bias", &[json!(false)])?;
        fields.only("partial_rotary_factor", &[json!(1.0), json!(1)])?;
        let heads = fields.whole("num_attention_heads")?;
        let layers = fields.blocks("num_hidden_layers")?;
        let (sliding_window, full_attention_layers) = fields.windows(model_type, layers)?;
        // What transformers takes where the key is absent.
        let key_value_heads = match model_type {
            Family::Phi3 | Family::Llama => heads,
            Family::Mistral => 8,
            Family::Qwen2 => 32,
        };
        let mut config = LanguageModelConfig {
            model_type,
            hidden_size: fields.whole("hidden_size")?,
            intermediate_size: fields.whole("intermediate_size")?,
            num_hidden_layers: layers,
            num_attention_heads: heads,
            num_key_value_heads: if fields.map.get("num_key_value_heads").is_some_and(Value::is_null) {
                heads
            } else {
                fields.whole_or("num_key_value_heads", key_value_heads)?
            },
            head_dim: None,
            vocab_size: fields.whole("vocab_size")?,
            rms_norm_eps: fields.number("rms_norm_eps", None)?,
            rope_theta: 10000.0,
            max_position_embeddings: fields
                .length("max_position_embeddings")?
                .ok_or_else(|| fields.error("max_position_embeddings", "a length"))?,
            sliding_window,
            full_attention_layers,
            rope_scaling: None,
            original_max_position_embeddings: fields.length("original_max_position_embeddings")?,
            tie_word_embeddings: fields.flag("tie_word_embeddings")?,
            special_ids: SpecialIds {
                begin: fields.ids("bos_token_id")?.first().copied(),
                end: fields.ids("eos_token_id")?,
                pad: fields.ids("pad_token_id")?.first().copied(),
            },
        };
        let head_dim = fields.whole_or("head_dim", config.head_width())?;
        config.head_dim = (head_dim != config.head_width()).then_some(head_dim);
        config.read_rope(&fields)?;
        Ok(config)
    }

    /// Both spellings: in one the base and the original length are outside of the scaling, in the other inside.
    fn read_rope(&mut self, fields: &Fields) -> Result<(), ModelError> {
        let empty = Map::new();
        let inner = fields.get("rope_parameters").or(fields.get("rope_scaling"));
        let map = inner.map_or(Some(&empty), Value::as_object);
        let scaling = Fields { part: "llm: rope", map: map.ok_or_else(|| fields.error("rope_scaling", "an object"))? };
        let outer_theta = fields.number("rope_theta", Some(10000.0))?;
        self.rope_theta = scaling.number("rope_theta", Some(outer_theta))?;
        scaling.only("partial_rotary_factor", &[json!(1.0), json!(1)])?;
        if let Some(original) = scaling.length("original_max_position_embeddings")? {
            self.original_max_position_embeddings = Some(original);
        }
        let key = if scaling.get("rope_type").is_some() { "rope_type" } else { "type" };
        self.rope_scaling = match scaling.get(key).and_then(Value::as_str) {
            None | Some("default") if scaling.get(key).is_none_or(Value::is_string) => None,
            // `su` is its name in the first revision of Phi-3's files.
            Some("longrope" | "su") => Some(RopeScaling::Longrope {
                short_factor: scaling.numbers("short_factor")?,
                long_factor: scaling.numbers("long_factor")?,
                attention_factor: match (scaling.get("attention_factor"), scaling.get("factor")) {
                    (None, None) => None,
                    (Some(_), _) => Some(scaling.number("attention_factor", None)?),
                    // A factor here replaces the ratio of the two lengths.
                    (None, Some(_)) => {
                        let original = self.original_max_position_embeddings.unwrap_or(self.max_position_embeddings);
                        let factor = scaling.number("factor", None)?;
                        let grown = (1.0 + factor.ln() / (original as f64).ln()).sqrt();
                        Some(if factor <= 1.0 { 1.0 } else { grown })
                    }
                },
            }),
            Some("llama3") => Some(RopeScaling::Llama3 {
                factor: scaling.number("factor", None)?,
                low_freq_factor: scaling.number("low_freq_factor", None)?,
                high_freq_factor: scaling.number("high_freq_factor", None)?,
            }),
            _ => return Err(scaling.error(key, "default, longrope, su or llama3")),
        };
        Ok(())
    }

    /// The config.json that transformers loads the weights with; published files' spelling, which every version reads.
    pub fn to_published(&self) -> Value {
        let (architecture, model_type) = match self.model_type {
            Family::Phi3 => ("Phi3ForCausalLM", "phi3"),
            // transformers' Llama has no window.
            Family::Llama if self.sliding_window.is_none() => ("LlamaForCausalLM", "llama"),
            Family::Llama | Family::Mistral => ("MistralForCausalLM", "mistral"),
            Family::Qwen2 => ("Qwen2ForCausalLM", "qwen2"),
        };
        let rope_scaling = match &self.rope_scaling {
            None => Value::Null,
            Some(RopeScaling::Longrope { short_factor, long_factor, attention_factor }) => {
                let mut scaling = json!({
                    "type": "longrope", "rope_type": "longrope", "short_factor": short_factor, "long_factor": long_factor
                });
                if let Some(factor) = attention_factor {
                    scaling["attention_factor"] = json!(factor);
                }
                scaling
            }
            Some(RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor }) => json!({
                "rope_type": "llama3", "factor": factor, "low_freq_factor": low_freq_factor,
                "high_freq_factor": high_freq_factor,
                "original_max_position_embeddings": self.original_max_position_embeddings
            }),
        };
        let mut config = json!({
            "architectures": [architecture], "model_type": model_type, "hidden_act": "silu",
            "hidden_size": self.hidden_size, "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_hidden_layers, "num_attention_heads": self.num_attention_heads,
            "num_key_value_heads": self.num_key_value_heads, "vocab_size": self.vocab_size,
            "rms_norm_eps": self.rms_norm_eps, "rope_theta": self.rope_theta, "rope_scaling": rope_scaling,
            "max_position_embeddings": self.max_position_embeddings, "sliding_window": self.sliding_window,
            "tie_word_embeddings": self.tie_word_embeddings, "attention_bias": false,
            // Written where there is none, too: the default of transformers may be past a small vocabulary.
            "bos_token_id": self.special_ids.begin, "pad_token_id": self.special_ids.pad,
            "eos_token_id": self.special_ids.ends()
        });
        if let Some(original) = self.original_max_position_embeddings.filter(|_| self.model_type == Family::Phi3) {
            config["original_max_position_embeddings"] = json!(original);
        }
        if let Some(head_dim) = self.head_dim {
            config["head_dim"] = json!(head_dim);
        }
        if self.model_type == Family::Qwen2 {
            let layers = self.num_hidden_layers;
            let full = if self.sliding_window.is_some() { self.full_attention_layers.len() as i64 } else { layers };
            config["use_sliding_window"] = json!(self.sliding_window.is_some());
            config["max_window_layers"] = json!(full);
            // The number says it where the first layers are the full ones; releases before `layer_types` know that alone.
            if (0..full).any(|layer| self.window_of(layer).is_some()) {
                let kind = |layer| if self.window_of(layer).is_some() { "sliding_attention" } else { "full_attention" };
                config["layer_types"] = (0..layers).map(kind).collect();
            }
        }
        config
    }
}

impl SpecialIds {
    /// These, with the end ids of a `generation_config.json` in place of config.json's where it names some: as transformers
    /// takes them.
    ///
    /// # Errors
    /// A field is no id.
    pub fn with_generation(self, value: &Value) -> Result<SpecialIds, ModelError> {
        let fields = Fields::of("llm: generation_config.json", value)?;
        let end = fields.ids("eos_token_id")?;
        let (begin, pad) = (fields.ids("bos_token_id")?, fields.ids("pad_token_id")?);
        Ok(SpecialIds {
            begin: self.begin.or(begin.first().copied()),
            end: if end.is_empty() { self.end } else { end },
            pad: self.pad.or(pad.first().copied()),
        })
    }

    /// The `generation_config.json` that makes transformers end answers at the same ids; none where nothing is known.
    pub fn to_generation(&self) -> Option<Value> {
        let ids = json!({"bos_token_id": self.begin, "eos_token_id": self.ends(), "pad_token_id": self.pad});
        (*self != SpecialIds::default()).then_some(ids)
    }

    /// None, one or a list.
    fn ends(&self) -> Value {
        match self.end.as_slice() {
            [] => Value::Null,
            [id] => json!(id),
            ids => json!(ids),
        }
    }
}

impl SiglipVisionConfig {
    /// From SigLIP's config.json: that of the vision model, or the whole one around it.
    ///
    /// # Errors
    /// A field is wrong, or asks for something that is not implemented here.
    pub fn from_published(value: &Value) -> Result<SiglipVisionConfig, ModelError> {
        let fields = Fields::of("vision2d", value.get("vision_config").unwrap_or(value))?;
        fields.only("model_type", &["siglip", "siglip_vision_model"].map(Value::from))?;
        fields.only("hidden_act", &[json!("gelu_pytorch_tanh")])?;
        // Published files leave out what equals the defaults of transformers' SiglipVisionConfig.
        Ok(SiglipVisionConfig {
            hidden_size: fields.whole_or("hidden_size", 768)?,
            intermediate_size: fields.whole_or("intermediate_size", 3072)?,
            num_hidden_layers: if fields.get("num_hidden_layers").is_some() {
                fields.blocks("num_hidden_layers")?
            } else {
                12
            },
            num_attention_heads: fields.whole_or("num_attention_heads", 12)?,
            image_size: fields.whole_or("image_size", 224)?,
            patch_size: fields.whole_or("patch_size", 16)?,
            num_channels: fields.whole_or("num_channels", 3)?,
            layer_norm_eps: fields.number("layer_norm_eps", Some(1e-6))?,
        })
    }

    /// The config.json of transformers' SiglipVisionModel, without the pooling head.
    pub fn to_published(&self) -> Value {
        json!({
            "architectures": ["SiglipVisionModel"], "model_type": "siglip_vision_model",
            "hidden_act": "gelu_pytorch_tanh", "vision_use_head": false,
            "hidden_size": self.hidden_size, "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_hidden_layers, "num_attention_heads": self.num_attention_heads,
            "image_size": self.image_size, "patch_size": self.patch_size, "num_channels": self.num_channels,
            "layer_norm_eps": self.layer_norm_eps
        })
    }
}

impl M3dClipVisionConfig {
    /// From M3D-CLIP's config.json.
    ///
    /// # Errors
    /// A field is missing, or asks for something that is not implemented here.
    pub fn from_published(value: &Value) -> Result<M3dClipVisionConfig, ModelError> {
        let fields = Fields::of("vision3d", value)?;
        fields.only("model_type", &["m3d_clip", "m3d_clip_vision_model"].map(Value::from))?;
        fields.only("pos_embed", &[json!("perceptron")])?;
        fields.only("spatial_dims", &[json!(3)])?;
        fields.only("dropout_rate", &[json!(0), json!(0.0)])?;
        Ok(M3dClipVisionConfig {
            img_size: fields.triple("img_size")?,
            patch_size: fields.triple("patch_size")?,
            hidden_size: fields.whole("hidden_size")?,
            mlp_dim: fields.whole("mlp_dim")?,
            num_layers: fields.blocks("num_layers")?,
            num_heads: fields.whole("num_heads")?,
            in_channels: fields.whole_or("in_channels", 1)?,
        })
    }

    /// Its config.json.
    pub fn to_published(&self) -> Value {
        json!({
            "architectures": ["M3DCLIP"], "model_type": "m3d_clip", "pos_embed": "perceptron", "spatial_dims": 3,
            "dropout_rate": 0, "img_size": self.img_size, "patch_size": self.patch_size,
            "hidden_size": self.hidden_size, "mlp_dim": self.mlp_dim, "num_layers": self.num_layers,
            "num_heads": self.num_heads, "in_channels": self.in_channels
        })
    }
}

impl ConnectorKind {
    /// From the released code's name of a connector, such as `spatial_pooling_score15_mlp2x_gelu`.
    ///
    /// # Errors
    /// A name that it does not have.
    pub fn from_published(name: &str) -> Result<ConnectorKind, ModelError> {
        let unknown = || {
            let expected =
                "identity, linear, mlpNx_gelu, plane_pooling_mlpNx_gelu or spatial_pooling[_scoreN]_mlpNx_gelu";
            ModelError::config("connector type", expected, name)
        };
        match name {
            "identity" => return Ok(ConnectorKind::Identity),
            "linear" => return Ok(ConnectorKind::Linear),
            _ => {}
        }
        let (pooling, mlp) = name.rsplit_once("mlp").ok_or_else(unknown)?;
        let layers = mlp.strip_suffix("x_gelu").and_then(|layers| layers.parse().ok()).ok_or_else(unknown)?;
        match pooling {
            "" => Ok(ConnectorKind::Mlp { layers }),
            "plane_pooling_" => Ok(ConnectorKind::PlanePooling { pool: [2; 2], layers }),
            _ if pooling.starts_with("spatial_pooling_") => Ok(ConnectorKind::SpatialPooling { pool: [2; 3], layers }),
            _ => Err(unknown()),
        }
    }
}

impl Med2e3Config {
    /// The config.json of a part that is published with one; connectors are not.
    pub fn published(&self, part: Part) -> Option<Value> {
        match part {
            Part::Llm => Some(self.llm.to_published()),
            Part::Vision2dModel => Some(self.vision2d.to_published()),
            Part::Vision3dModel => {
                let mut config = self.vision3d.to_published();
                if let Some(text) = self.text_encoder.as_ref().filter(|_| self.variant.needs_text_encoder()) {
                    config["vocab_size"] = json!(text.vocab_size);
                    config["text_config"] = json!({
                        "model_type": "bert", "num_attention_heads": text.num_attention_heads,
                        "layer_norm_eps": text.layer_norm_eps
                    });
                }
                Some(config)
            }
            Part::Vision2dConnector | Part::Vision3dConnector => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phi3() -> Value {
        json!({
            "model_type": "phi3", "hidden_size": 3072, "intermediate_size": 8192, "num_hidden_layers": 32,
            "num_attention_heads": 32, "num_key_value_heads": 32, "vocab_size": 32064, "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0, "max_position_embeddings": 131072, "original_max_position_embeddings": 4096,
            "sliding_window": 262144, "hidden_act": "silu", "attention_bias": false, "embd_pdrop": 0.0,
            "rope_scaling": {"type": "longrope", "short_factor": vec![1.05; 48], "long_factor": vec![2.0; 48]}
        })
    }

    #[test]
    fn both_spellings_of_longrope_are_the_same() {
        let published = LanguageModelConfig::from_published(&phi3()).unwrap();
        let mut newer = phi3();
        let fields = newer.as_object_mut().unwrap();
        let mut rope = fields.remove("rope_scaling").unwrap();
        rope["rope_type"] = rope.as_object_mut().unwrap().remove("type").unwrap();
        rope["rope_theta"] = fields.remove("rope_theta").unwrap();
        rope["original_max_position_embeddings"] = fields.remove("original_max_position_embeddings").unwrap();
        fields.insert("rope_parameters".into(), rope);
        assert_eq!(LanguageModelConfig::from_published(&newer).unwrap(), published);
        assert_eq!(LanguageModelConfig::from_published(&published.to_published()).unwrap(), published);

        let mut first = phi3();
        first["rope_scaling"]["type"] = json!("su");
        assert_eq!(LanguageModelConfig::from_published(&first).unwrap(), published);
    }

    #[test]
    fn what_is_not_implemented_is_refused_by_name() {
        let refused = [
            ("partial_rotary_factor", json!(0.75)),
            ("hidden_act", json!("gelu")),
            ("rope_scaling", json!({"type": "yarn", "factor": 4.0})),
            ("model_type", json!("gemma")),
            ("hidden_size", json!("wide")),
            ("attention_bias", json!(true)),
        ];
        for (key, value) in refused {
            let mut config = phi3();
            config[key] = value;
            let message = LanguageModelConfig::from_published(&config).unwrap_err().to_string();
            assert!(message.contains(if key == "rope_scaling" { "type" } else { key }), "{message}");
        }
    }

    #[test]
    fn connectors_by_the_released_codes_names() {
        let named = |name| ConnectorKind::from_published(name).unwrap();
        assert_eq!(named("spatial_pooling_score15_mlp2x_gelu"), ConnectorKind::SPATIAL_POOLING_MLP2X);
        assert_eq!(named("spatial_pooling_mlp2x_gelu"), ConnectorKind::SPATIAL_POOLING_MLP2X);
        assert_eq!(named("mlp2x_gelu"), ConnectorKind::MLP2X);
        assert_eq!(named("plane_pooling_mlp3x_gelu"), ConnectorKind::PlanePooling { pool: [2, 2], layers: 3 });
        assert_eq!([named("linear"), named("identity")], [ConnectorKind::Linear, ConnectorKind::Identity]);
        for wrong in ["", "mlp", "mlpx_gelu", "mlp2x_relu", "resampler_mlp2x_gelu"] {
            assert!(ConnectorKind::from_published(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn written_sizes_are_read_back() {
        let siglip = SiglipVisionConfig::large_patch16_256();
        assert_eq!(SiglipVisionConfig::from_published(&siglip.to_published()).unwrap(), siglip);
        let m3d_clip = M3dClipVisionConfig::m3d_clip();
        assert_eq!(M3dClipVisionConfig::from_published(&m3d_clip.to_published()).unwrap(), m3d_clip);
        let whole = json!({"model_type": "siglip", "vision_config": {"hidden_size": 1024, "image_size": 256}});
        assert_eq!(SiglipVisionConfig::from_published(&whole).unwrap().hidden_size, 1024);
    }
}
