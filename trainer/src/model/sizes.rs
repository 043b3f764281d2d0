//! The range of every number of a model's config, checked before anything is computed with them: wrong ones would overflow,
//! divide by zero or be refused by libtorch past any recovery.

use super::config::Med2e3Config;
use super::connector::ConnectorKind;
use super::encoder3d::M3dClipVisionConfig;
use super::error::ModelError;
use super::language_model::{LanguageModelConfig, RopeScaling};
use super::layers::Initializer;
use super::limits::{BLOCKS, CHANNELS, POSITIONS, ROWS, VOXELS, WIDTH};
use super::text_encoder::BertConfig;

/// Most linear maps of a connector.
const MAPS: usize = 64;
/// Most voxels of a volume, and most pixels of a slice: 1 GiB of values.
const VOLUME: i64 = 1 << 28;
/// Most tokens of a volume or slice; M3D-CLIP has 2,048.
const TOKENS: i64 = 1 << 16;
/// Most weights of a model: 1 TiB in bfloat16.
const WEIGHTS: u128 = 1 << 39;
/// Numbers that an f32 holds and divides by, which is what the layers compute in.
const NUMBERS: std::ops::RangeInclusive<f64> = f32::MIN_POSITIVE as f64..=f32::MAX as f64;

/// The name of a size, the size, and its range.
type Size = (&'static str, i64, i64, i64);

/// # Errors
/// The first number out of its range; a model of more weights than any.
pub(super) fn check(config: &Med2e3Config) -> Result<(), ModelError> {
    let Med2e3Config { llm, vision2d, vision3d, text_encoder, variant, initializer, .. } = config;
    in_range([
        ("llm.hidden_size", llm.hidden_size, 1, WIDTH),
        ("llm.intermediate_size", llm.intermediate_size, 1, WIDTH),
        ("llm.num_hidden_layers", llm.num_hidden_layers, 0, BLOCKS),
        ("llm.num_attention_heads", llm.num_attention_heads, 1, WIDTH),
        ("llm.num_key_value_heads", llm.num_key_value_heads, 1, WIDTH),
        ("llm.head_dim", llm.head_dim.unwrap_or(2), 2, WIDTH),
        ("llm.vocab_size", llm.vocab_size, 1, ROWS),
        ("vision2d.hidden_size", vision2d.hidden_size, 1, WIDTH),
        ("vision2d.intermediate_size", vision2d.intermediate_size, 1, WIDTH),
        ("vision2d.num_hidden_layers", vision2d.num_hidden_layers, 0, BLOCKS),
        ("vision2d.num_attention_heads", vision2d.num_attention_heads, 1, WIDTH),
        ("vision2d.image_size", vision2d.image_size, 1, VOXELS),
        ("vision2d.patch_size", vision2d.patch_size, 1, VOXELS),
        ("vision2d.num_channels", vision2d.num_channels, 1, CHANNELS),
    ])?;
    in_range([("vision2d.image_size over patch_size, tokens", vision2d.token_count(), 0, TOKENS)])?;
    check_vision3d(vision3d)?;
    if let Some(text) = text_encoder {
        check_text(text)?;
    }
    for (field, connector) in
        [("variant.connector3d", variant.connector3d), ("variant.connector2d", variant.connector2d)]
    {
        match connector {
            ConnectorKind::SpatialPooling { pool, .. } => in_range(pool.map(|block| (field, block, 1, VOXELS)))?,
            ConnectorKind::PlanePooling { pool, .. } => in_range(pool.map(|block| (field, block, 1, VOXELS)))?,
            ConnectorKind::Mlp { .. } | ConnectorKind::Linear | ConnectorKind::Identity => {}
        }
        if connector.layers() > MAPS {
            return Err(ModelError::config(field, format!("at most {MAPS} layers"), connector.layers()));
        }
    }
    for (field, positions) in [
        ("llm.max_position_embeddings", Some(llm.max_position_embeddings)),
        ("llm.original_max_position_embeddings", llm.original_max_position_embeddings),
        ("llm.sliding_window", llm.sliding_window),
        ("variant.max_length", Some(variant.max_length)),
    ] {
        if let Some(found) = positions.filter(|positions| !(1..=POSITIONS).contains(positions)) {
            return Err(ModelError::config(field, format!("1 to {POSITIONS}"), found));
        }
    }
    // Some published files have -1 for an id that there is not.
    if let Some(id) = llm.special_ids.all().find(|id| !(-1..ROWS).contains(id)) {
        return Err(ModelError::config("llm.special_ids", format!("ids from -1 to below {ROWS}"), id));
    }
    numbers([
        ("llm.rms_norm_eps", llm.rms_norm_eps),
        ("llm.rope_theta", llm.rope_theta),
        ("vision2d.layer_norm_eps", vision2d.layer_norm_eps),
    ])?;
    check_rope(llm)?;
    match initializer {
        Initializer::Normal(deviation) if !(0.0..=f64::from(f32::MAX)).contains(deviation) => {
            return Err(ModelError::config("initializer.normal", "0 or more", deviation));
        }
        Initializer::Normal(_) | Initializer::FanIn => {}
    }
    let parts = weights(config);
    let total: u128 = parts.iter().map(|(_, weights)| weights).sum();
    if total > WEIGHTS {
        let (largest, _) = parts.into_iter().max_by_key(|(_, weights)| *weights).expect("there are parts");
        let expected = format!("sizes of at most {WEIGHTS} weights in all, 1 TiB in bfloat16");
        return Err(ModelError::config(largest, expected, format!("sizes of {total}")));
    }
    Ok(())
}

/// # Errors
/// The first number of a 3D encoder out of its range.
pub(super) fn check_vision3d(config: &M3dClipVisionConfig) -> Result<(), ModelError> {
    in_range([
        ("vision3d.hidden_size", config.hidden_size, 1, WIDTH),
        ("vision3d.mlp_dim", config.mlp_dim, 1, WIDTH),
        ("vision3d.num_layers", config.num_layers, 0, BLOCKS),
        ("vision3d.num_heads", config.num_heads, 1, WIDTH),
        ("vision3d.in_channels", config.in_channels, 1, CHANNELS),
    ])?;
    in_range(config.img_size.map(|size| ("vision3d.img_size", size, 1, VOXELS)))?;
    in_range(config.patch_size.map(|size| ("vision3d.patch_size", size, 1, VOXELS)))?;
    in_range([
        ("vision3d.img_size, voxels", config.img_size.iter().product::<i64>() * config.in_channels, 1, VOLUME),
        ("vision3d.img_size over patch_size, tokens", config.token_count(), 0, TOKENS),
    ])
}

/// # Errors
/// The first number of a text encoder out of its range.
pub(super) fn check_text(config: &BertConfig) -> Result<(), ModelError> {
    in_range([
        ("text_encoder.vocab_size", config.vocab_size, 1, ROWS),
        ("text_encoder.hidden_size", config.hidden_size, 1, WIDTH),
        ("text_encoder.num_hidden_layers", config.num_hidden_layers, 0, BLOCKS),
        ("text_encoder.num_attention_heads", config.num_attention_heads, 1, WIDTH),
        ("text_encoder.intermediate_size", config.intermediate_size, 1, WIDTH),
        ("text_encoder.max_position_embeddings", config.max_position_embeddings, 1, ROWS),
        ("text_encoder.type_vocab_size", config.type_vocab_size, 1, ROWS),
        ("text_encoder.first_position", config.first_position, 0, ROWS),
    ])?;
    numbers([("text_encoder.layer_norm_eps", config.layer_norm_eps)])
}

fn in_range(sizes: impl IntoIterator<Item = Size>) -> Result<(), ModelError> {
    sizes.into_iter().try_for_each(|(field, size, least, most)| {
        let fits = (least..=most).contains(&size);
        if fits { Ok(()) } else { Err(ModelError::config(field, format!("{least} to {most}"), size)) }
    })
}

fn numbers<'f>(values: impl IntoIterator<Item = (&'f str, f64)>) -> Result<(), ModelError> {
    values.into_iter().try_for_each(|(field, value)| {
        let fits = NUMBERS.contains(&value);
        if fits { Ok(()) } else { Err(ModelError::config(field, "a number above 0, as f32", value)) }
    })
}

fn check_rope(llm: &LanguageModelConfig) -> Result<(), ModelError> {
    let every = |field: &'static str, values: &[f64]| numbers(values.iter().map(|value| (field, *value)));
    match &llm.rope_scaling {
        None => Ok(()),
        Some(RopeScaling::Longrope { short_factor, long_factor, attention_factor }) => {
            every("llm.rope_scaling.short_factor", short_factor)?;
            every("llm.rope_scaling.long_factor", long_factor)?;
            every("llm.rope_scaling.attention_factor", attention_factor.as_slice())
        }
        Some(RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor }) => numbers([
            ("llm.rope_scaling.factor", *factor),
            ("llm.rope_scaling.low_freq_factor", *low_freq_factor),
            ("llm.rope_scaling.high_freq_factor", *high_freq_factor),
        ]),
    }
}

/// The weights of matrices and tables of each part, whether the variant builds it or not: biases and norms, which are few, are
/// left out. All sizes are within their ranges, so that nothing overflows.
fn weights(config: &Med2e3Config) -> [(&'static str, u128); 6] {
    let wide = |size: i64| size.unsigned_abs() as u128;
    let Med2e3Config { llm, vision2d, vision3d, text_encoder, variant, .. } = config;
    let encoder =
        |width: i64, inner: i64, layers: i64| wide(layers) * wide(width) * (4 * wide(width) + 2 * wide(inner));
    let connector = |kind: ConnectorKind, from: i64| {
        let maps = kind.layers() as u128;
        wide(llm.hidden_size) * (wide(from) + maps.saturating_sub(1) * wide(llm.hidden_size)) * maps.min(1)
    };
    let heads = wide(llm.head_width()) * (2 * wide(llm.num_attention_heads) + 2 * wide(llm.num_key_value_heads));
    let block = wide(llm.hidden_size) * (heads + 3 * wide(llm.intermediate_size));
    let tables = if llm.tie_word_embeddings { 1 } else { 2 };
    let patch2d = wide(vision2d.patch_size).pow(2) * wide(vision2d.num_channels) + wide(vision2d.token_count());
    let patch3d = vision3d.patch_size.iter().map(|size| wide(*size)).product::<u128>() * wide(vision3d.in_channels);
    let text = text_encoder.as_ref().map_or(0, |text| {
        let rows = wide(text.vocab_size) + wide(text.max_position_embeddings) + wide(text.type_vocab_size);
        rows * wide(text.hidden_size) + encoder(text.hidden_size, text.intermediate_size, text.num_hidden_layers)
    });
    [
        ("llm", tables * wide(llm.vocab_size) * wide(llm.hidden_size) + wide(llm.num_hidden_layers) * block),
        (
            "vision2d",
            patch2d * wide(vision2d.hidden_size)
                + encoder(vision2d.hidden_size, vision2d.intermediate_size, vision2d.num_hidden_layers),
        ),
        (
            "vision3d",
            (patch3d + wide(vision3d.token_count())) * wide(vision3d.hidden_size)
                + encoder(vision3d.hidden_size, vision3d.mlp_dim, vision3d.num_layers),
        ),
        ("text_encoder", text),
        ("variant.connector3d", connector(variant.connector3d, vision3d.hidden_size)),
        ("variant.connector2d", connector(variant.connector2d, vision2d.hidden_size)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Part, Preset};

    #[test]
    fn weights_are_counted_as_the_model_has_them() {
        let config = Med2e3Config::of_preset(Preset::Paper);
        config.check().unwrap();
        let counted: u128 = weights(&config).iter().map(|(_, weights)| weights).sum();
        let built: u128 = Part::ALL
            .into_iter()
            .flat_map(|part| config.parameter_shapes(part).unwrap())
            .map(|(_, shape)| shape.iter().map(|size| *size as u128).product::<u128>())
            .sum();
        assert!(counted <= built && built - counted < built / 1000, "{counted} of {built}");
    }

    #[test]
    fn no_model_is_larger_than_a_machine() {
        let large = |change: &dyn Fn(&mut Med2e3Config)| {
            let mut config = Med2e3Config::of_preset(Preset::Released);
            change(&mut config);
            config.check().unwrap_err().to_string()
        };
        let deep = large(&|config| (config.llm.intermediate_size, config.llm.num_hidden_layers) = (1 << 20, 1 << 10));
        assert!(deep.starts_with("llm: "), "{deep}");
        let wide = large(&|config| {
            (config.vision2d.hidden_size, config.vision2d.num_attention_heads) = (1 << 20, 1 << 4);
        });
        assert!(wide.starts_with("vision2d: ") && wide.contains("549755813888"), "{wide}");
        assert!(large(&|config| config.vision3d.img_size = [2048; 3]).contains("voxels"));
        assert!(large(&|config| config.vision3d.patch_size = [1; 3]).contains("tokens"));
        assert!(
            large(&|config| (config.vision2d.image_size, config.vision2d.patch_size) = (512, 1)).contains("tokens")
        );
        let scaled = |factor: f64| {
            let scaling = RopeScaling::Llama3 { factor, low_freq_factor: 1.0, high_freq_factor: 4.0 };
            large(&|config| config.llm.rope_scaling = Some(scaling.clone()))
        };
        for factor in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e300] {
            assert!(scaled(factor).starts_with("llm.rope_scaling.factor: "));
        }
        assert!(large(&|config| config.llm.special_ids.end = vec![-2]).starts_with("llm.special_ids"));
    }
}
