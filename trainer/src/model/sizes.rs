//! The range of every number of a model's config, checked before anything is computed with them: wrong ones would overflow,
//! divide by zero or be refused by libtorch past any recovery.

use super::config::Med2e3Config;
use super::connector::ConnectorKind;
use super::error::ModelError;
use super::layers::Initializer;

/// Largest width of a layer.
const WIDTH: i64 = 1 << 20;
/// Most rows of a table of embeddings.
const ROWS: i64 = 1 << 24;
/// Most blocks of a part.
const BLOCKS: i64 = 1 << 10;
/// Most voxels along one axis.
const VOXELS: i64 = 1 << 11;
/// Most channels.
const CHANNELS: i64 = 16;
/// Most linear maps of a connector.
const MAPS: usize = 64;
/// Longest sequence.
const POSITIONS: usize = 1 << 28;

/// # Errors
/// The first number out of its range.
pub(super) fn check(config: &Med2e3Config) -> Result<(), ModelError> {
    let Med2e3Config { llm, vision2d, vision3d, text_encoder, variant, initializer, .. } = config;
    let mut sizes = vec![
        ("llm.hidden_size", llm.hidden_size, 1, WIDTH),
        ("llm.intermediate_size", llm.intermediate_size, 1, WIDTH),
        ("llm.num_hidden_layers", llm.num_hidden_layers, 0, BLOCKS),
        ("llm.num_attention_heads", llm.num_attention_heads, 1, WIDTH),
        ("llm.num_key_value_heads", llm.num_key_value_heads, 1, WIDTH),
        ("llm.head_dim", llm.head_dim.unwrap_or(2), 2, WIDTH),
        ("llm.vocab_size", llm.vocab_size, 1, ROWS),
        ("vision3d.hidden_size", vision3d.hidden_size, 1, WIDTH),
        ("vision3d.mlp_dim", vision3d.mlp_dim, 1, WIDTH),
        ("vision3d.num_layers", vision3d.num_layers, 0, BLOCKS),
        ("vision3d.num_heads", vision3d.num_heads, 1, WIDTH),
        ("vision3d.in_channels", vision3d.in_channels, 1, CHANNELS),
        ("vision2d.hidden_size", vision2d.hidden_size, 1, WIDTH),
        ("vision2d.intermediate_size", vision2d.intermediate_size, 1, WIDTH),
        ("vision2d.num_hidden_layers", vision2d.num_hidden_layers, 0, BLOCKS),
        ("vision2d.num_attention_heads", vision2d.num_attention_heads, 1, WIDTH),
        ("vision2d.image_size", vision2d.image_size, 1, VOXELS),
        ("vision2d.patch_size", vision2d.patch_size, 1, VOXELS),
        ("vision2d.num_channels", vision2d.num_channels, 1, CHANNELS),
    ];
    sizes.extend(vision3d.img_size.map(|size| ("vision3d.img_size", size, 1, VOXELS)));
    sizes.extend(vision3d.patch_size.map(|size| ("vision3d.patch_size", size, 1, VOXELS)));
    if let Some(text) = text_encoder {
        sizes.extend([
            ("text_encoder.vocab_size", text.vocab_size, 1, ROWS),
            ("text_encoder.hidden_size", text.hidden_size, 1, WIDTH),
            ("text_encoder.num_hidden_layers", text.num_hidden_layers, 0, BLOCKS),
            ("text_encoder.num_attention_heads", text.num_attention_heads, 1, WIDTH),
            ("text_encoder.intermediate_size", text.intermediate_size, 1, WIDTH),
            ("text_encoder.max_position_embeddings", text.max_position_embeddings, 1, ROWS),
            ("text_encoder.type_vocab_size", text.type_vocab_size, 1, ROWS),
        ]);
    }
    for (field, connector) in
        [("variant.connector3d", variant.connector3d), ("variant.connector2d", variant.connector2d)]
    {
        match connector {
            ConnectorKind::SpatialPooling { pool, .. } => sizes.extend(pool.map(|block| (field, block, 1, VOXELS))),
            ConnectorKind::PlanePooling { pool, .. } => sizes.extend(pool.map(|block| (field, block, 1, VOXELS))),
            ConnectorKind::Mlp { .. } | ConnectorKind::Linear | ConnectorKind::Identity => {}
        }
        if connector.layers() > MAPS {
            return Err(ModelError::config(field, format!("at most {MAPS} layers"), connector.layers()));
        }
    }
    for (field, size, least, most) in sizes {
        if !(least..=most).contains(&size) {
            return Err(ModelError::config(field, format!("{least} to {most}"), size));
        }
    }
    for (field, positions) in [
        ("llm.max_position_embeddings", Some(llm.max_position_embeddings)),
        ("llm.original_max_position_embeddings", llm.original_max_position_embeddings),
        ("llm.sliding_window", llm.sliding_window),
    ] {
        if let Some(found) = positions.filter(|positions| !(1..=POSITIONS).contains(positions)) {
            return Err(ModelError::config(field, format!("1 to {POSITIONS}"), found));
        }
    }
    let text_eps = text_encoder.as_ref().map_or(1e-12, |text| text.layer_norm_eps);
    for (field, value) in [
        ("llm.rms_norm_eps", llm.rms_norm_eps),
        ("llm.rope_theta", llm.rope_theta),
        ("vision2d.layer_norm_eps", vision2d.layer_norm_eps),
        ("text_encoder.layer_norm_eps", text_eps),
    ] {
        // As f32, which is what the layers compute in.
        if !(f64::from(f32::MIN_POSITIVE)..=f64::from(f32::MAX)).contains(&value) {
            return Err(ModelError::config(field, "a number above 0", value));
        }
    }
    match initializer {
        Initializer::Normal(deviation) if !(0.0..=f64::from(f32::MAX)).contains(deviation) => {
            Err(ModelError::config("initializer.normal", "0 or more", deviation))
        }
        Initializer::Normal(_) | Initializer::FanIn => Ok(()),
    }
}
