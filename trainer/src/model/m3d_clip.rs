//! M3D-CLIP: a volume and its report as two features of one space (BAAI-DCAI/M3D, `LaMed/src/model/CLIP.py`).
//!
//! Each encoder gives its class token's feature after the last norm; a linear map and the L2 norm make them comparable.

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::encoder3d::{Encoder3d, M3dClipVisionConfig};
use super::error::{ModelError, expect_shape};
use super::layers::{Init, Initializer, Linear};
use super::sizes;
use super::text_encoder::{Bert, BertConfig};

/// The logit scale at the start of training: ln(1 / 0.07), as CLIP has it.
const FIRST_LOGIT_SCALE: f64 = 2.659_260_036_932_778;

/// The smallest norm that a feature is divided by, torch's default.
const SMALLEST_NORM: f64 = 1e-12;

/// Sizes of both encoders, and how the logit scale acts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct M3dClipConfig {
    /// The vision encoder.
    pub vision: M3dClipVisionConfig,
    /// The text encoder, of the same width.
    pub text: BertConfig,
    /// Multiply by the exponential of the scale, as CLIP does; the released M3D-CLIP multiplies by the scale itself.
    #[serde(default)]
    pub exp_logit_scale: bool,
}

impl M3dClipConfig {
    /// The published M3D-CLIP: 198,052,609 parameters.
    pub fn m3d_clip() -> M3dClipConfig {
        M3dClipConfig {
            vision: M3dClipVisionConfig::m3d_clip(),
            text: BertConfig::base_uncased(),
            exp_logit_scale: false,
        }
    }
}

/// Both encoders, their projections and the logit scale.
pub struct M3dClip {
    config: M3dClipConfig,
    pub(crate) vision: Encoder3d,
    pub(crate) text: Bert,
    pub(crate) vision_projection: Linear,
    pub(crate) text_projection: Linear,
    pub(crate) logit_scale: Tensor,
}

impl M3dClip {
    /// Fresh f32 weights from a seed, of deviation 0.02, none of them trainable yet.
    ///
    /// # Errors
    /// The config's sizes do not fit together.
    pub fn new(config: &M3dClipConfig, device: Device, seed: u64) -> Result<M3dClip, ModelError> {
        M3dClip::build(config, &Init::drawn(device, Kind::Float, Initializer::Normal(0.02), seed))
    }

    /// Weights in name and shape only, for [`M3dClip::load`] to fill.
    ///
    /// # Errors
    /// The config's sizes do not fit together.
    pub fn unloaded(config: &M3dClipConfig, device: Device, kind: Kind) -> Result<M3dClip, ModelError> {
        M3dClip::build(config, &Init::shapes(device, kind))
    }

    fn build(config: &M3dClipConfig, init: &Init) -> Result<M3dClip, ModelError> {
        sizes::check_vision3d(&config.vision)?;
        sizes::check_text(&config.text)?;
        let (width, found) = (config.vision.hidden_size, config.text.hidden_size);
        if found != width {
            let expected = format!("{width}, as vision.hidden_size");
            return Err(ModelError::config("text.hidden_size", expected, found));
        }
        Ok(M3dClip {
            vision: Encoder3d::new(&config.vision, true, init)?,
            text: Bert::new(&config.text, init)?,
            vision_projection: Linear::new(init, width, width),
            text_projection: Linear::new(init, width, width),
            logit_scale: init.constant(FIRST_LOGIT_SCALE, &[]),
            config: config.clone(),
        })
    }

    /// The config it was built with.
    pub fn config(&self) -> &M3dClipConfig {
        &self.config
    }

    /// The vision encoder alone.
    pub fn vision_encoder(&self) -> &Encoder3d {
        &self.vision
    }

    /// The text encoder alone.
    pub fn text_encoder(&self) -> &Bert {
        &self.text
    }

    /// Sets the dropout of the text encoder, see [`Bert::set_dropout`].
    pub fn set_text_encoder_dropout(&mut self, probability: f64) {
        self.text.set_dropout(probability);
    }

    /// Volumes (B, C, D, H, W) with values in 0..1 to features of length 1, (B, E).
    ///
    /// # Errors
    /// The volume has another shape than the config's.
    pub fn encode_image(&self, voxels_bcdhw: &Tensor) -> Result<Tensor, ModelError> {
        Ok(unit_length(&self.vision_projection.forward(&self.vision.class_feature(voxels_bcdhw)?)))
    }

    /// Texts, ids and mask (B, T), to features of length 1, (B, E). With `keys` as in training, see [`Bert::forward`].
    ///
    /// # Errors
    /// As [`Bert::forward`].
    pub fn encode_text(&self, ids_bt: &Tensor, mask_bt: &Tensor, keys: Option<&[u64]>) -> Result<Tensor, ModelError> {
        let hidden_bte = self.text.forward(ids_bt, mask_bt, keys)?.hidden_bte;
        Ok(unit_length(&self.text_projection.forward(&hidden_bte.select(1, 0))))
    }

    /// Features of images (B, E) and of texts (R, E) to logits (B, R): cosines times the logit scale.
    pub fn logits(&self, image_be: &Tensor, text_be: &Tensor) -> Tensor {
        let exp = self.config.exp_logit_scale;
        let scale = if exp { self.logit_scale.exp() } else { self.logit_scale.shallow_clone() };
        scale * image_be.matmul(&text_be.transpose(0, 1))
    }

    /// The symmetric loss of B pairs, a scalar: the mean of the cross-entropies over each image's texts and over each
    /// text's images, where only the own partner is right.
    ///
    /// # Errors
    /// There are not as many texts as images.
    pub fn loss(&self, image_be: &Tensor, text_be: &Tensor) -> Result<Tensor, ModelError> {
        expect_shape("text features", text_be, &image_be.size())?;
        let logits_bb = self.logits(image_be, text_be);
        let own_b = Tensor::arange(logits_bb.size()[0], (Kind::Int64, logits_bb.device()));
        Ok((logits_bb.cross_entropy_for_logits(&own_b) + logits_bb.transpose(0, 1).cross_entropy_for_logits(&own_b))
            / 2.0)
    }
}

/// Each row divided by its length.
fn unit_length(features_be: &Tensor) -> Tensor {
    let norms_b1 = features_be.norm_scalaropt_dim(2.0, [-1i64].as_slice(), true);
    features_be / norms_b1.clamp_min(SMALLEST_NORM)
}
